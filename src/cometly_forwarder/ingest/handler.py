"""The HTTPS front: which path leads to which route."""

from __future__ import annotations

import base64
import os
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler import Response as ApiResponse
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from cometly_forwarder import aws, jsontext
from cometly_forwarder.ingest.accept import Intake
from cometly_forwarder.ingest.queue import SqsEventQueue
from cometly_forwarder.ingest.responses import Response, refusal
from cometly_forwarder.ingest.routes import Request, Routes, crash_of
from cometly_forwarder.ingest.settings import IngestSettings
from cometly_forwarder.ingest.shares import Shares
from cometly_forwarder.observability import Journal, make_logger, make_metrics
from cometly_forwarder.secrets import Secret, ServerKeys
from cometly_forwarder.stopwatch import Stopwatch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

journal = Journal(make_logger(), make_metrics())
app = APIGatewayHttpResolver()


@cache
def routes() -> Routes:
    """Build the clients: once, in the first invocation that needs them."""
    settings = IngestSettings.read(os.environ)
    secret = Secret(aws.client("secretsmanager"), settings.keys_secret_arn, Stopwatch())
    event_queue = SqsEventQueue(aws.client("sqs"), settings.queue_url, journal, time.monotonic)
    intake = Intake(event_queue, _utc_now, lambda: str(uuid.uuid4()), settings.phone_region)
    return Routes(
        intake=intake,
        page_intake=replace(intake, event_queue=replace(event_queue, url=settings.page_queue_url)),
        keys=ServerKeys(secret),
        browser=settings.browser,
        shares=Shares(settings.visitor_events_per_minute, Stopwatch()),
        journal=journal,
    )


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of the HTTP API (payload format 2.0)."""
    journal.begin(context.aws_request_id)
    try:
        return app.resolve(event, context)
    finally:
        journal.flush()


@app.get("/health")
def health() -> ApiResponse[str]:
    return _response(Response(200, {"status": "ok"}))


@app.post("/v1/events")
def post_events() -> ApiResponse[str]:
    return _response(routes().services(_request()))


@app.post("/public-api/v1/events/track")
def post_as_to_cometly() -> ApiResponse[str]:
    return _response(routes().drop_in(_request()))


@app.post("/collect")
def collect() -> ApiResponse[str]:
    return _response(routes().pages(_request()))


@app.route("/collect", method="OPTIONS")
def preflight() -> ApiResponse[str]:
    return _response(routes().preflight(_request()))


# An HTTP API compresses nothing by itself.
@app.get("/client.js", compress=True)
def client_script() -> ApiResponse[str]:
    """Serve the page's script. It changes only with a deployment; an hour is soon enough."""
    return ApiResponse(
        status_code=200,
        content_type="text/javascript; charset=utf-8",
        body=_script(),
        headers={
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": "public, max-age=3600",
            # For pages that embed nothing which does not ask to be (COEP).
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Vary": "Accept-Encoding",
        },
    )


_METHODS = {
    "/health": "GET",
    "/v1/events": "POST",
    "/public-api/v1/events/track": "POST",
    "/collect": "POST",
    "/client.js": "GET",
}


@app.not_found
def no_such_route(_: NotFoundError) -> ApiResponse[str]:
    allowed = _METHODS.get(app.current_event.path)
    if allowed:
        return _response(refusal(405, f"This path takes {allowed} only.", Allow=allowed))
    return _response(refusal(404, "There is nothing at this path."))


@app.exception_handler(Exception)  # type: ignore[untyped-decorator]  # as Powertools has it
def crashed(exc: Exception) -> ApiResponse[str]:
    """Answer for what fails outside of the routes: the settings, say."""
    return _response(crash_of(exc, journal))


def _request() -> Request:
    event = app.current_event
    body = event.body or ""
    return Request(
        headers={name.lower(): value for name, value in event.headers.items()},
        body=base64.b64decode(body)
        if event.is_base64_encoded
        else body.encode(errors="surrogatepass"),
        source_ip=event.request_context.http.source_ip,
    )


def _response(response: Response) -> ApiResponse[str]:
    return ApiResponse(
        status_code=int(response.status),
        content_type="application/json",
        body=jsontext.dump(response.body) if response.body else "",
        headers=dict(response.headers),
    )


@cache
def _script() -> str:
    return (
        resources.files("cometly_forwarder.ingest")
        .joinpath("client.js")
        .read_text(encoding="utf-8")
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
