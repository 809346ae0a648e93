"""How long a call to AWS may take, by what botocore makes of our settings."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from typing import Any

import certifi
import pytest
from botocore.exceptions import ClientError, SSLError
from botocore.retries.standard import ExponentialBackoff, RetryContext

from cometly_forwarder import aws
from tests.unit.conftest import REGION
from tests.unit.loopback import response, serving

pytestmark = pytest.mark.usefixtures("socket_enabled")


def test_a_failing_service_is_asked_so_often_with_one_wait_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    with serving(lambda sock, _: sock.sendall(response("500 Failed", b"{}"))) as server:
        point_at(server.url, monkeypatch)
        with pytest.raises(ClientError):
            aws.client("secretsmanager").get_secret_value(SecretId="s")

    assert len(server.requests) == aws.TRIES
    assert len(waits) == aws.TRIES - 1


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Which files of certificates are read."""
    files: list[Any] = []
    real = ssl.SSLContext.load_verify_locations

    def load(self: ssl.SSLContext, cafile: Any, *others: Any) -> None:
        files.append(cafile)
        real(self, cafile, *others)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load)
    aws._session.cache_clear()
    aws._tls.cache_clear()
    yield files
    aws._session.cache_clear()
    aws._tls.cache_clear()


@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("is_warm", [False, True])
def test_the_certificates_are_read_once_for_all_connections_of_all_clients(
    read: list[Any], monkeypatch: pytest.MonkeyPatch, *, is_warm: bool, is_named: bool
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if is_named:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with serving(lambda *_: None, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as server:
        point_at(server.url, monkeypatch)

        if is_warm:
            aws.read_certificates()
        # The server has no certificate, so that none is taken.
        with pytest.raises(SSLError):
            aws.client("secretsmanager").get_secret_value(SecretId="s")
        with pytest.raises(SSLError):
            aws.client("sqs").send_message(QueueUrl="q", MessageBody="m")

    assert server.connections == 2 * aws.TRIES
    assert len(read) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("is_trusted", [False, True])
def test_a_certificate_has_to_be_signed_and_of_that_name(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, host: str, *, is_trusted: bool
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    aws._session.cache_clear()
    aws._tls.cache_clear()
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"SecretString": "s"}'
    with serving(lambda connection, _: connection.sendall(answer), tls) as server:
        point_at(server.url.replace("127.0.0.1", host), monkeypatch)
        if is_trusted:
            monkeypatch.setenv("AWS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])
        aws.read_certificates()
        ask = aws.client("secretsmanager").get_secret_value

        if is_trusted and host == "127.0.0.1":
            assert ask(SecretId="s")["SecretString"] == "s"
        else:
            with pytest.raises(SSLError):
                ask(SecretId="s")
    aws._session.cache_clear()
    aws._tls.cache_clear()


def test_the_wait_between_two_tries_is_at_the_most_what_the_time_budget_allows() -> None:
    longest = ExponentialBackoff(random=lambda: 1.0)
    waits = [longest.delay_amount(RetryContext(attempt)) for attempt in range(1, aws.TRIES)]

    assert sum(waits) == aws.BACK_OFF_SECONDS


def test_a_call_waits_no_longer_for_a_connection_or_an_answer_than_the_budget_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    config = vars(aws.client("sqs").meta.config)

    assert config["connect_timeout"] == aws.CONNECT_SECONDS
    assert config["read_timeout"] == aws.READ_SECONDS
    assert config["retries"] == {"mode": "standard", "total_max_attempts": aws.TRIES}


def test_a_request_names_the_sdk_and_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13")
    with serving(lambda sock, _: sock.sendall(response("200 OK", b"{}"))) as server:
        point_at(server.url, monkeypatch)

        aws.client("secretsmanager").get_secret_value(SecretId="s")

    [request] = server.requests
    assert re.search(rb"Botocore/\S+ Python/\S+ .* exec-env/AWS_Lambda_python3.13", request)
