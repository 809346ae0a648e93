"""A bound on a whole HTTP exchange.

urllib3's time-outs hold for a part: connecting for each address of a host, reading for each byte.
An answer that drips, or a host with many dead addresses, would outlive them. Here what an exchange
has left bounds its connecting, and a timer shuts down the socket on which it waits for the answer.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

_thread = threading.local()


class Deadline:
    """How much time an exchange has left; when it is over, its socket is shut down."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._sock: socket.socket | None = None

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    @property
    def is_over(self) -> bool:
        return self.left <= 0

    def watch(self, sock: socket.socket | None) -> None:
        self._sock = sock
        if self.is_over:
            self.end()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            if self._sock:
                self._sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def bounded_to(seconds: float) -> Iterator[Deadline]:
    """Bound this thread's exchanges over `BoundedConnection` to so many seconds in all."""
    deadline = _thread.deadline = Deadline(seconds)
    timer = threading.Timer(seconds, deadline.end)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        _thread.deadline = None


class BoundedConnection(HTTPConnection):
    """A connection whose every wait ends with the exchange."""

    def connect(self) -> None:
        super().connect()
        # Too late to wait for the answer: better nothing is sent at all.
        self.sock.settimeout(self._patience())

    def _new_conn(self) -> socket.socket:
        try:
            return self._reach()
        except (socket.gaierror, UnicodeError) as exc:
            raise NameResolutionError(self.host, self, socket.gaierror(str(exc))) from exc
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, f"{self.host} does not answer") from exc
        except OSError as exc:
            raise NewConnectionError(self, f"{self.host} cannot be reached: {exc}") from exc

    def _reach(self) -> socket.socket:
        """Connect to the first of the host's addresses that answers."""
        failure = OSError("the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._dns_host, self.port, allowed_gai_family(), socket.SOCK_STREAM
        ):
            patience = self._patience()
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(patience)
                sock.connect(address)
                sock.settimeout(self._patience())  # of the TLS handshake as a whole
            except OSError as exc:
                sock.close()
                failure = exc
            else:
                return sock
        raise failure

    def _patience(self) -> float:
        """Seconds to wait for the other side: the time-out, or what the exchange has left."""
        deadline: Deadline | None = getattr(_thread, "deadline", None)
        seconds = min(self.timeout or math.inf, deadline.left if deadline else math.inf)
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does
        if deadline := getattr(_thread, "deadline", None):
            deadline.watch(self.sock)
        return super().getresponse()
