"""Both functions under the share of a processor that Lambda gives their memory.

Their environments are warm when they get it: a cold start has a whole processor on Lambda. Each
run is a burst at Cometly's limit of 1,000 a minute, with two workers. The pace is that between the
first tenth of the posts and the last one. This machine's processor is not Lambda's.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from bench import svg
from bench.meter import Reading
from bench.parts import traffic
from bench.parts.cost import billed_gb_seconds
from bench.processor_share import limited, share_of
from bench.report import Result, Table
from bench.stage import LIMIT, OURS, Stage, System
from local.stack.console import step

LATENCY_MS = 150
WORKERS = 2
EVENTS = 600
SINGLES = 20
MEMORIES = (None, 1024, 512, 256)
_LATE = '"delivery.late"'


@dataclass(frozen=True, slots=True)
class Seen:
    """What Cometly and the log saw of a burst."""

    pace: float
    refused: int
    late: int


def measure(stage: Stage) -> Result:
    """Run the same burst with each share."""
    system = stage.system(OURS)
    rows, paces, means = [], [], ""
    for megabytes in MEMORIES:
        with step(f"share: {megabytes or 'no'} MB"), traffic.alone(stage, system, WORKERS):
            seen, times, means = _under(stage, system, megabytes, means)
        paces.append(seen.pace)
        share = share_of(megabytes) if megabytes else None
        rows.append((_name(megabytes), share, seen.pace, seen.refused, seen.late, *times))
    table = Table(
        "Under Lambda's share of a processor",
        ("memory", "processors", "posts a minute", "429s", "late slots", "deliver: ms a batch")
        + ("CPU ms a batch", "GB s an event", "ingest: ms of one event", "of an array of 500"),
        tuple(rows),
        f"{EVENTS} events, limit {LIMIT}, {WORKERS} workers, by {means}.",
    )
    plot = svg.Bars(
        "Pace under Lambda's share of a processor",
        "posts a minute",
        [_name(megabytes) for megabytes in MEMORIES],
        ("limit 1000 a minute",),
        [[pace] for pace in paces],
    )
    return Result((table,), {"share": plot})


def _name(megabytes: int | None) -> str:
    return f"{megabytes} MB" if megabytes else "no limit"


def _under(
    stage: Stage, system: System, megabytes: int | None, means: str
) -> tuple[Seen, tuple[float | None, ...], str]:
    stage.begin(latency_ms=LATENCY_MS, requests_per_minute=LIMIT)
    mark = stage.meter.mark()
    traffic.warm_up(stage, system, WORKERS)
    pids = sorted({it.pid for it in stage.reading(system, mark).invocations})
    stage.begin(latency_ms=LATENCY_MS, requests_per_minute=LIMIT)
    if megabytes is None:
        return *_burst(stage, system, 0), means
    with limited(pids, share_of(megabytes)) as how:
        return *_burst(stage, system, megabytes), how


def _burst(stage: Stage, system: System, megabytes: int) -> tuple[Seen, tuple[float | None, ...]]:
    log = stage.bench.logs / "functions.log"
    before = log.stat().st_size
    mark = stage.meter.mark()
    run = f"share-{time.time():.0f}"
    for content in traffic.events(f"{run}-one", SINGLES):
        traffic.post(system, [content])
    traffic.post(system, traffic.events(run, EVENTS - SINGLES))
    traffic.drained(stage, system, within=180)
    requests = stage.requests()
    times = sorted(it["received_at"] for it in requests if it["status"] == 202)
    edge = len(times) // 10
    kept = times[edge : len(times) - edge]
    with log.open(encoding="utf-8") as lines:
        lines.seek(before)
        late = sum(_LATE in line for line in lines)
    seen = Seen(
        pace=60 * (len(kept) - 1) / (kept[-1] - kept[0]),
        refused=sum(it["status"] == 429 for it in requests),
        late=late,
    )
    return seen, _times(system, stage.reading(system, mark), megabytes)


def _times(system: System, reading: Reading, megabytes: int) -> tuple[float | None, ...]:
    """Return the columns of the table that are about the functions' own time."""
    deliver = [it for it in reading.invocations if it.function == system.deliver]
    ingest = [it.ms for it in reading.invocations if it.function == system.ingest]
    return (
        statistics.median(it.ms for it in deliver),
        statistics.median(it.cpu_ms for it in deliver),
        sum(billed_gb_seconds(it.ms, megabytes) for it in deliver) / EVENTS if megabytes else None,
        statistics.median(ingest[:SINGLES]),
        statistics.median(ingest[SINGLES:]),
    )
