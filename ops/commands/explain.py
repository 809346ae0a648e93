"""`explain FILE`: what would be sent for each event of a file, as the API's dry run says it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.app import settings_of
from ops.errors import OpsError
from ops.eventfile import Entry, entries
from ops.output import FOUND_FAULTS, console, line, note, plain, say
from ops.smoke.doors import EVENTS, HTTPS, Api, Door
from ops.stacks import target_of
from ops.target import Target

# The API takes 500 events a request, and so many bytes with ease.
_MOST_EVENTS, _MOST_BYTES = 100, 500_000
_VALID, _INVALID = 200, 422


def explain(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON, JSON Lines or CSV; - is standard input.")],
) -> None:
    """Show what would be sent for each event of a file. Nothing is queued, and nothing booked."""
    target, is_json = target_of(context), settings_of(context).json
    valid = invalid = 0
    for result in explained(target, entries(file)):
        is_valid = result["status"] == _VALID
        valid, invalid = valid + is_valid, invalid + (not is_valid)
        if is_json:
            line(result)
        else:
            _show(result)
    note(f"{valid} valid, {invalid} not. Nothing was queued.")
    if invalid:
        raise typer.Exit(FOUND_FAULTS)


def explained(target: Target, found: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """Yield the dry run's result of each event, with its `line`, in the file's order."""
    api = Api.at(target.api_url)
    door = Door(HTTPS, EVENTS, {"Authorization": f"Bearer {target.server_key()}"})
    for batch in _batches(found):
        tried = iter(_tried(api, door, [it.event for it in batch if not it.fault]))
        for entry in batch:
            if entry.fault:
                errors = [{"field": "", "message": entry.fault}]
                yield {"line": entry.place, "status": _INVALID, "errors": errors, "warnings": []}
            else:
                yield {"line": entry.place, **next(tried)}


def _batches(found: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in found:
        length = len(json.dumps(entry.event))
        if batch and (len(batch) == _MOST_EVENTS or size + length > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield batch


def _tried(api: Api, door: Door, events: list[Any]) -> list[dict[str, Any]]:
    if not events:
        return []
    answer = api.post(door, events, query="?dry_run=true")
    if answer.status == 202:
        raise OpsError("This version of the stack knows no dry run: the events were queued.")
    try:
        results = list(answer.body["results"])
    except (KeyError, TypeError) as exc:
        raise OpsError(f"the dry run was answered {answer.message}") from exc
    if len(results) != len(events):
        raise OpsError(f"the dry run answered {len(results)} of {len(events)} events")
    return results


def _show(result: dict[str, Any]) -> None:
    if result["status"] == _VALID:
        identity = ", ".join(f"{key} {value}" for key, value in result["identity"].items())
        known = f" ({identity})" if identity else " (an event of its own each time)"
        told = plain(f" line {result['line']}: {result['event_id']}{known}")
        console().print(plain("✓", "green") + told)
        sent = json.dumps(result["event"], ensure_ascii=False, indent=2)
        say("\n".join("    " + it for it in sent.splitlines()))
    else:
        console().print(plain("✗", "red") + plain(f" line {result['line']}: refused"))
    for fault in result.get("errors", ()):
        console().print(plain(f"    {_named(fault)}", "red"))
    for warning in result.get("warnings", ()):
        console().print(plain(f"    {_named(warning)}", "yellow"))


def _named(fault: dict[str, str]) -> str:
    return ": ".join(it for it in (fault.get("field", ""), fault.get("message", "")) if it)
