"""Receipts as HTTP answers."""

from __future__ import annotations

import pytest

from cometly_forwarder.errors import Fault
from cometly_forwarder.ingest.accept import Receipt, Status
from cometly_forwarder.ingest.responses import (
    RETRY_AFTER_SECONDS,
    refusal,
    reply_as_cometly,
    reply_to_many,
    reply_to_one,
)

WARNING = Fault("emial", "is not a field that Cometly knows")
FAULT = Fault("email", "is required")
ACCEPTED = Receipt(Status.ACCEPTED, "evt_1", warnings=(WARNING,))
INVALID = Receipt(Status.INVALID, faults=(FAULT,), warnings=(WARNING,))
UNAVAILABLE = Receipt(Status.UNAVAILABLE)
RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}


def test_an_accepted_event_is_answered_with_its_id_and_warnings() -> None:
    reply = reply_to_one(ACCEPTED)

    assert reply.status == 202
    assert reply.headers == {}
    assert reply.body["status"] == 202
    assert reply.body["event_id"] == "evt_1"
    assert reply.body["warnings"] == [{"field": "emial", "message": WARNING.message}]
    assert reply.body.keys() == {"status", "message", "event_id", "warnings"}


def test_an_invalid_event_is_answered_with_every_fault_and_one_sentence() -> None:
    reply = reply_to_one(INVALID)

    assert reply.status == 422
    assert reply.headers == {}
    assert reply.body == {
        "message": "The event is not valid: email is required.",
        "errors": [{"field": "email", "message": "is required"}],
        "warnings": [{"field": "emial", "message": WARNING.message}],
    }


def test_an_event_that_could_not_be_queued_may_be_sent_again() -> None:
    reply = reply_to_one(UNAVAILABLE)

    assert reply.status == 503
    assert reply.headers == RETRY
    assert reply.body.keys() == {"message"}


@pytest.mark.parametrize(
    ("receipt", "status", "members"),
    [
        pytest.param(ACCEPTED, 202, {"status", "message"}, id="accepted"),
        pytest.param(INVALID, 422, {"message"}, id="invalid"),
        pytest.param(UNAVAILABLE, 503, {"message"}, id="unavailable"),
    ],
)
def test_the_drop_in_door_answers_with_cometlys_members_alone(
    receipt: Receipt, status: int, members: set[str]
) -> None:
    reply = reply_as_cometly(receipt)

    assert reply.status == status
    assert reply.body.keys() == members


def test_the_drop_in_door_names_an_accepted_event_where_cometly_names_a_request() -> None:
    assert reply_as_cometly(ACCEPTED).headers == {"Request-Id": "evt_1"}
    assert reply_as_cometly(INVALID).headers == {}
    assert reply_as_cometly(UNAVAILABLE).headers == RETRY


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
    reply = reply_to_many(receipts)

    assert reply.status == reply.body["status"] == status
    assert headers.items() <= reply.headers.items()
    assert [result["status"] for result in reply.body["results"]] == [r.status for r in receipts]


def test_each_item_of_an_array_says_what_a_single_event_would_be_told() -> None:
    results = reply_to_many([UNAVAILABLE, ACCEPTED, INVALID]).body["results"]

    assert results == [
        {**reply_to_one(receipt).body, "status": int(receipt.status)}
        for receipt in (UNAVAILABLE, ACCEPTED, INVALID)
    ]


def test_an_array_is_summed_up_in_its_message() -> None:
    assert reply_to_many([ACCEPTED, INVALID, ACCEPTED]).body["message"] == "2 of 3 events accepted."


def test_a_refusal_is_a_message_and_its_headers() -> None:
    reply = refusal(401, "No.", WWW_Authenticate="Bearer")

    assert (reply.status, reply.body) == (401, {"message": "No."})
    assert reply.headers == {"WWW-Authenticate": "Bearer"}
