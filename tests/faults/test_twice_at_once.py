"""The same event in several hands: one POST."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.faults.rig import Rig, an_order, orders

SLOW = {"cometly.READ_SECONDS": 4.0, "ANSWER_SECONDS": 4.0, "POST_SECONDS": 4.5}


def test_a_message_that_reappears_during_its_post_is_released(rig: Rig) -> None:
    rig.hide_for(1)
    [event_id] = rig.accept(an_order(1))
    rig.sandbox.change({"latency_ms": 2500})

    with rig.working(2, invocation=5.0, constants=SLOW) as crew:
        rig.until(lambda: _receives(rig) >= 2, crew)
        assert rig.ledger(event_id)["state"] == "claimed"
        rig.drain(crew)

    assert crew.deaths == 0
    assert len(rig.posts()) == 1
    assert rig.ledger(event_id)["state"] == "delivered"


def test_one_message_delivered_to_several_workers_at_once_is_posted_once(rig: Rig) -> None:
    rig.sandbox.change({"latency_ms": 500})
    rig.hide_for(0)  # each of the workers gets each message
    rig.accept(*orders(5))

    with rig.working(3, invocation=5.0, constants=SLOW) as crew:
        rig.until(lambda: len(rig.bookings()) == 5, crew)
        rig.drain(crew)

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


def test_a_correction_is_booked_whether_what_it_corrects_is_refused_before_or_not(rig: Rig) -> None:
    typo = {"url": "https://shop.example.com/typo"}
    rig.spoil(
        {"kind": "status", "status": 503, "match": typo},
        {"kind": "status", "status": 422, "match": typo, "times": "always"},
    )
    rig.accept(an_order(1, **typo))
    with rig.working(2) as crew:
        rig.until(lambda: rig.journal("delivery.retried"), crew)
        rig.accept(an_order(1, url="https://shop.example.com/right"))
        rig.drain(crew)

    [booking] = rig.bookings()
    assert booking.fields["url"] == "https://shop.example.com/right"


def test_a_parked_event_that_is_sent_again_is_delivered_once(rig: Rig) -> None:
    [event_id] = rig.accept(an_order(1))
    rig.spoil({"kind": "status", "status": 422})
    with rig.working(2) as crew:
        rig.drain(crew)
        [parked] = rig.aws.peek(rig.dead_letter_url)
        rig.account().check()

        for _ in range(2):
            rig.aws.sqs.send_message(QueueUrl=rig.queue_url, MessageBody=parked["Body"])
        rig.aws.sqs.purge_queue(QueueUrl=rig.dead_letter_url)
        rig.drain(crew)

    assert [post.status for post in rig.posts()] == [422, 202]
    assert rig.ledger(event_id)["state"] == "delivered"
    assert len(rig.bookings()) == 1


def test_all_workers_keep_to_one_pace(rig: Rig) -> None:
    rig.sandbox.change({"requests_per_minute": 240})
    rig.accept(*orders(24))

    rig.deliver(3, environment={"COMETLY_REQUESTS_PER_MINUTE": "240"})

    gaps = [later.received_at - post.received_at for post, later in pairwise(rig.posts())]
    assert len(rig.posts()) == 24
    assert sum(gap > 0.1 for gap in gaps) > len(gaps) / 2
    assert {post.status for post in rig.posts()} == {202}


def _receives(rig: Rig) -> int:
    return max((message["ReceiveCount"] for message in rig.waiting()), default=0)
