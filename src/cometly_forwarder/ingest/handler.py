"""The HTTPS front: which path leads to which route, and what an error is answered with."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cometly_forwarder import loading

# isort: split
from cometly_forwarder import aws, jsontext
from cometly_forwarder.errors import SettingsError, Unavailable, Unreadable, trace_of
from cometly_forwarder.ingest.accept import Intake
from cometly_forwarder.ingest.bodies import Refused, Request
from cometly_forwarder.ingest.ledger import LedgerReader
from cometly_forwarder.ingest.queue import SqsEventQueue
from cometly_forwarder.ingest.responses import (
    CRASHED_MESSAGE,
    RETRY_AFTER_SECONDS,
    Response,
    refusal,
)
from cometly_forwarder.ingest.routes import Routes
from cometly_forwarder.ingest.settings import IngestSettings
from cometly_forwarder.ingest.shares import Shares
from cometly_forwarder.observability import Journal, make_logger, make_metrics
from cometly_forwarder.secrets import Secret, ServerKeys
from cometly_forwarder.stopwatch import Stopwatch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# An answer to a request, and the same as API Gateway reads it (payload format 2.0).
Route = Callable[[Routes, Request], Response]
Answer = dict[str, Any]
Endpoint = Callable[[Request], Answer]

journal = Journal(make_logger(), make_metrics())


@cache
def routes() -> Routes:
    """Build the clients: once, when the function is loaded."""
    settings = IngestSettings.read(os.environ)
    secret = Secret(aws.client("secretsmanager"), settings.server_keys_secret_arn, Stopwatch())
    event_queue = SqsEventQueue(
        aws.client("sqs"), settings.event_queue_url, journal, time.monotonic
    )
    intake = Intake(event_queue, _utc_now, lambda: os.urandom(16).hex(), settings.event_rules)
    return Routes(
        intake=intake,
        page_intake=replace(
            intake,
            event_queue=replace(event_queue, url=settings.page_queue_url),
            rules=replace(intake.rules, event_names=settings.browser_event_names),
        ),
        keys=ServerKeys(secret),
        # Few ask: the first one waits for the client.
        ledger=LedgerReader(cache(lambda: aws.client("dynamodb")), settings.table_name),
        browser=settings.browser,
        shares=Shares(settings.visitor_events_per_minute, Stopwatch()),
        journal=journal,
    )


def handler(event: dict[str, Any], context: LambdaContext) -> Answer:
    """Answer one request of the HTTP API (payload format 2.0)."""
    journal.begin(context.aws_request_id)
    method = event["requestContext"]["http"]["method"]
    try:
        # HEAD is GET without the body.
        endpoint = _endpoint("GET" if method == "HEAD" else method, event["rawPath"])
        answer = endpoint(_request(event))
        return {**answer, "body": ""} if method == "HEAD" else answer
    finally:
        journal.flush()


def _endpoint(method: str, path: str) -> Endpoint:
    """Find what answers; a path with a slash at its end is the one without."""
    whole = path.rstrip("/") or "/"
    folder, _, _ = whole.rpartition("/")
    methods = ROUTES.get(whole) or ROUTES.get(folder + ANY_EVENT, {})
    return methods.get(method) or _nothing_at(methods)


def _nothing_at(methods: Mapping[str, Endpoint]) -> Endpoint:
    allowed = ", ".join(method for method in methods if method != "OPTIONS")
    if allowed:
        response = refusal(405, f"This path takes {allowed} only.", Allow=allowed)
    else:
        response = refusal(404, "There is nothing at this path.")
    return lambda _: _answer(response)


def health(_: Request) -> Answer:
    return _answer(Response(200, {"status": "ok"}))


def client_script(request: Request) -> Answer:
    """Serve the page's script. It changes only with a deployment; an hour is soon enough."""
    answer = {
        "statusCode": 200,
        "headers": {
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": "public, max-age=3600",
            "Content-Type": "text/javascript; charset=utf-8",
            # For pages that embed nothing which does not ask to be (COEP).
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Vary": "Accept-Encoding",
        },
        "body": _script(),
    }
    # An HTTP API compresses nothing by itself.
    return _packed(answer) if "gzip" in request.headers.get("accept-encoding", "") else answer


def _packed(answer: Answer) -> Answer:
    body = base64.b64encode(gzip.compress(answer["body"].encode(), mtime=0)).decode()
    headers = {**answer["headers"], "Content-Encoding": "gzip"}
    return {**answer, "headers": headers, "body": body, "isBase64Encoded": True}


def served(route: Route) -> Endpoint:
    """Answer with what a route returns, or with what the error that it raises means."""
    return lambda request: _answer(_response(route, request))


def for_pages(route: Route) -> Route:
    """Let allowed origins in alone; each answer after that, an error too, is theirs to read."""

    def guarded(routes: Routes, request: Request) -> Response:
        cors = routes.admit_page(request.headers.get("origin", ""))
        response = _response(route, request)
        return replace(response, headers={**response.headers, **cors})

    return guarded


def _response(route: Route, request: Request) -> Response:
    try:
        return route(routes(), request)
    except Refused as exc:
        return exc.response
    except Unreadable as exc:
        return refusal(400, f"The body is not JSON that can be read: {exc}.")
    except Unavailable as exc:
        journal.record("ingest.unavailable", reason=str(exc))
        wait = str(RETRY_AFTER_SECONDS)
        return refusal(503, "The service is unavailable; please try again.", Retry_After=wait)
    except Exception as exc:  # noqa: BLE001 - a defect of ours
        # Only its trace is logged: a message may quote the event.
        journal.record("ingest.crashed", reason=trace_of(exc))
        return refusal(500, CRASHED_MESSAGE)


# Stands for the last part of a path, where no path of this table is that very one.
ANY_EVENT = "/{event_id}"
# What answers at each path, by method. A preflight's method is not one that a 405 names.
ROUTES: Mapping[str, Mapping[str, Endpoint]] = {
    "/v1/events": {"POST": served(Routes.services)},
    "/v1/events/lookup": {"POST": served(Routes.lookup)},
    "/v1/events" + ANY_EVENT: {"GET": served(Routes.event)},
    "/public-api/v1/events/track": {"POST": served(Routes.drop_in)},
    "/collect": {
        "POST": served(for_pages(Routes.pages)),
        "OPTIONS": served(for_pages(Routes.preflight)),
    },
    "/client.js": {"GET": client_script},
    "/health": {"GET": health},
}


def _request(event: Mapping[str, Any]) -> Request:
    body = event.get("body") or ""
    return Request(
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        body=base64.b64decode(body)
        if event.get("isBase64Encoded")
        else body.encode(errors="surrogatepass"),
        source_ip=event["requestContext"]["http"]["sourceIp"],
        query=event.get("queryStringParameters") or {},
        name=event["rawPath"].rstrip("/").rpartition("/")[2],
    )


def _answer(response: Response) -> Answer:
    return {
        "statusCode": int(response.status),
        "headers": {"Content-Type": "application/json", **response.headers},
        "body": jsontext.dump(response.body) if response.body else "",
    }


@cache
def _script() -> str:
    return Path(__file__).with_name("client.js").read_text("utf-8")


def _utc_now() -> datetime:
    return datetime.now(UTC)


# Loading has a whole processor, an invocation a part of one. What is wrong with the settings is
# said by the first invocation that needs them.
with contextlib.suppress(SettingsError):
    routes()
    aws.read_certificates()
loading.done()
