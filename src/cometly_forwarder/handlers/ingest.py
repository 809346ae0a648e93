"""The HTTPS front: authenticate, read, accept, answer."""

from __future__ import annotations

import base64
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from cometly_forwarder import aws, browser, jsontext
from cometly_forwarder.answers import (
    RETRY_AFTER_SECONDS,
    Reply,
    refusal,
    reply_as_cometly,
    reply_to_many,
    reply_to_one,
)
from cometly_forwarder.browser import BrowserDoor, cors_headers, preflight_headers
from cometly_forwarder.errors import Unavailable, Unreadable
from cometly_forwarder.ingestion import Door, Receipt, Status, accept
from cometly_forwarder.observability import Journal, make_logger, make_metrics
from cometly_forwarder.secrets import Secret, ServerKeys
from cometly_forwarder.settings import IngestSettings
from cometly_forwarder.sqs import SqsOutbox

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MAX_BODY_BYTES = 1024 * 1024
MAX_EVENTS = 500

journal = Journal(make_logger(), make_metrics())
app = APIGatewayHttpResolver()


@dataclass(frozen=True, slots=True)
class Front:
    """What lives as long as the worker."""

    door: Door
    keys: ServerKeys
    browser: BrowserDoor


@cache
def front() -> Front:
    """Build the clients: once, in the first invocation that needs them."""
    settings = IngestSettings.read(os.environ)
    secret = Secret(aws.client("secretsmanager"), settings.keys_secret_arn, time.time)
    outbox = SqsOutbox(aws.client("sqs"), settings.queue_url, journal, time.monotonic)
    door = Door(outbox, _utc_now, lambda: str(uuid.uuid4()), settings.phone_region)
    return Front(door, ServerKeys(secret), settings.browser)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of the HTTP API (payload format 2.0)."""
    journal.begin(context.aws_request_id)
    try:
        return app.resolve(event, context)
    finally:
        journal.flush()


@app.get("/health")
def health() -> Response[str]:
    return _response(Reply(200, {"status": "ok"}))


@app.post("/v1/events")
def post_events() -> Response[str]:
    return _response(_answer(_take_one_or_many))


@app.post("/public-api/v1/events/track")
def post_as_to_cometly() -> Response[str]:
    return _response(_answer(_take_as_cometly))


@app.post("/collect")
def collect() -> Response[str]:
    return _response(_browser_answer(_take_from_browser))


@app.route("/collect", method="OPTIONS")
def preflight() -> Response[str]:
    return _response(_browser_answer(lambda origin: Reply(204, {}, preflight_headers(origin))))


@app.get("/client.js")
def client_script() -> Response[str]:
    """Serve the page's script. It changes only with a deployment; an hour is soon enough."""
    return Response(
        status_code=200,
        content_type="text/javascript; charset=utf-8",
        body=_script(),
        headers={"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"},
    )


_METHODS = {
    "/health": "GET",
    "/v1/events": "POST",
    "/public-api/v1/events/track": "POST",
    "/collect": "POST",
    "/client.js": "GET",
}


@app.not_found
def no_such_route(_: NotFoundError) -> Response[str]:
    allowed = _METHODS.get(app.current_event.path)
    if allowed:
        return _response(refusal(405, f"This path takes {allowed} only.", Allow=allowed))
    return _response(refusal(404, "There is nothing at this path."))


@app.exception_handler(Exception)  # type: ignore[untyped-decorator]  # as Powertools has it
def crashed(exc: Exception) -> Response[str]:
    """Answer for a defect of ours. Only its type is logged: a message may quote the event."""
    journal.record("ingest.crashed", reason=type(exc).__name__)
    return _response(refusal(500, "Something went wrong here; please try again."))


def _answer(take: Callable[[object, str | None], Reply]) -> Reply:
    """Do what both doors for services share: the key, the size, the JSON, and failures."""
    try:
        if not front().keys.admit(_presented_key()):
            return refusal(401, "The key is missing or wrong.", WWW_Authenticate="Bearer")
        body = _body()
        if len(body) > MAX_BODY_BYTES:
            return refusal(413, f"A request must not exceed {MAX_BODY_BYTES // 1024} KiB.")
        return take(jsontext.parse(body), _header("idempotency-key"))
    except Unreadable as exc:
        return refusal(400, f"The body is not JSON that can be read: {exc}.")
    except Unavailable as exc:
        journal.record("ingest.unavailable", reason=str(exc))
        return refusal(
            503,
            "The service is unavailable; please try again.",
            Retry_After=str(RETRY_AFTER_SECONDS),
        )


def _browser_answer(take: Callable[[str], Reply]) -> Reply:
    """Let the pages of allowed origins in, and let them read every answer."""
    origin = _header("origin")
    door = front().browser
    if not door.origins:
        return refusal(403, "This door is shut: no origin is allowed (parameter AllowedOrigins).")
    if origin is None or not door.admits(origin):
        return refusal(403, "This origin is not allowed here.", Vary="Origin")
    reply = take(origin)
    return Reply(reply.status, reply.body, {**reply.headers, **cors_headers(origin)})


def _take_from_browser(_: str) -> Reply:
    try:
        body = _body()
        if len(body) > browser.MAX_BODY_BYTES:
            return refusal(413, f"A request must not exceed {browser.MAX_BODY_BYTES // 1024} KiB.")
        content = jsontext.parse(body)
    except Unreadable as exc:
        return refusal(400, f"The body is not JSON that can be read: {exc}.")
    if not isinstance(content, list):
        return reply_to_one(_accept_from_browser([content])[0])
    if not content:
        return refusal(422, "The array holds no event.")
    if len(content) > browser.MAX_EVENTS:
        return refusal(413, f"An array must not hold more than {browser.MAX_EVENTS} events.")
    return reply_to_many(_accept_from_browser(content))


def _accept_from_browser(raws: Sequence[object]) -> list[Receipt]:
    door = front().browser
    request = app.current_event
    visitor = browser.visitor_of(
        source_ip=request.request_context.http.source_ip,
        headers=request.headers,
        proxy_hops=door.proxy_hops,
    )
    return _accept(raws, prepare=lambda raw: door.event_from(raw, visitor))


def _take_one_or_many(content: object, key: str | None) -> Reply:
    if not isinstance(content, list):
        return reply_to_one(_accept([content], key)[0])
    if not content:
        return refusal(422, "The array holds no event.")
    if len(content) > MAX_EVENTS:
        return refusal(413, f"An array must not hold more than {MAX_EVENTS} events.")
    if key:
        return refusal(
            422,
            "Idempotency-Key goes with one event; give each event of an array its own "
            "idempotency_key.",
        )
    return reply_to_many(_accept(content))


def _take_as_cometly(content: object, key: str | None) -> Reply:
    return reply_as_cometly(_accept([content], key)[0])


def _accept(
    raws: Sequence[object],
    key: str | None = None,
    prepare: Callable[[object], object] = lambda raw: raw,
) -> list[Receipt]:
    receipts = accept(raws, front().door, key, prepare)
    for receipt in receipts:
        journal.record(
            _OUTCOMES[receipt.status],
            event_id=receipt.event_id,
            warnings=len(receipt.warnings),
            faults=[fault.field for fault in receipt.faults],
        )
    return receipts


_OUTCOMES = {
    Status.ACCEPTED: "ingest.accepted",
    Status.INVALID: "ingest.rejected",
    Status.UNAVAILABLE: "ingest.unavailable",
}


def _presented_key() -> str:
    scheme, _, key = (_header("authorization") or "").partition(" ")
    bearer = key.strip() if scheme.lower() == "bearer" else ""
    return bearer or (_header("x-api-key") or "").strip()


def _header(name: str) -> str | None:
    return app.current_event.headers.get(name)


def _body() -> bytes:
    request = app.current_event
    body = request.body or ""
    if request.is_base64_encoded:
        return base64.b64decode(body)
    return body.encode(errors="surrogatepass")


def _response(reply: Reply) -> Response[str]:
    return Response(
        status_code=int(reply.status),
        content_type="application/json",
        body=jsontext.dump(reply.body) if reply.body else "",
        headers=dict(reply.headers),
    )


@cache
def _script() -> str:
    return resources.files("cometly_forwarder").joinpath("client.js").read_text(encoding="utf-8")


def _utc_now() -> datetime:
    return datetime.now(UTC)
