"""Days of a Space, where clocks change and where they do not."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cometly_forwarder.errors import SettingsError
from cometly_forwarder.reconcile.days import (
    day_of,
    days_between,
    last_settled_day,
    utc_time,
    wall_time,
    zone_named,
)


def unix(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("UTC", "2026-11-24", "2026-11-24T00:00:00", 24.0),
        ("Europe/Berlin", "2026-11-24", "2026-11-23T23:00:00", 24.0),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00", 23.0),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00", 25.0),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00", 23.5),
        ("Asia/Kolkata", "2026-11-24", "2026-11-23T18:30:00", 24.0),
        # Midnight is skipped, and midnight comes twice.
        ("America/Havana", "2026-03-08", "2026-03-08T05:00:00", 23.0),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00", 25.0),
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00", 24.0),
    ],
)
def test_a_day_is_from_midnight_to_midnight(zone: str, day: str, start: str, hours: float) -> None:
    found = day_of(date.fromisoformat(day), ZoneInfo(zone))

    assert found.start == unix(start)
    assert (found.end - found.start) / 3600 == hours


def test_days_follow_each_other_without_a_gap() -> None:
    days = list(days_between(date(2026, 10, 24), date(2026, 10, 26), ZoneInfo("Europe/Berlin")))

    assert [it.date.day for it in days] == [24, 25, 26]
    assert [a.end - b.start for a, b in pairwise(days)] == [0, 0]


@pytest.mark.parametrize("name", ["Berlin", "", "/etc/localtime", "../UTC", "Europe/Atlantis\0"])
def test_what_is_no_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match="is no time zone"):
        zone_named(name)


def test_the_calendars_end_is_no_day() -> None:
    with pytest.raises(SettingsError, match="no day"):
        day_of(date.max, zone_named("UTC"))


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-25T04:30:00", "2026-11-24"),
        ("2026-11-24T23:14:59", "2026-11-23"),
        ("2026-11-24T23:15:00", "2026-11-24"),
    ],
)
def test_a_day_is_settled_a_quarter_of_an_hour_after_its_end(now: str, day: str) -> None:
    assert last_settled_day(unix(now), ZoneInfo("Europe/Berlin")) == date.fromisoformat(day)


def test_times_are_written_for_cometly_and_for_people() -> None:
    moment = unix("2026-10-25T00:30:00")

    assert wall_time(moment, ZoneInfo("Europe/Berlin")) == "2026-10-25 02:30:00"
    assert utc_time(moment + 0.9) == "2026-10-25T00:30:00Z"
