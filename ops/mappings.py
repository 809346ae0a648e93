"""The event source mappings of deliver, which take events off the queues: on, or off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ops.errors import OpsError
from ops.target import Target

QUEUES = {"events": "EventQueueUrl", "pages": "PageQueueUrl"}
_SETTLES_WITHIN_SECONDS = 120.0
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class QueueMapping:
    """A mapping, by the name of its queue: `events` or `pages`."""

    queue: str
    id: str
    state: str

    @property
    def is_off(self) -> bool:
        return self.state in {"Disabled", "Disabling"}

    def record(self) -> dict[str, Any]:
        return {"queue": self.queue, "state": self.state}


def mappings_of(target: Target) -> list[QueueMapping]:
    """Return the mapping of each queue of the stack; raises OpsError where one has none."""
    pages = target.clients.functions.get_paginator("list_event_source_mappings").paginate(
        FunctionName=target.outputs["DeliverFunctionName"]
    )
    known = {it["EventSourceArn"]: it for page in pages for it in page["EventSourceMappings"]}
    return [
        _mapping(target, queue, known) for queue, name in QUEUES.items() if name in target.outputs
    ]


def switch(
    target: Target,
    mappings: list[QueueMapping],
    *,
    on: bool,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[QueueMapping]:
    """Switch mappings on or off, and wait until they are; AWS takes seconds for it."""
    for mapping in mappings:
        target.clients.functions.update_event_source_mapping(UUID=mapping.id, Enabled=on)
    wanted = "Enabled" if on else "Disabled"
    deadline = clock() + _SETTLES_WITHIN_SECONDS
    queues = {mapping.queue for mapping in mappings}
    while True:
        seen = [it for it in mappings_of(target) if it.queue in queues]
        if all(it.state == wanted for it in seen) or clock() > deadline:
            return seen
        sleep(_POLL_SECONDS)


def _mapping(target: Target, queue: str, known: dict[str, Any]) -> QueueMapping:
    found = known.get(target.queue_arn(target.outputs[QUEUES[queue]]))
    if not found:
        raise OpsError(
            f"No mapping leads from the queue of {queue} to deliver: deploy the stack again."
        )
    return QueueMapping(queue, found["UUID"], found["State"])
