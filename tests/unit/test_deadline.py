"""The watchdog: one thread ends the exchanges that are over, and no others."""

from __future__ import annotations

import contextlib
import socket
import threading
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


def test_exchanges_one_after_the_other_share_a_thread() -> None:
    with bounded_to(14):
        before = threading.active_count()

    for _ in range(20):
        with contextlib.suppress(ConnectionError), bounded_to(14) as deadline:
            assert threading.active_count() <= before
            raise ConnectionError

    assert not deadline.is_over
