"""Moments in the forms in which programs and people write them, as one: UTC.

Read are ISO 8601 (with RFC 9557's zone behind it), RFC 2822 and HTTP dates, what JavaScript, Go,
Ruby, PHP, SQL and spreadsheets print, and Unix time in seconds, milli-, micro- or nanoseconds.
A text without an offset is in UTC. Dates are read as

- year first (2024-01-15, 2024/01/15, 2024.01.15), whatever stands between;
- day first with dots (15.01.2024): no language of the CLDR puts the month first there;
- either way with / or - (15/01/2024), but only where day and month cannot be exchanged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.texts import without_invisible

Warn = Callable[[str], None]

# What lies outside is no time of a conversion: zeros, clocks that are wrong, other units' numbers.
_EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
_FURTHEST_AHEAD = timedelta(days=1)

_FORMS = "must be ISO 8601, such as 2024-01-15T10:30:00Z, or Unix time in seconds"
_TWO_DATES = (
    "must be a date that can be read in one way: day and month of this one could be exchanged;"
    " write the year first, such as 2024-01-15"
)
_NO_OFFSET = (
    "must have its offset from UTC, such as 2024-01-15T10:30:00+01:00:"
    " the name of a time zone can mean several"
)
_READ_AS_UTC = "has no offset from UTC and was read as UTC"

_LONGEST = 128
_USUAL_LENGTH = len("2024-01-15T10:30:00Z")
# East Asia's dates name their year, month and day behind each, in this order, and so do its times.
_SAME = str.maketrans(
    {
        **dict.fromkeys("\N{MINUS SIGN}\u2010\u2011\N{FIGURE DASH}\N{EN DASH}年月년월", "-"),
        **dict.fromkeys("日일", " "),
        **dict.fromkeys("時时点點시分분", ":"),
        **dict.fromkeys("秒초", ""),
    }
)
_NUMBER = r"([+-]?\d+)(?:[.,]\d*)?"
_GROUPED_NUMBER = r"\d{1,3}(?:,\d{3}){3,}"
# A double as Java and Go write it. With six digits or fewer it comes from a spreadsheet or from C,
# and has lost the others.
_DOUBLE = r"[1-9]\.\d{6,16}E\+?(?:0?9|1[0-8])"
# A moment of Firestore and of Protocol Buffers, by the names of its seconds.
_SECONDS_IN = {
    "seconds": ("nanoseconds", "nanos"),
    "_seconds": ("_nanoseconds",),
}
# Below each bound, a number counts that many units a second.
_UNITS = (
    (10**11, 1, None),
    (10**14, 10**3, "milliseconds"),
    (10**17, 10**6, "microseconds"),
    (10**20, 10**9, "nanoseconds"),
)
# How many digits a date has without separators: alone, with minutes, seconds, milliseconds. As Unix
# time, whatever its unit, such a number lies before 2010 or centuries ahead.
_DIGITS_OF_DATES = (8, 12, 14, 17)
_YEARS_OF_DIGITS = range(1900, 2200)

_MONTHS = (
    *("JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE"),
    *("JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"),
)
_UTC_NAMES = frozenset({"Z", "UTC", "GMT", "UT", "ZULU"})
# RFC 2822 gives these names one meaning each, within its own form.
_RFC_2822_HOURS = {
    name + kind: hours + (kind == "DT")
    for name, hours in (("E", -5), ("C", -6), ("M", -7), ("P", -8))
    for kind in ("ST", "DT")
}

# `re` compiles these when the first text comes that is not in the usual form, and keeps them.
_DATE = r"""
(?: (?P<year>\d{4}) (?P<between>[-/.:]) \ ?(?P<month>\d\d?) (?P=between) \ ?(?P<day>\d\d?) \.?
  | (?P<basic>\d{8})
  | (?P<week>\d{4}-?W\d\d(?:-?\d)?)
  | (?P<ordinal>\d{4}-\d{3})
  | (?P<first>\d\d?) (?P<mark>[-/.]) \ ?(?P<second>\d\d?) (?P=mark) \ ?(?P<last>\d{4}|\d\d)
  | (?P<weekday>(?:MON|TUE|WED|THU|FRI|SAT|SUN)[A-Z]*\.?,?\ )?
    (?: (?P<d>\d\d?)(?:ST|ND|RD|TH)? [-\ /] (?P<m>[A-Z]{3,9})\.?,? [-\ /] (?P<y>\d{4}|\d\d)
      | (?P<md>[A-Z]{3,9})\.?\ (?P<dm>\d\d?)(?:ST|ND|RD|TH)?,?\ (?P<ym>\d{4}) ) )"""
_TIME = r"""
(?: (?P<H>\d\d?) (?: :(?P<M>\d\d) (?: :(?P<S>\d\d) (?:[.,](?P<part>\d+))? )?
                 | (?<=\d\d) | (?=\ ?[AP]\.?M) )
  | (?P<H2>\d\d) (?P<M2>\d\d) (?: (?P<S2>\d\d) (?:[.,](?P<part2>\d+))? )?
  | (?P<H3>\d\d?)(?P<close>[.-])(?P<M3>\d\d)(?P=close)(?P<S3>\d\d) (?:[.,](?P<part3>\d+))? )
(?: \ ?(?P<half>[AP])\.?M\.?(?![A-Z]) )?"""
_BETWEEN = r"(?: ,?\ (?:AT\ |-\ )? | T | ,T? | \ T\ ? | _ )"
_OFFSET = r"(?P<sign>[-+])(?P<hours>\d\d?)(?::?(?P<minutes>\d\d)(?::?(?P<seconds>\d\d))?)?"
# Behind an offset stand a zone's name (Go, JavaScript) and Go's own clock, which say no more.
_ZONE = rf"""
(?: \ ?(?P<name>[A-Z]{{1,5}})(?![A-Z]) )? (?: \ ?{_OFFSET} (?: \ [A-Z]{{2,5}} | \ [-+]\d\d )? )?
(?: \ ?\([^()]*\) )? (?: \ M=[-+]\d+\.\d+ )? (?P<tags>(?:\[[^\[\]]*\])*)"""
_TEXT = rf"{_DATE} (?: {_BETWEEN} {_TIME} )? {_ZONE}"
# What could be an offset as well has to have seconds: 2024-01-15+10:30 is a date of XML with its
# offset, or a date and a time out of a form, in which + is a blank.
_CLOSE_TEXT = rf"{_DATE} [-:+] (?=\d\d[:.-]?\d\d[:.-]?\d\d) {_TIME} {_ZONE}"
# Unix's asctime and date have the year at the end.
_YEAR_LAST = (
    r"^((?:[A-Z]{3,9},? )?[A-Z]{3,9} \d\d?) (\d\d?:\d\d:\d\d(?: [AP]M)?)"
    r"((?: [A-Z]{1,5})?(?: ?[-+]\d{4})?) (\d{4})$"
)
# LDAP's form has nothing between date and time.
_RUN_TOGETHER = r"^(\d{8})(\d{4}(?:\d\d)?(?:[.,]\d+)?(?:Z|[-+]\d{4}))$"
_DOTNET = r"\\?/DATE\((-?\d+)(?:[-+]\d{4})?\)\\?/"
_NO_DATE = r"-?000[01]-(?:00-00|11-30)(?:[T ].*)?"


def read_time(value: object, accepted_at: datetime, warn: Warn) -> datetime:
    """Read a moment. One that can be none of a conversion becomes that of the acceptance.

    That is what lies before 2010 or more than a day ahead. Raises BadValue for what is no moment,
    and for what could be two.
    """
    notes: list[str] = []
    moment = _moment_of(value, notes.append)
    if moment is None or not _EARLIEST <= moment <= accepted_at + _FURTHEST_AHEAD:
        warn("lies before 2010 or more than a day ahead; the time of acceptance is sent instead")
        return accepted_at.astimezone(UTC)
    for note in notes:
        warn(note)
    return moment


def _moment_of(value: object, warn: Warn) -> datetime | None:
    """Read a moment; None for one that lies outside of what Python's calendar knows."""
    match value:
        case str() if len(value) == _USUAL_LENGTH and value[10] == "T" and _has_marks(value):
            return _from_usual(value, warn)
        case bool():
            raise BadValue(_FORMS)
        case int():
            return _from_number(value, warn)
        case float() if math.isfinite(value):
            return _from_number(int(value), warn)
        case str() if len(value) <= _LONGEST:
            return _from_text(_plain(value), warn)
        case Mapping() if (seconds := _seconds_in(value)) is not None:
            warn("was read out of an object with seconds; Cometly takes seconds")
            return _from_unix(seconds, 1)
        case _:
            raise BadValue(_FORMS)


def _from_usual(text: str, warn: Warn) -> datetime | None:
    """Read 2024-01-15T10:30:00Z by the shortest way."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _from_text(_plain(text), warn)


def _plain(text: str) -> str:
    """Put a text into one script, one case and single blanks, out of quotes around it."""
    if not text.isascii():
        shown = without_invisible(text).translate(_SAME)
        text = "".join(str(int(char)) if char.isdecimal() else char for char in shown)
        # A minute in words has a blank before it, one digit, and nothing behind it.
        text = re.sub(r":(?=\s*(?:[^\d\s]|$))|(?<=:)\s+", "", text)
        text = re.sub(r":(\d)(?!\d)", r":0\1", text)
    return " ".join(text.strip(" \t\r\n\"'").upper().split())


def _from_text(text: str, warn: Warn) -> datetime | None:
    if text[10:11] in {"T", " "} and _has_marks(text):
        try:
            return _in_utc(datetime.fromisoformat(text))
        except ValueError:
            pass  # it may be right all the same, as 24:00 is
    if (seconds := _number_in(text, warn)) is not None:
        return _from_number(seconds, warn)
    if number := re.fullmatch(_DOTNET, text, re.ASCII):
        warn("was read as milliseconds in .NET's form; Cometly takes seconds")
        return _from_unix(int(number[1]), 1000)
    if re.fullmatch(_NO_DATE, text, re.ASCII):
        return None
    text = re.sub(_YEAR_LAST, r"\1 \4 \2\3", text, flags=re.ASCII)
    text = re.sub(_RUN_TOGETHER, r"\1T\2", text, flags=re.ASCII)
    for form in (_TEXT, _CLOSE_TEXT):
        found = re.fullmatch(form, text, re.ASCII | re.VERBOSE)
        if found and (_has_time(found) or not found["sign"]):
            return _from_parts(found, warn)
    raise BadValue(_FORMS)


def _has_marks(text: str) -> bool:
    """Say whether a text has ISO 8601's marks where a date and a time of day have them."""
    return text[4:5] == text[7:8] == "-" and text[13:14] == ":"


def _number_in(text: str, warn: Warn) -> int | None:
    if number := re.fullmatch(_NUMBER, text, re.ASCII):
        return int(number[1])
    if re.fullmatch(_GROUPED_NUMBER, text, re.ASCII):
        warn("was read without the commas in it")
        return int(text.replace(",", ""))
    return int(Decimal(text)) if re.fullmatch(_DOUBLE, text, re.ASCII) else None


def _seconds_in(value: Mapping[object, object]) -> int | None:
    """Read the seconds of an object that holds nothing but a moment.

    An int64 of Protocol Buffers is text in JSON.
    """
    for name, parts in _SECONDS_IN.items():
        seconds = value.get(name)
        if name not in value or not set(value) <= {name, *parts}:
            continue
        if isinstance(seconds, str) and re.fullmatch(r"-?\d{1,18}", seconds, re.ASCII):
            return int(seconds)
        if isinstance(seconds, int) and not isinstance(seconds, bool):
            return seconds
    return None


# --- Numbers ------------------------------------------------------------------------------------


def _from_number(number: int, warn: Warn) -> datetime | None:
    if 10**7 <= number < 10**17 and (moment := _from_digits(str(number), warn)):
        return moment
    for bound, per_second, unit in _UNITS:
        if number < bound:
            if unit:
                warn(f"was read as {unit}; Cometly takes seconds")
            return _from_unix(number, per_second)
    return None


def _from_unix(number: int, per_second: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(number // per_second, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _from_digits(digits: str, warn: Warn) -> datetime | None:
    """Read a date that is written without separators; None where the digits are no date."""
    if len(digits) not in _DIGITS_OF_DATES or int(digits[:4]) not in _YEARS_OF_DIGITS:
        return None
    filled = digits.ljust(17, "0")
    try:
        moment = datetime.fromisoformat(f"{filled[:8]}T{filled[8:14]}.{filled[14:]}Z")
    except ValueError:
        return None
    if len(digits) > 8:  # noqa: PLR2004 - a date alone is ISO 8601 as it is
        warn("was read as a date and time in UTC; write it as 2024-01-15T10:30:00Z")
    return moment


# --- Text ---------------------------------------------------------------------------------------


def _from_parts(found: re.Match[str], warn: Warn) -> datetime | None:
    try:
        date = _date_in(found, warn)
        return _in_utc(_at_time(date, found, warn).replace(tzinfo=_zone_in(found)))
    except ValueError:
        raise BadValue(_FORMS) from None
    except OverflowError:
        return None


def _in_utc(moment: datetime) -> datetime | None:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        return None


def _date_in(found: re.Match[str], warn: Warn) -> datetime:
    part = found.groupdict()
    if part["year"]:
        return datetime(int(part["year"]), int(part["month"]), int(part["day"]))  # noqa: DTZ001
    if iso := part["basic"] or part["week"]:
        return datetime.fromisoformat(iso)
    if ordinal := part["ordinal"]:
        return _nth_day(int(ordinal[:4]), int(ordinal[5:]))
    if part["first"]:
        return _date_of_numbers(part, warn)
    day, month, year = part["d"] or part["dm"], part["m"] or part["md"], part["y"] or part["ym"]
    return datetime(_year_of(year, part), _month_of(month), int(day))  # noqa: DTZ001


def _nth_day(year: int, day: int) -> datetime:
    date = datetime(year, 1, 1) + timedelta(days=day - 1)  # noqa: DTZ001
    if day < 1 or date.year != year:
        raise ValueError
    return date


def _date_of_numbers(part: dict[str, str], warn: Warn) -> datetime:
    first, second = int(part["first"]), int(part["second"])
    if len(part["last"]) != 4:  # noqa: PLR2004 - any of the three could be the year
        raise BadValue(_TWO_DATES)
    day_first = part["mark"] == "." or first > 12 or first == second  # noqa: PLR2004
    if not day_first and second <= 12:  # noqa: PLR2004
        raise BadValue(_TWO_DATES)
    day, month = (first, second) if day_first else (second, first)
    date = datetime(int(part["last"]), month, day)  # noqa: DTZ001
    order = "day, month, year" if day_first else "month, day, year"
    warn(f"was read as {order}; write the year first, such as 2024-01-15")
    return date


def _month_of(name: str) -> int:
    for number, month in enumerate(_MONTHS, start=1):
        if month.startswith(name):
            return number
    raise ValueError


def _year_of(digits: str, part: dict[str, str]) -> int:
    if len(digits) == 4:  # noqa: PLR2004
        return int(digits)
    if not part["weekday"]:  # 24-JAN-15 could be a day of 2015 or of 2024
        raise BadValue(_TWO_DATES)
    return 2000 + int(digits)  # the forms of RFC 850 and RFC 822, of which day and year are certain


def _at_time(date: datetime, found: re.Match[str], warn: Warn) -> datetime:
    part = found.groupdict()
    hour = int(part["H"] or part["H2"] or part["H3"] or 0)
    minute = int(part["M"] or part["M2"] or part["M3"] or 0)
    second = int(part["S"] or part["S2"] or part["S3"] or 0)
    fraction = part["part"] or part["part2"] or part["part3"] or ""
    if half := part["half"]:
        if not 1 <= hour <= 12:  # noqa: PLR2004
            raise ValueError
        hour = hour % 12 + (12 if half == "P" else 0)
    if not part["name"] and not part["sign"] and _is_informal(part):
        warn(_READ_AS_UTC)
    if (hour, minute, second) == (24, 0, 0):  # ISO 8601's end of a day
        return date + timedelta(days=1)
    if second == 60:  # noqa: PLR2004 - a leap second, or one that was rounded up
        if minute != 59:  # noqa: PLR2004
            warn("has a sixtieth second and was read as the next minute")
        return date.replace(hour=hour, minute=minute) + timedelta(minutes=1)
    return date.replace(
        hour=hour, minute=minute, second=second, microsecond=int(fraction[:6].ljust(6, "0"))
    )


def _is_informal(part: dict[str, str]) -> bool:
    """Say whether a date is none of ISO 8601's, which everybody here takes for UTC."""
    return bool(part["first"] or part["m"] or part["md"])


def _has_time(found: re.Match[str]) -> bool:
    return bool(found["H"] or found["H2"] or found["H3"])


def _zone_in(found: re.Match[str]) -> timezone:
    """Read the offset. It decides, whatever zone is named beside it (RFC 9557)."""
    name, sign = found["name"], found["sign"]
    if sign and name in {"Z", "ZULU"}:
        raise ValueError
    if name and name not in _UTC_NAMES:
        hours = _RFC_2822_HOURS.get(name) if found["d"] and found["H"] and not sign else None
        if hours is None:
            raise BadValue(_NO_OFFSET)
        return timezone(timedelta(hours=hours))
    if not sign:
        if not name and _names_a_zone(found["tags"]):
            raise BadValue(_NO_OFFSET)
        return UTC
    hours, minutes, seconds = (int(found[each] or 0) for each in ("hours", "minutes", "seconds"))
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-offset if sign == "-" else offset)


def _names_a_zone(tags: str) -> bool:
    named = {tag.lstrip("!") for tag in re.findall(r"\[([^\[\]]*)\]", tags) if "=" not in tag}
    return bool(named - _UTC_NAMES - {"ETC/UTC", "ETC/GMT"})
