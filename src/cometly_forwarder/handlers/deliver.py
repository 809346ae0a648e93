"""The queue's consumer: take a batch, deliver it, say which messages stay."""

from __future__ import annotations

import os
import random
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from cometly_forwarder import aws
from cometly_forwarder.cometly import CONNECT_SECONDS, READ_SECONDS, CometlyClient
from cometly_forwarder.connections import make_pool
from cometly_forwarder.courier import THREADS, Courier
from cometly_forwarder.delivery import Delivery, Message
from cometly_forwarder.gate import DynamoGate, SharedClock
from cometly_forwarder.ledger import DynamoLedger
from cometly_forwarder.observability import Journal, make_logger, make_metrics
from cometly_forwarder.secrets import CometlyToken, Secret
from cometly_forwarder.settings import DeliverSettings
from cometly_forwarder.sqs import SqsQueue
from cometly_forwarder.stopwatch import Stopwatch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

journal = Journal(make_logger(), make_metrics())


@cache
def courier() -> Courier:
    """Build the clients: once, in the first invocation."""
    settings = DeliverSettings.read(os.environ)
    secret = Secret(aws.client("secretsmanager"), settings.token_secret_arn, Stopwatch())
    dynamodb = aws.client("dynamodb")
    delivery = Delivery(
        ledger=DynamoLedger(dynamodb, settings.table_name, time.time),
        gate=DynamoGate(
            dynamodb, settings.table_name, settings.requests_per_minute, SharedClock(time.time)
        ),
        cometly=CometlyClient(
            make_pool(THREADS, connect=CONNECT_SECONDS, read=READ_SECONDS),
            settings.cometly_url,
            CometlyToken(secret),
        ),
        queue=SqsQueue(
            aws.client("sqs"), settings.queue_url, settings.dead_letter_queue_url, journal
        ),
        journal=journal,
        now=time.time,
        sleep=time.sleep,
        random=random.random,
        horizon_seconds=settings.horizon_seconds,
        phone_region=settings.phone_region,
    )
    return Courier(delivery)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Deliver one batch of the event queue; answers with the messages that stay on it."""
    journal.begin(context.aws_request_id)
    deadline = time.time() + context.get_remaining_time_in_millis() / 1000
    batch = [_message(record) for record in event["Records"]]
    try:
        kept = courier().deliver(batch, deadline)
    finally:
        journal.flush()
    return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in kept]}


def _message(record: dict[str, Any]) -> Message:
    return Message(
        id=record["messageId"],
        body=record["body"],
        sent_at=int(record["attributes"]["SentTimestamp"]) / 1000,
        receipt=record["receiptHandle"],
        receives=int(record["attributes"]["ApproximateReceiveCount"]),
    )
