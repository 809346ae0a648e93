"""What an answer of Cometly's means for the event. Unknown means: try again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from itertools import islice

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Unreadable


class Kind(Enum):
    """The five things an answer can mean."""

    DELIVERED = "delivered"
    THROTTLED = "throttled"
    BLOCKED = "blocked"
    TRANSIENT = "transient"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class CometlyResponse:
    """What came back over HTTP. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class NoResponse:
    """Why nothing came back, in a few words, such as `no answer in time`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one answer, with what the operator and the gate should see of it.

    `retry_after` is in seconds; `limit` and `remaining` are requests a minute, as the headers say.
    """

    kind: Kind
    reason: str
    status: int | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    limit: int | None = None
    remaining: int | None = None


_ACCEPTED = 202  # the one success that Cometly's reference documents
_FORBIDDEN, _THROTTLED = 403, 429
_REDIRECTS = range(300, 400)
# These speak of the Space or of the endpoint, and not of the event.
_BLOCKED: Mapping[int, str] = {
    401: "the token is missing or wrong",
    402: "payment is required",
    403: "the token lacks the permission, or the subscription is inactive",
    404: "nothing is at this address",
    405: "this address takes no POST",
    410: "nothing is at this address any more",
    **dict.fromkeys(_REDIRECTS, "a redirect, which is never followed"),
}
# These say that the event itself is wrong, in Cometly's words or none; a proxy in front of Cometly
# says two of them in a page of its own, before Cometly sees the event.
_WRONG = frozenset({400, 409, 411, 413, 414, 415, 422, 431})
_WRONG_IN_A_PAGE = frozenset({413, 431})
_MESSAGE_LENGTH = 500
_REQUEST_ID_LENGTH = 200


def judge(answer: CometlyResponse | NoResponse, now: float) -> Verdict:
    """Decide what an answer means (the table in docs/architecture.md). `now` is Unix time."""
    if isinstance(answer, NoResponse):
        return Verdict(kind=Kind.TRANSIENT, reason=answer.reason)
    # A date in Retry-After is Cometly's; its own clock says how far ahead that is.
    sent_at = _time_in(answer.headers.get("date", ""))
    kind, reason = _class_of(answer)
    return Verdict(
        kind=kind,
        reason=reason,
        status=answer.status,
        message=_message_of(answer),
        request_id=_request_id_of(answer),
        retry_after=_seconds_in(
            answer.headers.get("retry-after", ""), now if sent_at is None else sent_at
        ),
        limit=_whole_number_in(answer.headers.get("x-ratelimit-limit", "")),
        remaining=_whole_number_in(answer.headers.get("x-ratelimit-remaining", "")),
    )


def _class_of(answer: CometlyResponse) -> tuple[Kind, str]:
    status, reason = answer.status, f"HTTP {answer.status}"
    if status == _ACCEPTED and _object_in(answer) is not None:
        return Kind.DELIVERED, reason
    if status == _THROTTLED:
        return Kind.THROTTLED, reason
    # A firewall's 403, a page, is about one event; Cometly's own is about the whole Space.
    if status in _BLOCKED and not (status == _FORBIDDEN and _is_foreign(answer)):
        return Kind.BLOCKED, f"{reason}: {_BLOCKED[status]}"
    if status in _WRONG and (status in _WRONG_IN_A_PAGE or not _is_foreign(answer)):
        return Kind.PERMANENT, reason
    if status < 500:  # noqa: PLR2004 - HTTP's own border
        reason += ": not an answer of Cometly's"
    return Kind.TRANSIENT, reason


def _is_foreign(answer: CometlyResponse) -> bool:
    """Tell a proxy's page from an answer of Cometly's, which is JSON or nothing."""
    return bool(answer.body.strip()) and _object_in(answer) is None


def _object_in(answer: CometlyResponse) -> dict[str, object] | None:
    try:
        content = jsontext.parse(answer.body)
    except Unreadable:
        return None
    return content if isinstance(content, dict) else None


def _message_of(answer: CometlyResponse) -> str | None:
    message = (_object_in(answer) or {}).get("message")
    return message[:_MESSAGE_LENGTH] if isinstance(message, str) else None


def _request_id_of(answer: CometlyResponse) -> str | None:
    printable = filter(str.isprintable, answer.headers.get("request-id", ""))
    return "".join(islice(printable, _REQUEST_ID_LENGTH)).strip() or None


def _seconds_in(text: str, now: float) -> float | None:
    """Read Retry-After: seconds, or an HTTP date (RFC 9110, section 10.2.3)."""
    if (seconds := _whole_number_in(text)) is not None:
        return float(seconds)
    until = _time_in(text)
    return None if until is None else max(until - now, 0.0)


def _time_in(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _whole_number_in(text: str) -> int | None:
    digits = text.strip()
    return int(digits) if re.fullmatch("[0-9]{1,9}", digits) else None
