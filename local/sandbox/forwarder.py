"""What the sandbox can ask about the forwarder whose events it takes, where it runs beside one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.sandbox.errors import ForwarderAway
from local.sandbox.sandbox import Sandbox
from local.sandbox.track import AsciiJSON

ALONE = "The sandbox runs alone: no forwarder is known to it. `make run` starts both."


class Forwarder(Protocol):
    """Tells what the forwarder knows. Each raises ForwarderAway; what it takes may be slow."""

    def state(self) -> dict[str, Any]:
        """Return how many events wait, are in flight and parked, and why delivery is paused."""

    def parked(self) -> list[dict[str, Any]]:
        """Return the parked events with their reasons."""

    def story(self, request_id: str, fields: Mapping[str, object]) -> dict[str, Any]:
        """Return what ledger and log have of the event that a request brought."""


class ForwarderApi:
    """Handlers that ask the forwarder; each answers JSON, `away` where there is none."""

    def __init__(self, sandbox: Sandbox, forwarder: Forwarder | None) -> None:
        self._sandbox = sandbox
        self._forwarder = forwarder

    def routes(self) -> list[Route]:
        """Return the routes, with paths in full."""
        return [
            Route("/_sandbox/forwarder", self.show_state),
            Route("/_sandbox/forwarder/parked", self.list_parked),
            Route("/_sandbox/forwarder/story/{request_id}", self.tell_story),
        ]

    async def show_state(self, _: Request) -> Response:
        """Answer with counts of the queues, and the pause."""
        return AsciiJSON(await run_in_threadpool(self._known().state))

    async def list_parked(self, _: Request) -> Response:
        """Answer with the parked events."""
        return AsciiJSON(await run_in_threadpool(self._known().parked))

    async def tell_story(self, request: Request) -> Response:
        """Answer with what the forwarder knows of the event of a request."""
        request_id = request.path_params["request_id"]
        forwarder, arrival = self._known(), self._sandbox.book.find(request_id)
        if arrival is None:
            raise HTTPException(404, "This request is not among the newest any more.")
        return AsciiJSON(await run_in_threadpool(forwarder.story, request_id, arrival.fields))

    def _known(self) -> Forwarder:
        if self._forwarder is None:
            raise ForwarderAway(ALONE)
        return self._forwarder


async def away(_: Request, exc: Exception) -> Response:
    """Answer a `ForwarderAway`: with 200, for a sandbox alone is nothing that went wrong."""
    return AsciiJSON({"away": str(exc)})
