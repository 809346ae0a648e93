"""What it takes to send a long CSV by the command line, which is interrupted twice on its way.

    python -m bench.send_csv [--lines N] [--most-waiting N] [--drain SECONDS]

Writes a file of N lines, every other one without an identity of its own, and runs
`cometly-forwarder send` on it as a process: killed (SIGKILL) after a third, interrupted (SIGINT)
after two thirds, then to its end. Prints each run's time and peak memory, what the record says was
accepted, and what Cometly (the sandbox, with a high limit) has booked when the queue is empty, or
when the time for that is over. Exits with 1 if a line was not accepted, if one was lost or booked
twice, if a run ended otherwise than it should, or if its memory grew with the file.

The emulator's queue gets slower with what waits on it, so the process is stopped (SIGSTOP) while
more than N wait; that time is not counted. Without it, 100,000 events would take hours to deliver.
Linux (the memory is read from /proc), loopback only; a minute for 5,000 lines.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.running import Bench, Running, judged
from local.stack.console import say, step, table
from ops.sending.arrays import MOST_EVENTS

NAME = "send-csv"
LINES, LIMIT = 100_000, 60_000
DRAIN_SECONDS = 600.0
MOST_WAITING = 2000
LOOK_SECONDS = 0.1
_STOPPED_SECONDS = 0.5
# 91 MiB with 5,000 lines: what it takes must not grow with the file.
MOST_MIB = 150
BREAKS = 2
HEADER = ("event_name", "email", "first_name", "amount", "order_id")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """One run of the command: how it ended, after how long, and the most memory it had."""

    title: str
    status: int
    seconds: float
    mib: float
    confirmed: int
    """The last line that the record beside the file names."""
    told: dict[str, Any]
    """The summary, where the run came to one."""


def write(file: Path, lines: int) -> None:
    """Write purchases with an order id and leads without anything that says who they are."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(HEADER)
        for number in range(lines):
            email = f"customer-{number}@example.com"
            if number % 2:
                rows.writerow(("lead_generated", email, "Ada", "", ""))
            else:
                rows.writerow(("purchase", email, "Grace", "19.90", f"B-{number}"))


def confirmed_in(file: Path) -> int:
    with suppress(OSError, ValueError):
        return int(json.loads(file.with_name(file.name + ".sent").read_text("utf-8"))["confirmed"])
    return 0


def peak_of(process: subprocess.Popen[str]) -> float:
    """Return the most memory that a process had so far, in MiB; 0 where it is gone."""
    with suppress(OSError):
        if found := _PEAK.search(Path(f"/proc/{process.pid}/status").read_text("utf-8")):
            return int(found[1]) / 1024
    return 0.0


@dataclass
class Brake:
    """Stops a process while too many events wait; `seconds` is for how long it did."""

    running: Running
    most: int
    seconds: float = 0.0

    def hold(self, process: subprocess.Popen[str]) -> None:
        while waiting(self.running) > self.most and process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            time.sleep(_STOPPED_SECONDS)
            self.seconds += _STOPPED_SECONDS
        process.send_signal(signal.SIGCONT)


def send(
    bench: Bench, file: Path, title: str, end: tuple[int, signal.Signals] | None, brake: Brake
) -> Ran:
    """Run the command; `end` is the line after which it gets a signal."""
    where = ["--stack-file", str(bench.stack_file)]
    began, peak, braked = time.monotonic(), 0.0, brake.seconds
    output = file.with_suffix(".out")
    with (
        output.open("w", encoding="utf-8") as opened,
        subprocess.Popen(
            [sys.executable, "-m", "ops.cli", "send", str(file), "--json", *where],
            cwd=bench.root,
            stdout=opened,
            encoding="utf-8",
        ) as process,
    ):
        try:
            while process.poll() is None:
                peak = max(peak, peak_of(process))
                if end and confirmed_in(file) >= end[0]:
                    process.send_signal(end[1])
                    end = None
                brake.hold(process)
                time.sleep(LOOK_SECONDS)
        finally:
            process.kill()
    seconds = time.monotonic() - began - (brake.seconds - braked)
    told = _summary_in(output.read_text("utf-8"))
    return Ran(title, process.returncode, seconds, peak, confirmed_in(file), told)


def _summary_in(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        with suppress(ValueError):
            found: dict[str, Any] = json.loads(line).get("summary", {})
            return found
    return {}


def waiting(running: Running) -> int:
    return sum(it for name, it in running.messages().items() if name != "DeadLetterQueue")


def drain(running: Running, longest: float) -> float:
    """Wait until nothing is on a queue, or the time is over; return how long it took."""
    began = time.monotonic()
    while waiting(running) and time.monotonic() < began + longest:
        time.sleep(1)
    return time.monotonic() - began


def measure(running: Running, bench: Bench, given: argparse.Namespace) -> bool:
    """Send, print, and return whether it is as promised."""
    lines, brake, began = given.lines, Brake(running, given.most_waiting), time.monotonic()
    file = bench.local / "events.csv"
    file.with_name(file.name + ".sent").unlink(missing_ok=True)
    write(file, lines)
    plan = (
        ("killed after a third", (lines // 3, signal.SIGKILL)),
        ("interrupted after two thirds", (2 * lines // 3, signal.SIGINT)),
        ("to the end", None),
    )
    runs: list[Ran] = []
    for title, end in plan:
        with step(title):
            runs.append(send(bench, file, title, end, brake))
    left = waiting(running)
    with step("until Cometly has them"):
        drain(running, given.drain)
    heading = ("run", "seconds", "peak MiB", "status", "line confirmed")
    say(f"\n{table([heading, *map(_row, runs)])}")
    is_ended = [it.status for it in runs] == [-signal.SIGKILL, 128 + signal.SIGINT, 0]
    is_small = max(it.mib for it in runs) <= MOST_MIB
    seconds = time.monotonic() - began
    say(f"\n{left} waited after the last run; {seconds:.0f} s after the first one began:")
    return all((is_ended, is_small, is_accepted(runs[-1], lines), is_booked(running, lines)))


def _row(ran: Ran) -> tuple[str, ...]:
    shown = (f"{ran.seconds:.1f}", f"{ran.mib:.0f}", str(ran.status), str(ran.confirmed))
    return (ran.title, *shown)


def is_accepted(last: Ran, lines: int) -> bool:
    say(f"accepted {last.told.get('accepted')} of {lines}, refused {last.told.get('refused')}")
    return (last.told.get("accepted"), last.told.get("refused")) == (lines, 0)


def is_booked(running: Running, lines: int) -> bool:
    """Count what Cometly took, and what still waits: each break sent one array twice at most."""
    parked, left = running.messages()["DeadLetterQueue"], waiting(running)
    taken = Counter(it["fields"]["email"] for it in running.sandbox.events())
    posts, twice = taken.total(), sum(count > 1 for count in taken.values())
    say(f"posts {posts}, booked {len(taken)}, booked twice {twice}, parked {parked}, left {left}")
    is_counted = lines <= len(taken) + left <= lines + BREAKS * MOST_EVENTS
    return not twice + parked and is_counted and (left > 0 or len(taken) == lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.send_csv",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lines", type=int, default=LINES, metavar="N")
    parser.add_argument("--most-waiting", type=int, default=MOST_WAITING, metavar="N")
    parser.add_argument("--drain", type=float, default=DRAIN_SECONDS, metavar="SECONDS")
    given = parser.parse_args()
    bench = Bench.of(NAME)
    return judged(bench, LIMIT, lambda running: measure(running, bench, given))


if __name__ == "__main__":
    sys.exit(main())
