"""Bursts at Cometly's limit: what is delivered, refused and lost, and how long it takes.

Each system gets the same burst at once. Ours has the two environments of its default, and a rival,
whose mapping has no limit, the five with which Lambda starts; Lambda adds up to 300 a minute while
messages wait (`--workers`). Cometly answers after 150 ms, and
counts 1,000 requests in any 60 seconds. The floor is what that limit allows from an empty window
on: the first 1,000 at once, 1,000 more each minute. A system is given LONGEST times its floor and a
minute and a half: what is left on its queue then is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench import svg
from bench.parts import traffic
from bench.report import Result, Table
from bench.stage import LIMIT, OURS, Stage
from local.stack.console import step

LATENCY_MS = 150
WORKERS = {OURS: 2}
LAMBDA_AT_FIRST = 5
GRACE_SECONDS = 90.0
LONGEST = 1.5


def measure(
    stage: Stage, *, bursts: Sequence[int], rivals_workers: int = LAMBDA_AT_FIRST
) -> Result:
    """Send each burst to each system."""
    rows, outcomes = [], {}
    for count in bursts:
        for system in stage.systems:
            workers = WORKERS.get(system.name, rivals_workers)
            floor = count / LIMIT * 60
            with step(f"pace: {count} to {system.name}"), traffic.alone(stage, system, workers):
                stage.begin(latency_ms=LATENCY_MS, requests_per_minute=LIMIT)
                traffic.warm_up(stage, system, workers)
                stage.begin(latency_ms=LATENCY_MS, requests_per_minute=LIMIT)
                it = traffic.burst(stage, system, count, within=LONGEST * floor + GRACE_SECONDS)
            outcomes[count, system.name] = it
            rows.append(
                (f"{count:,}", system.name, workers, it.booked, it.refused, it.repeated, it.parked)
                + (it.left, it.drained, it.drained / floor)
            )
    names = [system.name for system in stage.systems]
    table = Table(
        f"Pace and loss: bursts at {LIMIT} a minute",
        ("burst", "system", "workers", "delivered", "429s", "posted again", "good events parked")
        + ("left on the queue", "last delivered, s", "x floor"),
        tuple(rows),
        "Floor: a minute for each 1,000. Cometly's empty window takes the first 1,000 at once.",
    )
    plot = svg.Bars(
        "429s that a burst met",
        "posts refused by Cometly",
        [f"{count:,} events" for count in bursts],
        names,
        [[outcomes[count, name].refused for name in names] for count in bursts],
    )
    return Result((table,), {"pace": plot})
