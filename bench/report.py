"""What a part of the bench hands over, and how it is shown and kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from bench import svg

# Of a file or a pipe, which have none of their own.
_WIDTH = 160
Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a heading. `note` says what the figures rest on."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """A part's tables, and its plots by the name of their file."""

    tables: tuple[Table, ...]
    plots: dict[str, svg.Bars] = field(default_factory=dict)


def machine() -> dict[str, Any]:
    """Say what was measured on: no names of hosts, users or folders."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def text_of(cell: Cell) -> str:
    """Write a number with three figures that count; nothing where there is none."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if not cell:
        return "0"
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:.{max(0, 3 - len(str(int(abs(cell)))))}f}" if abs(cell) >= 1 else f"{cell:.3g}"


def show(result: Result) -> None:
    """Print the tables."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    for table in result.tables:
        shown = RichTable(title=table.title, title_justify="left", caption=table.note or None)
        for column, first in zip(table.columns, table.rows[0], strict=True):
            shown.add_column(column, justify="left" if isinstance(first, str) else "right")
        for row in table.rows:
            shown.add_row(*map(text_of, row))
        console.print(shown)


def show_markdown(result: Result) -> None:
    """Print the tables as docs/measurements.md has them."""
    for table in result.tables:
        print(f"\n**{table.title}**\n\n{markdown(table)}\n\n{table.note}")


def keep(folder: Path, name: str, command: str, result: Result) -> None:
    """Write a part's JSON and plots below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    content = {
        "part": name,
        "date": f"{now:%Y-%m-%d}",
        "command": command,
        "machine": machine(),
        "tables": [asdict(table) for table in result.tables],
    }
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    where = machine()
    for file, plot in result.plots.items():
        footer = f"{now:%Y-%m-%d}, {where['processors']} x {where['processor']}"
        (folder / f"{file}.svg").write_text(svg.draw(plot, footer), "utf-8")


def markdown(table: Table) -> str:
    """Write a table as docs/measurements.md has it."""
    rows: Sequence[Sequence[str]] = [
        table.columns,
        ["---"] * len(table.columns),
        *[[text_of(cell) for cell in row] for row in table.rows],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _processor() -> str:
    """Return the model's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
