"""The dead-letter queue, which SQS lets nobody browse: messages are taken, held and put back.

While a run holds a message, no other reader sees it. At the run's end all that it still holds is
put back at once; after a run that was killed SQS puts it back, as long after it was taken as the
run asked for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.aws import SQS_BATCH
from cometly_forwarder.event.envelope import Source
from ops.deadletters.bodies import name_in

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

HOLD_SECONDS = 300
# SQS lets 120,000 messages of a queue be held at once.
MOST_HELD = 100_000
# What is held for longer comes again, in no order: when all of it came and nothing else, and so
# many calls more brought nothing else, all was seen.
_CALLS_MORE = 5
# SQS asks all its servers only if it may wait; without it, an empty answer means little.
WAIT_SECONDS = 1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked event. `sent_at` is Unix time in seconds."""

    id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    attributes: Mapping[str, str]
    sent_at: float

    @property
    def event_id(self) -> str:
        return self.attributes.get("event_id", "")

    @property
    def reason(self) -> str:
        """Why it was parked. SQS itself gives none, after a thousand receives."""
        return self.attributes.get("reason", "(none)")

    @property
    def name(self) -> str:
        return name_in(self.body)

    @property
    def source(self) -> Source:
        """What deliver takes for its source: SQS keeps a message's id when it moves it here.

        Deliver parks as another message, and may do so twice if it is killed on the way: then the
        id that it gave the event is the same of both.
        """
        return Source(
            "sqs", self.event_id or self.id, datetime.fromtimestamp(self.accepted_at, UTC)
        )

    @property
    def accepted_at(self) -> float:
        """When it was accepted, as far as is known; when it was sent, otherwise."""
        with contextlib.suppress(KeyError, ValueError):
            return datetime.fromisoformat(self.attributes["accepted_at"]).timestamp()
        return self.sent_at

    def record(self) -> dict[str, Any]:
        """Return all of it: what it holds of a person, too."""
        sent_at = datetime.fromtimestamp(self.sent_at, UTC).isoformat()
        known = {"message_id": self.id, "sent_at": sent_at, "attributes": dict(self.attributes)}
        return {**known, "body": self.body}


@dataclass(slots=True)
class Shelf:
    """Takes messages off the queue, each once in a run, and puts back what was not deleted."""

    sqs: SQSClient
    url: str
    tell: Callable[[str], None]
    wait_seconds: int = field(default_factory=lambda: WAIT_SECONDS)
    hold_seconds: int = field(default_factory=lambda: HOLD_SECONDS)
    _held: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._put_back()

    @property
    def held(self) -> int:
        return len(self._held)

    def now(self) -> float:
        """Return the queue's own time, to the second; ours, where it does not say."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        with contextlib.suppress(KeyError, ValueError):
            date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
            return parsedate_to_datetime(date).timestamp()
        return time.time()

    def letters(self, most: Callable[[], int] = lambda: SQS_BATCH) -> Iterator[DeadLetter]:
        """Yield each message once. `most` says before each call how many may be taken."""
        for batch in self.batches(most):
            yield from batch

    def batches(self, most: Callable[[], int] = lambda: SQS_BATCH) -> Iterator[list[DeadLetter]]:
        """Yield what one call took that was not held before."""
        known = 0
        while known < self.held // SQS_BATCH + _CALLS_MORE:
            if self.held >= MOST_HELD:
                self.tell(f"Looked at {MOST_HELD} that stay; SQS lets nobody hold more at once.")
                return
            found = self._received(most())
            if not found:
                return
            fresh = [it for it in found if it.id not in self._held]
            self._held |= {it.id: it.receipt for it in found}
            known = 0 if fresh else known + 1
            yield fresh

    def delete(self, letter: DeadLetter) -> None:
        receipt = self._held.get(letter.id, letter.receipt)
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)
        self._held.pop(letter.id, None)

    def _received(self, most: int) -> list[DeadLetter]:
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=self.hold_seconds,
            WaitTimeSeconds=self.wait_seconds,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [_letter(it) for it in answer.get("Messages", ())]

    def _put_back(self) -> None:
        receipts = list(self._held.values())
        self._held.clear()
        try:
            for start in range(0, len(receipts), SQS_BATCH):
                self.sqs.change_message_visibility_batch(
                    QueueUrl=self.url,
                    Entries=[
                        {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for place, receipt in enumerate(receipts[start : start + SQS_BATCH])
                    ],
                )
        except (ClientError, BotoCoreError):
            self.tell(
                "What was looked at could not be put back: SQS does so within "
                f"{self.hold_seconds} s."
            )


def _letter(message: Any) -> DeadLetter:
    attributes = message.get("MessageAttributes", {})
    return DeadLetter(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        attributes={name: it.get("StringValue", "") for name, it in attributes.items()},
        sent_at=int(message["Attributes"]["SentTimestamp"]) / 1000,
    )
