"""`event`: the story of one event, out of the ledger and the log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cometly_forwarder.errors import InvalidEvent, summary_of
from cometly_forwarder.event.envelope import Source, seal
from cometly_forwarder.event.reading import DEFAULT_RULES, read_event
from cometly_forwarder.ingest.lookup import Sought, response_to
from cometly_forwarder.ledger_item import Entry, Item, State, entry_in, key_of
from ops.app import settings_of
from ops.commands.tail import Wanted, as_text, seconds_in
from ops.errors import OpsError
from ops.logs import LogLine, iso, outcomes
from ops.output import FOUND_FAULTS, console, document, note, pairs, say
from ops.stacks import target_of
from ops.target import Target

# Items of the table that are no event.
_NO_EVENTS = frozenset({"gate"})
# Clocks differ, and lines come in late.
_EARLIER_SECONDS, _LATER_SECONDS = 300.0, 3600.0
_SETTLED = frozenset({"delivered", "parked"})
_TIMES = ("lease", "updated_at", "retry_at", "blocked_at", "expires_at")
_COUNTS = ("claims", "attempts", "deaths", "blocks")
# Of use to a worker alone.
_PLUMBING = frozenset({"owner", "mark", "content"})
# With a key, only the key says which event it is.
_ANYBODY = "anybody@example.com"


def event(  # noqa: PLR0913 - one for each option
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(metavar="[ID]", help="As `evt_...`.")] = "",
    *,
    order: Annotated[str, typer.Option(help="Instead of the ID: its order_id, and --email.")] = "",
    email: Annotated[str, typer.Option(help="The customer of --order.")] = "",
    name: Annotated[str, typer.Option(help="The event_name of --order.")] = "purchase",
    key: Annotated[str, typer.Option(help="Instead of the ID: its idempotency_key.")] = "",
    since: Annotated[
        str, typer.Option(help="How far back the log is read, if the ledger has no such event.")
    ] = "1d",
    later: Annotated[
        bool,
        typer.Option("--later", help="Read the log up to now: what came after the outcome, too."),
    ] = False,
) -> None:
    """Tell the story of one event: what the ledger holds of it, and its log lines.

    The log is read from the event's acceptance to an hour after its outcome.
    """
    earliest = time.time() - seconds_in(since)
    if event_id and (order or email or key):
        raise typer.BadParameter("name the event once: by its ID, or by --order or --key")
    event_id = event_id or id_of(name=name, order=order, email=email, key=key)
    if event_id in _NO_EVENTS:
        raise OpsError(f"{event_id} is no event.")
    target = target_of(context)
    found = item_of(target, event_id)
    item = in_words(found)
    end = None if later else _end(item)
    lines = _lines(target, event_id, _start(item, earliest), end)
    if settings_of(context).json:
        document(
            {"event_id": event_id, "ledger": item or None, "log": [it.record() for it in lines]}
        )
    else:
        _show(event_id, entry_in(found), lines)
        if end:
            note(f"The log was read up to {iso(end)}; --later reads on, for duplicates since.")
    if not item and not lines:
        raise typer.Exit(FOUND_FAULTS)


def id_of(*, name: str, order: str, email: str, key: str) -> str:
    """Return the id of the event that is named so; raises a usage error.

    The ledger knows hashes alone, so an order without its customer leads nowhere.
    """
    if not (key or (order and email)):
        raise typer.BadParameter("name the event by its ID, by --order and --email, or by --key")
    now = datetime.now(UTC)
    told = {
        "event_name": name,
        "email": email or _ANYBODY,
        "order_id": order,
        "idempotency_key": key,
    }
    try:
        found, _ = read_event(told, DEFAULT_RULES, now)
    except InvalidEvent as exc:
        raise typer.BadParameter(summary_of(exc.faults)) from exc
    return seal(found, Source("operator", "", now)).event_id


def item_of(target: Target, event_id: str) -> Item:
    """Return the ledger's item of an identity; empty: there is none."""
    answer = target.clients.dynamodb.get_item(
        TableName=target.outputs["TableName"], Key=key_of(event_id), ConsistentRead=True
    )
    return answer.get("Item", {})


def in_words(found: Item) -> dict[str, Any]:
    """Return an item for programs, with times as text, and without what a worker alone needs."""
    item = {
        name: str(next(iter(value.values())))
        for name, value in found.items()
        if name not in _PLUMBING
    }
    return {name: _read(name, item[name]) for name in _ordered(item)}


def _ordered(item: Mapping[str, Any]) -> list[str]:
    first = ["event_id", "state", "answer", "request_id", "attempts", "accepted_at", "retry_at"]
    return [*(it for it in first if it in item), *sorted(item.keys() - set(first))]


def _read(name: str, value: str) -> Any:
    if name in _TIMES:
        return iso(float(value)) if float(value) else None
    return int(float(value)) if name in _COUNTS else value


def _start(item: Mapping[str, Any], earliest: float) -> float:
    """Begin a little before the event was accepted: clocks differ."""
    try:
        return datetime.fromisoformat(str(item["accepted_at"])).timestamp() - _EARLIER_SECONDS
    except (KeyError, ValueError):
        return earliest


def _end(item: Mapping[str, Any]) -> float | None:
    """End a little after the outcome; None, which is now, where there is none yet."""
    if item.get("state") not in _SETTLED or not item.get("updated_at"):
        return None
    end = datetime.fromisoformat(item["updated_at"]).timestamp() + _LATER_SECONDS
    return end if end < time.time() else None


def _lines(target: Target, event_id: str, start: float, end: float | None) -> list[LogLine]:
    wanted = Wanted(event=event_id)
    found = outcomes(target, start, end=end, where=wanted.where)
    return sorted((it for it in found if it.at >= start and wanted(it)), key=lambda it: it.at)


def _show(event_id: str, entry: Entry | None, lines: list[LogLine]) -> None:
    if entry:
        console().print(pairs(_told(event_id, entry)))
        if entry.state is State.PARKED:
            say(f"`parked show {event_id}` shows it whole, with the reason.")
    else:
        note(
            f"The ledger does not know {event_id}. It may still be on the queue, or it never came "
            "in; the ledger forgets an event 30 days after its last change."
        )
    for line in lines:
        console().print(as_text(line))
    if not lines:
        note("The log has no line of it in that time.")


def _told(event_id: str, entry: Entry) -> list[tuple[str, str]]:
    """Return what the API tells callers, and what shows that the event does harm."""
    answer = response_to(Sought(event_id), entry, datetime.now(UTC)).body
    harm = {"deaths": entry.deaths or None, "blocks": entry.blocks or None}
    return [(name, str(it)) for name, it in {**answer, **harm}.items() if it is not None]
