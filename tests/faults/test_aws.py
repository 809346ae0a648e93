"""AWS's own failures: a proxy before the emulator spoils single calls.

The cases of the first test run side by side, for many of them wait for a lease to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.faults import aws_proxy
from tests.faults.aws_proxy import AwsProxy, Call, Harm, through
from tests.faults.rig import (
    BRISK,
    FAULTS,
    Aftermath,
    AwsClients,
    Rig,
    an_order,
    opened,
    orders,
    side_by_side,
)

# The client tries each call twice, but for those that it was denied.
TRIES = 2
TIMES: dict[str, Any] = {
    "invocation": 6.0,
    "aws_seconds": 1.0,
    # Each post looks at the gate first.
    "constants": {**BRISK, "POST_SECONDS": 2.0, "REFRESH_SECONDS": 0.0},
}


def _writes(call: Call, *, gate: bool, claim: bool = False) -> bool:
    is_gate = '{"S": "gate"}' in call.body
    is_claim = "ADD claims" in call.body
    return call.action == "UpdateItem" and (is_gate, is_claim) == (gate, claim)


def _is_to_the_table(call: Call) -> bool:
    return call.action in {"UpdateItem", "GetItem"}


STEPS: dict[str, Callable[[Call], bool]] = {
    "reservation": lambda call: _writes(call, gate=True),
    "refresh": lambda call: call.action == "GetItem",
    "claim": lambda call: _writes(call, gate=False, claim=True),
    # What says that nothing was posted is no outcome.
    "settle": lambda call: _writes(call, gate=False) and ":answer" in call.body,
    "release": lambda call: call.action == "ChangeMessageVisibilityBatch",
    "park": lambda call: call.action == "SendMessage",
    "token": lambda call: call.action == "GetSecretValue",
}


@dataclass(frozen=True)
class Case:
    """Which call fails, how, what Cometly answers, and how many posts there are then."""

    step: str
    harm: Harm
    answer: str
    posts: int
    parked: int = 0
    # Of what is parked while the ledger is away, the ledger knows the claim alone.
    is_unrecorded: bool = False

    @property
    def state(self) -> str:
        if self.is_unrecorded:
            return "claimed"
        return "parked" if self.parked else "delivered"

    @property
    def tries(self) -> int:
        return 1 if self.harm == "denied" else TRIES

    def __str__(self) -> str:
        return f"{self.step} {self.harm}, {self.answer}"


HARMS: tuple[Harm, ...] = ("throttled", "cut", "silent", "answer lost")
CASES = [
    *[Case("reservation", harm, "accepted", posts=1) for harm in HARMS],
    *[Case("refresh", harm, "accepted", posts=1) for harm in HARMS],
    *[Case("claim", harm, "accepted", posts=1) for harm in HARMS],
    *[Case("settle", harm, "accepted", posts=2) for harm in HARMS[:-1]],
    Case("settle", "answer lost", "accepted", posts=1),
    *[Case("settle", harm, "failing", posts=2) for harm in HARMS],
    *[
        Case("settle", harm, "refused", posts=1, parked=1, is_unrecorded=True)
        for harm in HARMS[:-1]
    ],
    Case("settle", "answer lost", "refused", posts=1, parked=1),
    *[Case("park", harm, "refused", posts=2, parked=1) for harm in ("denied", "cut", "silent")],
    *[Case("release", harm, "failing", posts=2) for harm in ("denied", "cut", "answer lost")],
    *[Case("token", harm, "accepted", posts=1) for harm in ("throttled", "cut", "silent")],
]


@pytest.fixture(scope="module")
def aftermath_of(
    aws: AwsClients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Aftermath]]:
    def run(case: Case) -> Aftermath:
        with opened(aws, folder / str(case)) as rig, aws_proxy.running(aws.url) as proxy:
            rig.hide_for(7)
            [event_id] = rig.accept(an_order(1))
            rig.spoil(*FAULTS[case.answer])
            rule = proxy.spoil(STEPS[case.step], case.harm, times=case.tries)
            crew = rig.deliver(endpoints=through(proxy), **TIMES)
            assert rule.spoilt
            return rig.aftermath(event_id, crew)

    folder = tmp_path_factory.mktemp("aws")
    with side_by_side(run, CASES) as of:
        yield of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_call_to_aws_that_fails_loses_nothing_and_books_nothing_twice(
    aftermath_of: Callable[[Case], Aftermath], case: Case
) -> None:
    assert aftermath_of(case) == Aftermath(posts=case.posts, parked=case.parked, state=case.state)


@pytest.fixture
def proxy(aws: AwsClients) -> Iterator[AwsProxy]:
    with aws_proxy.running(aws.url) as proxy:
        yield proxy


def test_a_delivered_event_whose_settling_failed_is_not_posted_again_within_its_lease(
    rig: Rig, proxy: AwsProxy
) -> None:
    [event_id] = rig.accept(an_order(1))
    proxy.spoil(STEPS["settle"], "throttled", times=TRIES)

    with rig.working(endpoints=through(proxy), **TIMES) as crew:
        rig.until(rig.posts, crew)
        lease = rig.ledger(event_id)["lease"]
        rig.drain(crew)

    first, second = rig.sandbox.book.events()
    assert second.received_at > lease
    assert second.fields == first.fields
    assert second.duplicate is not None


@pytest.mark.parametrize(
    ("answer", "matches", "harm"),
    [
        pytest.param("accepted", _is_to_the_table, "cut", id="DynamoDB"),
        pytest.param(
            "accepted", STEPS["token"], "cut", id="Secrets Manager, and no token is known"
        ),
        pytest.param("refused", STEPS["park"], "denied", id="the dead-letter queue"),
    ],
)
def test_while_a_service_is_away_all_of_it_waits(
    rig: Rig, proxy: AwsProxy, answer: str, matches: Callable[[Call], bool], harm: Harm
) -> None:
    ids = rig.accept(*orders(12))
    rig.spoil(*FAULTS[answer])
    proxy.spoil(matches, harm)

    with rig.working(2, endpoints=through(proxy), **TIMES) as crew:
        rig.until(lambda: len(rig.journal("delivery.unavailable")) >= 2 * len(ids), crew)
        assert answer == "refused" or rig.posts() == []
        assert rig.parked() == []
        assert len(rig.account().waiting) == len(ids)
        proxy.heal()
        rig.drain(crew)

    if answer == "accepted":
        assert len(rig.posts()) == len(rig.bookings()) == len(ids)
        assert {rig.ledger(event_id)["attempts"] for event_id in ids} == {1}
    else:
        assert len(rig.parked()) == len(ids)


def test_a_dynamodb_that_answers_slowly_costs_time_and_no_slots(rig: Rig, proxy: AwsProxy) -> None:
    rig.accept(*orders(30))
    proxy.spoil(_is_to_the_table, "slow")

    rig.deliver(2, endpoints=through(proxy))

    assert len(rig.posts()) == 30
    assert max(line["receives"] for line in rig.journal("delivery.delivered")) <= 2


@pytest.mark.parametrize("step", ["claim", "settle"])
def test_what_fails_for_some_of_a_batch_holds_up_only_those(
    rig: Rig, proxy: AwsProxy, step: str
) -> None:
    some = rig.accept(*orders(10))[:3]
    for event_id in some:
        proxy.spoil(partial(_concerns, STEPS[step], event_id), "throttled", times=TRIES)

    rig.deliver(endpoints=through(proxy), **TIMES)

    late = [line["event_id"] for line in rig.journal("delivery.unavailable")]
    assert sorted(late) == sorted(some)
    assert rig.parked() == []


def _concerns(step: Callable[[Call], bool], event_id: str, call: Call) -> bool:
    return step(call) and event_id in call.body
