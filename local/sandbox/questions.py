"""What is asked of the records: the query of a list, the body of an export.

Read from Cometly's pages:
https://docs.cometly.com/api-reference/endpoint/list-events
https://docs.cometly.com/api-reference/endpoint/create-event-export

Where those are silent: a time that the Space's zone has twice is the first of the two, and one that
it skips is as far behind the gap, as PHP reads them. An unknown parameter is ignored.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from local.sandbox.contract import RECORDED_NAMES
from local.sandbox.records import Position, Record, Span, utc

DEFAULT_PER_PAGE, MOST_PER_PAGE, MOST_NAMES = 200, 4000, 10
SPACE_ID = 6001

FIELDS: dict[str, Callable[[Record], object]] = {
    "id": lambda it: it.id,
    "event_name": lambda it: it.event_name,
    "configured_name": lambda it: it.event_name,
    "amount": lambda it: it.amount,
    "event_time_utc": lambda it: utc(it.event_time),
    "order_id": lambda it: it.order_id,
    "order_name": lambda it: it.order_name,
    "is_upsell": lambda it: bool(it.is_upsell),
    "profile_id": lambda it: it.profile_id,
    "company_id": lambda _: None,
    "space_id": lambda _: SPACE_ID,
}
DEFAULT_FIELDS = ("id", "event_time_utc")

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Unprocessable(ValueError):
    """A question that makes no sense; its text is the message of a 422."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: the page that comes after it, or the one before."""

    position: Position
    is_forward: bool = True

    def text(self) -> str:
        """Write it for a URL. Its content is nobody's business."""
        content = [self.position.event_time, self.position.id, self.is_forward]
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read what `text` wrote."""
        try:
            padded = text + "=" * (-len(text) % 4)
            event_time, number, is_forward = json.loads(base64.urlsafe_b64decode(padded))
            return cls(Position(int(event_time), int(number)), bool(is_forward))
        except (ValueError, TypeError) as exc:
            raise Unprocessable("The cursor is invalid.") from exc


@dataclass(frozen=True, slots=True)
class ListQuestion:
    """A page of the list."""

    span: Span
    fields: tuple[str, ...]
    per_page: int
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class ExportQuestion:
    """A day's export."""

    span: Span
    fields: tuple[str, ...]


def list_question(query: Sequence[tuple[str, str]], zone: ZoneInfo) -> ListQuestion:
    """Read the query of a list, name and value in turn; raises Unprocessable."""
    single = dict(query)
    start, end = (_moment(single, name, zone) for name in ("start_date", "end_date"))
    if end <= start:
        raise Unprocessable("The end_date must be after start_date.")
    names = _names(_array(query, "event_names"))
    cursor = single.get("cursor")
    return ListQuestion(
        span=Span(start, end, names),
        fields=_fields(_array(query, "fields")),
        per_page=_per_page(single.get("per_page")),
        cursor=Cursor.read(cursor) if cursor else None,
    )


def export_question(body: object, zone: ZoneInfo) -> ExportQuestion:
    """Read the body of an export; raises Unprocessable."""
    if not isinstance(body, dict):
        raise Unprocessable("The body must be a JSON object.")
    day = body.get("date")
    start, end = day_of(day, zone) if isinstance(day, str) else (None, None)
    if start is None or end is None:
        raise Unprocessable("The date must be a day as YYYY-MM-DD.")
    names = _names(_strings(body, "event_names"))
    return ExportQuestion(Span(start, end, names), _fields(_strings(body, "fields")))


def day_of(text: str, zone: ZoneInfo) -> tuple[int, int] | tuple[None, None]:
    """Return the first and the last second of a day in the Space's time zone."""
    if not _DAY.fullmatch(text):
        return None, None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None, None
    start, after = (
        datetime.combine(day + timedelta(days=it), time(), zone).timestamp() for it in (0, 1)
    )
    return int(start), int(after) - 1


def shown(record: Record, names: Sequence[str]) -> dict[str, object]:
    """Return these fields of a record."""
    return {name: FIELDS[name](record) for name in names}


def _moment(query: Mapping[str, str], name: str, zone: ZoneInfo) -> int:
    text = query.get(name, "")
    try:
        # Of the forms that this reads, Cometly takes one.
        moment = datetime.fromisoformat(text if _MOMENT.fullmatch(text) else "")
    except ValueError as exc:
        raise Unprocessable(f"The {name} must be a time as YYYY-MM-DD HH:MM:SS.") from exc
    return int(moment.replace(tzinfo=zone).timestamp())


def _array(query: Sequence[tuple[str, str]], name: str) -> tuple[str, ...] | None:
    """Return the values of `name[]`, or of `name[0]` and so on; None: there are none."""
    if any(key == name for key, _ in query):
        raise Unprocessable(f"The {name} must be an array: write {name}[]=... for each.")
    pattern = re.compile(rf"{name}\[[0-9]*\]")
    return tuple(value for key, value in query if pattern.fullmatch(key)) or None


def _strings(body: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    values = body.get(name)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(it, str) for it in values):
        raise Unprocessable(f"The {name} must be an array of strings.")
    return tuple(values)


def _names(names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    for problem in _problems("event_names", names, RECORDED_NAMES, MOST_NAMES):
        raise Unprocessable(problem)
    return names


def _fields(names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        return DEFAULT_FIELDS
    for problem in _problems("fields", names, FIELDS, len(FIELDS)):
        raise Unprocessable(problem)
    return names


def _problems(
    name: str, values: tuple[str, ...], known: Mapping[str, object] | frozenset[str], most: int
) -> Iterator[str]:
    if not 1 <= len(values) <= most:
        yield f"The {name} must be 1 to {most}."
    if len(set(values)) < len(values):
        yield f"The {name} must not repeat a value."
    yield from (f"The {name} have no {it!r}." for it in values if it not in known)


def _per_page(text: str | None) -> int:
    if text is None:
        return DEFAULT_PER_PAGE
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_PER_PAGE:
        raise Unprocessable(f"The per_page must be a number from 1 to {MOST_PER_PAGE}.")
    return int(text)
