"""The smallest forwarder that works: a queue between two functions, and nothing else."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import urllib3

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

COMETLY_SECONDS = 10.0

sqs = boto3.client("sqs")
http = urllib3.PoolManager()


def ingest(event: dict[str, Any], _: LambdaContext) -> dict[str, Any]:
    if event["headers"].get("authorization") != f"Bearer {os.environ['SERVER_KEY']}":
        return {"statusCode": 401}
    content = json.loads(event["body"])
    for each in content if isinstance(content, list) else [content]:
        sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=json.dumps(each))
    return {"statusCode": 202, "body": "{}"}


def deliver(event: dict[str, Any], _: LambdaContext) -> None:
    """Post one after the other; where one fails, SQS brings the whole batch again."""
    for record in event["Records"]:
        answer = http.request(
            "POST",
            os.environ["COMETLY_URL"] + "/public-api/v1/events/track",
            body=record["body"],
            headers={
                "Authorization": f"Bearer {os.environ['COMETLY_TOKEN']}",
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
            timeout=COMETLY_SECONDS,
        )
        if answer.status != 202:
            raise RuntimeError(f"Cometly answered {answer.status}")
