"""What Cometly, or the way to it, can do to an answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.faults.rig import Rig, an_order, orders

TRACK_PATH = "/public-api/v1/events/track"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "cut_before"},
        {"kind": "process_then_cut"},
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

    rig.deliver(constants={"cometly.READ_SECONDS": 0.8, "ANSWER_SECONDS": 1.5})

    assert rig.ledger(event_id)["state"] == "delivered"
    assert rig.ledger(event_id)["attempts"] == len(rig.posts()) == 2
    assert len(rig.bookings()) == 1


def test_answers_that_drip_do_not_wear_the_worker_out(rig: Rig) -> None:
    rig.accept(*orders(24))
    rig.spoil({"kind": "drip", "seconds_per_byte": 0.3, "times": 12})

    crew = rig.deliver(constants={"cometly.READ_SECONDS": 0.6, "ANSWER_SECONDS": 1.0})

    assert crew.deaths == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "redirect", "status": 301, "location": TRACK_PATH},
        {"kind": "redirect", "status": 303, "location": TRACK_PATH},
        {"kind": "redirect", "status": 307, "location": TRACK_PATH},
        {"kind": "status", "status": 404},
        {"kind": "status", "status": 405},
    ],
    ids=lambda fault: str(fault["status"]),
)
def test_an_endpoint_that_moved_is_waited_for_and_not_followed(
    rig: Rig, fault: dict[str, object]
) -> None:
    [event_id] = rig.accept(an_order(1))
    rig.spoil({**fault, "times": 2})

    rig.deliver()

    assert rig.parked() == []
    assert [post.status for post in rig.posts()] == [fault["status"], fault["status"], 202]
    assert rig.journal("delivery.blocked")[0]["reason"].startswith(f"HTTP {fault['status']}: ")
    assert rig.ledger(event_id)["attempts"] == 1


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
    assert rig.posts() == []
    assert rig.parked() == []
    rig.account().check()

    rig.deliver()
    assert len(rig.posts()) == len(rig.bookings()) == 1


def test_an_event_past_the_horizon_is_parked_with_its_last_answer(rig: Rig) -> None:
    [event_id] = rig.accept(an_order(1))
    rig.spoil({"kind": "status", "status": 503, "times": "always"})

    rig.deliver(horizon=2.0)

    [parked] = rig.parked()
    assert parked["reason"] == "expired"
    assert parked["last_answer"] == "HTTP 503"
    assert parked["attempts"] == str(len(rig.posts()))
    assert rig.ledger(event_id)["state"] == "parked"


def test_events_that_arrive_out_of_order_keep_the_times_at_which_they_happened(rig: Rig) -> None:
    steps = ["add_to_cart", "initiate_checkout", "purchase"]
    for name in steps:
        rig.accept(an_order(1, event_name=name))
    fixed = {
        event["event_name"]: event["event_time"]
        for event in (json.loads(message["Body"])["event"] for message in rig.waiting())
    }
    rig.spoil({"kind": "status", "status": 503, "match": {"event_name": "add_to_cart"}})

    rig.deliver()

    booked = [event.fields for event in rig.bookings()]
    assert booked[-1]["event_name"] == "add_to_cart"
    assert {event["event_name"]: event["event_time"] for event in booked} == fixed
