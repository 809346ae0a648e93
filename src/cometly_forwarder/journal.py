"""Where outcomes are written down, and which metric counts each.

`observability` writes for both functions; the command line reads by the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

Line = Mapping[str, Any]

NAMESPACE = "CometlyForwarder"

ACCEPTED, REJECTED = "ingest.accepted", "ingest.rejected"
UNAVAILABLE, WARNED = "ingest.unavailable", "ingest.warned"
# The line of an array of events: it stands for the outcomes of them all (ingest/outcomes.py).
ARRAY = "ingest.array"
DELIVERED = "delivery.delivered"

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
    DELIVERED: "Delivered",
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
# What an outcome says as a rule: its line leaves that out, for logs cost by the byte.
_AS_A_RULE: Mapping[str, Line] = {
    ACCEPTED: {"warnings": 0, "faults": []},
    DELIVERED: {"attempts": 1, "receives": 1, "reason": "HTTP 202"},
}
# What a line has that stands for more than one outcome, beside what each of them would have.
_JOINT = frozenset({"outcomes", "event_ids", "warnings", "faults", "fields"})
# What a line of several delivered events says of each: in its place, or under its place from 0.
_IN_PLACE = {"event_id": "event_ids", "request_id": "request_ids", "latency": "latencies"}
_UNDER_PLACE = frozenset({"attempts", "receives"})
_OF_EACH = frozenset({*_IN_PLACE, *_IN_PLACE.values(), *_UNDER_PLACE})


class Journal(Protocol):
    """Takes one line an outcome: a dotted name, and keys that hold nothing personal."""

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None: ...


def terse(line: Line) -> dict[str, Any]:
    """Leave out of an outcome's line what it need not say; `each_outcome` puts it back."""
    rule = _AS_A_RULE.get(line["message"], {})
    told = {name: it for name, it in line.items() if it is not None and it != rule.get(name)}
    return {name: round(it, 3) if name == "latency" else it for name, it in told.items()}


def can_join(line: Line, other: Line) -> bool:
    """Say whether two lines can be one: two delivered events of which the rest is the same."""
    return line["message"] == DELIVERED and _shared(line) == _shared(other)


def joined(lines: Sequence[Line]) -> Line:
    """Make one line of lines that can be one. Its `latencies` are whole milliseconds."""
    first, *others = lines
    if not others:
        return first
    told = dict(_shared(first))
    for name, names in _IN_PLACE.items():
        if any(name in line for line in lines):
            told[names] = [line.get(name) for line in lines]
    if "latencies" in told:
        told["latencies"] = [None if it is None else round(it * 1000) for it in told["latencies"]]
    for name in sorted(_UNDER_PLACE):
        places = {str(place): it[name] for place, it in enumerate(lines) if name in it}
        told |= {name: places} if places else {}
    return told


def each_outcome(line: Line) -> Iterator[dict[str, Any]]:
    """Read a log line, of any version, as the lines that its outcomes would have, each alone.

    Metrics alone are no outcome, and neither is what a library logs.
    """
    if not isinstance(line.get("message"), str):
        return
    if "_aws" in line:
        yield from each_outcome(_without_metrics(line))
    elif "at" in line:
        told = {name: it for name, it in line.items() if name != "at"}
        yield from each_outcome({**told, "timestamp": time_text(line["at"])})
    elif line["message"] == ARRAY:
        for place in range(len(line["event_ids"])):
            yield from each_outcome(_of_array(line, place))
    elif line["message"] == DELIVERED and "event_ids" in line:
        for place in range(len(line["event_ids"])):
            yield from each_outcome(_of_delivered(line, place))
    elif "fields" in line and line["message"] in {ACCEPTED, REJECTED}:
        told = {name: it for name, it in line.items() if name not in {"outcomes", "fields"}}
        yield {**_AS_A_RULE.get(line["message"], {}), **told}
        shared = {name: it for name, it in line.items() if name not in _JOINT}
        yield {**shared, "message": WARNED, "fields": line["fields"]}
    else:
        yield {**_AS_A_RULE.get(line["message"], {}), **line}


def _without_metrics(line: Line) -> Line:
    """Take an outcome out of the document of metrics that it was written with."""
    described = line["_aws"]
    metrics = {it["Name"] for each in described["CloudWatchMetrics"] for it in each["Metrics"]}
    told = {name: it for name, it in line.items() if name not in {"_aws", *metrics}}
    return {"level": "INFO", "timestamp": time_text(described["Timestamp"] / 1000), **told}


def time_text(at: float) -> str:
    """Write Unix time as the lines have it (RFC 3339)."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _of_array(line: Line, place: int) -> dict[str, Any]:
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


def _of_delivered(line: Line, place: int) -> dict[str, Any]:
    """Return what one of several delivered events would have as its line."""
    own = {name: line[names][place] for name, names in _IN_PLACE.items() if names in line}
    own |= {name: line[name].get(str(place)) for name in _UNDER_PLACE if name in line}
    told = {name: it for name, it in own.items() if it is not None}
    if "latency" in told:
        told["latency"] /= 1000
    return {**_shared(line), **told}


def _shared(line: Line) -> Line:
    return {name: it for name, it in line.items() if name not in _OF_EACH}
