"""From a posted event to the queue: validate, identify, send, and say what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from cometly_forwarder.errors import BadValue, Fault, InvalidEvent, TooLarge
from cometly_forwarder.event.envelope import Envelope, Source, identity_of, seal
from cometly_forwarder.event.reading import DEFAULT_RULES, Amend, EventRules, as_it_is, read_event
from cometly_forwarder.event.texts import is_placeholder, read_key
from cometly_forwarder.event.vocabulary import others_in


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
    rules: EventRules = DEFAULT_RULES


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of one event: the envelope that would be queued, if it is valid."""

    envelope: Envelope | None
    identity: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    is_too_large: bool = False


def accept(raws: Sequence[object], intake: Intake, amend: Amend = as_it_is) -> list[Receipt]:
    """Take each event that is valid; returns a receipt each, in order.

    `amend` is what a route does to each event (see `read_event`). A receipt says ACCEPTED only
    after the queue has confirmed that very message.
    """
    bodies: list[str] = []
    receipts = [_read(raw, intake, amend, bodies) for raw in raws]
    if lost := intake.event_queue.send(bodies):
        sent = [place for place, it in enumerate(receipts) if it.status is Status.ACCEPTED]
        for position in lost:
            receipts[sent[position]] = Receipt(Status.UNAVAILABLE)
    return receipts


def preview(raws: Sequence[object], intake: Intake, amend: Amend = as_it_is) -> list[Preview]:
    """Read each event as `accept` does, and queue nothing."""
    return [_previewed(raw, intake, amend) for raw in raws]


def _read(raw: object, intake: Intake, amend: Amend, bodies: list[str]) -> Receipt:
    """Read one event, and add its message to `bodies` if it is to be queued."""
    source = Source("http", intake.new_id(), intake.now())
    try:
        event, warnings = read_event(raw, intake.rules, source.time, amend)
        envelope = seal(event, source)
    except InvalidEvent as exc:
        status = Status.TOO_LARGE if isinstance(exc, TooLarge) else Status.INVALID
        return Receipt(status, faults=exc.faults, warnings=exc.warnings)
    bodies.append(envelope.body())
    return Receipt(Status.ACCEPTED, envelope.event_id, warnings=warnings)


def _previewed(raw: object, intake: Intake, amend: Amend) -> Preview:
    source = Source("http", intake.new_id(), intake.now())
    try:
        event, warnings = read_event(raw, intake.rules, source.time, amend)
        envelope = seal(event, source)
    except InvalidEvent as exc:
        return Preview(None, (), exc.faults, exc.warnings, isinstance(exc, TooLarge))
    return Preview(envelope, identity_of(event, source), (), warnings)


def with_key(header: str | None) -> Amend:
    """Add an Idempotency-Key header to an event without a key; another key refuses the event.

    What another vocabulary calls a key, such as `event_id`, gives way. A placeholder in either,
    such as undefined, is no key. Where both hold nothing better, it stays in the event, whose
    reading warns of it.
    """
    key = _key_in(header or "")

    def amend(raw: Mapping[str, object]) -> Mapping[str, object]:
        own = raw.get("idempotency_key")
        if not key or _is_key(own, key):
            return raw
        if own is None or (isinstance(own, str) and _is_nobodys(own)):
            return {**raw, "idempotency_key": key}
        if _is_nobodys(key):
            return raw
        if "idempotency_key" in others_in(raw):
            return {**raw, "idempotency_key": key}
        raise InvalidEvent(
            (Fault("idempotency_key", "differs from the Idempotency-Key header; give one of them"),)
        )

    return amend


def _key_in(header: str) -> str:
    try:
        return read_key(header, _ignore)
    except BadValue:
        return header.strip()


def _is_nobodys(key: str) -> bool:
    """Say whether a text is the key of no event, or would be that of many."""
    try:
        return not read_key(key, _ignore) or is_placeholder(key)
    except BadValue:
        return True


def _is_key(own: object, key: str) -> bool:
    try:
        return read_key(own, _ignore) == key
    except BadValue:
        return False


def _ignore(_: str) -> None:
    """Drop a warning: the event's own reading gives it."""
