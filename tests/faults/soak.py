"""The randomised run at length: `python -m tests.faults.soak --seeds 5 --events 2000`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    arguments = _arguments()
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    from tests.faults import emulator, mayhem, rig  # noqa: PLC0415 - after the path is set

    rig.PATIENCE_SECONDS = max(rig.PATIENCE_SECONDS, arguments.events / 2)
    first = random.randrange(10**6) if arguments.first is None else arguments.first
    print(f"Seeds {first} to {first + arguments.seeds - 1}, {arguments.events} events each.")
    with tempfile.TemporaryDirectory() as name, emulator.running(Path(name)) as url:
        aws = rig.Aws.at(url)
        for seed in range(first, first + arguments.seeds):
            print(mayhem.run(aws, Path(name) / str(seed), seed=seed, events=arguments.events))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mix every fault, over many events.")
    parser.add_argument("--seeds", type=int, default=5, help="how many runs (default: 5)")
    parser.add_argument("--events", type=int, default=2000, help="events a run (default: 2000)")
    parser.add_argument("--first", type=int, help="the first seed (default: at random)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
