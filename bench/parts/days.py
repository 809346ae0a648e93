"""What a day costs on which nothing is delivered: nothing comes, or Cometly refuses the token.

The blocked day is simulated with the product's own delivery over ports in memory
(`tests/unit/fakes.py`) and a virtual clock: so many events wait, Cometly answers 401 from the first
post on, and messages come back when their time is over. What is counted is turned into units:

* a batch behind a closed gate is a poll, an invocation of 50 ms, a consistent read of the gate, a
  change of visibility and a line with its metrics; nothing is deleted;
* a post besides is a claim, an outcome, and the gate's own write twice: four write units;
* messages come back in the batches in which they left, the best case: on AWS they spread;
* a queue without messages is polled by five connections of 20 s each: Lambda does not go
  below that where a mapping has a maximum concurrency, as ours has: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
* two secrets, and each metric that is written on that day, for a thirtieth of a month.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import prices
from bench.report import Result, Table
from cometly_forwarder.deliver.jobs import Message
from tests.unit import cloudformation
from tests.unit.fakes import START, Pipe, answer, message

DAY_SECONDS = 86_400
WAITING = (10, 1000, 10_000)
POLLERS, POLL_SECONDS = 5, 20
BATCH_MS, POST_MS = 50, 400
LINE_BYTES = 700
SECRETS = {"secrets": 2 / 30}
# Paused, Blocked and their like.
_METRICS = 3
_BATCH = 10


@dataclass
class Blocked:
    """A queue behind a gate that Cometly's 401 has closed."""

    pipe: Pipe = field(default_factory=Pipe)
    waiting: list[tuple[float, int]] = field(default_factory=list)
    receives: Counter[int] = field(default_factory=Counter)
    batches: int = 0

    def run(self, events: int) -> None:
        """Hand over batch after batch for a day."""
        self.pipe.cometly.respond = lambda _: answer(401)
        self.waiting = [(START, number) for number in range(events)]
        until = START + DAY_SECONDS
        while max(self.pipe.clock.time, self.waiting[0][0]) < until:
            self.pipe.clock.time = max(self.pipe.clock.time, self.waiting[0][0])
            self.batches += 1
            for kept in self.pipe.deliver(*self._batch()):
                number = int(kept.removeprefix("m-"))
                hidden = self.pipe.queue.hidden[f"r-{number}"]
                heapq.heappush(self.waiting, (self.pipe.clock.time + hidden, number))

    def _batch(self) -> list[Message]:
        batch: list[Message] = []
        while self.waiting and self.waiting[0][0] <= self.pipe.clock.time and len(batch) < _BATCH:
            _, number = heapq.heappop(self.waiting)
            self.receives[number] += 1
            made = message(number)
            batch.append(dataclasses.replace(made, receives=self.receives[number], sent_at=START))
        return batch

    def units(self, megabytes: int) -> dict[str, float]:
        posts = len(self.pipe.cometly.posted)
        seconds = (self.batches * BATCH_MS + posts * POST_MS) / 1000
        return {
            "sqs_requests": 2 * self.batches,
            "invocations": self.batches,
            "gb_seconds": seconds * megabytes / 1024,
            "reads": self.batches,
            "writes": 4 * posts,
            "log_bytes": LINE_BYTES * (self.batches + posts),
            "metrics": _METRICS / 30,
        }


def measure(template: Path) -> Result:
    """Return a day's units and dollars: idle, and blocked with so many events waiting."""
    megabytes = memory_of(template)
    polls = POLLERS * DAY_SECONDS / POLL_SECONDS
    idle = {"sqs_requests": polls}
    rows: list[tuple[str | float | int | None, ...]] = [_row("idle", 0, 0, [idle])]
    for events in WAITING:
        blocked = Blocked()
        blocked.run(events)
        posts = len(blocked.pipe.cometly.posted)
        rows.append(
            _row(
                f"blocked, {events:,} wait",
                blocked.batches,
                posts,
                [blocked.units(megabytes), idle],
            )
        )
    table = Table(
        "A day on which nothing is delivered",
        ("day", "batches", "posts", "SQS requests", "GB s", "dollars", "of it secrets and metrics"),
        tuple(rows),
        f"A day of 30, {megabytes} MB, list prices of {prices.REGION}, {prices.PRICED_ON}. Without"
        " a page queue, which doubles the idle polls.",
    )
    return Result((table,))


def memory_of(template: Path) -> int:
    """Return deliver's megabytes, with the template's defaults."""
    content = cloudformation.read(template)
    size = content["Resources"]["DeliverFunction"]["Properties"]["MemorySize"]
    return int(content["Parameters"][size["Ref"]]["Default"] if isinstance(size, dict) else size)


def _row(
    name: str, batches: int, posts: int, units: Sequence[dict[str, float]]
) -> tuple[str | float | int | None, ...]:
    counted = prices.total([*units, SECRETS])
    costs = prices.dollars(counted)
    fixed = costs.get("Secrets Manager", 0) + costs.get("Metrics", 0)
    return (
        name,
        batches,
        posts,
        counted["sqs_requests"],
        counted.get("gb_seconds", 0.0),
        sum(costs.values()),
        fixed,
    )
