"""What lies on the dead-letter queue, by reason, without taking anything off it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ops.target import Target

# SQS hands out ten messages a call, each as hidden from others for so long, unless put back sooner.
_BATCH, _HIDDEN_SECONDS = 10, 20
MOST_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Parked:
    """How many are parked, and the reasons of those that were looked at."""

    count: int
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def looked_at(self) -> int:
        return self.reasons.total()

    def record(self) -> dict[str, Any]:
        return {
            "parked": self.count,
            "parked_by_reason": dict(self.reasons.most_common()),
            "parked_looked_at": self.looked_at,
        }


def parked_on(target: Target, *, most: int = MOST_LOOKED_AT) -> Parked:
    """Count by reason. Messages are hidden from others for a moment, then put back."""
    url = target.outputs["DeadLetterQueueUrl"]
    if not (count := target.count(url)):
        return Parked(0)
    held: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    try:
        while len(held) < min(most, count) and (messages := _received(target, url)):
            fresh = [it for it in messages if it["MessageId"] not in held]
            held |= {it["MessageId"]: it["ReceiptHandle"] for it in messages}
            reasons.update(_reason_of(it) for it in fresh)
            if not fresh:
                break
    finally:
        _put_back(target, url, list(held.values()))
    return Parked(max(count, len(held)), reasons)


def _received(target: Target, url: str) -> list[dict[str, Any]]:
    answer: Any = target.clients.sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=_BATCH,
        VisibilityTimeout=_HIDDEN_SECONDS,
        WaitTimeSeconds=1,
        MessageAttributeNames=["reason"],
    )
    return list(answer.get("Messages", ()))


def _reason_of(message: dict[str, Any]) -> str:
    attribute = message.get("MessageAttributes", {}).get("reason", {})
    # "HTTP 422" and "invalid" as they are; of longer ones, what stands before the details.
    return str(attribute.get("StringValue", "")).partition(":")[0] or "(none)"


def _put_back(target: Target, url: str, receipts: list[str]) -> None:
    for start in range(0, len(receipts), _BATCH):
        target.clients.sqs.change_message_visibility_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for place, receipt in enumerate(receipts[start : start + _BATCH])
            ],
        )
