"""The HTTP call to Cometly: one event, one POST, no retry of its own, no redirect followed."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Event, Timer
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from cometly_forwarder import jsontext
from cometly_forwarder.secrets import CometlyToken
from cometly_forwarder.verdict import Answer, NoAnswer

PATH = "/public-api/v1/events/track"
CONNECT_SECONDS = 3.0
# Between the request's end and the answer's: urllib3's own time-out starts anew with each byte.
READ_SECONDS = 10.0
# Cometly's answers are a line of JSON; what is longer is not read to its end.
MAX_ANSWER_BYTES = 64 * 1024
_UNAUTHORIZED = 401

# The first that fits names the reason.
_REASONS: tuple[tuple[type[HTTPError], str], ...] = (
    (NameResolutionError, "name not resolved"),
    (NewConnectionError, "connection refused"),
    (ConnectTimeoutError, "connect timeout"),
    (ReadTimeoutError, "no answer in time"),
    (SSLError, "TLS failed"),
    (ProtocolError, "connection lost"),
)


def make_pool(connections: int) -> urllib3.PoolManager:
    """Make the keep-alive pool that all posts of a worker share."""
    pool = urllib3.PoolManager(
        maxsize=connections,
        block=True,
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
    )
    pool.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTlsPool}
    return pool


class _Watched(HTTPConnection):
    """Cuts a connection whose answer's head comes drop by drop."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does
        # A second after urllib3's own time-out, which tells a silent server from a slow one.
        with _cut_after(READ_SECONDS + 1, self.sock):
            return super().getresponse()


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


@contextlib.contextmanager
def _cut_after(seconds: float, sock: socket.socket | None) -> Iterator[None]:
    """Shut a socket down if the block takes longer; what was read of it then counts for nothing."""
    is_cut = Event()

    def cut() -> None:
        is_cut.set()
        with contextlib.suppress(OSError):
            if sock:
                sock.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if is_cut.is_set():
        raise TimeoutError


@dataclass(frozen=True, slots=True)
class CometlyClient:
    """Posts events to `base_url`, such as https://app.cometly.com."""

    pool: urllib3.PoolManager
    base_url: str
    token: CometlyToken

    def post(self, event: Mapping[str, Any]) -> Answer | NoAnswer:
        """Post one event. After a 401 the token is read again, and tried if it is another one."""
        token = self.token.current()
        answer = self._post(event, token)
        if isinstance(answer, Answer) and answer.status == _UNAUTHORIZED:
            renewed = self.token.renewed(token)
            return self._post(event, renewed) if renewed else answer
        return answer

    def _post(self, event: Mapping[str, Any], token: str) -> Answer | NoAnswer:
        try:
            response = self.pool.request(
                "POST",
                self.base_url + PATH,
                body=jsontext.dump(event).encode(),
                headers=_headers(token),
                redirect=False,
                preload_content=False,
            )
            return _answer_of(response)
        except HTTPError as exc:
            return NoAnswer(_reason_of(exc))


def _headers(token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }


def _answer_of(response: urllib3.BaseHTTPResponse) -> Answer | NoAnswer:
    """Read the answer within its time and size; an unfinished one is no answer."""
    body, end = bytearray(), time.monotonic() + READ_SECONDS
    while piece := response.read1(MAX_ANSWER_BYTES):
        body += piece
        if time.monotonic() > end or len(body) > MAX_ANSWER_BYTES:
            response.close()
            return NoAnswer("the answer does not end")
    response.release_conn()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, bytes(body))


def _reason_of(exc: HTTPError) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(exc, kind)), type(exc).__name__)
