"""An item of the ledger, as both functions read it: deliver acts on it, ingest tells callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Item = Mapping[str, Any]


class State(Enum):
    """Where an identity stands in the ledger."""

    CLAIMED = "claimed"
    WAITING = "waiting"
    DELIVERED = "delivered"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger knows of an identity (docs/architecture.md has the attributes).

    `lease`, `retry_at`, `updated_at` and `blocked_at` are Unix times in seconds; 0 and an empty
    text stand for what is not there.
    """

    state: State
    message_id: str
    content: str
    claims: int
    attempts: int
    deaths: int
    blocks: int
    blocked_at: float
    lease: float
    retry_at: float
    accepted_at: str
    updated_at: float
    answer: str
    request_id: str


def key_of(event_id: str) -> dict[str, dict[str, str]]:
    """Return the key of an event's item."""
    return {"event_id": {"S": event_id}}


def entry_in(item: Item) -> Entry | None:
    """Read an item of any version of the forwarder; None where there is none."""
    if "state" not in item:
        return None
    return Entry(
        state=State(item["state"]["S"]),
        message_id=_text(item, "message_id"),
        content=_text(item, "content"),
        claims=int(_number(item, "claims")),
        attempts=int(_number(item, "attempts")),
        deaths=int(_number(item, "deaths")),
        blocks=int(_number(item, "blocks")),
        blocked_at=_number(item, "blocked_at"),
        lease=_number(item, "lease"),
        retry_at=_number(item, "retry_at"),
        accepted_at=_text(item, "accepted_at"),
        updated_at=_number(item, "updated_at"),
        answer=_text(item, "answer"),
        request_id=_text(item, "request_id"),
    )


def _text(item: Item, name: str) -> str:
    return str(item[name]["S"]) if name in item else ""


def _number(item: Item, name: str) -> float:
    return float(item[name]["N"]) if name in item else 0.0
