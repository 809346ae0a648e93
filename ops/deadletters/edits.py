"""What is sent again of a parked event: the event that it is, with other fields if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cometly_forwarder.errors import InvalidEvent, Unreadable, summary_of
from cometly_forwarder.event.envelope import Envelope, Source, identity_of, read_envelope
from cometly_forwarder.event.model import FIELDS
from cometly_forwarder.event.reading import DEFAULT_RULES, REGION_FIELD, EventRules, read_event
from ops.deadletters.bodies import changed, is_sealed
from ops.deadletters.shelf import DeadLetter
from ops.errors import OpsError

# Ad platforms refuse events that are older (Meta's Conversions API: seven days).
OLDEST_FOR_PLATFORMS = timedelta(days=7)


class NotSent(Exception):
    """Why an event stays where it is, in a sentence."""


@dataclass(frozen=True, slots=True)
class Edits:
    """Fields to be set, empty ones to be left out. `no_capi`: keep old events from ad platforms."""

    fields: Mapping[str, str] = field(default_factory=dict)
    no_capi: bool = False

    @classmethod
    def of(cls, texts: list[str], rules: EventRules, *, no_capi: bool = False) -> Edits:
        """Read `name=value` of each; raises OpsError for what is no field of an event."""
        fields: dict[str, str] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise OpsError(f"--set takes a field and its value, as phone=+16505551212: {text}")
            if not (name in FIELDS or name == REGION_FIELD or rules.passes_on(name)):
                raise OpsError(f"--set: {name} is no field of an event.")
            fields[name] = value
        return cls(fields, no_capi)


def body_to_send(letter: DeadLetter, edits: Edits, rules: EventRules, now: float) -> str:
    """Return the message to put on the queue; raises NotSent.

    It is always sealed. SQS gives a message that is sent anew another id, and a bare event without
    key and order would be another one by it.
    """
    read, found = _readable(letter, edits, rules)
    body = read if is_sealed(read) else found.body()
    changes = _changes(edits, found, rules)
    if edits.no_capi and _is_old({**found.event, **changes}, found, now):
        changes["do_not_capi"] = True
    if not changes:
        return body
    body = changed(body, lambda event: _set(event, changes))
    again = read_envelope(body, letter.source, rules)
    if again.faults or _identity(again, letter.source) != _identity(found, letter.source):
        raise NotSent(
            f"with {', '.join(changes)} set it would be another event: what says who it is must "
            "stay. Send the corrected one by `send`, and discard this one."
        )
    return body


def _identity(envelope: Envelope, source: Source) -> tuple[str, ...]:
    event, _ = read_event(envelope.event, DEFAULT_RULES, envelope.accepted_at)
    return identity_of(event, source)


def _readable(letter: DeadLetter, edits: Edits, rules: EventRules) -> tuple[str, Envelope]:
    """Read the event, mended by the edits if it cannot be read without them; and its body."""
    body = letter.body
    found = read_envelope(body, letter.source, rules)
    if found.faults and edits.fields:
        try:
            body = changed(body, lambda event: _set(event, edits.fields))
        except Unreadable as exc:
            raise NotSent(f"it cannot be edited: {exc}.") from exc
        found = read_envelope(body, letter.source, rules)
    if found.faults:
        raise NotSent(f"it is not valid, and would be parked again: {summary_of(found.faults)}")
    return body, found


def _changes(edits: Edits, found: Envelope, rules: EventRules) -> dict[str, Any]:
    """Read what is to be set by the event's own rules; an empty value takes the field away."""
    if not edits.fields:
        return {}
    try:
        event, warnings = read_event(_set(found.event, edits.fields), rules, found.accepted_at)
    except InvalidEvent as exc:
        raise NotSent(f"it would not be valid: {summary_of(exc.faults)}") from exc
    read = event.fields()
    changes: dict[str, Any] = {}
    for name, text in edits.fields.items():
        if name == REGION_FIELD:
            continue
        if text.strip() and name not in read:
            told = [it.message for it in warnings if it.field == name] or ["it would be left out"]
            raise NotSent(f"{name}: {told[-1]}")
        changes[name] = read.get(name, "")
    return {name: value for name, value in changes.items() if value != found.event.get(name, "")}


def _set(event: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Set fields; one that is set to nothing is taken away."""
    kept = {name: value for name, value in event.items() if name not in fields}
    return kept | {name: value for name, value in fields.items() if str(value).strip()}


def _is_old(fields: Mapping[str, Any], envelope: Envelope, now: float) -> bool:
    try:
        moment = datetime.fromisoformat(str(fields["event_time"]))
    except (KeyError, ValueError):
        moment = envelope.accepted_at
    return datetime.fromtimestamp(now, UTC) - moment > OLDEST_FOR_PLATFORMS
