"""The HTTPS front: which path leads to which route, and what an error is answered with."""

from __future__ import annotations

import base64
import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler import Response as ApiResponse
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from cometly_forwarder import aws, jsontext
from cometly_forwarder.errors import SettingsError, Unavailable, Unreadable, trace_of
from cometly_forwarder.ingest.accept import Intake
from cometly_forwarder.ingest.bodies import Refused, Request
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

# An answer to a request, and the same in the form that Powertools calls.
Route = Callable[[Routes, Request], Response]
Endpoint = Callable[[], ApiResponse[str]]

journal = Journal(make_logger(), make_metrics())
app = APIGatewayHttpResolver()


@cache
def routes() -> Routes:
    """Build the clients: once, when the function is loaded."""
    settings = IngestSettings.read(os.environ)
    secret = Secret(aws.client("secretsmanager"), settings.server_keys_secret_arn, Stopwatch())
    event_queue = SqsEventQueue(
        aws.client("sqs"), settings.event_queue_url, journal, time.monotonic
    )
    intake = Intake(event_queue, _utc_now, lambda: str(uuid.uuid4()), settings.event_rules)
    return Routes(
        intake=intake,
        page_intake=replace(
            intake,
            event_queue=replace(event_queue, url=settings.page_queue_url),
            rules=replace(intake.rules, event_names=settings.browser_event_names),
        ),
        keys=ServerKeys(secret),
        browser=settings.browser,
        shares=Shares(settings.visitor_events_per_minute, Stopwatch()),
        journal=journal,
    )


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of the HTTP API (payload format 2.0)."""
    journal.begin(context.aws_request_id)
    is_head = event["requestContext"]["http"]["method"] == "HEAD"
    try:
        answer = app.resolve(_normal(event), context)
        return {**answer, "body": ""} if is_head else answer
    finally:
        journal.flush()


def _normal(event: dict[str, Any]) -> dict[str, Any]:
    """Read HEAD as GET, and a path with a slash at its end as the one without."""
    path, about = event["rawPath"], event["requestContext"]
    method = "GET" if about["http"]["method"] == "HEAD" else about["http"]["method"]
    http = {**about["http"], "method": method}
    return {
        **event,
        "rawPath": path.rstrip("/") or "/",
        "requestContext": {**about, "http": http},
    }


def health() -> ApiResponse[str]:
    return _response(Response(200, {"status": "ok"}))


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
        # An HTTP API compresses nothing by itself.
        compress=True,
    )


def served(route: Route) -> Endpoint:
    """Adapt a route to Powertools: it answers the request that is being resolved."""

    def endpoint() -> ApiResponse[str]:
        return _response(route(routes(), _request()))

    return endpoint


def for_pages(route: Route) -> Route:
    """Let allowed origins in alone; each answer after that, an error too, is theirs to read.

    A function around the route: as a middleware of Powertools it took a preflight a tenth longer.
    """

    def guarded(routes: Routes, request: Request) -> Response:
        app.context["cors"] = routes.admit_page(request.headers.get("origin", ""))
        return route(routes, request)

    return guarded


def no_such_route(_: NotFoundError) -> ApiResponse[str]:
    methods = ROUTES.get(app.current_event.path, {})
    if allowed := ", ".join(method for method in methods if method != "OPTIONS"):
        return _response(refusal(405, f"This path takes {allowed} only.", Allow=allowed))
    return _response(refusal(404, "There is nothing at this path."))


def refused(exc: Refused) -> ApiResponse[str]:
    return _response(exc.response)


def unreadable(exc: Unreadable) -> ApiResponse[str]:
    return _response(refusal(400, f"The body is not JSON that can be read: {exc}."))


def unavailable(exc: Unavailable) -> ApiResponse[str]:
    journal.record("ingest.unavailable", reason=str(exc))
    wait = str(RETRY_AFTER_SECONDS)
    return _response(
        refusal(503, "The service is unavailable; please try again.", Retry_After=wait)
    )


def crashed(exc: Exception) -> ApiResponse[str]:
    """Answer for a defect of ours. Only its trace is logged: a message may quote the event."""
    journal.record("ingest.crashed", reason=trace_of(exc))
    return _response(refusal(500, CRASHED_MESSAGE))


# What answers at each path, by method. A preflight's method is not one that a 405 names.
ROUTES: Mapping[str, Mapping[str, Endpoint]] = {
    "/v1/events": {"POST": served(Routes.services)},
    "/public-api/v1/events/track": {"POST": served(Routes.drop_in)},
    "/collect": {
        "POST": served(for_pages(Routes.pages)),
        "OPTIONS": served(for_pages(Routes.preflight)),
    },
    "/client.js": {"GET": client_script},
    "/health": {"GET": health},
}
# What answers for an error that a route raises: the nearest class decides.
_ERRORS: Mapping[type[Exception], Callable[[Any], ApiResponse[str]]] = {
    NotFoundError: no_such_route,
    Refused: refused,
    Unreadable: unreadable,
    Unavailable: unavailable,
    Exception: crashed,
}


def _register() -> None:
    """Tell Powertools what answers at each path, and for each error."""
    for path, methods in ROUTES.items():
        for method, endpoint in methods.items():
            app.route(path, method)(endpoint)
    app.exception_handler_manager.update_exception_handlers(_ERRORS)


_register()


def _request() -> Request:
    event = app.current_event
    body = event.body or ""
    return Request(
        headers=event.headers,
        body=base64.b64decode(body)
        if event.is_base64_encoded
        else body.encode(errors="surrogatepass"),
        source_ip=event.request_context.http.source_ip,
        query=event.query_string_parameters,
    )


def _response(response: Response) -> ApiResponse[str]:
    """Write an answer; to a page that `for_pages` let in, with the headers that it needs."""
    return ApiResponse(
        status_code=int(response.status),
        content_type="application/json",
        body=jsontext.dump(response.body) if response.body else "",
        headers={**response.headers, **app.context.get("cors", {})},
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


# Loading has a whole processor, an invocation a part of one. What is wrong with the settings is
# said by the first invocation that needs them.
with contextlib.suppress(SettingsError):
    routes()
