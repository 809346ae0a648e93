"""Events in a file: JSON (one, or an array), JSON Lines, or CSV with a header."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ops.errors import OpsError

STANDARD_INPUT = "-"
_LINES = {".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a file: the line on which it begins, or its place in an array, from 1 on."""

    place: int
    event: Any
    fault: str = ""
    """Why there is no event: the line is no JSON."""


def entries(path: Path) -> Iterator[Entry]:
    """Yield the events of a file; raises OpsError for one that cannot be read at all.

    CSV and JSON Lines are read line by line, JSON whole.
    """
    with _opened(path) as file:
        yield from _read(path, file)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if str(path) == STANDARD_INPUT:
        yield sys.stdin
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as exc:
        raise OpsError(f"{path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise OpsError(f"{path} is not UTF-8, at byte {exc.start}.") from exc


def _read(path: Path, file: TextIO) -> Iterator[Entry]:
    kind = path.suffix.lower()
    if kind == ".csv":
        return _of_csv(path, file)
    if kind in _LINES:
        return _of_lines(file)
    text = file.read()
    if not text.strip():
        return iter(())
    try:
        content = json.loads(text)
    except ValueError as exc:
        if text.lstrip().startswith("{"):
            return _of_lines(text.splitlines())
        raise OpsError(f"{path} is no JSON: {exc}. Name CSV .csv, JSON Lines .jsonl.") from exc
    return _of_json(content)


def _of_json(content: Any) -> Iterator[Entry]:
    events = content if isinstance(content, list) else [content]
    return (Entry(place, event) for place, event in enumerate(events, 1))


def _of_lines(lines: Iterable[str]) -> Iterator[Entry]:
    for place, text in enumerate(lines, 1):
        if text.strip():
            yield _of_line(place, text)


def _of_line(place: int, text: str) -> Entry:
    try:
        return Entry(place, json.loads(text))
    except ValueError as exc:
        return Entry(place, None, f"no JSON: {exc}")


def _of_csv(path: Path, file: TextIO) -> Iterator[Entry]:
    rows = csv.DictReader(file, strict=True)
    try:
        for row in rows:
            yield _of_row(rows.line_num, row)
    except csv.Error as exc:
        raise OpsError(f"{path} is no CSV, at line {rows.line_num}: {exc}.") from exc


def _of_row(place: int, row: dict[str | Any, Any]) -> Entry:
    """Leave out cells that are empty; a row with more cells than the header has is no event."""
    if None in row:
        return Entry(place, None, "more cells than the header has")
    return Entry(place, {name: cell for name, cell in row.items() if cell})
