"""AWS's own failures: a proxy before the emulator spoils single calls.

The cases of the first test run side by side, for many of them wait for a lease to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults import aws_proxy
from tests.faults.aws_proxy import AwsProxy, Call, Harm
from tests.faults.rig import Account, AwsClients, Rig, an_order, opened, orders

# The client tries each call twice, but for those that it was denied.
TRIES = 2
# More at once would only wait for each other.
SIDE_BY_SIDE = 8
TIMES: dict[str, Any] = {
    "invocation": 5.0,
    "aws_seconds": 0.5,
    "constants": {
        "cometly.READ_SECONDS": 0.8,
        "ANSWER_SECONDS": 1.0,
        "POST_SECONDS": 2.0,
        # Each post looks at the gate first.
        "REFRESH_SECONDS": 0.0,
    },
}


def _writes(call: Call, *, gate: bool, claim: bool = False) -> bool:
    is_gate = '{"S": "gate"}' in call.body
    is_claim = "ADD claims" in call.body
    return call.action == "UpdateItem" and (is_gate, is_claim) == (gate, claim)


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
FAULTS: dict[str, list[dict[str, object]]] = {
    "accepted": [],
    "refused": [{"kind": "status", "status": 422, "times": "always"}],
    "failing": [{"kind": "status", "status": 503}],
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


@dataclass(frozen=True)
class Aftermath:
    spoilt: float
    posts: int
    account: Account
    state: object
    deaths: int


def after(aws: AwsClients, folder: Path, case: Case) -> Aftermath:
    with opened(aws, folder, visibility=6) as rig, aws_proxy.running(aws.url) as proxy:
        [event_id] = rig.accept(an_order(1))
        rig.spoil(*FAULTS[case.answer])
        rule = proxy.spoil(STEPS[case.step], case.harm, times=case.tries)
        with rig.working(endpoints=_through(proxy), **TIMES) as crew:
            rig.drain(crew)
        state = rig.ledger(event_id)["state"]
        return Aftermath(rule.spoilt, len(rig.posts()), rig.account(), state, crew.deaths)


@pytest.fixture(scope="module")
def aftermath(
    aws: AwsClients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Aftermath]]:
    running: dict[Case, Future[Aftermath]] = {}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:

        def of(case: Case) -> Aftermath:
            if not running:
                folder = tmp_path_factory.mktemp("aws")
                for place, each in enumerate(CASES):
                    running[each] = threads.submit(after, aws, folder / str(place), each)
            return running[case].result()

        yield of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_call_to_aws_that_fails_loses_nothing_and_books_nothing_twice(
    aftermath: Callable[[Case], Aftermath], case: Case
) -> None:
    end = aftermath(case)

    assert end.spoilt >= 1
    assert end.posts == case.posts
    assert end.account.parked.total() == case.parked
    assert end.account.waiting == frozenset()
    assert end.state == case.state
    assert end.deaths == 0
    end.account.check()


@pytest.fixture
def proxy(aws: AwsClients) -> Iterator[AwsProxy]:
    with aws_proxy.running(aws.url) as proxy:
        yield proxy


def test_a_delivered_event_whose_settling_failed_is_not_posted_again_within_its_lease(
    rig: Rig, proxy: AwsProxy
) -> None:
    [event_id] = rig.accept(an_order(1))
    proxy.spoil(STEPS["settle"], "throttled", times=TRIES)

    with rig.working(endpoints=_through(proxy), **TIMES) as crew:
        rig.until(rig.posts, crew)
        lease = rig.ledger(event_id)["lease"]
        rig.drain(crew)

    first, second = rig.sandbox.book.events()
    assert second.received_at > lease
    assert second.fields == first.fields
    assert second.duplicate is not None


def test_while_dynamodb_is_away_nothing_is_posted_and_all_of_it_waits(
    rig: Rig, proxy: AwsProxy
) -> None:
    rig.accept(*orders(12))
    proxy.spoil(lambda call: call.action in {"UpdateItem", "GetItem"}, "cut")

    with rig.working(2, endpoints=_through(proxy), **TIMES) as crew:
        rig.until(lambda: len(rig.journal("delivery.unavailable")) >= 12, crew)
        assert rig.posts() == []
        rig.account().check()
        proxy.heal()
        rig.drain(crew)

    assert len(rig.posts()) == 12
    rig.account().check()


def test_a_dynamodb_that_answers_slowly_costs_time_and_no_slots(rig: Rig, proxy: AwsProxy) -> None:
    rig.accept(*orders(30))
    proxy.spoil(lambda call: call.action in {"UpdateItem", "GetItem"}, "slow")

    with rig.working(2, endpoints=_through(proxy)) as crew:
        rig.drain(crew)

    assert len(rig.posts()) == 30
    assert max(line["receives"] for line in rig.journal("delivery.delivered")) <= 2
    rig.account().check()


@pytest.mark.parametrize("step", ["claim", "settle"])
def test_what_fails_for_some_of_a_batch_holds_up_only_those(
    rig: Rig, proxy: AwsProxy, step: str
) -> None:
    some = rig.accept(*orders(10))[:3]
    for event_id in some:
        proxy.spoil(partial(_concerns, STEPS[step], event_id), "throttled", times=TRIES)

    with rig.working(endpoints=_through(proxy), **TIMES) as crew:
        rig.drain(crew)

    late = [line["event_id"] for line in rig.journal("delivery.unavailable")]
    assert sorted(late) == sorted(some)
    assert rig.parked() == []
    rig.account().check()


def test_without_secrets_manager_a_token_that_was_read_goes_on_being_used(
    rig: Rig, proxy: AwsProxy
) -> None:
    rig.accept(an_order(1))
    times = {**TIMES, "constants": TIMES["constants"] | {"MAX_AGE_SECONDS": 0.0}}
    with rig.working(endpoints=_through(proxy), **times) as crew:
        rig.drain(crew)
        rule = proxy.spoil(STEPS["token"], "cut")
        rig.accept(an_order(2))
        rig.drain(crew)

    assert rule.spoilt

    assert len(rig.bookings()) == 2
    rig.account().check()


def test_without_secrets_manager_and_a_token_events_wait_and_are_not_parked(
    rig: Rig, proxy: AwsProxy
) -> None:
    ids = rig.accept(*orders(3))
    proxy.spoil(STEPS["token"], "cut")

    with rig.working(endpoints=_through(proxy), **TIMES) as crew:
        rig.until(lambda: len(rig.journal("delivery.unavailable")) >= 6, crew)
        assert rig.posts() == []
        proxy.heal()
        rig.drain(crew)

    assert rig.parked() == []
    assert {rig.ledger(event_id)["attempts"] for event_id in ids} == {1}
    rig.account().check()


def test_while_the_dead_letter_queue_refuses_nothing_is_lost(rig: Rig, proxy: AwsProxy) -> None:
    rig.accept(*orders(3))
    rig.spoil({"kind": "status", "status": 422, "times": "always"})
    proxy.spoil(STEPS["park"], "denied")

    with rig.working(endpoints=_through(proxy), **TIMES) as crew:
        rig.until(lambda: len(rig.journal("delivery.unavailable")) >= 3, crew)
        assert rig.parked() == []
        assert len(rig.account().waiting) == 3
        proxy.heal()
        rig.drain(crew)

    assert len(rig.parked()) == 3
    rig.account().check()


def _concerns(step: Callable[[Call], bool], event_id: str, call: Call) -> bool:
    return step(call) and event_id in call.body


def _through(proxy: AwsProxy) -> dict[str, str]:
    return dict.fromkeys(("sqs", "dynamodb", "secrets_manager"), proxy.url)
