"""How long a service's purchase takes to reach Cometly while pages flood the forwarder.

    python -m bench.flood [--allow SECONDS]

Posts a purchase every three seconds with the key of a service: first alone, then while 150 requests
of 20 events each come in from pages, until Cometly (the sandbox, 1000 a minute) has them all.
Prints the purchases' delays from their 202 to Cometly in both, and how the page events drained.
Exits with 1 if a purchase beside the flood took longer than is allowed (10 s; name more for a
version that has one queue), if an event was lost or booked twice, or at a 429 of Cometly's.
Loopback only; within six minutes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.running import Bench, Running, judged
from local.stack.console import say, step, table
from local.stack.errors import StepFailed

NAME = "flood"
LIMIT = 1000
REQUESTS, EVENTS_A_REQUEST, SENDERS = 150, 20, 8
PAGE_EVENTS = REQUESTS * EVENTS_A_REQUEST
EVERY_SECONDS = 3.0
QUIET_PURCHASES = 10
# At 1000 a minute the flood alone takes three minutes.
LONGEST_FLOOD_SECONDS = 260.0
LAST_PURCHASES_WITHIN = 40.0
ALLOWED_SECONDS = 10.0
PURCHASE, PAGE_VIEW = "purchase", "view_content"


@dataclass(frozen=True)
class Purchase:
    """A purchase that was accepted, at a Unix time."""

    order: str
    accepted_at: float


@dataclass(frozen=True)
class Booking:
    """What Cometly booked, and when."""

    name: str
    order: str
    email: str
    at: float


@dataclass(frozen=True)
class Flood:
    """What the pages sent: from when, for how long, and the answers by status."""

    began: float
    seconds: float
    answers: Counter[int]


def bookings(running: Running) -> list[Booking]:
    return [
        Booking(
            event["fields"]["event_name"],
            event["fields"].get("order_id", ""),
            event["fields"]["email"],
            float(event["received_at"]),
        )
        for event in running.sandbox.events()
        if event["duplicate_of"] is None
    ]


def buy(running: Running, name: str, is_over: Callable[[int], bool]) -> list[Purchase]:
    """Post a purchase every few seconds until it is over; that is asked after each."""
    purchases: list[Purchase] = []
    began = time.monotonic()
    while not is_over(len(purchases)):
        order = f"{name}-{len(purchases)}"
        answer = running.api.post(
            {"event_name": PURCHASE, "email": "ada@example.com", "order_id": order, "amount": 99}
        )
        if answer.status != 202:
            raise StepFailed(f"A purchase was not accepted: {answer.status}.")
        purchases.append(Purchase(order, time.time()))
        time.sleep(max(began + len(purchases) * EVERY_SECONDS - time.monotonic(), 0))
    return purchases


def view(running: Running) -> Flood:
    """Send what the pages send, as fast as it is taken."""
    began = time.time()

    def post(number: int) -> int:
        emails = (f"visitor-{number}-{place}@example.com" for place in range(EVENTS_A_REQUEST))
        return running.post_from_page([{"event_name": PAGE_VIEW, "email": it} for it in emails])

    with ThreadPoolExecutor(SENDERS) as threads:
        answers = Counter(threads.map(post, range(REQUESTS)))
    return Flood(began, time.time() - began, answers)


def viewed(running: Running) -> int:
    return sum(it.name == PAGE_VIEW for it in bookings(running))


def until_all_are_there(running: Running, orders: int, ends: float) -> None:
    """Wait, up to a time of the monotonic clock, until so many purchases have reached Cometly."""
    while sum(it.name == PURCHASE for it in bookings(running)) < orders and time.monotonic() < ends:
        time.sleep(0.5)


def delays(purchases: Sequence[Purchase], booked: Sequence[Booking]) -> list[float]:
    """Return how long each took, in seconds; infinite for one that is not there."""
    at = {it.order: it.at for it in booked if it.order}
    return sorted(at.get(it.order, math.inf) - it.accepted_at for it in purchases)


def row_of(title: str, waits: Sequence[float]) -> tuple[str, ...]:
    p95 = waits[math.ceil(0.95 * len(waits)) - 1]
    shown = (statistics.median(waits), p95, waits[-1])
    return title, str(len(waits)), *(f"{seconds:.2f} s" for seconds in shown)


_HEADING = ("purchases", "count", "median", "p95", "max")


def measure(running: Running, allowed: float) -> bool:
    """Measure without a flood and with one; print both, and return whether it is as promised."""
    with step("a first purchase, which starts the functions"):
        first = buy(running, "first", bool)
        until_all_are_there(running, len(first), time.monotonic() + LAST_PURCHASES_WITHIN)
    with step("purchases alone"):
        quiet = buy(running, "quiet", lambda count: count >= QUIET_PURCHASES)
        until_all_are_there(running, len(first + quiet), time.monotonic() + LAST_PURCHASES_WITHIN)
    with step("purchases beside a flood"):
        beside, flood = buy_beside_a_flood(running, len(first + quiet))
    booked = bookings(running)
    waits = [delays(purchases, booked) for purchases in (quiet, beside)]
    titles = ("without a flood", "beside the flood")
    say(f"\n{table([_HEADING, *map(row_of, titles, waits)])}")
    lost = sum(map(math.isinf, delays(first + quiet + beside, booked)))
    return _is_whole(running, flood, booked, lost) and waits[1][-1] <= allowed


def buy_beside_a_flood(running: Running, before: int) -> tuple[list[Purchase], Flood]:
    """Post purchases until Cometly has what the pages sent, and wait for the last of them."""
    ends = time.monotonic() + LONGEST_FLOOD_SECONDS

    def is_over(_: int) -> bool:
        return time.monotonic() > ends or viewed(running) >= PAGE_EVENTS

    with ThreadPoolExecutor(1) as aside:
        flood = aside.submit(view, running)
        beside = buy(running, "beside", is_over)
    until_all_are_there(running, before + len(beside), ends + LAST_PURCHASES_WITHIN)
    return beside, flood.result()


def _is_whole(running: Running, flood: Flood, booked: Sequence[Booking], lost: int) -> bool:
    """Print what became of the page events; return whether every event was booked once."""
    after = [it.at - flood.began for it in booked if it.name == PAGE_VIEW]
    minutes = Counter(int(seconds // 60) for seconds in after)
    posts = running.sandbox.requests()
    throttled = sum(request["status"] == 429 for request in posts)
    twice = len(booked) - len({(it.order, it.email) for it in booked})
    say(f"\npage events: answers {dict(flood.answers)} within {flood.seconds:.1f} s")
    say(f"  booked {len(after)} of {PAGE_EVENTS}, the last after {max(after, default=0):.0f} s")
    say(f"  by minute: {_in_order(minutes)}")
    say(f"posts {len(posts)}, 429s {throttled}, purchases lost {lost}, booked twice {twice}")
    are_all_in = len(after) == PAGE_EVENTS and flood.answers == {202: REQUESTS}
    return are_all_in and not lost + twice + throttled


def _in_order(counts: Counter[int]) -> list[int]:
    return [counts[minute] for minute in range(max(counts, default=-1) + 1)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.flood",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--allow", type=float, default=ALLOWED_SECONDS, metavar="SECONDS")
    allowed = parser.parse_args().allow
    bench = Bench.of(NAME)
    return judged(bench, LIMIT, lambda running: measure(running, allowed))


if __name__ == "__main__":
    sys.exit(main())
