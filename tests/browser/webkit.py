"""WebKit, over classic WebDriver: HTTP to WebKitWebDriver, which starts a MiniBrowser a session."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
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


@dataclass(frozen=True)
class WebKit:
    """WebKitGTK's small browser, on a display that nobody sees: it has no headless mode."""

    url: str
    pool: urllib3.PoolManager

    @classmethod
    @contextlib.contextmanager
    def running(cls, program: str) -> Iterator[WebKit]:
        with ExitStack() as cleanup:
            home = cleanup.enter_context(tempfile.TemporaryDirectory())
            display = cleanup.enter_context(_display())
            port = _free_port()
            place = {"HOME": home, "DISPLAY": display}
            cleanup.enter_context(process([program, f"--port={port}"], place))
            retries = urllib3.Retry(connect=100, backoff_factor=0.01, backoff_max=0.1)
            pool = urllib3.PoolManager(timeout=PATIENCE_SECONDS * 2, retries=retries)
            yield cls(f"http://{LOOPBACK}:{port}", cleanup.enter_context(pool))

    @contextlib.contextmanager
    def visitor(self) -> Iterator[Tab]:
        made = self.command("POST", "/session", {"capabilities": {}})
        session = f"/session/{made['sessionId']}"
        try:
            yield WebKitTab(self, session)
        finally:
            self.command("DELETE", session)

    def command(self, method: str, path: str, body: object = None) -> Any:
        value = self.pool.request(method, self.url + path, json=body).json()["value"]
        if isinstance(value, dict) and "error" in value:
            raise DriverError(f"{path}: {value['error']}: {value['message']}")
        return value


@dataclass(frozen=True)
class WebKitTab:
    browser: WebKit
    session: str

    def goto(self, url: str) -> None:
        self.browser.command("POST", f"{self.session}/url", {"url": url})

    def evaluate(self, expression: str) -> Any:
        script = f"""const [done] = arguments;
          const value = async () => {as_json(expression)};
          value().then(done, (error) => done({{ thrown: `${{error}}` }}));"""
        path = f"{self.session}/execute/async"
        value = self.browser.command("POST", path, {"script": script, "args": []})
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
