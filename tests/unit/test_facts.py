"""What the ledger keeps of a delivered event, for the comparison with Cometly's list."""

from __future__ import annotations

from typing import Any

import pytest

from cometly_forwarder.event.facts import Facts, facts_in, facts_of, order_hash, parts_in, second_in

NOON = 1795867200
PURCHASE: dict[str, Any] = {
    "event_name": "purchase",
    "email": "ada@example.com",
    "event_time": "2026-11-28T12:00:00Z",
    "order_id": "1042",
    "amount": 89.5,
}
ORDER = order_hash("purchase", "1042", None)


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        pytest.param({}, Facts("purchase", NOON, ORDER, 895_000), id="an order"),
        pytest.param(
            {"idempotency_key": "k"},
            Facts("purchase", NOON, ORDER, 895_000, is_keyed=True),
            id="key",
        ),
        pytest.param(
            {"is_upsell": True},
            Facts("upsell_purchase", NOON, order_hash("upsell_purchase", "1042", None), 895_000),
            id="an upsell",
        ),
        pytest.param({"is_upsell": False}, Facts("purchase", NOON, ORDER, 895_000), id="no upsell"),
        pytest.param(
            {"order_id": None, "order_name": "#1"},
            Facts("purchase", NOON, order_hash("purchase", None, "#1"), 895_000),
            id="the order's name",
        ),
        pytest.param(
            {"order_id": None, "amount": None},
            Facts("purchase", NOON),
            id="neither order nor amount",
        ),
    ],
)
def test_facts_are_what_cometlys_list_would_show(changed: dict[str, Any], facts: Facts) -> None:
    assert facts_of({**PURCHASE, **changed}) == facts


@pytest.mark.parametrize("lacking", ["event_name", "event_time"])
def test_an_event_without_name_or_time_has_no_facts(lacking: str) -> None:
    assert facts_of({**PURCHASE, lacking: None}) is None


def test_an_order_by_id_is_none_by_the_same_name() -> None:
    assert order_hash("purchase", "7", None) != order_hash("purchase", None, "7")
    assert order_hash("purchase", 7, "") == order_hash("purchase", "7", "a name")


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-11-28T12:00:00Z", NOON),
        ("2026-11-28T12:00:00.999Z", NOON),
        ("2026-11-28 12:00:00", NOON),
        ("2026-11-28T13:00:00+01:00", NOON),
        ("yesterday", None),
        (NOON, None),
        ("0001-01-01T00:00:00+23:00", -62135679600),
    ],
)
def test_a_time_is_a_second_of_utc(text: object, second: int | None) -> None:
    assert second_in(text) == second


@pytest.mark.parametrize(
    ("amount", "parts"),
    [
        (89.5, 895_000),
        ("89.50", 895_000),
        (0, 0),
        (33.333333, 333_333),
        (-5, -50_000),
        (True, None),
        (None, None),
        ("free", None),
        (10**14, 10**18),
        (10**15, None),
        (1e300, None),
        (10**400, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_an_amount_counts_parts_of_ten_thousand(amount: object, parts: int | None) -> None:
    assert parts_in(amount) == parts


@pytest.mark.parametrize(
    "facts",
    [
        Facts("purchase", NOON, ORDER, 895_000, is_keyed=True),
        Facts("custom_event_50", NOON),
        Facts("purchase", NOON, ORDER, 10**18),
        Facts("purchase", NOON, ORDER, -1),
    ],
)
def test_what_the_ledger_keeps_reads_back(facts: Facts) -> None:
    assert facts_in(facts.attributes()) == facts


def test_an_item_of_a_version_before_has_no_facts() -> None:
    assert facts_in({"event_id": {"S": "evt_1"}, "state": {"S": "delivered"}}) is None
