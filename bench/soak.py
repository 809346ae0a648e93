"""What takes minutes: pace, burst and an hour of 401, on the deployed stack of this checkout.

    python -m bench.soak pace [--window fixed|sliding] [--workers N] [--minutes N]
    python -m bench.soak burst [--events N]
    python -m bench.soak blocked [--events N] [--blocked-minutes N]
    python -m bench.soak all

Each brings the stack up as it needs it, prints what the sandbox counted, and exits with 1 if it is
not what the product promises. Loopback only; bounded by its minutes and events.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from cometly_forwarder.journal import each_outcome

CHECKOUT = Path(__file__).parents[1]
LIMIT = 1000
# The template's default, for which batches hold up to 40. The emulator gathers nothing for it.
AS_ON_AWS = ("--param", "BatchingWindowSeconds=5")
LEAST_A_MINUTE = 990
ARRAY = 500
LONGEST_PROBE_INTERVAL = 15 * 60


@dataclass
class Stack:
    """The running stack, its sandbox and its way in."""

    record: dict[str, Any]
    http: urllib3.PoolManager
    sent: int = 0

    @classmethod
    def up(cls, *options: str) -> Stack:
        """Start afresh, with nothing of an earlier run on its queues."""
        for command in (["down"], ["up", *AS_ON_AWS, *options]):
            stack = [sys.executable, "-m", "local.stack", *command]
            subprocess.run(stack, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
        record = json.loads((CHECKOUT / ".local" / "stack.json").read_text())
        return cls(record, urllib3.PoolManager())

    def send(self, count: int) -> None:
        run = str(int(time.time()))
        events = [
            {"event_name": "purchase", "email": f"ada{n}@example.com", "order_id": f"{run}-{n}"}
            for n in range(self.sent, self.sent + count)
        ]
        self.sent += count
        for start in range(0, count, ARRAY):
            answer = self.http.request(
                "POST",
                f"{self.record['api_url']}/v1/events",
                json=events[start : start + ARRAY],
                headers={"Authorization": f"Bearer {self.record['server_key']}"},
            )
            if answer.status != 202:
                sys.exit(f"not accepted: {answer.status} {answer.data[:200]!r}")

    def command(self, name: str) -> None:
        """Run a command of the command line on this stack."""
        called = [sys.executable, "-m", "ops.cli", "--local", name]
        subprocess.run(called, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)

    def sandbox(self, path: str) -> Any:
        return self.http.request("GET", f"{self.record['sandbox_url']}/_sandbox/{path}").json()

    def admit_tokens(self, tokens: list[str]) -> list[str]:
        """Let Cometly know these tokens alone; returns those that it knew before."""
        before: list[str] = self.sandbox("settings")["tokens"]
        url = f"{self.record['sandbox_url']}/_sandbox/settings"
        self.http.request("PUT", url, json={"tokens": tokens})
        return before

    def delivered(self, key: str) -> Counter[int]:
        """Count the delivered events by their `receives` or `attempts`, from the log."""
        return Counter(line[key] for line in self._log("delivery.delivered"))

    def parked(self) -> int:
        return sum(1 for _ in self._log("delivery.parked"))

    def _log(self, name: str) -> Iterator[dict[str, Any]]:
        with Path(self.record["log"]).open() as lines:
            for line in lines:
                if f'"{name}"' in line:
                    yield from each_outcome(json.loads(line[line.index("{") :]))


def pace(window: str, workers: int, minutes: int) -> bool:
    """Keep a backlog for so many minutes: no 429 after the first, and the quota used.

    It waits on the queue before the first is delivered: sending takes the processors for seconds.
    """
    options = ("--window", window, "--requests-per-minute", str(LIMIT))
    stack = Stack.up(*options, "--param", f"DeliverConcurrency={workers}")
    stack.command("pause")
    stack.send(2 * LIMIT)
    stack.command("resume")
    began = _first_request(stack)
    while time.time() < began + 60 * minutes:
        time.sleep(5)
        booked = stack.sandbox("stats")["booked"]
        if stack.sent - booked < LIMIT:
            stack.send(ARRAY)
    counts = _by_minute(stack, began, minutes)
    print(f"pace, {window} minute, {workers} workers (minute: accepted, 429s):")
    for minute, (accepted, refused) in enumerate(counts, 1):
        print(f"  {minute}: {accepted:5} {refused:4}")
    return all(accepted >= LEAST_A_MINUTE for accepted, _ in counts) and not any(
        refused for _, refused in counts[1:]
    )


def burst(events: int) -> bool:
    """Send all at once: delivered once each, none parked, in the time that the limit allows."""
    stack = Stack.up("--window", "sliding", "--requests-per-minute", str(LIMIT))
    stack.send(events)
    began = _first_request(stack)
    floor = events / LIMIT * 60
    while stack.sandbox("stats")["booked"] < events and time.time() < began + 1.5 * floor + 60:
        time.sleep(0.5)
    stats, lasted = stack.sandbox("stats"), _last_request(stack) - began
    receives = stack.delivered("receives")
    print(f"burst of {events}: {stats}")
    print(f"  drained in {lasted:.1f} s, the floor is {floor:.1f} s ({lasted / floor:.3f})")
    print(f"  receives: {dict(sorted(receives.items()))}, parked: {stack.parked()}")
    return (
        stats["booked"] == events
        and stats["duplicates"] == 0
        and stack.parked() == 0
        and lasted <= 1.05 * floor
        and max(receives) <= 3
    )


def blocked(events: int, minutes: int) -> bool:
    """Let events wait behind a 401 for so long: none parked, no attempt counted, then all go."""
    stack = Stack.up("--window", "sliding", "--requests-per-minute", str(LIMIT))
    known = stack.admit_tokens(["another-token"])
    stack.send(events)
    began = _first_request(stack)
    time.sleep(max(began + 60 * minutes - time.time(), 0))
    refused, parked = _statuses(stack), stack.parked()
    stack.admit_tokens(known)
    cured = time.time()
    while stack.sandbox("stats")["booked"] < events and time.time() < cured + 900 + events / 10:
        time.sleep(1)
    stats, resumed = stack.sandbox("stats"), _first_accepted(stack) - cured
    attempts = stack.delivered("attempts")
    print(f"{events} events behind a 401 for {minutes} minutes: posts by status {dict(refused)}")
    print(f"  parked meanwhile: {parked}; resumed {resumed:.0f} s after the cure; {stats}")
    print(f"  drained {_last_request(stack) - cured - resumed:.0f} s after that")
    print(f"  attempts: {dict(attempts)}, parked: {stack.parked()}")
    print(f"  receives: {dict(sorted(stack.delivered('receives').items()))}")
    return (
        stats["booked"] == events
        and stats["duplicates"] == 0
        and stack.parked() == 0
        and set(attempts) == {1}
        and resumed <= LONGEST_PROBE_INTERVAL + 60
    )


def _statuses(stack: Stack) -> Counter[int]:
    return Counter(row["status"] for row in _rows(stack.sandbox("requests")))


def _first_request(stack: Stack) -> float:
    """Wait for the first post, and say when it came. Ten may have come by then, the last on top."""
    while not (rows := _rows(stack.sandbox("requests"))):
        time.sleep(0.1)
    return min(float(row["received_at"]) for row in rows)


def _first_accepted(stack: Stack) -> float:
    requests = _rows(stack.sandbox("requests"))
    return min(float(row["received_at"]) for row in requests if row["status"] == 202)


def _last_request(stack: Stack) -> float:
    return max(float(row["received_at"]) for row in _rows(stack.sandbox("requests")))


def _by_minute(stack: Stack, began: float, minutes: int) -> list[tuple[int, int]]:
    counts = Counter(
        (int((row["received_at"] - began) // 60), row["status"])
        for row in _rows(stack.sandbox("requests"))
    )
    return [(counts[minute, 202], counts[minute, 429]) for minute in range(minutes)]


def _rows(answer: Any) -> list[dict[str, Any]]:
    return list(answer if isinstance(answer, list) else answer["requests"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("what", choices=["pace", "burst", "blocked", "all"])
    parser.add_argument("--window", choices=["fixed", "sliding"], default="sliding")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--events", type=int, help="default: 5000 in a burst, 10000 when blocked")
    parser.add_argument("--blocked-minutes", type=int, default=60)
    given = parser.parse_args()
    is_all = given.what == "all"
    forms = [(given.window, given.workers)] if given.what == "pace" else []
    if is_all:
        forms = [(window, workers) for window in ("fixed", "sliding") for workers in (2, 5)]
    try:
        results = [pace(window, workers, given.minutes) for window, workers in forms]
        if is_all or given.what == "burst":
            results.append(burst(given.events or 5_000))
        if is_all or given.what == "blocked":
            results.append(blocked(given.events or 10_000, given.blocked_minutes))
    finally:
        subprocess.run([sys.executable, "-m", "local.stack", "down"], cwd=CHECKOUT, check=False)
    print("as promised" if all(results) else "NOT as promised")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
