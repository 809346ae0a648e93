"""Kept connections that died, against real sockets; and the bound on a post, whatever it meets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cometly_forwarder.deliver import cometly
from cometly_forwarder.deliver.connections import IDLE_SECONDS, WARY_SECONDS
from cometly_forwarder.deliver.verdict import CometlyResponse, NoResponse
from tests.unit.fakes import Clock
from tests.unit.loopback import client, hang_up, reset, response, serving

pytestmark = pytest.mark.usefixtures("socket_enabled")

Respond = Callable[[socket.socket, bytes], None]
Break = Callable[[socket.socket], None]
LOST = NoResponse("connection lost")
BREAKS = pytest.mark.parametrize("break_", [reset, hang_up], ids=["reset", "end of file"])


def breaking(break_: Break, *broken: int) -> Respond:
    """Answer requests, but break the connection of those that come with these numbers."""
    number = 0

    def respond(connection: socket.socket, _: bytes) -> None:
        nonlocal number
        number += 1
        if number in broken:
            break_(connection)
        else:
            connection.sendall(response())

    return respond


def status_of(answer: CometlyResponse | NoResponse) -> int | str:
    return answer.status if isinstance(answer, CometlyResponse) else answer.reason


# --- Idle for too long ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("idle", "connections"),
    [(IDLE_SECONDS - 0.1, 1), (IDLE_SECONDS, 2)],
    ids=["short", "long"],
)
def test_a_connection_is_used_again_unless_it_was_idle_for_long(
    idle: float, connections: int
) -> None:
    clock = Clock()
    with serving(lambda sock, _: sock.sendall(response())) as server:
        cometly_client = client(server.url, now=clock.now)
        cometly_client.post({})
        clock.time += idle
        cometly_client.post({})

    assert server.connections == connections
    assert len(server.requests) == 2


def test_an_idle_time_begins_anew_with_each_answer() -> None:
    clock = Clock()
    with serving(lambda sock, _: sock.sendall(response())) as server:
        cometly_client = client(server.url, now=clock.now)
        for _ in range(5):
            cometly_client.post({})
            clock.time += IDLE_SECONDS / 2

    assert server.connections == 1


# --- Dead after all ---------------------------------------------------------------------------


@BREAKS
def test_a_reused_connection_that_breaks_unanswered_has_the_event_posted_once_more(
    break_: Break,
) -> None:
    with serving(breaking(break_, 2)) as server:
        cometly_client = client(server.url)
        answers = [cometly_client.post({"amount": number}) for number in range(2)]

    assert list(map(status_of, answers)) == [202, 202]
    assert [request.rpartition(b"\r\n")[2] for request in server.requests] == [
        b'{"amount":0}',
        b'{"amount":1}',
        b'{"amount":1}',
    ]
    assert server.connections == 2


@BREAKS
def test_a_fresh_connection_that_breaks_is_a_failure(break_: Break) -> None:
    with serving(breaking(break_, 1)) as server:
        answer = client(server.url).post({})

    assert answer == LOST
    assert len(server.requests) == 1


@BREAKS
def test_an_event_is_posted_twice_at_the_most(break_: Break) -> None:
    with serving(breaking(break_, 2, 3)) as server:
        cometly_client = client(server.url)
        cometly_client.post({})
        answer = cometly_client.post({})

    assert answer == LOST
    assert len(server.requests) == 3


@BREAKS
@pytest.mark.parametrize(
    "part",
    [b"H", b"HTTP/1.1 202 Accepted\r\nX: ", b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n{"],
    ids=["first byte", "head", "body"],
)
def test_an_answer_that_breaks_off_is_not_asked_for_again(part: bytes, break_: Break) -> None:
    def respond(connection: socket.socket, _: bytes) -> None:
        if len(server.requests) < 2:
            connection.sendall(response())
            return
        connection.sendall(part)
        time.sleep(0.1)  # else a reset overtakes it
        break_(connection)

    with serving(respond) as server:
        cometly_client = client(server.url)
        cometly_client.post({})
        cometly_client.post({})

    assert len(server.requests) == 2


@pytest.mark.parametrize("limit", ["READ_SECONDS", "ANSWER_SECONDS"])
def test_a_reused_connection_that_does_not_answer_is_not_asked_again(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cometly, limit, 1.0)  # the first answer comes within it
    release = threading.Event()

    def respond(connection: socket.socket, _: bytes) -> None:
        if len(server.requests) == 1:
            connection.sendall(response())
        else:
            release.wait(5)

    with serving(respond) as server:
        cometly_client = client(server.url)
        cometly_client.post({})
        answer = cometly_client.post({})
        release.set()

    assert answer == NoResponse("no answer in time")
    assert len(server.requests) == 2


def test_where_each_reused_connection_breaks_the_pace_is_not_doubled() -> None:
    clock = Clock()
    seen: set[socket.socket] = set()

    def respond(connection: socket.socket, _: bytes) -> None:
        if connection in seen:
            reset(connection)
        else:
            seen.add(connection)
            connection.sendall(response())

    with serving(respond) as server:
        cometly_client = client(server.url, now=clock.now)
        answers = [cometly_client.post({}) for _ in range(20)]
        in_the_first_minute = len(server.requests)
        clock.time += WARY_SECONDS
        answers += [cometly_client.post({}) for _ in range(20)]

    assert list(map(status_of, answers)) == [202] * 40
    assert in_the_first_minute == 20 + 1
    # The one kept from the minute before was idle for too long.
    assert len(server.requests) == in_the_first_minute + 20 + 1


@pytest.mark.parametrize("status", ["102 Processing", "103 Early Hints", "199 Odd"])
def test_an_answer_that_comes_after_an_interim_one_does_not_pass_for_that_of_the_next_event(
    status: str,
) -> None:
    """An event whose refusal was taken for the acceptance of another would be lost."""

    def respond(connection: socket.socket, request: bytes) -> None:
        if b"first" in request:
            connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
            is_posted.wait(0.3)
            connection.sendall(response())
        else:
            is_posted.set()
            connection.sendall(response("422 Unprocessable", b'{"message":"no"}'))

    is_posted = threading.Event()
    with serving(respond) as server:
        cometly_client = client(server.url)
        answers = [cometly_client.post({"url": name}) for name in ("first", "second")]

    assert list(map(status_of, answers)) == [int(status[:3]), 422]


# --- Over TLS ---------------------------------------------------------------------------------


@BREAKS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_over_tls_a_dead_connection_is_replaced_just_so(
    version: ssl.TLSVersion, break_: Break, tls: ssl.SSLContext
) -> None:
    tls.minimum_version = tls.maximum_version = version
    with serving(breaking(break_, 2), tls) as server:
        cometly_client = client(server.url)
        answers = [cometly_client.post({}) for _ in range(2)]

    assert list(map(status_of, answers)) == [202, 202]
    assert len(server.requests) == 3


def test_a_certificate_that_nobody_signed_is_no_answer(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with serving(breaking(reset), tls) as server:
        answer = client(server.url).post({})

    assert answer == NoResponse("TLS failed")
    assert server.requests == []


def test_a_certificate_of_another_name_is_no_answer(tls: ssl.SSLContext) -> None:
    with serving(breaking(reset), tls) as server:
        answer = client(server.url.replace("127.0.0.1", "localhost")).post({})

    assert answer == NoResponse("TLS failed")
    assert server.requests == []


def test_over_tls_a_large_event_on_a_connection_that_was_closed_is_posted_once_more(
    tls: ssl.SSLContext,
) -> None:
    """It breaks while it is sent: the server does not read it."""
    has_answered = threading.Event()

    def respond(connection: socket.socket, _: bytes) -> None:
        connection.sendall(response())
        if not has_answered.is_set():
            has_answered.set()
            time.sleep(0.3)
            reset(connection)

    with serving(respond, tls) as server:
        cometly_client = client(server.url)
        cometly_client.post({})
        answer = cometly_client.post({"url": "x" * 700_000})

    assert status_of(answer) == 202


# --- The bound on a post ----------------------------------------------------------------------


@pytest.fixture
def mute() -> Iterator[tuple[str, int]]:
    """Give an address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.fixture
def dead() -> Iterator[tuple[str, int]]:
    """Give an address that does not answer: the queue of who wants to connect is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting: list[socket.socket] = []
        try:
            while not waiting or waiting[-1].connect_ex(listener.getsockname()) == 0:
                waiting.append(socket.socket())
                waiting[-1].settimeout(0.1)
            yield listener.getsockname()
        finally:
            for sock in waiting:
                sock.close()


def resolving_to(
    monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]
) -> list[tuple[str, int]]:
    """Have each name stand for these addresses; returns those that were looked at, as they are."""
    tried: list[tuple[str, int]] = []

    def resolve(*_: object, **__: object) -> Iterator[tuple[object, ...]]:
        for address in addresses:
            tried.append(address)
            yield socket.AF_INET, socket.SOCK_STREAM, 0, "", address

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return tried


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    dead: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cometly, "CONNECT_SECONDS", 0.2)
    with serving(lambda sock, _: sock.sendall(response())) as server:
        resolving_to(monkeypatch, dead, dead, address_of(server.url))
        answer = client("http://cometly.example.com").post({})

    assert status_of(answer) == 202


def test_many_addresses_that_do_not_answer_are_within_the_bound_of_a_post(
    dead: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cometly, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(cometly, "ANSWER_SECONDS", 0.5)
    with serving(lambda sock, _: sock.sendall(response())) as server:
        tried = resolving_to(monkeypatch, *[dead] * 9, address_of(server.url))
        answer = client("http://cometly.example.com").post({})

    assert answer == NoResponse("no answer in time")
    assert len(tried) <= 4
    # Nothing is sent late.
    assert server.connections == 0


def test_addresses_that_do_not_answer_are_no_answer(
    dead: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cometly, "CONNECT_SECONDS", 0.2)
    resolving_to(monkeypatch, dead, dead)

    assert client("http://cometly.example.com").post({}) == NoResponse("connect timeout")


def test_a_name_without_an_address_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch)

    assert client("http://cometly.example.com").post({}) == NoResponse("connection refused")


@pytest.mark.parametrize("host", ["cometly..example.com", "x" * 64 + ".example.com"])
def test_a_name_that_can_be_none_is_not_resolved(host: str) -> None:
    assert client(f"https://{host}").post({}) == NoResponse("name not resolved")


@pytest.mark.parametrize(
    ("scheme", "event"),
    [("https", {}), ("http", {"url": "x" * 9_000_000})],
    ids=["a TLS handshake", "a server that does not read"],
)
def test_what_a_mute_server_holds_up_is_within_the_bound_of_a_post(
    mute: tuple[str, int], monkeypatch: pytest.MonkeyPatch, scheme: str, event: dict[str, str]
) -> None:
    monkeypatch.setattr(cometly, "CONNECT_SECONDS", 60.0)
    monkeypatch.setattr(cometly, "ANSWER_SECONDS", 0.3)
    cometly_client = client(f"{scheme}://127.0.0.1:{mute[1]}")

    with ThreadPoolExecutor() as threads:
        answer = threads.submit(cometly_client.post, event).result(timeout=20)

    assert answer == NoResponse("no answer in time")
