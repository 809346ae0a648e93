"""The events of a file, each with an identity, in arrays that the API takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cometly_forwarder.errors import InvalidEvent
from cometly_forwarder.event.reading import EventRules, read_event
from ops.errors import OpsError
from ops.eventfile import Entry

# ingest/routes.py: what an array may hold. The body stays under its 1 MiB by the brackets.
MOST_EVENTS, MOST_BYTES = 500, 1024 * 1024 - 1024
_BETWEEN = len(", ")
# JSON Lines and CSV are read line by line; anything else is read whole.
_STREAMED = {".csv", ".jsonl", ".ndjson"}
MOST_READ_WHOLE = 64 * 1024 * 1024
_BLOCK = 1024 * 1024


@dataclass(slots=True)
class Array:
    """Entries in the file's order. Those without an event are not posted; the others are."""

    entries: list[Entry] = field(default_factory=list)
    size: int = 0

    @property
    def events(self) -> list[Any]:
        return [it.event for it in self.entries if not it.fault]

    @property
    def last_place(self) -> int:
        return self.entries[-1].place

    def has_room_for(self, length: int) -> bool:
        return len(self.entries) < MOST_EVENTS and self.size + length <= MOST_BYTES


def arrays(found: Iterable[Entry], rules: EventRules, *, after: int = 0) -> Iterator[Array]:
    """Yield arrays of the entries that stand after a place; no more than one is held."""
    array = Array()
    for entry in found:
        if entry.place <= after:
            continue
        keyed = with_key(entry, rules)
        length = 0 if keyed.fault else len(json.dumps(keyed.event)) + _BETWEEN
        if array.entries and not array.has_room_for(length):
            yield array
            array = Array()
        array.entries.append(keyed)
        array.size += length
    if array.entries:
        yield array


def with_key(entry: Entry, rules: EventRules) -> Entry:
    """Give an event without key and order a key made of its content and place.

    The same line, sent again, is the same event then. An order's name has none: a key would switch
    off Cometly's own comparison of names. What cannot be read is left to the API.
    """
    if entry.fault or not isinstance(entry.event, dict):
        return entry
    try:
        event, _ = read_event(entry.event, rules, datetime.now(UTC))
    except InvalidEvent:
        return entry
    if event.idempotency_key or event.order_id or event.order_name:
        return entry
    return Entry(entry.place, {**entry.event, "idempotency_key": _key_of(entry)})


def refuse_unbounded(path: Path) -> None:
    """Raise OpsError for a file that would be read whole and is too large for it."""
    if path.suffix.lower() in _STREAMED or not path.is_file():
        return
    if path.stat().st_size > MOST_READ_WHOLE:
        raise OpsError(
            f"{path} is JSON of more than {MOST_READ_WHOLE >> 20} MiB, which would be read whole. "
            "Write it as JSON Lines, which are read line by line: jq -c '.[]' FILE > FILE.jsonl"
        )


def digest_of(path: Path) -> str:
    """Return the hash of a file's content, read in blocks; raises OpsError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as exc:
        raise OpsError(f"{path} cannot be read: {exc.strerror}.") from exc
    return digest.hexdigest()


def _key_of(entry: Entry) -> str:
    content = json.dumps([entry.place, entry.event], sort_keys=True)
    return "file-" + hashlib.sha256(content.encode()).hexdigest()[:32]
