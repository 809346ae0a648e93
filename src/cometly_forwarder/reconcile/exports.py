"""Cometly's export of a day: made on demand, then a file of gzipped lines at an address of its own.

For days of more than 10,000 events, by Cometly's own advice:
https://docs.cometly.com/concepts/exports-vs-pagination
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from urllib3.exceptions import HTTPError

from cometly_forwarder import jsontext
from cometly_forwarder.errors import ListUnread, Unreadable
from cometly_forwarder.reconcile.asking import TIMEOUT, Asker, Pace, Pool, safe_url
from cometly_forwarder.reconcile.days import Day
from cometly_forwarder.reconcile.listing import FIELDS, PATH, PER_PAGE
from cometly_forwarder.reconcile.rows import Page

CREATES_PER_MINUTE, CHECKS_PER_MINUTE = 5, 30
_CHECK_SECONDS = 5.0
# Half an hour: Cometly's own example takes four minutes.
_MOST_CHECKS = 360
_TRIES = 3
_BLOCK = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class CometlyExports:
    """Reads days by exports. Raises ListUnread."""

    asker: Asker
    creates: Pace
    checks: Pace

    def read(self, day: Day, known: str | None, note: Callable[[str], None]) -> Iterator[Page]:
        """Yield a day's rows. `known` is the export that an earlier run asked for, if one did.

        An export that failed, or whose file broke off, is made and read again; rows may then come
        twice.
        """
        why = ""
        for _ in range(_TRIES):
            try:
                export = known or self._created(day)
                note(export)
                yield from self._pages(self._address_of(export))
            except (_Failed, HTTPError, zlib.error, Unreadable) as exc:
                why, known = str(exc) or type(exc).__name__, None
            except ListUnread:
                if known is None:
                    raise
                known = None  # it is gone by now
            else:
                return
        raise ListUnread(f"Cometly's export of {day.date} cannot be read: {why}")

    def _created(self, day: Day) -> str:
        body = {"date": day.date.isoformat(), "fields": list(FIELDS)}
        export = self.asker.ask(self.creates, "POST", f"{PATH}/exports", body).get("export_id")
        if not isinstance(export, int | str) or not str(export).isalnum():
            raise ListUnread("Cometly's answer to an export has no export_id")
        return str(export)

    def _address_of(self, export: str) -> str:
        """Wait until the export is there; returns the address of its file: it holds 15 minutes."""
        for _ in range(_MOST_CHECKS):
            told = self.asker.ask(self.checks, "GET", f"{PATH}/exports/{export}")
            if told.get("status") == "completed":
                return safe_url(str(told.get("download_url")))
            if told.get("status") == "failed":
                raise _Failed("Cometly could not make it")
            self.checks.sleep(_CHECK_SECONDS)
        raise ListUnread("Cometly's export is not done after half an hour; a later run goes on")

    def _pages(self, address: str) -> Iterator[Page]:
        rows = map(_row_in, lines_of(self.asker.pool, address))
        while some := list(islice(rows, PER_PAGE)):
            yield Page(some, None)


class _Failed(Exception):
    """An export that another one may replace."""


def lines_of(pool: Pool, address: str) -> Iterator[bytes]:
    """Yield the lines of a gzipped file, which needs no token and must get none.

    It may be of several gzip members: a file that is written in parts is.
    """
    answer = pool.request(
        "GET", address, redirect=False, retries=False, timeout=TIMEOUT, preload_content=False
    )
    try:
        if answer.status != 200:  # noqa: PLR2004 - HTTP's own
            raise _Failed(f"HTTP {answer.status} for its file")
        gzip, rest = zlib.decompressobj(_GZIP), b""
        for block in answer.stream(_BLOCK, decode_content=False):
            while block:
                if gzip.eof:
                    gzip = zlib.decompressobj(_GZIP)
                *lines, rest = (rest + gzip.decompress(block)).split(b"\n")
                yield from filter(bytes.strip, lines)
                block = gzip.unused_data  # noqa: PLW2901 - the next member's
        if not gzip.eof:
            raise _Failed("its file broke off")
        yield from filter(bytes.strip, [rest])
    finally:
        answer.close()


def _row_in(line: bytes) -> Mapping[str, Any]:
    row = jsontext.parse(line)
    if not isinstance(row, dict):
        raise _Failed("a line of its file is no object of JSON")
    return row
