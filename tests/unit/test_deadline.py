"""The watchdog: one thread ends the exchanges that are over, and no others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from cometly_forwarder.deliver.deadline import Deadline, Watchdog, bounded_to

pytestmark = pytest.mark.usefixtures("socket_enabled")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(30)
        yield ours, theirs


def until(seconds: float, sock: socket.socket | None = None) -> Deadline:
    deadline = Deadline(seconds)
    deadline.watch(sock)
    return deadline


def test_an_exchange_that_is_over_has_its_socket_shut_down(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends

    Watchdog().watch(until(0.01, ours))

    assert theirs.recv(1) == b""


def test_an_exchange_that_ends_before_those_already_watched_ends_in_time(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    watchdog = Watchdog()

    watchdog.watch(until(3600))
    watchdog.watch(until(0.01, ours))

    assert theirs.recv(1) == b""


def test_an_exchange_that_is_done_leaves_its_connection_to_the_next(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    done, marker = ends
    other, others_end = socket.socketpair()
    with other, others_end:
        others_end.settimeout(30)
        watchdog = Watchdog()
        first, second = until(0.01, done), until(0.02, other)
        with watchdog._changed:  # the thread must not be quicker than this test
            watchdog.watch(first)
            watchdog.forget(first)
        watchdog.watch(second)
        assert others_end.recv(1) == b""  # the first one's end has passed by now

    done.sendall(b"1")

    assert marker.recv(1) == b"1"


def test_a_thread_that_could_not_be_started_is_started_by_the_next_exchange(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ends
    watchdog = Watchdog()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _fail_to_start)
        with pytest.raises(RuntimeError):
            watchdog.watch(until(3600))

    watchdog.watch(until(0.01, ours))

    assert theirs.recv(1) == b""


def _fail_to_start(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced_by_the_next_exchange(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    watchdog = Watchdog()
    watchdog.watch(Deadly(0))
    dead = watchdog._thread
    assert dead
    dead.join(30)

    watchdog.watch(until(0.01, ours))

    assert theirs.recv(1) == b""


class Deadly(Deadline):
    def end(self) -> None:
        raise ValueError


def test_a_thread_that_sleeps_too_long_is_woken_by_the_next_exchange(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """As Python 3.11 of Lambda does, which waits by a clock that can be put back."""
    ours, theirs = ends
    watchdog = Watchdog()
    asleep = threading.Event()
    wait = watchdog._changed.wait

    def oversleep(timeout: float | None = None) -> bool:  # noqa: ARG001
        asleep.set()
        return wait(3600)

    watchdog._changed.wait = oversleep  # type: ignore[method-assign]
    early = until(0.01)
    watchdog.watch(early)
    assert asleep.wait(30)
    while not early.is_over:
        time.sleep(max(early.left, 0))
    watchdog._changed.wait = wait  # type: ignore[method-assign]

    watchdog.watch(until(0.05, ours))

    assert theirs.recv(1) == b""


def test_exchanges_one_after_the_other_share_a_thread() -> None:
    with bounded_to(14):
        before = threading.active_count()

    for _ in range(20):
        with contextlib.suppress(ConnectionError), bounded_to(14) as deadline:
            assert threading.active_count() <= before
            raise ConnectionError

    assert not deadline.is_over
