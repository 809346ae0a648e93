"""The book of a comparison: both sides in one SQLite file, which an interrupted run goes on with.

Neither side is held in memory, whatever a day has. A page of Cometly's list and the cursor behind
it are written together, so that a killed run leaves both or neither.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from cometly_forwarder.event.facts import Facts
from cometly_forwarder.reconcile.matching import Delivered, Finding, Kind, Recorded
from cometly_forwarder.reconcile.rows import First

# A list that was begun longer ago than this is read anew: events may have shown up since.
KEPT_SECONDS = 24 * 3600
_FETCHED = 1000
_WAIT_SECONDS = 1.0
_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS recorded (
    id TEXT PRIMARY KEY, place TEXT NOT NULL, name TEXT NOT NULL, second INTEGER NOT NULL,
    hash TEXT NOT NULL, order_id TEXT NOT NULL, amount INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS first (
    hash TEXT, id TEXT, second INTEGER NOT NULL, PRIMARY KEY (hash, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivered (
    event_id TEXT PRIMARY KEY, place TEXT NOT NULL, name TEXT NOT NULL, second INTEGER NOT NULL,
    hash TEXT NOT NULL, amount INTEGER, is_keyed INTEGER NOT NULL, at REAL NOT NULL,
    request_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS finding (
    kind TEXT NOT NULL, name TEXT NOT NULL, weight INTEGER NOT NULL, basis TEXT NOT NULL,
    event_id TEXT, id TEXT
);
"""
_DELIVERED = (
    "SELECT place, 0, event_id, name, second, hash, amount, is_keyed, at, request_id FROM delivered"
)
_EXPLAIN = """
UPDATE finding SET kind = ?, basis = (
    SELECT ? || first.id || ', of ' || strftime('%Y-%m-%dT%H:%M:%SZ', first.second, 'unixepoch')
    FROM delivered JOIN first USING (hash) WHERE delivered.event_id = finding.event_id
    ORDER BY first.second LIMIT 1
) WHERE kind = ? AND EXISTS (
    SELECT 1 FROM delivered JOIN first USING (hash)
    WHERE delivered.event_id = finding.event_id AND NOT is_keyed
)
"""
_RECORDED = "SELECT place, 1, id, name, second, hash, order_id, amount FROM recorded"


@dataclass(slots=True)
class Book:
    """One file. `began` is when the reading of Cometly's list began, in Unix seconds."""

    file: Path
    base: sqlite3.Connection
    began: float

    @classmethod
    def open(cls, file: Path, about: str, now: float) -> Book:
        """Open a file, or begin anew where it is of another comparison, old, or no book at all.

        Raises sqlite3.Error and OSError where that cannot be, as while another run has it open.
        """
        try:
            book = cls._opened(file)
            if book.note("about") == about and 0 <= now - book.began <= KEPT_SECONDS:
                return book
            book.base.close()
        except sqlite3.DatabaseError as exc:
            if is_busy(exc):
                raise
        file.unlink(missing_ok=True)
        # It names orders: none of anybody else's business.
        file.touch(mode=0o600)
        book = cls._opened(file)
        book.add_note("about", about)
        book.add_note("began", repr(now))
        book.began = now
        return book

    @classmethod
    def _opened(cls, file: Path) -> Book:
        base = sqlite3.connect(file, timeout=_WAIT_SECONDS)
        try:
            # What a crash of the machine would cost is a list to be read again.
            # The file is this run's alone, from here on until it is closed.
            base.executescript(
                "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;"
                "PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;" + _TABLES
            )
            book = cls(file, base, 0.0)
            book.began = float(book.note("began") or 0)
        except sqlite3.Error:
            base.close()
            raise
        return book

    def close(self) -> None:
        self.base.close()

    def remove(self) -> None:
        """Close the file and delete it: what it held is told."""
        self.close()
        self.file.unlink(missing_ok=True)

    def note(self, name: str) -> str | None:
        """Return what was noted under a name, such as a cursor."""
        found = self.base.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else None

    def add_recorded(
        self, rows: Iterable[Recorded], firsts: Iterable[First], name: str, value: str
    ) -> None:
        """Write rows, and a note of how far the list was read, as one."""
        self.base.executemany(
            "INSERT OR IGNORE INTO first VALUES (?, ?, ?)",
            ((it.order, it.id, it.second) for it in firsts),
        )
        self.base.executemany(
            "INSERT OR IGNORE INTO recorded VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (it.id, _place(it.name, it.second, it.order), it.name, it.second, it.order)
                + (it.order_id, it.amount)
                for it in rows
            ),
        )
        self._write_note(name, value)
        self.base.commit()

    def add_note(self, name: str, value: str) -> None:
        self._write_note(name, value)
        self.base.commit()

    def forget_delivered(self) -> None:
        """Empty what is made anew by each run: the ledger's side, and the findings."""
        for table in ("delivered", "finding"):
            self.base.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
        self.base.commit()

    def add_delivered(self, events: Iterable[Delivered]) -> None:
        values = [
            (
                *(it.event_id, _place(it.facts.name, it.facts.second, it.facts.order)),
                *(it.facts.name, it.facts.second, it.facts.order, it.facts.amount),
                *(it.facts.is_keyed, it.at, it.request_id),
            )
            for it in events
        ]
        self.base.executemany(
            "INSERT OR REPLACE INTO delivered VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        )

    def groups(self) -> Iterator[tuple[list[Delivered], list[Recorded]]]:
        """Yield each group of `matching`, both sides of it. No more than one is held."""
        sides = [
            self._fetched(_DELIVERED + " ORDER BY place"),
            self._fetched(_RECORDED + " ORDER BY place"),
        ]
        merged = heapq.merge(*sides, key=itemgetter(0, 1))
        for _, members in groupby(merged, key=itemgetter(0)):
            delivered: list[Delivered] = []
            recorded: list[Recorded] = []
            for _, side, *values in members:
                if side:
                    recorded.append(_recorded_in(values))
                else:
                    delivered.append(_delivered_in(values))
            yield delivered, recorded

    def _fetched(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        cursor = self.base.execute(query, values)
        while rows := cursor.fetchmany(_FETCHED):
            yield from rows

    def add_findings(self, findings: Iterable[Finding]) -> None:
        self.base.executemany(
            "INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?)",
            (
                (it.kind.value, it.name, it.weight, it.basis)
                + (it.delivered.event_id if it.delivered else None,)
                + (it.recorded.id if it.recorded else None,)
                for it in findings
            ),
        )

    def counted(self) -> Iterator[tuple[str, Kind, int]]:
        """Yield how many findings there are, by name and kind."""
        query = "SELECT name, kind, count(*) FROM finding GROUP BY name, kind"
        for name, kind, count in self._fetched(query):
            yield str(name), Kind(kind), int(count)

    def findings(self, kind: Kind, most: int = -1) -> Iterator[Finding]:
        """Yield the findings of a kind, the largest amounts first; no more than `most`."""
        query = (
            "SELECT basis, event_id, id FROM finding WHERE kind = ?"
            " ORDER BY weight DESC, name, rowid LIMIT ?"
        )
        for basis, event_id, row_id in self._fetched(query, kind.value, most):
            sent = self._one(_DELIVERED + " WHERE event_id = ?", event_id)
            row = self._one(_RECORDED + " WHERE id = ?", row_id)
            yield Finding(
                kind, str(basis), sent and _delivered_in(sent[2:]), row and _recorded_in(row[2:])
            )

    def explain_by_firsts(self, words: str) -> None:
        """Make duplicates of the orders that are missing, and of which there is a first row.

        `words` come before its id.
        """
        values = (Kind.DUPLICATE.value, words, Kind.MISSING.value)
        self.base.execute(_EXPLAIN, values)

    def replace_finding(self, old: Finding, new: Finding) -> None:
        """Write what a second look at a delivered event led to."""
        assert old.delivered is not None, "a second look is at deliveries"  # noqa: S101
        self.base.execute(
            "UPDATE finding SET kind = ?, basis = ? WHERE event_id = ? AND kind = ?",
            (new.kind.value, new.basis, old.delivered.event_id, old.kind.value),
        )

    def _one(self, query: str, key: str | None) -> Any:  # noqa: ANN401 - a row of SQLite's
        return None if key is None else self.base.execute(query, (key,)).fetchone()

    def _write_note(self, name: str, value: str) -> None:
        self.base.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))


def is_busy(exc: sqlite3.Error) -> bool:
    """Say whether another run has the file open."""
    return getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def _place(name: str, second: int, order: str) -> str:
    """Name the group: an order's by its hash, any other by name and second."""
    return order or f"{name}@{second}"


def _delivered_in(values: Any) -> Delivered:  # noqa: ANN401 - a row of SQLite's
    event_id, name, second, order, amount, is_keyed, at, request_id = values
    facts = Facts(name, second, order, amount, bool(is_keyed))
    return Delivered(event_id, facts, at, request_id)


def _recorded_in(values: Any) -> Recorded:  # noqa: ANN401 - a row of SQLite's
    id_, name, second, order, order_id, amount = values
    return Recorded(id_, name, second, order, order_id, amount)
