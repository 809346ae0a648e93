"""The moments at which a batch may post: the gate as delivery sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cometly_forwarder.gate.quota import RateHeaders
from cometly_forwarder.gate.rules import Reservation


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


def slots_of(reservation: Reservation) -> list[Slot]:
    return [Slot(at, reservation.probe, reservation.early) for at in reservation.slots]
