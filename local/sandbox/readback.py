"""Cometly's reading side over HTTP: the list, one record, an export and its file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from local.sandbox.exports import DOWNLOAD_PATH
from local.sandbox.reading import Answer, Asked
from local.sandbox.sandbox import Sandbox
from local.sandbox.track import AsciiJSON, in_front

EVENTS_PATH = "/public-api/v1/events"
EXPORTS_PATH = f"{EVENTS_PATH}/exports"


class ReadBack:
    """Handlers of the endpoints; a fault `on` reads stands in front of the first four."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes, with paths in full. That of track comes before them."""
        return [
            Route(EVENTS_PATH, self.list_records),
            Route(EXPORTS_PATH, self.create_export, methods=["POST"]),
            Route(f"{EXPORTS_PATH}/{{number}}", self.show_export),
            Route(f"{EVENTS_PATH}/{{number}}", self.show_record),
            Route(DOWNLOAD_PATH, self.download),
        ]

    async def list_records(self, request: Request) -> Response:
        """Answer with a page."""
        return await self._answer(request, self._sandbox.reading.list)

    async def show_record(self, request: Request) -> Response:
        """Answer with one record."""
        number = request.path_params["number"]
        return await self._answer(request, lambda it: self._sandbox.reading.record(it, number))

    async def create_export(self, request: Request) -> Response:
        """Queue an export."""
        return await self._answer(request, self._sandbox.reading.create_export)

    async def show_export(self, request: Request) -> Response:
        """Answer how far an export is."""
        number, base_url = request.path_params["number"], str(request.base_url).rstrip("/")
        return await self._answer(
            request, lambda it: self._sandbox.reading.export(it, number, base_url)
        )

    async def download(self, request: Request) -> Response:
        """Answer with the file of an export, as S3 would: no token, no JSON."""
        exports, number = self._sandbox.reading.exports, request.path_params["export_id"]
        refusal = exports.refusal(
            number, request.query_params, request.headers, self._sandbox.clock()
        )
        export = exports.find(number)
        if refusal or export is None:
            status, text = (refusal.status, refusal.message) if refusal else (404, "Gone.")
            return Response(text, status, media_type="text/plain")
        return StreamingResponse(_in_turn(exports.file(export)), media_type="application/gzip")

    async def _answer(self, request: Request, reply: Callable[[Asked], Answer]) -> Response:
        asked = await _read(request, self._sandbox.clock)
        fault = self._sandbox.pick_fault(dict(asked.query), "reads")
        await asyncio.sleep(self._sandbox.settings.latency_ms / 1000)
        if fault:
            return in_front(fault, asked.request_id)
        answer = reply(asked)
        return AsciiJSON(answer.content, answer.status, dict(answer.headers))


async def _read(request: Request, clock: Callable[[], float]) -> Asked:
    body = await request.body()
    try:
        content = json.loads(body) if body else None
    except ValueError:
        content = None
    return Asked(
        headers=dict(request.headers),
        url=str(request.url.replace(query="")),
        received_at=clock(),
        query=request.query_params.multi_items(),
        body=content,
    )


async def _in_turn(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Let others have their turn between two parts of a long file."""
    for part in parts:
        yield part
        await asyncio.sleep(0)
