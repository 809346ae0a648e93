"""Cometly's minutes among other senders: the gate's real rules against a virtual clock.

The model is `tests/unit/simulation.py`, and its assumptions hold here too: the backlog has no end,
and two workers know what all know. A run is eleven virtual minutes, of which the first is not
counted. `share` is what Cometly accepted of what other senders left of the limit; more than 100 %
was taken from them. Each figure is the median over the seeds and, in brackets, the worst.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bench import svg
from bench.report import Result, Table
from tests.unit.simulation import Simulation

SEEDS = 5
FORMS = ("fixed", "sliding", "begun")
BEGIN, END = 60, 660
_LIMIT = 1000


@dataclass(frozen=True)
class Case:
    """What is simulated; how many requests a minute are left for us, and what is asked for."""

    name: str
    left: int
    target: str
    options: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("alone", _LIMIT, "", {}),
    Case(
        "another sends 60 three times a minute",
        820,
        "95 %, 5 429s",
        {"others": ((0, END, 180),), "burst": 60},
    ),
    Case("another sends 400 a minute", 600, "95 %, 5 429s", {"others": ((0, END, 400),)}),
    Case("limit 1000 to 300 after 100 s", 300, "2 429s", {"limits": ((100, 300),)}),
    Case(
        "limit 600, neither headers nor Retry-After",
        600,
        "no minute below 60 %",
        {"limit": 600, "has_headers": False, "has_retry_after": False},
    ),
    Case("5 % of batches die with their slots", _LIMIT, "96 %", {"dying": 0.05}),
    Case("20 % of batches die with their slots", _LIMIT, "90 %", {"dying": 0.2}),
)


@dataclass(frozen=True)
class Figures:
    """What became of one run. Shares are of what was left."""

    share: float
    least_minute: float
    refused: int


def measure() -> Result:
    """Run each case in each form of the minute, with a few seeds."""
    subjects = list(itertools.product(CASES, FORMS))
    with ProcessPoolExecutor() as pool:
        waiting = {
            (case.name, form): [pool.submit(_run, case, form, seed) for seed in range(1, SEEDS + 1)]
            for case, form in subjects
        }
        runs = {subject: [it.result() for it in each] for subject, each in waiting.items()}
    table = Table(
        "Gate: Cometly's minutes among others, simulated",
        ("case", "minute", "share, % (worst)", "least minute, %", "429s (worst)", "target"),
        tuple(
            (case.name, form, *_cells(runs[case.name, form]), case.target)
            for case, form in subjects
        ),
        f"Medians of {SEEDS} seeds and, in brackets, the worst; ten virtual minutes.",
    )
    plot = svg.Bars(
        "What is left of the limit, and used",
        "%",
        [case.name for case in CASES],
        FORMS,
        [
            [100 * statistics.median(it.share for it in runs[case.name, form]) for form in FORMS]
            for case in CASES
        ],
    )
    return Result((table,), {"gate": plot})


def _cells(runs: Sequence[Figures]) -> tuple[str, str, str]:
    shares = [100 * run.share for run in runs]
    refused = [run.refused for run in runs]
    return (
        f"{statistics.median(shares):.1f} ({min(shares):.1f})",
        f"{100 * min(run.least_minute for run in runs):.0f}",
        f"{statistics.median(refused):.0f} ({max(refused)})",
    )


def _run(case: Case, form: str, seed: int) -> Figures:
    begin = 180 if "limits" in case.options else BEGIN
    run = Simulation(form, seed=seed, **case.options).run(END)
    minutes = [run.accepted_in(at, at + 60) / case.left for at in range(begin, END, 60)]
    return Figures(
        share=run.accepted_in(begin, END) / (case.left * (END - begin) / 60),
        least_minute=min(minutes),
        refused=len(run.refused),
    )
