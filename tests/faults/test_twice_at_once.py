"""The same event in several hands: one POST."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.faults.rig import Rig, an_order, orders

SLOW = {"cometly.READ_SECONDS": 4.0, "ANSWER_SECONDS": 4.0, "POST_SECONDS": 4.5}


def test_one_message_delivered_to_several_workers_at_once_is_posted_once(rig: Rig) -> None:
    rig.sandbox.change({"latency_ms": 1000})
    rig.hide_for(0)  # each of the workers gets each message
    rig.accept(*orders(5))

    with rig.working(3, invocation=5.0, constants=SLOW) as crew:
        rig.until(lambda: any(it["ReceiveCount"] > 1 for it in rig.waiting()), crew)
        rig.until(lambda: len(rig.bookings()) == 5, crew)
        rig.drain(crew)

    assert crew.deaths == 0
    assert len(rig.posts()) == 5


@pytest.mark.parametrize(("workers", "batch"), [(3, 1), (1, 10)], ids=["apart", "in one batch"])
def test_two_messages_with_one_identity_at_once_are_posted_once(
    rig: Rig, workers: int, batch: int
) -> None:
    rig.sandbox.change({"latency_ms": 300})
    for number in range(6):
        rig.accept(an_order(number), an_order(number, amount=99))

    rig.deliver(workers, batch=batch)

    assert len(rig.posts()) == 6
    assert len(rig.journal("delivery.duplicate")) == 6


def test_a_second_message_waits_for_the_event_that_still_waits(rig: Rig) -> None:
    rig.accept(an_order(1))
    rig.spoil({"kind": "status", "status": 503})
    slow = {"_FIRST_BACK_OFF_SECONDS": 20.0, "_LONGEST_BACK_OFF_SECONDS": 20.0}
    with rig.working(constants=slow) as crew:
        rig.until(lambda: rig.journal("delivery.retried"), crew)
        rig.accept(an_order(1))
        rig.until(lambda: rig.journal("delivery.held") or rig.journal("delivery.duplicate"), crew)
        rig.account().check()
        rig.drain(crew)

    assert [post.status for post in rig.posts()] == [503, 202]


def test_all_workers_keep_to_one_pace(rig: Rig) -> None:
    rig.sandbox.change({"requests_per_minute": 240})
    rig.accept(*orders(24))

    rig.deliver(3, environment={"COMETLY_REQUESTS_PER_MINUTE": "240"})

    # The first few go out at once: so far nothing is scarce.
    paced = rig.posts()[8:]
    gaps = [later.received_at - post.received_at for post, later in pairwise(paced)]
    assert len(rig.posts()) == 24
    assert sum(gap > 0.1 for gap in gaps) > len(gaps) / 2
    assert {post.status for post in rig.posts()} == {202}
