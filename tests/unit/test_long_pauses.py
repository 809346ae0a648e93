"""Hours in seconds: a full queue behind a closed gate, with every port in memory.

A batch's threads run one after the other, and a message is read once, however often it comes back:
that they run side by side is shown elsewhere, and at this number is most of the time.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cometly_forwarder.deliver import batch, preparation
from cometly_forwarder.deliver.jobs import Message
from cometly_forwarder.event.envelope import read_envelope
from tests.unit.fakes import ACCEPTED, START, InTurn, Pipe, answer, message
from tests.unit.test_alarms import ALARMS, rings

# Coverage would double the time, and the other tests reach each line.
pytestmark = pytest.mark.no_cover

EVENTS = 10_000
LONGEST_PROBE_INTERVAL = 15 * 60


@dataclass
class Sqs:
    """A queue whose messages come back when their time is over; the clock jumps to that time."""

    pipe: Pipe
    waiting: list[tuple[float, int]] = field(default_factory=list)
    receives: Counter[int] = field(default_factory=Counter)
    hidden_at: dict[int, float] = field(default_factory=dict)
    """When a message was received for the third time: its age then leaves SQS's metric."""
    came_back_at: list[float] = field(default_factory=list)

    def fill(self, count: int) -> None:
        self.waiting = [(START, number) for number in range(count)]

    def run(self, until: float) -> None:
        """Deliver batch after batch until that time, or until the queue is empty."""
        while self.waiting and max(self.pipe.clock.time, self.waiting[0][0]) < until:
            self.pipe.clock.time = max(self.pipe.clock.time, self.waiting[0][0])
            for kept in self.pipe.deliver(*self._batch()):
                number = int(kept.removeprefix("m-"))
                self.came_back_at.append(self.pipe.clock.time)
                back_at = self.pipe.clock.time + self.pipe.queue.hidden[f"r-{number}"]
                heapq.heappush(self.waiting, (back_at, number))
        self.pipe.clock.time = max(self.pipe.clock.time, until)

    def _batch(self) -> list[Message]:
        batch: list[Message] = []
        while self.waiting and self.waiting[0][0] <= self.pipe.clock.time and len(batch) < 10:
            _, number = heapq.heappop(self.waiting)
            self.receives[number] += 1
            if self.receives[number] == 3:
                self.hidden_at[number] = self.pipe.clock.time
            batch.append(
                dataclasses.replace(message(number), receives=self.receives[number], sent_at=START)
            )
        return batch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ThreadPoolExecutor", InTurn)
    monkeypatch.setattr(preparation, "read_envelope", functools.cache(read_envelope))


@pytest.fixture
def sqs() -> Sqs:
    queue = Sqs(Pipe())
    queue.fill(EVENTS)
    return queue


def test_ten_thousand_events_wait_out_an_hour_of_refusals(sqs: Sqs) -> None:
    pipe, refusals = sqs.pipe, itertools.cycle([answer(401), answer(403)])
    pipe.cometly.respond = lambda _: next(refusals)
    sqs.run(START + 3600)

    refused = len(pipe.cometly.posted)
    assert len(sqs.waiting) == EVENTS
    assert pipe.queue.parked == []
    assert {item["attempts"] for item in pipe.ledger.items.values()} == {0}
    # Those of the first batch that were under way, and probes after 1, 2, 4, 8, 15, 15 minutes.
    assert 1 + 6 <= refused <= 10 + 6

    pipe.cometly.respond = lambda _: ACCEPTED
    cured = pipe.clock.time
    sqs.run(cured + LONGEST_PROBE_INTERVAL + 5)

    assert "delivered" in pipe.ledger.states()

    sqs.run(cured + 2 * 3600)

    assert sqs.waiting == []
    assert pipe.queue.parked == []
    assert pipe.ledger.states() == ["delivered"] * EVENTS
    assert {item["attempts"] for item in pipe.ledger.items.values()} == {1}


def refuse(pipe: Pipe) -> None:
    pipe.cometly.respond = lambda _: answer(401)


def fail(pipe: Pipe) -> None:
    pipe.cometly.respond = lambda _: answer(503)


def lose_the_table(pipe: Pipe) -> None:
    pipe.ledger.broken = {"claim"}


@pytest.mark.parametrize("trouble", [refuse, fail, lose_the_table])
@pytest.mark.parametrize("count", [1, 30])
def test_an_hour_of_trouble_that_sqs_hides_rings_all_the_same(
    trouble: Callable[[Pipe], None], count: int
) -> None:
    """SQS leaves out of the age of the oldest what was received three times or more."""
    sqs = Sqs(Pipe())
    sqs.fill(count)
    trouble(sqs.pipe)

    sqs.run(START + 3600)

    hidden = max(sqs.hidden_at.values()) - START
    ages = [minute * 60.0 if minute * 60 < hidden else None for minute in range(60)]
    windows = [ages[:minute] for minute in range(61)]
    assert len(sqs.hidden_at) == count
    assert not any(rings(ALARMS["EventsWaitAlarm"], it) for it in windows)
    back_after = [at - START for at in sqs.came_back_at]
    waited = [
        max((it for it in back_after if begin <= it < begin + 300), default=None)
        for begin in range(0, 3600, 300)
    ]
    assert rings(ALARMS["EventsComeBackAlarm"], waited)
    assert not rings(ALARMS["EventsComeBackAlarm"], waited[:6])
