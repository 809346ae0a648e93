"""The scan that finds a day's deliveries: its pages, its segments, and what it cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from cometly_forwarder.event.facts import Facts
from cometly_forwarder.reconcile.ledger import LedgerScan
from cometly_forwarder.reconcile.matching import Delivered
from cometly_forwarder.reconcile.run import amount_text

FACTS = Facts("purchase", 1795867200, "0" * 32, 895_000)


@dataclass
class FakeTable:
    """DynamoDB: a segment has pages of two items each, one of them of an old version."""

    pages: int
    requests: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def scan(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.requests.append(request)
        number = int(request.get("ExclusiveStartKey", {"n": 0})["n"])
        new = {
            "event_id": {"S": f"evt_{request['Segment']}_{number}"},
            "updated_at": {"N": "1795867201.5"},
            "request_id": {"S": "req"},
            **FACTS.attributes(),
        }
        with self._lock:
            self._now -= 1
        answer = {
            "Items": [new, {"event_id": {"S": "evt_old"}, "updated_at": {"N": "1795867201"}}],
            "ScannedCount": 1000,
            "ConsumedCapacity": {"CapacityUnits": 128.5},
        }
        more = number + 1 < self.pages
        return answer | ({"LastEvaluatedKey": {"n": number + 1}} if more else {})


def test_every_page_of_every_segment_is_read_once() -> None:
    table = FakeTable(pages=5)
    scan = LedgerScan(table, "table", segments=3)  # type: ignore[arg-type]

    found = list(scan.between(1795867200, 1795953600))

    assert len(found) == 15
    assert {it.event_id for page in found for it in page.delivered} == {
        f"evt_{segment}_{number}" for segment in range(3) for number in range(5)
    }
    assert found[0].delivered[0] == Delivered(
        found[0].delivered[0].event_id, FACTS, 1795867201.5, "req"
    )
    assert sum(it.unjudged for it in found) == 15
    assert sum(it.looked_at for it in found) == 15_000
    assert scan.read_units == 15 * 128.5
    assert table.most_at_once <= 3
    assert {it["ExpressionAttributeValues"][":last"]["N"] for it in table.requests} == {
        "1795953599"
    }


def test_orders_are_looked_for_by_their_hashes() -> None:
    table = FakeTable(pages=1)
    scan = LedgerScan(table, "table", segments=1)  # type: ignore[arg-type]

    list(scan.of_orders(["a", "b"]))

    [request] = table.requests
    assert request["FilterExpression"].endswith("order_hash IN (:order0, :order1)")
    assert request["ExpressionAttributeValues"] == {
        ":order0": {"S": "a"},
        ":order1": {"S": "b"},
        ":delivered": {"S": "delivered"},
    }


def test_amounts_are_written_with_two_digits_and_more_where_they_say_more() -> None:
    amounts = [895_000, 71_250, -50_000, 0, None]

    assert list(map(amount_text, amounts)) == ["89.50", "7.125", "-5.00", "0.00", ""]
