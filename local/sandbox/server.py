"""The sandbox on a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from local import LOOPBACK
from local.sandbox.app import build_app
from local.sandbox.disruptions import TRANSPORT_EXTENSION
from local.sandbox.forwarder import Forwarder
from local.sandbox.sandbox import Sandbox
from local.sandbox.settings import Settings
from local.sandbox.track import TRACK_PATH

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_GRACE_S = 1


class CuttableProtocol(HttpToolsProtocol):
    """HTTP/1.1 that lets a request reach its own connection, to end it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send without waiting for the sender's delayed ACK.

        asyncio sees to that itself, but not where the listener came from `create_server`,
        whose sockets name no protocol: each answer then takes 40 ms.
        """
        super().connection_made(transport)
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_message_begin(self) -> None:
        """Add the transport to the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT_EXTENSION: {"transport": self.transport}}


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that listens, and where."""

    sandbox: Sandbox
    url: str

    @property
    def track_url(self) -> str:
        """Where events are posted."""
        return self.url + TRACK_PATH


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one.

    The address can be taken again at once after a stop (SO_REUSEADDR).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def url_of(listener: socket.socket) -> str:
    """Return the URL that a listening socket answers at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(sandbox: Sandbox, forwarder: Forwarder | None = None) -> uvicorn.Server:
    """Return a silent server; what still hangs a second after its stop is dropped."""
    config = uvicorn.Config(
        build_app(sandbox, forwarder),
        http=CuttableProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return uvicorn.Server(config)


@contextmanager
def running(
    settings: Settings | None = None, *, port: int = 0, forwarder: Forwarder | None = None
) -> Iterator[RunningSandbox]:
    """Run a sandbox on loopback in a thread of this process."""
    sandbox = Sandbox(settings)
    listener = listen(LOOPBACK, port)
    server = make_server(sandbox, forwarder)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    address = url_of(listener)
    thread.start()
    try:
        yield RunningSandbox(sandbox, address)
    finally:
        server.should_exit = True
        thread.join()
