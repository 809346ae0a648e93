"""What a person sees while a stack starts: one line a step, with its time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.stack.errors import StackError

TAIL = 25
"""Lines of a log that are shown when its step fails."""
WIDTH = 400
"""Characters of each."""


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Show that a step is going on, and how it ended. What was raised goes through."""
    say(f"  {title} ...", end="")
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say(" failed" if not isinstance(sys.exception(), KeyboardInterrupt) else " stopped")
        raise
    say(f" {time.monotonic() - began:.1f} s")


def say(text: str = "", *, end: str = "\n") -> None:
    print(text, end=end, flush=True)


def complain(error: StackError) -> None:
    """Say what went wrong, with the end of its log and the log's place."""
    print(f"\n{error}", file=sys.stderr)
    if error.log is None:
        return
    if lines := _tail(error.log):
        print(*(f"  | {line}" for line in lines), sep="\n", file=sys.stderr)
    print(f"The whole log: {error.log}", file=sys.stderr)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns; the first row is the heading."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _tail(log: Path) -> list[str]:
    try:
        lines = log.read_text("utf-8", "replace").splitlines()[-TAIL:]
    except OSError:
        return []
    return [line if len(line) <= WIDTH else f"{line[:WIDTH]} …" for line in lines]
