"""From what somebody posted to an event in Cometly's terms.

A refused event is lost, so only four things refuse one (decision 20): an event name that is missing
or unknown, nothing that identifies the customer, an amount or a time that cannot be read, a key or
an order id that is an object or a list. Any other value that cannot be read is left out, with a
warning that names it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cometly_forwarder import jsontext
from cometly_forwarder.errors import BadValue, Fault, InvalidEvent
from cometly_forwarder.event.addresses import read_ip
from cometly_forwarder.event.amounts import read_amount
from cometly_forwarder.event.model import (
    CUSTOM_NAMES,
    EVENT_NAMES,
    FIELDS,
    STANDARD_NAMES,
    Event,
    iso_time,
)
from cometly_forwarder.event.phones import is_region, read_phone
from cometly_forwarder.event.texts import (
    is_placeholder,
    is_plain,
    read_boolean,
    read_email,
    read_key,
    read_order_id,
    read_text,
    with_whole_characters,
)
from cometly_forwarder.event.times import read_time
from cometly_forwarder.event.vocabulary import (
    Translated,
    first_usable,
    others_in,
    read_event_name,
    translated,
)

Amend = Callable[[Mapping[str, object]], Mapping[str, object]]

# An event with thousands of unknown fields gets a bounded answer for bounded work.
MAX_UNKNOWN_NAMED = 10
# Tells the country of one event's phone number; it does not go to Cometly.
REGION_FIELD = "phone_region"

_NOT_ADMITTED = "is not taken from browsers here (the parameter BrowserEventNames can admit it)"
# What a body in another charset may have become on its way here (decision 12).
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LOST_BYTES = "holds U+FFFD, as text does that is not UTF-8; it is sent as it is"
_STANDS_FOR_NOTHING = "holds what programs write for a missing value; it counts as absent"
# Where the word for a missing value would be taken for a person or an order.
_IDENTIFYING = frozenset(
    {
        "email",
        "comet_token",
        "fingerprint",
        "ip",
        "tracking_id",
        "phone",
        "order_id",
        "order_name",
        "checkout_token",
        "upsell_common_id",
        "idempotency_key",
    }
)


_KNOWN = frozenset(FIELDS)
# Shared by a batch, these would make its events one.
_NEVER_SHARED = ("idempotency_key", "order_id", "order_name")
# Senders may take these for more than they are.
_BOOKED = "is not known here: this event IS booked; POST /v1/events?dry_run=true books none"
_TELLING = {"test_event_code": _BOOKED}


@dataclass(frozen=True)
class EventRules:
    """How a deployment wants its events to be read.

    `phone_region` (ISO 3166) is the country of phone numbers that do not name one. `passed_on` are
    names of fields that Cometly's reference does not list and that go to Cometly as they are; one
    that ends with `*` stands for every name that begins so. `event_names` are those that are taken;
    pages may not send each.
    """

    phone_region: str | None = None
    passed_on: frozenset[str] = frozenset()
    event_names: frozenset[str] = EVENT_NAMES

    def passes_on(self, name: str) -> bool:
        is_named = name in self.passed_on or name.startswith(self._beginnings)
        return is_named and name != REGION_FIELD

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The names that need no translation out of another vocabulary."""
        return _KNOWN | self.passed_on | {REGION_FIELD}

    @functools.cached_property
    def _beginnings(self) -> tuple[str, ...]:
        return tuple(name[:-1] for name in self.passed_on if name.endswith("*"))


DEFAULT_RULES = EventRules()


def as_it_is(event: Mapping[str, object]) -> Mapping[str, object]:
    """Amend nothing: the way in knows nothing better than the sender."""
    return event


@dataclass(frozen=True, slots=True)
class InBatch:
    """An event of an array, and what stands beside the array: each event's default."""

    event: object
    beside: Mapping[str, object]


@dataclass(slots=True)
class _Reading:
    """The warnings of one event, and what its readers need beside a value.

    `name` is the field that is being read.
    """

    rules: EventRules
    accepted_at: datetime
    phone_region: str | None = None
    name: str = ""
    warnings: list[Fault] = field(default_factory=list)

    def warn(self, message: str) -> None:
        self.warnings.append(Fault(self.name, message))

    def warn_of(self, name: str, message: str) -> None:
        self.warnings.append(Fault(name, message))

    def unfit(self, name: str, value: object) -> str | None:
        """Say why a value by another name cannot be a field's that would refuse the event."""
        if name not in _ABSENT_BY_WORD:
            return None
        try:
            _READERS[name](value, _Reading(self.rules, self.accepted_at))
        except BadValue as exc:
            return str(exc)
        return None


def read_event(
    raw: object, rules: EventRules, accepted_at: datetime, amend: Amend = as_it_is
) -> tuple[Event, tuple[Fault, ...]]:
    """Validate and normalise one posted event; returns it with what the caller should know.

    `accepted_at` takes the place of a time that cannot be one. `amend` puts in what the way in
    knows better than the sender, after other vocabularies were translated. Raises InvalidEvent with
    every fault at once.
    """
    beside_all: Mapping[str, object] | None = None
    if type(raw) is InBatch:
        beside_all, raw = raw.beside, raw.event
    if not isinstance(raw, Mapping):
        raise InvalidEvent((Fault("", "an event must be a JSON object"),))
    if isinstance(raw, jsontext.Ambiguous):
        raise ambiguous(raw)
    reading = _Reading(rules, accepted_at, rules.phone_region)
    plain = raw if rules.known.issuperset(raw) else _in_cometlys_words(raw, reading)
    if beside_all:
        plain = _with_shared(plain, beside_all, reading)
    told = amend(plain)
    if told is not plain:
        _warn_of_another_key(plain, told, reading)
    beside = {} if _KNOWN.issuperset(told) else _beside(told, reading)
    values, faults = _values_in(told, reading)
    _leave_out_lone_half(values, reading)
    faults += _identification_faults(values)
    if faults:
        raise InvalidEvent(tuple(faults), tuple(reading.warnings))
    if values["event_name"] == "purchase" and "amount" not in values:
        reading.warn_of("amount", "is absent: Cometly books this purchase without a value")
    return Event.model_validate(beside | values), tuple(reading.warnings)


def ambiguous(content: jsontext.Ambiguous) -> InvalidEvent:
    """Make the error for what an object names twice."""
    return InvalidEvent((Fault(content.repeated[:64], "must be given once: it is there twice"),))


def warned_fields(warnings: Sequence[Fault]) -> list[str]:
    """Name the fields of warnings for a log; names that a sender made up are not told."""
    return sorted({it.field if it.field in _KNOWN else "(other)" for it in warnings})


def faulty_fields(faults: Sequence[Fault]) -> list[str]:
    """Name the fields of faults for a log, each in its place; the whole event's is empty."""
    return [it.field if it.field in _KNOWN or not it.field else "(other)" for it in faults]


# --- Other vocabularies, batches and headers ----------------------------------------------------


def _in_cometlys_words(raw: Mapping[str, object], reading: _Reading) -> Mapping[str, object]:
    rules = reading.rules
    if rules.known.issuperset(raw):
        return raw
    return translated(raw, rules.known, reading.warn_of, unfit=reading.unfit, keeps=rules.passes_on)


def _with_shared(
    event: Mapping[str, object], beside: Mapping[str, object], reading: _Reading
) -> Mapping[str, object]:
    """Put what stands beside a batch's array under the event: it is used where the event has none.

    Both are in Cometly's words by then, so that another name for a field is no reason to miss it.
    """
    told = _in_cometlys_words(beside, reading)
    shared, names = dict(told), others_in(told)
    for name in [name for name in _NEVER_SHARED if shared.get(name) is not None]:
        reading.warn_of(
            names.get(name, name),
            "stands beside the array and is left out: it would make the events one",
        )
        del shared[name]
    given = {name: value for name, value in event.items() if not _is_blank(value)}
    merged = Translated({**shared, **given})
    merged.others.update(others_in(event))
    return merged


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _warn_of_another_key(
    plain: Mapping[str, object], told: Mapping[str, object], reading: _Reading
) -> None:
    """Correct what was said of another vocabulary's key, where a header's has taken its place."""
    name = others_in(plain).get("idempotency_key")
    if name and told.get("idempotency_key") != plain["idempotency_key"]:
        reading.warnings = [it for it in reading.warnings if it.field != name]
        reading.warn_of(name, "is left out: the Idempotency-Key header is another key")


# --- Cometly's fields ---------------------------------------------------------------------------


def _values_in(
    told: Mapping[str, object], reading: _Reading
) -> tuple[dict[str, object], list[Fault]]:
    """Read each of Cometly's fields that is given; what is blank counts as absent."""
    values: dict[str, object] = {}
    faults: list[Fault] = []
    for name in [name for name in FIELDS if name in told]:
        reading.name = name
        if (found := _value_of(told[name], reading, faults)) is not None:
            values[name] = found
    if "event_name" not in values and not any(it.field == "event_name" for it in faults):
        faults.insert(0, Fault("event_name", "is required"))
    return values, faults


def _value_of(value: object, reading: _Reading, faults: list[Fault]) -> object:
    """Read the value of a field; None where it is absent, left out, or one of `faults`."""
    if value is None or (isinstance(value, str) and _is_missing(value, reading)):
        return None
    read = _READERS[reading.name]
    if read in _OF_TEXT and type(value) is str and is_plain(value):
        return value  # as nearly all are: the reader would return it
    try:
        found = read(value, reading)
    except BadValue as exc:
        _judge(exc, value, reading, faults)
        return None
    if found is not value and isinstance(found, str) and _is_missing(found, reading):
        return None  # invisible characters and quotes had hidden the word
    if isinstance(value, str) and _REPLACEMENT in value and _REPLACEMENT in str(found):
        reading.warn(_LOST_BYTES)
    return found


def _judge(exc: BadValue, value: object, reading: _Reading, faults: list[Fault]) -> None:
    """Say of a value that cannot be read that it is absent, refuses the event, or is left out."""
    name = reading.name
    if name in _ABSENT_BY_WORD and isinstance(value, str) and is_placeholder(value):
        reading.warn(_STANDS_FOR_NOTHING)
    elif name in _REFUSING or (name in _NEVER_MANY and isinstance(value, Mapping | list)):
        faults.append(Fault(name, str(exc)))
    else:
        reading.warn(f"{exc}; it is left out")


def _is_missing(text: str, reading: _Reading) -> bool:
    """Tell blank text, and what programs write for a missing value, such as undefined."""
    if not text or text.isspace():
        return True
    if reading.name not in _IDENTIFYING or not is_placeholder(text):
        return False
    reading.warn(_STANDS_FOR_NOTHING)
    return True


@functools.lru_cache(maxsize=512)
def _hint(name: str, known: tuple[str, ...]) -> str:
    """Guess what was meant. Cached: an array repeats its mistakes, and a guess costs 0.1 ms."""
    import difflib  # noqa: PLC0415 - few events need a guess

    close = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _event_name(value: object, reading: _Reading) -> str:
    name = value.strip() if isinstance(value, str) else ""
    found = name if name in EVENT_NAMES else read_event_name(name, EVENT_NAMES, reading.warn)
    if found in reading.rules.event_names:
        return found
    if found:
        raise BadValue(_NOT_ADMITTED)
    hint = _hint(name.lower()[:64], STANDARD_NAMES + CUSTOM_NAMES)
    raise BadValue(
        "must be one of Cometly's standard names or custom_event_1 to custom_event_50" + hint
    )


def _email(value: object, reading: _Reading) -> str:
    if not isinstance(value, list):
        return read_email(value, reading.warn)
    email = read_email(first_usable(value), reading.warn)
    reading.warn("is a list; the first address in it is sent")
    return email


def _phone(value: object, reading: _Reading) -> str | None:
    return read_phone(value, reading.phone_region, reading.warn)


def _event_time(value: object, reading: _Reading) -> str:
    return iso_time(read_time(value, reading.accepted_at, reading.warn))


def _shown(value: object, reading: _Reading) -> str:
    """Read text for people: joiners of letters and of emoji stay."""
    return read_text(value, reading.warn, keep_joiners=True)


def _plain(read: Callable[[object, Callable[[str], None]], object]) -> _Reader:
    """Adapt a reader that needs nothing but the value."""
    return lambda value, reading: read(value, reading.warn)


_Reader = Callable[[object, _Reading], object]
_SHOWN = frozenset(
    {
        *("full_name", "first_name", "last_name", "user_agent", "url", "comet_source"),
        *("comet_network", "comet_campaign", "comet_ad_group", "comet_keyword", "comet_type"),
    }
)
_READERS_OF: Mapping[str, _Reader] = {
    **dict.fromkeys(_SHOWN, _shown),
    "event_name": _event_name,
    "email": _email,
    "ip": _plain(read_ip),
    "phone": _phone,
    "event_time": _event_time,
    "amount": _plain(read_amount),
    "order_id": _plain(read_order_id),
    "idempotency_key": _plain(read_key),
    "is_upsell": _plain(read_boolean),
    "do_not_capi": _plain(read_boolean),
}
_other_text = _plain(read_text)
_READERS = {name: _READERS_OF.get(name, _other_text) for name in FIELDS}
_OF_TEXT = frozenset({_shown, _other_text})
# What cannot be read of these refuses the event; of the others here, if it is an object or a list.
_REFUSING = frozenset({"event_name", "amount", "event_time"})
# No amount and no time is such a word: it is looked for after they could not be read.
_ABSENT_BY_WORD = frozenset({"amount", "event_time"})
_NEVER_MANY = frozenset({"order_id", "idempotency_key"})


def _leave_out_lone_half(values: dict[str, object], reading: _Reading) -> None:
    """Leave out an address without a fingerprint, or a fingerprint without an address.

    Cometly refuses one without the other. Where nothing else identifies, so do we.
    """
    if ("ip" in values) == ("fingerprint" in values):
        return
    if not ("email" in values or "comet_token" in values):
        return
    lone, other = ("ip", "fingerprint") if "ip" in values else ("fingerprint", "ip")
    reading.warn_of(lone, f"is left out: Cometly takes it only together with {other}")
    del values[lone]


def _identification_faults(given: Mapping[str, object]) -> list[Fault]:
    if "email" in given or "comet_token" in given:
        return []
    if "fingerprint" in given:
        if "ip" in given:
            return []
        return [Fault("ip", "must be given together with fingerprint")]
    if "ip" in given:
        return [Fault("fingerprint", "must be given together with ip")]
    return [Fault("email", "or comet_token, or fingerprint with ip, must identify the customer")]


# --- What is beside them ------------------------------------------------------------------------


def _beside(told: Mapping[str, object], reading: _Reading) -> dict[str, object]:
    """Return what is passed on; take the country of the phone, and warn of the rest."""
    passed_on = _passed_on(told, reading)
    _warn_of_unknown(told, reading)
    reading.phone_region = _region_in(told, reading) or reading.phone_region
    return passed_on


def _passed_on(raw: Mapping[Any, object], reading: _Reading) -> dict[str, object]:
    """What goes to Cometly as it is, beside the fields that its reference lists."""
    found: dict[str, object] = {}
    for name, value in raw.items():
        if name in _KNOWN or not isinstance(name, str) or not reading.rules.passes_on(name):
            continue
        if isinstance(value, str):
            found[name] = with_whole_characters(value)
            if found[name] != value:
                reading.warn_of(name, "held half of a surrogate pair, which became U+FFFD")
        elif isinstance(value, int | float) and is_json_number(value):
            found[name] = value
        elif value is not None:
            reading.warn_of(name, "must be text, a number or true or false; it is left out")
    return found


def is_json_number(value: float) -> bool:
    """Say whether others can read a number of JSON: no integer that is too large for a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _region_in(raw: Mapping[Any, object], reading: _Reading) -> str | None:
    region = raw.get(REGION_FIELD)
    if region is None or (isinstance(region, str) and not region.strip()):
        return None
    if isinstance(region, str) and is_region(code := region.strip().upper()):
        return code
    reading.warn_of(REGION_FIELD, "must be a country of ISO 3166, such as US; it is left out")
    return None


def _warn_of_unknown(raw: Mapping[Any, object], reading: _Reading) -> None:
    unknown = [str(name) for name in raw if not _is_known(name, reading.rules)]
    unknown.sort(key=lambda name: name not in _TELLING)
    for name in unknown[:MAX_UNKNOWN_NAMED]:
        if telling := _TELLING.get(name):
            reading.warn_of(name, telling)
            continue
        hint = _hint(name[:64].strip().lower(), FIELDS)
        reading.warn_of(name[:64], f"is not a field that Cometly knows and is left out{hint}")
    if len(unknown) > MAX_UNKNOWN_NAMED:
        reading.warn_of("", f"{len(unknown) - MAX_UNKNOWN_NAMED} more unknown fields are left out")


def _is_known(name: object, rules: EventRules) -> bool:
    return (
        name in _KNOWN or name == REGION_FIELD or (isinstance(name, str) and rules.passes_on(name))
    )
