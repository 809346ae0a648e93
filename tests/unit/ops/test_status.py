"""`status`, over a stack in memory."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from rich.console import Console

from cometly_forwarder.gate.item import attributes_of
from cometly_forwarder.gate.quota import LimitEstimate
from cometly_forwarder.gate.rules import Cause, GateState, Pause
from cometly_forwarder.gate.window import Window
from ops.commands import status
from ops.commands.status import duration, shown
from ops.gates import Gate
from ops.parked import Parked
from ops.state import QueueState, StackState, state_of
from tests.unit.ops.conftest import Run
from tests.unit.ops.stack_in_memory import StackInMemory

NOW = 1_800_000_000.0


def text_of(stack: StackInMemory, now: float = NOW) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(shown(state_of(stack.target, now)))
    return " ".join(captured.get().split())


def put_gate(stack: StackInMemory, state: GateState) -> None:
    stack.put("gate", **attributes_of(state))


@pytest.mark.usefixtures("stack")
def test_an_empty_stack_waits_for_nothing(run: Run) -> None:
    ran = run("status", "--json")

    assert ran.status == 0
    expected = {
        "waiting": 0,
        "in_flight": 0,
        "oldest_seconds": 0.0,
        "parked": 0,
        "parked_by_reason": {},
        "paused": False,
        "pauses": [],
        "delivered_per_minute": 0.0,
        "posted_per_minute": 0,
        "limit_per_minute": 500,
        "last_hour": {},
    }
    assert {name: ran.document[name] for name in expected} == expected


@pytest.mark.usefixtures("stack")
def test_people_get_a_table(run: Run) -> None:
    ran = run("status")

    assert ran.status == 0
    assert "limit is 500" in ran.out
    assert ran.out.startswith("shop, ")


def test_what_waits_and_what_a_worker_has_are_counted_apart(stack: StackInMemory) -> None:
    url = stack.target.outputs["EventQueueUrl"]
    for _ in range(3):
        stack.sqs.send_message(QueueUrl=url, MessageBody="{}")
    stack.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)
    stack.watch.age = 90.0

    state = state_of(stack.target, NOW)

    assert (state.waiting, state.in_flight, state.oldest) == (2, 1, 90.0)


@pytest.mark.parametrize(
    ("is_paused", "measured", "oldest"),
    [
        pytest.param(True, [(NOW - 600, 3000.0), (NOW - 60, 100.0)], 3600.0, id="paused"),
        pytest.param(True, [], 90.0, id="nothing came back"),
        pytest.param(True, [(NOW - 60, 10.0)], 90.0, id="SQS knows of an older one"),
        pytest.param(False, [(NOW - 600, 3000.0)], 90.0, id="it went on meanwhile"),
    ],
)
def test_in_a_pause_the_oldest_is_what_deliver_measured(
    stack: StackInMemory,
    measured: list[tuple[float, float]],
    oldest: float,
    *,
    is_paused: bool,
) -> None:
    """SQS leaves out what was received three times or more."""
    stack.sqs.send_message(QueueUrl=stack.target.outputs["EventQueueUrl"], MessageBody="{}")
    stack.watch.age, stack.watch.waited = 90.0, measured
    if is_paused:
        put_gate(stack, GateState(pause=Pause(Cause.BLOCKED, NOW + 60, 60.0)))

    assert state_of(stack.target, NOW).oldest == oldest


def test_an_age_that_cloudwatch_does_not_know_is_said_so(stack: StackInMemory) -> None:
    stack.sqs.send_message(QueueUrl=stack.target.outputs["EventQueueUrl"], MessageBody="{}")

    assert state_of(stack.target, NOW).record()["oldest_seconds"] is None
    assert "oldest not known" in text_of(stack)


def test_an_empty_queue_does_not_hide_that_the_others_age_is_not_known() -> None:
    queues = (QueueState("events", 1, 0, None), QueueState("pages", 0, 0, 0.0))
    gate = Gate((), 0, 500, 0)

    state = StackState("shop", NOW, queues, Parked(0), gate, (), 0.0, {})

    assert state.oldest is None


def test_parked_events_are_counted_by_reason_and_stay(stack: StackInMemory) -> None:
    for reason in ("HTTP 422", "HTTP 422", "expired", None):
        stack.park(reason)

    first, second = state_of(stack.target, NOW), state_of(stack.target, NOW)

    assert first.record()["parked_by_reason"] == {"HTTP 422": 2, "expired": 1, "(none)": 1}
    assert second.parked == first.parked
    assert "parked 4: 2 of HTTP 422, 1 of expired, 1 of (none)" in text_of(stack)


@pytest.mark.parametrize(
    ("cause", "ahead", "is_probing"),
    [(Cause.BLOCKED, 60, False), (Cause.BLOCKED, -1, True), (Cause.THROTTLED, 5, False)],
    ids=["blocked", "about to probe", "throttled"],
)
def test_a_pause_says_why_and_until_when(
    stack: StackInMemory, cause: Cause, ahead: float, *, is_probing: bool
) -> None:
    put_gate(stack, GateState(pause=Pause(cause, NOW + ahead, 60.0)))

    record = state_of(stack.target, NOW).record()

    [pause] = record["pauses"]
    assert (record["paused"], pause["cause"]) == (True, cause.value)
    assert pause["probing"] is is_probing
    assert pause["until"].startswith("2027-01-15T")
    assert f"paused {cause.value}" in text_of(stack)


def test_a_throttle_that_is_over_is_no_pause(stack: StackInMemory) -> None:
    put_gate(stack, GateState(pause=Pause(Cause.THROTTLED, NOW - 1, 2.0)))

    assert not state_of(stack.target, NOW).is_paused


def test_a_pause_of_pages_alone_says_so(stack: StackInMemory) -> None:
    put_gate(stack, GateState(pages_pause=Pause(Cause.FAILING, NOW + 9, 5.0)))

    assert "events of pages: failing" in text_of(stack)


def test_a_mapping_that_is_off_is_a_pause_by_an_operator(stack: StackInMemory) -> None:
    stack.functions.mappings[0]["State"] = "Disabled"

    record = state_of(stack.target, NOW).record()

    assert record["paused"] is True
    assert record["pauses"] == [{"by": "operator", "queue": "events", "state": "Disabled"}]
    assert "by an operator: events" in text_of(stack)


def test_the_limit_is_what_cometly_said_last(stack: StackInMemory) -> None:
    window = Window()
    for second in (-70.0, -30.0, -20.0, +5.0):
        window = (
            window.with_slot(NOW + second)
            if window.sent
            else Window(int((NOW + second) * 10), b"\1")
        )
    learnt = LimitEstimate(limit=3000, limit_at=NOW - 5, others=200.0)
    put_gate(stack, GateState(window=window, learnt=learnt))

    record = state_of(stack.target, NOW).record()

    assert record["limit_per_minute"] == 3000
    assert record["others_per_minute"] == 200
    assert record["posted_per_minute"] == 2


def test_the_rate_is_that_of_the_last_three_minutes(stack: StackInMemory) -> None:
    for age in (400, 170, 100, 10):
        stack.logs.write("deliver", NOW - age, "delivery.delivered", event_id="evt_1")
    stack.logs.write("deliver", NOW - 5, "delivery.parked", event_id="evt_2")

    assert state_of(stack.target, NOW).delivered_per_minute == 1.0


def test_the_last_hour_is_that_of_the_metrics(stack: StackInMemory) -> None:
    stack.watch.sums = {"Delivered": 12.0, "Parked": 1.0}

    assert state_of(stack.target, NOW).last_hour == {"Delivered": 12, "Parked": 1}
    assert "last hour Delivered 12, Parked 1" in text_of(stack)


def test_of_a_local_stack_the_last_hour_is_that_of_the_log(stack: StackInMemory) -> None:
    object.__setattr__(stack.target, "is_local", True)
    stack.logs.write("ingest", NOW - 10, "ingest.limited", count=7)
    stack.logs.write("deliver", NOW - 10, "delivery.delivered")
    stack.logs.write("deliver", NOW - 4000, "delivery.delivered")

    assert state_of(stack.target, NOW).last_hour == {"Limited": 7, "Delivered": 1}


@pytest.mark.usefixtures("stack")
def test_watch_goes_on_until_it_is_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr("ops.commands.status.time.sleep", sleep)

    as_json, drawn = run("status", "--watch", "--json"), run("status", "--watch", "--every", "2")

    assert (as_json.status, len(as_json.lines)) == (130, 2)
    # No terminal: each look stands below the one before.
    assert drawn.out.count("limit is 500") == 2


def test_on_a_terminal_watch_draws_over_the_look_before(
    stack: StackInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    screen = Console(file=written, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    monkeypatch.setattr("ops.commands.status.console", lambda: screen)
    state = state_of(stack.target, NOW)

    assert status._can_redraw(screen)
    status._redraw(iter([state, state]))

    assert "\x1b[1A\x1b[2K" in written.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (119.0, "119 s"), (180.0, "3 min"), (7200.0, "2 h"), (200_000.0, "2 d")],
)
def test_a_length_of_time_is_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_record_is_json(stack: StackInMemory) -> None:
    record: dict[str, Any] = state_of(stack.target, time.time()).record()

    assert json.loads(json.dumps(record)) == record
