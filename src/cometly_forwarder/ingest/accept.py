"""From a posted event to the queue: validate, identify, send, and say what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from cometly_forwarder.errors import Fault, InvalidEvent, TooLarge
from cometly_forwarder.event.envelope import Envelope, Source, seal
from cometly_forwarder.event.model import read_event


class Status(IntEnum):
    """What became of one event, in HTTP's words."""

    ACCEPTED = 202
    TOO_LARGE = 413
    INVALID = 422
    UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to one event."""

    status: Status
    event_id: str | None = None
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


class EventQueue(Protocol):
    """Where accepted events go."""

    def send(self, bodies: Sequence[str]) -> frozenset[int]:
        """Send each body; returns the positions of those that were not taken. Never raises."""


@dataclass(frozen=True, slots=True)
class Intake:
    """How events come in: what ingest needs to take them."""

    event_queue: EventQueue
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    phone_region: str | None = None


def accept(
    raws: Sequence[object],
    intake: Intake,
    key: str | None = None,
    prepare: Callable[[object], object] = lambda raw: raw,
) -> list[Receipt]:
    """Take each event that is valid; returns a receipt each, in order.

    `key` is the request's Idempotency-Key header, which goes with a single event. `prepare` is what
    a route does to each event first; it may raise InvalidEvent.
    A receipt says ACCEPTED only after the queue has confirmed that very message.
    """
    read = [_read(raw, intake, key, prepare) for raw in raws]
    sealed = [place for place, (envelope, _) in enumerate(read) if envelope]
    refused = intake.event_queue.send([envelope.body() for envelope, _ in read if envelope])
    lost = {sealed[position] for position in refused}
    return [
        Receipt(Status.UNAVAILABLE) if place in lost else receipt
        for place, (_, receipt) in enumerate(read)
    ]


def _read(
    raw: object, intake: Intake, key: str | None, prepare: Callable[[object], object]
) -> tuple[Envelope | None, Receipt]:
    try:
        event, warnings = read_event(_with_key(prepare(raw), key), intake.phone_region)
        envelope = seal(event, Source("http", intake.new_id(), intake.now()))
    except InvalidEvent as exc:
        status = Status.TOO_LARGE if isinstance(exc, TooLarge) else Status.INVALID
        return None, Receipt(status, faults=exc.faults, warnings=exc.warnings)
    return envelope, Receipt(Status.ACCEPTED, envelope.event_id, warnings=warnings)


def _with_key(raw: object, key: str | None) -> object:
    """Add the header's key to an event without one; an event with another one is refused."""
    if not isinstance(raw, Mapping) or not (key := (key or "").strip()):
        return raw
    own = raw.get("idempotency_key")
    if own is None or (type(own) in {str, int} and str(own).strip() in {"", key}):
        return {**raw, "idempotency_key": key}
    raise InvalidEvent(
        (Fault("idempotency_key", "differs from the Idempotency-Key header; give one of them"),)
    )
