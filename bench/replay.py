"""How long a service's purchase takes to reach Cometly while parked events are sent again.

    python -m bench.replay [--parked N]

Lets Cometly (the sandbox, 1000 a minute) refuse N events for good, so that they are parked. Posts a
purchase every half second, first alone and then while `cometly-forwarder parked replay` sends the
parked ones again, as a process. Prints the purchases' delays from their 202 to Cometly in both.
Exits with 1 if the median beside the replay is more than twice the median alone, if an event was
lost or booked twice, if one stayed parked, or at a 429 of Cometly's.
Loopback only; within four minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.running import Bench, Running, judged
from local.stack.console import say, step, table
from local.stack.errors import StepFailed

NAME = "replay"
LIMIT, PARKED = 1000, 500
REFUSED, LIVE = "grace@example.com", "ada@example.com"
EVERY_SECONDS = 0.5
QUIET_PURCHASES = 100
LONGEST_SECONDS = 240.0
MOST_TIMES = 2.0


@dataclass(frozen=True)
class Purchase:
    """A purchase that was accepted, at a Unix time."""

    order: str
    accepted_at: float


def event(order: str, email: str) -> dict[str, Any]:
    return {"event_name": "purchase", "email": email, "order_id": order, "amount": 20}


def park(running: Running, count: int) -> list[str]:
    """Let Cometly refuse so many for good, and then take what comes; return their orders."""
    running.sandbox.fail(kind="status", status=422, times="always", match={"email": REFUSED})
    orders = [f"parked-{number}" for number in range(count)]
    for start in range(0, count, 100):
        posted = [event(it, REFUSED) for it in orders[start : start + 100]]
        if running.api.post(posted).status != 202:
            raise StepFailed("Events were not accepted.")
    wait(lambda: running.messages()["DeadLetterQueue"] >= count and not waiting(running))
    running.sandbox.recover()
    return orders


def waiting(running: Running) -> int:
    return sum(it for name, it in running.messages().items() if name != "DeadLetterQueue")


def wait(is_over: Callable[[], bool]) -> None:
    """Look until it is over; raises StepFailed after the longest time."""
    ends = time.monotonic() + LONGEST_SECONDS
    while not is_over():
        if time.monotonic() > ends:
            raise StepFailed(f"It was not over within {LONGEST_SECONDS:.0f} s.")
        time.sleep(0.5)


def buy(running: Running, name: str, is_over: Callable[[int], bool]) -> list[Purchase]:
    """Post a purchase at a fixed rate until it is over; that is asked after each."""
    purchases: list[Purchase] = []
    began = time.monotonic()
    while not is_over(len(purchases)):
        order = f"{name}-{len(purchases)}"
        if running.api.post(event(order, LIVE)).status != 202:
            raise StepFailed("A purchase was not accepted.")
        purchases.append(Purchase(order, time.time()))
        time.sleep(max(began + len(purchases) * EVERY_SECONDS - time.monotonic(), 0))
    return purchases


@contextmanager
def replaying(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """Run the command as an operator does; its lines are read when it has ended."""
    output = bench.local / "replay.out"
    arguments = ["parked", "replay", "--yes", "--json", "--stack-file", str(bench.stack_file)]
    with (
        output.open("w", encoding="utf-8") as opened,
        subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *arguments], cwd=bench.root, stdout=opened, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def delays(running: Running, purchases: Sequence[Purchase]) -> list[float]:
    """Return how long each took, in seconds; infinite for one that is not there."""
    at = {it["fields"]["order_id"]: float(it["received_at"]) for it in running.sandbox.events()}
    return sorted(at.get(it.order, math.inf) - it.accepted_at for it in purchases)


def row_of(title: str, waits: Sequence[float]) -> tuple[str, ...]:
    p95 = waits[math.ceil(0.95 * len(waits)) - 1]
    shown = (statistics.median(waits), p95, waits[-1])
    return title, str(len(waits)), *(f"{seconds:.2f} s" for seconds in shown)


def measure(running: Running, bench: Bench, count: int) -> bool:
    """Measure without a replay and beside one; print both, return whether it is as promised."""
    with step("a first purchase, which starts the functions"):
        first = buy(running, "first", bool)
    with step(f"{count} events that Cometly refuses"):
        parked = park(running, count)
        time.sleep(60)  # the minute of their posts is over
    with step("purchases alone"):
        quiet = buy(running, "quiet", lambda bought: bought >= QUIET_PURCHASES)
    began = time.monotonic()
    with step("purchases beside a replay"), replaying(bench) as process:
        beside = buy(running, "beside", lambda _: process.poll() is not None)
    seconds = time.monotonic() - began
    wait(lambda: not waiting(running))
    waits = [delays(running, it) for it in (quiet, beside)]
    rows = [row_of(*it) for it in zip(("alone", "beside the replay"), waits, strict=True)]
    say(f"\n{table([('purchases', 'count', 'median', 'p95', 'max'), *rows])}")
    said = json.loads((bench.local / "replay.out").read_text("utf-8").splitlines()[-1])
    say(f"\nreplay: {seconds:.1f} s, status {process.returncode}, {said['summary']}")
    orders = [*parked, *(it.order for it in (*first, *quiet, *beside))]
    is_done = process.returncode == 0 and said["summary"] == {"replayed": count, "refused": 0}
    alone_, beside_ = map(statistics.median, waits)
    return is_whole(running, orders) and is_done and beside_ <= MOST_TIMES * alone_


def is_whole(running: Running, orders: Sequence[str]) -> bool:
    """Print what became of all events; return whether each was booked once and none is left."""
    taken = Counter(it["fields"]["order_id"] for it in running.sandbox.events())
    lost = len(set(orders) - set(taken))
    twice = sum(count > 1 for count in taken.values())
    throttled = sum(it["status"] == 429 for it in running.sandbox.requests())
    left = sum(running.messages().values())
    say(f"booked {len(taken)} of {len(orders)}, lost {lost}, twice {twice}, left {left}")
    say(f"429s {throttled}")
    return not lost + twice + throttled + left


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parked", type=int, default=PARKED, metavar="N")
    count = parser.parse_args().parked
    bench = Bench.of(NAME)
    return judged(bench, LIMIT, lambda running: measure(running, bench, count))


if __name__ == "__main__":
    sys.exit(main())
