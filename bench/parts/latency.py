"""From acceptance to Cometly, at a trickle: an event every half second, one after the other.

The time runs from the moment at which the caller has its 202 to the one at which Cometly has the
request, both by this machine's clock. The emulator hands a message over at once: on AWS a batching
window, where there is one, comes on top. Systems take turns in blocks.
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
    for block in range(BLOCKS):
        for system in stage.systems:
            with step(f"latency: block {block + 1}, {system.name}"):
                delays[system.name] += _delays(stage, system, is_first=not block)
    p50 = {name: statistics.median(found) for name, found in delays.items()}
    rows = [
        (
            name,
            len(found),
            p50[name],
            sorted(found)[math.ceil(0.95 * len(found)) - 1],
            max(found),
            p50[name] / p50["minimal"],
        )
        for name, found in delays.items()
    ]
    table = Table(
        "Latency: from the caller's 202 to Cometly, in ms",
        ("system", "events", "p50", "p95", "highest", "p50 x minimal"),
        tuple(rows),
        f"An event every {EVERY_SECONDS} s, {BLOCKS} blocks in turns; no batching window.",
    )
    plot = svg.Bars(
        "Latency at a trickle",
        "ms from acceptance to Cometly",
        list(delays),
        ("p50", "p95"),
        [[row[2], row[3]] for row in rows],
    )
    return Result((table,), {"latency": plot})


def _delays(stage: Stage, system: System, *, is_first: bool) -> list[float]:
    with traffic.alone(stage, system, WORKERS):
        stage.begin(latency_ms=LATENCY_MS, requests_per_minute=LIMIT)
        traffic.warm_up(stage, system, 1)
        if is_first:
            time.sleep(1)
        accepted: dict[str, float] = {}
        run = f"{system.name}-{time.time():.0f}"
        for content in traffic.events(run, EVENTS):
            if system.api.post(content).status != 202:
                raise RuntimeError(f"{system.name} did not accept an event")
            accepted[content["order_id"]] = time.time()
            time.sleep(EVERY_SECONDS)
        traffic.drained(stage, system, within=30)
    arrived = {it["order_id"]: it["received_at"] for it in stage.requests()}
    return [1000 * (arrived[order] - at) for order, at in accepted.items()]
