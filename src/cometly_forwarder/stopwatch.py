"""Ages that a frozen function cannot make younger (decision 16)."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class Stopwatch:
    """Seconds since it was made: never fewer than went by, and never going back.

    Lambda freezes a function between two invocations. The monotonic clock may stand still
    meanwhile; the wall clock goes on, but may be put back. From one call to the next the larger of
    the two counts, so that what is old never looks young.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._last = (wall(), monotonic())
        self._seconds = 0.0
        self._lock = Lock()

    def __call__(self) -> float:
        with self._lock:
            wall, monotonic = self._last
            self._last = (self._wall(), self._monotonic())
            self._seconds += max(self._last[0] - wall, self._last[1] - monotonic)
            return self._seconds
