"""The moments at which a batch may post: the gate as delivery sees it, and who gets which slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cometly_forwarder.deliver.jobs import Job
from cometly_forwarder.gate.quota import RateHeaders
from cometly_forwarder.gate.rules import Reservation


class Gate(Protocol):
    """What paces all workers together (see `gate/gate.py`). The calls raise Unavailable."""

    def admit(self, count: int, latest: float) -> Reservation: ...

    def refresh_lead(self) -> float:
        """Seconds before its slot at which a thread should ask whether the gate is open."""

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
    """A moment to post at, as Unix time; `probe` when the gate hangs on the answer."""

    at: float
    probe: bool


@dataclass(frozen=True, slots=True)
class Deal:
    """Which job posts in which slot, which ones do not, and the slots that are left.

    `steady` jobs may post side by side; a `suspect`, one at the most, posts after them.
    """

    steady: tuple[tuple[Job, Slot], ...]
    suspect: tuple[tuple[Job, Slot], ...]
    postponed: tuple[Job, ...]
    unused: tuple[float, ...]


def deal(jobs: Sequence[Job], reservation: Reservation) -> Deal:
    """Give each job a slot, the last one to a suspect. There are at least as many slots as jobs.

    A suspect may kill its worker: it must take no other event with it, and no second suspect.
    """
    in_order = sorted(jobs, key=lambda job: job.is_suspect)
    steady = sum(not job.is_suspect for job in jobs)
    posting = min(steady + 1, len(jobs))
    slots = [Slot(at, reservation.probe) for at in reservation.slots]
    posts = tuple(zip(in_order[:posting], slots, strict=False))
    return Deal(
        steady=posts[:steady],
        suspect=posts[steady:],
        postponed=tuple(in_order[posting:]),
        unused=reservation.slots[posting:],
    )
