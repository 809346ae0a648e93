"""Events as callers send them, and what Cometly saw of them: for the parts that need a stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.ingest_worker import CLEAN, event
from bench.stage import Stage, System

ARRAY = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a burst. Times are in seconds from its first post."""

    sent: int
    booked: int
    refused: int
    repeated: int
    parked: int
    left: int
    drained: float


def events(run: str, count: int) -> list[dict[str, Any]]:
    """Return so many purchases, no two alike."""
    return [
        event("short", number)
        | CLEAN
        | {"order_id": f"{run}-{number}", "idempotency_key": f"{run}-{number}"}
        for number in range(count)
    ]


def post(system: System, contents: Sequence[Mapping[str, Any]]) -> None:
    """Post in arrays, as a back end that has many at once does."""
    for start in range(0, len(contents), ARRAY):
        answer = system.api.post(list(contents[start : start + ARRAY]))
        if answer.status != 202:
            raise RuntimeError(f"{system.name} answered {answer.status}: {answer.body}")


def warm_up(stage: Stage, system: System, workers: int) -> None:
    """Let each function have its environments before anything counts."""
    post(system, events(f"warm-{time.time():.0f}", 20 * workers))
    drained(stage, system, within=120)


def burst(stage: Stage, system: System, count: int, *, within: float) -> Outcome:
    """Post so many at once, and wait until all are delivered or parked, or so many seconds."""
    began = time.time()
    post(system, events(f"{system.name}-{began:.0f}", count))
    drained(stage, system, within=within)
    requests = stage.requests()
    answers = Counter(request["status"] for request in requests)
    keys = Counter(it["idempotency_key"] for it in requests if it["status"] == 202)
    last = max((it["received_at"] for it in requests if it["status"] == 202), default=began)
    return Outcome(
        sent=count,
        booked=len(keys),
        refused=answers[429],
        repeated=sum(keys.values()) - len(keys),
        parked=stage.parked(system),
        left=stage.waiting(system),
        drained=last - began,
    )


def drained(stage: Stage, system: System, *, within: float) -> bool:
    """Wait until nothing is on the queue, for so many seconds."""
    until = time.monotonic() + within
    while stage.waiting(system):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def alone(stage: Stage, system: System, workers: int) -> Iterator[None]:
    """Let one system alone take from its queue."""
    for each in stage.systems:
        stage.poll(each, workers=workers if each is system else None)
    try:
        yield
    finally:
        stage.poll(system, workers=None)
