"""A comparison of a stack's ledger with what Cometly recorded, from this machine."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from cometly_forwarder.deliver.ledger import RETENTION_SECONDS
from cometly_forwarder.errors import ListUnread, SettingsError
from cometly_forwarder.reconcile.asking import Asker, Pace
from cometly_forwarder.reconcile.book import Book, is_busy
from cometly_forwarder.reconcile.days import Day, days_between, last_settled_day, zone_named
from cometly_forwarder.reconcile.exports import (
    CHECKS_PER_MINUTE,
    CREATES_PER_MINUTE,
    CometlyExports,
)
from cometly_forwarder.reconcile.ledger import LedgerScan
from cometly_forwarder.reconcile.listing import REQUESTS_PER_MINUTE, CometlyList
from cometly_forwarder.reconcile.run import Comparison, Report
from ops.errors import OpsError
from ops.smoke.doors import pool_for
from ops.target import Target
from ops.tokens import stored_token


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks of a run, and how it waits."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Span:
    """Days of a Space, and its zone."""

    days: Sequence[Day]
    zone: ZoneInfo

    @classmethod
    def of(cls, zone_name: str, first: date | None, last: date | None, now: float) -> Span:
        """Return the days from the first to the last, or the last one that is over.

        Raises OpsError for a zone that there is not, and for days of which the ledger knows nothing
        yet or nothing more.
        """
        try:
            zone = zone_named(zone_name)
            first = first or last or last_settled_day(now, zone)
            last = last or first
            if last < first or last - first > timedelta(seconds=RETENTION_SECONDS):
                raise OpsError(f"From {first} to {last} are no days that can be compared.")
            days = list(days_between(first, last, zone))
        except SettingsError as exc:
            raise OpsError(f"{exc}.") from exc
        if days[-1].start > now:
            raise OpsError(f"{last} has not begun yet in {zone.key}.")
        if days[0].start < now - RETENTION_SECONDS:
            raise OpsError(f"The ledger keeps 30 days, and no longer all of {first}.")
        return cls(days, zone)


@dataclass(frozen=True, slots=True)
class Compared:
    """A finished comparison: its figures, what it took, and the book with its findings."""

    report: Report
    book: Book
    requests: int
    read_units: float


@contextmanager
def comparing(
    target: Target, span: Span, clock: Clock, tell: Callable[[str], None]
) -> Iterator[Compared]:
    """Compare, and delete the book once it was read; broken off, it stays. Raises OpsError."""
    url = target.parameters.get("CometlyUrl", "")
    if not (token := stored_token(target)):
        raise OpsError("The stack's secret holds no Cometly token: store one with `token set`.")
    paces = [
        Pace(per_minute, clock.monotonic, clock.sleep)
        for per_minute in (REQUESTS_PER_MINUTE, CREATES_PER_MINUTE, CHECKS_PER_MINUTE)
    ]
    asker = Asker(pool_for(url), url, lambda: token)
    ledger = LedgerScan(target.clients.dynamodb, target.outputs["TableName"])
    try:
        book = _book_of(target, url, token, span, clock.now())
        comparison = Comparison(
            days=span.days,
            listing=CometlyList(asker, span.zone, paces[0]),
            exports=CometlyExports(asker, paces[1], paces[2]),
            ledger=ledger,
            book=book,
            tell=tell,
        )
        try:
            report = comparison.run()
            requests = sum(pace.requests for pace in paces)
            yield Compared(report, book, requests, ledger.read_units)
        except BaseException:
            book.close()
            raise
        book.remove()
    except ListUnread as exc:
        raise OpsError(f"{exc}. The same command goes on where this one was.") from exc
    except sqlite3.Error as exc:
        if is_busy(exc):
            raise OpsError("Another run compares these days now: wait for its end.") from exc
        raise OpsError(f"The file of the comparison cannot be used: {exc}.") from exc


def _book_of(target: Target, url: str, token: str, span: Span, now: float) -> Book:
    """Open the file of this comparison: another stack, token, zone or day has another.

    Another token may be another Space's. Of its hash so little is written that it tells nothing.
    """
    first, last = span.days[0].date, span.days[-1].date
    table = target.outputs["TableName"]
    of_token = hashlib.sha256(token.encode()).hexdigest()[:8]
    about = json.dumps([target.name, table, url, of_token, span.zone.key, str(first), str(last)])
    folder = state_folder()
    name = f"reconcile-{hashlib.sha256(about.encode()).hexdigest()[:16]}.sqlite"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Book.open(folder / name, about, now)
    except OSError as exc:
        raise OpsError(f"{folder} cannot be written: {exc.strerror}.") from exc


def state_folder() -> Path:
    """Return where a run leaves what the next one goes on with."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "cometly-forwarder"
