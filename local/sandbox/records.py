"""What Cometly has recorded of a Space: one row an event, read in the order of its time.

What this takes for granted, where Cometly's documents are silent:

* An event without a time of its own happened when it came in; a time without an offset is UTC; what
  is below a second is dropped.
* An event without an amount is recorded with 0, as the example of an export shows it.
* What another sender brought is compared with nothing: it is there, whatever else is.

The rows lie in a private file of SQLite's, of which 64 MB are kept in memory: a million of them
take no more of it than a thousand.
"""

from __future__ import annotations

import sqlite3
import weakref
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal

from local.sandbox.contract import given, recorded_name

Sender = Literal["api", "other"]

_CACHE_KIB = 64 * 1024
# SQLite's integers have 64 bits.
_LARGEST = 2**63 - 1
_LAST_SECOND = 253_402_300_799  # of the year 9999
_EACH = 4000


@dataclass(slots=True)
class Record:
    """One recorded event. Times are Unix time in seconds; `id` is 0 until it is kept."""

    id: int
    event_time: int
    visible_at: float
    event_name: str
    amount: float
    order_id: str | None
    order_name: str | None
    is_upsell: bool
    profile_id: int
    sender: Sender

    @property
    def position(self) -> Position:
        return Position(self.event_time, self.id)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the order of the records."""

    event_time: int
    id: int


@dataclass(frozen=True, slots=True)
class Span:
    """Which records are asked for: from a second to a second, both included; no names: all."""

    start: int
    end: int
    event_names: tuple[str, ...] = ()


_COLUMNS = tuple(it.name for it in fields(Record))
_INSERT = f"INSERT INTO records VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - no values
# The table lies in the order in which it is read: a page of it is one place of the file.
_TABLES = f"""
    CREATE TABLE records ({", ".join(_COLUMNS)}, PRIMARY KEY (event_time, id)) WITHOUT ROWID;
    CREATE UNIQUE INDEX by_id ON records (id);
"""


class Records:
    """Keeps records, and finds them again."""

    def __init__(self) -> None:
        # An empty name is a file of its own, that is deleted with the connection. A sandbox is
        # made in one thread and served in another, one at a time.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            f"PRAGMA cache_size = -{_CACHE_KIB}; PRAGMA journal_mode = OFF;"
            f"PRAGMA synchronous = OFF; {_TABLES}"
        )
        # From Python 3.13 on, one that is not closed is a warning.
        self._close = weakref.finalize(self, self._database.close)
        self._last = 0
        self._by_sender: Counter[Sender] = Counter()
        # How many show up when; those that came together, together.
        self._late: deque[tuple[float, int]] = deque()

    def close(self) -> None:
        """Give the file back at once, and not only when nobody knows the records any more."""
        self._close()

    def add(self, records: Iterable[Record], now: float) -> range:
        """Keep records; returns their numbers."""
        first = self._last + 1
        rows, shown_at = [], 0.0
        for record in records:
            shown_at = max(shown_at, record.visible_at)
            self._last += 1
            self._by_sender[record.sender] += 1
            record.id = self._last
            rows.append(tuple(getattr(record, name) for name in _COLUMNS))
        self._database.execute("BEGIN")
        self._database.executemany(_INSERT, rows)
        self._database.execute("COMMIT")
        if shown_at > now:
            self._late.append((shown_at, len(rows)))
        return range(first, self._last + 1)

    def find(self, record_id: int, now: float) -> Record | None:
        """Return the record of that number, if it shows up yet."""
        if record_id > _LARGEST:
            return None
        found = self._database.execute(
            "SELECT * FROM records WHERE id = ? AND visible_at <= ?", (record_id, now)
        )
        return next((Record(*row) for row in found), None)

    def page(
        self,
        span: Span,
        now: float,
        limit: int,
        *,
        after: Position | None = None,
        newest_first: bool = False,
    ) -> list[Record]:
        """Return up to `limit` records of the span that come next, of those that show up yet."""
        direction = "DESC" if newest_first else "ASC"
        # Numbers begin at 1. The place is one of the two ends: a condition beside them would let
        # SQLite begin at the first end at each page, and pass over all that was read before.
        first, last = Position(span.start, 0), Position(span.end + 1, 0)
        if after:
            first, last = (first, min(last, after)) if newest_first else (max(first, after), last)
        where = ["(event_time, id) > (?, ?)", "(event_time, id) < (?, ?)", "visible_at <= ?"]
        values: list[object] = [*_both(first), *_both(last), now]
        if span.event_names:
            where.append(f"event_name IN ({', '.join('?' * len(span.event_names))})")
            values += span.event_names
        order = f"event_time {direction}, id {direction}"
        found = self._database.execute(
            f"SELECT * FROM records WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?",  # noqa: S608 - names of ours
            (*values, limit),
        )
        return [Record(*row) for row in found]

    def every(self, span: Span, now: float) -> Iterator[list[Record]]:
        """Yield all records of a span, oldest first, some thousand at a time."""
        after = None
        while records := self.page(span, now, _EACH, after=after):
            yield records
            after = records[-1].position

    def stats(self, now: float) -> dict[str, int]:
        """Return how many there are, how many another sender brought, how many show up later."""
        while self._late and self._late[0][0] <= now:
            self._late.popleft()
        return {
            "recorded": self._last,
            "from_others": self._by_sender["other"],
            "not_shown_yet": sum(count for _, count in self._late),
        }


def _both(position: Position) -> tuple[int, int]:
    return position.event_time, position.id


def record_of(
    event: Mapping[str, object], *, received_at: float, visible_at: float, sender: Sender
) -> Record:
    """Return what Cometly records of a valid event."""
    return Record(
        id=0,
        event_time=time_of(given(event, "event_time"), received_at),
        visible_at=visible_at,
        event_name=recorded_name(event) or "",
        amount=amount_of(event),
        order_id=given(event, "order_id"),
        order_name=given(event, "order_name"),
        is_upsell=event.get("is_upsell") is True,
        profile_id=_profile_of(event),
        sender=sender,
    )


def amount_of(event: Mapping[str, object]) -> float:
    """Return an event's amount, 0 where it has none."""
    amount = event.get("amount", 0)
    if isinstance(amount, int):
        return amount if abs(amount) <= _LARGEST else float(amount)
    return amount if isinstance(amount, float) else 0


def time_of(text: str | None, received_at: float) -> int:
    """Return when an event happened, in whole seconds."""
    if text is None:
        return int(received_at)
    if text.isdecimal():
        return min(int(text), _LAST_SECOND)
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)


def utc(moment: float) -> str:
    """Write a time as Cometly does."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _profile_of(event: Mapping[str, object]) -> int:
    """Return the same number for the same person, told by what identifies them alone."""
    names = ("email", "comet_token", "fingerprint")
    who = next((text for name in names if (text := given(event, name))), "")
    return zlib.crc32(who.encode("utf-8", "surrogatepass"))
