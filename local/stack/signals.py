"""Signals that end a program: each raises KeyboardInterrupt, or waits until a block is done."""

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
    """Hold a signal back until the block is done, so that what it starts is on file."""
    caught: list[object] = []
    with _handled_by(lambda *_: caught.append(None)):
        yield
    if caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Ignore Ctrl-C, so that a second one does not interrupt the clean-up."""
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
