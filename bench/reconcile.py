"""What a comparison takes: a day of 5,000 events on the local stack, and 1,000,000 without AWS.

    python -m bench.reconcile day [--events N]
    python -m bench.reconcile large [--events N]

`day` delivers events of all kinds, of which the sandbox forgets 17, changes 5 amounts and holds 40
from another sender; the command is killed twice in its middle and run again. `large` puts the rows
into a sandbox, makes up the ledger's side, and reads by an export. Both print time, memory and
requests, and exit with 1 if anything else is named than what was lost or changed. Loopback only.

Taken for granted: the ledger answers at once (`large`), a delivery is older than 15 minutes as soon
as it is settled (the command's clock goes ahead), and pages hold 500 rows (`day`), so that there is
a middle to be killed in.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import urllib3

from bench.running import Bench, Running, alone
from cometly_forwarder.event.facts import facts_of
from cometly_forwarder.reconcile import listing
from cometly_forwarder.reconcile.asking import Asker, Pace
from cometly_forwarder.reconcile.book import Book
from cometly_forwarder.reconcile.days import Day, day_of, utc_time
from cometly_forwarder.reconcile.exports import CometlyExports
from cometly_forwarder.reconcile.ledger import Found
from cometly_forwarder.reconcile.listing import CometlyList
from cometly_forwarder.reconcile.matching import Delivered, Kind
from cometly_forwarder.reconcile.run import Comparison
from local.sandbox.server import RunningSandbox
from local.sandbox.server import running as running_sandbox
from local.sandbox.settings import DEFAULT_TOKEN, Settings
from local.stack.console import say, step
from local.stack.errors import StepFailed
from local.stack.lifecycle import bring_up
from local.stack.options import Options
from ops.cli import main as command_line
from ops.commands import reconcile
from ops.reconciling import Clock

ZONE = ZoneInfo("America/New_York")
LOST, CHANGED, OTHERS = 17, 5, 40
AHEAD_SECONDS = 16 * 60
AT_ONCE = 500
ROWS_A_PAGE = 500
KILLED_AFTER_SECONDS = 2.5
Fields = dict[str, Any]


def yesterday() -> Day:
    return day_of(datetime.now(ZONE).date() - timedelta(days=1), ZONE)


def event_of(number: int, day: Day, count: int) -> Fields:
    """Make an event: six of ten have an order; upsells and keys are among them."""
    kind, length = number % 10, day.end - day.start
    event: Fields = {
        "event_time": utc_time(day.start + number * length // count),
        "email": f"customer-{number}@example.com",
        "amount": number % 997 + 0.5,
    }
    if kind < 5:
        return {**event, "event_name": "purchase", "order_id": f"order-{number}"}
    if kind == 5:
        # On the order that came before it.
        order = f"order-{number - 1}"
        return {**event, "event_name": "purchase", "order_id": order, "is_upsell": True}
    if kind == 6:
        return {**event, "event_name": "subscribe", "idempotency_key": f"key-{number}"}
    if kind == 7:
        return {**event, "event_name": "start_trial", "order_name": f"#{number}"}
    return {**event, "event_name": "lead_generated"}


def other_of(number: int, day: Day) -> Fields:
    return {
        "event_name": "purchase",
        "event_time": utc_time(day.start + 3 * number),
        "order_id": f"other-{number}",
        "amount": 3,
    }


@dataclass(frozen=True)
class Chosen:
    """Which events go wrong."""

    lost: frozenset[int]
    changed: frozenset[int]

    @classmethod
    def among(cls, count: int) -> Chosen:
        lost = {number * (count // LOST) + number % 9 for number in range(LOST)}
        each = count // (CHANGED + 1)
        changed = {number * each // 10 * 10 + 1 for number in range(1, CHANGED + 1)}
        return cls(frozenset(lost), frozenset(changed - lost))


def told(event: Fields) -> Fields:
    return {name: event.get(name) for name in ("event_name", "email", "is_upsell")}


# --- A day on the local stack ---------------------------------------------------------------------


def measure_day(count: int) -> bool:
    bench = Bench.of("reconcile")
    options = Options(requests_per_minute=60_000, param=bench.parameters())
    day, chosen = yesterday(), Chosen.among(count)
    with alone(bench):
        running = Running.of(bring_up(bench, options), options)
        running.sandbox.set(time_zone=ZONE.key)
        events = [event_of(number, day, count) for number in range(count)]
        for number in chosen.lost:
            running.sandbox.fail(kind="forget", match=told(events[number]))
        for number in chosen.changed:
            running.sandbox.fail(kind="other_amount", more=1.0, match=told(events[number]))
        ids = delivered(running, events)
        running.sandbox.record_others([other_of(number, day) for number in range(OTHERS)])
        with tempfile.TemporaryDirectory() as folder:
            file = bench.stack_file
            for number in (1, 2):
                run = _child(file, folder, day)
                time.sleep(KILLED_AFTER_SECONDS)
                run.send_signal(signal.SIGKILL)
                run.wait()
                step(f"Run {number} was killed after {KILLED_AFTER_SECONDS} s")
            began = time.monotonic()
            run = _child(file, folder, day)
            out, _ = run.communicate(timeout=600)
    document = json.loads(out)
    kinds = Counter(it["kind"] for it in document["findings"])
    named = {it["event_id"] for it in document["findings"] if it["event_id"]}
    say(f"{count} events: {document['delivered']} delivered, {document['recorded']} recorded")
    say(f"  findings: {dict(kinds)}; exit status {run.returncode}")
    say(
        f"  the third run: {time.monotonic() - began:.1f} s, {document['requests']} requests, "
        f"{document['items']} items, {document['read_units']:g} read units"
    )
    return (
        named == {ids[number] for number in chosen.lost | chosen.changed}
        and kinds == _expected(chosen)
        and run.returncode == 1
    )


def _expected(chosen: Chosen) -> dict[str, int]:
    return {
        Kind.MISSING.value: len(chosen.lost),
        Kind.AMOUNT.value: len(chosen.changed),
        Kind.OTHER.value: OTHERS,
    }


def delivered(running: Running, events: Sequence[Fields]) -> list[str]:
    """Post events, and wait until nothing is on a queue any more."""
    ids: list[str] = []
    for first in range(0, len(events), AT_ONCE):
        answer = running.api.post(list(events[first : first + AT_ONCE]))
        if answer.status != 202:
            raise StepFailed(f"Events were not accepted: {answer.status}.")
        ids += [result["event_id"] for result in answer.body["results"]]
    step(f"{len(ids)} events were accepted")
    began = time.monotonic()
    while sum(running.messages().values()):
        if time.monotonic() - began > 300:
            raise StepFailed("The queues are not empty after five minutes.")
        time.sleep(0.5)
    step(f"All were delivered, {time.monotonic() - began:.0f} s later")
    return ids


def _child(file: Path, folder: str, day: Day) -> subprocess.Popen[str]:
    """Run the command in a process of its own, in which a delivery is old at once."""
    options = ["--day", str(day.date), "--time-zone", ZONE.key]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.reconcile", "command", str(file), *options],
        env={**os.environ, "XDG_STATE_HOME": folder, "PYTHONPATH": str(Path("src").resolve())},
        stdout=subprocess.PIPE,
        text=True,
    )


def run_command(arguments: Sequence[str]) -> None:
    """Run the command line with a clock that is ahead, and with small pages."""
    file, *rest = arguments
    listing.PER_PAGE = ROWS_A_PAGE
    reconcile._CLOCK = Clock(now=lambda: time.time() + AHEAD_SECONDS)  # noqa: SLF001 - a bench
    command_line(["reconcile", "--json", "--stack-file", file, *rest])


# --- A large day without AWS ----------------------------------------------------------------------


@dataclass(frozen=True)
class MadeUpLedger:
    """A ledger with an event a number."""

    day: Day
    count: int

    def between(self, _start: int, _end: int) -> Iterator[Found]:
        for first in range(0, self.count, 1000):
            some = [self._delivered(n) for n in range(first, min(first + 1000, self.count))]
            yield Found(some, 0, len(some), 128.0)

    def of_orders(self, _orders: Sequence[str]) -> Iterator[Found]:
        yield from ()

    def _delivered(self, number: int) -> Delivered:
        facts = facts_of(event_of(number, self.day, self.count))
        if facts is None:
            raise StepFailed("An event of the measurement has no facts.")
        return Delivered(f"evt_{number:032x}", facts, facts.second + 1.0, f"req_{number:032x}")


def measure_large(count: int) -> bool:
    day, chosen = yesterday(), Chosen.among(count)
    with running_sandbox(Settings(time_zone=ZONE.key, export_s=10)) as sandbox:
        _fill(sandbox, day, count, chosen)
        child = subprocess.run(
            [
                sys.executable,
                "-m",
                "bench.reconcile",
                "compare",
                sandbox.url,
                str(day.date),
                str(count),
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    found = json.loads(child.stdout)
    say(f"{count} events: {found['delivered']} delivered, {found['recorded']} recorded")
    say(f"  findings: {found['findings']}")
    say(
        f"  {found['seconds']:.0f} s, of which {found['processor']:.0f} s of a processor; "
        f"{found['requests']} requests and a download; at most {found['megabytes']:.0f} MB of "
        f"memory, a file of {found['file']:.0f} MB"
    )
    return bool(found["findings"] == _expected(chosen))


def _fill(sandbox: RunningSandbox, day: Day, count: int, chosen: Chosen) -> None:
    """Put the rows straight into the sandbox: what it records is not measured here."""
    began = time.monotonic()
    for first in range(0, count, 10_000):
        rows = [
            _row(number, day, count, chosen)
            for number in range(first, min(first + 10_000, count))
            if number not in chosen.lost
        ]
        sandbox.sandbox.record_others(rows)
    sandbox.sandbox.record_others([other_of(number, day) for number in range(OTHERS)])
    step(f"The sandbox holds {count} rows, {time.monotonic() - began:.0f} s later")


def _row(number: int, day: Day, count: int, chosen: Chosen) -> Fields:
    event = event_of(number, day, count)
    return {**event, "amount": event["amount"] + (number in chosen.changed)}


def compare(url: str, day: Day, count: int) -> None:
    """Compare in this process alone, and print what it took."""
    paces = [Pace(7), Pace(5), Pace(30)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, urllib3.PoolManager() as pool:
        file = Path(folder) / "book.sqlite"
        asker = Asker(pool, url, lambda: DEFAULT_TOKEN)
        book = Book.open(file, "bench", time.time() + AHEAD_SECONDS)
        report = Comparison(
            days=[day],
            listing=CometlyList(asker, ZONE, paces[0]),
            exports=CometlyExports(asker, paces[1], paces[2]),
            ledger=MadeUpLedger(day, count),
            book=book,
        ).run()
        size = file.stat().st_size
        book.remove()
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = report.total
    print(
        json.dumps(
            {
                "delivered": total.delivered,
                "recorded": total.recorded,
                "findings": {kind.value: count for kind, count in total.of.items() if count},
                "seconds": time.monotonic() - began,
                "processor": used.ru_utime + used.ru_stime,
                "requests": sum(pace.requests for pace in paces),
                "megabytes": used.ru_maxrss / 1024,
                "file": size / 1e6,
            }
        )
    )


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["command", *rest]:
            run_command(rest)
            return 0
        case ["compare", url, day, count]:
            compare(url, day_of(date.fromisoformat(day), ZONE), int(count))
            return 0
    parser = argparse.ArgumentParser(prog="python -m bench.reconcile", description=__doc__)
    parser.add_argument("what", choices=["day", "large"])
    parser.add_argument("--events", type=int)
    given = parser.parse_args(arguments)
    say(f"{datetime.now(UTC):%Y-%m-%d}, {given.what}")
    if given.what == "day":
        return 0 if measure_day(given.events or 5_000) else 1
    return 0 if measure_large(given.events or 1_000_000) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
