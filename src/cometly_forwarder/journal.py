"""Where outcomes are written down, and which metric counts each.

`observability` writes for both functions; the command line reads by the same names.
"""

from __future__ import annotations

from typing import Protocol

NAMESPACE = "CometlyForwarder"

# The metric that counts each outcome.
METRICS = {
    "ingest.accepted": "Accepted",
    "ingest.rejected": "Rejected",
    "ingest.refused": "Refused",
    "ingest.limited": "Limited",
    "ingest.unavailable": "Unavailable",
    "ingest.crashed": "Crashed",
    "ingest.warned": "Warned",
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


class Journal(Protocol):
    """Takes one line an outcome: a dotted name, and keys that hold nothing personal."""

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None: ...
