"""The moments at which a batch may post: the gate as delivery sees it, and the slots in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Condition
from typing import Protocol

from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.jobs import Later
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate.quota import RateHeaders
from cometly_forwarder.gate.rules import Reservation

# A slot that passed so long ago is not begun any more: its thread might be late.
_PASSED_SECONDS = 0.1
# Posts begin no later than this before the latest slot, if a suspect waits for their end: they take
# 14 s at the most.
_OTHERS_END_SECONDS = 15.0
# No thread waits longer for what the claims of others find: a call to AWS takes no longer.
_CLAIM_SECONDS = 9.0


class Gate(Protocol):
    """What paces all workers together (see `gate/gate.py`). The calls raise Unavailable."""

    def admit(self, count: int, latest: float) -> Reservation: ...

    def expects_room(self, count: int, latest: float) -> bool:
        """Say whether so many posts could go out at once, as far as this worker knows."""

    def refresh_lead(self) -> float:
        """Seconds before its post at which a thread should ask whether the gate is open."""

    def is_open(self) -> bool: ...

    def wait(self) -> float:
        """Seconds until the gate opens, as far as this worker knows."""

    def give_back(self, slots: tuple[float, ...], *, probe: bool) -> None: ...

    def observe(self, quota: RateHeaders) -> None: ...

    def last_taken(self) -> float:
        """Say when an event was last taken, as Unix time; 0: never."""

    def throttled(self, retry_after: float | None) -> None: ...

    def blocked(self, *, is_sure: bool) -> None: ...

    def failed(self, *, probe: bool) -> None: ...

    def succeeded(self, *, probe: bool, is_booked: bool) -> None:
        """Report that an event was taken: booked, or refused for its own sake."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A moment to post at, as Unix time, or up to `early` seconds before.

    `probe` when the gate hangs on the answer.
    """

    at: float
    probe: bool
    early: float = 0.0

    @property
    def begins(self) -> float:
        """From when on the post may go out."""
        return self.at - self.early


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a batch gets no more slots; `later` where the gate said nothing."""

    reservation: Reservation = field(default_factory=Reservation)
    later: Later | None = None


@dataclass(slots=True)
class Slots:
    """The slots of a batch, reserved for `at_once` events at a time: as many as it has threads.

    So no slot passes while its event waits for a thread. An event is decided when it posts, or
    needs no slot. When all are, what is left goes back to the gate in one write. Safe to share
    between threads.
    """

    gate: Gate
    failures: Failures
    now: Callable[[], float]
    undecided: int
    at_once: int
    latest: float
    refusal: Refusal | None = None
    _kept: int = 0
    _stock: deque[Slot] = field(default_factory=deque)
    _out: int = 0
    _lock: Condition = field(default_factory=Condition)

    def reserve(self) -> None:
        """Have slots at hand, as far as there are any."""
        with self._lock:
            self._stock_up()

    @property
    def excess(self) -> int:
        """How many events will get no slot."""
        with self._lock:
            return self.undecided - self._out - len(self._stock) if self.refusal else 0

    def take(self) -> Slot | None:
        """Return the next slot that can still be reached; None when the batch gets no more."""
        with self._lock:
            self._stock_up()
            # The last slot is a suspect's, should one of the claims under way turn out to be one.
            if not self._may_take():
                self._lock.wait_for(self._may_take, _CLAIM_SECONDS)
                self._stock_up()
            if len(self._stock) <= (self._kept if self.refusal else 0):
                return None
            if self._kept and self._stock[0].begins > self.latest - _OTHERS_END_SECONDS:
                return None
            self._out += 1
            return self._stock.popleft()

    def keep(self, count: int) -> None:
        """Keep so many of the last slots for an event that posts after all others.

        Those get none either that would end too late for it.
        """
        with self._lock:
            self._kept = count

    def leave(self, slot: Slot | None) -> None:
        """Leave a slot, if its event had one and does not need it, to the others."""
        if slot:
            with self._lock:
                self._out -= 1
                self._stock.appendleft(slot)
                self._lock.notify_all()

    def decide(self, count: int = 1, *, used: int = 0) -> None:
        """Count events that are decided, and how many of them post in a slot that they took.

        Where a suspect alone is left, only the last slot stays: it has most time for it.
        """
        with self._lock:
            self._out -= used
            self.undecided -= count
            self._lock.notify_all()
            if self.undecided <= self._kept:
                spare = len(self._stock) - self.undecided
                self._give_back([self._stock.popleft() for _ in range(spare)])

    def _may_take(self) -> bool:
        return not (self.refusal and len(self._stock) == 1 and self._out) or self._kept > 0

    def _stock_up(self) -> None:
        """Reserve, if nothing is left that a post could still reach: a claim is to come first.

        Too late for any slot, the gate is not asked: it would name a wait that is none to others.
        """
        now = self.now()
        soonest = now + self.gate.refresh_lead() - _PASSED_SECONDS
        passed = [slot for slot in self._stock if slot.at < soonest]
        self._give_back(passed)
        self._stock = deque(slot for slot in self._stock if slot not in passed)
        count = min(self.at_once, self.undecided - self._out)
        if count > 0 and not self._stock and not self.refusal and now < self.latest:
            self._stock.extend(self._reserved(count))

    def _reserved(self, count: int) -> Iterable[Slot]:
        try:
            reservation = self.gate.admit(count, self.latest)
        except Unavailable as exc:
            self.refusal = Refusal(later=self.failures.unavailable(exc))
            return ()
        except Exception as exc:  # noqa: BLE001 - a defect of the gate's must not be silent
            self.failures.crashed(exc)
            self.refusal = Refusal(later=self.failures.soon())
            return ()
        if len(reservation.slots) < count:
            self.refusal = Refusal(reservation)
        return [Slot(at, reservation.probe, reservation.early) for at in reservation.slots]

    def _give_back(self, slots: Iterable[Slot]) -> None:
        if unused := list(slots):
            moments = tuple(slot.at for slot in unused)
            probe = unused[0].probe
            try:
                self.failures.best_effort(lambda: self.gate.give_back(moments, probe=probe))
            except Exception as exc:  # noqa: BLE001 - slots of others must not end with a defect
                self.failures.crashed(exc)
