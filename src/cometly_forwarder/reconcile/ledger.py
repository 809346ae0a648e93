"""The ledger's side: what was delivered in a time, found by a scan of the table (decision 30)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cometly_forwarder.event.facts import facts_in
from cometly_forwarder.ledger_item import Item, State
from cometly_forwarder.reconcile.matching import Delivered

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SEGMENTS = 8
# DynamoDB takes so many operands of IN.
MOST_ORDERS = 100
_STATE = {"#state": "state"}
_KEPT = "event_id, event_name, event_time, order_hash, amount, is_keyed, updated_at, request_id"
_IN_TIME = (
    "#state = :delivered AND (event_time BETWEEN :first AND :last"
    " OR (attribute_not_exists(event_time) AND updated_at BETWEEN :first AND :last))"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a scan. `unjudged` counts items of versions that kept no facts."""

    delivered: Sequence[Delivered]
    unjudged: int
    looked_at: int
    read_units: float


@dataclass(slots=True)
class LedgerScan:
    """Scans in parallel segments; in memory is a page of each, 1 MB at most."""

    client: DynamoDBClient
    table: str
    segments: int = SEGMENTS
    read_units: float = field(default=0.0, init=False)

    def between(self, start: int, end: int) -> Iterator[Found]:
        """Yield what was delivered with a time from `start` to before `end`, in Unix seconds."""
        values = {":first": {"N": str(start)}, ":last": {"N": str(end - 1)}}
        yield from self._pages(_IN_TIME, values)

    def of_orders(self, orders: Sequence[str]) -> Iterator[Found]:
        """Yield what was delivered, at any time, under any of these orders.

        Of more than `MOST_ORDERS` it yields what was delivered under any order.
        """
        if len(orders) > MOST_ORDERS:
            yield from self._pages("#state = :delivered AND attribute_exists(order_hash)", {})
            return
        values = {f":order{number}": {"S": order} for number, order in enumerate(orders)}
        yield from self._pages(
            f"#state = :delivered AND order_hash IN ({', '.join(values)})", values
        )

    def _pages(self, condition: str, values: dict[str, Any]) -> Iterator[Found]:
        request: dict[str, Any] = {
            "TableName": self.table,
            "FilterExpression": condition,
            "ProjectionExpression": _KEPT,
            "ExpressionAttributeNames": _STATE,
            "ExpressionAttributeValues": {
                **values,
                ":delivered": {"S": State.DELIVERED.value},
            },
            "ReturnConsumedCapacity": "TOTAL",
            "TotalSegments": self.segments,
        }
        with ThreadPoolExecutor(self.segments) as threads:
            under_way: dict[Future[Any], int] = {
                threads.submit(self.client.scan, **request, Segment=number): number
                for number in range(self.segments)
            }
            while under_way:
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    segment, page = under_way.pop(future), future.result()
                    if key := page.get("LastEvaluatedKey"):
                        again = {**request, "Segment": segment, "ExclusiveStartKey": key}
                        under_way[threads.submit(self.client.scan, **again)] = segment
                    yield self._found(page)

    def _found(self, page: Any) -> Found:  # noqa: ANN401 - boto3's answer
        units = float(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0))
        self.read_units += units
        items = page["Items"]
        delivered = [each for item in items if (each := delivered_in(item))]
        return Found(delivered, len(items) - len(delivered), page["ScannedCount"], units)


def delivered_in(item: Item) -> Delivered | None:
    """Read an item; None from one of a version that kept no facts."""
    if (facts := facts_in(item)) is None:
        return None
    return Delivered(
        event_id=str(item["event_id"]["S"]),
        facts=facts,
        at=float(item["updated_at"]["N"]),
        request_id=str(item.get("request_id", {}).get("S", "")),
    )
