"""Where outcomes are written down, and which metric counts each.

`observability` writes for both functions; the command line reads by the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

NAMESPACE = "CometlyForwarder"

ACCEPTED, REJECTED = "ingest.accepted", "ingest.rejected"
UNAVAILABLE, WARNED = "ingest.unavailable", "ingest.warned"
# The line of an array of events: it stands for the outcomes of them all (ingest/outcomes.py).
ARRAY = "ingest.array"

# The metric that counts each outcome.
METRICS = {
    ACCEPTED: "Accepted",
    REJECTED: "Rejected",
    "ingest.refused": "Refused",
    "ingest.limited": "Limited",
    UNAVAILABLE: "Unavailable",
    "ingest.crashed": "Crashed",
    WARNED: "Warned",
    "delivery.crashed": "Crashed",
    "delivery.delivered": "Delivered",
    "delivery.duplicate": "Duplicate",
    "delivery.retried": "Retried",
    "delivery.parked": "Parked",
    "delivery.throttled": "Throttled",
    "delivery.blocked": "Blocked",
    "delivery.paused": "Paused",
    "delivery.unavailable": "Unavailable",
    "delivery.warned": "Warned",
    "reconcile.missing": "Missing",
    "reconcile.compared": "Recorded",
}
# What a line has that stands for more than one outcome, beside what each of them would have.
_JOINT = frozenset({"outcomes", "event_ids", "warnings", "faults", "fields"})


class Journal(Protocol):
    """Takes one line an outcome: a dotted name, and keys that hold nothing personal."""

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None: ...


def each_outcome(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Read a log line as the lines that its outcomes would have, each alone."""
    if line.get("message") == ARRAY:
        for place in range(len(line["event_ids"])):
            yield from each_outcome(_of_place(line, place))
    elif "fields" in line and line.get("message") in {ACCEPTED, REJECTED}:
        yield {name: it for name, it in line.items() if name not in {"outcomes", "fields"}}
        shared = {name: it for name, it in line.items() if name not in _JOINT}
        yield {**shared, "message": WARNED, "fields": line["fields"]}
    else:
        yield dict(line)


def _of_place(line: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Return what an event of an array would have as its line, and its place there, from 0."""
    shared = {name: it for name, it in line.items() if name not in _JOINT}
    event_id = line["event_ids"][place]
    of_event = {name: line.get(name, {}).get(str(place)) for name in ("warnings", "faults")}
    refused = REJECTED if of_event["faults"] else UNAVAILABLE
    told = {
        **shared,
        "message": ACCEPTED if event_id else refused,
        "event_id": event_id,
        "place": place,
        "warnings": of_event["warnings"] or 0,
        "faults": of_event["faults"] or [],
    }
    fields = line.get("fields", {}).get(str(place))
    return {**told, "fields": fields} if fields else told
