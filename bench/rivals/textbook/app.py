"""A forwarder by the book: Powertools, a queue with a dead-letter queue, an idempotency table."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import boto3
import requests
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import UnauthorizedError
from aws_lambda_powertools.event_handler.openapi.params import Body
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.parameters import get_secret
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

SQS_BATCH = 10
COMETLY_SECONDS = 10

logger = Logger()
app = APIGatewayHttpResolver(enable_validation=True)
sqs = boto3.client("sqs")
session = requests.Session()
processor = BatchProcessor(event_type=EventType.SQS)
ledger = DynamoDBPersistenceLayer(table_name=os.environ["TABLE_NAME"])
once = IdempotencyConfig(event_key_jmespath="idempotency_key", expires_after_seconds=86400)


class Event(BaseModel):
    """What is checked; other fields go to Cometly as they are."""

    model_config = ConfigDict(extra="allow")

    event_name: str
    email: str | None = None
    comet_token: str | None = None
    idempotency_key: str | None = None
    order_id: str | None = None
    amount: float | None = None


@app.post("/v1/events")
def accept(events: Annotated[Event | list[Event], Body()]) -> Response[dict[str, int]]:
    """Put valid events on the queue, ten a call."""
    if app.current_event.headers.get("authorization") != f"Bearer {_secret('SERVER_KEY_ARN')}":
        raise UnauthorizedError("The key is missing or wrong.")
    given = events if isinstance(events, list) else [events]
    for start in range(0, len(given), SQS_BATCH):
        answer = sqs.send_message_batch(
            QueueUrl=os.environ["QUEUE_URL"],
            Entries=[
                {"Id": str(place), "MessageBody": _message(event)}
                for place, event in enumerate(given[start : start + SQS_BATCH])
            ],
        )
        if answer.get("Failed"):
            raise RuntimeError("SQS did not take every message")
    logger.info("accepted", count=len(given))
    return Response(202, content_type="application/json", body={"accepted": len(given)})


def ingest(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)


@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="event", persistence_store=ledger, config=once
)
def forward(event: dict[str, Any]) -> None:
    """Post one event; an answer other than 2xx raises, and SQS tries again."""
    answer = session.post(
        os.environ["COMETLY_URL"] + "/public-api/v1/events/track",
        json=event,
        headers={
            "Authorization": f"Bearer {_secret('COMETLY_TOKEN_ARN')}",
            "Accept": "application/json",
        },
        timeout=COMETLY_SECONDS,
    )
    answer.raise_for_status()
    logger.info("delivered", idempotency_key=event["idempotency_key"])


def handle_record(record: SQSRecord) -> None:
    forward(event=json.loads(record.body))


def deliver(event: dict[str, Any], context: LambdaContext) -> Any:
    once.register_lambda_context(context)
    return process_partial_response(event, handle_record, processor, context)


def _message(event: Event) -> str:
    content = event.model_dump(exclude_none=True)
    content.setdefault("idempotency_key", event.order_id or str(uuid4()))
    return json.dumps(content)


def _secret(variable: str) -> str:
    return str(get_secret(os.environ[variable], max_age=300))
