"""`tail`: outcomes as they happen, one line each, from the logs of both functions."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer
from rich.text import Text

from ops.app import settings_of
from ops.logs import LogLine, iso, outcomes, quoted
from ops.output import console, line, plain
from ops.stacks import target_of
from ops.target import Target

_POLL_SECONDS = 2.0
# Lines come in late and out of order: each look begins so long before the newest line.
_OVERLAP_SECONDS = 60.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_COLOURS = {"delivered": "green", "accepted": "green", "parked": "red", "crashed": "bold red"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which outcomes are shown; an empty text admits all."""

    event: str = ""
    outcome: str = ""
    reason: str = ""

    def __call__(self, found: LogLine) -> bool:
        """Say whether it is shown."""
        names = (found.outcome, found.outcome.partition(".")[2])
        return (
            self.event in {"", found.event_id}
            and (not self.outcome or any(fnmatchcase(it, self.outcome) for it in names))
            and self.reason.lower() in found.reason.lower()
        )

    @property
    def where(self) -> str:
        """What CloudWatch Logs can filter itself: the id as a phrase, for arrays have many."""
        return quoted(self.event) if self.event else ""


def tail(  # noqa: PLR0913 - one for each option
    context: typer.Context,
    *,
    event: Annotated[str, typer.Option(help="Of one event, by its id.")] = "",
    outcome: Annotated[
        str, typer.Option(help="By name, such as parked, delivery.retried or 'ingest.*'.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Whose reason contains this, as 'HTTP 422'.")] = "",
    since: Annotated[str, typer.Option(help="From so long ago on, as 90s, 10m, 2h, 1d.")] = "0s",
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on, or end with what is there.")
    ] = True,
) -> None:
    """Show outcomes as they happen, one line each."""
    start = time.time() - seconds_in(since)
    target = target_of(context)
    show = _show_json if settings_of(context).json else _show
    for found in followed(target, Wanted(event, outcome, reason), start, follow=follow):
        show(found)


def followed(
    target: Target,
    wanted: Wanted,
    start: float,
    *,
    follow: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogLine]:
    """Yield each outcome once, of each look in the order of time."""
    seen: dict[str, float] = {}
    newest = start
    while True:
        since = max(start, newest - _OVERLAP_SECONDS)
        found = outcomes(target, since, where=wanted.where)
        for each in sorted(found, key=lambda it: it.at):
            if each.id not in seen and each.at >= start:
                seen[each.id] = each.at
                newest = max(newest, each.at)
                if wanted(each):
                    yield each
        if not follow:
            return
        seen = {id_: at for id_, at in seen.items() if at >= newest - 2 * _OVERLAP_SECONDS}
        sleep(_POLL_SECONDS)


def seconds_in(text: str) -> float:
    """Read a length of time, such as 10m; raises a usage error."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not found:
        raise typer.BadParameter(f"{text!r} is no length of time: write it as 90s, 10m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def as_text(found: LogLine) -> Text:
    """Return an outcome as a line."""
    details = " ".join(f"{key}={_short(value)}" for key, value in found.details.items() if value)
    colour = _COLOURS.get(found.outcome.partition(".")[2], "yellow" if found.reason else "cyan")
    parts = (
        plain(iso(found.at), "dim"),
        plain(found.outcome, colour),
        plain(found.event_id),
        plain(found.reason.replace("\n", " ")),
        plain(details, "dim"),
    )
    return Text(" ").join(part for part in parts if part)


def _short(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value).replace("\n", " ")


def _show(found: LogLine) -> None:
    console().print(as_text(found))


def _show_json(found: LogLine) -> None:
    line(found.record())
