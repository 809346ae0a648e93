"""The event queue and the page queue, as ingest fills them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.aws import SQS_BATCH
from cometly_forwarder.journal import Journal

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

# A batch holds 1 MiB (SQS, since August 2025).
BATCH_BYTES = 1024 * 1024
# An array of 500 events is 50 batches; eight at a time keep the answer within a second.
_SENDERS = 8
# No batch is begun after this long, so that a caller gets an answer before the API gives up.
SEND_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """What SQS did not take of a batch, and why, where the whole call failed."""

    refused: frozenset[int]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class SqsEventQueue:
    """Sends accepted events to a queue."""

    client: SQSClient
    url: str
    journal: Journal
    now: Callable[[], float]

    def send(self, bodies: Sequence[str]) -> frozenset[int]:
        """Send each body; returns the positions of those that SQS did not confirm."""
        runs = list(chunks([len(body) for body in bodies], most=SQS_BATCH, most_bytes=BATCH_BYTES))
        until = self.now() + SEND_SECONDS
        each = map if len(runs) <= 1 else _senders().map
        sent = list(each(lambda run: self._send(bodies, run, until), runs))
        # One line a request, where each of fifty batches may have failed.
        for reason, batches in Counter(it.failure for it in sent if it.failure).items():
            self.journal.record("queue.unavailable", reason=reason, batches=batches)
        return frozenset().union(*(it.refused for it in sent))

    def _send(self, bodies: Sequence[str], run: range, until: float) -> _Sent:
        if self.now() > until:
            return _Sent(frozenset(run))
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(position), "MessageBody": bodies[position]} for position in run
        ]
        try:
            answer = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
        except (ClientError, BotoCoreError) as exc:
            return _Sent(frozenset(run), type(exc).__name__)
        confirmed = {int(entry["Id"]) for entry in answer.get("Successful", [])}
        return _Sent(frozenset(run) - confirmed)


@cache
def _senders() -> ThreadPoolExecutor:
    """Keep the threads from array to array: to start eight takes as long as to read ten events."""
    return ThreadPoolExecutor(_SENDERS)


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
