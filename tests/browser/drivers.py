"""One small way to drive Chromium, Firefox and WebKit, each by the protocol that it speaks itself.

A visitor has one tab and an empty storage of its own. An expression is JavaScript whose value, or
what the promise that it is settles to, can be written as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, Protocol

from playwright.sync_api import Browser, Error, Page

from tests.patience import looks

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 30.0


class DriverError(Exception):
    """The browser did not do it: the expression threw, or its page was gone."""


class Tab(Protocol):
    """A visitor's tab."""

    def goto(self, url: str) -> None:
        """Load a page, and wait until it is loaded."""

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; raises DriverError."""


class Driver(Protocol):
    """A browser that runs."""

    def visitor(self) -> AbstractContextManager[Tab]:
        """Open a tab for a visitor who was never there."""


def until(tab: Tab, expression: str, *, within: float = PATIENCE_SECONDS * 4) -> Any:
    """Ask until an expression is true, on whatever page the tab is by then; return its value."""
    for _ in looks(within):
        with contextlib.suppress(DriverError):
            if value := tab.evaluate(expression):
                return value
    raise AssertionError(f"not within {within:.0f} s: {expression}")


def as_json(expression: str) -> str:
    """Return an expression for a promise of the value as text: each protocol carries text."""
    return f"Promise.resolve({expression}).then((it) => JSON.stringify(it ?? null))"


@dataclass(frozen=True)
class Chromium:
    """The Chromium that the other tests of this folder drive, over its DevTools protocol."""

    browser: Browser

    @contextlib.contextmanager
    def visitor(self) -> Iterator[Tab]:
        with closing(self.browser.new_context()) as context:
            yield ChromiumTab(context.new_page())


@dataclass(frozen=True)
class ChromiumTab:
    page: Page

    def goto(self, url: str) -> None:
        self.page.goto(url)

    def evaluate(self, expression: str) -> Any:
        try:
            return json.loads(self.page.evaluate(as_json(expression)))
        except Error as exc:
            raise DriverError(str(exc)) from exc


@contextlib.contextmanager
def process(command: list[str], environ: Mapping[str, str], *fds: int) -> Iterator[None]:
    """Run a program until the block is left, its children with it; nobody reads what it prints."""
    with subprocess.Popen(
        command,
        env={**os.environ, **environ},
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as started:
        try:
            yield
        finally:
            started.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
