"""The event queue, the page queue and their dead-letter queue on SQS."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchRequestEntryTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

    from cometly_forwarder.delivery import Journal

# SQS: ten messages and 1 MiB a batch, twelve hours of hiding at the most.
BATCH = 10
BATCH_BYTES = 1024 * 1024
LONGEST_HIDING_SECONDS = 12 * 3600
# An array of 500 events is 50 batches; eight at a time keep the answer within a second.
_SENDERS = 8
# No batch is begun after this long, so that a caller gets an answer before the API gives up.
SEND_SECONDS = 10.0
_ATTRIBUTE_LENGTH = 2000
# Characters that SQS refuses in an attribute: what XML 1.0 cannot carry.
_UNSENDABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class SqsOutbox:
    """Sends accepted events to a queue."""

    client: SQSClient
    url: str
    journal: Journal
    now: Callable[[], float]

    def send(self, bodies: Sequence[str]) -> frozenset[int]:
        """Send each body; returns the positions of those that SQS did not confirm."""
        runs = list(chunks([len(body) for body in bodies], most=BATCH, most_bytes=BATCH_BYTES))
        until = self.now() + SEND_SECONDS
        if len(runs) <= 1:
            return frozenset().union(*(self._send(bodies, run, until) for run in runs))
        with ThreadPoolExecutor(_SENDERS) as threads:
            return frozenset().union(*threads.map(lambda run: self._send(bodies, run, until), runs))

    def _send(self, bodies: Sequence[str], run: range, until: float) -> frozenset[int]:
        if self.now() > until:
            return frozenset(run)
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(position), "MessageBody": bodies[position]} for position in run
        ]
        try:
            answer = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
        except (ClientError, BotoCoreError) as exc:
            self.journal.record("queue.unavailable", reason=type(exc).__name__)
            return frozenset(run)
        confirmed = {int(entry["Id"]) for entry in answer.get("Successful", [])}
        return frozenset(run) - confirmed


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """Hands messages back to a queue and parks them on the dead-letter queue.

    `name` is what a parked event's attribute `queue` says: where it would have to go again.
    """

    client: SQSClient
    url: str
    dead_letter_url: str
    journal: Journal
    name: str = "events"

    def hand_back(self, delays: Mapping[str, float]) -> None:
        """Hide each receipt's message for so many seconds.

        Best effort: where it fails, the message comes back after the queue's own time-out.
        """
        receipts = list(delays)
        for start in range(0, len(receipts), BATCH):
            self._hide({receipt: delays[receipt] for receipt in receipts[start : start + BATCH]})

    def _hide(self, delays: Mapping[str, float]) -> None:
        entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
            {
                "Id": str(position),
                "ReceiptHandle": receipt,
                "VisibilityTimeout": min(math.ceil(max(seconds, 0)), LONGEST_HIDING_SECONDS),
            }
            for position, (receipt, seconds) in enumerate(delays.items())
        ]
        try:
            answer = self.client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        except (ClientError, BotoCoreError) as exc:
            self.journal.record("queue.visibility_unchanged", reason=type(exc).__name__)
            return
        for entry in answer.get("Failed", []):
            self.journal.record("queue.visibility_unchanged", reason=entry["Code"])

    def park(self, body: str, attributes: Mapping[str, str]) -> None:
        """Put a whole event on the dead-letter queue with its reason; raises Unavailable."""
        try:
            self.client.send_message(
                QueueUrl=self.dead_letter_url,
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": _sendable(value)}
                    for name, value in {**attributes, "queue": self.name}.items()
                },
            )
        except (ClientError, BotoCoreError) as exc:
            raise Unavailable(f"the dead-letter queue refused: {type(exc).__name__}") from exc


def chunks(sizes: Sequence[int], *, most: int, most_bytes: int) -> Iterator[range]:
    """Cut positions into runs of at most `most` items and `most_bytes` bytes, one item at least."""
    start, weight = 0, 0
    for position, size in enumerate(sizes):
        if position > start and (position - start == most or weight + size > most_bytes):
            yield range(start, position)
            start, weight = position, 0
        weight += size
    if start < len(sizes):
        yield range(start, len(sizes))


def _sendable(text: str) -> str:
    return _UNSENDABLE.sub("?", text)[:_ATTRIBUTE_LENGTH] or "?"
