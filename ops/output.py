"""What a command prints: tables for people, JSON for programs; questions and errors on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

FAILED, FOUND_FAULTS = 1, 3
_PIPE = 10_000


def allow_any_text() -> None:
    """Write what the output's encoding lacks by its number: a name is no reason to fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def console() -> Console:
    """Return what writes to the standard output as it is now."""
    # A pipe has no width to fold at. A process whose output is closed has no `sys.stdout`.
    is_shown = sys.stdout is not None and sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=True, width=None if is_shown else _PIPE)


def say(text: str) -> None:
    """Print a line for people."""
    console().print(plain(text))


def flush() -> None:
    """Write out what was printed; raises OSError where it cannot be, and drops it then.

    Python would try again at the end of the process, and end it with a status of its own.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def note(text: str) -> None:
    """Print a line beside the answer, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def document(content: Mapping[str, Any] | list[Any]) -> None:
    """Print the one document of a command with --json."""
    # In ASCII, which each output can write, lone surrogates too.
    print(json.dumps(content, indent=2), flush=True)


def line(content: Mapping[str, Any]) -> None:
    """Print one object of many, on a line of its own."""
    print(json.dumps(content), flush=True)


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and what they are."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, plain(value))
    return table


def plain(text: str, style: str = "") -> Text:
    """Return text in which Rich reads neither markup nor emoji, and a terminal no controls."""
    return Text(printable(text), style)


def printable(text: str) -> str:
    """Replace what a terminal would obey: others write the bodies and the messages."""
    return "".join(
        it if it.isprintable() or it in "\n\t" else "\N{REPLACEMENT CHARACTER}" for it in text
    )


def ask(question: str, *, yes: bool) -> None:
    """Ask, unless it was answered by --yes; anything but yes ends the command."""
    if yes:
        return
    if not is_terminal():
        raise typer.BadParameter("nobody can be asked here: give --yes")
    typer.confirm(question, abort=True, err=True)


def is_terminal() -> bool:
    """Say whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()
