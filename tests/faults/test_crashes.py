"""A worker killed (SIGKILL) between any two effects: nothing is lost, nothing is booked twice.

All cases run side by side, for each of them waits for a lease to end; each test then looks at its
own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
from tests.faults.worker import Death

INVOCATION = 4.0
# The queue hides a message for longer than a claim lasts, as in the template.
VISIBILITY = 5
TIMES: dict[str, Any] = {"invocation": INVOCATION, "constants": BRISK}
# What a killed worker had in hand is tried one by one; it comes back at different times.
POSTPONED = {"UNAVAILABLE_SECONDS": 5.0}
# A settling that records no answer says that nothing was posted: it is not meant.
ANSWERS = {"accepted": "HTTP 202", "refused": "HTTP 422", "failing": "HTTP 503"}


@dataclass(frozen=True)
class Case:
    """Where the worker dies, what Cometly answers, and how many posts there may be at most.

    A suspect is accepted, and a worker died on it before.
    """

    moment: str
    answer: str
    posts: int
    parked: int = 0

    @property
    def deaths(self) -> list[Death]:
        is_settling = self.moment.endswith("ledger.settle")
        last = Death(self.moment, mention=ANSWERS[self.answer] if is_settling else "")
        return [Death("after ledger.claim"), last] if self.answer == "suspect" else [last]

    def __str__(self) -> str:
        return f"{self.moment}, {self.answer}"


CASES = [
    Case("before gate.admit", "accepted", posts=1),
    Case("after gate.admit", "accepted", posts=1),
    Case("before ledger.claim", "accepted", posts=1),
    Case("after ledger.claim", "accepted", posts=1),
    Case("before cometly.post", "accepted", posts=1),
    Case("after cometly.post", "accepted", posts=2),
    Case("before ledger.settle", "accepted", posts=2),
    Case("after ledger.settle", "accepted", posts=1),
    Case("before delete", "accepted", posts=1),
    Case("after delete", "accepted", posts=1),
    Case("before ledger.begin", "suspect", posts=1),
    Case("after ledger.begin", "suspect", posts=1),
    Case("after cometly.post", "suspect", posts=2),
    Case("before queue.park", "refused", posts=2, parked=1),
    Case("after queue.park", "refused", posts=2, parked=2),
    Case("before ledger.settle", "refused", posts=2, parked=2),
    Case("after ledger.settle", "refused", posts=1, parked=1),
    Case("before delete", "refused", posts=1, parked=1),
    Case("after cometly.post", "failing", posts=2),
    Case("before gate.failed", "failing", posts=2),
    Case("after ledger.settle", "failing", posts=2),
    Case("before queue.release", "failing", posts=2),
    Case("after queue.release", "failing", posts=2),
]


@pytest.fixture(scope="module")
def aftermath_of(
    aws: AwsClients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Aftermath]]:
    def run(case: Case) -> Aftermath:
        with opened(aws, folder / str(case)) as rig:
            rig.hide_for(VISIBILITY)
            [event_id] = rig.accept(an_order(1))
            rig.spoil(*FAULTS.get(case.answer, []))
            with rig.working(deaths=case.deaths, **TIMES) as crew:
                rig.until(lambda: crew.deaths == len(case.deaths), crew)
                rig.drain(crew)
            return rig.aftermath(event_id, crew)

    folder = tmp_path_factory.mktemp("crashes")
    with side_by_side(run, CASES) as of:
        yield of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_killed_worker_loses_nothing_and_books_nothing_twice(
    aftermath_of: Callable[[Case], Aftermath], case: Case
) -> None:
    state = "parked" if case.parked else "delivered"

    assert aftermath_of(case) == Aftermath(
        posts=case.posts, parked=case.parked, state=state, deaths=len(case.deaths)
    )


def test_the_documented_table_of_crashes_has_every_case_and_no_other() -> None:
    text = Path("docs/architecture.md").read_text("utf-8")

    named = re.findall(r"`((?:before|after) [\w.]+, \w+)`", text)

    assert Counter(named) == Counter(str(case) for case in CASES)


def test_a_worker_killed_during_the_post_is_one_booking(rig: Rig) -> None:
    rig.hide_for(VISIBILITY)
    rig.accept(an_order(1))
    rig.spoil({"kind": "process_then_hang", "seconds": 30})

    with rig.working(**TIMES) as crew:
        rig.until(rig.posts, crew)
        crew.kill()
        rig.drain(crew)

    assert crew.deaths == 1
    assert len(rig.posts()) == 2
    assert len(rig.bookings()) == 1


def test_an_invocation_that_outlasts_its_time_is_taken_over(rig: Rig) -> None:
    rig.hide_for(VISIBILITY)
    rig.accept(an_order(1))
    rig.spoil({"kind": "process_then_hang", "seconds": 30})
    patient = {**BRISK, "cometly.READ_SECONDS": 30.0, "ANSWER_SECONDS": 30.0}

    crew = rig.deliver(invocation=INVOCATION, constants=patient)

    assert crew.deaths == 1
    assert len(rig.bookings()) == 1


def test_an_event_that_kills_its_worker_is_parked_and_its_neighbours_are_delivered(
    rig: Rig,
) -> None:
    rig.hide_for(4)
    ids = rig.accept(*orders(10))
    constants = {**BRISK, **POSTPONED, "POST_SECONDS": 1.2}
    poison = Death("before cometly.post", mention="order-7")

    crew = rig.deliver(deaths=[poison] * 50, invocation=3.0, constants=constants)

    [parked] = rig.parked()
    assert parked["reason"] == "poison"
    assert parked["event_id"] == ids[7]
    assert crew.deaths == 5
    assert len(rig.bookings()) == 9
