"""A bound on a whole HTTP exchange.

urllib3's time-outs hold for a part: connecting for each address of a host, reading for each byte.
An answer that drips, or a host with many dead addresses, would outlive them. Here what an exchange
has left bounds its connecting, and a watchdog shuts down the socket on which it waits for the
answer. One thread watches all exchanges: a timer for each would start a thread a post.
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
        self.ends_at = time.monotonic() + seconds
        self._sock: socket.socket | None = None

    @property
    def left(self) -> float:
        return self.ends_at - time.monotonic()

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


class Watchdog:
    """Ends exchanges that are over. Safe to share between threads.

    Its thread is started by the first exchange, and sleeps until the earliest end that it knows of.
    An exchange that is done leaves that sleep alone, so that most exchanges wake nobody.
    """

    def __init__(self) -> None:
        self._watched: set[Deadline] = set()
        self._changed = threading.Condition()
        self._wakes_in_time_for = math.inf
        self._thread: threading.Thread | None = None

    def watch(self, deadline: Deadline) -> None:
        with self._changed:
            self._watched.add(deadline)
            # It may have failed to start, or have died.
            if not (self._thread and self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            # It sleeps too long where its wait is by a clock that can be put back (Python 3.11).
            if not time.monotonic() < self._wakes_in_time_for <= deadline.ends_at:
                self._changed.notify()

    def forget(self, deadline: Deadline) -> None:
        """Leave an exchange alone from now on: its connection is another one's next."""
        with self._changed:
            self._watched.discard(deadline)

    def _run(self) -> None:
        with self._changed:
            while True:
                for over in [each for each in self._watched if each.is_over]:
                    self._watched.discard(over)
                    over.end()
                self._sleep()

    def _sleep(self) -> None:
        self._wakes_in_time_for = min((each.ends_at for each in self._watched), default=math.inf)
        is_idle = self._wakes_in_time_for == math.inf
        self._changed.wait(None if is_idle else max(self._wakes_in_time_for - time.monotonic(), 0))


_watchdog = Watchdog()


@contextlib.contextmanager
def bounded_to(seconds: float) -> Iterator[Deadline]:
    """Bound this thread's exchanges over `BoundedConnection` to so many seconds in all."""
    deadline = _thread.deadline = Deadline(seconds)
    try:
        _watchdog.watch(deadline)
        yield deadline
    finally:
        _watchdog.forget(deadline)
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
