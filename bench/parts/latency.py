"""From the caller's post to Cometly, at a trickle: an event every half second, one after the other.

The time runs from the moment at which the caller begins its post to the one at which Cometly has
the request, both by this machine's clock. Not from the 202: the emulator hands a message over at
once, so that with a rival Cometly has it before the caller has its answer. On AWS a batching window
comes on top, and SQS takes longer than here to hand a message over. Systems take turns in blocks.
"""

from __future__ import annotations

import math
import statistics
import time

from bench import svg
from bench.parts import traffic
from bench.report import Result, Table
from bench.stage import LIMIT, Stage, System
from local.stack.console import step

LATENCY_MS = 150
WORKERS = 2
BLOCKS, EVENTS = 3, 15
EVERY_SECONDS = 0.5


def measure(stage: Stage) -> Result:
    """Trickle a few blocks of events to each system, in turns."""
    delays: dict[str, list[float]] = {system.name: [] for system in stage.systems}
    since_202: dict[str, list[float]] = {system.name: [] for system in stage.systems}
    for block in range(BLOCKS):
        for system in stage.systems:
            with step(f"latency: block {block + 1}, {system.name}"):
                for since_post, since_answer in _delays(stage, system):
                    delays[system.name].append(since_post)
                    since_202[system.name].append(since_answer)
    p50 = {name: statistics.median(found) for name, found in delays.items()}
    rows = [
        (
            name,
            len(found),
            p50[name],
            sorted(found)[math.ceil(0.95 * len(found)) - 1],
            max(found),
            p50[name] / p50["minimal"],
            statistics.median(since_202[name]),
        )
        for name, found in delays.items()
    ]
    table = Table(
        "Latency: from the caller's post to Cometly, in ms",
        ("system", "events", "p50", "p95", "highest", "p50 x minimal", "p50 from the 202"),
        tuple(rows),
        f"An event every {EVERY_SECONDS} s, {BLOCKS} blocks in turns; no batching window.",
    )
    plot = svg.Bars(
        "Latency at a trickle",
        "ms from the post to Cometly",
        list(delays),
        ("p50", "p95"),
        [[row[2], row[3]] for row in rows],
    )
    return Result((table,), {"latency": plot})


def _delays(stage: Stage, system: System) -> list[tuple[float, float]]:
    """Return the ms from the post, and from its answer, of each event of a block."""
    with traffic.alone(stage, system, WORKERS):
        stage.begin(latency_ms=LATENCY_MS, requests_per_minute=LIMIT)
        traffic.warm_up(stage, system, 1)
        moments: dict[str, tuple[float, float]] = {}
        run = f"{system.name}-{time.time():.0f}"
        for content in traffic.events(run, EVENTS):
            began = time.time()
            if system.api.post(content).status != 202:
                raise RuntimeError(f"{system.name} did not accept an event")
            moments[content["order_id"]] = (began, time.time())
            time.sleep(EVERY_SECONDS)
        traffic.drained(stage, system, within=30)
    arrived = {it["order_id"]: it["received_at"] for it in stage.requests()}
    return [
        (1000 * (arrived[order] - began), 1000 * (arrived[order] - answered))
        for order, (began, answered) in moments.items()
    ]
