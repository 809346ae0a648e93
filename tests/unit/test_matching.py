"""Which deliveries are recorded: tables of small groups."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometly_forwarder.event.facts import Facts
from cometly_forwarder.reconcile.matching import Delivered, Kind, Recorded, Verdict, judge
from tests.unit.cases import in_one_test

NOON = 1795867200
SETTLED = float(NOON + 3600)
ORDER = "0123456789abcdef0123456789abcdef"
M, A, R, O, D, Y = Kind  # noqa: E741 - in the order of the class


def sent(
    number: int,
    amount: int | None = 1000,
    *,
    is_keyed: bool = False,
    order: str = ORDER,
    at: float = 0,
) -> Delivered:
    facts = Facts("purchase", NOON, order, amount and amount * 100, is_keyed)
    return Delivered(f"evt_{number}", facts, NOON + number + at, f"req_{number}")


def row(number: int, amount: int | None = 1000, *, order: str = ORDER) -> Recorded:
    return Recorded(str(number), "purchase", NOON, order, "1042", amount and amount * 100)


def told(verdict: Verdict) -> list[tuple[Kind, str | None, str | None]]:
    return [
        (
            it.kind,
            it.delivered.event_id if it.delivered else None,
            it.recorded.id if it.recorded else None,
        )
        for it in verdict.findings
    ]


@in_one_test
@pytest.mark.parametrize(
    ("delivered", "recorded", "count", "findings"),
    [
        pytest.param([sent(1)], [row(1)], 1, [], id="recorded"),
        pytest.param([sent(1)], [], 0, [(M, "evt_1", None)], id="missing"),
        pytest.param([], [row(1)], 0, [(O, None, "1")], id="another sender's"),
        pytest.param([sent(1)], [row(1, 900)], 1, [(A, "evt_1", "1")], id="another amount"),
        pytest.param([sent(1, 8950)], [row(1, 8950)], 1, [], id="89.5 is 89.50"),
        pytest.param([sent(1, None)], [row(1, 900)], 1, [], id="no amount was sent"),
        pytest.param([sent(1, 0)], [row(1, None)], 1, [], id="0 is no amount"),
        pytest.param(
            [sent(1, order=""), sent(2, None, order="")],
            [row(1, 0, order="")],
            1,
            [(M, "evt_1", None)],
            id="no amount is recorded with 0",
        ),
        pytest.param([sent(1, 900)], [row(1, None)], 1, [(A, "evt_1", "1")], id="an amount lost"),
        pytest.param([sent(1)], [row(1), row(2)], 1, [(R, None, "2")], id="recorded twice"),
        pytest.param([sent(1), sent(2)], [row(1)], 1, [(D, "evt_2", None)], id="a dropped one"),
        pytest.param([sent(1), sent(2)], [row(1), row(2)], 2, [], id="two customers"),
        pytest.param(
            [sent(1), sent(2)], [], 0, [(M, "evt_1", None), (D, "evt_2", None)], id="one of two"
        ),
        pytest.param(
            [sent(1, 1000), sent(2, 900)], [row(1, 900)], 1, [(D, "evt_1", None)], id="the second"
        ),
        pytest.param(
            [sent(1, is_keyed=True), sent(2, is_keyed=True)],
            [row(1)],
            1,
            [(M, "evt_2", None)],
            id="each key is an event",
        ),
        pytest.param(
            [sent(1), sent(2), sent(3, is_keyed=True)],
            [row(1), row(2)],
            2,
            [(D, "evt_2", None)],
            id="a key after two without",
        ),
        pytest.param(
            [sent(1), sent(2, is_keyed=True)], [row(1)], 1, [(M, "evt_2", None)], id="first, key"
        ),
        pytest.param(
            [sent(1, is_keyed=True), sent(2)], [row(1)], 1, [(D, "evt_2", None)], id="key, second"
        ),
        pytest.param([sent(1, at=3600)], [], 0, [(Y, "evt_1", None)], id="too young"),
        pytest.param([sent(1, at=3600)], [row(1)], 1, [], id="young and recorded"),
    ],
)
def test_an_order(
    delivered: list[Delivered],
    recorded: list[Recorded],
    count: int,
    findings: list[tuple[Kind, str | None, str | None]],
) -> None:
    verdict = judge(delivered, recorded, SETTLED)

    assert (verdict.delivered, verdict.recorded) == (len(delivered), count)
    assert told(verdict) == findings


def lead(number: int, amount: int | None = None) -> Delivered:
    return sent(number, amount, order="", is_keyed=True)


def lead_row(number: int, amount: int | None = None) -> Recorded:
    return row(number, amount, order="")


@pytest.mark.parametrize(
    ("delivered", "recorded", "kinds"),
    [
        pytest.param([lead(1), lead(2)], [lead_row(1), lead_row(2)], {}, id="all there"),
        pytest.param([lead(1), lead(2)], [lead_row(1)], {M: 1}, id="one of two"),
        pytest.param([lead(1)], [lead_row(1), lead_row(2)], {O: 1}, id="one more"),
        pytest.param([lead(1, 5), lead(2, 7)], [lead_row(1, 7)], {M: 1}, id="told by amounts"),
        pytest.param([lead(1, 5)], [lead_row(1, 7)], {A: 1}, id="another amount"),
    ],
)
def test_events_without_an_order_are_counted_by_second(
    delivered: list[Delivered], recorded: list[Recorded], kinds: dict[Kind, int]
) -> None:
    verdict = judge(delivered, recorded, SETTLED)

    assert Counter(it.kind for it in verdict.findings) == kinds


def test_amounts_tell_which_of_a_second_is_missing() -> None:
    verdict = judge([lead(1, 5), lead(2, 7)], [lead_row(1, 7)], SETTLED)

    assert told(verdict) == [(M, "evt_1", None)]
    assert verdict.findings[0].basis == (
        "1 of the 2 of this name and second have no record: this one, or its like"
    )


@pytest.mark.parametrize(("amount", "is_told"), [(1099_99, False), (1100_00, True)])
def test_amounts_differ_from_a_cent_on(amount: int, *, is_told: bool) -> None:
    recorded = replace(row(1), amount=amount)
    verdict = judge(
        [replace(sent(1), facts=Facts("purchase", NOON, ORDER, 1099_00))], [recorded], 9e9
    )

    assert bool(verdict.findings) is is_told


def test_each_judgement_says_what_it_rests_on() -> None:
    missing, _ = judge([sent(1), sent(2)], [], SETTLED).findings
    [duplicate] = judge([sent(1), sent(2)], [row(1)], SETTLED).findings

    assert missing.basis == "no record of this name and order"
    assert duplicate.basis == "Cometly keeps one of an order and customer: evt_1"
    assert (missing.name, missing.second, missing.weight) == ("purchase", NOON, 100_000)


EVENTS = st.lists(
    st.builds(sent, st.integers(1, 9), st.sampled_from([None, 5, 7]), is_keyed=st.booleans()),
    max_size=6,
    unique_by=lambda it: it.event_id,
)
ROWS = st.lists(
    st.builds(row, st.integers(1, 9), st.sampled_from([None, 5, 7])),
    max_size=6,
    unique_by=lambda it: it.id,
)


@given(EVENTS, ROWS)
def test_every_delivery_and_every_row_is_accounted_for(
    delivered: list[Delivered], recorded: list[Recorded]
) -> None:
    if not delivered and not recorded:
        return

    verdict = judge(delivered, recorded, SETTLED)

    kinds = Counter(it.kind for it in verdict.findings)
    assert verdict.delivered == verdict.recorded + kinds[M] + kinds[D] + kinds[Y]
    assert len(recorded) == verdict.recorded + kinds[R] + kinds[O]
    assert kinds[M] == 0 or verdict.recorded < len(delivered)


@given(EVENTS)
def test_nothing_is_missing_where_cometly_keeps_to_its_rules(delivered: list[Delivered]) -> None:
    """What it keeps if all are one customer's: each key, and the first of the order."""
    by_time = sorted(delivered, key=lambda it: it.at)
    kept = [it for place, it in enumerate(by_time) if it.facts.is_keyed or place == 0]
    rows = [replace(row(n), amount=it.facts.amount) for n, it in enumerate(kept)]
    if not delivered:
        return

    verdict = judge(delivered, rows, SETTLED)

    assert {it.kind for it in verdict.findings} <= {D}
    assert verdict.recorded == len(kept)
