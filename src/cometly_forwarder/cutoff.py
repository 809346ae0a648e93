"""A bound on a whole HTTP exchange.

urllib3's read time-out starts anew with each byte, so an answer that drips would outlive it. Here a
timer shuts down the socket that the thread's exchange waits on; the read then ends at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_thread = threading.local()


class Cutoff:
    """Whether the time of an exchange is over; if so, its socket is shut down."""

    def __init__(self) -> None:
        self.is_over = False
        self._sock: socket.socket | None = None

    def watch(self, sock: socket.socket | None) -> None:
        self._sock = sock
        if self.is_over:
            self.end()

    def end(self) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            if self._sock:
                self._sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cut_off_after(seconds: float) -> Iterator[Cutoff]:
    """Bound this thread's exchanges on a pool of `make_pool` to so many seconds in all."""
    cutoff = _thread.cutoff = Cutoff()
    timer = threading.Timer(seconds, cutoff.end)
    timer.daemon = True
    timer.start()
    try:
        yield cutoff
    finally:
        timer.cancel()
        _thread.cutoff = None


def make_pool(connections: int, *, connect: float, read: float) -> urllib3.PoolManager:
    """Make a keep-alive pool without retries, whose exchanges `cut_off_after` can end.

    The time-outs are in seconds.
    """
    pool = urllib3.PoolManager(
        maxsize=connections,
        block=True,
        retries=False,
        timeout=urllib3.Timeout(connect=connect, read=read),
    )
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool


class _Watched(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        # Too late to wait for the answer: better nothing is sent at all.
        if (cutoff := getattr(_thread, "cutoff", None)) and cutoff.is_over:
            raise TimeoutError

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does
        if cutoff := getattr(_thread, "cutoff", None):
            cutoff.watch(self.sock)
        return super().getresponse()


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls
