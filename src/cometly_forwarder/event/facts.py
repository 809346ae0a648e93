"""Facts: what the ledger keeps of a delivered event, to compare it with what Cometly recorded.

Nothing personal is among them (decision 30): a name, a second, an amount, and a hash of the order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from cometly_forwarder import jsontext

# Cometly's list of recorded events has this name for a purchase that `is_upsell`.
UPSELL = "upsell_purchase"
PURCHASE = "purchase"
# An amount is compared to the cent; it is kept with two digits more, for whoever rounds.
PARTS = 10_000
# What is larger is not compared: parts of it would not fit into 64 bits.
_MOST = 10**14


@dataclass(frozen=True, slots=True)
class Facts:
    """A delivered event, as Cometly's list would show it.

    `second` is Unix time. `order` is empty where the event has neither `order_id` nor `order_name`.
    `amount` counts parts of ten thousand. `is_keyed` when an `idempotency_key` was posted, by which
    Cometly makes a separate event, whatever its order is.
    """

    name: str
    second: int
    order: str = ""
    amount: int | None = None
    is_keyed: bool = False

    def attributes(self) -> dict[str, dict[str, Any]]:
        """Return them as attributes of the ledger's item."""
        kept: dict[str, dict[str, Any]] = {
            "event_name": {"S": self.name},
            "event_time": {"N": str(self.second)},
            "is_keyed": {"BOOL": self.is_keyed},
        }
        if self.order:
            kept["order_hash"] = {"S": self.order}
        if self.amount is not None:
            kept["amount"] = {"N": str(Decimal(self.amount) / PARTS)}
        return kept


def facts_in(item: Mapping[str, Any]) -> Facts | None:
    """Read them from the ledger's item; None from one of a version that kept none."""
    if "event_time" not in item:
        return None
    return Facts(
        name=str(item["event_name"]["S"]),
        second=int(item["event_time"]["N"]),
        order=str(item.get("order_hash", {}).get("S", "")),
        amount=int(Decimal(item["amount"]["N"]) * PARTS) if "amount" in item else None,
        is_keyed=bool(item["is_keyed"]["BOOL"]),
    )


def facts_of(event: Mapping[str, Any]) -> Facts | None:
    """Read the facts of an event that was posted; None if it has no name or no time."""
    name, second = event.get("event_name"), second_in(event.get("event_time"))
    if not isinstance(name, str) or second is None:
        return None
    if name == PURCHASE and event.get("is_upsell") is True:
        name = UPSELL
    return Facts(
        name=name,
        second=second,
        order=order_hash(name, event.get("order_id"), event.get("order_name")),
        amount=parts_in(event.get("amount")),
        is_keyed=bool(event.get("idempotency_key")),
    )


def order_hash(name: str, order_id: object, order_name: object) -> str:
    """Return a hash of an event's name and its order: by id, or else by name, as Cometly compares.

    Empty where there is no order. An upsell has another name, so it is another order.
    """
    for kind, value in (("id", order_id), ("name", order_name)):
        if value is not None and value != "":
            told = jsontext.dump((name, kind, str(value)))
            return hashlib.sha256(told.encode()).hexdigest()[:32]
    return ""


def second_in(text: object) -> int | None:
    """Read a time as it is posted or listed; without an offset it is UTC. Unix time, floored."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def parts_in(amount: object) -> int | None:
    """Read an amount, a number or text that spells one, as parts of ten thousand."""
    if isinstance(amount, bool) or not isinstance(amount, int | float | str):
        return None
    try:
        number = float(amount)
    except (ValueError, OverflowError):
        return None
    return round(number * PARTS) if abs(number) <= _MOST else None
