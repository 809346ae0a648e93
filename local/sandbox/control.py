"""The control API under /_sandbox/: look at what came in, change what comes next."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.sandbox.errors import ControlError
from local.sandbox.faults import read_rules
from local.sandbox.others import read_events
from local.sandbox.sandbox import Sandbox
from local.sandbox.stream import stream
from local.sandbox.track import AsciiJSON

_RESET = {"events": True, "settings": False, "faults": False}


class Control:
    """Handlers of the control API; each answers JSON."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes, with paths in full."""
        return [
            Route("/_sandbox/events", self.list_events),
            Route("/_sandbox/requests", self.list_requests),
            Route("/_sandbox/stream", self.stream),
            Route("/_sandbox/stats", self.show_stats),
            Route("/_sandbox/records", self.show_records),
            Route("/_sandbox/records", self.record_others, methods=["POST"]),
            Route("/_sandbox/reset", self.reset, methods=["POST"]),
            Route("/_sandbox/settings", self.show_settings),
            Route("/_sandbox/settings", self.change_settings, methods=["PUT"]),
            Route("/_sandbox/faults", self.list_faults),
            Route("/_sandbox/faults", self.add_faults, methods=["POST"]),
            Route("/_sandbox/faults", self.clear_faults, methods=["DELETE"]),
        ]

    async def list_events(self, request: Request) -> Response:
        """Answer with events: `since`, `limit`, `booked`."""
        events = self._sandbox.book.events(
            since=_number(request, "since"),
            limit=_number(request, "limit"),
            booked_only=_flag(request, "booked"),
        )
        return AsciiJSON([event.as_json() for event in events])

    async def list_requests(self, request: Request) -> Response:
        """Answer with requests: `since`, `limit`."""
        requests = self._sandbox.book.requests(
            since=_number(request, "since"),
            limit=_number(request, "limit"),
        )
        return AsciiJSON([entry.as_json() for entry in requests])

    async def stream(self, request: Request) -> Response:
        """Answer with requests as they arrive: server-sent events (see `stream`)."""
        return stream(self._sandbox, request.headers.get("last-event-id"))

    async def show_stats(self, _: Request) -> Response:
        """Answer with the counters."""
        return AsciiJSON(self._sandbox.stats())

    async def show_records(self, _: Request) -> Response:
        """Answer with how much is recorded, and what was answered to those that read."""
        return AsciiJSON(self._sandbox.reading.state(self._sandbox.clock()))

    async def record_others(self, request: Request) -> Response:
        """Record events of another sender; answer with the numbers of the first and the last."""
        numbers = self._sandbox.record_others(read_events(await _json(request)))
        return AsciiJSON({"first": numbers.start, "last": numbers.stop - 1})

    async def reset(self, request: Request) -> Response:
        """Forget events and counters; settings and faults when asked."""
        wanted = _RESET | _flags(await _json_object(request, default={}))
        if wanted["settings"]:
            self._sandbox.restore_settings()
        if wanted["faults"]:
            self._sandbox.faults.clear()
        if wanted["events"]:
            self._sandbox.forget()
        return AsciiJSON(self._sandbox.stats())

    async def show_settings(self, _: Request) -> Response:
        """Answer with all settings."""
        return AsciiJSON(asdict(self._sandbox.settings))

    async def change_settings(self, request: Request) -> Response:
        """Change the settings that the body names; answer with all."""
        self._sandbox.change(await _json_object(request))
        return await self.show_settings(request)

    async def list_faults(self, _: Request) -> Response:
        """Answer with the rules, and how often each has struck."""
        return AsciiJSON(self._sandbox.faults.as_json())

    async def add_faults(self, request: Request) -> Response:
        """Put rules behind those that are there; answer with all."""
        self._sandbox.faults.add(read_rules(await _json(request)))
        return await self.list_faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """Forget every rule, or those with a `label`."""
        self._sandbox.faults.clear(request.query_params.get("label"))
        return await self.list_faults(request)


async def refuse(_: Request, exc: Exception) -> Response:
    """Answer a `ControlError`."""
    return AsciiJSON({"message": str(exc)}, 422)


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise ControlError(f"{name} must be a whole number, zero or more.")
    return int(text)


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "false").lower() in {"true", "1", ""}


def _flags(value: dict[str, Any]) -> dict[str, bool]:
    if set(value) - set(_RESET) or not all(isinstance(flag, bool) for flag in value.values()):
        raise ControlError(f"A reset takes {', '.join(_RESET)}, each true or false.")
    return value


async def _json_object(request: Request, default: object = None) -> dict[str, Any]:
    value = await _json(request, default)
    if not isinstance(value, dict):
        raise ControlError("The body must be a JSON object.")
    return value


async def _json(request: Request, default: object = None) -> object:
    body = await request.body()
    try:
        value: object = json.loads(body) if body.strip() else default
    except ValueError as exc:
        raise ControlError("The body is not valid JSON.") from exc
    return value
