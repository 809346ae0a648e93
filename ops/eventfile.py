"""Events in a file: JSON (one, or an array), JSON Lines, or CSV with a header.

CSV is read as spreadsheets write it: with commas, semicolons or tabs, with a byte order mark, with
line breaks in quotes, and without the empty cells at a row's end.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cometly_forwarder.errors import Unreadable
from cometly_forwarder.jsontext import Ambiguous, parse_each
from ops.errors import OpsError

STANDARD_INPUT = "-"
_LINES = {".jsonl", ".ndjson"}
# A byte order mark is left out.
_UTF_8 = "utf-8-sig"
# Excel writes a semicolon where a comma separates decimals. The first of equals is taken.
_DELIMITERS = (",", ";", "\t")
_QUOTED = re.compile(r'"[^"]*(?:"|$)')
# The line that Excel takes for the delimiter, and no header.
_TOLD_DELIMITER = "sep="


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a file: the line on which it begins, or its place in an array, from 1 on."""

    place: int
    event: Any
    fault: str = ""
    """Why there is no event."""


def entries(path: Path) -> Iterator[Entry]:
    """Yield the events of a file; raises OpsError for one that cannot be read at all.

    CSV and JSON Lines are read line by line, JSON whole.
    """
    try:
        with _opened(path) as file:
            yield from _read(path, file)
    except OSError as exc:
        raise OpsError(f"{path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise OpsError(
            f"{path} is not UTF-8{_first_line_of_another(path)}: save it as UTF-8, which "
            "spreadsheets offer as 'CSV UTF-8'."
        ) from exc


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if str(path) != STANDARD_INPUT:
        with path.open(encoding=_UTF_8, newline="") as file:
            yield file
        return
    if sys.stdin is None:
        raise OpsError("The standard input is closed.")
    text = io.TextIOWrapper(sys.stdin.buffer, encoding=_UTF_8, newline="")
    try:
        yield text
    finally:
        text.detach()


def _first_line_of_another(path: Path) -> str:
    """Say which line of a file is in another encoding; empty for the standard input."""
    if str(path) == STANDARD_INPUT:
        return ""
    with path.open("rb") as file:
        for place, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f", at line {place}"
    return ""


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
        content = parse_each(text)
    except Unreadable as exc:
        if text.lstrip().startswith("{"):
            # Lines end where a file's do, and not at each sign that Unicode calls a line's end.
            return _of_lines(io.StringIO(text, newline=""))
        raise OpsError(f"{path} is no JSON: {exc}. Name CSV .csv, JSON Lines .jsonl.") from exc
    return _of_json(content)


def _of_json(content: Any) -> Iterator[Entry]:
    events = content if isinstance(content, list) else [content]
    return (_of_content(place, event) for place, event in enumerate(events, 1))


def _of_lines(lines: Iterable[str]) -> Iterator[Entry]:
    for place, text in enumerate(lines, 1):
        if text.strip():
            yield _of_line(place, text)


def _of_line(place: int, text: str) -> Entry:
    try:
        return _of_content(place, parse_each(text))
    except Unreadable as exc:
        return Entry(place, None, f"no JSON: {str(exc).removeprefix('line 1, ')}")


def _of_content(place: int, content: Any) -> Entry:
    """Refuse what names a key twice here: written again, it would name the last of both alone."""
    if isinstance(content, Ambiguous):
        return Entry(place, None, f"{content.repeated}: must be given once: it is there twice")
    return Entry(place, content)


# --- CSV ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lines:
    """The lines of a file, and the last one of them that was read."""

    file: Iterator[str]
    last: str = ""

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.last = line
            yield line

    @property
    def is_cut_off(self) -> bool:
        return not self.last.endswith(("\n", "\r"))


def _of_csv(path: Path, file: TextIO) -> Iterator[Entry]:
    lines = _Lines(file)
    text = iter(lines)
    skipped, first = _first_line(text)
    delimiter = _delimiter_of(first)
    if first.lower().startswith(_TOLD_DELIMITER):
        delimiter = first.strip()[len(_TOLD_DELIMITER) :] or "\t"
        more, first = _first_line(text)
        skipped += more
    rows = _rows(path, _before(first, text), delimiter, skipped)
    header = _header(path, next(rows, (0, []))[1])
    for place, row in rows:
        if any(map(str.strip, row)):
            yield _of_row(place, row, header, is_cut_off=lines.is_cut_off)


def _first_line(lines: Iterator[str]) -> tuple[int, str]:
    """Return the first line with something in it, and its place."""
    return next(((place, it) for place, it in enumerate(lines, 1) if it.strip()), (0, ""))


def _before(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _delimiter_of(header: str) -> str:
    """Return the one that stands most often outside quotes."""
    return max(_DELIMITERS, key=_QUOTED.sub("", header).count)


def _rows(
    path: Path, lines: Iterator[str], delimiter: str, first: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line on which it begins; raises OpsError."""
    place = first
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        for row in reader:
            yield place, row
            place = first + reader.line_num
    except (csv.Error, TypeError) as exc:
        raise OpsError(f"{path} is no CSV: the row that begins at line {place}: {exc}.") from exc


def _header(path: Path, row: list[str]) -> list[str]:
    """Return the names of the columns; raises OpsError for a name that two columns have."""
    names = [cell.strip() for cell in row]
    counts = Counter(filter(None, names))
    if twice := [name for name, count in counts.items() if count > 1]:
        raise OpsError(f"{path}: its header names {', '.join(twice)} twice.")
    return names


def _of_row(place: int, row: list[str], header: list[str], *, is_cut_off: bool) -> Entry:
    """Leave out cells that are empty; what stands under no name would be lost."""
    if len(row) < len(header) and is_cut_off:
        return Entry(place, None, "fewer cells than the header has, and no end: was it cut off?")
    if any(row[len(header) :]):
        return Entry(place, None, "more cells than the header has")
    cells = [(name, cell) for name, cell in zip(header, row, strict=False) if cell]
    if not all(name for name, _ in cells):
        return Entry(place, None, "a cell in a column to which the header gives no name")
    return Entry(place, dict(cells))
