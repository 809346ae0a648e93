"""Cometly's limit of requests a minute, in both forms that its documents allow.

Time is an argument everywhere: epoch seconds, never going back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

WindowForm = Literal["fixed", "sliding"]

WINDOW_S = 60


class Window(Protocol):
    """Counts the places taken."""

    def used(self, now: float) -> int:
        """Return how many places are taken at this moment."""

    def take(self, now: float) -> None:
        """Take one place."""

    def frees_at(self, now: float, limit: int) -> float:
        """Return when fewer than `limit` places are taken, given that no one takes more."""


class FixedWindow:
    """Starts afresh with each minute of the clock."""

    def __init__(self) -> None:
        self._minute = 0
        self._used = 0

    def used(self, now: float) -> int:
        """Count the places taken since the clock's minute began."""
        minute = int(now // WINDOW_S)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        return self._used

    def take(self, now: float) -> None:
        """Take one place of this minute."""
        self._used = self.used(now) + 1

    def frees_at(self, now: float, limit: int) -> float:  # noqa: ARG002 - the port's shape
        """Return the start of the next minute."""
        return (now // WINDOW_S + 1) * WINDOW_S


class SlidingWindow:
    """Looks back over the last 60 s at any moment."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque()

    def used(self, now: float) -> int:
        """Count the places taken less than 60 s ago."""
        while self._taken and self._taken[0] + WINDOW_S <= now:
            self._taken.popleft()
        return len(self._taken)

    def take(self, now: float) -> None:
        """Take one place for 60 s."""
        self._taken.append(now)

    def frees_at(self, now: float, limit: int) -> float:
        """Return when the place falls free that brings the count below the limit."""
        return self._taken[self.used(now) - limit] + WINDOW_S


_WINDOWS: dict[WindowForm, type[FixedWindow | SlidingWindow]] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What the limiter said of one request."""

    admitted: bool
    limit: int
    remaining: int
    retry_after_s: float = 0.0


class RateLimiter:
    """Admits at most `limit` requests a window; a refused one takes no place."""

    def __init__(self, limit: int, form: WindowForm) -> None:
        self.limit = limit
        self._window: Window = _WINDOWS[form]()

    def admit(self, now: float) -> Decision:
        """Take a place, or say how many seconds it is until one is free."""
        if self._window.used(now) >= self.limit:
            wait_s = self._window.frees_at(now, self.limit) - now
            return Decision(admitted=False, limit=self.limit, remaining=0, retry_after_s=wait_s)
        self._window.take(now)
        return self.peek(now)

    def used(self, now: float) -> int:
        """Return how many places are taken; more than the limit where that was lowered."""
        return self._window.used(now)

    def peek(self, now: float) -> Decision:
        """Return what the headers should say, and take no place."""
        remaining = max(0, self.limit - self._window.used(now))
        return Decision(admitted=True, limit=self.limit, remaining=remaining)


class Peak:
    """Keeps the most requests admitted in any 60 s, whatever the limiter's form."""

    def __init__(self) -> None:
        self.most = 0
        self._last_60s = SlidingWindow()

    def admitted(self, now: float) -> None:
        """Count one request."""
        self._last_60s.take(now)
        self.most = max(self.most, self._last_60s.used(now))
