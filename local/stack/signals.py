"""Ctrl-C and its like: one exception, never in the middle of what must be whole."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Let SIGTERM, and a closed terminal, end this process as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Hold a signal back until the block is done: what it starts is on file by then."""
    caught: list[object] = []
    with _handled_by(lambda *_: caught.append(None)):
        yield
    if caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Let no second Ctrl-C break off the clearing up."""
    with _handled_by(lambda *_: None):
        yield


@contextlib.contextmanager
def _handled_by(handler: signal._HANDLER) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
