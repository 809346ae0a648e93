"""`status`: what waits, what is parked, whether delivery is paused, and how fast it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live

from ops.app import settings_of
from ops.logs import iso
from ops.output import console, document, line, pairs, plain
from ops.parked import Parked
from ops.stacks import target_of
from ops.state import StackState, state_of
from ops.target import Target

_LEAST_SECONDS = 1.0


def status(
    context: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again.")] = False,
    every: Annotated[
        float, typer.Option(min=_LEAST_SECONDS, help="Seconds between two looks of --watch.")
    ] = 5.0,
) -> None:
    """Show what waits, what is parked and why, whether delivery is paused, and its rate."""
    target, is_json = target_of(context), settings_of(context).json
    states = islice(_states(target, every), None if watch else 1)
    if is_json:
        tell = line if watch else document
        for state in states:
            tell(state.record())
    elif watch and _can_redraw(console()):
        _redraw(states)
    else:
        for state in states:
            console().print(shown(state))


def _states(target: Target, every: float) -> Iterator[StackState]:
    while True:
        yield state_of(target, time.time())
        time.sleep(every)


def _can_redraw(screen: Console) -> bool:
    """Say whether lines can be overwritten: in a pipe or an editor they stand below each other."""
    return screen.is_terminal and not screen.is_dumb_terminal


def _redraw(states: Iterator[StackState]) -> None:
    with Live(console=console(), auto_refresh=False) as live:
        for state in states:
            live.update(shown(state), refresh=True)


def shown(state: StackState) -> Group:
    """Return the state as tables."""
    title = plain(f"{state.stack}, {iso(state.at)}")
    return Group(title, pairs([*_rows(state), ("last hour", _hour(state))]))


def _rows(state: StackState) -> Iterator[tuple[str, str]]:
    yield "waiting", _split(state, "waiting")
    yield "in flight", f"{_split(state, 'in_flight')}: at a worker, or until the next attempt"
    yield "oldest", duration(state.oldest)
    yield "parked", _parked(state.parked)
    yield from _pauses(state)
    yield "rate", _rate(state)


def _rate(state: StackState) -> str:
    gate = state.gate
    others = f", others take {gate.others_per_minute}" if gate.others_per_minute else ""
    return (
        f"{state.delivered_per_minute:g} delivered a minute (of the last 3), "
        f"{gate.posted_per_minute} posts in the last minute; "
        f"the limit is {gate.limit_per_minute}{others}"
    )


def _split(state: StackState, part: str) -> str:
    counts = {it.name: int(getattr(it, part)) for it in state.queues}
    by_queue = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{sum(counts.values())} ({by_queue})" if len(counts) > 1 else by_queue.split()[-1]


def _parked(parked: Parked) -> str:
    if not parked.count:
        return "0"
    reasons = ", ".join(f"{count} of {reason}" for reason, count in parked.reasons.most_common())
    less = f"; {parked.looked_at} were looked at" if parked.looked_at < parked.count else ""
    return f"{parked.count}: {reasons or 'none could be looked at'}{less}"


def _pauses(state: StackState) -> Iterator[tuple[str, str]]:
    for mapping in state.switched_off:
        yield "paused", f"by an operator: {mapping.queue} ({mapping.state}), until `resume`"
    for pause in state.gate.pauses:
        yield "paused", f"{pause.says}: {pause.why}"
    if not state.is_paused:
        yield "paused", "no"


def _hour(state: StackState) -> str:
    return ", ".join(f"{name} {count}" for name, count in state.last_hour.items()) or "nothing"


def duration(seconds: float | None) -> str:
    """Write seconds as people do; None is not known."""
    if seconds is None:
        return "not known (CloudWatch says it a minute or two later)"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
