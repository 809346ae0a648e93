"""The consumer of both queues: take a batch, deliver it, say which messages stay."""

from __future__ import annotations

import contextlib
import os
import random
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from cometly_forwarder import loading

# isort: split
from cometly_forwarder import aws
from cometly_forwarder.deliver.assembly import Ports, assemble
from cometly_forwarder.deliver.batch import THREADS, BatchDelivery
from cometly_forwarder.deliver.cometly import CONNECT_SECONDS, READ_SECONDS, CometlyClient
from cometly_forwarder.deliver.connections import make_pool
from cometly_forwarder.deliver.jobs import Message
from cometly_forwarder.deliver.ledger import DynamoLedger
from cometly_forwarder.deliver.queue import SqsQueue
from cometly_forwarder.deliver.settings import DeliverSettings
from cometly_forwarder.errors import SettingsError, Unavailable
from cometly_forwarder.gate.clock import SharedClock
from cometly_forwarder.gate.gate import DynamoGate
from cometly_forwarder.gate.rules import Lane
from cometly_forwarder.gate.table import GateTable
from cometly_forwarder.observability import Journal, PageJournal, make_logger, make_metrics
from cometly_forwarder.secrets import CometlyToken, Secret
from cometly_forwarder.stopwatch import Stopwatch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

journal = Journal(make_logger(), make_metrics())


@dataclass(frozen=True, slots=True)
class BatchDeliveries:
    """A batch delivery for each queue, over the same clients."""

    events: BatchDelivery
    pages: BatchDelivery
    page_queue_arn: str

    def of(self, queue_arn: str | None) -> BatchDelivery:
        """Return the batch delivery of a queue; a batch comes from one queue."""
        is_page_queue = queue_arn and queue_arn == self.page_queue_arn
        return self.pages if is_page_queue else self.events


@cache
def batch_deliveries() -> BatchDeliveries:
    """Build the clients: once, when the function is loaded."""
    settings = DeliverSettings.read(os.environ)
    secret = Secret(aws.client("secretsmanager"), settings.cometly_token_secret_arn, Stopwatch())
    dynamodb = aws.client("dynamodb")
    table = GateTable(dynamodb, settings.table_name, SharedClock(time.time))
    gate = DynamoGate(table, settings.cometly_requests_per_minute)
    queue = SqsQueue(
        aws.client("sqs"), settings.event_queue_url, settings.dead_letter_queue_url, journal
    )
    cometly = CometlyClient(
        make_pool(THREADS, connect=CONNECT_SECONDS, read=READ_SECONDS),
        settings.cometly_url,
        CometlyToken(secret),
    )
    # Read the token before the first slot is reserved: an event that misses its slot is late by
    # seconds. Where this fails, posting says so.
    with contextlib.suppress(Unavailable):
        cometly.make_ready()
    events = Ports(
        ledger=DynamoLedger(dynamodb, settings.table_name, time.time),
        gate=gate.lane(Lane.SERVICES),
        cometly=cometly,
        queue=queue,
        journal=journal,
        now=time.time,
        sleep=_sleep,
        random=random.random,
        horizon_seconds=settings.delivery_horizon_hours * 3600,
        rules=settings.event_rules,
    )
    pages = replace(
        events,
        gate=gate.lane(Lane.PAGES),
        queue=replace(queue, url=settings.page_queue_url, name="pages"),
        journal=PageJournal(journal),
    )
    return BatchDeliveries(assemble(events), assemble(pages), settings.page_queue_arn)


def _sleep(seconds: float) -> None:
    """Sleep. Where there is nothing to wait for, `time.sleep` lets every other thread run first."""
    if seconds > 0:
        time.sleep(seconds)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Deliver one batch of one queue; answers with the messages that stay on it.

    `BatchDelivery._release` has hidden them, each for its time. They are answered as
    batchItemFailures; Lambda deletes the rest (`ReportBatchItemFailures` in template.yaml).
    """
    journal.begin(context.aws_request_id)
    deadline = time.time() + context.get_remaining_time_in_millis() / 1000
    records = event["Records"]
    batch = [_message(record) for record in records]
    try:
        kept = batch_deliveries().of(records[0].get("eventSourceARN")).deliver(batch, deadline)
        if kept:
            oldest = min(message.sent_at for message in batch if message.id in kept)
            journal.waited(max(time.time() - oldest, 0.0))
    finally:
        journal.flush()
    return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in kept]}


def _message(record: dict[str, Any]) -> Message:
    return Message(
        id=record["messageId"],
        body=record["body"],
        sent_at=int(record["attributes"]["SentTimestamp"]) / 1000,
        receipt_handle=record["receiptHandle"],
        receives=int(record["attributes"]["ApproximateReceiveCount"]),
    )


# Loading has a whole processor, an invocation a part of one. What is wrong with the settings is
# said by the first invocation.
with contextlib.suppress(SettingsError):
    batch_deliveries()
loading.done()
