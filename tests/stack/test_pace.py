"""The gate on the deployed stack, scaled down; `make soak` shows the real minutes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tests.stack.deployed import Deployed, Fields, eventually


def _orders(count: int, name: str) -> list[Fields]:
    return [
        {"event_name": "purchase", "email": "ada@example.com", "order_id": f"{name}-{n}"}
        for n in range(count)
    ]


def _statuses(deployed: Deployed) -> Counter[int]:
    return Counter(request["status"] for request in deployed.sandbox.requests())


def test_a_burst_is_spread_over_the_limit_that_the_headers_tell_without_a_429(
    deployed: Deployed,
) -> None:
    deployed.sandbox.set(requests_per_minute=1500, window="sliding")
    deployed.api.post({"event_name": "contact", "email": "ada@example.com"})
    deployed.queues.until_all_is_settled()

    deployed.api.post(_orders(250, "BURST"))
    eventually(lambda: _statuses(deployed)[202], lambda booked: booked == 251)

    deployed.queues.until_all_is_settled()
    times = [request["received_at"] for request in deployed.sandbox.requests()][20:]
    assert _statuses(deployed) == {202: 251}
    # An even pace has 25 in a second; catching up may be twice as fast, and while half of the limit
    # is free, posts go out some tenths of a second before their slots.
    assert max(sum(start <= time < start + 1 for time in times) for start in times) <= 75
    assert all(later >= earlier for earlier, later in pairwise(times))


def test_a_429_holds_all_workers_back_and_costs_no_event_anything(deployed: Deployed) -> None:
    deployed.sandbox.fail(kind="status", status=429, retry_after=3, times=1)

    receipts = deployed.api.post(_orders(60, "HELD")).body["results"]
    eventually(lambda: _statuses(deployed)[202], lambda booked: booked == 60)

    deployed.queues.until_all_is_settled()
    requests = deployed.sandbox.requests()
    [refused] = [request for request in requests if request["status"] == 429]
    after = [r["received_at"] for r in requests if r["received_at"] > refused["received_at"] + 1.5]
    assert min(after) >= refused["received_at"] + 2.9
    entries = [deployed.table.entry(receipt["event_id"]) for receipt in receipts]
    assert {(entry["state"], int(entry["attempts"])) for entry in entries} == {("delivered", 1)}
    assert deployed.queues.parked() == 0
