"""Days as a Space counts them: from midnight to midnight in its time zone, of 23 to 25 hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cometly_forwarder.errors import SettingsError

# What Cometly accepted shows up within 15 minutes (its guide).
SETTLING_SECONDS = 15 * 60
# Where clocks change, a local time names two moments or none: an hour more is asked for on each
# side, and rows are picked by their second of UTC.
MARGIN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a Space. `start` and `end`, which is the next day's start, are Unix times."""

    date: date
    start: int
    end: int


def zone_named(name: str) -> ZoneInfo:
    """Return a zone of the IANA database; raises SettingsError."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError) as exc:
        raise SettingsError(
            f"{name!r} is no time zone: name one of the IANA database, such as Europe/Berlin"
        ) from exc


def day_of(day: date, zone: ZoneInfo) -> Day:
    """Return a day's bounds; raises SettingsError for one at the calendar's ends."""
    try:
        return Day(day, _midnight(day, zone), _midnight(day + timedelta(days=1), zone))
    except OverflowError as exc:
        raise SettingsError(f"{day} is no day that can be compared") from exc


def days_between(first: date, last: date, zone: ZoneInfo) -> Iterator[Day]:
    """Yield each day from the first to the last, both included."""
    for number in range((last - first).days + 1):
        yield day_of(first + timedelta(days=number), zone)


def last_settled_day(now: float, zone: ZoneInfo) -> date:
    """Return the last day that is over, and whose events had the time to show up."""
    settled = datetime.fromtimestamp(now - SETTLING_SECONDS, zone)
    return settled.date() - timedelta(days=1)


def wall_time(second: float, zone: ZoneInfo) -> str:
    """Write a moment as Cometly's list takes it: in the Space's zone, without saying so."""
    return datetime.fromtimestamp(second, zone).strftime("%Y-%m-%d %H:%M:%S")


def utc_time(second: float) -> str:
    """Write a moment for people and programs: ISO 8601, UTC."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _midnight(day: date, zone: ZoneInfo) -> int:
    # Of a midnight that clocks skip, this is the moment of the skip; of one that comes twice, the
    # first.
    return int(datetime.combine(day, time(), zone).timestamp())
