"""One system's ingest in this process: `python -m bench.ingest_worker SYSTEM SHAPE SIZE...`.

The last line on stderr is the processor time of a request in us, for each size.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "EVENT_QUEUE_URL": "https://sqs.example.com/1/events",
    "QUEUE_URL": "https://sqs.example.com/1/events",
    "TABLE_NAME": "table",
    "SERVER_KEYS_SECRET_ARN": "keys",
    "SERVER_KEY_ARN": "keys",
    "SERVER_KEY": "key",
    "COMETLY_TOKEN_ARN": "token",
    "COMETLY_URL": "https://cometly.example.com",
    "PASSED_ON_FIELDS": "currency,profile_field_*",
    "DEFAULT_PHONE_REGION": "US",
    "POWERTOOLS_SERVICE_NAME": "bench",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}
# So that each figure rests on about as much work.
_EVENTS_A_FIGURE = 3000
_LEAST, _MOST, _BLOCKS = 6, 600, 6


@dataclass(frozen=True)
class Context:
    """What a handler reads of Lambda's context."""

    function_name: str = "ingest"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:ingest"
    aws_request_id: str = "invocation-1"

    def get_remaining_time_in_millis(self) -> int:
        return 25_000


class Aws:
    """SQS and Secrets Manager that agree to everything."""

    def send_message_batch(self, *, Entries: Any, **_: Any) -> Any:  # noqa: N803
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def send_message(self, **_: Any) -> Any:
        return {}

    def get_secret_value(self, **_: Any) -> Any:
        return {"SecretString": json.dumps({"current": "key", "previous": ""})}


def handler_of(system: str) -> Callable[[Any, Any], Any]:
    """Load a system's handler with AWS stubbed."""
    if system == "ours":
        from cometly_forwarder import aws  # noqa: PLC0415

        aws.client = lambda *_: Aws()  # type: ignore[assignment]
        from cometly_forwarder.ingest.handler import handler  # noqa: PLC0415

        return handler
    import boto3  # noqa: PLC0415
    from aws_lambda_powertools.utilities import parameters  # noqa: PLC0415

    boto3.client = lambda *_: Aws()  # type: ignore[assignment]
    parameters.get_secret = lambda *_, **__: "key"  # type: ignore[assignment]
    if system == "textbook":
        from bench.rivals.textbook.app import ingest as textbook  # noqa: PLC0415

        return textbook
    from bench.rivals.minimal.app import ingest as minimal  # noqa: PLC0415

    return minimal


# As Cometly takes it, so that a rival may pass it on as it is.
CLEAN = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "phone": "16505551212",
    "event_time": "2026-03-12T19:03:58Z",
    "fingerprint": "f-203",
    "ip": "203.0.113.7",
    "url": "https://shop.example.com/thanks?utm_source=mail",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126 Safari/537.36",
}


def event(shape: str, number: int) -> dict[str, Any]:
    """Return a purchase: `short`, or `long` as a shop's back end sends it."""
    short = {
        "event_name": "purchase",
        "email": f"ada{number}@example.com",
        "amount": 129.9,
        "order_id": f"order-{number}",
    }
    if shape == "short":
        return short
    return short | CLEAN | {"phone": "(650) 555-1212", "currency": "USD"}


def request(shape: str, size: int, first: int) -> dict[str, Any]:
    """Return what API Gateway makes of a post (payload format 2.0)."""
    events = [event(shape, first + place) for place in range(size)]
    return {
        "version": "2.0",
        "routeKey": "POST /v1/events",
        "rawPath": "/v1/events",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "authorization": "Bearer key"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "http": {
                "method": "POST",
                "path": "/v1/events",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "agent",
            },
            "requestId": "request-1",
            "stage": "$default",
            "timeEpoch": 1710270238000,
        },
        "body": json.dumps(events[0] if size == 1 else events),
        "isBase64Encoded": False,
    }


def microseconds(handle: Callable[[Any, Any], Any], shape: str, size: int) -> float:
    """Return the processor time of a request: the median of a few blocks of them."""
    count = min(max(_EVENTS_A_FIGURE // size, _LEAST), _MOST)
    requests = [request(shape, size, number * size) for number in range(count)]
    context, times = Context(), []
    for block in range(_BLOCKS):
        part = requests[block::_BLOCKS]
        began = time.process_time()
        for each in part:
            answer = handle(each, context)
            if answer["statusCode"] != 202:
                raise RuntimeError(answer)
        times.append((time.process_time() - began) / len(part))
    return statistics.median(times[1:]) * 1e6


def main(system: str, shape: str, *sizes: str) -> None:
    os.environ.update(ENVIRONMENT)
    handle = handler_of(system)
    figures = [microseconds(handle, shape, int(size)) for size in sizes]
    sys.stdout.flush()
    sys.stderr.write(f"\n{json.dumps(figures)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
