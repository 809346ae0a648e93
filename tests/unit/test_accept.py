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


def an_intake(event_queue: FakeEventQueue) -> Intake:
    numbers = itertools.count(1)
    return Intake(event_queue, lambda: NOON, lambda: f"request-{next(numbers)}")


def statuses(receipts: Sequence[Receipt]) -> list[Status]:
    return [receipt.status for receipt in receipts]


def test_a_valid_event_is_sent_and_acknowledged_with_its_id_and_warnings() -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(emial="x")], an_intake(event_queue))

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
        pytest.param({"idempotency_key": "own"}, "", "own", id="an empty header"),
        pytest.param({"idempotency_key": "own"}, "  ", "own", id="a blank header"),
    ],
)
def test_the_key_is_the_headers_or_the_events(
    own: dict[str, object], header: str, key: str
) -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(**own)], an_intake(event_queue), header)

    assert receipt.status is Status.ACCEPTED
    assert event_queue.events[0]["idempotency_key"] == key


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
        pytest.param(NESTED, "key-1", id="deeply nested"),
        pytest.param(None, "a\ud800", id="a header that is no Unicode"),
    ],
)
def test_two_keys_and_a_key_that_is_none_are_refused(own: object, header: str) -> None:
    event_queue = FakeEventQueue()

    (receipt,) = accept([an_event(idempotency_key=own)], an_intake(event_queue), header)

    assert receipt.status is Status.INVALID
    assert [fault.field for fault in receipt.faults] == ["idempotency_key"]
    assert event_queue.bodies == []


def test_a_header_with_a_body_that_is_no_object_is_refused() -> None:
    (receipt,) = accept(["purchase"], an_intake(FakeEventQueue()), "key-1")

    assert receipt.status is Status.INVALID
