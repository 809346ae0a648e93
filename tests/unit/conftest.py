"""Closed sockets, repeatable examples, AWS in memory, and what Lambda hands to a handler."""

from __future__ import annotations

import base64
import functools
import gc
import io
import json
import os
import ssl
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
import botocore.session
import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics.provider.cloudwatch_emf import cloudwatch as powertools_metrics
from botocore.loaders import create_loader
from coverage import Coverage
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, settings
from moto import mock_aws

from cometly_forwarder import aws
from cometly_forwarder.errors import Fault
from cometly_forwarder.event.model import Event
from cometly_forwarder.event.reading import EventRules, read_event
from cometly_forwarder.ingest import handler as ingest
from cometly_forwarder.journal import each_outcome

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

# A slow machine is no defect, and a build that fails must fail again when it is repeated.
settings.register_profile(
    "unit", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("unit"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "unit")

REGION = "eu-central-1"
READ_AT = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)
# The default of the parameter PassedOnFields.
PASSED_ON = frozenset({"currency", "profile_field_*"})
SERVER_KEY = "key-of-the-shop-0001"


def pytest_collection_finish() -> None:
    """Spare the collector what thousands of collected tests are made of: it stays to the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Stop what still measures a test that is marked `no_cover`.

    In a process of pytest-xdist, pytest-cov starts two measurements, one within the other, and
    stops the inner one, whereupon the outer goes on: the test takes twice as long, for nothing.
    """
    outer = Coverage.current() if item.get_closest_marker("no_cover") else None
    if outer:
        outer.stop()
    try:
        return (yield)
    finally:
        if outer:
            outer.start()


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Share what botocore read of its models: moto makes a session, which reads anew, a test."""
    with patch.object(botocore.session, "create_loader", functools.cache(create_loader)):
        yield


@pytest.fixture(autouse=True)
def _closed_sockets(request: pytest.FixtureRequest) -> None:
    """Close the network, except to a test that asks for `socket_enabled`."""
    if "socket_enabled" not in request.fixturenames:
        request.getfixturevalue("socket_disabled")


def an_event(**fields: object) -> dict[str, object]:
    """Build the least that is a valid event, with more or other fields."""
    return {"event_name": "purchase", "email": "grace@example.com", **fields}


def read(
    raw: object, phone_region: str | None = None, *, at: datetime = READ_AT
) -> tuple[Event, tuple[Fault, ...]]:
    """Read an event as a stack of that region does."""
    return read_event(raw, EventRules(phone_region, PASSED_ON), at)


def http_request(
    body: object = None,
    *,
    method: str = "POST",
    path: str = "/v1/events",
    headers: Mapping[str, str] | None = None,
    key: str | None = SERVER_KEY,
    is_base64: bool = False,
) -> dict[str, Any]:
    """Build what API Gateway makes of an HTTPS request (HTTP API, payload format 2.0).

    Text and bytes are the body as it is, bytes being sent the way API Gateway sends what is not
    text; anything else is written as JSON.
    """
    given = (
        {"content-type": "application/json"}
        if key is None
        else {
            "content-type": "application/json",
            "authorization": f"Bearer {key}",
        }
    )
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": given | {name.lower(): value for name, value in (headers or {}).items()},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "agent",
            },
            "requestId": "request-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2024:19:03:58 +0000",
            "timeEpoch": 1710270238000,
        },
        **_body_of(body, is_base64=is_base64),
    }


def _body_of(body: object, *, is_base64: bool) -> dict[str, Any]:
    if body is None:
        return {"isBase64Encoded": False}
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    if isinstance(text, bytes) or is_base64:
        raw = text.encode() if isinstance(text, str) else text
        return {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
    return {"body": text, "isBase64Encoded": False}


@dataclass(frozen=True)
class FakeLambdaContext:
    """What a handler reads of Lambda's context."""

    function_name: str = "ingest"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:ingest"
    aws_request_id: str = "invocation-1"

    def get_remaining_time_in_millis(self) -> int:
        return 25_000


@dataclass(frozen=True)
class Aws:
    """The queues and the secret of a stack, in memory."""

    sqs: SQSClient
    secrets: SecretsManagerClient
    queue_url: str
    page_queue_url: str
    dead_letter_url: str
    keys_secret_arn: str

    def queued(self, url: str | None = None) -> list[dict[str, Any]]:
        """Take every message off a queue (the event queue unless another is named)."""
        taken: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(
            QueueUrl=url or self.queue_url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
        ).get("Messages"):
            taken += [dict(message) for message in messages]
        return taken


@pytest.fixture
def aws_stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        sqs, secrets = boto3.client("sqs"), boto3.client("secretsmanager")
        # moto still takes 256 KiB at the most where SQS takes 1 MiB.
        yield Aws(
            sqs=sqs,
            secrets=secrets,
            queue_url=sqs.create_queue(QueueName="events")["QueueUrl"],
            page_queue_url=sqs.create_queue(QueueName="pages")["QueueUrl"],
            dead_letter_url=sqs.create_queue(QueueName="dead-letters")["QueueUrl"],
            keys_secret_arn=secrets.create_secret(
                Name="server-keys",
                SecretString=json.dumps({"current": SERVER_KEY, "previous": ""}),
            )["ARN"],
        )


def metrics_in(output: str) -> Counter[str]:
    """Add up the metric values of every EMF line in captured output."""
    totals: Counter[str] = Counter()
    for line in output.splitlines():
        if not line.startswith('{"_aws"'):
            continue
        emf = json.loads(line)
        for metric in emf["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
            totals[metric["Name"]] += sum(emf[metric["Name"]])
    return totals


def lines_in(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read captured log lines back; what are metrics alone is left out."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if "message" in line]


def outcomes_in(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read captured log lines as whoever looks for an event does."""
    return [outcome for line in lines_in(stream) for outcome in each_outcome(line)]


# --- Ingest, as API Gateway calls it ----------------------------------------------------------


@dataclass(frozen=True)
class Answered:
    """An answer as API Gateway reads it."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def answer_to(request: dict[str, Any]) -> Answered:
    """Let ingest answer in JSON, or to HEAD with nothing."""
    answer: dict[str, Any] = ingest.handler(request, FakeLambdaContext())  # type: ignore[arg-type]
    assert not answer.get("isBase64Encoded")
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert headers["content-type"] == "application/json"
    is_head = request["requestContext"]["http"]["method"] == "HEAD"
    assert is_head is (answer["body"] == "")
    return Answered(answer["statusCode"], headers, json.loads(answer["body"] or "{}"))


@dataclass
class FakeAws:
    """SQS, Secrets Manager and DynamoDB in one, each of which can be away."""

    sqs_is_away: Exception | None = None
    secrets_are_away: Exception | None = None
    table_is_away: Exception | None = None
    items: dict[str, Any] = field(default_factory=dict)
    refuses: frozenset[int] = frozenset()
    bodies: list[str] = field(default_factory=list)

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        assert QueueUrl == "queue"
        if self.sqs_is_away:
            raise self.sqs_is_away
        taken = [entry for entry in Entries if int(entry["Id"]) not in self.refuses]
        self.bodies += [entry["MessageBody"] for entry in taken]
        return {"Successful": [{"Id": entry["Id"]} for entry in taken]}

    def get_secret_value(self, *, SecretId: str) -> Any:  # noqa: N803
        assert SecretId == "keys"
        if self.secrets_are_away:
            raise self.secrets_are_away
        return {"SecretString": json.dumps({"current": SERVER_KEY, "previous": "older"})}

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool) -> Any:  # noqa: N803
        assert (TableName, ConsistentRead) == ("table", True)
        if self.table_is_away:
            raise self.table_is_away
        item = self.items.get(Key["event_id"]["S"])
        return {"Item": item} if item else {}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body)["event"] for body in self.bodies]


INGEST_SETTINGS = (
    "EVENT_QUEUE_URL",
    "PAGE_QUEUE_URL",
    "SERVER_KEYS_SECRET_ARN",
    "TABLE_NAME",
    "DEFAULT_PHONE_REGION",
    "PASSED_ON_FIELDS",
    "ALLOWED_ORIGINS",
    "BROWSER_EVENT_NAMES",
)


@pytest.fixture
def fresh_ingest(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Make a worker that has served nothing yet; its environment, which is not set, is given."""
    for name in INGEST_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    ingest.routes.cache_clear()
    yield monkeypatch
    ingest.routes.cache_clear()
    ingest.journal.metrics.clear_metrics()


@pytest.fixture
def fake(fresh_ingest: pytest.MonkeyPatch) -> FakeAws:
    """Make a worker whose AWS is a fake, with the default parameters of the template."""
    fake = FakeAws()
    fresh_ingest.setenv("EVENT_QUEUE_URL", "queue")
    fresh_ingest.setenv("SERVER_KEYS_SECRET_ARN", "keys")
    fresh_ingest.setenv("TABLE_NAME", "table")
    fresh_ingest.setenv("PASSED_ON_FIELDS", "currency,profile_field_*")
    fresh_ingest.setattr(aws, "client", lambda _: fake)
    return fake


def logged_by(logger: Logger, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Catch what a function logs. Powertools prints metrics, and the line that is one with them."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    printed = functools.partial(print, file=stream)
    monkeypatch.setattr(powertools_metrics, "print", printed, raising=False)
    return stream


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Catch what ingest logs, and its metrics."""
    return logged_by(ingest.journal.logger, monkeypatch)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Make a certificate for loopback that this process trusts, as `SSL_CERT_FILE` names it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(addresses, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "loopback.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
