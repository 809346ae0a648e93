"""What the estimate of other senders is worth (`gate/quota.py`): Cometly's minutes without it.

    python -m bench.gate_ablation --seeds 3     # a CPU minute

Without it a 429 makes the gate slower, as it does where there are no headers, and each minute
without a 429 gives some back.

The model is `tests/unit/simulation.py`, and its assumptions hold here too: the time is virtual,
and the backlog has no end. A run is eleven virtual minutes, of which the first is not counted in
`share`: what Cometly accepted of what other senders were to leave of the limit, so more than 100
% was taken from them. The 429s of the whole run are ours and, after a +, the other sender's. Each
figure is the median over the seeds and, in brackets, the worst.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from cometly_forwarder.gate.quota import LimitEstimate
from cometly_forwarder.gate.window import Window
from tests.unit.simulation import Simulation

FORMS = ("fixed", "sliding", "begun")
BEGIN, END = 60, 660


@dataclass(frozen=True, slots=True)
class WithoutOthers(LimitEstimate):
    """What headers teach of the limit alone; whoever else sends is met by its 429s."""

    def counted(self, ours: Window) -> float:  # noqa: ARG002
        return 0.0

    def _others(self, heard: LimitEstimate, ours: Window) -> float:  # noqa: ARG002
        return 0.0

    def throttled(self, now: float, *, ours: int, configured: int) -> LimitEstimate:
        taken = max(0.5, ours / self.allowance(now, configured))
        squeeze = max(0.05, self._squeeze(now) * min(0.9, taken))
        return WithoutOthers(
            limit=self.limit,
            limit_at=self.limit_at,
            quota_at=self.quota_at,
            squeeze=squeeze,
            squeezed_at=now,
        )


@dataclass(frozen=True)
class Case:
    """A row: what is simulated, and how many requests a minute are ours at the most."""

    name: str
    ours: int
    begin: int = BEGIN
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """What became of one run."""

    share: float
    refused: int
    others_refused: int


def case(name: str, ours: int, *, begin: int = BEGIN, **options: Any) -> Case:
    return Case(name, ours, begin, options)


STEADY, BURSTS = ((0, END, 400),), ((0, END, 180),)
CASES = [
    case("alone, 2 workers", 1000),
    case("alone, 5 workers", 1000, workers=5),
    case("another sends 60 three times a minute", 820, others=BURSTS, burst=60),
    case("another sends 400 a minute", 600, others=STEADY),
    case("the same, 5 workers", 600, others=STEADY, workers=5),
    case("another sent 600 until minute 3", 1000, begin=360, others=((0, 180, 600),)),
    case("limit 1000 -> 300", 300, begin=180, limits=((100, 300),)),
    case(
        "limit 600, no headers, no Retry-After",
        600,
        limit=600,
        has_headers=False,
        has_retry_after=False,
    ),
    case("remaining stuck at 40", 1000, remaining=40),
]


def figures(row: Case, form: str, seed: int, *, is_with: bool) -> Figures:
    options = row.options if is_with else {**row.options, "learnt": WithoutOthers()}
    run = Simulation(form, seed=seed, **options).run(END)
    accepted = run.accepted_in(row.begin, END)
    return Figures(
        share=accepted / (row.ours * (END - row.begin) / 60),
        refused=len(run.refused),
        others_refused=len(run.others_refused),
    )


def line(runs: Sequence[Figures]) -> str:
    """Write the median over the seeds, and in brackets the worst."""
    shares = [100 * run.share for run in runs]
    refused = [run.refused for run in runs]
    theirs = [run.others_refused for run in runs]
    text = f"{statistics.median(shares):5.1f} % ({min(shares):.1f})"
    text += f" | {statistics.median(refused):.0f} ({max(refused)})"
    return text + (f" + {statistics.median(theirs):.0f} ({max(theirs)})" if any(theirs) else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(1, parser.parse_args().seeds + 1)
    print("share (worst) | 429s ours (worst) + the other's")
    rows = list(itertools.product(CASES, FORMS, (True, False)))
    with ProcessPoolExecutor() as pool:
        runs = [
            [pool.submit(figures, row, form, seed, is_with=is_with) for seed in seeds]
            for row, form, is_with in rows
        ]
        for (row, form, is_with), waiting in zip(rows, runs, strict=True):
            text = line([each.result() for each in waiting])
            print(
                f"{row.name}, {form:7} {'with   ' if is_with else 'without'} | {text}", flush=True
            )


if __name__ == "__main__":
    main()
