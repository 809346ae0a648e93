"""The gate as one worker uses it: the rules, applied to the shared state, for its threads.

Threads of a worker share a lock, reads and writes; workers share the item of `table`.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import TypeVar

from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate import rules
from cometly_forwarder.gate.clock import SharedClock
from cometly_forwarder.gate.quota import RateHeaders
from cometly_forwarder.gate.rules import GateState, Lane, Pause, Reservation, SlotRequest, Unused
from cometly_forwarder.gate.table import GateTable

# Before a post, a worker reads the shared state again if it is older than this.
REFRESH_SECONDS = 0.25
# Worst case before a slot: our write, the claim, a refresh by another thread and our own refresh.
_ROUND_TRIPS_TO_REFRESH, _ROUND_TRIPS_TO_SLOT = 2, 4
# Pages that got no slot wait in the function for the next one, but not for longer: in a flood each
# batch that goes back at once is followed by another, ten times a second.
PATIENCE_SECONDS = 2.0
# With two to five workers two tries are enough; with many more they still are, nearly always.
TRIES = 12

T = TypeVar("T")
_Report = Callable[[GateState], GateState]


@dataclass(frozen=True, slots=True)
class _LocalRequest:
    """What a worker asks for, by its own clock."""

    count: int
    latest: float
    lane: Lane


@dataclass(slots=True)
class DynamoGate:
    """Paces posts to `configured` a minute until Cometly's headers say otherwise.

    Safe to share between threads. Times that go in and out are by this worker's clock. `admit`,
    `give_back` and the reports raise Unavailable.
    """

    table: GateTable
    configured: int
    sleep: Callable[[float], None] = time.sleep
    _taken_at: float = field(init=False, default=0.0)
    _refusals: Counter[Lane] = field(init=False, default_factory=Counter)
    _heard: list[RateHeaders] = field(init=False, default_factory=list)
    _reports: list[_Report] = field(init=False, default_factory=list)
    _lock: RLock = field(init=False, default_factory=RLock)

    @property
    def clock(self) -> SharedClock:
        return self.table.clock

    def lane(self, lane: Lane) -> LaneGate:
        """Return the gate as the events of one lane see it."""
        return LaneGate(self, lane)

    def admit(self, count: int, latest: float, lane: Lane = Lane.SERVICES) -> Reservation:
        """Reserve up to `count` slots before `latest`: one write."""
        request = _LocalRequest(count, latest, lane)
        reservation = self._reserve_afresh(request)
        if lane is Lane.SERVICES or reservation.slots:
            return reservation
        self.sleep(min(reservation.wait, PATIENCE_SECONDS))
        return self._reserve_afresh(request)

    def expects_room(self, count: int, latest: float, lane: Lane = Lane.SERVICES) -> bool:
        """Say whether so many posts could go out at once, as far as this worker knows.

        It asks nobody: so not before the first answer, either.
        """
        with self._lock:
            if not self.table.is_known:
                return False
            _, found = self._admitted(self._known_state(), _LocalRequest(count, latest, lane))
        return found.early > 0 and len(found.slots) == count and not found.probe

    def refresh_lead(self) -> float:
        """Seconds before its post at which a thread should ask whether the gate is open."""
        return _ROUND_TRIPS_TO_REFRESH * self.table.round_trip

    def is_open(self, lane: Lane = Lane.SERVICES) -> bool:
        """Say whether a slot that was reserved still holds; looks at most every quarter second."""
        with self._lock:
            if self._is_stale():
                self.table.refresh()
            return rules.holds(self._known_state(), self.clock.now(), self.configured, lane)

    def observe(self, headers: RateHeaders) -> None:
        """Keep what an answer's headers said for the next reservation."""
        with self._lock:
            self._heard.append(dataclasses.replace(headers, at=headers.at + self.clock.offset))

    def wait(self, lane: Lane = Lane.SERVICES) -> float:
        """Seconds until the gate opens, as far as this worker knows."""
        pause = self._closed(lane)
        return pause.wait(self.clock.now()) if pause else 0.0

    def last_taken(self) -> float:
        """When Cometly last answered about an event, to any worker, as far as this one knows.

        0.0 if it never did. Other workers hear of it with what is written anyway.
        """
        taken_at = self._last_taken()
        return taken_at - self.clock.offset if taken_at else 0.0

    def give_back(
        self, slots: tuple[float, ...], *, probe: bool, lane: Lane = Lane.SERVICES
    ) -> None:
        """Take back slots in which nothing was posted; a probe's is for the next event."""
        shared = tuple(slot + self.clock.offset for slot in slots)
        unused = Unused(shared, lane, probe=probe)
        self._write_report(
            lambda state: rules.give_back(
                state, unused, now=self.clock.now(), configured=self.configured
            )
        )

    def throttled(self, retry_after: float | None, lane: Lane = Lane.SERVICES) -> None:
        """Report a 429, and with it the headers that were heard.

        They go with it because they may name a lower limit, under which slots that other workers
        hold are void.
        """
        now, heard = self.clock.now(), self._heard[:]
        self._write_report(
            lambda state: rules.throttled(
                self._observed(state, heard, now),
                now=now,
                configured=self.configured,
                retry_after=retry_after,
                lane=lane,
            )
        )

    def blocked(self, *, is_sure: bool, lane: Lane = Lane.SERVICES) -> None:
        """Report that the Space is blocked. Where that is not sure, several in a row say so."""
        now = self.clock.now()
        self._refusals[lane] += 1
        if not is_sure and rules.is_doubtful(self._refusals[lane], self._last_taken(), now):
            return
        self._write_report(lambda state: rules.blocked(state, now=now, lane=lane))

    def failed(self, *, probe: bool, lane: Lane = Lane.SERVICES) -> None:
        now = self.clock.now()
        self._write_report(lambda state: rules.failed(state, now=now, probe=probe, lane=lane))

    def succeeded(self, *, probe: bool, is_booked: bool = True, lane: Lane = Lane.SERVICES) -> None:
        """Report that an event was taken; costs nothing while there was no trouble to end.

        `is_booked` is False when it was refused for its own sake.
        """
        self._taken_at = self.clock.now()
        self._refusals.clear()
        if probe or rules.failures_of(self._known_state(), lane):
            self._write_report(
                lambda state: rules.succeeded(state, probe=probe, is_booked=is_booked, lane=lane)
            )

    def _last_taken(self) -> float:
        """The same by the shared clock. A time that no right clock has written counts as never."""
        taken_at = max(self._taken_at, self.table.state.taken_at)
        is_plausible = taken_at <= self.clock.now() + rules.FARTHEST_SLOT_SECONDS
        return taken_at if is_plausible else 0.0

    def _reserve_afresh(self, request: _LocalRequest) -> Reservation:
        """Reserve. Before a state turns posts away, the item is read: the state may be old."""
        with self._lock:
            if self._closed(request.lane):
                self.table.refresh()
            reservation = self._compare_and_swap(lambda state: self._admitted(state, request))
            if not reservation.slots and self._is_stale():
                self.table.refresh()
                reservation = self._compare_and_swap(lambda state: self._admitted(state, request))
            self._heard.clear()
            return reservation

    def _admitted(self, state: GateState, request: _LocalRequest) -> tuple[GateState, Reservation]:
        """Admit by the shared clock, and answer by this worker's."""
        offset = self.clock.offset
        now = self.clock.local() + offset
        state = self._observed(state, self._heard, now)
        lead = rules.LEAD_SECONDS + _ROUND_TRIPS_TO_SLOT * self.table.round_trip
        latest = request.latest + offset
        wanted = SlotRequest(now, request.count, latest, self.configured, lead, request.lane)
        after, reservation = rules.admit(state, wanted)
        slots = tuple(slot - offset for slot in reservation.slots)
        return after, dataclasses.replace(reservation, slots=slots)

    def _observed(self, state: GateState, heard: list[RateHeaders], now: float) -> GateState:
        for headers in sorted(heard, key=lambda headers: headers.at):
            state = rules.observe(state, headers, now=now, configured=self.configured)
        return state

    def _is_stale(self) -> bool:
        return self.table.age > REFRESH_SECONDS

    def _closed(self, lane: Lane) -> Pause | None:
        return rules.closed(self._known_state(), self.clock.now(), lane)

    def _known_state(self) -> GateState:
        """The state, with the reports of this worker that are still to be written."""
        return self._state_after(self._reports[:])

    def _state_after(self, reports: list[_Report]) -> GateState:
        return functools.reduce(lambda state, report: report(state), reports, self.table.state)

    def _with_taken_at(self, state: GateState) -> GateState:
        """Let a write that happens anyway say when this worker's last event was taken."""
        return dataclasses.replace(state, taken_at=max(state.taken_at, self._taken_at))

    def _write_report(self, report: _Report) -> None:
        """Write a report. Threads that wait share a write; what fails goes with the next one."""
        self._reports.append(report)
        with self._lock:
            # While this thread waited for the lock, another one may have written it with its own.
            if report in self._reports:
                self._compare_and_swap(lambda state: (state, None))

    def _compare_and_swap(self, change: Callable[[GateState], tuple[GateState, T]]) -> T:
        """Write this worker's reports and a change, made anew each time another was quicker."""
        for attempt in range(TRIES):
            reports = self._reports[:]
            after, result = change(self._state_after(reports))
            if after == self.table.state or self.table.replace(self._with_taken_at(after)):
                del self._reports[: len(reports)]
                return result
            # Back off with jitter, so that workers that lost the race do not collide again; but for
            # the first time, when this worker's state may just have been old.
            if attempt:
                self.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 4)))  # noqa: S311
        raise Unavailable("the gate is contended")


@dataclass(frozen=True, slots=True)
class LaneGate:
    """The gate as the events of one lane see it (the Gate of `deliver/slots.py`)."""

    gate: DynamoGate
    of: Lane

    def admit(self, count: int, latest: float) -> Reservation:
        return self.gate.admit(count, latest, self.of)

    def expects_room(self, count: int, latest: float) -> bool:
        return self.gate.expects_room(count, latest, self.of)

    def refresh_lead(self) -> float:
        return self.gate.refresh_lead()

    def is_open(self) -> bool:
        return self.gate.is_open(self.of)

    def wait(self) -> float:
        return self.gate.wait(self.of)

    def last_taken(self) -> float:
        return self.gate.last_taken()

    def give_back(self, slots: tuple[float, ...], *, probe: bool) -> None:
        self.gate.give_back(slots, probe=probe, lane=self.of)

    def observe(self, headers: RateHeaders) -> None:
        self.gate.observe(headers)

    def throttled(self, retry_after: float | None) -> None:
        self.gate.throttled(retry_after, self.of)

    def blocked(self, *, is_sure: bool) -> None:
        self.gate.blocked(is_sure=is_sure, lane=self.of)

    def failed(self, *, probe: bool) -> None:
        self.gate.failed(probe=probe, lane=self.of)

    def succeeded(self, *, probe: bool, is_booked: bool) -> None:
        self.gate.succeeded(probe=probe, is_booked=is_booked, lane=self.of)
