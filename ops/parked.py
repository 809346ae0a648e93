"""What lies on the dead-letter queue, by reason, without taking anything off it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ops.deadletters.stack import shelf_of
from ops.deadletters.wanted import short
from ops.target import Target

MOST_LOOKED_AT = 200
# A glance of a killed process hides what it held from others for so long, and no longer.
_HOLD_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Parked:
    """How many are parked, and the reasons of those that were looked at."""

    count: int
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def looked_at(self) -> int:
        return self.reasons.total()

    def record(self) -> dict[str, Any]:
        return {
            "parked": self.count,
            "parked_by_reason": dict(self.reasons.most_common()),
            "parked_looked_at": self.looked_at,
        }


def parked_on(target: Target, *, most: int = MOST_LOOKED_AT) -> Parked:
    """Count by reason. Messages are hidden from others for a moment, then put back."""
    if not (count := target.count(target.outputs["DeadLetterQueueUrl"])):
        return Parked(0)
    with shelf_of(target, hold_seconds=_HOLD_SECONDS) as shelf:
        found = islice(shelf.letters(), min(most, count))
        reasons = Counter(short(it.reason) for it in found)
    return Parked(max(count, reasons.total()), reasons)
