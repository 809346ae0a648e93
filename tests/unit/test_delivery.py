"""What becomes of a message, with every port in memory."""

from __future__ import annotations

import dataclasses
import json
import random
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cometly_forwarder.deliver import batch
from cometly_forwarder.deliver.claims import (
    LEASE_MARGIN_SECONDS,
    Claim,
    Claimed,
    ClaimResult,
    Outcome,
)
from cometly_forwarder.deliver.jobs import Message
from cometly_forwarder.deliver.posting import POST_SECONDS
from cometly_forwarder.deliver.preparation import MAX_DEATHS
from cometly_forwarder.deliver.settlement import MAX_BLOCKS
from cometly_forwarder.deliver.slots import Slots
from cometly_forwarder.deliver.verdict import CometlyResponse, NoResponse
from cometly_forwarder.deliver.waits import back_off
from cometly_forwarder.errors import TokenMissing, Unavailable
from cometly_forwarder.event.envelope import Source, read_envelope
from cometly_forwarder.gate.rules import REFUSALS_TO_CLOSE, Cause, GateState, Lane, Reservation
from cometly_forwarder.gate.window import Window
from cometly_forwarder.ledger_item import State
from tests.unit.fakes import ACCEPTED, START, InTurn, MemoryGate, Pipe, answer, message


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """A pipe whose threads take turns: they share one clock, which each of them moves."""
    monkeypatch.setattr(batch, "ThreadPoolExecutor", InTurn)
    return Pipe()


def other_message_of(number: int, name: str = "m-other", **fields: Any) -> Message:
    """Make another message about the same order: a caller that posted twice."""
    again = message(number, sent_at=START + 5, **fields)
    return dataclasses.replace(again, id=name, receipt_handle=name)


def answering(pipe: Pipe, answered: CometlyResponse | NoResponse | Exception) -> None:
    """Let Cometly's client answer each post so, or raise it."""

    def respond(_: object) -> CometlyResponse | NoResponse:
        if isinstance(answered, Exception):
            raise answered
        return answered

    pipe.cometly.respond = respond


def entry(pipe: Pipe) -> dict[str, Any]:
    """Return what the ledger keeps of the one identity that there is."""
    [item] = pipe.ledger.items.values()
    return item


def cause_of_pause(pipe: Pipe) -> Cause | None:
    pause = pipe.gate.state.pause
    return pause.cause if pause else None


@pytest.mark.parametrize("count", [1, 10])
def test_accepted_events_are_posted_once_at_slots_of_their_own(pipe: Pipe, count: int) -> None:
    kept = pipe.deliver(*[message(number) for number in range(count)])

    assert kept == []
    assert [event["order_id"] for event in pipe.cometly.posted] == [f"o-{n}" for n in range(count)]
    assert pipe.gate.admitted == count
    assert pipe.ledger.states() == ["delivered"] * count


def test_another_message_waits_out_the_back_off_of_its_identity(pipe: Pipe) -> None:
    answering(pipe, answer(500))
    pipe.deliver(message(1))

    kept = pipe.deliver(other_message_of(1))

    assert kept == ["m-other"]
    assert len(pipe.cometly.posted) == 1
    assert pipe.queue.hidden["m-other"] >= pipe.queue.hidden["r-1"]
    assert entry(pipe)["attempts"] == 1


def test_a_correction_in_the_same_batch_waits_for_what_comes_of_the_first(pipe: Pipe) -> None:
    pipe.cometly.respond = lambda event: answer(422) if "typo" in event["url"] else ACCEPTED
    typo = message(1, url="https://shop.example.com/typo")
    correction = other_message_of(1, url="https://shop.example.com/right")

    kept = pipe.deliver(typo, correction)
    pipe.clock.time += pipe.queue.hidden["m-other"]
    later = pipe.deliver(correction)

    assert (kept, later) == (["m-other"], [])
    assert pipe.ledger.states() == ["delivered"]


def test_the_first_of_a_batch_is_who_was_accepted_first(pipe: Pipe) -> None:
    later = dataclasses.replace(message(1, amount=2), id="m-later", sent_at=START + 0.2)
    sooner = dataclasses.replace(message(1, amount=1), id="m-sooner", sent_at=START + 0.1)

    kept = pipe.deliver(later, sooner)

    assert kept == []
    assert [event["amount"] for event in pipe.cometly.posted] == [1]
    assert pipe.journal.names() == ["delivery.delivered", "delivery.duplicate"]


def test_twins_in_one_batch_take_one_post_and_one_receive(pipe: Pipe) -> None:
    kept = pipe.deliver(message(1), *[other_message_of(1, f"t-{n}") for n in range(9)])

    assert kept == []
    assert len(pipe.cometly.posted) == 1
    assert pipe.gate.admitted == 1


def test_twins_in_one_batch_wait_as_long_as_the_first(pipe: Pipe) -> None:
    answering(pipe, answer(503))

    kept = pipe.deliver(message(1), other_message_of(1))

    assert kept == ["m-1", "m-other"]
    assert pipe.queue.hidden["m-other"] == pipe.queue.hidden["r-1"] + 1


def test_twins_of_an_event_without_a_slot_go_back_with_it(pipe: Pipe) -> None:
    answering(pipe, answer(401))
    pipe.deliver(message(0))
    pipe.clock.time += 61

    kept = pipe.deliver(message(2), message(1), other_message_of(1))

    assert kept == ["m-1", "m-other", "m-2"]
    assert len(pipe.cometly.posted) == 2


def test_a_clock_that_is_put_back_holds_no_worker_up(pipe: Pipe) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        pipe.clock.time -= 3600

    pipe.clock.sleep = sleep  # type: ignore[method-assign]

    kept = pipe.deliver(message())

    assert kept == []
    assert max(slept) <= 20


def test_waiting_for_another_takes_few_receives_and_no_attempt(pipe: Pipe) -> None:
    pipe.ledger.broken = {"settle"}
    pipe.deliver(message(1))
    lease = entry(pipe)["lease"]
    waits: list[float] = []

    while pipe.clock.time <= lease:
        again = dataclasses.replace(other_message_of(1), receives=len(waits) + 1)
        assert pipe.deliver(again) == ["m-other"]
        waits.append(pipe.queue.hidden["m-other"])
        pipe.clock.time += waits[-1]

    assert waits[:4] == [2, 4, 8, 16]
    assert len(waits) <= 7
    assert len(pipe.cometly.posted) == 1


def test_claims_whose_answers_were_lost_are_no_deaths(pipe: Pipe) -> None:
    ask, away = pipe.ledger.claim, True

    def claim_unheard(claim: Claim) -> ClaimResult:
        found = ask(claim)
        if away and isinstance(found, Claimed):
            raise Unavailable("the ledger did not answer")
        return found

    pipe.ledger.claim = claim_unheard  # type: ignore[method-assign]
    for _ in range(3 * MAX_DEATHS):
        assert pipe.deliver(message(1)) == ["m-1"]
        pipe.clock.time += 100
    away = False

    assert pipe.deliver(message(1)) == []
    assert pipe.ledger.states() == ["delivered"]


def test_duplicates_are_dropped_unposted_and_their_slots_given_back(pipe: Pipe) -> None:
    pipe.deliver(*[message(number) for number in range(4)])

    kept = pipe.deliver(*[other_message_of(number, f"t-{number}") for number in range(4)])

    assert kept == []
    assert len(pipe.cometly.posted) == 4
    assert pipe.journal.names() == ["delivery.delivered"] * 4 + ["delivery.duplicate"] * 4
    assert reserved(pipe) == 4


def test_the_same_message_twice_at_once_is_released_until_the_lease_is_over(pipe: Pipe) -> None:
    job = message(1)
    pipe.ledger.broken = {"settle"}
    pipe.deliver(job)

    kept = pipe.deliver(job)

    assert kept == ["m-1"]
    assert len(pipe.cometly.posted) == 1
    assert pipe.queue.hidden["r-1"] > LEASE_MARGIN_SECONDS


def test_a_delivered_event_whose_settling_failed_is_not_posted_within_its_lease(pipe: Pipe) -> None:
    pipe.ledger.broken = {"settle"}
    begun = pipe.clock.time
    kept = pipe.deliver(message(1))
    hidden = pipe.queue.hidden["r-1"]

    assert kept == ["m-1"]
    assert pipe.clock.time + hidden > begun + 60 + LEASE_MARGIN_SECONDS

    pipe.ledger.broken = set()
    pipe.clock.time += hidden
    assert pipe.deliver(message(1)) == []
    assert [event["order_id"] for event in pipe.cometly.posted] == ["o-1", "o-1"]


def test_a_message_that_was_settled_but_not_deleted_is_only_deleted(pipe: Pipe) -> None:
    pipe.deliver(message(1))

    kept = pipe.deliver(message(1, receives=2))

    assert kept == []
    assert len(pipe.cometly.posted) == 1


@pytest.mark.parametrize("nothing", [answer(500), NoResponse("late")], ids=["500", "none"])
def test_a_transient_failure_counts_an_attempt_and_waits(
    pipe: Pipe, nothing: CometlyResponse | NoResponse
) -> None:
    answering(pipe, nothing)

    kept = pipe.deliver(message(1))

    assert kept == ["m-1"]
    assert pipe.ledger.states() == ["waiting"]
    assert entry(pipe)["attempts"] == 1
    assert pipe.queue.hidden["r-1"] == back_off(1, 0.5)


def test_a_429_costs_no_attempt_and_closes_the_gate_for_exactly_its_seconds(pipe: Pipe) -> None:
    answering(pipe, answer(429, retry_after="17"))

    kept = pipe.deliver(message(1))

    pause = pipe.gate.state.pause
    assert kept == ["m-1"]
    assert entry(pipe)["attempts"] == 0
    assert pause is not None
    assert pause.until - pipe.clock.time == pytest.approx(17)
    assert 17 <= pipe.queue.hidden["r-1"] <= 19


def test_after_a_429_the_rest_of_the_batch_is_not_posted(pipe: Pipe) -> None:
    answering(pipe, answer(429, retry_after="30"))

    for number in range(3):
        pipe.deliver(*[message(10 * number + n) for n in range(10)])

    assert len(pipe.cometly.posted) < 10
    assert pipe.ledger.states().count("claimed") == 0


def test_a_probe_that_gets_through_opens_the_gate_for_all(pipe: Pipe) -> None:
    answering(pipe, answer(403))
    pipe.deliver(message(0))
    pipe.clock.time += 61
    answering(pipe, ACCEPTED)

    first = pipe.deliver(*[message(number) for number in range(1, 6)])
    second = pipe.deliver(*[message(number) for number in range(2, 6)])

    assert len(first) == 4
    assert second == []
    assert pipe.gate.state.pause is None


def test_a_probe_that_is_a_duplicate_leaves_probing_to_the_next(pipe: Pipe) -> None:
    pipe.deliver(message(1))
    answering(pipe, answer(401))
    pipe.deliver(message(2))
    pipe.clock.time += 61
    answering(pipe, ACCEPTED)
    twin = other_message_of(1)

    pipe.deliver(twin)
    kept = pipe.deliver(message(3))

    assert kept == []
    assert pipe.gate.state.pause is None


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b'{"message": "no"}'), (403, b""), (404, b"<html></html>"), (302, b"<html></html>")],
    ids=["401", "403", "404", "302"],
)
def test_a_blocked_space_parks_nothing_and_is_probed_by_one_event_alone(
    pipe: Pipe, status: int, body: bytes
) -> None:
    answering(pipe, CometlyResponse(status, {}, body))
    pipe.deliver(*[message(number) for number in range(10)])
    at_first = len(pipe.cometly.posted)

    pipe.clock.time += 61
    kept = pipe.deliver(*[message(number) for number in range(10, 20)])

    assert len(kept) == 10
    assert len(pipe.cometly.posted) == at_first + 1
    assert pipe.queue.parked == []
    assert {item["attempts"] for item in pipe.ledger.items.values()} == {0}
    assert cause_of_pause(pipe) is Cause.BLOCKED


def test_a_dead_cometly_gets_a_probe_and_then_all_are_delivered(pipe: Pipe) -> None:
    answering(pipe, NoResponse("connection refused"))
    waiting = {f"m-{n}": message(n) for n in range(10)}
    pipe.deliver(*waiting.values())
    before = len(pipe.cometly.posted)
    assert cause_of_pause(pipe) is Cause.FAILING

    for number in range(10, 20):
        pipe.clock.time += 61
        pipe.deliver(message(number), message(number + 10))
    probes = len(pipe.cometly.posted) - before
    answering(pipe, ACCEPTED)
    while waiting:
        pipe.clock.time += 61
        kept = set(pipe.deliver(*waiting.values()))
        waiting = {name: waiting[name] for name in kept}

    assert probes == 10
    assert pipe.ledger.states()[:10] == ["delivered"] * 10


def test_a_permanent_refusal_parks_at_once_with_its_reasons(pipe: Pipe) -> None:
    answering(pipe, answer(422, "The amount is odd.", request_id="req-9"))

    kept = pipe.deliver(message(1))

    [(parked, attributes)] = pipe.queue.parked
    assert kept == []
    assert json.loads(parked)["event"]["order_id"] == "o-1"
    assert attributes["event_id"].startswith("evt_")
    told = {name: attributes[name] for name in ("status", "message", "request_id", "attempts")}
    assert told == {
        "status": "422",
        "message": "The amount is odd.",
        "request_id": "req-9",
        "attempts": "1",
    }
    assert pipe.ledger.states() == ["parked"]


def test_what_was_parked_is_the_same_event_when_it_is_sent_again(pipe: Pipe) -> None:
    # Raw SNS delivery of an event without key or order: its id and time are the message's.
    bare = Message("m-1", '{"event_name": "contact", "email": "ada@example.com"}', START, "r-1")
    answering(pipe, answer(422))
    pipe.deliver(bare)
    [(body, _)] = pipe.queue.parked
    answering(pipe, ACCEPTED)

    pipe.deliver(Message("m-2", body, START + 86400, "r-2"))

    first, second = pipe.cometly.posted
    assert second == first
    assert pipe.ledger.states() == ["delivered"]


def test_an_unreadable_message_is_parked_unposted_with_every_reason(pipe: Pipe) -> None:
    bad = message(1, email=None, amount="much", event_name="bought")

    kept = pipe.deliver(bad, Message("m-2", "{", START, "r-2"))

    reasons = [attributes["message"] for _, attributes in pipe.queue.parked]
    assert kept == []
    assert pipe.cometly.posted == []
    assert any("event_name" in r and "amount" in r and "email" in r for r in reasons)
    assert any("not JSON" in r for r in reasons)


def test_two_replays_of_one_event_are_posted_once(pipe: Pipe) -> None:
    answering(pipe, answer(422))
    pipe.deliver(message(1))
    answering(pipe, ACCEPTED)
    replays = [
        dataclasses.replace(message(1), id=f"p-{n}", receipt_handle=f"p-{n}") for n in range(2)
    ]

    kept = pipe.deliver(*replays)
    later = pipe.deliver(*[replay for replay in replays if replay.id in kept])

    assert later == []
    assert len(pipe.cometly.posted) == 2
    assert pipe.ledger.states() == ["delivered"]


def test_an_event_is_settled_as_parked_only_after_the_dead_letter_queue_took_it(
    pipe: Pipe,
) -> None:
    answering(pipe, answer(422))
    pipe.queue.is_broken = True

    kept = pipe.deliver(message(1))

    assert kept == ["m-1"]
    assert pipe.ledger.states() == ["waiting"]

    pipe.queue.is_broken = False
    assert pipe.deliver(message(1)) == []
    assert len(pipe.queue.parked) == 1
    assert pipe.ledger.states() == ["parked"]


def test_an_event_that_is_parked_while_the_ledger_is_away_is_parked_once(pipe: Pipe) -> None:
    answering(pipe, answer(422))
    pipe.ledger.broken = {"settle"}

    kept = pipe.deliver(message(1))

    assert kept == []
    assert len(pipe.queue.parked) == 1


def test_an_event_past_the_horizon_is_parked_with_its_last_answer(pipe: Pipe) -> None:
    answering(pipe, answer(503))
    pipe.deliver(message(1))
    pipe.clock.time += pipe.horizon + 1

    kept = pipe.deliver(message(1))

    [(_, attributes)] = pipe.queue.parked
    assert kept == []
    assert attributes["reason"] == "expired"
    assert attributes["last_answer"].startswith("HTTP 503")
    assert len(pipe.cometly.posted) == 1


def test_an_event_just_inside_the_horizon_is_posted(pipe: Pipe) -> None:
    pipe.clock.time += pipe.horizon - 1

    assert pipe.deliver(message(1)) == []
    assert len(pipe.cometly.posted) == 1


def die_on(pipe: Pipe, order: str) -> None:
    """Leave claims behind as a killed worker does."""

    def respond(event: Mapping[str, Any]) -> CometlyResponse:
        if event["order_id"] == order:
            raise MemoryError
        return ACCEPTED

    pipe.cometly.respond = respond


def test_an_event_that_kills_its_worker_five_times_is_parked_as_poison(pipe: Pipe) -> None:
    die_on(pipe, "o-1")

    for _ in range(MAX_DEATHS):
        assert pipe.deliver(message(1)) == ["m-1"]
        pipe.clock.time += 120
    kept = pipe.deliver(message(1))

    [(_, attributes)] = pipe.queue.parked
    assert kept == []
    assert attributes["reason"] == "poison"
    assert len(pipe.cometly.posted) == MAX_DEATHS


def test_the_others_of_a_poisoned_batch_go_on(pipe: Pipe) -> None:
    die_on(pipe, "o-3")

    kept = pipe.deliver(*[message(number) for number in range(10)])

    assert kept == ["m-3"]
    assert pipe.ledger.states().count("delivered") == 9
    assert pipe.clock.time + pipe.queue.hidden["r-3"] > START + 60 + LEASE_MARGIN_SECONDS


def test_of_several_suspects_one_is_posted_last_and_the_others_go_apart(pipe: Pipe) -> None:
    batch = [message(number) for number in range(4)]
    for suspect in batch[:3]:
        pipe.deliver(suspect)
    make_suspects(pipe)

    kept = pipe.deliver(*batch)

    assert [event["order_id"] for event in pipe.cometly.posted] == ["o-3", "o-0"]
    assert kept == ["m-1", "m-2"]
    assert [item["claims"] for item in pipe.ledger.items.values()].count(2) == 2


def make_suspects(pipe: Pipe) -> None:
    """Let a worker have died on every identity so far."""
    for item in pipe.ledger.items.values():
        item |= {"state": State.CLAIMED, "lease": START, "claims": 2}
    pipe.cometly.posted.clear()
    pipe.clock.time += 100


def test_a_suspect_keeps_a_slot_where_there_are_fewer_than_events(pipe: Pipe) -> None:
    pipe.gate.configured = 60
    pipe.deliver(message(0))
    make_suspects(pipe)

    kept = pipe.deliver(*[message(number) for number in range(40)])

    assert len(kept) > 10
    assert len(pipe.cometly.posted) + len(kept) == 40
    assert pipe.cometly.posted[-1]["order_id"] == "o-0"


def test_a_suspect_for_which_there_is_no_slot_goes_back(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe.deliver(message(0))
    make_suspects(pipe)
    answering(pipe, answer(401))
    pipe.deliver(message(1))
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: True)

    kept = pipe.deliver(message(0))

    assert kept == ["m-0"]
    assert len(pipe.cometly.posted) == 1
    assert pipe.ledger.states() == ["waiting"] * 2


def test_threads_leave_the_last_slot_to_a_claim_that_may_find_a_suspect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe, others_claim = Pipe(), threading.Barrier(3)
    monkeypatch.setattr(pipe.clock, "sleep", lambda _: None)
    pipe.deliver(message(0))
    make_suspects(pipe)
    pipe.gate.configured = 10
    begun, claim = pipe.clock.now(), pipe.ledger.claim
    first_claims = iter(range(3))

    def claim_together(claimed: Claim) -> ClaimResult:
        if next(first_claims, None) is not None:
            others_claim.wait(timeout=30)
        return claim(claimed)

    def respond(_: object) -> CometlyResponse:
        pipe.clock.time = begun + 10  # The slot that the suspect had is over.
        return ACCEPTED

    monkeypatch.setattr(pipe.ledger, "claim", claim_together)
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: False)
    pipe.cometly.respond = respond

    kept = pipe.deliver(*[message(number) for number in range(40)])

    assert pipe.cometly.posted[-1]["order_id"] == "o-0"
    assert len(pipe.cometly.posted) + len(kept) == 40


def test_a_suspect_has_its_turn_in_a_large_batch_though_cometly_is_slow(pipe: Pipe) -> None:
    def respond(_: object) -> CometlyResponse:
        pipe.clock.time += 0.6  # Six seconds, on ten threads.
        return ACCEPTED

    pipe.deliver(message(0))
    make_suspects(pipe)
    pipe.cometly.respond = respond

    kept = pipe.deliver(*[message(number) for number in range(40)])

    assert pipe.cometly.posted[-1]["order_id"] == "o-0"
    assert pipe.clock.now() < START + 100 + 60 - POST_SECONDS + 1
    assert len(pipe.cometly.posted) + len(kept) == 40
    assert reserved(pipe) == len(pipe.cometly.posted)


def test_a_suspect_takes_its_slot_when_the_others_are_sent_back(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspects = [message(number) for number in range(40)]
    pipe.deliver(*suspects)
    make_suspects(pipe)
    settle = pipe.ledger.settle

    def settle_slowly(claim: Claim, outcome: Outcome) -> None:
        pipe.clock.time += 0.1  # A second, on ten threads.
        settle(claim, outcome)

    monkeypatch.setattr(pipe.ledger, "settle", settle_slowly)

    kept = pipe.deliver(*suspects)

    assert len(kept) == 39
    assert len(pipe.cometly.posted) == 1
    assert "delivery.late" not in pipe.journal.names()


def test_what_killed_fewest_workers_posts_first_when_all_others_are_on_their_way_back(
    pipe: Pipe,
) -> None:
    suspects = [message(number) for number in range(5)]
    pipe.deliver(*suspects)
    for number, item in enumerate(pipe.ledger.items.values()):
        item["deaths"] = (2, 1, 3, 0, 2)[number]
    make_suspects(pipe)
    hidden_before: list[str] = []

    def respond(_: object) -> CometlyResponse:
        hidden_before.extend(pipe.queue.hidden)
        return ACCEPTED

    pipe.cometly.respond = respond

    kept = pipe.deliver(*suspects)

    assert [event["order_id"] for event in pipe.cometly.posted] == ["o-3"]
    assert sorted(hidden_before) == ["r-0", "r-1", "r-2", "r-4"]
    assert sorted(kept) == ["m-0", "m-1", "m-2", "m-4"]


def test_what_others_left_goes_back_before_a_suspect_takes_its_slot(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspects = [message(number) for number in range(10)]
    pipe.deliver(*suspects)
    make_suspects(pipe)
    steps, give_back, release = list[str](), MemoryGate.give_back, pipe.queue.release

    def give_back_seen(*given: Any, **named: Any) -> None:
        steps.append("give back")
        give_back(*given, **named)

    def release_seen(delays: Mapping[str, float]) -> None:
        steps.append("release")
        release(delays)

    monkeypatch.setattr(MemoryGate, "give_back", give_back_seen)
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: False)
    monkeypatch.setattr(pipe.queue, "release", release_seen)

    pipe.deliver(*suspects)

    assert steps == ["give back", "release"]
    assert reserved(pipe) == 1


def test_a_defect_at_one_claim_that_is_undone_keeps_no_other_event_back(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspects = [message(number) for number in range(5)]
    pipe.deliver(*suspects)
    make_suspects(pipe)
    settle, broken = pipe.ledger.settle, event_id_of(message(3))

    def settle_others(claim: Claim, outcome: Outcome) -> None:
        if claim.event_id == broken:
            raise ValueError("odd")
        settle(claim, outcome)

    monkeypatch.setattr(pipe.ledger, "settle", settle_others)

    kept = pipe.deliver(*suspects, message(9))

    assert sorted(kept) == ["m-1", "m-2", "m-3", "m-4"]
    assert pipe.queue.hidden["r-3"] >= 60
    assert "delivery.crashed" in pipe.journal.names()


def test_a_suspect_that_was_turned_away_is_still_a_suspect(pipe: Pipe) -> None:
    for _ in range(MAX_DEATHS):
        die_on(pipe, "o-1")
        pipe.deliver(message(1))
        pipe.clock.time += 1000
        answering(pipe, TokenMissing("none"))
        pipe.deliver(message(1))
        pipe.clock.time += 1000

    pipe.deliver(message(1))
    assert [attributes["reason"] for _, attributes in pipe.queue.parked] == ["poison"]


def poison(number: int = 99) -> Message:
    return message(number, full_name="refused alone")


def refuse_poison(event: Mapping[str, Any]) -> CometlyResponse:
    return answer(403) if event.get("full_name") == "refused alone" else ACCEPTED


def test_an_event_that_is_refused_as_if_the_space_were_blocked_is_parked_after_a_few(
    pipe: Pipe,
) -> None:
    pipe.cometly.respond = refuse_poison
    kept, pauses = pipe.deliver(poison()), 1

    for number in range(MAX_BLOCKS - 1):
        pipe.clock.time += pipe.queue.hidden["r-99"]
        pipe.deliver(message(number))
        pipe.clock.time += 10
        pauses += pipe.gate.state.pause is not None
        kept = pipe.deliver(poison())

    [(_, attributes)] = pipe.queue.parked
    assert kept == []
    assert pauses == 1
    assert attributes["reason"].startswith("HTTP 403, again and again")
    assert pipe.ledger.states().count("delivered") == MAX_BLOCKS - 1


def test_one_event_that_is_refused_while_others_are_taken_closes_nothing(pipe: Pipe) -> None:
    pipe.cometly.respond = refuse_poison
    pipe.deliver(message(1))

    for number in range(REFUSALS_TO_CLOSE + 2):
        pipe.deliver(poison(100 + number))
        pipe.deliver(message(number + 2))

    assert pipe.gate.state.pause is None
    assert pipe.ledger.states().count("delivered") == REFUSALS_TO_CLOSE + 3


def test_a_blocked_space_parks_nothing_however_often_an_event_is_refused(pipe: Pipe) -> None:
    pipe.deliver(message(1))
    answering(pipe, answer(403))

    for _ in range(4 * MAX_BLOCKS):
        assert pipe.deliver(poison()) == ["m-99"]
        pipe.clock.time += pipe.queue.hidden["r-99"]

    assert pipe.queue.parked == []


def test_an_answer_that_was_overtaken_does_not_blame_an_event(pipe: Pipe) -> None:
    answering(pipe, answer(403))
    pipe.deliver(poison())
    pipe.gate.taken_at = pipe.clock.time + 1
    pipe.clock.time += 1000
    pipe.deliver(poison())
    assert entry(pipe)["blocks"] == 1

    for _ in range(2 * MAX_BLOCKS):
        pipe.clock.time += 1000
        assert pipe.deliver(poison()) == ["m-99"]

    assert pipe.gate.state.pause is not None


def test_a_probe_that_is_refused_alone_leaves_probing_to_the_next(pipe: Pipe) -> None:
    pipe.cometly.respond = refuse_poison
    pipe.deliver(poison())
    pipe.clock.time += pipe.queue.hidden["r-99"] + 10
    pipe.deliver(message(1))
    answering(pipe, answer(401))
    pipe.clock.time += 10
    for number in range(REFUSALS_TO_CLOSE):
        pipe.deliver(message(2 + number))
    assert cause_of_pause(pipe) is Cause.BLOCKED
    pipe.clock.time += 61

    pipe.deliver(poison())
    answering(pipe, ACCEPTED)

    assert pipe.deliver(message(10)) == []


def test_a_refused_probe_closes_the_gate_though_others_were_taken_lately(pipe: Pipe) -> None:
    answering(pipe, answer(401))
    pipe.deliver(message(1))
    pipe.clock.time += 61
    pipe.gate.taken_at, pipe.gate.refusals = pipe.clock.time, 0

    pipe.deliver(message(2))

    assert pipe.gate.wait() > 60


def test_nothing_starts_that_the_remaining_time_cannot_finish(pipe: Pipe) -> None:
    kept = pipe.deliver(*[message(number) for number in range(3)], seconds=20)

    assert len(kept) == 3
    assert pipe.cometly.posted == []
    assert pipe.ledger.items == {}


def test_a_ledger_that_is_away_posts_nothing_and_keeps_everything(pipe: Pipe) -> None:
    pipe.ledger.broken = {"claim"}

    kept = pipe.deliver(message(1), message(2))

    assert kept == ["m-1", "m-2"]
    assert pipe.cometly.posted == []


@pytest.mark.parametrize(
    ("defect", "line"),
    [(ValueError("an odd item"), "crashed"), (Unavailable("away"), "unavailable")],
    ids=["a defect", "away"],
)
def test_a_gate_that_is_away_posts_nothing_and_claims_nothing(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, defect: Exception, line: str
) -> None:
    def admit(*_: object) -> Reservation:
        raise defect

    monkeypatch.setattr(MemoryGate, "admit", admit)
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: False)

    kept = pipe.deliver(message(1), message(2))

    assert kept == ["m-1", "m-2"]
    assert pipe.journal.names() == [f"delivery.{line}"]
    assert pipe.ledger.items == {}


def test_a_gate_that_cannot_say_what_to_expect_is_asked_first(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expects_room(*_: object) -> bool:
        raise ValueError("an odd state")

    monkeypatch.setattr(MemoryGate, "expects_room", expects_room)

    assert pipe.deliver(message(1)) == []
    assert pipe.journal.names() == ["delivery.crashed", "delivery.delivered"]


def test_claims_that_were_made_while_the_gate_was_away_are_undone(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def admit(*_: object) -> Reservation:
        raise Unavailable("away")

    monkeypatch.setattr(MemoryGate, "admit", admit)

    kept = pipe.deliver(message(1), message(2))

    assert sorted(kept) == ["m-1", "m-2"]
    assert pipe.cometly.posted == []
    assert pipe.ledger.states() == ["waiting"]
    assert entry(pipe)["claims"] == 0


def test_claims_for_which_there_was_no_slot_after_all_are_undone(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(pipe, answer(401))
    pipe.deliver(message(0))
    answering(pipe, ACCEPTED)
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: True)

    closed = pipe.deliver(message(1), message(2))
    pipe.clock.time += 61
    kept = pipe.deliver(message(1), message(2))

    assert sorted(closed) == ["m-1", "m-2"]
    assert kept == ["m-2"]
    assert pipe.ledger.states() == ["waiting", "delivered"]
    assert {item["claims"] for item in pipe.ledger.items.values()} == {0}
    turned_away = [line["count"] for line in pipe.journal.lines if "count" in line]
    assert turned_away == [1, 1, 1]


def test_while_little_of_the_limit_is_taken_posts_go_out_at_once(pipe: Pipe) -> None:
    begun, posted = pipe.clock.time, []

    def respond(_: object) -> CometlyResponse:
        posted.append(pipe.clock.time)
        return ACCEPTED

    pipe.cometly.respond = respond

    for number in range(3):
        pipe.deliver(*[message(10 * number + n) for n in range(10)])

    assert posted[:10] == [begun] * 10
    assert posted[10:] != [begun] * 20


def test_posts_that_overtake_each_other_at_once_are_no_other_senders(pipe: Pipe) -> None:
    """Cometly counts ten posts when it answers the one with the first slot."""
    pipe.cometly.respond = lambda _: answer(
        202, "queued", x_ratelimit_limit="1000", x_ratelimit_remaining="990"
    )

    pipe.deliver(*(message(number) for number in range(10)))
    pipe.deliver(message(10))

    assert pipe.gate.state.learnt.limit == 1000
    assert pipe.gate.state.learnt.others == 0


def test_a_post_that_may_go_out_early_may_not_go_out_late(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = pipe.ledger.claim

    def claim_slowly(claim: Claim) -> ClaimResult:
        pipe.clock.time += 1
        return ask(claim)

    pipe.ledger.claim = claim_slowly  # type: ignore[method-assign]
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: False)

    kept = pipe.deliver(message())

    assert kept == ["m-1"]
    assert pipe.cometly.posted == []
    assert reserved(pipe) == 0


def test_a_missing_token_waits_and_counts_nothing(pipe: Pipe) -> None:
    answering(pipe, TokenMissing("no Cometly token is stored yet"))

    for _ in range(20):
        assert pipe.deliver(message(1)) == ["m-1"]
        pipe.clock.time += 60

    assert pipe.queue.parked == []
    assert entry(pipe)["attempts"] == 0
    assert len(pipe.cometly.posted) < 10


@pytest.mark.parametrize("luck", [0.0, 0.5])
def test_waiting_for_four_days_never_takes_a_thousand_receives(pipe: Pipe, luck: float) -> None:
    pipe.ledger.broken = {"claim"}
    delivery = dataclasses.replace(pipe.batch_delivery(), random=lambda: luck)
    receives, waited = 0, 0.0

    while waited < 96 * 3600:
        receives += 1
        delivery.deliver([message(1, receives=receives)], pipe.clock.now() + 60)
        waited += pipe.queue.hidden["r-1"]

    assert receives < 1000


def test_a_backlog_that_was_received_equally_often_does_not_come_back_all_at_once(
    pipe: Pipe,
) -> None:
    dice = random.Random(1)
    delivery = dataclasses.replace(pipe.batch_delivery(), random=dice.random)
    pipe.ledger.broken = {"claim"}

    delivery.deliver([message(number, receives=200) for number in range(40)], START + 60)

    hidden = pipe.queue.hidden.values()
    assert max(hidden) - min(hidden) > 60
    assert 150 <= min(hidden) < max(hidden) <= 250


def test_no_line_of_the_journal_holds_anything_personal(pipe: Pipe) -> None:
    answers = iter([ACCEPTED, answer(422, "ada@example.com is odd"), answer(500), answer(429)])
    pipe.cometly.respond = lambda _: next(answers)

    for number in range(4):
        pipe.deliver(message(number))

    assert "ada@example.com" not in json.dumps(pipe.journal.lines)


@pytest.mark.parametrize(
    ("attempts", "ceiling"), [(1, 8), (2, 16), (5, 128), (9, 2048), (10, 3600), (500, 3600)]
)
def test_back_off_grows_from_seconds_to_an_hour_with_full_jitter(
    attempts: int, ceiling: float
) -> None:
    assert back_off(attempts, 0.0) == 1
    assert back_off(attempts, 1.0) == 1 + ceiling


# --- Slots: what gets none, and what misses its own -------------------------------------------


def reserved(pipe: Pipe) -> int:
    """Count the slots that are taken at the gate."""
    return sum(pipe.gate.state.window.sent)


def test_what_gets_no_slot_stays_unclaimed_and_does_not_wait_for_what_is_posted(
    pipe: Pipe,
) -> None:
    pipe.gate.configured = 12
    hidden: list[int] = []

    def respond(_: object) -> CometlyResponse:
        hidden.append(len(pipe.queue.hidden))
        return ACCEPTED

    pipe.cometly.respond = respond

    kept = pipe.deliver(*[message(number) for number in range(10)])

    posted = len(pipe.cometly.posted)
    assert 5 <= posted <= 8
    assert set(hidden) == {10 - posted} == {len(kept)}
    assert len(pipe.ledger.items) == posted
    [line] = [line for line in pipe.journal.lines if line["name"] == "delivery.no_slot"]
    assert line["count"] == len(kept)


def test_slots_are_reserved_for_as_many_events_as_there_are_threads(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, counts = pipe.gate.admit, list[int]()

    def counting(_: MemoryGate, count: int, *given: Any) -> Reservation:
        counts.append(count)
        return admit(count, *given)

    monkeypatch.setattr(MemoryGate, "admit", counting)

    kept = pipe.deliver(*[message(number) for number in range(35)])

    assert kept == []
    assert pipe.ledger.states() == ["delivered"] * 35
    assert sum(counts) == reserved(pipe) == 35
    assert max(counts) == batch.THREADS


def test_when_the_gate_closes_the_rest_of_a_large_batch_goes_back_unclaimed(pipe: Pipe) -> None:
    answers = iter([ACCEPTED] * 12)
    pipe.cometly.respond = lambda _: next(answers, answer(429, retry_after="30"))

    kept = pipe.deliver(*[message(number) for number in range(40)])

    assert len(kept) == 28
    assert len(pipe.cometly.posted) < 25
    assert pipe.ledger.states().count("delivered") == 12
    assert len(pipe.ledger.items) < 40
    assert all(pipe.queue.hidden[f"r-{name[2:]}"] >= 28 for name in kept)


def test_slots_that_passed_while_all_threads_were_busy_are_left_to_others(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: False)
    pipe.gate.state = GateState(window=Window(round(START * 10) - 601, b"\1" * 600))

    def respond(_: object) -> CometlyResponse:
        pipe.clock.time += 1
        return ACCEPTED

    pipe.cometly.respond = respond
    kept = pipe.deliver(*[message(number) for number in range(12)])

    assert kept == []
    assert pipe.gate.given_back > 0
    assert reserved(pipe) <= 600 + 12


def test_a_slot_that_is_sooner_than_a_slow_ledger_answers_is_left_to_others(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryGate, "refresh_lead", lambda _: 0.3)
    failures = pipe.batch_delivery().failures
    gate = pipe.gate.lane(Lane.SERVICES)
    slots = Slots(gate, failures, pipe.clock.now, undecided=20, at_once=10, latest=START + 18)

    slots.reserve()
    slot = slots.take()

    assert slot
    assert slot.at >= START + 0.2
    assert pipe.gate.given_back > 0


def test_what_is_too_late_for_a_slot_goes_back_at_once_and_asks_no_gate(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, asked = MemoryGate.admit, list[float]()

    def asking(gate: MemoryGate, *given: Any) -> Reservation:
        asked.append(pipe.clock.now())
        return admit(gate, *given)

    def respond(_: object) -> CometlyResponse:
        pipe.clock.time += 20 if len(pipe.cometly.posted) == batch.THREADS else 0
        return ACCEPTED

    monkeypatch.setattr(MemoryGate, "admit", asking)
    pipe.cometly.respond = respond

    kept = pipe.deliver(*[message(number) for number in range(40)])

    assert len(pipe.cometly.posted) + len(kept) == 40
    assert max(asked) < START + 60 - POST_SECONDS
    assert {pipe.queue.hidden[f"r-{name[2:]}"] for name in kept} == {1.0}
    assert "delivery.no_slot" in pipe.journal.names()


def test_threads_share_a_large_batch_and_post_each_event_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe = Pipe()
    busy, most, lock = 0, 0, threading.Lock()

    def respond(_: object) -> CometlyResponse:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.002)
        with lock:
            busy -= 1
        return ACCEPTED

    monkeypatch.setattr(pipe.clock, "sleep", lambda _: None)
    pipe.cometly.respond = respond
    twins = [other_message_of(number, f"t-{number}") for number in range(10)]

    kept = pipe.deliver(*[message(number) for number in range(40)], *twins)

    assert kept == []
    assert len(pipe.cometly.posted) == 40
    assert pipe.ledger.states() == ["delivered"] * 40
    assert most <= batch.THREADS
    assert pipe.journal.names().count("delivery.duplicate") == 10


@pytest.mark.parametrize("seed", range(20))
def test_whatever_becomes_of_a_large_batch_no_slot_and_no_message_is_left_over(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    pipe, dice = Pipe(), random.Random(seed)
    monkeypatch.setattr(pipe.clock, "sleep", lambda _: None)
    before = [message(number) for number in range(dice.randrange(15))]
    pipe.deliver(*before[: len(before) // 2])
    pipe.ledger.broken = {"settle"}
    pipe.deliver(*before[len(before) // 2 :])
    pipe.ledger.broken = set()
    pipe.clock.time += dice.choice([0, 100])
    pipe.cometly.posted.clear()
    taken = pipe.gate.admitted - pipe.gate.given_back
    answers = [ACCEPTED, ACCEPTED, answer(500), answer(422)]
    pipe.cometly.respond = lambda _: dice.choice(answers)
    pipe.gate.configured = dice.choice([1000, 60])
    claim, admit = pipe.ledger.claim, MemoryGate.admit

    def fail_at_times(call: Any) -> Any:
        def failing(*given: Any) -> Any:
            if dice.random() < 0.1:
                raise dice.choice([Unavailable("away"), ValueError("odd")])
            return call(*given)

        return failing

    pipe.ledger.claim = fail_at_times(claim)  # type: ignore[method-assign]
    monkeypatch.setattr(MemoryGate, "admit", fail_at_times(admit))
    numbers = [dice.randrange(60) for _ in range(40)]
    sent = [
        other_message_of(number, f"x-{place}") if number % 3 else message(number)
        for place, number in enumerate(numbers)
    ]
    sent = list({each.id: each for each in sent}.values())

    kept = pipe.deliver(*sent)

    posted = [event["order_id"] for event in pipe.cometly.posted]
    assert len(kept) == len(set(kept))
    assert len(posted) == len(set(posted))
    assert pipe.gate.admitted - pipe.gate.given_back - taken == len(posted)
    assert {each.receipt_handle for each in sent if each.id in kept} <= set(pipe.queue.hidden)
    done = {State.DELIVERED, State.PARKED}
    assert all(
        pipe.ledger.items[event_id]["state"] in done
        for each in sent
        if each.id not in kept
        for event_id in [event_id_of(each)]
    )


def test_a_defect_of_the_gate_at_slots_that_are_left_over_ends_no_batch(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe.deliver(message(0))

    def broken(*_: object, **__: object) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(MemoryGate, "give_back", broken)
    monkeypatch.setattr(MemoryGate, "expects_room", lambda *_: False)

    kept = pipe.deliver(message(0), message(1), message(2))

    assert kept == []
    assert len(pipe.cometly.posted) == 3
    assert "delivery.crashed" in pipe.journal.names()


def event_id_of(each: Message) -> str:
    source = Source("sqs", each.id, datetime.fromtimestamp(each.sent_at, UTC))
    return read_envelope(each.body, source).event_id


def oversleep(pipe: Pipe, times: int) -> None:
    """Let the worker's next sleeps last a second too long."""
    left = iter(range(times))
    on_time = pipe.clock.sleep

    def sleep(seconds: float) -> None:
        on_time(seconds + (1.0 if next(left, None) is not None else 0.0))

    pipe.clock.sleep = sleep  # type: ignore[method-assign]


def test_a_slot_that_was_missed_is_left_to_others_and_its_event_comes_back(pipe: Pipe) -> None:
    oversleep(pipe, 1)

    kept = pipe.deliver(message())

    assert kept == ["m-1"]
    assert pipe.cometly.posted == []
    assert reserved(pipe) == 0
    item = entry(pipe)
    assert (item["state"], item["attempts"], item["claims"]) == (State.WAITING, 0, 0)
    assert "delivery.late" in pipe.journal.names()
    assert pipe.queue.hidden == {"r-1": 2.0}


def test_a_slot_in_which_nothing_could_be_posted_is_given_back(pipe: Pipe) -> None:
    answering(pipe, Unavailable("Secrets Manager is away"))
    oversleep(pipe, 1)

    kept = pipe.deliver(message())

    assert kept == ["m-1"]
    assert reserved(pipe) == 0


@pytest.mark.parametrize(("receives", "spread"), [(1, 2), (8, 60), (15, 60)])
def test_while_cometly_is_dead_messages_come_back_less_and_less_often(
    pipe: Pipe, receives: int, spread: float
) -> None:
    answering(pipe, NoResponse("connection refused"))
    pipe.deliver(*[message(number) for number in range(10)])

    kept = pipe.deliver(message(99, receives=receives))

    assert kept == ["m-99"]
    assert pipe.queue.hidden["r-99"] == pytest.approx(pipe.gate.wait() + spread / 2)


ODD: dict[str, Any] = {"is_upsell": "perhaps", "ada@example.com": 1}


def warned(pipe: Pipe) -> list[dict[str, Any]]:
    return [line for line in pipe.journal.lines if line["name"] == "delivery.warned"]


@pytest.mark.parametrize("last", [ACCEPTED, answer(422)], ids=["delivered", "parked"])
def test_what_was_odd_about_a_bare_event_is_logged_once_at_its_end(
    pipe: Pipe, last: CometlyResponse
) -> None:
    answering(pipe, answer(500))
    pipe.deliver(message(1, **ODD))
    begun = list(warned(pipe))
    answering(pipe, last)
    pipe.clock.time += 2000

    pipe.deliver(message(1, **ODD))

    assert begun == []
    [line] = warned(pipe)
    # A name that the sender made up could be a person's.
    assert line["fields"] == ["(other)", "is_upsell"]
    assert line["event_id"] == pipe.journal.lines[0]["event_id"]


def test_an_event_without_anything_odd_has_no_such_line(pipe: Pipe) -> None:
    pipe.deliver(message(1))

    assert warned(pipe) == []
