"""The payloads that `sam local generate-event` makes, run through the handlers.

`events/lambda/` holds what `sqs receive-message` and `apigateway http-api-proxy --path v1/events`
make, with a purchase as the body, and what `sns notification` and `cloudwatch scheduled-event`
make, as it is. Of those, what SNS and EventBridge put on a queue is the notification without its
record, and the event whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from pytest_socket import socket_allow_hosts

from cometly_forwarder.deliver import handler as deliver
from cometly_forwarder.deliver import posting
from cometly_forwarder.deliver.cometly import CometlyClient
from cometly_forwarder.ingest import handler as ingest
from local.sandbox.faults import FaultRule
from local.sandbox.sandbox import Sandbox
from local.sandbox.server import running
from local.sandbox.settings import DEFAULT_TOKEN
from local.stack.checkout import Checkout
from tests.unit.conftest import SERVER_KEY, Aws, FakeLambdaContext

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Payload = dict[str, Any]

PURCHASE = {
    "event_name": "purchase",
    "email": "ada.byron@example.com",
    "amount": 99.99,
    "order_id": "ORD-12345",
}


class DeliverContext(FakeLambdaContext):
    """The context of an invocation that has only just begun."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


DELIVER_CONTEXT: Any = DeliverContext()
INGEST_CONTEXT: Any = FakeLambdaContext()


EVENTS = Checkout.here().root / "events"


def generated(name: str) -> Payload:
    file = EVENTS / "lambda" / f"{name}.json"
    payload: Payload = json.loads(file.read_text("utf-8"))
    return payload


@pytest.fixture
def sandbox(socket_enabled: None) -> Iterator[tuple[Sandbox, str]]:  # noqa: ARG001 - opens loopback
    """A Cometly on loopback, which is all of the network that stays open."""
    socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    with running() as server:
        yield server.sandbox, server.url


@dataclass(frozen=True)
class Far:
    """What deliver reaches: Cometly and the queues."""

    cometly: Sandbox
    aws: Aws

    def posted(self) -> list[dict[str, object]]:
        return [event.fields for event in self.cometly.book.events()]

    def parked(self) -> list[dict[str, Any]]:
        return self.aws.queued(self.aws.dead_letter_url)


@pytest.fixture
def far(
    sandbox: tuple[Sandbox, str], aws_stack: Aws, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Far]:
    """The environment of deliver, with its clients built anew."""
    # On a slow machine a thread may miss its slot, and its message goes back to the queue.
    monkeypatch.setattr(posting, "LATE_SECONDS", 60.0)
    cometly, url = sandbox
    token = aws_stack.secrets.create_secret(Name="token", SecretString=DEFAULT_TOKEN)["ARN"]
    make_table(boto3.client("dynamodb"))
    for name, value in {
        "EVENT_QUEUE_URL": aws_stack.queue_url,
        "DEAD_LETTER_QUEUE_URL": aws_stack.dead_letter_url,
        "TABLE_NAME": "ledger",
        "COMETLY_TOKEN_SECRET_ARN": token,
        "COMETLY_URL": url,
        "COMETLY_REQUESTS_PER_MINUTE": "60000",
        "DELIVERY_HORIZON_HOURS": "72",
    }.items():
        monkeypatch.setenv(name, value)
    deliver.batch_deliveries.cache_clear()
    yield Far(cometly, aws_stack)
    client = deliver.batch_deliveries().events.posting.cometly
    assert isinstance(client, CometlyClient)
    client.pool.clear()
    deliver.batch_deliveries.cache_clear()


def make_table(dynamodb: DynamoDBClient) -> None:
    dynamodb.create_table(
        TableName="ledger",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
    )


def batch_of(*bodies: object, first: int = 0) -> Payload:
    """Build a batch that was sent just now, of records like the generated one."""
    payload = generated("sqs-receive-message")
    [record] = payload["Records"]
    payload["Records"] = [
        {
            **record,
            "messageId": f"message-{number}",
            "body": body if isinstance(body, str) else json.dumps(body),
            "attributes": {**record["attributes"], "SentTimestamp": str(int(time.time() * 1000))},
        }
        for number, body in enumerate(bodies, start=first)
    ]
    return payload


def test_of_a_batch_only_what_has_to_be_tried_again_stays_on_the_queue(far: Far) -> None:
    far.cometly.faults.add(faults_for({"order_id": "away"}, 500))
    far.cometly.faults.add(faults_for({"order_id": "refused"}, 422))

    answer = deliver.handler(
        batch_of(
            {**PURCHASE, "order_id": "taken"},
            {**PURCHASE, "order_id": "away"},
            {**PURCHASE, "order_id": "refused"},
            "no JSON",
        ),
        DELIVER_CONTEXT,
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    [posted] = far.posted()
    assert posted.items() > {**PURCHASE, "order_id": "taken"}.items()
    assert {it["MessageAttributes"]["reason"]["StringValue"] for it in far.parked()} == {
        "HTTP 422",
        "invalid",
    }


def notification_with(text: str) -> Payload:
    [record] = generated("sns-notification")["Records"]
    notification: Payload = record["Sns"]
    return {**notification, "Message": text}


def scheduled_event_with(detail: object) -> Payload:
    return {**generated("cloudwatch-scheduled-event"), "detail": detail}


LEAD = {"event_name": "lead_generated", "email": "ada.byron@example.com"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(notification_with(json.dumps(LEAD)), id="sns notification"),
        pytest.param(scheduled_event_with(LEAD), id="cloudwatch scheduled-event"),
        pytest.param(
            notification_with(json.dumps(scheduled_event_with(LEAD))), id="one within the other"
        ),
    ],
)
def test_an_event_in_a_generated_payload_is_delivered(far: Far, body: object) -> None:
    answer = deliver.handler(batch_of(body), DELIVER_CONTEXT)

    assert answer == {"batchItemFailures": []}
    [posted] = far.posted()
    assert posted.items() > LEAD.items()
    assert str(posted["idempotency_key"]).startswith("evt_")
    assert posted["event_time"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(notification_with("example message"), "not JSON", id="sns notification"),
        pytest.param(
            generated("cloudwatch-scheduled-event"), "event_name", id="cloudwatch scheduled-event"
        ),
        pytest.param(generated("sns-notification"), "event_name", id="what a function would get"),
    ],
)
def test_a_generated_payload_as_it_stands_is_no_event_and_parked_whole(
    far: Far, body: object, reason: str
) -> None:
    payload = batch_of(body)

    answer = deliver.handler(payload, DELIVER_CONTEXT)

    assert answer == {"batchItemFailures": []}
    assert far.posted() == []
    [parked] = far.parked()
    assert parked["Body"] == payload["Records"][0]["body"]
    assert parked["MessageAttributes"]["reason"]["StringValue"] == "invalid"
    assert reason in parked["MessageAttributes"]["message"]["StringValue"]


SAMPLES = sorted(
    (file for folder in ("sns", "eventbridge") for file in (EVENTS / folder).glob("*.json")),
    key=str,
)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: f"{file.parent.name} {file.stem}")
def test_a_sample_of_a_source_is_what_deliver_takes(far: Far, file: Path) -> None:
    [record] = json.loads(file.read_text("utf-8"))["Records"]

    answer = deliver.handler(batch_of(record["body"]), DELIVER_CONTEXT)

    assert answer == {"batchItemFailures": []}
    is_valid = file.stem != "invalid"
    assert (len(far.posted()), len(far.parked())) == ((1, 0) if is_valid else (0, 1))


def faults_for(match: dict[str, object], status: int) -> list[FaultRule]:
    return [FaultRule(kind="status", status=status, times="always", match=match)]


@pytest.fixture
def queue(aws_stack: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """The environment of ingest, with its clients built anew."""
    monkeypatch.setenv("EVENT_QUEUE_URL", aws_stack.queue_url)
    monkeypatch.setenv("SERVER_KEYS_SECRET_ARN", aws_stack.keys_secret_arn)
    monkeypatch.setenv("TABLE_NAME", "table")
    ingest.routes.cache_clear()
    yield aws_stack
    ingest.routes.cache_clear()


def test_a_generated_request_with_a_key_is_accepted(queue: Aws) -> None:
    request = generated("apigateway-http-api-proxy")
    request["headers"]["authorization"] = f"Bearer {SERVER_KEY}"

    answer = ingest.handler(request, INGEST_CONTEXT)

    assert answer["statusCode"] == 202
    [message] = queue.queued()
    queued = json.loads(message["Body"])
    assert queued["event_id"] == json.loads(answer["body"])["event_id"]
    assert queued["event"].items() > PURCHASE.items()
