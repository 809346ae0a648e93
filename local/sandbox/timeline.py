"""What became of the requests of the last minutes, counted in short spans for a chart."""

from __future__ import annotations

from collections import Counter, deque
from typing import Literal

Outcome = Literal["booked", "duplicate", "refused", "unanswered"]

SPAN_S = 10
SPANS = 60
"""Ten minutes, however many requests come."""


class Timeline:
    """Counts outcomes in spans of the clock; the oldest are forgotten."""

    def __init__(self) -> None:
        self._spans: deque[tuple[int, Counter[Outcome]]] = deque(maxlen=SPANS)

    def count(self, outcome: Outcome, at: float) -> None:
        """Count one request. A clock that was put back adds to the newest span."""
        span = int(at // SPAN_S)
        if not self._spans or self._spans[-1][0] < span:
            self._spans.append((span, Counter()))
        self._spans[-1][1][outcome] += 1

    def as_json(self) -> list[dict[str, int]]:
        """Return the spans in which there were requests, oldest first; `at` is when one began."""
        return [{"at": span * SPAN_S} | {**counts} for span, counts in self._spans]
