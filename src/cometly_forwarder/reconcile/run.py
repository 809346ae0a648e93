"""One comparison from end to end: read the list, scan the ledger, match, look twice, count.

The list is read first. What is delivered meanwhile is then too young to judge, and no row of the
list is taken for another sender's because the ledger was read before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

from cometly_forwarder.errors import ListUnread
from cometly_forwarder.event.facts import PARTS
from cometly_forwarder.reconcile.book import Book
from cometly_forwarder.reconcile.days import MARGIN_SECONDS, SETTLING_SECONDS, Day, utc_time
from cometly_forwarder.reconcile.ledger import Found
from cometly_forwarder.reconcile.matching import Delivered, Finding, Kind, judge
from cometly_forwarder.reconcile.rows import Page, are_within, firsts_in, recorded_in

# Cometly offers its export for days of so many events and more.
EXPORTED_FROM = 10_000
# So many orders are held at once: 50 MB.
_MOST_LOOKED_FOR = 50_000
_ONE_OF_AN_ORDER = "Cometly keeps one of an order and customer"
_READ = "(read to the end)"
_OF_ANOTHER_DAY = "(of another day)"
# The hour more that is asked for, and one in which clocks may change. Asked in a zone that is
# wrong by no more than the former, the list still has the whole day.
_STRAY_SECONDS = 2 * MARGIN_SECONDS


class Listing(Protocol):
    """Cometly's list. Raises ListUnread."""

    def page(self, day: Day, cursor: str | None) -> Page: ...


class Exports(Protocol):
    """Cometly's exports. Raises ListUnread."""

    def read(self, day: Day, known: str | None, note: Callable[[str], None]) -> Iterator[Page]: ...


class Ledger(Protocol):
    """The ledger's side."""

    def between(self, start: int, end: int) -> Iterator[Found]: ...

    def of_orders(self, orders: Sequence[str]) -> Iterator[Found]: ...


@dataclass(slots=True)
class Line:
    """What the report says of one event name."""

    name: str
    delivered: int = 0
    recorded: int = 0
    of: Counter[Kind] = field(default_factory=Counter)

    @property
    def rank(self) -> tuple[int, ...]:
        """The worst come first: by what is missing, then by what is wrong."""
        kinds = (Kind.MISSING, Kind.AMOUNT, Kind.REPEATED, Kind.OTHER)
        return (*(-self.of[kind] for kind in kinds), -self.delivered)

    def record(self) -> dict[str, Any]:
        counts = {kind.value: self.of[kind] for kind in Kind}
        return {
            "event_name": self.name,
            "delivered": self.delivered,
            "recorded": self.recorded,
            **counts,
        }


@dataclass(slots=True)
class Report:
    """The figures; the findings are in the book. `read_at` is when the list was begun."""

    lines: list[Line]
    read_at: float
    unjudged: int = 0
    looked_at: int = 0

    @property
    def total(self) -> Line:
        total = Line("all")
        for line in self.lines:
            total.delivered += line.delivered
            total.recorded += line.recorded
            total.of += line.of
        return total

    @property
    def missing(self) -> int:
        return self.total.of[Kind.MISSING]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Compares days that follow each other. `tell` is told how far it is."""

    days: Sequence[Day]
    listing: Listing
    exports: Exports
    ledger: Ledger
    book: Book
    tell: Callable[[str], None] = lambda _: None

    def run(self) -> Report:
        """Compare; raises ListUnread, and what AWS's client raises. A repeated run goes on."""
        for day in self.days:
            self._read(day)
        self.book.forget_delivered()
        report = Report([], self.book.began)
        self._scan(report)
        lines = self._judged()
        self._look_twice()
        for name, kind, count in self.book.counted():
            lines[name].of[kind] = count
        report.lines = sorted(lines.values(), key=lambda line: (line.rank, line.name))
        return report

    # --- Cometly's side ---------------------------------------------------------------------------

    def _read(self, day: Day) -> None:
        """Read a day to its end, from where the book is; a large one by an export."""
        note, rows = f"list {day.date}", 0
        while (known := self.book.note(note)) != _READ:
            export = self.book.note(_export_of(day))
            if (export or rows > EXPORTED_FROM) and export != _OF_ANOTHER_DAY:
                if self._read_export(day):
                    self.book.add_note(note, _READ)
                    return
                continue
            page = self.listing.page(day, known)
            if not are_within(page.rows, day.start - _STRAY_SECONDS, day.end + _STRAY_SECONDS):
                raise ListUnread(
                    f"Cometly's rows of {day.date} are of other hours than were asked for: "
                    "the Space has another time zone (SpaceTimeZone, --time-zone)"
                )
            rows += len(page.rows)
            self._keep(page, note, page.cursor or _READ)
            self.tell(f"{day.date}: {rows} rows of Cometly's list")

    def _read_export(self, day: Day) -> bool:
        """Read an export. One that was asked for already is known by what the book notes.

        False where it is of another day than the Space's, and so lacks a part of this one.
        """
        note, rows = _export_of(day), 0
        self.tell(f"{day.date}: more than {EXPORTED_FROM} rows, so Cometly is asked for an export")
        known = self.book.note(note)
        for page in self.exports.read(day, known, partial(self.book.add_note, note)):
            if not are_within(page.rows, day.start, day.end):
                self.book.add_note(note, _OF_ANOTHER_DAY)
                return False
            rows += len(page.rows)
            self._keep(page, f"{note}, rows", str(rows))
            self.tell(f"{day.date}: {rows} rows of Cometly's export")
        return True

    def _keep(self, page: Page, note: str, value: str) -> None:
        start, end = self.days[0].start, self.days[-1].end
        rows = recorded_in(page.rows, start, end)
        self.book.add_recorded(rows, firsts_in(page.rows, start, end), note, value)

    # --- The ledger's side ------------------------------------------------------------------------

    def _scan(self, report: Report) -> None:
        for found in self.ledger.between(self.days[0].start, self.days[-1].end):
            self.book.add_delivered(found.delivered)
            report.unjudged += found.unjudged
            report.looked_at += found.looked_at
            self.tell(f"{report.looked_at} items of the ledger")

    # --- Both -------------------------------------------------------------------------------------

    def _judged(self) -> dict[str, Line]:
        """Judge each group; returns a line for each name."""
        settled = self.book.began - SETTLING_SECONDS
        lines: dict[str, Line] = {}
        for delivered, recorded in self.book.groups():
            verdict = judge(delivered, recorded, settled)
            if verdict.delivered or verdict.findings:
                line = lines.setdefault(verdict.name, Line(verdict.name))
                line.delivered += verdict.delivered
                line.recorded += verdict.recorded
                self.book.add_findings(verdict.findings)
        return lines

    def _look_twice(self) -> None:
        """Look for the orders that are missing elsewhere: Cometly keeps the first of an order.

        By the rows that came along with the days', then by what was delivered for other days.
        """
        self.book.explain_by_firsts(f"{_ONE_OF_AN_ORDER}: its row ")
        orders = (
            (finding.delivered.facts.order, finding)
            for finding in self.book.findings(Kind.MISSING)
            if finding.delivered and finding.delivered.facts.order
            if not finding.delivered.facts.is_keyed
        )
        if not (missing := dict(islice(orders, _MOST_LOOKED_FOR))):
            return
        for found in self.ledger.of_orders(list(missing)):
            for twin in found.delivered:
                self._explain(missing.get(twin.facts.order), twin)

    def _explain(self, finding: Finding | None, twin: Delivered) -> None:
        if finding and finding.delivered and twin.at < finding.delivered.at:
            basis = f"{_ONE_OF_AN_ORDER}: {twin.event_id}, of {utc_time(twin.facts.second)}"
            self.book.replace_finding(finding, replace(finding, kind=Kind.DUPLICATE, basis=basis))


def _export_of(day: Day) -> str:
    return f"export {day.date}"


def amount_text(parts: int | None) -> str:
    """Write an amount as people do: 89.5 is 89.50."""
    if parts is None:
        return ""
    whole = abs(parts) // PARTS
    fraction = f"{abs(parts) % PARTS:04d}"
    return f"{'-' if parts < 0 else ''}{whole}.{fraction[:2]}{fraction[2:].rstrip('0')}"


def finding_record(finding: Finding) -> dict[str, Any]:
    """Return a finding for programs (docs/reconcile.md). What is not known of it is None."""
    sent, row = finding.delivered, finding.recorded
    return {
        "kind": finding.kind.value,
        "event_name": finding.name,
        "event_time": utc_time(finding.second),
        "event_id": sent.event_id if sent else None,
        "delivered_at": utc_time(sent.at) if sent else None,
        "request_id": (sent.request_id or None) if sent else None,
        "amount": _number(sent.facts.amount) if sent else None,
        "cometly_id": row.id if row else None,
        "order": (row.order_id or None) if row else None,
        "recorded_amount": _number(row.amount) if row else None,
        "basis": finding.basis,
    }


def _number(parts: int | None) -> float | None:
    return None if parts is None else parts / PARTS
