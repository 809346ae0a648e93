"""Hours in seconds: a full queue behind a closed gate, with every port in memory."""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from dataclasses import dataclass, field

import pytest

from cometly_forwarder.deliver.jobs import Message
from cometly_forwarder.deliver.verdict import CometlyResponse
from tests.unit.fakes import ACCEPTED, START, Pipe, answer, message

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

    def fill(self, count: int) -> None:
        self.waiting = [(START, number) for number in range(count)]

    def run(self, until: float) -> None:
        """Deliver batch after batch until that time, or until the queue is empty."""
        while self.waiting and max(self.pipe.clock.time, self.waiting[0][0]) < until:
            self.pipe.clock.time = max(self.pipe.clock.time, self.waiting[0][0])
            for kept in self.pipe.deliver(*self._batch()):
                number = int(kept.removeprefix("m-"))
                back_at = self.pipe.clock.time + self.pipe.queue.hidden[f"r-{number}"]
                heapq.heappush(self.waiting, (back_at, number))
        self.pipe.clock.time = max(self.pipe.clock.time, until)

    def _batch(self) -> list[Message]:
        batch: list[Message] = []
        while self.waiting and self.waiting[0][0] <= self.pipe.clock.time and len(batch) < 10:
            _, number = heapq.heappop(self.waiting)
            self.receives[number] += 1
            batch.append(
                dataclasses.replace(message(number), receives=self.receives[number], sent_at=START)
            )
        return batch


@pytest.fixture
def sqs() -> Sqs:
    queue = Sqs(Pipe())
    queue.fill(EVENTS)
    return queue


@pytest.mark.parametrize("refusal", [answer(401), answer(403)], ids=["401", "403"])
def test_ten_thousand_events_wait_out_an_hour_of_refusals(
    sqs: Sqs, refusal: CometlyResponse
) -> None:
    pipe = sqs.pipe
    pipe.cometly.respond = lambda _: refusal
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
