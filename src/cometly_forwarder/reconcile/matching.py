"""Matching: which deliveries of a group are recorded, and what to think of the others.

A group holds all of one order (name and order id, or else the order's name), or, of events without
an order, all of one name and second. Assumed of Cometly, from its own pages:

- an event that brought a key of its own is an event of its own;
- of those without a key, it keeps the first of an order and customer and drops the others whole;
- it changes neither name nor time nor order of what it records.

The ledger does not know the customer, so that of several deliveries without a key under one order,
one record is enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cometly_forwarder.event.facts import PARTS, Facts

CENT = PARTS // 100


class Kind(Enum):
    """What a finding says. All but the first four are nobody's loss."""

    MISSING = "missing"
    AMOUNT = "different_amount"
    REPEATED = "repeated"
    OTHER = "not_from_here"
    DUPLICATE = "duplicate"
    YOUNG = "too_young"


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event that Cometly answered with 202. `at` is when, in Unix seconds."""

    event_id: str
    facts: Facts
    at: float
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of Cometly's list, of the days that are compared. `amount` counts parts of 10,000."""

    id: str
    name: str
    second: int
    order: str = ""
    order_id: str = ""
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One event that is not simply delivered and recorded, and what the judgement rests on."""

    kind: Kind
    basis: str
    delivered: Delivered | None = None
    recorded: Recorded | None = None

    @property
    def name(self) -> str:
        return self.delivered.facts.name if self.delivered else self._row.name

    @property
    def second(self) -> int:
        return self.delivered.facts.second if self.delivered else self._row.second

    @property
    def weight(self) -> int:
        """The amount that it is about, by which the worst come first."""
        amount = self.delivered.facts.amount if self.delivered else self._row.amount
        return abs(amount or 0)

    @property
    def _row(self) -> Recorded:
        assert self.recorded is not None, "a finding is about one side at least"  # noqa: S101
        return self.recorded


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a group. `delivered` = `recorded` + missing + duplicates + too young."""

    name: str
    delivered: int
    recorded: int
    findings: tuple[Finding, ...] = ()


def judge(delivered: Iterable[Delivered], recorded: Iterable[Recorded], settled: float) -> Verdict:
    """Judge a group. What was delivered after `settled` (Unix seconds) had no time to show up."""
    sent = sorted(delivered, key=lambda each: (each.at, each.event_id))
    rows = sorted(recorded, key=lambda each: (each.second, each.id))
    name = sent[0].facts.name if sent else rows[0].name
    is_order = bool(sent[0].facts.order if sent else rows[0].order)
    expected, droppable = _split(sent, is_order=is_order)
    pairs, left, rows_left = _paired(expected, droppable, rows)
    findings = [
        *_amounts(pairs, is_order=is_order),
        *_absent(sent, left, settled, is_order=is_order),
        *_unsent(rows_left, is_known=bool(sent) and is_order),
    ]
    return Verdict(name, len(sent), len(pairs), tuple(findings))


_Pair = tuple[Delivered, Recorded]


def _split(
    sent: Sequence[Delivered], *, is_order: bool
) -> tuple[Sequence[Delivered], Sequence[Delivered]]:
    """Part what has to be recorded from what Cometly drops if it knows the customer."""
    if not is_order:
        return sent, ()
    later = [each for each in sent[1:] if each.facts.is_keyed]
    return [*sent[:1], *later], [each for each in sent[1:] if not each.facts.is_keyed]


def _paired(
    expected: Sequence[Delivered], droppable: Sequence[Delivered], rows: Sequence[Recorded]
) -> tuple[list[_Pair], list[Delivered], list[Recorded]]:
    """Pair what has the same amount first, then what is left, in the order of delivery."""
    pairs: list[_Pair] = []
    left: list[Delivered] = []
    rest = list(rows)
    for some in (expected, droppable):
        found, without, rest = _of_one_amount(some, rest)
        pairs += found
        left += without
    more = list(zip(left, rest, strict=False))
    return pairs + more, left[len(more) :], rest[len(more) :]


def _of_one_amount(
    sent: Sequence[Delivered], rows: Sequence[Recorded]
) -> tuple[list[_Pair], list[Delivered], list[Recorded]]:
    """Go through both sides by their amounts, so that large groups take no longer than sorting.

    What was sent without an amount is recorded with 0, or with none.
    """
    pairs: list[_Pair] = []
    left: list[Delivered] = []
    rest: list[Recorded] = []
    waiting = deque(sorted(rows, key=_amount_of))
    for each in sorted(sent, key=_amount_sent):
        while waiting and _amount_of(waiting[0]) <= _amount_sent(each) - CENT:
            rest.append(waiting.popleft())
        if waiting and _amount_of(waiting[0]) < _amount_sent(each) + CENT:
            pairs.append((each, waiting.popleft()))
        else:
            left.append(each)
    left.sort(key=lambda each: (each.at, each.event_id))
    return pairs, left, sorted([*rest, *waiting], key=lambda row: (row.second, row.id))


def _amount_of(row: Recorded) -> int:
    return row.amount or 0


def _amount_sent(each: Delivered) -> int:
    return each.facts.amount or 0


def _amounts(pairs: Iterable[_Pair], *, is_order: bool) -> Iterator[Finding]:
    """Name pairs whose amounts differ by a cent or more. Nothing sent, nothing to compare."""
    for each, row in pairs:
        if each.facts.amount is not None and abs(_amount_sent(each) - _amount_of(row)) >= CENT:
            basis = "the same order" if is_order else "the same name and second"
            yield Finding(Kind.AMOUNT, basis, each, row)


def _absent(
    sent: Sequence[Delivered], left: Sequence[Delivered], settled: float, *, is_order: bool
) -> Iterator[Finding]:
    """Judge deliveries without a row."""
    lacking = set(left)
    is_another_there = any(not it.facts.is_keyed and it not in lacking for it in sent[1:])
    for each in left:
        is_droppable = is_order and not each.facts.is_keyed
        if is_droppable and (is_another_there or each is not sent[0]):
            other = "another of this order" if each is sent[0] else sent[0].event_id
            yield Finding(
                Kind.DUPLICATE, f"Cometly keeps one of an order and customer: {other}", each
            )
        elif each.at > settled:
            yield Finding(
                Kind.YOUNG, "delivered less than 15 minutes before the list was read", each
            )
        elif is_order:
            yield Finding(Kind.MISSING, "no record of this name and order", each)
        else:
            yield Finding(Kind.MISSING, _of_second(len(left), len(sent)), each)


def _of_second(missing: int, sent: int) -> str:
    if missing == sent:
        return "no record of this name and second"
    return f"{missing} of the {sent} of this name and second have no record: this one, or its like"


def _unsent(rows: Iterable[Recorded], *, is_known: bool) -> Iterator[Finding]:
    """Judge rows of the days in question to which nothing was delivered."""
    for row in rows:
        if is_known:
            basis = "the order is recorded more often than it was delivered"
            yield Finding(Kind.REPEATED, basis, recorded=row)
        else:
            yield Finding(Kind.OTHER, "nothing like it was delivered from here", recorded=row)
