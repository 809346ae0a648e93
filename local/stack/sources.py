"""Publish the samples of `events/sns/` and `events/eventbridge/`, and see what comes of each.

A sample is what deliver gets of such an event, so that `sam local invoke` takes it too: a batch of
the queue, whose message is what SNS or EventBridge put around the event.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from local.stack import cometly, samples
from local.stack.deploy import Deployed
from local.stack.errors import StepFailed

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

FOLDERS = ("sns", "eventbridge")


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published: a message of SNS or an event of EventBridge, as the queue gets it."""

    name: str
    content: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> Publication:
        """Read a sample; raise StepFailed where it is none."""
        try:
            [record] = json.loads(file.read_text("utf-8"))["Records"]
            content = json.loads(record["body"])
            if not {"Message", "detail"} & content.keys():
                raise KeyError("Message or detail")  # noqa: TRY301 - one answer for all that is wrong
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise StepFailed(
                f"{file} is no batch with one message of SNS or EventBridge: {exc!r}"
            ) from exc
        return cls(f"{_WAYS[file.parent.name]}: {file.stem}", content)


_WAYS = {"sns": "By SNS", "eventbridge": "By EventBridge"}


@dataclass(frozen=True, slots=True)
class Publisher:
    """Puts events on the stack's topic and bus."""

    session: boto3.session.Session
    endpoint_url: str
    names: Deployed

    def publish(self, publication: Publication) -> None:
        content = publication.content
        if "Message" in content:
            sns = self.session.client("sns", endpoint_url=self.endpoint_url)
            sns.publish(TopicArn=self.names.topic_arn, Message=content["Message"])
            return
        events = self.session.client("events", endpoint_url=self.endpoint_url)
        events.put_events(
            Entries=[
                {
                    "EventBusName": self.names.event_bus_name,
                    "Source": content["source"],
                    "DetailType": content["detail-type"],
                    "Detail": json.dumps(content["detail"]),
                }
            ]
        )

    def parked(self) -> int:
        """Count the dead letters."""
        sqs: SQSClient = self.session.client("sqs", endpoint_url=self.endpoint_url)
        answer = sqs.get_queue_attributes(
            QueueUrl=self.names.dead_letter_queue_url,
            AttributeNames=["ApproximateNumberOfMessages"],
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def read_all(events: Path) -> list[Publication]:
    """Read every sample below a folder."""
    return [
        Publication.read(file)
        for folder in FOLDERS
        for file in sorted((events / folder).glob("*.json"))
    ]


def rows(
    found: Iterable[Publication], publisher: Publisher, sandbox_url: str | None
) -> Iterator[tuple[str, str, str, str]]:
    """Publish each sample and yield its row of the table."""
    for publication in found:
        last = samples.last_event(sandbox_url)
        parked = publisher.parked()
        began = time.time()
        publisher.publish(publication)
        if sandbox_url is None:
            yield publication.name, "published", "on its way", ""
            continue
        received = _outcome(sandbox_url, last, publisher, parked)
        yield publication.name, "published", received, f"{time.time() - began:.2f} s"


def _outcome(sandbox_url: str, last: int, publisher: Publisher, parked: int) -> str:
    deadline = time.monotonic() + samples.ARRIVES_WITHIN
    while time.monotonic() < deadline:
        if events := cometly.events_since(sandbox_url, last):
            return samples.describe(events)
        if publisher.parked() > parked:
            return "nothing: it is parked, with its reason"
        time.sleep(0.05)
    return f"nothing within {samples.ARRIVES_WITHIN:.0f} s"
