"""The time that all workers share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


@dataclass(slots=True)
class SharedClock:
    """The time of DynamoDB, which all workers share, from the Date header of its answers.

    A header is cut to whole seconds, so each answer only bounds how far this worker's clock is off;
    the bounds of many answers meet. A clock that may be right is left alone.
    """

    local: Callable[[], float]
    least: float = -math.inf
    most: float = math.inf

    @property
    def offset(self) -> float:
        """Seconds to add to this worker's clock: as few as the answers so far allow."""
        return min(max(0.0, self.least), self.most)

    def now(self) -> float:
        return self.local() + self.offset

    def learn(self, date: str | None, took: float) -> None:
        """Learn from an answer to a request that took so many seconds.

        Where bounds contradict the ones before, this worker's clock was set meanwhile.
        """
        try:
            second = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        now = self.local()
        least, most = second - now, second + 1 - (now - took)
        self.least, self.most = max(self.least, least), min(self.most, most)
        if self.least > self.most:
            self.least, self.most = least, most
