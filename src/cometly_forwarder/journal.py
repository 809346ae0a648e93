"""Where outcomes are written down: a port of both functions (see `observability`)."""

from __future__ import annotations

from typing import Protocol


class Journal(Protocol):
    """Takes one line an outcome: a dotted name, and keys that hold nothing personal."""

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None: ...
