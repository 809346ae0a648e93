"""Requests as they arrive, as server-sent events.

A connection keeps no queue, only the number of the last request that it was sent: who is too slow
for a flood misses what the book no longer shows, and memory stays bounded.

Events: `reset` (forget everything), `arrivals` (a list; its id is where a reconnect goes on),
`state` (counters, quota, faults, settings and the timeline, whenever they changed).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import StreamingResponse

from local.sandbox.sandbox import Sandbox

LOOK_EVERY_S = 0.2
_STATE_EVERY = 5  # looks
_BEAT_EVERY = 75  # looks; a comment that shows a dead connection up
_RETRY_MS = 1000


@dataclass(slots=True)
class Watcher:
    """What one page has been sent, and what is new to it."""

    sandbox: Sandbox
    generation: str = ""
    last: int = 0
    _looks: int = 0
    _state: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def resuming(cls, sandbox: Sandbox, last_event_id: str | None) -> Watcher:
        """Go on after a `Last-Event-ID`, if there is one that this sandbox wrote."""
        generation, _, last = (last_event_id or "").partition("-")
        if generation == sandbox.book.generation and last.isdecimal():
            return cls(sandbox, generation, int(last))
        return cls(sandbox)

    def look(self) -> Iterator[str]:
        """Return the messages that are due."""
        self._looks += 1
        if self.generation != self.sandbox.book.generation:
            self.generation, self.last = self.sandbox.book.generation, 0
            yield self._message("reset", {})
        if arrivals := self.sandbox.book.arrivals(since=self.last):
            self.last = self.sandbox.book.last
            yield self._message("arrivals", [it.as_json() for it in arrivals])
        if self._looks % _STATE_EVERY == 1 or arrivals:
            yield from self._changed_state()
        if self._looks % _BEAT_EVERY == 0:
            yield ":\n\n"

    def _changed_state(self) -> Iterator[str]:
        state = self.sandbox.state()
        if state != self._state:
            self._state = state
            yield self._message("state", state)

    def _message(self, name: str, content: object) -> str:
        data = json.dumps(content, separators=(",", ":"), allow_nan=False)
        return f"event: {name}\nid: {self.generation}-{self.last}\ndata: {data}\n\n"


def stream(sandbox: Sandbox, last_event_id: str | None) -> StreamingResponse:
    """Answer with what comes, until the page is gone."""
    watcher = Watcher.resuming(sandbox, last_event_id)
    return StreamingResponse(
        _messages(watcher),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


async def _messages(watcher: Watcher) -> AsyncIterator[str]:
    yield f"retry: {_RETRY_MS}\n\n"
    while True:
        for message in watcher.look():
            yield message
        await asyncio.sleep(LOOK_EVERY_S)
