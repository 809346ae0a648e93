"""WebKit, over classic WebDriver: HTTP to WebKitWebDriver, which starts a MiniBrowser a session.

Now and then the two miss each other while the browser starts, and the driver waits for it for ever.
A visitor therefore has a driver of their own, which is replaced if it has no session in time. What
comes after that, a test's own steps, is tried once.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import urllib3

from tests.browser.drivers import (
    LOOPBACK,
    PATIENCE_SECONDS,
    DriverError,
    Tab,
    as_json,
    process,
)

SESSION_TRIES = 3
SESSION_SECONDS = 20.0


@dataclass(frozen=True)
class WebKit:
    """WebKitGTK's small browser, on a display that nobody sees: it has no headless mode."""

    program: str
    place: Mapping[str, str]

    @classmethod
    @contextlib.contextmanager
    def running(cls, program: str) -> Iterator[WebKit]:
        with tempfile.TemporaryDirectory() as home, _display() as display:
            yield cls(program, {"HOME": home, "DISPLAY": display})

    @contextlib.contextmanager
    def visitor(self) -> Iterator[Tab]:
        with ExitStack() as cleanup:
            for left in reversed(range(SESSION_TRIES)):
                attempt = cleanup.enter_context(ExitStack())
                driver = attempt.enter_context(WebKitDriver.running(self.program, self.place))
                try:
                    session = attempt.enter_context(driver.session())
                except urllib3.exceptions.TimeoutError:
                    attempt.close()
                    if not left:
                        raise
                else:
                    break
            yield WebKitTab(driver, session)


@dataclass(frozen=True)
class WebKitDriver:
    """A WebKitWebDriver that runs."""

    url: str
    pool: urllib3.PoolManager

    @classmethod
    @contextlib.contextmanager
    def running(cls, program: str, place: Mapping[str, str]) -> Iterator[WebKitDriver]:
        port = _free_port()
        retries = urllib3.Retry(connect=100, read=False, backoff_factor=0.01, backoff_max=0.1)
        pool = urllib3.PoolManager(timeout=PATIENCE_SECONDS * 2, retries=retries)
        with process([program, f"--port={port}"], place), pool:
            yield cls(f"http://{LOOPBACK}:{port}", pool)

    @contextlib.contextmanager
    def session(self) -> Iterator[str]:
        """Have the driver start a browser; yield the session's path."""
        wanted: dict[str, object] = {"capabilities": {}}
        made = self.command("POST", "/session", wanted, within=SESSION_SECONDS)
        path = f"/session/{made['sessionId']}"
        try:
            yield path
        finally:
            self.command("DELETE", path)

    def command(
        self, method: str, path: str, body: object = None, *, within: float = PATIENCE_SECONDS * 2
    ) -> Any:
        answer = self.pool.request(method, self.url + path, json=body, timeout=within)
        value = answer.json()["value"]
        if isinstance(value, dict) and "error" in value:
            raise DriverError(f"{path}: {value['error']}: {value['message']}")
        return value


@dataclass(frozen=True)
class WebKitTab:
    driver: WebKitDriver
    session: str

    def goto(self, url: str) -> None:
        self.driver.command("POST", f"{self.session}/url", {"url": url})

    def evaluate(self, expression: str) -> Any:
        script = f"""const [done] = arguments;
          const value = async () => {as_json(expression)};
          value().then(done, (error) => done({{ thrown: `${{error}}` }}));"""
        path = f"{self.session}/execute/async"
        value = self.driver.command("POST", path, {"script": script, "args": []})
        if not isinstance(value, str):
            raise DriverError(str(value))
        return json.loads(value)


@contextlib.contextmanager
def _display() -> Iterator[str]:
    """Run an X server without a screen; yield its name."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp"]
    with os.fdopen(reading, encoding="ascii") as told, process(command, {}, writing):
        os.close(writing)
        yield f":{told.readline().strip()}"


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
