"""The dead-letter queue of a stack, and where a replay puts its events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from ops.deadletters.edits import Edits
from ops.deadletters.replay import Pace, Replay
from ops.deadletters.shelf import Shelf
from ops.gates import gate_of
from ops.mappings import QUEUES
from ops.output import note
from ops.rules import rules_of
from ops.target import Target

# More than this part of a minute's replay waiting on the event queue: live events would wait.
_DEEP_PART, _LEAST_DEEP = 10, 10
_WAITING = "ApproximateNumberOfMessages"


def shelf_of(target: Target, *, hold_seconds: int | None = None) -> Shelf:
    """Return the dead-letter queue of a stack, to be looked at."""
    shelf = Shelf(target.clients.sqs, target.outputs["DeadLetterQueueUrl"], note)
    return replace(shelf, hold_seconds=hold_seconds) if hold_seconds else shelf


def replay_of(target: Target, shelf: Shelf, pace: Pace, edits: Edits) -> Replay:
    return Replay(shelf, sender_of(target), pace, rules_of(target), edits, time.time)


def sender_of(target: Target) -> Callable[[str, str], object]:
    """Return what puts a body on the queue of that name; without a page queue, on the other."""
    events = target.outputs["EventQueueUrl"]

    def send(queue: str, body: str) -> None:
        url = target.outputs.get(QUEUES.get(queue, "EventQueueUrl"), events)
        target.clients.sqs.send_message(QueueUrl=url, MessageBody=body)

    return send


def pace_of(target: Target, per_minute: int | None) -> Pace:
    """Return the pace of a replay: half of the present limit, unless it was told."""
    limit = gate_of(target, time.time()).limit_per_minute
    chosen = per_minute or max(limit // 2, 1)
    return Pace(chosen, lambda: busy(target, chosen), time.monotonic, time.sleep, note)


def busy(target: Target, per_minute: int) -> str:
    """Say why live events need the room just now; empty where they do not."""
    for pause in gate_of(target, time.time()).pauses:
        if pause.lane == "events":
            return f"delivery is paused ({pause.cause})"
    deep = max(per_minute // _DEEP_PART, _LEAST_DEEP)
    waiting = int(target.queue_attributes(target.outputs["EventQueueUrl"], _WAITING)[_WAITING])
    return f"more than {deep} events wait on the event queue" if waiting > deep else ""
