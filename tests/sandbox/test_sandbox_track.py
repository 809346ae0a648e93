"""Order of checks, headers of answers, and what is recorded."""

import pytest
import urllib3

from tests.sandbox.client import EVENT, HEADERS, Client

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_answers_405_before_the_token_is_looked_at(
    client: Client, method: str
) -> None:
    answer = client.send(method=method, Authorization="Bearer wrong")

    assert answer.status == 405
    assert set(answer.json()) == {"message"}
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        ("Bearer wrong", 401),
        ("Basic sandbox-token", 401),
        ("sandbox-token", 401),
        ("Bearer lapsed", 403),
    ],
)
def test_a_token_that_may_not_send_is_refused_before_the_body_is_looked_at(
    client: Client, authorization: str, status: int
) -> None:
    client.settings(forbidden_tokens=["lapsed"])

    answer = client.send(b"no json", Authorization=authorization)

    assert answer.status == status
    assert set(answer.json()) == {"message"}


def test_the_rate_limit_is_checked_after_the_token_and_before_the_body(client: Client) -> None:
    client.settings(requests_per_minute=1)
    client.send()

    refused = client.send(b"no json")

    assert refused.status == 429
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert client.send(Authorization="Bearer wrong").status == 401


def test_an_invalid_event_takes_a_place_and_a_wrong_token_takes_none(client: Client) -> None:
    client.settings(requests_per_minute=2)

    statuses = [
        client.send(Authorization="Bearer wrong").status,
        client.send({}).status,
        client.send().status,
        client.send().status,
    ]

    assert statuses == [401, 422, 202, 429]
    assert client.control("GET", "stats")["max_admitted_in_60s"] == 2


def test_every_answer_names_itself_and_the_limit(client: Client) -> None:
    answers = [client.send(), client.send({}), client.send(Authorization="Bearer wrong")]

    assert len({answer.headers["Request-Id"] for answer in answers}) == 3
    assert [answer.headers["X-RateLimit-Limit"] for answer in answers] == ["1000"] * 3
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["999", "998", "998"]
    assert all("Retry-After" not in answer.headers for answer in answers)


@pytest.mark.parametrize(
    ("size", "status"),
    [
        pytest.param(MEBIBYTE, 202, id="a-mebibyte"),
        pytest.param(MEBIBYTE + 1, 413, id="a-byte-more"),
        pytest.param(8 * MEBIBYTE, 413, id="far-more"),
    ],
)
def test_a_body_above_a_mebibyte_answers_413(client: Client, size: int, status: int) -> None:
    body = b'{"event_name": "purchase", "email": "ada@example.com"'

    answer = client.send(body + b" " * (size - len(body) - 1) + b"}")

    assert answer.status == status
    assert client.send().status == 202


def test_every_request_is_recorded_with_its_status_and_identity(client: Client) -> None:
    headers = HEADERS | {"X-Api-Key": "k", "User-Agent": "probe/1"}
    answer = client.send(EVENT | {"order_id": "A-1"}, headers=headers)
    client.send({"event_name": "purchase"})

    [event], (queued, refused) = client.events(), client.requests()
    assert event["request_id"] == queued["request_id"] == answer.headers["Request-Id"]
    assert event["headers"]["user-agent"] == "probe/1"
    assert not {"authorization", "x-api-key"} & set(event["headers"])
    assert (queued["status"], queued["order_id"], queued["event_id"]) == (202, "A-1", 1)
    assert (refused["status"], refused["email"], refused["event_id"]) == (422, None, None)
    assert refused["message"].startswith("One of email")


def test_latency_delays_the_answer_and_not_the_event(client: Client) -> None:
    client.settings(latency_ms=60_000)

    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        client.send(read_timeout_s=1.0)

    assert len(client.events()) == 1
