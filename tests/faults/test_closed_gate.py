"""When it is the Space or Cometly itself, not the event: the gate closes, and all wait."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from local.sandbox.sandbox import read_request
from tests.faults.rig import Rig, orders

# A blocked gate's first pause here (see tests/faults/worker.py).
SHORTEST_PAUSE = 1.0


def test_a_dead_cometly_gets_a_probe_now_and_then_and_no_hammering(rig: Rig) -> None:
    rig.accept(*orders(40))
    rig.spoil(*[{"kind": "status", "status": status, "times": 8} for status in (500, 502, 503)])

    rig.deliver(2)

    # Two batches of ten were under way when the gate closed; the rest is one probe at a time.
    assert len(rig.posts()) == 40 + 24
    refused = [post.received_at for post in rig.posts() if post.status != 202]
    assert min(later - earlier for earlier, later in pairwise(refused[20:])) > 0.4
    assert rig.parked() == []


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_a_429_makes_everyone_wait_and_costs_no_attempt(rig: Rig, form: str) -> None:
    limit, seconds = 600, 3
    before, *rest = orders(4)
    headers = {"authorization": "Bearer sandbox-token"}
    with rig.working(2) as crew:
        # The workers run by the time at which the minute is used up, or it might be free again.
        rig.accept(before)
        rig.drain(crew)
        rig.sandbox.restore_settings()  # and with them the place that this event took
        # Another sender uses the whole minute up, and all of it becomes free at one moment.
        rig.sandbox.change({"requests_per_minute": limit, "retry_after_form": form})
        freed_at = rig.sandbox.clock() + seconds
        for _ in range(limit):
            rig.sandbox.process(read_request("POST", headers, b"", freed_at - 60))
        others = len(rig.posts())
        ids = rig.accept(*rest)
        rig.drain(crew)

    posts = rig.posts()[others:]
    [first, *_] = [post.received_at for post in posts if post.status == 429]
    begins = {"seconds": seconds - 1, "date": seconds - 1, "none": 0.5}[form]
    # Whoever was on the way already may arrive, nobody else.
    assert not [p for p in posts if first + 1.0 < p.received_at < first + begins - 0.1]
    assert {rig.ledger(event_id)["attempts"] for event_id in ids} == {1}
    assert rig.parked() == []


def test_a_429_of_a_worker_whose_clock_is_behind_lasts_for_one_whose_clock_is_ahead(
    rig: Rig,
) -> None:
    rig.hide_for(3)
    rig.sandbox.change({"requests_per_minute": 240})
    rate = {"COMETLY_REQUESTS_PER_MINUTE": "240"}
    rig.accept(*orders(80))
    with rig.working(skews=[-2.0], batch=5, environment=rate) as behind:
        rig.until(lambda: len(rig.posts()) >= 5, behind)
        rig.spoil({"kind": "status", "status": 429, "retry_after": 6})
        rig.until(lambda: rig.journal("delivery.throttled"), behind)
    # Most of the messages were not received yet.
    with rig.working(skews=[1.5], environment=rate) as ahead:
        rig.until(lambda: len(rig.posts()) >= 20, ahead)

    posts = rig.posts()
    [refused] = [post.received_at for post in posts if post.status == 429]
    # A date is of whole seconds: the first that a worker hears leaves it one of doubt.
    assert not [p for p in posts if refused + 1.5 < p.received_at < refused + 6 - 1.1]


FORBIDDEN = {"tokens": ["sandbox-token", "token-two"], "forbidden_tokens": ["sandbox-token"]}


@pytest.mark.parametrize(
    ("status", "refusal", "remedy"),
    [
        (401, {"tokens": ["token-two"]}, lambda rig: rig.store_token("token-two")),
        (403, FORBIDDEN, lambda rig: rig.store_token("token-two")),
        (403, FORBIDDEN, lambda rig: rig.sandbox.change({"forbidden_tokens": []})),
    ],
    ids=["401, a new token", "403, a new token", "403, the subscription comes back"],
)
def test_events_wait_until_the_space_takes_them_and_lose_no_attempt(
    rig: Rig, status: int, refusal: dict[str, object], remedy: Callable[[Rig], None]
) -> None:
    rig.sandbox.change(refusal)
    ids = rig.accept(*orders(25))
    with rig.working(2) as crew:
        rig.until(lambda: len(rig.posts()) >= 3, crew)
        assert {rig.ledger(event_id).get("attempts", 0) for event_id in ids} == {0}
        remedied_at = rig.sandbox.clock()
        remedy(rig)
        rig.drain(crew)

    refused = [post.received_at for post in rig.posts() if post.status == status]
    probes = max(0.0, remedied_at - refused[0]) / SHORTEST_PAUSE
    # Two batches of ten were under way when the gate closed, and some may arrive after the remedy;
    # until then one probe a pause; and then a probe that may not read the token yet, one that does,
    # and ten threads of the other worker.
    assert len(refused) <= 20 + probes + 2 + 10
    assert rig.parked() == []
    assert {rig.ledger(event_id)["attempts"] for event_id in ids} == {1}
    assert {rig.ledger(event_id)["state"] for event_id in ids} == {"delivered"}


def test_events_without_any_token_wait_until_one_is_stored(rig: Rig) -> None:
    rig.store_token("unset")
    ids = rig.accept(*orders(5))

    with rig.working() as crew:
        rig.until(lambda: rig.journal("delivery.paused"), crew)
        assert rig.posts() == []
        rig.store_token("sandbox-token")
        rig.drain(crew)

    assert rig.parked() == []
    assert {rig.ledger(event_id)["attempts"] for event_id in ids} == {1}
