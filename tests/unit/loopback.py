"""Servers on bare sockets of this machine, and a client of Cometly's for them."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cometly_forwarder.deliver import cometly
from cometly_forwarder.deliver.cometly import CometlyClient
from cometly_forwarder.deliver.connections import make_pool
from cometly_forwarder.secrets import CometlyToken, Secret

QUEUED = b'{"status":202,"message":"queued"}'


@dataclass
class FakeSecrets:
    """Secrets Manager with one value after the other."""

    values: list[str] = field(repr=False)
    reads: int = 0

    def get_secret_value(self, **_: str) -> dict[str, str]:
        self.reads += 1
        return {"SecretString": self.values[min(self.reads, len(self.values)) - 1]}


@dataclass
class Server:
    """A socket that hands each connection to a function."""

    url: str
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def serving(
    respond: Callable[[socket.socket, bytes], object], tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}")

    def handle(connection: socket.socket) -> None:
        connection.settimeout(5)
        try:
            with tls.wrap_socket(connection, server_side=True) if tls else connection as talk:
                while request := _request_from(talk):
                    server.requests.append(request)
                    respond(talk, request)
        except OSError:
            return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _request_from(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        if not (piece := connection.recv(65536)):
            return b""
        request += piece
    head, _, body = request.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def response(status: str = "202 Accepted", body: bytes = QUEUED, **headers: str) -> bytes:
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def reset(connection: socket.socket) -> None:
    """Break a connection so that the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection: socket.socket) -> None:
    """End a connection so that the other side gets an end of file."""
    connection.shutdown(socket.SHUT_RDWR)


def client(
    url: str, *tokens: str, now: Callable[[], float] | None = None, threads: int = 4
) -> CometlyClient:
    secret = Secret(FakeSecrets(list(tokens or ("t-1",))), "arn", time.time)  # type: ignore[arg-type]
    pool = make_pool(threads, connect=cometly.CONNECT_SECONDS, read=cometly.READ_SECONDS, now=now)
    return CometlyClient(pool, url, CometlyToken(secret))
