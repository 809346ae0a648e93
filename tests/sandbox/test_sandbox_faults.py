"""Each fault, as it shows on a real socket."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from tests.sandbox.client import EVENT, Client

BODY = json.dumps(EVENT)


def raw_post(client: Client, timeout_s: float = 30) -> socket.socket:
    """Send one event over a socket of our own, and return that socket."""
    url = urlsplit(client.server.track_url)
    head = (
        f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer sandbox-token\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    )
    connection = socket.create_connection((url.hostname, url.port), timeout=timeout_s)
    connection.sendall((head + BODY).encode())
    return connection


def test_a_status_is_answered_that_many_times_and_nothing_is_processed(client: Client) -> None:
    client.faults({"kind": "status", "status": 503, "times": 2, "retry_after": 2})

    answers = [client.send() for _ in range(3)]

    assert [answer.status for answer in answers] == [503, 503, 202]
    assert answers[0].headers["Retry-After"] == "2"
    assert set(answers[0].json()) == {"message"}
    assert len(client.events()) == 1
    assert [entry["fault"] for entry in client.requests()] == ["status", "status", None]


def test_a_status_without_a_body_leaves_the_connection_usable(client: Client) -> None:
    client.faults({"kind": "status", "status": 204})

    assert client.send().data == b""
    assert client.send().status == 202


def test_a_redirect_and_a_proxys_page_end_in_a_false_200(client: Client) -> None:
    client.faults({"kind": "redirect", "status": 303, "times": 2}, {"kind": "html_200"})

    seen = client.send()
    followed = client.pool.request("POST", client.server.track_url, body=BODY)
    page = client.send()

    assert (seen.status, seen.headers["Location"]) == (303, "/")
    assert (followed.status, page.status) == (200, 200)
    assert page.headers["Content-Type"].startswith("text/html")
    assert client.events() == []


@pytest.mark.parametrize(("kind", "processed"), [("hang", 0), ("process_then_hang", 1)])
def test_a_hang_answers_nothing(client: Client, kind: str, processed: int) -> None:
    client.faults({"kind": kind, "seconds": 30}, {"kind": kind, "seconds": 0.1})

    with pytest.raises(ReadTimeoutError):
        client.send(read_timeout_s=1.0)

    assert [event["status"] for event in client.events()] == [None] * processed
    assert client.requests()[0]["status"] is None
    # One that ends does so without an answer.
    with pytest.raises(ProtocolError):
        client.send()


def test_a_drip_arrives_whole(client: Client) -> None:
    client.faults({"kind": "drip", "seconds_per_byte": 0.001})

    answer = client.send()

    assert answer.json()["status"] == 202
    assert len(client.events()) == 1


def test_a_drip_comes_byte_by_byte(client: Client) -> None:
    client.faults({"kind": "drip", "seconds_per_byte": 0.2})
    client.faults({"kind": "drip", "seconds_per_byte": 10})

    with raw_post(client) as connection:
        pieces = [connection.recv(4096) for _ in range(6)]
    with raw_post(client) as connection:
        head = connection.recv(4096)
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(4096)

    assert pieces[0].startswith(b"HTTP/1.1 202")
    assert head.startswith(b"HTTP/1.1 202")
    assert [len(piece) for piece in pieces[1:]] == [1] * 5


def test_a_processed_event_can_be_cut_off_without_a_byte(client: Client) -> None:
    client.faults({"kind": "process_then_cut"})

    with raw_post(client) as connection:
        received = connection.recv(4096)

    assert received == b""
    assert len(client.events()) == 1
    assert client.control("GET", "stats")["by_status"] == {"none": 1}


def test_a_cut_before_processing_resets_the_connection(client: Client) -> None:
    client.faults({"kind": "cut_before", "times": 2})

    with raw_post(client) as connection, pytest.raises(ConnectionResetError):
        connection.recv(4096)
    with pytest.raises(ProtocolError):
        client.send()

    assert client.events() == []
    assert client.send().status == 202


def test_a_fault_strikes_only_the_events_that_match(client: Client) -> None:
    client.faults({"kind": "status", "status": 500, "match": {"order_id": "A-1"}})

    statuses = [client.send(EVENT | {"order_id": order}).status for order in ("B", "A-1", "A-1")]

    assert statuses == [202, 500, 202]


def test_rules_strike_in_their_order_until_they_are_cleared(client: Client) -> None:
    client.faults({"kind": "status", "status": 500}, {"kind": "html_200"})
    client.faults({"kind": "status", "status": 502, "times": "always"})

    before = [client.send().status for _ in range(6)]
    client.control("DELETE", "faults")

    assert before == [500, 200, 502, 502, 502, 502]
    assert client.send().status == 202


def test_the_same_seed_throws_the_same_dice(client: Client) -> None:
    client.faults({"kind": "status", "status": 500, "times": "always", "probability": 0.5})

    runs = []
    for _ in range(2):
        client.settings(seed=7)
        runs.append([client.send().status for _ in range(20)])

    assert runs[0] == runs[1]
    assert set(runs[0]) == {202, 500}


def test_an_unchanged_seed_leaves_the_dice_alone(client: Client) -> None:
    client.faults({"kind": "status", "status": 500, "times": "always", "probability": 0.5})

    statuses = []
    for _ in range(20):
        client.settings(latency_ms=0)
        statuses.append(client.send().status)

    assert set(statuses) == {202, 500}


def test_faults_are_listed_with_how_often_they_struck(client: Client) -> None:
    client.faults({"kind": "redirect", "times": 3})
    client.send()

    listed = client.control("GET", "faults")

    assert listed == [
        {
            "kind": "redirect",
            "times": 3,
            "probability": 1.0,
            "match": {},
            "status": 303,
            "location": "/",
            "applied": 1,
        },
    ]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        pytest.param({"kind": "hang"}, "list", id="no-list"),
        pytest.param(["hang"], "object", id="no-object"),
        pytest.param([{"kind": "flood"}], "kind must be", id="unknown-kind"),
        pytest.param([{"kind": "status"}], "needs a status", id="no-status"),
        pytest.param([{"kind": "status", "status": 99}], "200 to 599", id="odd-status"),
        pytest.param([{"kind": "redirect", "status": 200}], "redirect", id="no-redirect"),
        pytest.param([{"kind": "hang", "times": 0}], "times", id="no-times"),
        pytest.param([{"kind": "hang", "seconds": -1}], "seconds", id="time-travel"),
        pytest.param([{"kind": "hang", "probability": 2}], "probability", id="too-probable"),
        pytest.param([{"kind": "hang", "match": "x"}], "match", id="match-is-no-object"),
        pytest.param([{"kind": "hang", "status": 500}], "no option status", id="foreign-option"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_whole(
    client: Client,
    rules: object,
    message: str,
) -> None:
    answer = client.control("POST", "faults", rules)

    assert message in answer["message"]
    assert client.control("GET", "faults") == []


def test_a_sender_that_hangs_up_during_a_hang_frees_the_server(client: Client) -> None:
    client.faults({"kind": "hang", "seconds": 600}, {"kind": "drip", "seconds_per_byte": 600})

    for _ in range(2):
        raw_post(client).close()
        time.sleep(0.1)

    with urllib3.PoolManager() as pool:
        assert pool.request("GET", client.server.url + "/_sandbox/stats").status == 200
