"""What Cometly, or the way to it, can do to an answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from local.sandbox.sandbox import read_request
from local.sandbox.settings import Settings
from tests.faults.conftest import Open
from tests.faults.raw import dawdling
from tests.faults.rig import Rig, an_order, orders

TRACK_PATH = "/public-api/v1/events/track"


def test_without_a_fault_every_event_is_booked_once(rig: Rig) -> None:
    rig.accept(*orders(12))

    with rig.working() as crew:
        rig.drain(crew)

    assert len(rig.posts()) == len(rig.bookings()) == 12
    rig.account().check()


def test_an_answer_lost_after_cometly_processed_the_event_is_one_booking(rig: Rig) -> None:
    rig.accept(*orders(3))
    rig.spoil({"kind": "process_then_cut", "times": 3})

    with rig.working() as crew:
        rig.drain(crew)

    assert len(rig.posts()) == 6
    assert len(rig.bookings()) == 3
    rig.account().check()


def test_an_answer_lost_for_an_event_without_an_order_is_one_booking(rig: Rig) -> None:
    rig.accept({"event_name": "view_content", "email": "ada@example.com"})
    rig.spoil({"kind": "process_then_cut"})

    with rig.working() as crew:
        rig.drain(crew)

    first, second = rig.sandbox.book.events()
    assert first.fields == second.fields
    assert second.duplicate is not None
    rig.account().check()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "cut_before"},
        {"kind": "hang", "seconds": 30},
        {"kind": "process_then_hang", "seconds": 30},
        {"kind": "drip", "seconds_per_byte": 0.5},
        {"kind": "html_200"},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 408},
    ],
    ids=lambda fault: str(fault.get("status", fault["kind"])),
)
def test_a_transient_failure_costs_an_attempt_and_the_next_one_delivers(
    rig: Rig, fault: dict[str, object]
) -> None:
    [event_id] = rig.accept(an_order(1))
    rig.spoil(fault)

    with rig.working(constants={"cometly.READ_SECONDS": 0.8, "ANSWER_SECONDS": 1.5}) as crew:
        rig.drain(crew)

    assert len(rig.posts()) == 2
    assert rig.ledger(event_id)["state"] == "delivered"
    assert rig.ledger(event_id)["attempts"] == 2
    rig.account().check()


def test_answers_that_drip_do_not_wear_the_worker_out(rig: Rig) -> None:
    rig.accept(*orders(24))
    rig.spoil({"kind": "drip", "seconds_per_byte": 0.3, "times": 12})

    with rig.working(constants={"cometly.READ_SECONDS": 0.6, "ANSWER_SECONDS": 1.0}) as crew:
        rig.drain(crew)

    assert crew.deaths == 0
    rig.account().check()


def test_an_answer_that_dawdles_in_each_of_its_parts_ends_within_the_invocation(rig: Rig) -> None:
    with (
        dawdling(0.9) as (url, asked),
        rig.working(
            environment={"COMETLY_URL": url},
            invocation=3.0,
            constants={
                "cometly.READ_SECONDS": 1.0,
                "ANSWER_SECONDS": 1.4,
                "POST_SECONDS": 2.6,
            },
        ) as crew,
    ):
        rig.accept(an_order(1))
        rig.until(lambda: rig.journal("delivery.retried"), crew)

    assert asked()
    assert crew.deaths == 0


def test_runs_of_server_errors_are_sat_out(rig: Rig) -> None:
    rig.accept(*orders(15))
    rig.spoil(
        {"kind": "status", "status": 500, "times": 4},
        {"kind": "status", "status": 502, "times": 4},
        {"kind": "status", "status": 503, "times": 4},
    )

    with rig.working(2) as crew:
        rig.drain(crew)

    assert len(rig.posts()) == 15 + 12
    assert rig.parked() == []
    rig.account().check()


def test_a_dead_cometly_gets_a_probe_now_and_then_and_no_hammering(rig: Rig) -> None:
    rig.accept(*orders(40))
    rig.spoil({"kind": "status", "status": 503, "times": 24})

    with rig.working(2) as crew:
        rig.drain(crew)

    # Two batches of ten were under way when the gate closed; the rest is one probe at a time.
    assert len(rig.posts()) == 40 + 24
    refused = [post.received_at for post in rig.posts() if post.status == 503]
    assert min(later - earlier for earlier, later in pairwise(refused[20:])) > 0.4
    rig.account().check()


@pytest.mark.parametrize("status", [301, 303, 307])
def test_a_redirect_parks_the_event_and_is_not_followed(rig: Rig, status: int) -> None:
    rig.accept(an_order(1))
    rig.spoil({"kind": "redirect", "status": status, "location": TRACK_PATH})

    with rig.working() as crew:
        rig.drain(crew)

    [parked] = rig.parked()
    assert parked["status"] == str(status)
    assert len(rig.posts()) == 1
    rig.account().check()


def test_a_refused_event_is_parked_with_what_the_operator_needs(rig: Rig) -> None:
    [event_id] = rig.accept(an_order(1))
    rig.spoil({"kind": "status", "status": 503}, {"kind": "status", "status": 422})

    with rig.working() as crew:
        rig.drain(crew)

    [post, last] = rig.posts()
    [parked] = rig.parked()
    assert parked | {"accepted_at": "", "parked_at": ""} == {
        "event_id": event_id,
        "reason": "HTTP 422",
        "status": "422",
        "message": "The sandbox was told to answer 422.",
        "last_answer": "HTTP 503",
        "request_id": last.request_id,
        "attempts": "2",
        "accepted_at": "",
        "parked_at": "",
    } | ({"receives": parked["receives"]} if "receives" in parked else {})
    assert post.request_id != last.request_id
    assert rig.ledger(event_id)["state"] == "parked"
    rig.account().check()


@pytest.fixture
def shut_port() -> Iterator[int]:
    """Hold a port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("url_of", "reason"),
    [
        (lambda _, port: f"http://127.0.0.1:{port}", "connection refused"),
        (lambda rig, _: rig.box.url.replace("http://", "https://"), "TLS failed"),
        (lambda *_: "https://cometly.invalid", "name not resolved"),
    ],
    ids=["port closed", "TLS refused", "name not resolved"],
)
def test_a_cometly_that_cannot_be_reached_is_waited_for(
    rig: Rig, shut_port: int, url_of: Callable[[Rig, int], str], reason: str
) -> None:
    [event_id] = rig.accept(an_order(1))
    with rig.working(environment={"COMETLY_URL": url_of(rig, shut_port)}) as crew:
        rig.until(lambda: rig.journal("delivery.retried"), crew)
        crew.finish()

    assert rig.journal("delivery.retried")[0]["reason"] == reason
    assert rig.ledger(event_id)["state"] == "waiting"
    assert rig.posts() == rig.parked() == []
    rig.account().check()

    with rig.working() as crew:
        rig.drain(crew)
    assert len(rig.posts()) == len(rig.bookings()) == 1
    rig.account().check()


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_a_429_makes_everyone_wait_and_costs_no_attempt(open_rig: Open, form: str) -> None:
    limit, seconds = 600, 3
    settings = Settings(requests_per_minute=limit, retry_after_form=form)  # type: ignore[arg-type]
    with open_rig(settings=settings) as rig:
        ids = rig.accept(*orders(3))
        # Another sender used the whole minute up, and all of it becomes free at one moment.
        for _ in range(limit):
            headers = {"authorization": "Bearer sandbox-token"}
            rig.sandbox.process(
                read_request("POST", headers, b"", rig.sandbox.clock() - 60 + seconds)
            )
        others = len(rig.posts())

        with rig.working(2) as crew:
            rig.drain(crew)

        posts = rig.posts()[others:]
        [first, *_] = [post.received_at for post in posts if post.status == 429]
        begins = {"seconds": seconds - 1, "date": seconds - 1, "none": 0.5}[form]
        # Whoever was on the way already may arrive, nobody else.
        assert not [p for p in posts if first + 0.4 < p.received_at < first + begins - 0.1]
        assert {rig.ledger(event_id)["attempts"] for event_id in ids} == {1}
        assert rig.parked() == []
        rig.account().check()


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (401, {"tokens": ["token-two"]}),
        (403, {"tokens": ["sandbox-token", "token-two"], "forbidden_tokens": ["sandbox-token"]}),
    ],
    ids=["401", "403"],
)
def test_events_wait_for_a_new_token_and_lose_no_attempt(
    rig: Rig, status: int, refusal: dict[str, object]
) -> None:
    rig.sandbox.change(refusal)
    ids = rig.accept(*orders(25))
    with rig.working(2) as crew:
        rig.until(lambda: len(rig.posts()) >= 3, crew)
        assert {rig.ledger(event_id).get("attempts", 0) for event_id in ids} == {0}
        rig.store_token("token-two")
        rig.drain(crew)

    refused = [post for post in rig.posts() if post.status == status]
    # Two batches of ten were under way when the gate closed; the rest is one probe at a time.
    assert len(refused) <= 20 + 30  # a slow machine fits in more of the shortened pauses
    assert rig.parked() == []
    assert {rig.ledger(event_id)["attempts"] for event_id in ids} == {1}
    assert {rig.ledger(event_id)["state"] for event_id in ids} == {"delivered"}
    rig.account().check()


def test_a_space_whose_subscription_comes_back_needs_no_new_token(rig: Rig) -> None:
    rig.sandbox.change({"forbidden_tokens": ["sandbox-token"]})
    rig.accept(*orders(5))

    with rig.working() as crew:
        rig.until(lambda: rig.journal("delivery.blocked"), crew)
        rig.sandbox.change({"forbidden_tokens": []})
        rig.drain(crew)

    assert rig.parked() == []
    rig.account().check()


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
    rig.account().check()


def test_an_event_past_the_horizon_is_parked_with_its_last_answer(rig: Rig) -> None:
    [event_id] = rig.accept(an_order(1))
    rig.spoil({"kind": "status", "status": 503, "times": "always"})

    with rig.working(horizon=2.0) as crew:
        rig.drain(crew)

    [parked] = rig.parked()
    assert parked["reason"] == "expired"
    assert parked["last_answer"] == "HTTP 503"
    assert parked["attempts"] == str(len(rig.posts()))
    assert rig.ledger(event_id)["state"] == "parked"
    rig.account().check()


def test_events_that_arrive_out_of_order_keep_the_times_at_which_they_happened(rig: Rig) -> None:
    steps = ["add_to_cart", "initiate_checkout", "purchase"]
    for name in steps:
        rig.accept(an_order(1, event_name=name))
    fixed = {
        event["event_name"]: event["event_time"]
        for event in (json.loads(message["Body"])["event"] for message in rig.waiting())
    }
    rig.spoil({"kind": "status", "status": 503, "match": {"event_name": "add_to_cart"}})

    with rig.working() as crew:
        rig.drain(crew)

    booked = [event.fields for event in rig.bookings()]
    assert booked[-1]["event_name"] == "add_to_cart"
    assert {event["event_name"]: event["event_time"] for event in booked} == fixed
    rig.account().check()
