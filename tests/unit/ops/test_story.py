"""`tail` and `event`, over a stack in memory."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from botocore.exceptions import ClientError

from cometly_forwarder.event.envelope import Source, seal
from ops.commands.event import id_of, in_words, item_of
from ops.commands.tail import Wanted, as_text, followed, seconds_in
from ops.errors import OpsError
from tests.unit.conftest import read
from tests.unit.ops.conftest import Run
from tests.unit.ops.stack_in_memory import StackInMemory

NOW = 1_800_000_000.0


@pytest.fixture
def logged(stack: StackInMemory) -> StackInMemory:
    """Three events: one is delivered, one is parked, one is refused by ingest."""
    at = time.time() - 60
    stack.logs.write("ingest", at, "ingest.accepted", event_id="evt_1", warnings=0)
    stack.logs.write("ingest", at + 1, "ingest.rejected", faults=["email"])
    stack.logs.write("deliver", at + 2, "delivery.delivered", event_id="evt_1", reason="HTTP 202")
    stack.logs.write("deliver", at + 3, "delivery.parked", event_id="evt_2", reason="HTTP 422")
    stack.logs.entries["/aws/lambda/shop-deliver"].append(
        {"eventId": "r", "timestamp": int(at * 1000), "message": "REPORT RequestId: 1\n[1]\n{}"}
    )
    return stack


def names(stack: StackInMemory, run: Run, *filters: str) -> list[str]:
    assert stack.logs.entries
    ran = run("tail", "--since", "10m", "--no-follow", "--json", *filters)
    assert ran.status == 0
    return [line["outcome"] for line in ran.lines]


def test_an_empty_log_has_no_outcomes(stack: StackInMemory, run: Run) -> None:
    ran = run("tail", "--no-follow")

    assert (ran.status, ran.out, stack.logs.entries) == (0, "", {})


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        pytest.param((), [0, 1, 2, 3], id="none"),
        pytest.param(("--event", "evt_1"), [0, 2], id="an event"),
        pytest.param(("--outcome", "parked"), [3], id="an outcome"),
        pytest.param(("--outcome", "ingest.*"), [0, 1], id="a pattern"),
        pytest.param(("--reason", "http 4"), [3], id="a reason"),
        pytest.param(("--outcome", "parked", "--event", "evt_1"), [], id="both"),
    ],
)
def test_outcomes_are_filtered(
    logged: StackInMemory, run: Run, filters: tuple[str, ...], left: list[int]
) -> None:
    every = ["ingest.accepted", "ingest.rejected", "delivery.delivered", "delivery.parked"]

    assert names(logged, run, *filters) == [every[place] for place in left]


@pytest.fixture
def array(stack: StackInMemory) -> StackInMemory:
    """An array: one event was taken with a warning, one refused, and one not taken by SQS."""
    stack.logs.write(
        "ingest",
        time.time() - 60,
        "ingest.array",
        outcomes={"ingest.accepted": 1, "ingest.rejected": 1, "ingest.unavailable": 1},
        event_ids=["evt_1", None, None],
        warnings={"0": 1},
        faults={"1": ["email"]},
        fields={"0": ["amount"]},
    )
    return stack


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        pytest.param((), [0, 1, 2, 3], id="none"),
        pytest.param(("--event", "evt_1"), [0, 1], id="an event"),
        pytest.param(("--outcome", "rejected"), [2], id="an outcome"),
        pytest.param(("--event", "evt_2"), [], id="another event"),
    ],
)
def test_each_event_of_an_array_has_its_outcome(
    array: StackInMemory, run: Run, filters: tuple[str, ...], left: list[int]
) -> None:
    every = ["ingest.accepted", "ingest.warned", "ingest.rejected", "ingest.unavailable"]

    assert names(array, run, *filters) == [every[place] for place in left]


def test_an_event_of_an_array_is_told_of_as_if_it_had_come_alone(
    array: StackInMemory, run: Run
) -> None:
    accepted, warned = run("event", "evt_1", "--since", "1h", "--json").document["log"]
    rejected = run("tail", "--since", "1h", "--no-follow", "--outcome", "rejected", "--json")

    assert array.logs.entries
    assert (accepted["event_id"], accepted["warnings"], accepted["place"]) == ("evt_1", 1, 0)
    assert (warned["outcome"], warned["fields"]) == ("ingest.warned", ["amount"])
    assert (rejected.lines[0]["faults"], rejected.lines[0]["place"]) == (["email"], 1)


@pytest.fixture
def batch(stack: StackInMemory) -> StackInMemory:
    """An invocation that delivered three events, with its metrics."""
    metrics = [{"Metrics": [{"Name": "Delivered"}, {"Name": "DeliveryLatency"}]}]
    at = time.time() - 60
    stack.logs.write(
        "deliver",
        at + 5,
        "delivery.delivered",
        _aws={"Timestamp": round(at * 1000), "CloudWatchMetrics": metrics},
        event_ids=["evt_1", "evt_2", "evt_3"],
        request_ids=["req_1", None, "req_3"],
        latencies=[1250, 2000, 3000],
        attempts={"1": 3},
        Delivered=[1.0] * 3,
        DeliveryLatency=[1250.0, 2000.0, 3000.0],
    )
    return stack


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        pytest.param((), 3, id="none"),
        pytest.param(("--event", "evt_2"), 1, id="an event"),
        pytest.param(("--outcome", "delivered"), 3, id="an outcome"),
        pytest.param(("--reason", "HTTP 202"), 3, id="what is not written"),
    ],
)
def test_each_event_that_was_delivered_with_others_has_its_outcome(
    batch: StackInMemory, run: Run, filters: tuple[str, ...], left: int
) -> None:
    assert names(batch, run, *filters) == ["delivery.delivered"] * left


def test_an_event_that_was_delivered_with_others_is_told_of_as_if_alone(
    batch: StackInMemory, run: Run
) -> None:
    [told] = run("event", "evt_2", "--since", "1h", "--json").document["log"]
    [line] = run("tail", "--since", "1h", "--no-follow", "--event", "evt_1").out.splitlines()

    assert batch.logs.entries
    assert {name: it for name, it in told.items() if name != "at"} == {
        "function": "deliver",
        "outcome": "delivery.delivered",
        "event_id": "evt_2",
        "attempts": 3,
        "receives": 1,
        "reason": "HTTP 202",
        "latency": 2.0,
    }
    told_at = "delivery.delivered evt_1 HTTP 202 attempts=1 receives=1 request_id=req_1"
    assert told_at in line
    assert line.endswith("latency=1.2")


def test_people_get_a_line_an_outcome(logged: StackInMemory, run: Run) -> None:
    lines = run("tail", "--since", "10m", "--no-follow").out.splitlines()

    assert len(lines) == 4
    assert lines[3].endswith("delivery.parked evt_2 HTTP 422")
    assert logged.target.name not in lines[3]


def test_what_was_before_is_not_shown_unless_asked_for(logged: StackInMemory, run: Run) -> None:
    assert logged.logs.entries
    assert run("tail", "--no-follow").out == ""


def test_each_outcome_is_shown_once_however_often_it_is_looked_at(stack: StackInMemory) -> None:
    looks = itertools.count(1)

    def sleep(_: float) -> None:
        stack.logs.write("deliver", NOW + next(looks), "delivery.delivered", event_id="evt")

    shown = followed(stack.target, Wanted(), NOW, follow=True, sleep=sleep)

    assert [it.at - NOW for it in itertools.islice(shown, 3)] == [1.0, 2.0, 3.0]


def test_a_line_that_comes_late_is_shown(stack: StackInMemory) -> None:
    late = iter([10.0, 5.0])

    def sleep(_: float) -> None:
        stack.logs.write("deliver", NOW + next(late), "delivery.delivered")

    shown = followed(stack.target, Wanted(), NOW, follow=True, sleep=sleep)

    assert [it.at - NOW for it in itertools.islice(shown, 2)] == [10.0, 5.0]


def test_markup_and_controls_of_a_reason_are_shown_as_they_are(stack: StackInMemory) -> None:
    stack.logs.write(
        "deliver", NOW, "delivery.retried", reason="[red]:x: \\[/x] \\\x1b[2J", latency=1.25
    )
    [found] = followed(stack.target, Wanted(), NOW, follow=False)

    text = as_text(found)

    assert text.plain == (
        "2027-01-15T08:00:00.000+00:00 delivery.retried [red]:x: \\[/x] \\\ufffd[2J latency=1.2"
    )


def test_the_time_is_that_of_the_functions_clock(stack: StackInMemory) -> None:
    stack.logs.write("deliver", NOW, "delivery.parked", timestamp="2027-01-15 08:00:01,500+0000")

    [found] = followed(stack.target, Wanted(), NOW, follow=False)

    assert found.at == NOW + 1.5


def test_a_log_that_may_not_be_read_is_no_empty_log(
    stack: StackInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paginate(**_: object) -> Any:
        error: Any = {"Error": {"Code": "AccessDeniedException"}}
        raise ClientError(error, "FilterLogEvents")
        yield

    monkeypatch.setattr(stack.logs, "paginate", paginate)

    with pytest.raises(ClientError):
        list(followed(stack.target, Wanted(), NOW, follow=False))


@pytest.mark.parametrize("text", ["10", "m", "ten minutes", ""])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no length of time"):
        seconds_in(text)


def test_a_length_of_time_is_read() -> None:
    assert [seconds_in(it) for it in ("90s", "1.5m", "2h", "1d")] == [90, 90, 7200, 86400]


def put_event(stack: StackInMemory, **more: Any) -> None:
    stack.put(
        "evt_1",
        state={"S": "waiting"},
        accepted_at={"S": "2027-01-15T08:00:00+00:00"},
        attempts={"N": "2.0"},
        retry_at={"N": repr(NOW)},
        blocked_at={"N": "0.0"},
        answer={"S": "HTTP 500"},
        owner={"S": "a hash"},
        **more,
    )


def test_the_ledgers_item_is_read_in_words(stack: StackInMemory) -> None:
    put_event(stack)

    item = in_words(item_of(stack.target, "evt_1"))

    assert item == {
        "event_id": "evt_1",
        "state": "waiting",
        "answer": "HTTP 500",
        "attempts": 2,
        "accepted_at": "2027-01-15T08:00:00+00:00",
        "retry_at": "2027-01-15T08:00:00.000+00:00",
        "blocked_at": None,
    }


def test_an_events_story_is_its_item_and_its_lines(stack: StackInMemory, run: Run) -> None:
    put_event(stack)
    stack.logs.write("deliver", NOW + 1, "delivery.retried", event_id="evt_1", reason="HTTP 500")
    stack.logs.write("deliver", NOW + 2, "delivery.retried", event_id="evt_2")

    as_text, as_json = run("event", "evt_1"), run("event", "evt_1", "--json")

    assert as_text.status == 0
    assert "state" in as_text.out
    assert "delivery.retried evt_1 HTTP 500" in as_text.out
    assert [it["outcome"] for it in as_json.document["log"]] == ["delivery.retried"]
    assert as_json.document["ledger"]["state"] == "waiting"


def put_settled(stack: StackInMemory, state: str, accepted: float, settled: float) -> None:
    stack.put(
        "evt_1",
        state={"S": state},
        accepted_at={"S": datetime.fromtimestamp(accepted, UTC).isoformat()},
        updated_at={"N": repr(settled)},
    )


def spans(stack: StackInMemory) -> list[tuple[float, float | None]]:
    """Return from when to when each log was read, in seconds."""
    return [
        (it["startTime"] / 1000, it["endTime"] / 1000 if "endTime" in it else None)
        for it in stack.logs.asked
    ]


@pytest.mark.parametrize("state", ["delivered", "parked"])
def test_of_an_old_event_the_log_is_read_around_its_life_alone(
    stack: StackInMemory, run: Run, state: str
) -> None:
    accepted = float(int(time.time() - 20 * 86400))
    put_settled(stack, state, accepted, accepted + 60)
    stack.logs.write("deliver", accepted + 60, "delivery.delivered", event_id="evt_1")
    stack.logs.write("deliver", time.time() - 60, "delivery.duplicate", event_id="evt_1")

    ran = run("event", "evt_1", "--json")

    assert spans(stack) == [(accepted - 300, accepted + 3660)] * 2
    assert [it["outcome"] for it in ran.document["log"]] == ["delivery.delivered"]
    assert "--later reads on" in run("event", "evt_1").err


def test_what_came_later_is_read_when_asked_for(stack: StackInMemory, run: Run) -> None:
    accepted = float(int(time.time() - 20 * 86400))
    put_settled(stack, "delivered", accepted, accepted + 60)
    stack.logs.write("deliver", time.time() - 60, "delivery.duplicate", event_id="evt_1")

    ran = run("event", "evt_1", "--later", "--json")

    assert spans(stack) == [(accepted - 300, None)] * 2
    assert [it["outcome"] for it in ran.document["log"]] == ["delivery.duplicate"]


@pytest.mark.parametrize(
    ("state", "settled"), [("waiting", 10 * 86400), ("delivered", 60)], ids=["waits", "just now"]
)
def test_of_an_event_without_an_outcome_or_with_a_new_one_the_log_is_read_up_to_now(
    stack: StackInMemory, run: Run, state: str, settled: float
) -> None:
    accepted = float(int(time.time() - settled))
    put_settled(stack, state, accepted, accepted + 1)

    ran = run("event", "evt_1")

    assert spans(stack) == [(accepted - 300, None)] * 2
    assert "--later" not in ran.err


def test_the_next_attempt_is_named(stack: StackInMemory, run: Run) -> None:
    stack.put("evt_1", state={"S": "waiting"}, retry_at={"N": repr(NOW)})

    assert "next_try_at  2027-01-15T08:00:00+00:00" in run("event", "evt_1").out


def test_people_are_told_what_callers_are_and_no_count_that_is_nothing(
    stack: StackInMemory, run: Run
) -> None:
    counts = {"attempts": {"N": "0"}, "deaths": {"N": "0"}, "blocks": {"N": "3"}}
    stack.put("evt_1", state={"S": "parked"}, lease={"N": repr(NOW)}, **counts)

    rows = [row.split()[0] for row in run("event", "evt_1").out.splitlines()]

    assert rows[:4] == ["message", "event_id", "state", "blocks"]


def test_an_event_that_nobody_knows_has_a_status_of_its_own(stack: StackInMemory, run: Run) -> None:
    ran = run("event", "evt_9")

    assert (ran.status, ran.out) == (3, "")
    assert "may still be on the queue" in ran.err
    assert run("event", "evt_9", "--json").document["ledger"] is None
    assert stack.target.name == "shop"


@pytest.mark.usefixtures("stack")
def test_the_gate_is_no_event(run: Run) -> None:
    assert isinstance(run("event", "gate").exception, OpsError)


ORDER = ("--order", "1042", "--email", "Ada@Example.com ")


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(ORDER, id="an order"),
        pytest.param((*ORDER, "--name", "Purchase"), id="an order and its event"),
        pytest.param(("--order", " 1042", "--email", "ada@example.com"), id="as callers write it"),
    ],
)
def test_an_event_is_found_by_its_order_as_ingest_reads_it(
    stack: StackInMemory, run: Run, named: tuple[str, ...]
) -> None:
    intake = read({"event_name": "purchase", "order_id": "1042", "email": "ada@example.com"})[0]
    event_id = seal(intake, Source("http", "any", datetime.now(UTC))).event_id
    stack.put(event_id, state={"S": "delivered"})

    assert run("event", *named, "--json").document["ledger"]["event_id"] == event_id


def test_a_key_alone_decides_which_event_it_is() -> None:
    by_key = id_of(name="purchase", order="", email="", key="K-1")

    assert id_of(name="contact", order="1042", email="ada@example.com", key="K-1") == by_key


@pytest.mark.parametrize(
    "named",
    [
        pytest.param((), id="nothing"),
        pytest.param(("--order", "1042"), id="an order without its customer"),
        pytest.param((*ORDER, "--name", "bought"), id="a name that no event has"),
    ],
)
def test_what_names_no_event_is_a_usage_error(
    stack: StackInMemory, run: Run, named: tuple[str, ...]
) -> None:
    assert stack.target
    assert run("event", *named).status == 2


def test_of_a_parked_event_it_is_said_where_it_is(stack: StackInMemory, run: Run) -> None:
    stack.put("evt_1", state={"S": "parked"})

    assert "`parked show evt_1`" in run("event", "evt_1").out
