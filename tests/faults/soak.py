"""The randomised run at length: `python -m tests.faults.soak --seeds 5 --events 2000`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.faults import emulator, mayhem, rig  # noqa: E402


def main() -> None:
    arguments = _arguments()
    rig.PATIENCE_SECONDS = max(rig.PATIENCE_SECONDS, arguments.events / 2)
    first = random.randrange(10**6) if arguments.first is None else arguments.first
    for seed in range(first, first + arguments.seeds):
        _say(f"Running seed {seed} with {arguments.events} events ...")
        with tempfile.TemporaryDirectory() as name, emulator.running(Path(name)) as url:
            aws, folder = rig.AwsClients.at(url), Path(name) / "pipe"
            _say(str(mayhem.run(aws, folder, seed=seed, events=arguments.events)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mix every fault, over many events.")
    parser.add_argument("--seeds", type=int, default=5, help="how many runs (default: 5)")
    parser.add_argument("--events", type=int, default=2000, help="events a run (default: 2000)")
    parser.add_argument("--first", type=int, help="the first seed (default: at random)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
