"""Rows of Cometly's list, as its pages and its exports hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cometly_forwarder.errors import ListUnread
from cometly_forwarder.event.facts import order_hash, parts_in, second_in
from cometly_forwarder.reconcile.matching import Recorded

# Whoever recorded such a row, it was not this forwarder.
NAMELESS = "(without a name)"


@dataclass(frozen=True, slots=True)
class First:
    """A row because of which Cometly may have dropped an order that has no row of its own."""

    order: str
    id: str
    second: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of the list, and the cursor of the next page; None at the end."""

    rows: Sequence[Mapping[str, Any]]
    cursor: str | None


def recorded_in(rows: Sequence[Mapping[str, Any]], start: int, end: int) -> Iterator[Recorded]:
    """Read the rows from `start` to before `end`, in Unix seconds; others came along with them.

    Raises ListUnread for a row without id or time: what is left out would be missing.
    """
    for row in rows:
        id_, second = row.get("id"), second_in(row.get("event_time_utc"))
        if id_ is None or second is None:
            raise ListUnread("a row of Cometly's list lacks its id or its time")
        if not start <= second < end:
            continue
        name = str(row.get("event_name") or NAMELESS)
        order_id, order_name = row.get("order_id"), row.get("order_name")
        yield Recorded(
            id=_storable(id_),
            name=_storable(name),
            second=second,
            order=order_hash(name, order_id, order_name),
            order_id=_storable(order_id or order_name or ""),
            amount=parts_in(row.get("amount")),
        )


def firsts_in(rows: Sequence[Mapping[str, Any]], start: int, end: int) -> Iterator[First]:
    """Read what Cometly compares orders with, and no group of the days has.

    The order's name of a row that has an id as well: a later one with that name alone is dropped.
    And of the rows that came along from before and after the days, both.
    """
    for row in rows:
        id_, second = row.get("id"), second_in(row.get("event_time_utc"))
        if id_ is None or second is None:
            continue
        name, order_id = str(row.get("event_name") or NAMELESS), row.get("order_id")
        orders = {order_hash(name, None, row.get("order_name"))}
        if not start <= second < end:
            orders.add(order_hash(name, order_id, None))
        elif not order_id:
            continue
        yield from (First(order, _storable(id_), second) for order in orders if order)


def are_within(rows: Sequence[Mapping[str, Any]], start: int, end: int) -> bool:
    """Say whether all rows that have a time have it from `start` to before `end`."""
    seconds = (second_in(row.get("event_time_utc")) for row in rows)
    return all(start <= second < end for second in seconds if second is not None)


def _storable(value: object) -> str:
    """Write a value as text; halves of characters, which JSON lets through, as question marks."""
    return str(value).encode(errors="replace").decode()
