"""A worker killed (SIGKILL) between any two effects: nothing is lost, nothing is booked twice.

All cases run side by side, for each of them waits for a lease to end; each test then looks at its
own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.rig import Account, AwsClients, an_order, opened, orders
from tests.faults.worker import Death

# The queue hides a message for longer than a claim lasts, as in the template.
INVOCATION = 2.5
# More at once would only wait for each other.
SIDE_BY_SIDE = 8
VISIBILITY = 3
TIMES: dict[str, Any] = {
    "invocation": INVOCATION,
    "constants": {
        "cometly.READ_SECONDS": 0.8,
        "ANSWER_SECONDS": 1.0,
        "POST_SECONDS": 1.6,
    },
}
# What a killed worker had in hand is tried one by one; it comes back at different times.
POSTPONED = {"UNAVAILABLE_SECONDS": 3.0}
FAULTS: dict[str, list[dict[str, object]]] = {
    "accepted": [],
    "suspect": [],
    "refused": [{"kind": "status", "status": 422, "times": "always"}],
    "failing": [{"kind": "status", "status": 503}],
}


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
        first = [Death("after ledger.claim")] if self.answer == "suspect" else []
        return [*first, self._death]

    @property
    def _death(self) -> Death:
        """A settling that records no answer says that nothing was posted: it is not meant."""
        answers = {
            "accepted": "HTTP 202",
            "suspect": "HTTP 202",
            "refused": "HTTP 422",
            "failing": "HTTP 503",
        }
        is_settling = self.moment.endswith("ledger.settle")
        return Death(self.moment, mention=answers[self.answer] if is_settling else "")

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


@dataclass(frozen=True)
class Aftermath:
    """What a fresh worker left when the queue was empty."""

    deaths: int
    posts: int
    account: Account
    state: object


def after(aws: AwsClients, folder: Path, case: Case) -> Aftermath:
    with opened(aws, folder, visibility=VISIBILITY) as rig:
        [event_id] = rig.accept(an_order(1))
        rig.spoil(*FAULTS[case.answer])
        with rig.working(deaths=case.deaths, **TIMES) as crew:
            rig.until(lambda: crew.deaths == len(case.deaths), crew)
            rig.drain(crew)
        return Aftermath(
            crew.deaths, len(rig.posts()), rig.account(), rig.ledger(event_id)["state"]
        )


@pytest.fixture(scope="module")
def aftermath(
    aws: AwsClients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Aftermath]]:
    running: dict[Case, Future[Aftermath]] = {}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:

        def of(case: Case) -> Aftermath:
            if not running:
                folder = tmp_path_factory.mktemp("crashes")
                for place, each in enumerate(CASES):
                    running[each] = threads.submit(after, aws, folder / str(place), each)
            return running[case].result()

        yield of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_killed_worker_loses_nothing_and_books_nothing_twice(
    aftermath: Callable[[Case], Aftermath], case: Case
) -> None:
    end = aftermath(case)

    assert end.deaths == len(case.deaths)
    assert end.posts == case.posts
    assert end.account.parked.total() == case.parked
    assert end.account.waiting == frozenset()
    assert end.state == ("parked" if case.parked else "delivered")
    end.account.check()


def test_the_documented_table_of_crashes_has_every_case_and_no_other() -> None:
    text = Path("docs/architecture.md").read_text("utf-8")

    named = re.findall(r"`((?:before|after) [\w.]+, \w+)`", text)

    assert Counter(named) == Counter(str(case) for case in CASES)


def test_a_worker_killed_during_the_post_is_one_booking(aws: AwsClients, tmp_path: Path) -> None:
    with opened(aws, tmp_path, visibility=VISIBILITY) as rig:
        rig.accept(an_order(1))
        rig.spoil({"kind": "process_then_hang", "seconds": 30})

        with rig.working(**TIMES) as crew:
            rig.until(rig.posts, crew)
            crew.kill()
            rig.drain(crew)

        assert crew.deaths == 1
        assert len(rig.posts()) == 2
        assert len(rig.bookings()) == 1
        rig.account().check()


def test_workers_killed_over_and_over_amid_a_batch_deliver_it_all_in_the_end(
    aws: AwsClients, tmp_path: Path
) -> None:
    with opened(aws, tmp_path, visibility=VISIBILITY) as rig:
        rig.accept(*orders(10))
        deaths = [
            Death("after ledger.claim", nth=3),
            Death("after cometly.post", nth=2),
            Death("after ledger.settle", nth=2),
        ]
        constants = {**TIMES["constants"], **POSTPONED}

        with rig.working(2, deaths=deaths, invocation=INVOCATION, constants=constants) as crew:
            rig.drain(crew)

        assert crew.deaths == 3
        assert rig.parked() == []
        rig.account().check()


def test_an_invocation_that_outlasts_its_time_is_taken_over(
    aws: AwsClients, tmp_path: Path
) -> None:
    with opened(aws, tmp_path, visibility=VISIBILITY) as rig:
        rig.accept(an_order(1))
        rig.spoil({"kind": "process_then_hang", "seconds": 30})
        patient = {"cometly.READ_SECONDS": 30.0, "ANSWER_SECONDS": 30.0}
        constants = {**TIMES["constants"], **patient}

        with rig.working(invocation=INVOCATION, constants=constants) as crew:
            rig.drain(crew)

        assert crew.deaths == 1
        assert len(rig.bookings()) == 1
        rig.account().check()


def test_an_event_that_kills_its_worker_is_parked_and_its_neighbours_are_delivered(
    aws: AwsClients, tmp_path: Path
) -> None:
    with opened(aws, tmp_path, visibility=2) as rig:
        ids = rig.accept(*orders(10))
        constants = {**TIMES["constants"], **POSTPONED, "POST_SECONDS": 1.2}
        poison = Death("before cometly.post", mention="order-7")

        with rig.working(deaths=[poison] * 50, invocation=1.7, constants=constants) as crew:
            rig.drain(crew)

        [parked] = rig.parked()
        assert parked["reason"] == "poison"
        assert parked["event_id"] == ids[7]
        assert crew.deaths == 5
        assert len(rig.bookings()) == 9
        rig.account().check()
