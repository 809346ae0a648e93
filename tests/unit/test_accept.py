"""From posted events to the queue, and a receipt for each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from cometly_forwarder import jsontext
from cometly_forwarder.event.envelope import MAX_BODY_BYTES
from cometly_forwarder.ingest.accept import Intake, Receipt, Status, accept, preview, with_key
from tests.unit.cases import in_one_test
from tests.unit.conftest import an_event

NOON = datetime(2024, 1, 15, 12, 0, 0, tzinfo=UTC)


@dataclass
class FakeEventQueue:
    """Takes every body but those at the positions in `refuses`."""

    refuses: frozenset[int] = frozenset()
    bodies: list[str] = field(default_factory=list)

    def send(self, bodies: Sequence[str]) -> frozenset[int]:
        self.bodies += bodies
        return self.refuses

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(body)["event"] for body in self.bodies]


def an_intake(event_queue: FakeEventQueue) -> Intake:
    numbers = itertools.count(1)
    return Intake(event_queue, lambda: NOON, lambda: f"request-{next(numbers)}")


def statuses(receipts: Sequence[Receipt]) -> list[Status]:
    return [receipt.status for receipt in receipts]


def test_a_valid_event_is_sent_and_acknowledged_with_its_id_and_warnings() -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(amount=5, emial="x")], an_intake(event_queue))

    assert receipt.status is Status.ACCEPTED
    assert receipt.event_id == json.loads(event_queue.bodies[0])["event_id"]
    assert receipt.faults == ()
    assert [warning.field for warning in receipt.warnings] == ["emial"]


def test_an_events_time_is_fixed_when_it_is_accepted() -> None:
    event_queue = FakeEventQueue()

    accept([an_event()], an_intake(event_queue))

    assert event_queue.events[0]["event_time"] == "2024-01-15T12:00:00Z"
    assert json.loads(event_queue.bodies[0])["accepted_at"] == "2024-01-15T12:00:00+00:00"


def test_an_event_is_written_once_to_be_weighed_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    dump = Mock(wraps=jsontext.dump)
    monkeypatch.setattr(jsontext, "dump", dump)
    event_queue = FakeEventQueue()

    accept([an_event(), an_event()], an_intake(event_queue))

    written = [call.args[0] for call in dump.call_args_list]
    assert [value["event"] for value in written if isinstance(value, dict)] == event_queue.events
    assert len(event_queue.bodies) == 2


def test_an_invalid_event_is_not_sent_and_its_receipt_says_why() -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([{"event_name": "purchase", "emial": "x"}], an_intake(event_queue))

    assert receipt.status is Status.INVALID
    assert receipt.event_id is None
    assert [fault.field for fault in receipt.faults] == ["email"]
    assert [warning.field for warning in receipt.warnings] == ["emial"]
    assert event_queue.bodies == []


def test_an_event_too_large_to_travel_is_said_to_be() -> None:
    (receipt,) = accept([an_event(url="x" * MAX_BODY_BYTES)], an_intake(FakeEventQueue()))

    assert receipt.status is Status.TOO_LARGE


def test_only_what_the_queue_confirmed_is_accepted() -> None:
    # Positions count among what was sent: an invalid event must not shift them.
    event_queue = FakeEventQueue(refuses=frozenset({0, 2}))
    raws = [{}, an_event(order_id="1"), an_event(order_id="2"), {}, an_event(order_id="3")]

    receipts = accept(raws, an_intake(event_queue))

    assert statuses(receipts) == [
        Status.INVALID,
        Status.UNAVAILABLE,
        Status.ACCEPTED,
        Status.INVALID,
        Status.UNAVAILABLE,
    ]


def test_events_without_key_and_order_are_each_their_own() -> None:
    one, another = accept([an_event(), an_event()], an_intake(FakeEventQueue()))

    assert one.event_id != another.event_id


# --- The Idempotency-Key header ---------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    ("own", "header", "key"),
    [
        pytest.param({}, "key-1", "key-1", id="absent"),
        pytest.param({"idempotency_key": None}, "key-1", "key-1", id="null"),
        pytest.param({"idempotency_key": ""}, "key-1", "key-1", id="empty"),
        pytest.param({"idempotency_key": "  "}, "key-1", "key-1", id="blank"),
        pytest.param({"idempotency_key": "7"}, "7 ", "7", id="repeated"),
        pytest.param({"idempotency_key": " 7 "}, "7 ", "7", id="repeated with blanks"),
        pytest.param({"idempotency_key": 7}, "7 ", "7", id="repeated as a number"),
        pytest.param({"idempotency_key": 7.0}, "7", "7", id="repeated as a float"),
        pytest.param({}, '"key-1"', "key-1", id="in the quotes of the header's draft"),
        pytest.param({"idempotency_key": "key-1"}, '"key-1"', "key-1", id="quoted in the header"),
        pytest.param({"idempotency_key": '"key-1"'}, "key-1", "key-1", id="quoted in the event"),
        pytest.param(
            {"idempotency_key": "key-1\u200b"}, "key-1", "key-1", id="with what none sees"
        ),
        pytest.param({"idempotency_key": "undefined"}, "key-1", "key-1", id="a placeholder"),
        pytest.param({"idempotency_key": "own"}, "undefined", "own", id="a placeholder's header"),
        pytest.param({"idempotency_key": "own"}, '"null"', "own", id="a placeholder, quoted"),
        pytest.param({"idempotency_key": "own"}, '""', "own", id="an empty header in quotes"),
        pytest.param({"idempotency_key": "e-undefined"}, "key-1", "key-1", id="half of a key"),
        pytest.param({"idempotency_key": "own"}, "e-{{id}}", "own", id="half of a header"),
        pytest.param({"eventID": "key-1"}, "key-1", "key-1", id="in Meta's words"),
        pytest.param({}, "a\ud800", "a\N{REPLACEMENT CHARACTER}", id="half a character"),
        pytest.param({"idempotency_key": "own"}, "", "own", id="an empty header"),
        pytest.param({"idempotency_key": "own"}, "  ", "own", id="a blank header"),
    ],
)
def test_the_key_is_the_headers_or_the_events(
    own: dict[str, object], header: str, key: str
) -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(**own)], an_intake(event_queue), with_key(header))

    assert receipt.status is Status.ACCEPTED
    assert event_queue.events[0]["idempotency_key"] == key


@pytest.mark.parametrize("name", ["event_id", "messageId", "$insert_id"])
def test_a_header_outranks_another_vocabularys_key(name: str) -> None:
    event_queue = FakeEventQueue()
    raw = an_event(amount=1, **{name: "e-1"})

    (receipt,) = accept([raw], an_intake(event_queue), with_key("key-1"))

    assert event_queue.events[0]["idempotency_key"] == "key-1"
    assert [(it.field, "header" in it.message) for it in receipt.warnings] == [(name, True)]


NESTED: list[object] = []
for _ in range(50_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("own", "header"),
    [
        ("other", "key-1"),
        ("KEY-1", "key-1"),
        (1, "key-1"),
        (0, "key-1"),
        (False, "key-1"),
        (True, "True"),
        ([], "key-1"),
        ({}, "key-1"),
        (["key-1"], "key-1"),
        (["key-1"], "undefined"),
        ("key-2", '"key-1"'),
        pytest.param(NESTED, "key-1", id="deeply nested"),
    ],
)
def test_two_keys_and_a_key_that_is_none_are_refused(own: object, header: str) -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(idempotency_key=own)], an_intake(event_queue), with_key(header))

    assert receipt.status is Status.INVALID
    assert [fault.field for fault in receipt.faults] == ["idempotency_key"]
    assert event_queue.bodies == []


def test_a_header_with_a_body_that_is_no_object_is_refused() -> None:
    (receipt,) = accept(["purchase"], an_intake(FakeEventQueue()), with_key("key-1"))

    assert receipt.status is Status.INVALID


@pytest.mark.parametrize("own", [{}, {"idempotency_key": "null"}], ids=["absent", "the same"])
def test_a_placeholder_for_a_key_is_none_and_its_event_is_its_own(own: dict[str, object]) -> None:
    event_queue = FakeEventQueue()
    raws = [an_event(amount=5, **own)] * 2

    receipts = accept(raws, an_intake(event_queue), with_key("undefined"))

    assert statuses(receipts) == [Status.ACCEPTED] * 2
    assert receipts[0].event_id != receipts[1].event_id
    assert [it.field for it in receipts[0].warnings] == ["idempotency_key"]


# --- What refuses an event, and what would become of it ---------------------------------------


def test_an_object_that_names_a_key_twice_is_refused_alone() -> None:
    event_queue = FakeEventQueue()
    raws = jsontext.parse_each(
        '[{"event_name": "purchase", "email": "a@example.com", "email": "b@example.com"},'
        ' {"event_name": "purchase", "email": "c@example.com"}]'
    )

    refused, taken = accept(raws, an_intake(event_queue), with_key("key-1"))

    assert (refused.status, taken.status) == (Status.INVALID, Status.ACCEPTED)
    assert [str(fault) for fault in refused.faults] == [
        "email must be given once: it is there twice"
    ]
    assert [event["email"] for event in event_queue.events] == ["c@example.com"]


def test_a_preview_is_what_would_be_queued_and_queues_nothing() -> None:
    event_queue = FakeEventQueue()
    raws = [an_event(order_id=5001), {}, an_event(url="x" * MAX_BODY_BYTES), "x"]

    valid, invalid, large, no_event = preview(raws, an_intake(event_queue))

    assert event_queue.bodies == []
    accept(raws[:1], an_intake(event_queue))
    assert valid.envelope is not None
    assert valid.envelope.body() == event_queue.bodies[0]
    assert valid.identity == ("order", "purchase", "5001", "grace@example.com")
    assert (invalid.envelope, large.envelope, no_event.envelope) == (None, None, None)
    assert [fault.field for fault in invalid.faults] == ["event_name", "email"]
    assert (invalid.is_too_large, large.is_too_large) == (False, True)
