"""Events a second and worker where nothing limits them: the limit is lifted, 150 ms at Cometly.

A worker of ours has ten threads, so threads / latency is 67 a second, which is the most that can
come of it; a worker of a rival has one. Each run is a burst of arrays of 500, from the first post
that Cometly took to the last; the first and last twentieth are left out. Runs take turns, and the
figure is their median. The emulator, sandbox and workers share this machine's processors.
"""

from __future__ import annotations

import statistics
import time

from bench import svg
from bench.meter import Reading
from bench.parts import traffic
from bench.report import Result, Table
from bench.stage import NO_LIMIT, OURS, Stage, System
from local.stack.console import step

LATENCY_MS = 150
WORKERS = 2
THREADS = {OURS: 10}
EVENTS = {OURS: 1000}
RIVALS_EVENTS = 200
RUNS = 3
_EDGE = 0.05


def measure(stage: Stage) -> Result:
    """Let each system deliver a few bursts, in turns."""
    rates: dict[str, list[float]] = {system.name: [] for system in stage.systems}
    readings: dict[str, Reading] = {}
    ours = stage.system(OURS)
    with stage.variables(ours.deliver, COMETLY_REQUESTS_PER_MINUTE=str(NO_LIMIT)):
        for run in range(RUNS):
            for system in stage.systems:
                with step(f"throughput: run {run + 1}, {system.name}"):
                    mark = stage.meter.mark()
                    rates[system.name].append(_rate(stage, system, is_first=not run))
                    readings[system.name] = stage.reading(system, mark)
    medians = {name: statistics.median(found) / WORKERS for name, found in rates.items()}
    rows = [
        (
            system.name,
            medians[system.name],
            min(rates[system.name]) / WORKERS,
            max(rates[system.name]) / WORKERS,
            100 * medians[system.name] / _most(system),
            medians[system.name] / medians["textbook"],
            *_peaks(system, readings[system.name]),
        )
        for system in stage.systems
    ]
    table = Table(
        "Throughput: events a second and worker, limit lifted",
        ("system", "median", "least", "most", "% of threads / latency", "x textbook")
        + ("peak MB: ingest", "deliver", "deliver: CPU ms an event"),
        tuple(rows),
        f"{RUNS} runs in turns, {WORKERS} workers each, {LATENCY_MS} ms at Cometly.",
    )
    names = [system.name for system in stage.systems]
    plot = svg.Bars(
        "Throughput of a worker, limit lifted",
        "events a second",
        names,
        ("measured", "threads / latency"),
        [[medians[system.name], _most(system)] for system in stage.systems],
    )
    return Result((table,), {"throughput": plot})


def _most(system: System) -> float:
    return THREADS.get(system.name, 1) / (LATENCY_MS / 1000)


def _rate(stage: Stage, system: System, *, is_first: bool) -> float:
    with traffic.alone(stage, system, WORKERS):
        if is_first:
            stage.begin(latency_ms=LATENCY_MS, requests_per_minute=NO_LIMIT)
            traffic.warm_up(stage, system, WORKERS)
        stage.begin(latency_ms=LATENCY_MS, requests_per_minute=NO_LIMIT)
        count = EVENTS.get(system.name, RIVALS_EVENTS)
        traffic.post(system, traffic.events(f"{system.name}-{time.time():.0f}", count))
        if not traffic.drained(stage, system, within=180):
            raise RuntimeError(f"{system.name} did not deliver {count} events in three minutes")
    times = sorted(it["received_at"] for it in stage.requests() if it["status"] == 202)
    edge = int(len(times) * _EDGE)
    kept = times[edge : len(times) - edge]
    return float((len(kept) - 1) / (kept[-1] - kept[0]))


def _peaks(system: System, reading: Reading) -> tuple[float, float, float]:
    """Return the megabytes of both functions at their peak, and deliver's time an event."""

    def peak(function: str) -> float:
        return max((it.peak_kb for it in reading.invocations if it.function == function), default=0)

    runs = [it for it in reading.invocations if it.function == system.deliver]
    messages = sum(it.messages for it in runs)
    cpu = sum(it.cpu_ms for it in runs) / messages if messages else 0.0
    return peak(system.ingest) / 1024, peak(system.deliver) / 1024, cpu
