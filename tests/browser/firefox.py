"""Firefox, over the WebDriver BiDi that it has built in: JSON over one WebSocket."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Ping, TextMessage
from wsproto.events import Request as Handshake

from tests.browser.drivers import (
    LOOPBACK,
    PATIENCE_SECONDS,
    DriverError,
    Tab,
    as_json,
    process,
)


@dataclass
class Wire:
    """A WebSocket that carries commands and what becomes of them."""

    peer: socket.socket
    protocol: WSConnection = field(default_factory=lambda: WSConnection(ConnectionType.CLIENT))
    commands: int = 0

    @classmethod
    @contextlib.contextmanager
    def to(cls, port: int) -> Iterator[Wire]:
        with closing(socket.create_connection((LOOPBACK, port), PATIENCE_SECONDS)) as peer:
            wire = cls(peer)
            peer.sendall(wire.protocol.send(Handshake(f"{LOOPBACK}:{port}", "/session")))
            while not any(isinstance(it, AcceptConnection) for it in wire._events()):
                pass
            yield wire

    def command(self, method: str, **params: Any) -> Any:
        """Send a command; return its result. Events that come in between are nobody's."""
        self.commands += 1
        command = {"id": self.commands, "method": method, "params": params}
        self.peer.sendall(self.protocol.send(TextMessage(json.dumps(command))))
        while (answer := json.loads(self._text())).get("id") != self.commands:
            pass
        if answer["type"] == "error":
            raise DriverError(f"{method}: {answer['error']}: {answer['message']}")
        return answer["result"]

    def _text(self) -> str:
        text = ""
        while True:
            for event in self._events():
                if isinstance(event, TextMessage):
                    text += event.data
                    if event.message_finished:
                        return text

    def _events(self) -> list[object]:
        data = self.peer.recv(65536)
        self.protocol.receive_data(data or None)
        events: list[object] = list(self.protocol.events())
        for event in events:
            if isinstance(event, Ping):
                self.peer.sendall(self.protocol.send(event.response()))
        if not data:
            raise DriverError("The browser hung up.")
        return events


@dataclass(frozen=True)
class Firefox:
    """A headless Firefox with a profile of its own."""

    wire: Wire

    @classmethod
    @contextlib.contextmanager
    def running(cls, program: str) -> Iterator[Firefox]:
        with ExitStack() as cleanup:
            home = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
            command = [program, "--headless", "--no-remote", "--remote-debugging-port=0"]
            command += ["--profile", str(home)]
            cleanup.enter_context(process(command, {"HOME": str(home)}))
            told = home / "WebDriverBiDiServer.json"
            wire = cleanup.enter_context(Wire.to(_once_written(told)["ws_port"]))
            wire.command("session.new", capabilities={})
            yield cls(wire)

    @contextlib.contextmanager
    def visitor(self) -> Iterator[Tab]:
        user = self.wire.command("browser.createUserContext")["userContext"]
        try:
            made = self.wire.command("browsingContext.create", type="tab", userContext=user)
            yield FirefoxTab(self.wire, made["context"])
        finally:
            self.wire.command("browser.removeUserContext", userContext=user)


@dataclass(frozen=True)
class FirefoxTab:
    wire: Wire
    context: str

    def goto(self, url: str) -> None:
        self.wire.command(
            "browsingContext.navigate", context=self.context, url=url, wait="complete"
        )

    def evaluate(self, expression: str) -> Any:
        answer = self.wire.command(
            "script.evaluate",
            expression=as_json(expression),
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise DriverError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])


def _once_written(path: Path) -> Mapping[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            found: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            return found
        time.sleep(0.05)
    raise DriverError(f"{path.name} was not written.")
