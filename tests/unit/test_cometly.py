"""The HTTP call, against a real socket that misbehaves."""

from __future__ import annotations

import json
import socket
import time

import pytest

from cometly_forwarder import __version__
from cometly_forwarder.deliver import cometly
from cometly_forwarder.deliver.verdict import CometlyResponse, Kind, NoResponse, judge
from cometly_forwarder.errors import TokenMissing
from tests.unit.loopback import QUEUED, client, response, serving

pytestmark = pytest.mark.usefixtures("socket_enabled")


def test_an_event_is_posted_with_the_headers_that_cometly_requires() -> None:
    with serving(lambda sock, _: sock.sendall(response(Request_Id="r-1"))) as server:
        answer = client(server.url).post({"event_name": "purchase", "amount": 99.99})

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /public-api/v1/events/track HTTP/1.1")
    assert b"Authorization: Bearer t-1" in head
    assert b"Accept: application/json" in head
    assert b"Content-Type: application/json" in head
    assert f"User-Agent: cometly-forwarder/{__version__}".encode() in head.split(b"\r\n")
    assert json.loads(body) == {"event_name": "purchase", "amount": 99.99}
    assert isinstance(answer, CometlyResponse)
    assert (answer.status, answer.body, answer.headers["request-id"]) == (202, QUEUED, "r-1")


@pytest.mark.parametrize(
    ("status", "header"),
    [
        ("301 Moved", {"Location": "/ok"}),
        ("303 See Other", {"Location": "/ok"}),
        ("307 Temporary", {"Location": "/ok"}),
        ("401 Unauthorized", {}),
        ("503 Busy", {"Retry_After": "1"}),
    ],
    ids=["301", "303", "307", "401 with the only token", "503"],
)
def test_an_answer_is_neither_followed_nor_asked_for_again(
    status: str, header: dict[str, str]
) -> None:
    with serving(lambda sock, _: sock.sendall(response(status, b"{}", **header))) as server:
        answer = client(server.url).post({})

    assert isinstance(answer, CometlyResponse)
    assert answer.status == int(status[:3])
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refusal_has_the_token_read_again_and_a_new_one_is_tried(status: str) -> None:
    def respond(sock: socket.socket, request: bytes) -> None:
        is_new = b"Bearer new" in request
        sock.sendall(response() if is_new else response(status, b'{"message":"no"}'))

    with serving(respond) as server:
        cometly_client = client(server.url, "old", "new")
        cometly_client.token.secret._read_at = 0.0
        cometly_client.token.current()
        cometly_client.token.secret._read_at -= 2
        answer = cometly_client.post({})

    assert isinstance(answer, CometlyResponse)
    assert answer.status == 202
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "stored",
    ["", "unset", "  ", "to ken", "to\nken", "to\u200bken", "\u201ctoken\u201d"],
    ids=ascii,
)
def test_without_a_token_nothing_is_posted(stored: str) -> None:
    with serving(lambda sock, _: sock.sendall(response())) as server, pytest.raises(TokenMissing):
        client(server.url, stored or " ").post({})

    assert server.requests == []


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_comes_drop_by_drop_is_cut(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cometly, "ANSWER_SECONDS", 0.5)
    sent = 0

    def drip(sock: socket.socket, _request: bytes) -> None:
        nonlocal sent
        if part == "body":
            sock.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 9999\r\n\r\n")
        else:
            sock.sendall(b"HTTP/1.1 202 Accepted\r\nX-Slow: ")
        for _ in range(40):
            sock.sendall(b"x")
            sent += 1
            time.sleep(0.1)

    with serving(drip) as server:
        answer = client(server.url).post({})

    assert answer == NoResponse("no answer in time")
    assert sent < 40


def test_answers_that_were_given_up_leave_their_connections_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cometly, "MAX_ANSWER_BYTES", 10)
    with serving(lambda sock, _: sock.sendall(response(body=b"x" * 50))) as server:
        cometly_client = client(server.url)
        answers = [cometly_client.post({}) for _ in range(9)]

    assert answers == [NoResponse("the answer does not end")] * 9


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    def flood(sock: socket.socket, _: bytes) -> None:
        sock.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 99999999\r\n\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    with serving(flood) as server:
        answer = client(server.url).post({})

    assert answer == NoResponse("the answer does not end")


@pytest.mark.parametrize(
    ("answer_bytes", "reason"),
    [
        (b"", "connection lost"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 90\r\n\r\n{", "connection lost"),
        (b"SSH-2.0\r\n", "connection lost"),
        (b"HTTP/1.1 202 Acc", "not an answer"),
    ],
    ids=["nothing", "half a body", "another protocol", "half a head"],
)
def test_a_connection_lost_during_the_answer_is_no_acceptance(
    answer_bytes: bytes, reason: str
) -> None:
    def cut(sock: socket.socket, _: bytes) -> None:
        sock.sendall(answer_bytes)
        sock.shutdown(socket.SHUT_RDWR)

    with serving(cut) as server:
        verdict = judge(client(server.url).post({}), time.time())

    assert verdict.kind is Kind.TRANSIENT
    assert reason in verdict.reason


def test_nobody_listening_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    assert client(f"http://127.0.0.1:{port}").post({}) == NoResponse("connection refused")


def test_a_name_that_does_not_resolve_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert client("https://nowhere.example.com").post({}) == NoResponse("name not resolved")


def test_the_token_is_not_in_the_clients_repr() -> None:
    cometly_client = client("https://cometly.example.com", "very-secret")
    cometly_client.token.current()

    assert "very-secret" not in repr(cometly_client)
