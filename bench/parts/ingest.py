"""The processor time of a request to ingest: one event, and arrays of 10, 100 and 500.

Each system runs in a process of its own, with its handler, and in place of AWS's clients a stub
that answers at once: what is measured is the forwarder's own work. The log goes to /dev/null.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from bench import svg
from bench.report import Result, Table

SIZES = (1, 10, 100, 500)
SYSTEMS = ("ours", "textbook", "minimal")
SHAPES = ("short", "long")
ROUNDS = 5
ROOT = Path(__file__).parents[2]


def measure() -> Result:
    """Return medians of several rounds, in which the systems take turns."""
    subjects = list(itertools.product(SHAPES, SYSTEMS))
    runs: dict[tuple[str, str], list[list[float]]] = {subject: [] for subject in subjects}
    for _ in range(ROUNDS):
        for shape, system in subjects:
            runs[shape, system].append(_run(system, shape))
    medians = {
        subject: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for subject, rounds in runs.items()
    }
    an_event = {
        subject: [us / size for us, size in zip(found, SIZES, strict=True)]
        for subject, found in medians.items()
    }
    table = Table(
        "Ingest: processor time without AWS's client, in us",
        ("event", "system", *[f"a request: {_name(size)}" for size in SIZES])
        + tuple(f"an event of {size}" for size in SIZES[1:]),
        tuple(
            (shape, system, *medians[shape, system], *an_event[shape, system][1:])
            for shape, system in subjects
        ),
        f"Medians of {ROUNDS} processes, in turns. short: name, e-mail, amount and order;"
        " long: names, phone, time, address, page and browser as well.",
    )
    plot = svg.Bars(
        "Ingest: processor time an event",
        "us",
        [f"{shape}, {_name(size)}" for shape in SHAPES for size in SIZES],
        SYSTEMS,
        [
            [an_event[shape, system][place] for system in SYSTEMS]
            for shape in SHAPES
            for place in range(len(SIZES))
        ],
        mark=("target in arrays of 100", 35.0),
    )
    return Result((table,), {"ingest": plot})


def _name(size: int) -> str:
    return "one event" if size == 1 else f"array of {size}"


def _run(system: str, shape: str) -> list[float]:
    command = [sys.executable, "-m", "bench.ingest_worker", system, shape, *map(str, SIZES)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    found: list[float] = json.loads(done.stderr.splitlines()[-1])
    return found
