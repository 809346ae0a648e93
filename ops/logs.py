"""The functions' log lines, as outcomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from cometly_forwarder.journal import each_outcome
from ops.target import Target

FUNCTIONS = ("ingest", "deliver")
_OUTCOMES = ("ingest.", "delivery.", "queue.")
# What every line has, and no reader needs.
_PLUMBING = frozenset({"level", "timestamp", "service", "message", "invocation", "sampling_rate"})


@dataclass(frozen=True, slots=True)
class LogLine:
    """One outcome. `at` is Unix time in seconds, by the function's clock."""

    id: str
    at: float
    function: str
    fields: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        return str(self.fields["message"])

    @property
    def event_id(self) -> str:
        return str(self.fields.get("event_id") or "")

    @property
    def reason(self) -> str:
        return str(self.fields.get("reason") or self.fields.get("cause") or "")

    @property
    def details(self) -> dict[str, Any]:
        """What the line says beside its name, its event and its reason."""
        left = {*_PLUMBING, "event_id", "reason", "cause"}
        return {key: it for key, it in self.fields.items() if key not in left and it is not None}

    def record(self) -> dict[str, Any]:
        """Return the line for programs."""
        names = {key: it for key, it in self.fields.items() if key not in _PLUMBING}
        return {"at": iso(self.at), "function": self.function, "outcome": self.outcome, **names}


def iso(moment: float) -> str:
    """Write Unix time for people and programs alike, in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def outcomes(
    target: Target,
    start: float,
    *,
    end: float | None = None,
    functions: tuple[str, ...] = FUNCTIONS,
    where: str = "",
) -> Iterator[LogLine]:
    """Yield the outcomes since a time and up to one (Unix seconds), function by function.

    `where` is a filter pattern of CloudWatch Logs; a line of several events matches by any of
    them, and yields them all. CloudWatch reads every line of the range for it: about a megabyte a
    call.
    """
    asked: dict[str, Any] = {"startTime": int(max(start, 0.0) * 1000)}
    if end is not None:
        asked["endTime"] = int(end * 1000)
    if where:
        asked["filterPattern"] = where
    for function in functions:
        for page in _pages(target, function, asked):
            for entry in page.get("events", ()):
                yield from _lines(function, entry)


def quoted(text: str) -> str:
    """Write text for a filter of CloudWatch Logs."""
    return json.dumps(text)


def _pages(target: Target, function: str, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    pages = target.clients.logs.get_paginator("filter_log_events").paginate(
        logGroupName=target.log_group(function), **asked
    )
    try:
        yield from pages
    except ClientError as exc:
        # The emulator makes a group when a function first runs.
        if exc.response["Error"].get("Code") != "ResourceNotFoundException":
            raise


def _lines(function: str, entry: Mapping[str, Any]) -> Iterator[LogLine]:
    """Read an entry of the log, which the emulator fills with several lines."""
    for text in entry["message"].splitlines():
        try:
            fields = json.loads(text)
        except ValueError:
            continue
        if isinstance(fields, dict) and str(fields.get("message", "")).startswith(_OUTCOMES):
            id_ = hashlib.sha256(f"{entry.get('eventId', '')} {text}".encode()).hexdigest()
            for place, outcome in enumerate(each_outcome(fields)):
                at = _time_in(outcome) or entry["timestamp"] / 1000
                yield LogLine(f"{id_} {place}", at, function, outcome)


def _time_in(fields: Mapping[str, Any]) -> float | None:
    text = str(fields.get("timestamp", "")).replace(",", ".")
    for form in ("%Y-%m-%d %H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S.%f%z"):
        try:
            return datetime.strptime(text, form).timestamp()  # noqa: DTZ007 - both have %z
        except ValueError:
            continue
    return None
