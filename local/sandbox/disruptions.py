"""Answers that go wrong on the socket itself."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

# ASGI scope["extensions"] key: {"transport": asyncio.Transport}, put there by the server.
TRANSPORT_EXTENSION = "sandbox.transport"

_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class Cut(Response):
    """No answer: the connection ends, with a FIN or (`reset`) with a RST."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """End the connection and see it gone."""
        cut(scope, reset=self._reset)
        await hung_up(receive, seconds=1)


class Silence(Response):
    """No answer for a while, then the connection ends."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait until either side has had enough."""
        await hung_up(receive, self._seconds)
        await Cut(reset=False)(scope, receive, send)


class Drip(Response):
    """Another answer: its head at once, then its body a byte at a time."""

    def __init__(self, answer: Response, seconds_per_byte: float) -> None:
        super().__init__()
        self._answer = answer
        self._seconds_per_byte = seconds_per_byte

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until the body is out or the sender is gone."""
        head = {"status": self._answer.status_code, "headers": self._answer.raw_headers}
        await send({"type": "http.response.start", **head})
        body = bytes(self._answer.body)
        for index in range(len(body)):
            if await hung_up(receive, self._seconds_per_byte):
                return
            more = index + 1 < len(body)
            piece = body[index : index + 1]
            await send({"type": "http.response.body", "body": piece, "more_body": more})


def proxy_page() -> Response:
    """Return what a proxy or a login wall says in Cometly's place: 200, and no JSON."""
    page = "<!doctype html><title>Back soon</title><p>We are doing maintenance."
    return HTMLResponse(page)


def cut(scope: Scope, *, reset: bool) -> None:
    """End a request's connection without another byte."""
    transport: asyncio.Transport = scope["extensions"][TRANSPORT_EXTENSION]["transport"]
    if reset:
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


async def hung_up(receive: Receive, seconds: float) -> bool:
    """Wait that long; return at once, and True, when the sender is gone."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
