"""Receipts as HTTP answers."""

from __future__ import annotations

import pytest

from cometly_forwarder.errors import Fault
from cometly_forwarder.ingest.accept import Receipt, Status
from cometly_forwarder.ingest.responses import (
    RETRY_AFTER_SECONDS,
    refusal,
    response_as_cometly,
    response_to_many,
    response_to_one,
)

WARNING = Fault("emial", "is not a field that Cometly knows")
FAULT = Fault("email", "is required")
ACCEPTED = Receipt(Status.ACCEPTED, "evt_1", warnings=(WARNING,))
INVALID = Receipt(Status.INVALID, faults=(FAULT,), warnings=(WARNING,))
UNAVAILABLE = Receipt(Status.UNAVAILABLE)
RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}


def test_an_accepted_event_is_answered_with_its_id_and_warnings() -> None:
    response = response_to_one(ACCEPTED)

    assert response.status == 202
    assert response.headers == {}
    assert response.body["status"] == 202
    assert response.body["event_id"] == "evt_1"
    assert response.body["warnings"] == [{"field": "emial", "message": WARNING.message}]
    assert response.body.keys() == {"status", "message", "event_id", "warnings"}


def test_an_invalid_event_is_answered_with_every_fault_and_one_sentence() -> None:
    response = response_to_one(INVALID)

    assert response.status == 422
    assert response.headers == {}
    assert response.body == {
        "message": "The event is not valid: email is required.",
        "errors": [{"field": "email", "message": "is required"}],
        "warnings": [{"field": "emial", "message": WARNING.message}],
    }


def test_an_event_that_could_not_be_queued_may_be_sent_again() -> None:
    response = response_to_one(UNAVAILABLE)

    assert response.status == 503
    assert response.headers == RETRY
    assert response.body.keys() == {"message"}


@pytest.mark.parametrize(
    ("receipt", "status", "members"),
    [
        pytest.param(ACCEPTED, 202, {"status", "message"}, id="accepted"),
        pytest.param(INVALID, 422, {"message"}, id="invalid"),
        pytest.param(UNAVAILABLE, 503, {"message"}, id="unavailable"),
    ],
)
def test_the_drop_in_route_answers_with_cometlys_members_alone(
    receipt: Receipt, status: int, members: set[str]
) -> None:
    response = response_as_cometly(receipt)

    assert response.status == status
    assert response.body.keys() == members


def test_the_drop_in_route_names_an_accepted_event_where_cometly_names_a_request() -> None:
    assert response_as_cometly(ACCEPTED).headers == {"Request-Id": "evt_1"}
    assert response_as_cometly(INVALID).headers == {}
    assert response_as_cometly(UNAVAILABLE).headers == RETRY


@pytest.mark.parametrize(
    ("receipts", "status", "headers"),
    [
        pytest.param([ACCEPTED], 202, {}, id="one accepted"),
        pytest.param([ACCEPTED, ACCEPTED], 202, {}, id="all accepted"),
        pytest.param([INVALID, INVALID], 422, {}, id="none valid"),
        pytest.param([UNAVAILABLE, UNAVAILABLE], 503, RETRY, id="none queued"),
        pytest.param([ACCEPTED, INVALID], 207, {}, id="some invalid"),
        pytest.param([INVALID, ACCEPTED], 207, {}, id="some invalid, in another order"),
        pytest.param([ACCEPTED, INVALID, UNAVAILABLE], 207, {}, id="one of each"),
        pytest.param([INVALID, UNAVAILABLE], 503, RETRY, id="none accepted, some worth a try"),
    ],
)
def test_an_array_is_answered_with(
    receipts: list[Receipt], status: int, headers: dict[str, str]
) -> None:
    response = response_to_many(receipts)

    assert response.status == response.body["status"] == status
    assert headers.items() <= response.headers.items()
    assert [result["status"] for result in response.body["results"]] == [r.status for r in receipts]


def test_each_item_of_an_array_says_what_a_single_event_would_be_told() -> None:
    results = response_to_many([UNAVAILABLE, ACCEPTED, INVALID]).body["results"]

    assert results == [
        {**response_to_one(receipt).body, "status": int(receipt.status)}
        for receipt in (UNAVAILABLE, ACCEPTED, INVALID)
    ]


def test_an_array_is_summed_up_in_its_message() -> None:
    assert (
        response_to_many([ACCEPTED, INVALID, ACCEPTED]).body["message"] == "2 of 3 events accepted."
    )


def test_a_refusal_is_a_message_and_its_headers() -> None:
    response = refusal(401, "No.", WWW_Authenticate="Bearer")

    assert (response.status, response.body) == (401, {"message": "No."})
    assert response.headers == {"WWW-Authenticate": "Bearer"}
