"""Event: Cometly's 28 fields, validated and normalised.

The rules are those of Cometly's reference for `POST /public-api/v1/events/track`; where it is
silent, an event is let through with a warning rather than refused, for a refused event is lost.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NoReturn, cast

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

from cometly_forwarder.errors import Fault, InvalidEvent
from cometly_forwarder.event.phones import read_phone

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

_MILLISECONDS_FROM = 10**11  # as seconds: the year 5138
_MILLISECONDS_UNTIL = 10**13  # the year 2286; beyond lie dates without separators, microseconds
_AMOUNT_LIMIT = 10**15  # up to here a JSON number keeps every integer and most cents
_WHOLE_LIMIT = 10**18  # below: an integer that stands for its digits
_LONGEST_NUMBER = 64
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
# ISO 8601's basic form of a date, such as 20240115: as seconds it would be some day of 1970.
_BASIC_DATE = re.compile(r"(19|20|21)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)
_UNIX_TIME = re.compile(r"\d+(\.\d+)?", re.ASCII)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_TIME_FORMS = "must be ISO 8601, such as 2024-01-15T10:30:00Z, or Unix time in seconds"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(slots=True)
class Reading:
    """What validation needs beside the event, and the warnings that it gathers on the way."""

    phone_region: str | None = None
    warnings: list[Fault] = field(default_factory=list)

    def warn(self, name: str, message: str) -> None:
        self.warnings.append(Fault(name, message))


def _reading(info: ValidationInfo) -> Reading:
    return cast("Reading", info.context)


def _refuse(message: str) -> NoReturn:
    raise PydanticCustomError("fault", "{message}", {"message": message})


@functools.lru_cache(maxsize=512)
def _hint(name: str, known: tuple[str, ...]) -> str:
    """Guess what was meant. Cached: an array repeats its mistakes, and a guess costs 0.1 ms."""
    close = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        _refuse("must be text (a JSON string)")
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse("must be valid Unicode: it holds half of a surrogate pair")
    return value.strip()


def _identifier(value: object) -> str:
    """Shops number their orders: an integer is as good as its digits."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _WHOLE_LIMIT:
        return str(value)
    return _text(value)


def _event_name(value: object) -> str:
    name = _text(value)
    if name in EVENT_NAMES:
        return name
    hint = _hint(name.lower()[:64], STANDARD_NAMES + CUSTOM_NAMES)
    _refuse(
        "must be one of Cometly's standard names or custom_event_1 to custom_event_50" + hint,
    )


def _email(value: object, info: ValidationInfo) -> str:
    email = _text(value).lower()
    if "@" not in email:
        _reading(info).warn("email", "does not look like an e-mail address; it is sent as it is")
    return email


def _phone(value: object, info: ValidationInfo) -> str | None:
    reading = _reading(info)
    return read_phone(value, reading.phone_region, functools.partial(reading.warn, "phone"))


def _amount(value: object) -> int | float:
    number = _number_in(value.strip()) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        _refuse("must be a number, such as 99.99")
    if isinstance(number, float) and not math.isfinite(number):
        _refuse("must be a finite number: NaN and Infinity are refused")
    if abs(number) > _AMOUNT_LIMIT:
        _refuse("must lie between -1e15 and 1e15")
    return number


def _number_in(text: str) -> object:
    """Turn a numeric string into the number it spells, to the last digit, or leave it alone."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return text if text.lower() not in {"nan", "inf", "infinity", "-inf"} else float(text)
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text)
    if math.isfinite(number) and Decimal(repr(number)) != Decimal(text):
        _refuse("has more digits than a JSON number can carry exactly")
    return number


def _boolean(value: object) -> bool:
    key = str(value).strip().lower() if isinstance(value, str | int) else ""
    if key not in _BOOLEANS:
        _refuse("must be true or false")
    return _BOOLEANS[key]


def _event_time(value: object, info: ValidationInfo) -> str:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and (_BASIC_DATE.fullmatch(text) or not _UNIX_TIME.fullmatch(text)):
        return iso_time(_from_iso(text))
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        _refuse(_TIME_FORMS)
    return iso_time(_from_unix(text, _reading(info)))


def _from_iso(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        _refuse(_TIME_FORMS)


def _from_unix(value: str | float, reading: Reading) -> datetime:
    number = Decimal(value)
    if not number.is_finite() or not 0 <= number < _MILLISECONDS_UNTIL:
        _refuse("must be a Unix time in seconds, such as 1705314600, when it is a number")
    if number >= _MILLISECONDS_FROM:
        reading.warn("event_time", "was read as milliseconds; Cometly takes seconds")
        number /= 1000
    return datetime.fromtimestamp(int(number), UTC)


def iso_time(moment: datetime) -> str:
    """Write a moment in the one form that is sent: ISO 8601, UTC, whole seconds, with a Z."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


# What is accepted, where that is more than what is sent on; docs/openapi.json shows it. The same as
# types (`json_schema_input_type`) would add 2 ms to each cold start.
_ANY_NAME = WithJsonSchema(
    {"type": "string", "pattern": rf"^\s*({'|'.join(STANDARD_NAMES + CUSTOM_NAMES)})\s*$"}
)
_TEXT_OR_WHOLE = WithJsonSchema(
    {
        "type": ["string", "integer", "null"],
        "exclusiveMinimum": -_WHOLE_LIMIT,
        "exclusiveMaximum": _WHOLE_LIMIT,
    }
)
_TEXT_OR_UNIX_TIME = WithJsonSchema(
    {
        "type": ["string", "number", "null"],
        "minimum": 0,
        "exclusiveMaximum": _MILLISECONDS_UNTIL,
    }
)
_NUMBER_OR_NUMERAL = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "minimum": -_AMOUNT_LIMIT, "maximum": _AMOUNT_LIMIT},
            {
                "type": "string",
                "pattern": r"^\s*([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$",
            },
            {"type": "null"},
        ]
    }
)
_TRUE_OR_FALSE = WithJsonSchema(
    {
        "anyOf": [
            {"type": "boolean"},
            {"enum": [0, 1]},
            {"type": "string", "pattern": r"^\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|0|1)?\s*$"},
            {"type": "null"},
        ],
        "examples": [True, "false", 1],
    }
)

Text = Annotated[str | None, BeforeValidator(_text)]
Identifier = Annotated[str | None, BeforeValidator(_identifier), _TEXT_OR_WHOLE]
Boolean = Annotated[bool | None, BeforeValidator(_boolean), _TRUE_OR_FALSE]


class Event(BaseModel):
    """One conversion event in Cometly's terms. A field that is None is absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_name: Annotated[str, BeforeValidator(_event_name), _ANY_NAME] = Field(
        description="One of the 14 standard names, or custom_event_1 to custom_event_50.",
        examples=["purchase", "custom_event_1"],
    )
    email: Annotated[str | None, BeforeValidator(_email)] = Field(
        None, description="Identifies the customer alone. Sent trimmed and in lower case."
    )
    comet_token: Text = Field(
        None, description="Identifies the customer alone; cometToken() of the page's pixel."
    )
    fingerprint: Text = Field(
        None, description="Identifies together with ip; cometFingerprint() of the page's pixel."
    )
    ip: Text = Field(None, description="Identifies together with fingerprint.")
    tracking_id: Identifier = Field(
        None, description="Events with the same value belong to one contact."
    )
    full_name: Text = None
    first_name: Text = None
    last_name: Text = None
    phone: Annotated[str | None, BeforeValidator(_phone), _TEXT_OR_WHOLE] = Field(
        None,
        description="Sent as digits with country code, such as 16505551212.",
        examples=["+1 (650) 555-1212", "16505551212"],
    )
    user_agent: Text = None
    event_time: Annotated[str | None, BeforeValidator(_event_time), _TEXT_OR_UNIX_TIME] = Field(
        None,
        description="ISO 8601 (UTC without an offset) or Unix seconds; absent: time of acceptance.",
        examples=["2024-01-15T10:30:00Z", "2024-01-15T11:30:00+01:00", 1705314600, "1705314600"],
    )
    url: Text = None
    amount: Annotated[int | float | None, BeforeValidator(_amount), _NUMBER_OR_NUMERAL] = Field(
        None,
        description="A finite number, or a string that spells one.",
        examples=[99.99, "99.99"],
    )
    order_id: Identifier = None
    order_name: Identifier = None
    checkout_token: Identifier = None
    is_upsell: Boolean = None
    upsell_common_id: Identifier = None
    comet_source: Text = None
    comet_network: Text = None
    comet_campaign: Identifier = None
    comet_ad_group: Identifier = None
    comet_ad_id: Identifier = None
    comet_keyword: Text = None
    comet_type: Text = None
    idempotency_key: Identifier = Field(
        None, description="The same key is the same event. Without one the order decides."
    )
    do_not_capi: Boolean = Field(
        None, description="Keeps the event from the ad platforms' Conversions APIs."
    )

    @property
    def customer(self) -> str | None:
        """What identifies the customer: the first given of e-mail, token and fingerprint."""
        return self.email or self.comet_token or self.fingerprint

    def fields(self) -> dict[str, Any]:
        """The fields that are given, ready for JSON."""
        return self.model_dump(exclude_none=True)


FIELDS = tuple(Event.model_fields)
_KNOWN = frozenset(FIELDS)


def read_event(raw: object, phone_region: str | None = None) -> tuple[Event, tuple[Fault, ...]]:
    """Validate and normalise one posted event; returns it with what the caller should know.

    `phone_region` is an ISO 3166 code for phone numbers written without a country code.
    Raises InvalidEvent with every fault at once.
    """
    if not isinstance(raw, Mapping):
        raise InvalidEvent((Fault("", "an event must be a JSON object"),))
    reading = Reading(phone_region)
    _warn_of_unknown(raw, reading)
    given = _given_in(raw)
    _warn_of_lost_bytes(given, reading)
    faults = _identification_faults(given)
    event = _validated(given, reading, faults)
    if event is None or faults:
        raise InvalidEvent(tuple(faults), tuple(reading.warnings))
    return event, tuple(reading.warnings)


def _given_in(raw: Mapping[Any, object]) -> dict[str, object]:
    """What an event holds of Cometly's fields, as it is; what is blank counts as absent."""
    return {name: raw[name] for name in FIELDS if name in raw and not _is_blank(raw[name])}


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _validated(given: dict[str, object], reading: Reading, faults: list[Fault]) -> Event | None:
    try:
        return Event.model_validate(given, context=reading)
    except ValidationError as exc:
        faults[:0] = [_fault_from(error) for error in exc.errors(include_url=False)]
        return None


def _fault_from(error: Mapping[str, Any]) -> Fault:
    message = "is required" if error["type"] == "missing" else error["msg"]
    return Fault(str(error["loc"][0]), message)


def _identification_faults(given: Mapping[str, object]) -> list[Fault]:
    if "fingerprint" in given and "ip" not in given:
        return [Fault("ip", "must be given together with fingerprint")]
    if "ip" in given and "fingerprint" not in given:
        return [Fault("fingerprint", "must be given together with ip")]
    if not given.keys() & {"email", "comet_token", "fingerprint"}:
        return [
            Fault("email", "or comet_token, or fingerprint with ip, must identify the customer")
        ]
    return []


def _warn_of_lost_bytes(given: Mapping[str, object], reading: Reading) -> None:
    """Decision 12: what a body in another charset may have become on its way here."""
    for name, value in given.items():
        if isinstance(value, str) and _REPLACEMENT in value:
            reading.warn(name, "holds U+FFFD, as text does that is not UTF-8; it is sent as it is")


def _warn_of_unknown(raw: Mapping[Any, object], reading: Reading) -> None:
    unknown = [str(name) for name in raw if name not in _KNOWN]
    for name in unknown[:MAX_UNKNOWN_NAMED]:
        hint = _hint(name[:64].strip().lower(), FIELDS)
        reading.warn(name[:64], f"is not a field that Cometly knows and is left out{hint}")
    if len(unknown) > MAX_UNKNOWN_NAMED:
        reading.warn("", f"{len(unknown) - MAX_UNKNOWN_NAMED} more unknown fields are left out")
