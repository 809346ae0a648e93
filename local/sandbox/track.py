"""Cometly's endpoint over HTTP, and the faults that strike it."""

from __future__ import annotations

import asyncio
import json

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from local.sandbox.disruptions import Cut, Drip, Silence, proxy_page
from local.sandbox.faults import FaultRule
from local.sandbox.sandbox import Received, Sandbox, TrackResponse, read_request

TRACK_PATH = "/public-api/v1/events/track"

MAX_BODY_BYTES = 1024 * 1024
_BODILESS = frozenset({204, 205, 304})


class AsciiJSON(Response):
    """JSON with every other character escaped, so that lone surrogates survive."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the value as JSON."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


class Track:
    """The endpoint as an ASGI application: any method, one event a request."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, process, wait for the latency that is set, answer."""
        try:
            received = await self._read(Request(scope, receive))
        except ClientDisconnect:
            return
        response = self._respond(received)
        await asyncio.sleep(self._sandbox.settings.latency_ms / 1000)
        await response(scope, receive, send)

    async def _read(self, request: Request) -> Received:
        body = await _read_body(request)
        headers = dict(request.headers)
        return read_request(request.method, headers, body, self._sandbox.clock())

    def _respond(self, received: Received) -> Response:
        fault = self._sandbox.pick_fault(received.fields, "track")
        if fault and not fault.processes:
            self._sandbox.record_fault(received, fault)
            return in_front(fault, received.request_id)
        answer = _as_response(self._sandbox.process(received, fault))
        return _afterwards(fault, answer) if fault else answer


async def _read_body(request: Request) -> bytes | None:
    """Return the body, or None as soon as it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _as_response(answer: TrackResponse) -> Response:
    return AsciiJSON(answer.as_json(), answer.status, answer.headers)


def in_front(fault: FaultRule, request_id: str) -> Response:
    """Return what a fault answers in the API's place."""
    match fault.kind:
        case "hang":
            return Silence(fault.seconds)
        case "cut_before":
            return Cut(reset=True)
        case "html_200":
            return proxy_page()
        case "redirect":
            return RedirectResponse(fault.location, fault.status)
        case _:
            return _status_answer(fault, request_id)


def _afterwards(fault: FaultRule, answer: Response) -> Response:
    """Return what becomes of the API's answer."""
    match fault.kind:
        case "drip":
            return Drip(answer, fault.seconds_per_byte)
        case "process_then_hang":
            return Silence(fault.seconds)
        case _:
            return Cut(reset=False)


def _status_answer(fault: FaultRule, request_id: str) -> Response:
    headers = {"Request-Id": request_id}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    if fault.status in _BODILESS:
        return Response(None, fault.status, headers)
    message = f"The sandbox was told to answer {fault.status}."
    answer = TrackResponse(status=fault.status, message=message, headers=headers)
    return _as_response(answer)
