"""Receipts as HTTP answers."""

from __future__ import annotations

import pytest

from cometly_forwarder.errors import Fault
from cometly_forwarder.ingest.accept import Receipt, Status
from cometly_forwarder.ingest.responses import (
    ACCEPTED_MESSAGE,
    RETRY_AFTER_SECONDS,
    UNAVAILABLE_MESSAGE,
    Response,
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


WARNINGS = [{"field": "emial", "message": WARNING.message}]
REFUSED = "The event is not valid: email is required."


@pytest.mark.parametrize(
    ("receipt", "status", "headers", "body"),
    [
        pytest.param(
            ACCEPTED,
            202,
            {},
            {
                "status": 202,
                "message": ACCEPTED_MESSAGE,
                "event_id": "evt_1",
                "warnings": WARNINGS,
            },
            id="accepted",
        ),
        pytest.param(
            INVALID,
            422,
            {},
            {
                "message": REFUSED,
                "errors": [{"field": "email", "message": "is required"}],
                "warnings": WARNINGS,
            },
            id="invalid",
        ),
        pytest.param(UNAVAILABLE, 503, RETRY, {"message": UNAVAILABLE_MESSAGE}, id="unavailable"),
    ],
)
def test_an_event_is_answered_with_what_became_of_it(
    receipt: Receipt, status: int, headers: dict[str, str], body: dict[str, object]
) -> None:
    assert response_to_one(receipt) == Response(status, body, headers)


@pytest.mark.parametrize(
    ("receipt", "response"),
    [
        pytest.param(
            ACCEPTED,
            Response(202, {"status": 202, "message": ACCEPTED_MESSAGE}, {"Request-Id": "evt_1"}),
            id="accepted",
        ),
        pytest.param(INVALID, Response(422, {"message": REFUSED}), id="invalid"),
        pytest.param(
            UNAVAILABLE, Response(503, {"message": UNAVAILABLE_MESSAGE}, RETRY), id="unavailable"
        ),
    ],
)
def test_the_drop_in_route_answers_with_cometlys_members_alone(
    receipt: Receipt, response: Response
) -> None:
    assert response_as_cometly(receipt) == response


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
    response = response_to_many([ACCEPTED, INVALID, ACCEPTED])

    assert response.body["message"] == "2 of 3 events accepted."


def test_a_refusal_is_a_message_and_its_headers() -> None:
    assert refusal(401, "No.", WWW_Authenticate="Bearer") == Response(
        401, {"message": "No."}, {"WWW-Authenticate": "Bearer"}
    )
