"""Where is it? Which event is meant, and what is told of it."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cometly_forwarder import aws
from cometly_forwarder.event.envelope import MAX_BODY_BYTES, Source, read_envelope, seal
from cometly_forwarder.ingest import handler as ingest
from cometly_forwarder.ingest.lookup import Sought, response_to
from cometly_forwarder.ledger_item import Entry, State, entry_in
from tests.unit.conftest import (
    READ_AT,
    FakeAws,
    an_event,
    answer_to,
    http_request,
    lines_in,
    read,
)

LOOKUP = "/v1/events/lookup"
EVENT_ID = "evt_73b74b2960d0c5745839aa18de8292fd"
ORDER = an_event(order_id="1042", amount=99.9, url="https://shop.example.com/thanks")
NOW = READ_AT.timestamp()


def item(state: str, **more: Any) -> dict[str, dict[str, str]]:
    """Build an item as deliver writes it; numbers are given as numbers."""
    kept = {"attempts": 1, "answer": "HTTP 202", "request_id": "req-1", "accepted_at": "a", **more}
    told = {
        name: {"N" if isinstance(it, int | float) else "S": str(it)} for name, it in kept.items()
    }
    return {"event_id": {"S": EVENT_ID}, "state": {"S": state}, **told}


def entry(state: State, **more: Any) -> Entry:
    found = entry_in(item(state.value, **more))
    assert found
    return found


def ask(event_id: str = EVENT_ID, **given: Any) -> dict[str, Any]:
    return http_request(method="GET", path=f"/v1/events/{event_id}", **given)


def look_up(body: object, **given: Any) -> dict[str, Any]:
    return http_request(body, path=LOOKUP, **given)


def posted_id(event: object, fake: FakeAws, **given: Any) -> str:
    answer_to(http_request(event, **given))
    return str(json.loads(fake.bodies[-1])["event_id"])


def content_of(event: dict[str, object]) -> str:
    """Return the content of an event as deliver computes it, off the queue."""
    sealed = seal(read(event)[0], Source("http", "1", READ_AT))
    return read_envelope(sealed.body(), Source("sqs", "1", READ_AT)).content()


# --- By its id --------------------------------------------------------------------------------


def test_an_event_is_told_with_all_that_the_ledger_knows(fake: FakeAws) -> None:
    fake.items[EVENT_ID] = item("delivered", attempts=3, updated_at=NOW, accepted_at="2026-07-01")

    answer = answer_to(ask())

    assert answer.status == 200
    assert answer.body == {
        "message": "Cometly has it.",
        "event_id": EVENT_ID,
        "state": "delivered",
        "attempts": 3,
        "last_answer": "HTTP 202",
        "request_id": "req-1",
        "accepted_at": "2026-07-01",
        "updated_at": "2026-07-01T12:00:00+00:00",
        "next_try_at": None,
    }


def test_an_event_that_the_ledger_does_not_know_may_be_on_the_queue(fake: FakeAws) -> None:
    answer = answer_to(ask())

    assert fake.items == {}
    assert (answer.status, answer.body["event_id"]) == (404, EVENT_ID)
    assert "may be on the queue" in answer.body["message"]


@pytest.mark.parametrize("event_id", ["gate", "evt_1", EVENT_ID.upper(), EVENT_ID + "0", "%20"])
def test_what_is_no_events_id_is_never_read(event_id: str, fake: FakeAws) -> None:
    fake.items[event_id] = {"state": {"S": "{}"}}

    answer = answer_to(ask(event_id))

    assert (answer.status, list(answer.body)) == (404, ["message"])


def test_a_slash_at_the_end_says_nothing(fake: FakeAws) -> None:
    fake.items[EVENT_ID] = item("delivered")

    assert answer_to(ask(f"{EVENT_ID}/")).status == 200


# --- By what was posted -----------------------------------------------------------------------

KEY = "6b6f0b7e-8b1d-4a53-9d6e-5a1f2e7c9b40"
UPSELL = {**ORDER, "is_upsell": True}


@pytest.mark.parametrize(
    ("event", "asked"),
    [
        pytest.param(ORDER, ORDER, id="the event itself"),
        pytest.param(
            ORDER,
            {"event_name": "Purchase", "order_id": 1042, "email": " GRACE@example.com"},
            id="name, order, customer",
        ),
        pytest.param(an_event(idempotency_key=KEY), {"idempotency_key": f'"{KEY}"'}, id="its key"),
        pytest.param(an_event(event_id=KEY), {"event_id": KEY}, id="its key, in Meta's words"),
        pytest.param(
            an_event(idempotency_key=KEY), {"idempotency_key": KEY, "a": 1}, id="and more"
        ),
        pytest.param(UPSELL, UPSELL, id="an upsell"),
    ],
)
def test_what_was_posted_is_found(event: object, asked: object, fake: FakeAws) -> None:
    event_id = posted_id(event, fake)
    fake.items[event_id] = item("waiting")

    answer = answer_to(look_up(asked))

    assert (answer.status, answer.body.get("event_id")) == (200, event_id)
    assert len(fake.bodies) == 1


@pytest.mark.parametrize("body", [{}, {"event_name": "purchase"}, ORDER], ids=repr)
def test_the_header_may_name_the_key(body: object, fake: FakeAws) -> None:
    headers = {"Idempotency-Key": KEY}
    event_id = posted_id(an_event(), fake, headers=headers)

    answer = answer_to(look_up(body, headers=headers))

    assert (answer.status, answer.body["event_id"]) == (404, event_id)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(an_event(), "an event of its own each time", id="neither key nor order"),
        pytest.param(an_event(order_name="#1"), "an event of its own each time", id="a name alone"),
        pytest.param(an_event(idempotency_key="null"), "of its own each time", id="no real key"),
        pytest.param({}, "It does not say which event it is", id="nothing"),
        pytest.param({"order_id": "1042"}, "event_name is required", id="an order alone"),
        pytest.param({"idempotency_key": " "}, "It does not say which event", id="a blank key"),
        pytest.param({"idempotency_key": ["k"]}, "It does not say which event", id="a list"),
        pytest.param([ORDER], "one event at a time", id="an array"),
        pytest.param("x", "one event at a time", id="text"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_what_names_no_event_is_answered_422_in_words(body: object, words: str) -> None:
    answer = answer_to(look_up(json.dumps(body)))

    assert (answer.status, list(answer.body)) == (422, ["message"])
    assert words in answer.body["message"]
    assert "example.com" not in answer.body["message"]


@pytest.mark.usefixtures("fake")
def test_two_keys_that_differ_name_no_event() -> None:
    answer = answer_to(look_up({"idempotency_key": "a"}, headers={"Idempotency-Key": "b"}))

    assert answer.status == 422
    assert "differs from the Idempotency-Key header" in answer.body["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("{", 400, id="no JSON"),
        pytest.param(
            an_event(order_id="1", url="x" * MAX_BODY_BYTES), 422, id="too large to travel"
        ),
        pytest.param("x" * (1024 * 1024 + 1), 413, id="too large to read"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_a_body_is_read_as_that_of_an_event(body: object, status: int) -> None:
    assert answer_to(look_up(body)).status == status


# --- Contents ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "state"),
    [
        pytest.param(ORDER, "delivered", id="the same"),
        pytest.param({**ORDER, "event_time": 1705314600}, "delivered", id="at another time"),
        pytest.param({**ORDER, "amount": 5}, "duplicate", id="corrected"),
        pytest.param(an_event(order_id="1042"), "delivered", id="named, not brought"),
    ],
)
def test_an_event_whose_identity_is_delivered_with_another_content_is_a_duplicate(
    asked: object, state: str, fake: FakeAws
) -> None:
    event_id = posted_id(ORDER, fake)
    fake.items[event_id] = item("delivered", content=content_of(ORDER))

    answer = answer_to(look_up(asked))

    assert answer.body["state"] == state
    assert answer.body.get("duplicate_of") == (event_id if state == "duplicate" else None)


@pytest.mark.parametrize("state", ["claimed", "waiting", "parked"])
def test_only_what_is_delivered_makes_a_duplicate(state: str) -> None:
    answer = response_to(Sought(EVENT_ID, "other"), entry(State(state), content="one"), READ_AT)

    assert answer.body["state"] != "duplicate"


def test_an_item_without_a_content_makes_no_duplicate() -> None:
    answer = response_to(Sought(EVENT_ID, "some"), entry(State.DELIVERED, content=""), READ_AT)

    assert answer.body["state"] == "delivered"


# --- States -----------------------------------------------------------------------------------

SOON = "2026-07-01T12:01:00+00:00"


@pytest.mark.parametrize(
    ("state", "kept", "told", "words"),
    [
        pytest.param(
            State.WAITING, {"retry_at": NOW + 60}, ("waiting", 1, SOON), "until next", id="waits"
        ),
        pytest.param(
            State.WAITING, {"retry_at": 0.0}, ("waiting", 1, None), "its turn", id="at once"
        ),
        pytest.param(State.WAITING, {}, ("waiting", 1, None), "its turn", id="an older version's"),
        pytest.param(
            State.WAITING, {"retry_at": 1e300}, ("waiting", 1, None), "until", id="a wrong clock"
        ),
        pytest.param(
            State.CLAIMED, {"lease": NOW + 9}, ("in_progress", 1, None), "just now", id="in work"
        ),
        pytest.param(
            State.CLAIMED, {"lease": NOW - 9}, ("in_progress", 1, None), "within six", id="killed"
        ),
        pytest.param(State.DELIVERED, {}, ("delivered", 1, None), "has it", id="delivered"),
        pytest.param(
            State.PARKED, {"retry_at": 0.0}, ("parked", None, None), "dead-letter", id="parked"
        ),
    ],
)
def test_a_state_is_told_with_what_comes_next(
    state: State, kept: dict[str, Any], told: tuple[str, int | None, str | None], words: str
) -> None:
    answer = response_to(Sought(EVENT_ID), entry(state, **kept), READ_AT)

    assert (answer.body["state"], answer.body["attempts"], answer.body["next_try_at"]) == told
    assert words in answer.body["message"]


def test_an_event_that_was_not_posted_has_no_answer() -> None:
    bare = entry_in({"state": {"S": "claimed"}, "lease": {"N": str(NOW)}})

    answer = response_to(Sought(EVENT_ID), bare, datetime.fromtimestamp(0, UTC))

    names = ("last_answer", "request_id", "accepted_at", "updated_at")
    assert [answer.body[name] for name in names] == [None] * 4


# --- Keys, and AWS that fails -----------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize("request_of", [ask, lambda **it: look_up(ORDER, **it)])
def test_a_lookup_needs_the_key(key: str | None, request_of: Any, fake: FakeAws) -> None:
    fake.items[EVENT_ID] = item("delivered")

    assert answer_to(request_of(key=key)).status == 401


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://aws.example.com"),
        ClientError({"Error": {"Code": "AccessDenied"}}, "GetItem"),
    ],
    ids=["network", "permission"],
)
def test_without_the_table_a_lookup_is_answered_503(
    error: Exception, fake: FakeAws, log: io.StringIO
) -> None:
    fake.table_is_away = error

    answer = answer_to(ask())

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    [line] = lines_in(log)
    assert line["message"] == "ingest.unavailable"
    assert line["reason"] == f"the ledger did not answer: {type(error).__name__}"


def test_a_lookup_logs_nothing(fake: FakeAws, log: io.StringIO) -> None:
    fake.items[EVENT_ID] = item("delivered")

    answer_to(ask())
    answer_to(look_up(ORDER))

    assert log.getvalue() == ""


def test_the_client_of_the_table_is_made_by_the_first_lookup(
    fake: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def client(service: str) -> FakeAws:
        made.append(service)
        return fake

    monkeypatch.setattr(aws, "client", client)
    ingest.routes.cache_clear()

    answer_to(http_request(an_event()))
    before = list(made)
    answer_to(ask())
    answer_to(ask())

    assert "dynamodb" not in before
    assert made == [*before, "dynamodb"]
