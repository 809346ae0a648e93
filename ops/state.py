"""The state of a stack at a time: what `status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.counts import delivered_per_minute, last_hour, oldest_seconds, waited_seconds
from ops.gates import Gate, gate_of
from ops.logs import iso
from ops.mappings import QUEUES, QueueMapping, mappings_of
from ops.parked import Parked, parked_on
from ops.target import Target

_WAITING = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
_IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True, slots=True)
class QueueState:
    """What lies on a queue. `oldest` is in seconds; None: CloudWatch does not know it (yet)."""

    name: str
    waiting: int
    in_flight: int
    oldest: float | None

    def record(self) -> dict[str, Any]:
        return {
            "queue": self.name,
            "waiting": self.waiting,
            "in_flight": self.in_flight,
            "oldest_seconds": self.oldest,
        }


@dataclass(frozen=True, slots=True)
class StackState:
    """All of it. `in_flight` counts what a worker has, and what waits for its next attempt.

    `waited` is how long the oldest waits that deliver handed back in a pause; None: not known.
    """

    stack: str
    at: float
    queues: tuple[QueueState, ...]
    parked: Parked
    gate: Gate
    mappings: tuple[QueueMapping, ...]
    delivered_per_minute: float
    last_hour: dict[str, int]
    waited: float | None = None

    @property
    def waiting(self) -> int:
        return sum(it.waiting for it in self.queues)

    @property
    def in_flight(self) -> int:
        return sum(it.in_flight for it in self.queues)

    @property
    def oldest(self) -> float | None:
        """Not known as long as it is not known of one of them.

        SQS leaves out of its age what was received three times, as all that waits out a pause is.
        """
        known = [it.oldest for it in self.queues if it.oldest is not None]
        if self.waited is not None:
            return max([*known, self.waited])
        return max(known) if len(known) == len(self.queues) else None

    @property
    def switched_off(self) -> list[QueueMapping]:
        return [it for it in self.mappings if it.is_off]

    @property
    def is_paused(self) -> bool:
        return bool(self.gate.pauses or self.switched_off)

    def record(self) -> dict[str, Any]:
        """Return the state for programs (docs/command-line.md)."""
        operator = [{"by": "operator", **it.record()} for it in self.switched_off]
        return {
            "stack": self.stack,
            "at": iso(self.at),
            "waiting": self.waiting,
            "in_flight": self.in_flight,
            "oldest_seconds": self.oldest,
            **self.parked.record(),
            "paused": self.is_paused,
            "pauses": [*operator, *(it.record() for it in self.gate.pauses)],
            "delivered_per_minute": self.delivered_per_minute,
            "posted_per_minute": self.gate.posted_per_minute,
            "limit_per_minute": self.gate.limit_per_minute,
            "others_per_minute": self.gate.others_per_minute,
            "queues": [it.record() for it in self.queues],
            "last_hour": self.last_hour,
        }


def state_of(target: Target, now: float) -> StackState:
    """Look at each part once."""
    gate = gate_of(target, now)
    queues = tuple(
        _queue(target, name, target.outputs[output], now)
        for name, output in QUEUES.items()
        if output in target.outputs
    )
    is_held = gate.pauses and any(it.waiting or it.in_flight for it in queues)
    return StackState(
        stack=target.name,
        at=now,
        queues=queues,
        parked=parked_on(target),
        gate=gate,
        mappings=tuple(mappings_of(target)),
        delivered_per_minute=delivered_per_minute(target, now),
        last_hour=last_hour(target, now),
        waited=waited_seconds(target, now) if is_held else None,
    )


def _queue(target: Target, name: str, url: str, now: float) -> QueueState:
    counted = target.queue_attributes(url, *_WAITING, _IN_FLIGHT)
    waiting = sum(int(counted.get(it, 0)) for it in _WAITING)
    in_flight = int(counted.get(_IN_FLIGHT, 0))
    # CloudWatch is a minute or two behind: of an empty queue it may yet tell an age.
    oldest = oldest_seconds(target, url, now) if waiting or in_flight else 0.0
    return QueueState(name, waiting, in_flight, oldest)
