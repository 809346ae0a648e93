"""Minutes in milliseconds: workers that post by the real gate rules against a strict limiter.

The clock is virtual; the limiter, the network's delays, clock skew, stalled threads and other
senders are simulated. What is real is `cometly_forwarder.gate.rules`. A thread that missed its slot
gives it back, as `deliver` does.

Assumed: a worker takes a batch within `poll` of the last one, and what it knows of the gate is what
all know. Pages have more waiting than any worker can take, as in a flood of 120,000 a minute.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from cometly_forwarder.deliver.posting import LATE_SECONDS, POST_SECONDS
from cometly_forwarder.deliver.slots import Slot
from cometly_forwarder.gate import rules
from cometly_forwarder.gate.gate import PATIENCE_SECONDS
from cometly_forwarder.gate.quota import LimitEstimate, RateHeaders
from cometly_forwarder.gate.rules import GateState, Lane, Reservation, SlotRequest, Unused

Steps = Generator[float, None, None]
BATCH = 10
# How often a worker looks whether its posts are done. Nobody is asked in vain: the last post says
# when the next look would be.
LOOK_SECONDS = 0.01
WOKEN_BY_ANOTHER = math.inf


@dataclass
class Limiter:
    """Admits `limit` requests a minute, strictly.

    A minute is the clock's ("fixed"), any 60 seconds ("sliding"), or 60 seconds from the first
    request after the last minute ("begun").
    """

    limit: int
    window: str
    begun: float = 0.0
    times: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> tuple[bool, int, float]:
        start = self._start(now)
        while self.times and self.times[0] <= start:
            self.times.popleft()
        if len(self.times) >= self.limit:
            end = (self.times[0] if self.window == "sliding" else start) + 60
            return False, 0, max(1.0, -((now - end) // 1))
        self.times.append(now)
        return True, self.limit - len(self.times), 0.0

    def _start(self, now: float) -> float:
        if self.window == "sliding":
            return now - 60
        if self.window == "fixed":
            return now // 60 * 60 - 1e-9
        if now >= self.begun + 60:
            self.begun = now - 1e-9
        return self.begun


@dataclass(frozen=True)
class Worker:
    """Who takes batches of a lane, with a clock that is `skew` seconds off."""

    lane: Lane
    skew: float
    heard: list[RateHeaders] = field(default_factory=list)


@dataclass
class Posts:
    """The posts of a batch that are not done, and the worker that waits for them."""

    worker: Steps | None
    begun: float
    left: int


@dataclass
class Simulation:
    """One Space, its limiter, and so many workers with a backlog that never ends.

    Times are seconds from the start. `others` are (from, to, requests a minute) of other senders,
    `limits` are (when, new limit). `duplicates` is the share of messages that need no slot,
    `page_duplicates` that of pages, if it is another, `poll` the longest time between two batches
    of a worker.
    `remaining` is a header that is stuck. Other senders send `burst` requests at a time.
    `missed` is the share of slots that threads come too late for, `dying` that of batches whose
    worker dies before it posts.
    `skew` is how far clocks are off, once DynamoDB's was heard.
    `page_workers` serve a flood of pages. `keyed` are the times at which events of services come;
    without it theirs is a backlog that never ends too.
    """

    window: str
    workers: int = 2
    limit: int = 1000
    configured: int = 1000
    latency: float = 0.1
    skew: float = 0.0
    has_headers: bool = True
    has_retry_after: bool = True
    remaining: int | None = None
    duplicates: float = 0.0
    page_duplicates: float | None = None
    poll: float = 0.06
    others: tuple[tuple[float, float, float], ...] = ()
    burst: int = 1
    limits: tuple[tuple[float, int], ...] = ()
    missed: float = 0.0
    dying: float = 0.0
    learnt: LimitEstimate = field(default_factory=LimitEstimate)
    page_workers: int = 0
    keyed: Iterable[float] | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        self.now = self.start = 1_800_000_017.0
        self.random = random.Random(self.seed)
        self.limiter = Limiter(self.limit, self.window)
        self.state = GateState(learnt=self.learnt)
        self.queue: list[tuple[float, int, Steps]] = []
        self.at_work: Steps | None = None
        self.ticks = itertools.count()
        self.waiting: deque[float] = deque()
        self.delays: list[float] = []
        self.asked = dict.fromkeys(Lane, 0)
        self.dropped: dict[Lane, list[float]] = {lane: [] for lane in Lane}
        self.by_lane: dict[Lane, list[float]] = {lane: [] for lane in Lane}
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.others_refused: list[float] = []
        self.returned: list[float] = []

    def run(self, seconds: float) -> Simulation:
        for number in range(self.workers):
            skew = self.skew * (-1) ** number if number else 0.0
            self._spawn(self._worker(Worker(Lane.SERVICES, skew)))
        for _ in range(self.page_workers):
            self._spawn(self._worker(Worker(Lane.PAGES, 0.0)))
        if self.keyed is not None:
            self._spawn(self._arrivals(self.keyed))
        for other in self.others:
            self._spawn(self._other(*other))
        for when, limit in self.limits:
            self._spawn(self._relimit(when, limit))
        while self.queue and self.queue[0][0] < self.start + seconds:
            self.now, _, self.at_work = heapq.heappop(self.queue)
            delay = next(self.at_work, WOKEN_BY_ANOTHER)
            if delay != WOKEN_BY_ANOTHER:
                self._go_on(self.at_work, self.now + delay)
        return self

    def _go_on(self, steps: Steps, at: float) -> None:
        heapq.heappush(self.queue, (at, next(self.ticks), steps))

    def accepted_in(self, begin: float, end: float, lane: Lane | None = None) -> int:
        moments = self.by_lane[lane] if lane else self.accepted
        return sum(begin <= moment < end for moment in moments)

    def refused_in(self, begin: float, end: float) -> int:
        return sum(begin <= moment < end for moment in self.refused)

    def dropped_in(self, begin: float, end: float, lane: Lane) -> int:
        return sum(begin <= moment < end for moment in self.dropped[lane])

    def _spawn(self, steps: Steps) -> None:
        self._go_on(steps, self.now)

    def _relimit(self, when: float, limit: int) -> Steps:
        yield when
        self.limiter.limit = limit

    def _other(self, begin: float, end: float, rate: float) -> Steps:
        yield begin
        while self.now < self.start + end:
            for _ in range(self.burst):
                if not self.limiter.take(self.now)[0]:
                    self.others_refused.append(self.now - self.start)
            yield 60 / rate * self.burst * self.random.uniform(0.5, 1.5)

    def _arrivals(self, moments: Iterable[float]) -> Steps:
        for moment in moments:
            yield max(0.0, self.start + moment - self.now)
            self.waiting.append(moment)

    def _worker(self, worker: Worker) -> Steps:
        while True:
            yield self.random.uniform(self.poll / 4, self.poll)
            arrived = self._batch(worker.lane)
            if not arrived:
                continue
            reservation = self._admit(worker, len(arrived))
            if worker.lane is Lane.PAGES and not reservation.slots:
                yield min(reservation.wait, PATIENCE_SECONDS)
                reservation = self._admit(worker, len(arrived))
            rest = arrived[len(reservation.slots) :]
            if worker.lane is Lane.SERVICES and rest and self.keyed is not None:
                self._spawn(self._back(rest, reservation.wait + self.random.uniform(0, 2)))
            elif worker.lane is Lane.SERVICES and not reservation.slots:
                yield min(reservation.wait + self.random.uniform(0, 2), 20)
            if reservation.slots and self.random.random() >= self.dying:
                yield from self._posts(worker, reservation, arrived)

    def _batch(self, lane: Lane) -> list[float]:
        if lane is Lane.PAGES or self.keyed is None:
            return [self.now - self.start] * BATCH
        return [self.waiting.popleft() for _ in range(min(BATCH, len(self.waiting)))]

    def _back(self, moments: list[float], wait: float) -> Steps:
        yield wait
        self.waiting.extend(moments)

    def _admit(self, worker: Worker, count: int) -> Reservation:
        clock = self.now + worker.skew
        self._observe(worker)
        latest = clock + 60 - POST_SECONDS
        request = SlotRequest(clock, count, latest, self.configured, lane=worker.lane)
        self.asked[worker.lane] += 1
        self.state, reservation = rules.admit(self.state, request)
        return reservation

    def _give_back(self, worker: Worker, unused: Unused) -> None:
        clock = self.now + worker.skew
        self.state = rules.give_back(self.state, unused, now=clock, configured=self.configured)

    def _observe(self, worker: Worker) -> None:
        clock = self.now + worker.skew
        for headers in sorted(worker.heard, key=lambda headers: headers.at):
            self.state = rules.observe(self.state, headers, now=clock, configured=self.configured)
        worker.heard.clear()

    def _posts(self, worker: Worker, reservation: Reservation, arrived: list[float]) -> Steps:
        yield self.random.uniform(0.01, 0.06)
        share = self._duplicates_of(worker.lane)
        needed = sum(self.random.random() >= share for _ in reservation.slots)
        used, unused = reservation.slots[:needed], reservation.slots[needed:]
        self.dropped[worker.lane] += [self.now - self.start] * len(unused)
        if unused:
            self._give_back(worker, Unused(unused, worker.lane))
        if used:
            posts = Posts(self.at_work, self.now, len(used))
            for slot, moment in zip(used, arrived, strict=False):
                slot_of_post = Slot(slot, reservation.probe, reservation.early)
                self._spawn(self._post(worker, slot_of_post, moment, posts))
            yield WOKEN_BY_ANOTHER

    def _duplicates_of(self, lane: Lane) -> float:
        if lane is Lane.PAGES and self.page_duplicates is not None:
            return self.page_duplicates
        return self.duplicates

    def _post(self, worker: Worker, slot: Slot, moment: float, posts: Posts) -> Steps:
        lane, probe = worker.lane, slot.probe
        wait = yield from self._missed(worker, slot)
        if wait is not None:
            self.returned.append(self.now - self.start)
            if lane is Lane.SERVICES and self.keyed is not None:
                self._spawn(self._back([moment], wait))
            self._done(posts)
            return
        yield self.latency / 2 * self.random.uniform(0.5, 1.2)
        is_ok, remaining, retry_after = self.limiter.take(self.now)
        self._count(lane, moment, is_ok=is_ok)
        yield self.latency / 2 * self.random.uniform(0.5, 1.5)
        if self.has_headers:
            told = remaining if self.remaining is None else self.remaining
            worker.heard.append(RateHeaders(self.limiter.limit, told, slot.at + slot.early))
        if is_ok and (probe or rules.failures_of(self.state, lane)):
            self.state = rules.succeeded(self.state, probe=probe, lane=lane)
        elif not is_ok:
            self._observe(worker)
            self.state = rules.throttled(
                self.state,
                now=self.now + worker.skew,
                configured=self.configured,
                retry_after=retry_after if self.has_retry_after else None,
                lane=lane,
            )
        self._done(posts)

    def _done(self, posts: Posts) -> None:
        posts.left -= 1
        if not posts.left and posts.worker:
            looks = math.ceil((self.now - posts.begun) / LOOK_SECONDS)
            self._go_on(posts.worker, posts.begun + looks * LOOK_SECONDS)

    def _missed(self, worker: Worker, slot: Slot) -> Generator[float, None, float | None]:
        """Sleep until a slot; returns the seconds until the message comes back if it is missed."""
        yield max(0.0, slot.begins - worker.skew - self.now)
        yield self._stall()
        clock = self.now + worker.skew
        holds = rules.holds(self.state, clock, self.configured, worker.lane)
        if slot.probe or (holds and clock - slot.at <= LATE_SECONDS):
            return None
        self._give_back(worker, Unused((slot.at,), worker.lane, probe=slot.probe))
        pause = rules.closed(self.state, self.now + worker.skew, worker.lane)
        return (pause.wait(self.now + worker.skew) if pause else 1.0) + self.random.uniform(0, 2)

    def _stall(self) -> float:
        """Seconds by which a thread wakes too late."""
        if self.missed and self.random.random() < self.missed:
            return self.random.uniform(LATE_SECONDS, 2.0)
        is_stalled = self.random.random() < 0.003
        return self.random.uniform(0, 0.25 if is_stalled else 0.02)

    def _count(self, lane: Lane, moment: float, *, is_ok: bool) -> None:
        now = self.now - self.start
        (self.accepted if is_ok else self.refused).append(now)
        if is_ok:
            self.by_lane[lane].append(now)
        if is_ok and lane is Lane.SERVICES and self.keyed is not None:
            self.delays.append(now - moment)
