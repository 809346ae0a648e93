"""What two parts of the gate are worth: Cometly's minutes with and without each.

    python -m bench.gate_ablation              # both, 3 seeds: two CPU minutes
    python -m bench.gate_ablation swaps --seeds 5

`others` is the estimate of what other senders take (`gate/quota.py`). Without it a 429 makes the
gate slower, as it does where there are no headers, and each minute without a 429 gives some back.
`swaps` is that a thread which missed its slot gets another one. Without it the slot goes back to
the gate and the message to the queue.

The model is `tests/unit/simulation.py`, and its assumptions hold here too: the time is virtual, and
the backlog has no end. A run is eleven virtual minutes, of which the first is not counted in
`share`: what Cometly accepted of what other senders were to leave of the limit, so more than 100 %
was taken from them. The 429s of the whole run are ours and, after a +, the other sender's.
`returned` are messages that go back to the queue, of a thousand that were accepted. Where events
come at a rate, `p50` and `p99` say how long they wait. Each figure is the median over the seeds
and, in brackets, the worst.
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

from cometly_forwarder.gate.quota import LimitEstimate, RateHeaders
from cometly_forwarder.gate.window import Window
from tests.unit.simulation import Simulation

FORMS = ("fixed", "sliding", "begun")
BEGIN, END = 60, 660
BUSY = tuple(at / 10 for at in range(END * 10))
QUIET = tuple(at * 10.0 for at in range(END // 10))


@dataclass(frozen=True, slots=True)
class WithoutOthers(LimitEstimate):
    """What headers teach of the limit alone; whoever else sends is met by its 429s."""

    def _others(self, headers: RateHeaders, ours: Window, window_at: float) -> float:  # noqa: ARG002
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
    returned: float
    p50: float
    p99: float


def case(name: str, ours: int, *, begin: int = BEGIN, **options: Any) -> Case:
    return Case(name, ours, begin, options)


STEADY, BURSTS = ((0, END, 400),), ((0, END, 180),)
CASES = {
    "others": [
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
    ],
    "swaps": [
        case("alone, 2 workers", 1000),
        case("alone, 5 workers", 1000, workers=5),
        case("5 % of slots missed", 1000, missed=0.05),
        case("20 % of slots missed", 1000, missed=0.2),
        case("20 % missed, 5 workers", 1000, missed=0.2, workers=5),
        case("20 % missed, 600 events a minute", 600, missed=0.2, keyed=BUSY),
        case("20 % missed, 6 events a minute", 6, missed=0.2, keyed=QUIET),
        case("5 % of batches die", 1000, dying=0.05),
        case("20 % of batches die", 1000, dying=0.2),
        case("limit 1000 -> 300", 300, begin=180, limits=((100, 300),)),
        case("another sends 400 a minute", 600, others=STEADY),
    ],
}


def figures(of: str, row: Case, form: str, seed: int, *, is_with: bool) -> Figures:
    options = dict(row.options)
    if not is_with and of == "others":
        options["learnt"] = WithoutOthers()
    run = Simulation(form, seed=seed, has_swaps=is_with or of != "swaps", **options).run(END)
    accepted = run.accepted_in(row.begin, END)
    waits = sorted(run.delays)
    return Figures(
        share=accepted / (row.ours * (END - row.begin) / 60),
        refused=len(run.refused),
        others_refused=len(run.others_refused),
        returned=1000 * len(run.returned) / len(run.accepted),
        p50=statistics.median(waits) if waits else 0.0,
        p99=waits[int(len(waits) * 0.99)] if waits else 0.0,
    )


def line(runs: Sequence[Figures]) -> str:
    """Write the median over the seeds, and in brackets the worst."""
    shares = [100 * run.share for run in runs]
    refused = [run.refused for run in runs]
    theirs = [run.others_refused for run in runs]
    back = [run.returned for run in runs]
    text = f"{statistics.median(shares):5.1f} % ({min(shares):.1f})"
    text += f" | {statistics.median(refused):.0f} ({max(refused)})"
    text += f" + {statistics.median(theirs):.0f} ({max(theirs)})" if any(theirs) else ""
    text += f" | {statistics.median(back):.1f}"
    if any(run.p99 for run in runs):
        text += f" | p50 {statistics.median(run.p50 for run in runs):.1f} s"
        text += f", p99 {statistics.median(run.p99 for run in runs):.1f} s"
    return text


def compare(of: str, seeds: int, pool: ProcessPoolExecutor) -> None:
    print(f"\n{of}: share (worst) | 429s ours (worst) + the other's | returned of 1000")
    rows = list(itertools.product(CASES[of], FORMS, (True, False)))
    runs = [
        [pool.submit(figures, of, row, form, seed, is_with=is_with) for seed in range(1, seeds + 1)]
        for row, form, is_with in rows
    ]
    for (row, form, is_with), waiting in zip(rows, runs, strict=True):
        text = line([each.result() for each in waiting])
        print(f"{row.name}, {form:7} {'with   ' if is_with else 'without'} | {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("of", choices=[*CASES, "both"], nargs="?", default="both")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        for of in CASES if arguments.of == "both" else [arguments.of]:
            compare(of, arguments.seeds, pool)


if __name__ == "__main__":
    main()
