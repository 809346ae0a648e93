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
from cometly_forwarder.ingest.accept import Intake, Receipt, Status, accept
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


def an_intake(event_queue: FakeEventQueue, phone_region: str | None = None) -> Intake:
    numbers = itertools.count(1)
    return Intake(event_queue, lambda: NOON, lambda: f"request-{next(numbers)}", phone_region)


def statuses(receipts: Sequence[Receipt]) -> list[Status]:
    return [receipt.status for receipt in receipts]


def test_a_valid_event_is_sent_and_acknowledged_with_its_id() -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event()], an_intake(event_queue))

    assert receipt.status is Status.ACCEPTED
    assert receipt.event_id == json.loads(event_queue.bodies[0])["event_id"]
    assert receipt.faults == receipt.warnings == ()


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


def test_the_region_of_the_intake_reads_phone_numbers() -> None:
    event_queue = FakeEventQueue()

    accept([an_event(phone="(650)555-1212")], an_intake(event_queue, "US"))

    assert event_queue.events[0]["phone"] == "16505551212"


def test_receipts_come_in_the_order_of_the_events() -> None:
    event_queue = FakeEventQueue()

    receipts = accept(
        [an_event(order_id="1"), {}, an_event(order_id="2"), 5], an_intake(event_queue)
    )

    assert statuses(receipts) == [
        Status.ACCEPTED,
        Status.INVALID,
        Status.ACCEPTED,
        Status.INVALID,
    ]
    assert [event["order_id"] for event in event_queue.events] == ["1", "2"]


def test_an_invalid_event_is_not_sent_and_its_receipt_says_why() -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([{"event_name": "purchase", "emial": "x"}], an_intake(event_queue))

    assert receipt.status is Status.INVALID
    assert receipt.event_id is None
    assert [fault.field for fault in receipt.faults] == ["email"]
    assert [warning.field for warning in receipt.warnings] == ["emial"]
    assert event_queue.bodies == []


def test_an_accepted_event_carries_its_warnings() -> None:
    (receipt,) = accept([an_event(emial="x")], an_intake(FakeEventQueue()))

    assert receipt.status is Status.ACCEPTED
    assert [warning.field for warning in receipt.warnings] == ["emial"]


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


def test_the_same_event_posted_twice_gets_the_same_id() -> None:
    intake = an_intake(FakeEventQueue())

    (first,) = accept([an_event(order_id="1")], intake)
    (second,) = accept([an_event(order_id="1", amount=5)], intake)

    assert first.event_id == second.event_id


# --- The Idempotency-Key header ---------------------------------------------------------------


@pytest.mark.parametrize(
    "own",
    [{}, {"idempotency_key": None}, {"idempotency_key": ""}, {"idempotency_key": "  "}],
    ids=["absent", "null", "empty", "blank"],
)
def test_the_header_is_the_key_of_an_event_without_one(own: dict[str, object]) -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(**own)], an_intake(event_queue), "key-1")

    assert receipt.status is Status.ACCEPTED
    assert event_queue.events[0]["idempotency_key"] == "key-1"


@pytest.mark.parametrize("own", ["7", " 7 ", 7], ids=repr)
def test_the_header_may_repeat_the_key_of_the_event(own: object) -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(idempotency_key=own)], an_intake(event_queue), "7 ")

    assert receipt.status is Status.ACCEPTED
    assert event_queue.events[0]["idempotency_key"] == "7"


@pytest.mark.parametrize("own", ["other", "KEY-1", 1, 0, False, [], {}, ["key-1"]], ids=repr)
def test_a_key_beside_the_header_that_is_not_the_same_is_refused(own: object) -> None:
    (receipt,) = accept([an_event(idempotency_key=own)], an_intake(FakeEventQueue()), "key-1")

    assert receipt.status is Status.INVALID
    assert [fault.field for fault in receipt.faults] == ["idempotency_key"]


@pytest.mark.parametrize("header", ["", "  "], ids=["empty", "blank"])
def test_a_blank_header_is_none(header: str) -> None:
    event_queue = FakeEventQueue()

    accept([an_event(idempotency_key="own")], an_intake(event_queue), header)

    assert [event["idempotency_key"] for event in event_queue.events] == ["own"]


def test_a_header_that_is_no_unicode_is_refused_like_a_field() -> None:
    (receipt,) = accept([an_event()], an_intake(FakeEventQueue()), "a\ud800")

    assert [fault.field for fault in receipt.faults] == ["idempotency_key"]


def test_a_header_with_a_body_that_is_no_object_is_refused() -> None:
    (receipt,) = accept(["purchase"], an_intake(FakeEventQueue()), "key-1")

    assert receipt.status is Status.INVALID


def test_a_deeply_nested_key_beside_the_header_is_refused() -> None:
    nested: list[object] = []
    for _ in range(50_000):
        nested = [nested]

    (receipt,) = accept([an_event(idempotency_key=nested)], an_intake(FakeEventQueue()), "key-1")

    assert [fault.field for fault in receipt.faults] == ["idempotency_key"]
