"""Measure this checkout, beside what a user would pick instead: `make bench`.

    python -m bench [--only NAME ...] [--out FOLDER] [--markdown] [--burst N ... --workers N]
                    [--events N --window SECONDS]

Prints tables, and writes each part's figures as JSON and its plots as SVG below docs/bench/.
Without options all parts take under 20 minutes on two cores that have nothing else to do. What
needs a stack gets one of its own, beside a developer's `make up`; nothing outside of this machine
is reached.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
# This checkout's product, whatever is installed.
sys.path.insert(0, str(ROOT / "src"))

from bench import report  # noqa: E402
from local.stack.console import complain  # noqa: E402
from local.stack.errors import StackError  # noqa: E402

if TYPE_CHECKING:
    from bench.stage import Stage


@dataclass
class Session:
    """What was asked for, and the stage, which is set up for the first part that needs it."""

    options: argparse.Namespace
    closing: ExitStack

    @cached_property
    def stage(self) -> Stage:
        from bench import stage  # noqa: PLC0415 - it takes a second to load

        return self.closing.enter_context(stage.opened())


def ingest(_: Session) -> report.Result:
    """Processor time of a request to ingest."""
    from bench.parts import ingest  # noqa: PLC0415

    return ingest.measure()


def cold(_: Session) -> report.Result:
    """How long both functions take to load."""
    from bench.parts import cold  # noqa: PLC0415

    return cold.measure()


def gate(_: Session) -> report.Result:
    """Cometly's minutes among other senders, simulated."""
    from bench.parts import gate  # noqa: PLC0415

    return gate.measure()


def days(_: Session) -> report.Result:
    """What a day costs on which nothing is delivered."""
    from bench.parts import days  # noqa: PLC0415

    return days.measure(ROOT / "template.yaml")


def pace(session: Session) -> report.Result:
    """Bursts at Cometly's limit: delivered, refused, lost."""
    from bench.parts import pace  # noqa: PLC0415

    options = session.options
    bursts = options.burst or [1000]
    return pace.measure(session.stage, bursts=bursts, rivals_workers=options.workers)


def throughput(session: Session) -> report.Result:
    """Events a second and worker, with the limit lifted."""
    from bench.parts import throughput  # noqa: PLC0415

    return throughput.measure(session.stage)


def latency(session: Session) -> report.Result:
    """From acceptance to Cometly, at a trickle."""
    from bench.parts import latency  # noqa: PLC0415

    return latency.measure(session.stage)


def share(session: Session) -> report.Result:
    """Both functions under the share of a processor that their memory buys."""
    from bench.parts import share  # noqa: PLC0415

    return share.measure(session.stage)


def cost(session: Session) -> report.Result:
    """What a million events cost, by component."""
    from bench.batching import Rules  # noqa: PLC0415
    from bench.parts import cost  # noqa: PLC0415

    options = session.options
    known = cost.rules_of(ROOT / "template.yaml")
    window = known.window if options.window is None else options.window
    rules = Rules(known.batch_size, window)
    return cost.measure(session.stage, events=options.events, rules=rules)


PARTS: Mapping[str, Callable[[Session], report.Result]] = {
    part.__name__: part
    for part in (
        ingest,
        cold,
        gate,
        days,
        latency,
        throughput,
        pace,
        share,
        cost,
    )
}


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "bench", *arguments])
    try:
        with ExitStack() as closing:
            session = Session(options, closing)
            show = report.show_markdown if options.markdown else report.show
            for name in options.only or PARTS:
                result = PARTS[name](session)
                show(result)
                report.keep(options.out, name, command, result)
    except StackError as error:
        complain(error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; repeatable")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "bench", metavar="FOLDER")
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    parser.add_argument(
        "--events", type=int, default=100, metavar="N", help="cost: events of each shape"
    )
    parser.add_argument(
        "--burst", type=int, action="append", metavar="N", help="pace: events at once; repeatable"
    )
    parser.add_argument(
        "--workers", type=int, default=5, metavar="N", help="pace: environments of a rival"
    )
    parser.add_argument(
        "--window", type=float, metavar="SECONDS", help="cost: a batching window to suppose"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
