"""Kept connections that may have died meanwhile (decision 16).

A function is frozen between two invocations and does not see its connections being closed. So one
that was idle for longer than servers keep them is not used again; and a reused one that breaks
before the first byte of an answer is told apart from others, so that the request can be repeated.
"""

from __future__ import annotations

import http.client
import math
import ssl
from collections.abc import Callable

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProtocolError
from urllib3.util.ssl_ import create_urllib3_context

from cometly_forwarder.deliver.deadline import BoundedConnection
from cometly_forwarder.stopwatch import Stopwatch

# Below the shortest keep-alive that is common: 5 s, of Apache httpd and Node.js. Others keep a
# connection for 60 s (AWS's load balancers), 75 s (nginx), 400 s (Cloudflare).
IDLE_SECONDS = 4.0
# For so long after a reused connection broke, none is reused. A server that breaks each of them
# would get every event twice; like this, at the most one a thread and minute.
WARY_SECONDS = 60.0


class Stale(ProtocolError):
    """A reused connection broke before the first byte of an answer."""


def make_pool(
    connections: int, *, connect: float, read: float, now: Callable[[], float] | None = None
) -> urllib3.PoolManager:
    """Make a keep-alive pool without retries, whose exchanges `bounded_to` can end.

    The time-outs are in seconds: `connect` for each address of a host, `read` for each byte of an
    answer. Requests raise Stale beside urllib3's errors; the next one goes over a new connection.
    """
    pool = urllib3.PoolManager(
        maxsize=connections,
        block=True,
        retries=False,
        timeout=urllib3.Timeout(connect=connect, read=read),
        ssl_context=_trusting_the_usual(),
    )
    upkeep = Upkeep(now or Stopwatch())
    pool.pool_classes_by_scheme = {
        "http": _pool_class(HTTPConnectionPool, _Connection, upkeep),
        "https": _pool_class(HTTPSConnectionPool, _TlsConnection, upkeep),
    }
    return pool


def _trusting_the_usual() -> ssl.SSLContext:
    """Make what urllib3 makes for each connection, where it takes 17 ms of a whole processor."""
    context = create_urllib3_context()
    context.load_default_certs()
    return context


def _pool_class(pool: type, connection: type, upkeep: Upkeep) -> type:
    """Derive a pool whose connections share `upkeep`."""
    own = type(connection.__name__, (connection,), {"upkeep": upkeep})
    return type(pool.__name__, (pool,), {"ConnectionCls": own})


class Upkeep:
    """What the connections of a pool know of each other. `now` is in seconds of any epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._broke_at = -math.inf

    def may_reuse(self, used_at: float) -> bool:
        now = self.now()
        return now - used_at < IDLE_SECONDS and now - self._broke_at >= WARY_SECONDS

    def broke(self) -> None:
        self._broke_at = self.now()


class _Unanswered(ConnectionError):
    """A connection broke before the first byte of an answer."""


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        """Tell an answer that does not begin from one that breaks off."""
        try:
            first = self.fp.peek(1)
        except ConnectionError as exc:
            raise _Unanswered(*exc.args) from exc
        if not first:
            raise _Unanswered("closed without an answer")
        super().begin()
        # The final answer is still to come, and would pass for that of the next request.
        self.will_close |= self.status < 200  # noqa: PLR2004 - HTTP's own border


class _Connection(BoundedConnection):
    upkeep: Upkeep
    response_class = _Response
    is_reused = False
    used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether it may be used again; urllib3 asks before it does, and closes it if not."""
        return super().is_connected and self.upkeep.may_reuse(self.used_at)

    def connect(self) -> None:
        self.is_reused = False
        super().connect()

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does
        try:
            response = super().getresponse()
        except _Unanswered as exc:
            if not self.is_reused:
                raise
            self.upkeep.broke()
            raise Stale("a reused connection was dead", exc) from exc
        self.is_reused, self.used_at = True, self.upkeep.now()
        return response


class _TlsConnection(_Connection, HTTPSConnection):
    pass
