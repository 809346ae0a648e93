"""Which events Cometly would drop as duplicates.

The rules, in their order, each over the events booked so far in the Space:

1. An event with an `idempotency_key` is a duplicate of the one that brought that key
   first. A key not seen before makes a separate event: rules 2 and 3 are not asked.
2. Without a key: the same `event_name` and `order_id` for the same customer. Two
   events share a customer when their email, comet_token or fingerprint is equal, any one.
3. Without a key and without an `order_id`: the same `event_name` and `order_name`.

The name is the one that the event is booked under: an upsell of an order is no duplicate of it.
Other values are compared as sent. A duplicate is dropped whole, so nothing of it is remembered;
an event that brought a key is found by its order as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from local.sandbox.contract import given, recorded_name

Rule = Literal["idempotency_key", "order_id", "order_name"]
_Key = tuple[str | None, ...]

_CUSTOMER_FIELDS = ("email", "comet_token", "fingerprint")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The booked event that came first, and the rule that found it."""

    of: int
    rule: Rule


class DuplicateIndex:
    """Remembers booked events by everything that a later one could repeat.

    What is kept are hashes of 64 bits, a third of the memory of the keys themselves. That two of a
    million events share one by chance happens once in some million runs.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def find(self, fields: Mapping[str, object]) -> Duplicate | None:
        """Return what the event repeats, or None where it is new."""
        rule, keys = _comparison(fields)
        for key in keys:
            if (first := self._first.get(hash(key))) is not None:
                return Duplicate(first, rule)
        return None

    def book(self, event_id: int, fields: Mapping[str, object]) -> None:
        """Remember an event that is no duplicate; whoever came first stays first."""
        for key in (*_by_key(fields), *_by_order(fields), *_by_name(fields)):
            self._first.setdefault(hash(key), event_id)


def _comparison(fields: Mapping[str, object]) -> tuple[Rule, Iterator[_Key]]:
    if given(fields, "idempotency_key"):
        return "idempotency_key", _by_key(fields)
    if given(fields, "order_id"):
        return "order_id", _by_order(fields)
    return "order_name", _by_name(fields)


def _by_key(fields: Mapping[str, object]) -> Iterator[_Key]:
    if key := given(fields, "idempotency_key"):
        yield ("idempotency_key", key)


def _by_order(fields: Mapping[str, object]) -> Iterator[_Key]:
    if order_id := given(fields, "order_id"):
        for name in _CUSTOMER_FIELDS:
            if customer := given(fields, name):
                yield ("order_id", recorded_name(fields), order_id, name, customer)


def _by_name(fields: Mapping[str, object]) -> Iterator[_Key]:
    if order_name := given(fields, "order_name"):
        yield ("order_name", recorded_name(fields), order_name)
