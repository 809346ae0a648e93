"""The control API, the page, and the command."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import urllib3

from local.sandbox.book import Book
from local.sandbox.server import running
from tests.sandbox.client import Client


def send_keys(client: Client, *keys: str) -> None:
    event = {"event_name": "purchase", "email": "ada@example.com"}
    for key in keys:
        client.send(event | {"idempotency_key": key})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("events", [1, 2, 3, 4], id="all"),
        pytest.param("events?limit=2", [3, 4], id="the-newest"),
        pytest.param("events?limit=9", [1, 2, 3, 4], id="more-than-there-are"),
        pytest.param("events?limit=0", [], id="none"),
        pytest.param("events?since=1&limit=2", [2, 3], id="a-page"),
        pytest.param("events?booked=true&limit=1&since=2", [4], id="a-page-of-booked"),
        pytest.param("requests?limit=1", [4], id="the-newest-request"),
        pytest.param("requests?since=2&limit=1", [3], id="a-page-of-requests"),
    ],
)
def test_events_and_requests_can_be_paged(client: Client, query: str, expected: list[int]) -> None:
    send_keys(client, "a", "b", "a", "c")

    assert [entry["id"] for entry in client.control("GET", query)] == expected


def test_stats_count_what_came_in(client: Client) -> None:
    send_keys(client, "a", "a", "b")
    client.send({})

    assert client.control("GET", "stats") == {
        "requests": 4,
        "booked": 2,
        "duplicates": 1,
        "by_status": {"202": 3, "422": 1},
        "max_admitted_in_60s": 4,
    }


def test_a_reset_forgets_events_and_keeps_the_rest(client: Client) -> None:
    client.settings(requests_per_minute=1)
    client.faults({"kind": "html_200", "match": {"order_id": "x"}})
    send_keys(client, "a", "b")

    client.control("POST", "reset")

    send_keys(client, "a")
    assert [event["duplicate_of"] for event in client.events()] == [None]
    assert client.control("GET", "settings")["requests_per_minute"] == 1
    assert len(client.control("GET", "faults")) == 1


def test_a_reset_restores_settings_and_faults_when_asked(client: Client) -> None:
    client.settings(requests_per_minute=1)
    send_keys(client, "a")
    client.faults({"kind": "html_200"})

    client.control("POST", "reset", {"events": False, "settings": True, "faults": True})

    assert client.control("GET", "settings")["requests_per_minute"] == 1000
    assert client.control("GET", "faults") == []
    assert len(client.events()) == 1


def test_settings_change_what_comes_next(client: Client) -> None:
    changes = {
        "requests_per_minute": 5,
        "window": "fixed",
        "tokens": ["other"],
        "forbidden_tokens": ["lapsed"],
        "latency_ms": 1,
        "rate_limit_headers": "absurd",
        "retry_after_form": "date",
        "seed": 3,
        "time_zone": "America/New_York",
        "lists_per_minute": 70,
        "records_per_minute": 300,
        "exports_per_minute": 50,
        "export_checks_per_minute": 301,
        "shows_up_after_s": 900,
        "export_s": 10,
        "list_order": "oldest",
    }

    assert client.settings(**changes) == changes
    assert client.control("GET", "settings") == changes
    assert client.send().status == 401
    assert client.send(Authorization="Bearer other").status == 202


@pytest.mark.parametrize(
    "change",
    [
        {"requests_per_minute": 0},
        {"requests_per_minute": True},
        {"window": "hopping"},
        {"tokens": "sandbox-token"},
        {"latency_ms": -1},
        {"rate_limit_headers": "sometimes"},
        {"retry_after_form": None},
        {"seed": 1.5},
        {"time_zone": "Mars/Olympus_Mons"},
        {"time_zone": "/etc"},
        {"time_zone": 1},
        {"lists_per_minute": 0},
        {"shows_up_after_s": -1},
        {"list_order": "any"},
        {"colour": "green"},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_changes_nothing(
    client: Client, change: dict[str, object]
) -> None:
    before = client.control("GET", "settings")

    answer = client.settings(forbidden_tokens=["lapsed"], **change)

    assert next(iter(change)) in answer["message"]
    assert client.control("GET", "settings") == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        pytest.param("GET", "nowhere", b"", 404, "Not Found", id="path"),
        pytest.param("PUT", "_sandbox/stats", b"", 405, "Not Allowed", id="method"),
        pytest.param("GET", "_sandbox/events?since=-1", b"", 422, "since", id="number"),
        pytest.param("POST", "_sandbox/reset", b'{"event": true}', 422, "takes", id="reset"),
        pytest.param("PUT", "_sandbox/settings", b"{", 422, "not valid JSON", id="no-json"),
        pytest.param("PUT", "_sandbox/settings", b"[]", 422, "JSON object", id="no-object"),
    ],
)
def test_what_the_control_api_does_not_know_is_answered_with_a_message(  # noqa: PLR0917
    client: Client, method: str, path: str, body: bytes, status: int, says: str
) -> None:
    answer = client.pool.request(method, f"{client.server.url}/{path}", body=body, retries=False)

    assert answer.status == status
    assert says in answer.json()["message"]
    assert set(answer.json()) == {"message"}


def test_the_book_forgets_the_oldest_and_goes_on_counting() -> None:
    book = Book(kept=2)

    for number in range(3):
        book.enter_event(
            request_id=f"req_{number}",
            received_at=0,
            status=202,
            fields={"event_name": "purchase", "email": "ada@example.com"},
            headers={},
        )

    assert [event.id for event in book.events()] == [2, 3]
    assert book.stats()["booked"] == 3


def test_a_port_can_be_taken_again_at_once() -> None:
    with urllib3.PoolManager() as pool, running() as first:
        port = int(first.url.rsplit(":", 1)[-1])
        pool.request("GET", first.url + "/_sandbox/stats")

    with urllib3.PoolManager() as pool, running(port=port) as second:
        assert pool.request("GET", second.url + "/_sandbox/stats").status == 200


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "local.sandbox", *arguments]
    process = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def address_in(line: str) -> str:
    return line.rsplit(maxsplit=1)[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_the_command_prints_one_line_and_stops_cleanly(number: signal.Signals) -> None:
    with command("--port", "0", "--token", "t-1", "--token", "t-2") as process:
        assert process.stdout
        url = address_in(process.stdout.readline())
        settings = urllib3.request("GET", url + "/_sandbox/settings").json()
        urllib3.request("GET", url + "/nowhere")
        os.kill(process.pid, number)
        rest, _ = process.communicate(timeout=60)

    assert settings["tokens"] == ["t-1", "t-2"]
    assert rest == ""
    assert process.returncode == 0


def wait_until_the_fault_struck(url: str) -> None:
    deadline = time.monotonic() + 60
    while not urllib3.request("GET", url + "/_sandbox/faults").json()[0]["applied"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_command_stops_although_a_request_hangs() -> None:
    with command("--port", "0") as process:
        assert process.stdout
        url = address_in(process.stdout.readline())
        rule = [{"kind": "hang", "seconds": 600}]
        urllib3.request("POST", url + "/_sandbox/faults", json=rule)
        port = int(url.rsplit(":", maxsplit=1)[-1])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as waiting:
            waiting.sendall(b"GET /public-api/v1/events/track HTTP/1.1\r\nHost: sandbox\r\n\r\n")
            wait_until_the_fault_struck(url)
            process.terminate()
            rest, _ = process.communicate(timeout=60)

    assert rest == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--requests-per-minute", "0"], id="no-requests"),
        pytest.param(["--latency-ms", "inf"], id="for-ever"),
        pytest.param(["--time-zone", "Mars"], id="no-such-zone"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(arguments: list[str]) -> None:
    with command("--port", "0", *arguments) as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "error:" in output
