"""`pause` and `resume`: the event source mappings of deliver, off and on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ops.app import settings_of
from ops.errors import OpsError
from ops.mappings import QueueMapping, mappings_of, switch
from ops.output import document, say
from ops.stacks import target_of
from ops.target import Target


class Queue(StrEnum):
    """Whose events."""

    EVENTS = "events"
    PAGES = "pages"


Only = Annotated[Queue | None, typer.Option(help="One queue alone, instead of all.")]


def pause(context: typer.Context, *, only: Only = None) -> None:
    """Take nothing off the queues until `resume`. Events are accepted, wait, and cost nothing.

    What deliver has taken already, it ends: up to a minute.
    """
    _switch(context, only, on=False)


def resume(context: typer.Context, *, only: Only = None) -> None:
    """Deliver again, after `pause`."""
    _switch(context, only, on=True)


def _switch(context: typer.Context, only: Queue | None, *, on: bool) -> None:
    target = target_of(context)
    chosen = [it for it in mappings_of(target) if only in {None, it.queue}]
    if not chosen:
        raise OpsError(f"{target.name} has no queue of {only}: AllowedOrigins is empty.")
    seen = switch(target, chosen, on=on)
    if settings_of(context).json:
        document({"paused": not on, "mappings": [it.record() for it in seen]})
    else:
        for mapping in seen:
            say(_says(target, mapping, on=on))
    if any(it.is_off == on for it in seen):
        raise OpsError("AWS has not done it yet; see `status` in a minute.")


def _says(target: Target, mapping: QueueMapping, *, on: bool) -> str:
    if on:
        return f"{mapping.queue}: {mapping.state}. What waits is delivered."
    hours = target.parameters.get("DeliveryHorizonHours", "72")
    return (
        f"{mapping.queue}: {mapping.state}. Events wait until `resume`; those that are older than "
        f"{hours} hours by then are parked."
    )
