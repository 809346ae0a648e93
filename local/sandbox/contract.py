"""Cometly's rules for one event, read from its documents and from nothing else.

Where the documents are silent the strict reading holds, since a sender that passes here
should pass there: `null` is no string, Unix time is a string of whole seconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime

_STANDARD_EVENTS = (
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
# Create Event, "Custom Events": 1 through 50 (the older guide stops at 25).
EVENT_NAMES = frozenset(_STANDARD_EVENTS) | {f"custom_event_{n}" for n in range(1, 51)}
# List Events, "event_names": what an upsell is recorded as.
_UPSELL = "upsell_purchase"
RECORDED_NAMES = EVENT_NAMES | {_UPSELL}

STRING_FIELDS = (
    "event_name",
    "email",
    "comet_token",
    "fingerprint",
    "ip",
    "tracking_id",
    "full_name",
    "first_name",
    "last_name",
    "phone",
    "user_agent",
    "event_time",
    "url",
    "order_id",
    "order_name",
    "checkout_token",
    "upsell_common_id",
    "comet_source",
    "comet_network",
    "comet_campaign",
    "comet_ad_group",
    "comet_ad_id",
    "comet_keyword",
    "comet_type",
    "idempotency_key",
)
BOOLEAN_FIELDS = ("is_upsell", "do_not_capi")
KNOWN_FIELDS = frozenset((*STRING_FIELDS, *BOOLEAN_FIELDS, "amount"))

_JSON = "application/json"
_JSON_RANGES = frozenset({_JSON, "application/*", "*/*"})
_PHONE = re.compile(r"[1-9][0-9]*")
# Ten digits reach the year 2286; thirteen are milliseconds, which Cometly does not take.
_UNIX_SECONDS = re.compile(r"[0-9]{1,10}")
_ISO_8601 = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
    r"(T[0-9]{2}(:?[0-9]{2}(:?[0-9]{2}([.,][0-9]+)?)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?",
)


class UnreadableBodyError(ValueError):
    """The body is no JSON object; the text says in what way."""


def header_problems(headers: Mapping[str, str]) -> list[str]:
    """Return what the two required headers lack; names are lower-case.

    `*/*` counts as accepting JSON: the reference's first example sends just that.
    """
    problems = []
    if _media_type(headers.get("content-type", "")) != _JSON:
        problems.append("The Content-Type header must be application/json.")
    return problems + accept_problems(headers)


def accept_problems(headers: Mapping[str, str]) -> list[str]:
    """Return what the Accept header lacks, the one that a request without a body needs."""
    if any(_accepts_json(part) for part in headers.get("accept", "").split(",")):
        return []
    return ["The Accept header must be application/json."]


def read_fields(body: bytes) -> dict[str, object]:
    """Return the event's fields, or raise `UnreadableBodyError`."""
    try:
        value = json.loads(
            body.decode(),
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except (ValueError, RecursionError) as exc:
        raise UnreadableBodyError("The body is not valid JSON.") from exc
    if not isinstance(value, dict):
        raise UnreadableBodyError("The body must be a JSON object.")
    return value


def problems(fields: Mapping[str, object]) -> list[str]:
    """Return every rule that the event breaks, in words; an empty list means valid."""
    return [
        *_type_problems(fields),
        *_event_name_problems(given(fields, "event_name")),
        *_identification_problems(fields),
        *_format_problems(fields),
    ]


def unknown_fields(fields: Mapping[str, object]) -> list[str]:
    """Return the names that the reference does not list."""
    return [name for name in fields if name not in KNOWN_FIELDS]


def given(fields: Mapping[str, object], name: str) -> str | None:
    """Return a string field as it was sent, or None where it is absent or blank."""
    value = fields.get(name)
    return value if isinstance(value, str) and value.strip() else None


def recorded_name(fields: Mapping[str, object]) -> str | None:
    """Return the name that Cometly books an event under: an upsell is another kind of event."""
    name = given(fields, "event_name")
    return _UPSELL if name == "purchase" and fields.get("is_upsell") is True else name


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _accepts_json(media_range: str) -> bool:
    _, _, parameters = media_range.partition(";")
    refused = re.fullmatch(r"q=0(\.0*)?", parameters.strip())
    return _media_type(media_range) in _JSON_RANGES and not refused


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite_float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse_constant(digits)


def _type_problems(fields: Mapping[str, object]) -> Iterator[str]:
    for name in STRING_FIELDS:
        if name in fields and not isinstance(fields[name], str):
            yield f"{name} must be a string."
    for name in BOOLEAN_FIELDS:
        if name in fields and not isinstance(fields[name], bool):
            yield f"{name} must be a boolean."
    if "amount" in fields and not _is_number(fields["amount"]):
        yield "amount must be a number."


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no double can hold
        return False


def _event_name_problems(name: str | None) -> Iterator[str]:
    if name is None:
        yield "event_name is required."
    elif name not in EVENT_NAMES:
        yield "event_name must be a standard event or custom_event_1 to custom_event_50."


def _identification_problems(fields: Mapping[str, object]) -> Iterator[str]:
    fingerprint, ip = given(fields, "fingerprint"), given(fields, "ip")
    if fingerprint and not ip:
        yield "ip is required when fingerprint is given."
    if ip and not fingerprint:
        yield "fingerprint is required when ip is given."
    if not (given(fields, "email") or given(fields, "comet_token") or fingerprint or ip):
        yield "One of email, comet_token, or fingerprint with ip is required."


def _format_problems(fields: Mapping[str, object]) -> Iterator[str]:
    phone, event_time = given(fields, "phone"), given(fields, "event_time")
    if phone is not None and not _PHONE.fullmatch(phone):
        yield "phone must be digits with the country code and no leading zero."
    if event_time is not None and not _is_time(event_time):
        yield "event_time must be ISO 8601 or Unix time in seconds."


def _is_time(text: str) -> bool:
    return bool(_UNIX_SECONDS.fullmatch(text)) or _is_iso_8601(text)


def _is_iso_8601(text: str) -> bool:
    if not _ISO_8601.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
