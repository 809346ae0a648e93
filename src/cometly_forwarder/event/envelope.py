"""Envelope: what travels on the queue, and who an event is.

An event's identity decides what is a duplicate, by Cometly's own rules (first match wins):

(a) the caller's `idempotency_key`;
(b) event name + `order_id` + customer; of an upsell, that it is one, its amount and its
    `order_name` too, for Cometly books an upsell under a name of its own beside the order;
(c) the id that the event's source gave it: SNS message, EventBridge event, or a fresh one.

The key that goes to Cometly is the caller's in (a) and the event id in (c). In (b), and wherever an
`order_name` is given, none is sent: a key of ours would switch off Cometly's own order check.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Fault, InvalidEvent, TooLarge, Unreadable
from cometly_forwarder.event.model import CUSTOM_NAMES, FIELDS, STANDARD_NAMES, Event, iso_time
from cometly_forwarder.event.reading import (
    DEFAULT_RULES,
    EventRules,
    ambiguous,
    is_json_number,
    read_event,
)

# A queue message holds 1 MiB (SQS, since August 2025), and a parked one carries its reasons too.
MAX_BODY_BYTES = 768 * 1024

_EVENT_ID = re.compile("evt_[0-9a-f]{32}")
_PHONE = re.compile("[1-9][0-9]{0,31}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", re.ASCII)
_KNOWN = frozenset(FIELDS)
_ANY_TEXT = re.compile(".*", re.DOTALL)
_BOOLEANS = frozenset({"is_upsell", "do_not_capi"})
# Fields that are no text, and those whose text has a form.
_SEALED_FORMS: Mapping[str, re.Pattern[str] | None] = {
    **dict.fromkeys(("amount", *_BOOLEANS)),
    "phone": _PHONE,
    "event_time": _TIME,
}
_VERSION_FIELD = "cometly_forwarder"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where an event came from: `id` is unique at the source, `time` when the source took it."""

    kind: str
    id: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Envelope:
    """One accepted event on its way. `event` is the very JSON object that is posted to Cometly.

    An envelope with faults came by a way that could not answer its sender: it is parked. A bare one
    came as nothing but its event: its id and time are those of the queue's message.
    """

    event_id: str
    accepted_at: datetime
    event: Mapping[str, Any]
    faults: tuple[Fault, ...] = ()
    is_bare: bool = False
    # What nobody was told of an event that came by a way without answers.
    warnings: tuple[Fault, ...] = field(default=(), compare=False)
    # What `seal` wrote to weigh the event; empty in an envelope that was read.
    _body: str = field(default="", repr=False, compare=False)

    def body(self) -> str:
        """Return the message that carries this envelope."""
        return self._body or _body_of(self.event_id, self.accepted_at, self.event)

    def content(self) -> str:
        """Return a hash of what tells one content of an identity from another: not its time."""
        told = {name: value for name, value in self.event.items() if name != "event_time"}
        return hashlib.sha256(jsontext.dump(dict(sorted(told.items()))).encode()).hexdigest()[:32]


def seal(event: Event, source: Source) -> Envelope:
    """Fix an event's identity and time; raises TooLarge when it cannot travel."""
    event_id = _event_id(identity_of(event, source))
    fields = event.fields()
    if event.event_time is None:
        fields["event_time"] = iso_time(source.time)
    if not (event.idempotency_key or event.order_id or event.order_name):
        fields["idempotency_key"] = event_id
    body = _body_of(event_id, source.time, fields)
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge((Fault("", f"an event must not exceed {MAX_BODY_BYTES // 1024} KiB"),))
    return Envelope(event_id, source.time, fields, _body=body)


def read_envelope(body: str, queue: Source, rules: EventRules = DEFAULT_RULES) -> Envelope:
    """Read a queue message, whoever sent it: ingest, SNS (raw or wrapped) or EventBridge.

    `queue` is the queue's own view, used where the body names no better source. Never raises for
    what the body holds: an unreadable one gives an envelope with faults.
    What is sealed already is read by the same rules, for anyone who may send to the queue can write
    the like. Of what ingest sealed this changes nothing, whatever the settings are by now: it is
    not translated, what was passed on is kept, and a phone number is left as it is.
    """
    source = queue
    try:
        content = jsontext.parse_each(body)
        if isinstance(content, dict) and _is_sealed(content):
            return _unsealed(content, rules)
        # A rule may put its events on a topic: then the event is within both.
        while wrapper := _wrapper_of(content, queue):
            source, content = wrapper, _inside(content)
        event, warnings = read_event(_unless_sealed(content), rules, source.time)
        return replace(seal(event, source), is_bare=source is queue, warnings=warnings)
    except InvalidEvent as exc:
        return _faulty(source, exc.faults)
    except Unreadable as exc:
        return _faulty(source, (Fault("", f"the message is not JSON that can be read: {exc}"),))


def _body_of(event_id: str, accepted_at: datetime, event: Mapping[str, Any]) -> str:
    return jsontext.dump(
        {
            _VERSION_FIELD: _VERSION,
            "event_id": event_id,
            "accepted_at": accepted_at.isoformat(),
            "event": event,
        }
    )


def is_event_id(text: str) -> bool:
    """Say whether a text can be the id of an event."""
    return _EVENT_ID.fullmatch(text) is not None


def identity_of(event: Event, source: Source) -> tuple[str, ...]:
    """Return what makes an event the one that it is, its kind first."""
    if event.idempotency_key:
        return "key", event.idempotency_key
    if event.order_id:
        return _order_of(event)
    return "source", source.kind, source.id


def _order_of(event: Event) -> tuple[str, ...]:
    order = (event.event_name, event.order_id or "", event.customer or "")
    if not event.is_upsell:
        return "order", *order
    amount = "" if event.amount is None else repr(event.amount + 0.0)
    return "upsell", *order, amount, event.order_name or ""


def _event_id(identity: tuple[str, ...]) -> str:
    digest = hashlib.sha256(jsontext.dump(identity).encode())
    # 128 bits: two events that share an id would cost one of them.
    return "evt_" + digest.hexdigest()[:32]


def _is_sealed(content: Mapping[str, Any]) -> bool:
    version = content.get(_VERSION_FIELD)
    return type(version) is int and version == _VERSION  # True == 1, for Python


def _unless_sealed(content: object) -> object:
    """Refuse the envelopes of versions that are not ours: what is in them is no bare event."""
    if isinstance(content, dict) and _VERSION_FIELD in content:
        raise Unreadable("the envelope is of another version, or within a message of another kind")
    return content


def _unsealed(content: Mapping[str, Any], rules: EventRules) -> Envelope:
    if isinstance(content, jsontext.Ambiguous):
        raise ambiguous(content)
    event_id, fields, accepted_at = (content.get(k) for k in ("event_id", "event", "accepted_at"))
    if not (isinstance(event_id, str) and is_event_id(event_id)):
        raise Unreadable("the envelope has no event_id such as ingest makes")
    if not (isinstance(fields, dict) and isinstance(accepted_at, str)):
        raise Unreadable("the envelope lacks accepted_at or event")
    moment = _moment(accepted_at)
    try:
        sealed = _read_again(event_id, fields, rules, moment)
    except InvalidEvent:
        if not (_is_as_it_was_sealed(fields) and _was_called(event_id, fields)):
            raise
        sealed = {name: value for name, value in fields.items() if value is not None}
    sealed.setdefault("event_time", iso_time(moment))
    return Envelope(event_id, moment, sealed)


def _read_again(
    event_id: str, fields: Mapping[str, Any], rules: EventRules, moment: datetime
) -> dict[str, Any]:
    if not _KNOWN.issuperset(fields):
        rules = replace(rules, passed_on=frozenset(fields))
    event, _ = read_event(fields, rules, moment)
    if not _may_be_called(event_id, event):
        raise InvalidEvent((Fault("", "the envelope's event_id is that of another event"),))
    return event.fields() | _sealed_phone(fields)


def _is_as_it_was_sealed(fields: Mapping[str, Any]) -> bool:
    """Say whether fields have the forms in which every version sealed them.

    What versions before 1.0 sealed they told the caller was accepted: it is not judged by rules
    that came later. Whoever forges the like wins nothing, for its id has to be that of its fields.
    """
    return (
        fields.get("event_name") in STANDARD_NAMES + CUSTOM_NAMES
        and any(fields.get(name) for name in ("email", "comet_token", "fingerprint"))
        and all(_has_sealed_form(name, value) for name, value in fields.items())
    )


def _has_sealed_form(name: str, value: object) -> bool:
    if isinstance(value, str):
        form = _SEALED_FORMS.get(name, _ANY_TEXT)
        return form is not None and form.fullmatch(value) is not None
    if isinstance(value, bool) or value is None:
        return value is None or name in _BOOLEANS or name not in FIELDS
    is_number = isinstance(value, int | float) and is_json_number(value)
    return is_number and (name == "amount" or name not in FIELDS)


def _sealed_phone(fields: Mapping[str, Any]) -> dict[str, str]:
    """Keep a phone number that has the form in which ingest seals them (decision 19)."""
    match fields.get("phone"):
        case str(phone) if _PHONE.fullmatch(phone):
            return {"phone": phone}
        case _:
            return {}


def _may_be_called(event_id: str, event: Event) -> bool:
    """Say whether a sealed event can have this id, as far as it tells who it is.

    Of an event with an `order_name` alone it does not: its source's id is not in the envelope.
    """
    if key := event.idempotency_key:
        return event_id in {key, _event_id(("key", key))}
    if event.order_id:
        return event_id == _event_id(_order_of(event))
    return event.order_name is not None


def _was_called(event_id: str, fields: Mapping[str, Any]) -> bool:
    """Say the same by the rules of versions before 1.0, whose messages an upgrade finds queued.

    They took each field as it was written, and the first of three for the customer.
    """
    if key := fields.get("idempotency_key"):
        return event_id in {key, _event_id(("key", str(key)))}
    if not fields.get("order_id"):
        return bool(fields.get("order_name"))  # as today: its source's id is not in the envelope
    customer = fields.get("email") or fields.get("comet_token") or fields.get("fingerprint")
    order = (fields.get("event_name"), fields.get("order_id"), customer)
    return event_id == _event_id(("order", *map(str, order)))


def _wrapper_of(content: object, source: Source) -> Source | None:
    """Name the source that SNS or EventBridge wrote around an event; None for a bare one."""
    match content:
        case {"Type": "Notification", "MessageId": str(id_), "Message": str(), **rest}:
            return Source("sns", id_, _moment_or(rest.get("Timestamp"), source))
        case {"detail-type": str(), "id": str(id_), "detail": _, **rest}:
            return Source("eventbridge", id_, _moment_or(rest.get("time"), source))
        case _:
            return None


def _inside(wrapped: dict[str, Any]) -> object:
    is_by_rule = "detail" in wrapped
    content = wrapped["detail"] if is_by_rule else jsontext.parse_each(wrapped["Message"])
    if isinstance(wrapped, jsontext.Ambiguous) and not isinstance(content, jsontext.Ambiguous):
        raise ambiguous(wrapped)
    return content


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise Unreadable("a time in it is not ISO 8601") from exc


def _moment_or(text: object, source: Source) -> datetime:
    return _moment(text) if isinstance(text, str) else source.time


def _faulty(source: Source, faults: tuple[Fault, ...]) -> Envelope:
    identity = ("unreadable", source.kind, source.id)
    return Envelope(_event_id(identity), source.time, {}, faults)
