"""Receipts as HTTP answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cometly_forwarder.errors import Fault
from cometly_forwarder.event.envelope import Envelope
from cometly_forwarder.ingest.accept import Preview, Receipt, Status
from cometly_forwarder.ingest.responses import (
    ACCEPTED_MESSAGE,
    RETRY_AFTER_SECONDS,
    UNAVAILABLE_MESSAGE,
    Response,
    refusal,
    response_as_cometly,
    response_to_many,
    response_to_one,
    response_to_preview,
    response_to_previews,
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


# --- What would become of an event ------------------------------------------------------------

ENVELOPE = Envelope("evt_1", datetime(2024, 1, 15, tzinfo=UTC), {"event_name": "purchase"})
VALID = Preview(ENVELOPE, ("order", "purchase", "T-1", "ada@example.com"), (), (WARNING,))
WRONG = Preview(None, (), (FAULT,), (WARNING,))
TOO_LARGE = Preview(None, (), (Fault("", "an event must not exceed 768 KiB"),), is_too_large=True)


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        (("key", "k-1"), {"idempotency_key": "k-1"}),
        (
            ("order", "purchase", "T-1", "ada@example.com"),
            {"event_name": "purchase", "order_id": "T-1", "customer": "ada@example.com"},
        ),
        (
            ("upsell", "purchase", "T-1", "ada@example.com", "97.0", "Socks"),
            {
                "event_name": "purchase",
                "order_id": "T-1",
                "customer": "ada@example.com",
                "amount": "97.0",
                "order_name": "Socks",
            },
        ),
        (("source", "http", "request-1"), {}),
    ],
    ids=lambda it: it[0] if isinstance(it, tuple) else "",
)
def test_an_identity_is_shown_by_the_names_of_its_parts(
    identity: tuple[str, ...], shown: dict[str, str]
) -> None:
    response = response_to_preview(Preview(ENVELOPE, identity))

    assert (response.status, response.body["identity"]) == (200, shown)


def test_a_preview_shows_what_would_be_sent_or_what_is_wrong() -> None:
    valid, wrong = response_to_preview(VALID), response_to_preview(WRONG)

    assert (valid.body["event_id"], valid.body["event"]) == ("evt_1", {"event_name": "purchase"})
    assert (valid.body["errors"], valid.body["warnings"]) == ([], WARNINGS)
    assert wrong == response_to_one(INVALID)
    assert response_to_preview(TOO_LARGE).status == 413


def test_previews_are_summed_up_and_each_has_a_status() -> None:
    response = response_to_previews([VALID, WRONG, TOO_LARGE])

    assert (response.status, response.body["status"]) == (200, 200)
    assert response.body["message"] == "1 of 3 events are valid. Nothing was queued."
    assert response.body["results"] == [
        {"status": 200, **response_to_preview(VALID).body},
        {"status": 422, **response_to_preview(WRONG).body},
        {"status": 413, **response_to_preview(TOO_LARGE).body},
    ]
