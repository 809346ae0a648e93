"""The queue that deliver reads, and the dead-letter queue on which it parks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.aws import SQS_BATCH
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.journal import Journal

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import ChangeMessageVisibilityBatchRequestEntryTypeDef

# SQS hides a message for twelve hours at the most.
LONGEST_HIDING_SECONDS = 12 * 3600
_ATTRIBUTE_LENGTH = 2000
# Characters that SQS refuses in an attribute: what XML 1.0 cannot carry. Compiled when an event is
# parked: it takes 3 ms, and few functions park one.
_UNSENDABLE = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


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

    def release(self, delays: Mapping[str, float]) -> None:
        """Hide each receipt's message for so many seconds.

        Best effort: where it fails, the message comes back after the queue's own time-out. After a
        call without an answer there is no other one, for the invocation must end in time.
        """
        receipts = list(delays)
        for start in range(0, len(receipts), SQS_BATCH):
            hidden = receipts[start : start + SQS_BATCH]
            if not self._hide({receipt: delays[receipt] for receipt in hidden}):
                return

    def _hide(self, delays: Mapping[str, float]) -> bool:
        """Hide up to ten messages; returns whether SQS answered."""
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
            return isinstance(exc, ClientError)
        for entry in answer.get("Failed", []):
            self.journal.record("queue.visibility_unchanged", reason=entry["Code"])
        return True

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


def _sendable(text: str) -> str:
    return re.sub(_UNSENDABLE, "?", text)[:_ATTRIBUTE_LENGTH] or "?"
