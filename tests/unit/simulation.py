"""Minutes in milliseconds: workers that post by the real gate rules against a strict limiter.

The clock is virtual; the limiter, the network's delays, clock skew, stalled threads and other
senders are simulated. What is real is `cometly_forwarder.pacing`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field

from cometly_forwarder import pacing
from cometly_forwarder.delivery import LATE_SECONDS, POST_SECONDS
from cometly_forwarder.pacing import GateState, Wish
from cometly_forwarder.quota import Quota

Steps = Generator[float, None, None]
BATCH = 10


@dataclass
class Limiter:
    """Admits `limit` requests a minute, strictly: the clock's minute, or any 60 seconds."""

    limit: int
    window: str
    times: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> tuple[bool, int, float]:
        start = now - 60 if self.window == "sliding" else now // 60 * 60 - 1e-9
        while self.times and self.times[0] <= start:
            self.times.popleft()
        if len(self.times) >= self.limit:
            end = self.times[0] + 60 if self.window == "sliding" else (now // 60 + 1) * 60
            return False, 0, max(1.0, -((now - end) // 1))
        self.times.append(now)
        return True, self.limit - len(self.times), 0.0


@dataclass
class World:
    """One Space, its limiter, and so many workers with a backlog that never ends.

    Times are seconds from the start. `others` are (from, to, requests a minute) of other senders,
    `limits` are (when, new limit). `duplicates` is the share of messages that need no slot,
    `poll` the longest time between two batches of a worker.
    `remaining` is a header that is stuck.
    `skew` is how far clocks are off, once DynamoDB's was heard.
    """

    window: str
    workers: int = 2
    limit: int = 1000
    configured: int = 1000
    latency: float = 0.1
    skew: float = 0.0
    has_headers: bool = True
    remaining: int | None = None
    duplicates: float = 0.0
    poll: float = 0.06
    others: tuple[tuple[float, float, float], ...] = ()
    limits: tuple[tuple[float, int], ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        self.now = self.start = 1_800_000_017.0
        self.random = random.Random(self.seed)
        self.limiter = Limiter(self.limit, self.window)
        self.state = GateState()
        self.queue: list[tuple[float, int, Steps]] = []
        self.ticks = itertools.count()
        self.accepted: list[float] = []
        self.refused: list[float] = []

    def run(self, seconds: float) -> World:
        for number in range(self.workers):
            self._spawn(self._worker(self.skew * (-1) ** number if number else 0.0))
        for other in self.others:
            self._spawn(self._other(*other))
        for when, limit in self.limits:
            self._spawn(self._relimit(when, limit))
        while self.queue and self.queue[0][0] < self.start + seconds:
            self.now, _, steps = heapq.heappop(self.queue)
            if (delay := next(steps, None)) is not None:
                heapq.heappush(self.queue, (self.now + delay, next(self.ticks), steps))
        return self

    def accepted_in(self, begin: float, end: float) -> int:
        return sum(begin <= moment < end for moment in self.accepted)

    def refused_in(self, begin: float, end: float) -> int:
        return sum(begin <= moment < end for moment in self.refused)

    def _spawn(self, steps: Steps) -> None:
        heapq.heappush(self.queue, (self.now, next(self.ticks), steps))

    def _relimit(self, when: float, limit: int) -> Steps:
        yield when
        self.limiter.limit = limit

    def _other(self, begin: float, end: float, rate: float) -> Steps:
        yield begin
        while self.now < self.start + end:
            self.limiter.take(self.now)
            yield 60 / rate * self.random.uniform(0.5, 1.5)

    def _worker(self, skew: float) -> Steps:
        quotas: list[Quota] = []
        while True:
            yield self.random.uniform(self.poll / 4, self.poll)
            clock = self.now + skew
            for quota in sorted(quotas, key=lambda quota: quota.at):
                self.state = pacing.observe(self.state, quota, now=clock)
            quotas.clear()
            wish = Wish(clock, BATCH, clock + 60 - POST_SECONDS, self.configured)
            self.state, admission = pacing.admit(self.state, wish)
            if not admission.slots:
                yield min(admission.wait + self.random.uniform(0, 2), 20)
                continue
            yield self.random.uniform(0.01, 0.06)
            done: list[None] = []
            needed = sum(self.random.random() >= self.duplicates for _ in admission.slots)
            used, unused = admission.slots[:needed], admission.slots[needed:]
            if unused:
                self.state = pacing.give_back(
                    self.state, unused, now=self.now + skew, configured=self.configured
                )
            for slot in used:
                self._spawn(self._post(slot, skew, quotas, done, probe=admission.probe))
            while len(done) < len(used):
                yield 0.01

    def _post(
        self, slot: float, skew: float, quotas: list[Quota], done: list[None], *, probe: bool
    ) -> Steps:
        yield max(0.0, slot - skew - self.now)
        stalled = self.random.random() < 0.003
        yield self.random.uniform(0, 0.25 if stalled else 0.02)
        clock = self.now + skew
        if clock - slot > LATE_SECONDS or (pacing.closed(self.state, clock) and not probe):
            done.append(None)
            return
        yield self.latency / 2 * self.random.uniform(0.5, 1.2)
        is_ok, remaining, retry_after = self.limiter.take(self.now)
        (self.accepted if is_ok else self.refused).append(self.now - self.start)
        yield self.latency / 2 * self.random.uniform(0.5, 1.5)
        if self.has_headers:
            told = remaining if self.remaining is None else self.remaining
            quotas.append(Quota(self.limiter.limit, told, slot))
        clock = self.now + skew
        if is_ok and (probe or self.state.failures):
            self.state = pacing.succeeded(self.state, probe=probe)
        elif not is_ok:
            self.state = pacing.throttled(self.state, now=clock, retry_after=retry_after)
        done.append(None)
