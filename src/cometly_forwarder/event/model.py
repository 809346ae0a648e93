"""Event: Cometly's 28 fields, validated and normalised.

The rules are those of Cometly's reference for `POST /public-api/v1/events/track`. A refused event
is lost, so only four things refuse one (decision 20): an event name that is missing or unknown,
nothing that identifies the customer, an amount or a time that cannot be read, a key or an order id
that is an object or a list. Any other value that cannot be read is left out, with a warning that
names it.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from cometly_forwarder import jsontext
from cometly_forwarder.errors import BadValue, Fault, InvalidEvent
from cometly_forwarder.event.addresses import read_ip
from cometly_forwarder.event.amounts import read_amount
from cometly_forwarder.event.phones import is_region, read_phone
from cometly_forwarder.event.texts import (
    is_placeholder,
    read_boolean,
    read_email,
    read_key,
    read_order_id,
    read_text,
    with_whole_characters,
)
from cometly_forwarder.event.times import read_time
from cometly_forwarder.event.vocabulary import read_event_name, translated

Warn = Callable[[str], None]
Amend = Callable[[Mapping[str, object]], Mapping[str, object]]
Reader = Callable[[Any, "Reading", Warn], object]

STANDARD_NAMES = (
    "lead_generated",
    "view_content",
    "schedule",
    "purchase",
    "subscribe",
    "add_to_cart",
    "contact",
    "initiate_checkout",
    "add_payment_info",
    "complete_registration",
    "start_trial",
    "sign_up",
    "submit_application",
    "webinar_registration",
)
CUSTOM_NAMES = tuple(f"custom_event_{number}" for number in range(1, 51))
EVENT_NAMES = frozenset(STANDARD_NAMES + CUSTOM_NAMES)

# An event with thousands of unknown fields gets a bounded answer for bounded work.
MAX_UNKNOWN_NAMED = 10
# Tells the country of one event's phone number; it does not go to Cometly.
REGION_FIELD = "phone_region"

_NOT_ADMITTED = "is not taken from browsers here (the parameter BrowserEventNames can admit it)"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
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


@dataclass(slots=True)
class Reading:
    """What validation needs beside the event, and the warnings that it gathers on the way."""

    rules: EventRules
    accepted_at: datetime
    phone_region: str | None = None
    warnings: list[Fault] = field(default_factory=list)

    def warn(self, name: str, message: str) -> None:
        self.warnings.append(Fault(name, message))


def _always(_: object) -> bool:
    return True


def _never(_: object) -> bool:
    return False


def _is_many(value: object) -> bool:
    return isinstance(value, Mapping | list)


def _lost_bytes(value: object) -> bool:
    """Say what a body in another charset may have become on its way here (decision 12)."""
    return isinstance(value, str) and _REPLACEMENT in value


def _by(read: Reader, *, refusing: Callable[[object], bool] = _never) -> BeforeValidator:
    """Read a field; what cannot be read is refused if `refusing` says so, and else left out."""

    def validate(value: object, info: ValidationInfo) -> object:
        reading, name = cast("Reading", info.context), info.field_name or ""
        try:
            found = read(value, reading, functools.partial(reading.warn, name))
        except BadValue as exc:
            if refusing(value):
                raise PydanticCustomError("fault", "{message}", {"message": str(exc)}) from None
            reading.warn(name, f"{exc}; it is left out")
            return None
        # Invisible characters and quotes may have hidden the word.
        if found == "" or _is_empty_word(name, found, reading):
            return None
        if _lost_bytes(value) and _lost_bytes(found):
            reading.warn(name, "holds U+FFFD, as text does that is not UTF-8; it is sent as it is")
        return found

    return BeforeValidator(validate)


@functools.lru_cache(maxsize=512)
def _hint(name: str, known: tuple[str, ...]) -> str:
    """Guess what was meant. Cached: an array repeats its mistakes, and a guess costs 0.1 ms."""
    close = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _event_name(value: object, reading: Reading, warn: Warn) -> str:
    name = value.strip() if isinstance(value, str) else ""
    found = name if name in EVENT_NAMES else read_event_name(name, EVENT_NAMES, warn)
    if found in reading.rules.event_names:
        return found
    if found:
        raise BadValue(_NOT_ADMITTED)
    hint = _hint(name.lower()[:64], STANDARD_NAMES + CUSTOM_NAMES)
    raise BadValue(
        "must be one of Cometly's standard names or custom_event_1 to custom_event_50" + hint
    )


def _phone(value: object, reading: Reading, warn: Warn) -> str | None:
    return read_phone(value, reading.phone_region, warn)


def _event_time(value: object, reading: Reading, warn: Warn) -> str:
    return iso_time(read_time(value, reading.accepted_at, warn))


def iso_time(moment: datetime) -> str:
    """Write a moment in the one form that is sent: ISO 8601, UTC, whole seconds, with a Z."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _plain(read: Callable[[object, Warn], object]) -> Reader:
    """Adapt a reader that needs nothing but the value."""
    return lambda value, _, warn: read(value, warn)


# What is read without being left out; docs/openapi.json shows it. The same as types
# (`json_schema_input_type`) would add 2 ms to each cold start.
_TEXT_OR_NUMBER = WithJsonSchema({"type": ["string", "number", "null"]})
_BOOLEAN_OR_WORD = WithJsonSchema(
    {"type": ["boolean", "string", "number", "null"], "examples": [True, "false", 1, "yes"]}
)
_READ_NAME = functools.partial(read_text, keep_joiners=True)

# For people: joiners of letters and of emoji stay.
Name = Annotated[str | None, _by(_plain(_READ_NAME)), _TEXT_OR_NUMBER]
Identifier = Annotated[str | None, _by(_plain(read_text)), _TEXT_OR_NUMBER]
Boolean = Annotated[bool | None, _by(_plain(read_boolean)), _BOOLEAN_OR_WORD]


class Event(BaseModel):
    """One conversion event in Cometly's terms, and what is passed on beside them.

    A field that is None is absent.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    event_name: Annotated[
        str, _by(_event_name, refusing=_always), WithJsonSchema({"type": "string"})
    ] = Field(
        description=(
            "One of the 14 standard names, or custom_event_1 to custom_event_50, in any case; or "
            "the name that Meta, GA4, Segment, TikTok, Pinterest, Snap or Shopify has for it."
        ),
        examples=["purchase", "custom_event_1", "AddToCart"],
    )
    email: Annotated[str | None, _by(_plain(read_email))] = Field(
        None, description="Identifies the customer alone. Sent trimmed and in lower case."
    )
    comet_token: Identifier = Field(
        None, description="Identifies the customer alone; cometToken() of the page's pixel."
    )
    fingerprint: Identifier = Field(
        None, description="Identifies together with ip; cometFingerprint() of the page's pixel."
    )
    ip: Annotated[str | None, _by(_plain(read_ip))] = Field(
        None, description="Identifies together with fingerprint."
    )
    tracking_id: Identifier = Field(
        None, description="Events with the same value belong to one contact."
    )
    full_name: Name = None
    first_name: Name = None
    last_name: Name = None
    phone: Annotated[str | None, _by(_phone), _TEXT_OR_NUMBER] = Field(
        None,
        description=(
            "Sent as digits with country code, such as 16505551212. Left out where its country is "
            "not known and it could be a stranger's."
        ),
        examples=["+1 (650) 555-1212", "16505551212"],
    )
    user_agent: Name = None
    event_time: Annotated[str | None, _by(_event_time, refusing=_always), _TEXT_OR_NUMBER] = Field(
        None,
        description="ISO 8601 (UTC without an offset) or Unix seconds; absent: time of acceptance.",
        examples=["2024-01-15T10:30:00Z", "2024-01-15T11:30:00+01:00", 1705314600, "1705314600"],
    )
    url: Name = None
    amount: Annotated[
        int | float | None, _by(_plain(read_amount), refusing=_always), _TEXT_OR_NUMBER
    ] = Field(
        None,
        description="A finite number, or text that spells one.",
        examples=[99.99, "99.99", "1.234,56 €"],
    )
    order_id: Annotated[
        str | None, _by(_plain(read_order_id), refusing=_is_many), _TEXT_OR_NUMBER
    ] = None
    order_name: Identifier = None
    checkout_token: Identifier = None
    is_upsell: Boolean = None
    upsell_common_id: Identifier = None
    comet_source: Name = None
    comet_network: Name = None
    comet_campaign: Name = None
    comet_ad_group: Name = None
    comet_ad_id: Identifier = None
    comet_keyword: Name = None
    comet_type: Name = None
    idempotency_key: Annotated[
        str | None, _by(_plain(read_key), refusing=_is_many), _TEXT_OR_NUMBER
    ] = Field(None, description="The same key is the same event. Without one the order decides.")
    do_not_capi: Boolean = Field(
        None, description="Keeps the event from the ad platforms' Conversions APIs."
    )

    @property
    def customer(self) -> str | None:
        """What identifies the customer: the first given of e-mail, token and fingerprint.

        A text without an @ is not the customer where a token or a fingerprint is.
        """
        other = self.comet_token or self.fingerprint
        is_address = self.email is not None and "@" in self.email
        return self.email if is_address or not other else other

    def fields(self) -> dict[str, Any]:
        """The fields that are given, ready for JSON."""
        return self.model_dump(exclude_none=True)


FIELDS = tuple(Event.model_fields)
_KNOWN = frozenset(FIELDS)


def read_event(
    raw: object, rules: EventRules, accepted_at: datetime, amend: Amend = dict
) -> tuple[Event, tuple[Fault, ...]]:
    """Validate and normalise one posted event; returns it with what the caller should know.

    `accepted_at` takes the place of a time that cannot be one. `amend` puts in what the way in
    knows better than the sender, after other vocabularies were translated. Raises InvalidEvent with
    every fault at once.
    """
    if not isinstance(raw, Mapping):
        raise InvalidEvent((Fault("", "an event must be a JSON object"),))
    if isinstance(raw, jsontext.Ambiguous):
        raise InvalidEvent((Fault(raw.repeated[:64], "must be given once: it is there twice"),))
    reading = Reading(rules, accepted_at)
    told = amend(translated(raw, rules.known, reading.warn))
    passed_on = _passed_on(told, reading)
    given = _given_in(told, reading)
    _warn_of_unknown(told, reading)
    reading.phone_region = _region_in(told, reading) or rules.phone_region
    event, faults = _validated(given | passed_on, reading)
    if event is None:
        faults += _identification_faults(given)
    else:
        event = _without_lone_half(event, reading)
        faults = _identification_faults(event.fields())
    if event is None or faults:
        raise InvalidEvent(tuple(faults), tuple(reading.warnings))
    if event.event_name == "purchase" and event.amount is None:
        reading.warn("amount", "is absent: Cometly books this purchase without a value")
    return event, tuple(reading.warnings)


def warned_fields(warnings: Sequence[Fault]) -> list[str]:
    """Name the fields of warnings for a log; names that a sender made up are not told."""
    return sorted({it.field if it.field in _KNOWN else "(other)" for it in warnings})


def faulty_fields(faults: Sequence[Fault]) -> list[str]:
    """Name the fields of faults for a log, each in its place; the whole event's is empty."""
    return [it.field if it.field in _KNOWN or not it.field else "(other)" for it in faults]


def _given_in(raw: Mapping[Any, object], reading: Reading) -> dict[str, object]:
    """What an event holds of Cometly's fields, as it is; what is blank counts as absent."""
    return {
        name: raw[name]
        for name in FIELDS
        if name in raw and not _is_blank(raw[name]) and not _is_empty_word(name, raw[name], reading)
    }


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_empty_word(name: str, value: object, reading: Reading) -> bool:
    """Tell a value that a program wrote for a missing one, such as undefined, or {{email}}."""
    if name not in _IDENTIFYING or not isinstance(value, str) or not is_placeholder(value):
        return False
    reading.warn(name, "holds what programs write for a missing value; it counts as absent")
    return True


def _passed_on(raw: Mapping[Any, object], reading: Reading) -> dict[str, object]:
    """What goes to Cometly as it is, beside the fields that its reference lists."""
    found: dict[str, object] = {}
    for name, value in raw.items():
        if name in _KNOWN or not isinstance(name, str) or not reading.rules.passes_on(name):
            continue
        if isinstance(value, str):
            found[name] = with_whole_characters(value)
            if found[name] != value:
                reading.warn(name, "held half of a surrogate pair, which became U+FFFD")
        elif isinstance(value, int | float) and math.isfinite(value):
            found[name] = value
        elif value is not None:
            reading.warn(name, "must be text, a number or true or false; it is left out")
    return found


def _region_in(raw: Mapping[Any, object], reading: Reading) -> str | None:
    region = raw.get(REGION_FIELD)
    if _is_blank(region):
        return None
    if isinstance(region, str) and is_region(code := region.strip().upper()):
        return code
    reading.warn(REGION_FIELD, "must be a country of ISO 3166, such as US; it is left out")
    return None


def _validated(given: Mapping[str, object], reading: Reading) -> tuple[Event | None, list[Fault]]:
    try:
        return Event.model_validate(given, context=reading), []
    except ValidationError as exc:
        return None, [_fault_from(error) for error in exc.errors(include_url=False)]


def _fault_from(error: Mapping[str, Any]) -> Fault:
    message = "is required" if error["type"] == "missing" else error["msg"]
    return Fault(str(error["loc"][0]), message)


def _without_lone_half(event: Event, reading: Reading) -> Event:
    """Leave out an address without a fingerprint, or a fingerprint without an address.

    Cometly refuses one without the other. Where nothing else identifies, so do we.
    """
    if bool(event.ip) == bool(event.fingerprint) or not (event.email or event.comet_token):
        return event
    lone, other = ("ip", "fingerprint") if event.ip else ("fingerprint", "ip")
    reading.warn(lone, f"is left out: Cometly takes it only together with {other}")
    return event.model_copy(update={lone: None})


def _identification_faults(given: Mapping[str, object]) -> list[Fault]:
    if given.keys() & {"email", "comet_token"} or given.keys() >= {"fingerprint", "ip"}:
        return []
    if "fingerprint" in given:
        return [Fault("ip", "must be given together with fingerprint")]
    if "ip" in given:
        return [Fault("fingerprint", "must be given together with ip")]
    return [Fault("email", "or comet_token, or fingerprint with ip, must identify the customer")]


def _warn_of_unknown(raw: Mapping[Any, object], reading: Reading) -> None:
    unknown = [str(name) for name in raw if not _is_known(name, reading.rules)]
    for name in unknown[:MAX_UNKNOWN_NAMED]:
        hint = _hint(name[:64].strip().lower(), FIELDS)
        reading.warn(name[:64], f"is not a field that Cometly knows and is left out{hint}")
    if len(unknown) > MAX_UNKNOWN_NAMED:
        reading.warn("", f"{len(unknown) - MAX_UNKNOWN_NAMED} more unknown fields are left out")


def _is_known(name: object, rules: EventRules) -> bool:
    return (
        name in _KNOWN or name == REGION_FIELD or (isinstance(name, str) and rules.passes_on(name))
    )
