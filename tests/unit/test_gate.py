"""The gate's item in DynamoDB, shared by several workers."""

from __future__ import annotations

import json
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate.clock import SharedClock
from cometly_forwarder.gate.gate import DynamoGate
from cometly_forwarder.gate.item import attributes_of, state_in
from cometly_forwarder.gate.quota import Doubt, LimitEstimate, RateHeaders
from cometly_forwarder.gate.rules import (
    FAILURES_TO_CLOSE,
    REFUSALS_TO_CLOSE,
    TAKEN_LATELY_SECONDS,
    Cause,
    GateState,
    Lane,
    Pause,
)
from cometly_forwarder.gate.table import KEY, GateTable
from cometly_forwarder.gate.window import Window
from tests.unit.fakes import START, Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "ledger"
# Between two answers: they fall on ever other parts of a second.
SOME_TIME = 0.618


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
        )
        yield client


class Refused(Exception):
    """DynamoDB's ConditionalCheckFailedException."""

    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__()
        self.response = {"Item": item}


@dataclass
class FakeTable:
    """DynamoDB's part in the gate, by a clock of its own, with calls that take a while.

    `fails` calls fail; `loses` answers are lost, so that botocore asks again. `hold` stops writers.
    """

    clock: Clock
    takes: float = 0.0
    fails: int = 0
    loses: int = 0
    item: dict[str, Any] = field(default_factory=dict)
    calls: int = 0
    hold: threading.Event = field(default_factory=threading.Event)
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(ConditionalCheckFailedException=Refused)
    )

    def __post_init__(self) -> None:
        self.hold.set()

    @property
    def reserved(self) -> int:
        return sum(zlib.decompress(self.item["sent"]["B"]))

    def update_item(self, *, ExpressionAttributeValues: Any, **_: object) -> Any:  # noqa: N803
        self._called()
        values = ExpressionAttributeValues
        if self.loses:
            self.loses -= 1
            self._write(values)
        return self._write(values)

    def get_item(self, **_: object) -> Any:
        self._called()
        return self._answer() | ({"Item": dict(self.item)} if self.item else {})

    def _called(self) -> None:
        self.calls += 1
        self.hold.wait(10)
        self.clock.sleep(self.takes)
        if self.fails:
            self.fails -= 1
            raise ReadTimeoutError(endpoint_url="https://dynamodb.example.com")

    def _write(self, values: Any) -> Any:
        if self.item.get("version") != values.get(":version"):
            raise Refused(dict(self.item))
        self.item = {
            name: values[f":{value}"]
            for name, value in {
                "state": "state",
                "sent": "sent",
                "mark": "mark",
                "version": "next",
            }.items()
        }
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        return {"ResponseMetadata": {"HTTPHeaders": {"date": _date(self.clock.now())}}}


class StillClock(SharedClock):
    """A clock that hears nothing of moto's real dates."""

    def learn(self, date: str | None, took: float) -> None:
        pass


def gate(client: DynamoDBClient, clock: Clock) -> DynamoGate:
    return DynamoGate(GateTable(client, TABLE, StillClock(clock.now), clock.now), 1000)


def item(client: DynamoDBClient) -> dict[str, Any]:
    return client.get_item(TableName=TABLE, Key={"event_id": {"S": KEY}})["Item"]


def test_workers_that_all_know_an_old_state_get_slots_of_their_own(
    dynamodb: DynamoDBClient,
) -> None:
    clock = Clock()
    gates = [gate(dynamodb, clock) for _ in range(5)]

    slots = [slot for worker in gates for slot in worker.admit(10, START + 60).slots]

    assert len(set(slots)) == 50
    assert item(dynamodb)["version"]["N"] == "5"


def test_a_batch_costs_one_write_of_one_unit(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    worker = gate(dynamodb, clock)
    for _ in range(120):
        worker.admit(10, START + 1000)
        clock.sleep(0.6)

    before = int(item(dynamodb)["version"]["N"])
    worker.admit(10, START + 1000)

    stored = item(dynamodb)
    assert int(stored["version"]["N"]) == before + 1
    assert len(stored["state"]["S"]) + len(stored["sent"]["B"]) < 900


def test_a_429_of_a_page_is_obeyed_by_the_other_worker(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    one, other = gate(dynamodb, clock), gate(dynamodb, clock)
    other.admit(10, START + 60)
    one.admit(10, START + 60)

    one.lane(Lane.PAGES).throttled(30)
    clock.sleep(0.3)

    assert not other.is_open()
    assert other.admit(10, START + 60).cause is Cause.THROTTLED


def test_a_worker_that_believes_in_an_old_pause_looks_again(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    one, other = gate(dynamodb, clock), gate(dynamodb, clock)
    one.blocked(is_sure=True)
    assert other.admit(1, START + 60).slots == ()
    clock.sleep(60)
    assert one.admit(1, clock.now() + 60).probe
    one.succeeded(probe=True, is_booked=True)

    assert len(other.admit(5, clock.now() + 60).slots) == 5


def test_a_closed_gate_is_read_and_not_written(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    worker = gate(dynamodb, clock)
    worker.throttled(30)
    before = item(dynamodb)["version"]["N"]

    for _ in range(5):
        worker.admit(10, START + 60)

    assert item(dynamodb)["version"]["N"] == before


def test_headers_reach_the_next_admission(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    worker = gate(dynamodb, clock)
    [first, *_] = worker.admit(10, START + 60).slots
    worker.observe(RateHeaders(600, 599, first))

    worker.admit(10, START + 60)
    [early, late] = worker.admit(2, START + 60).slots

    assert late - early == pytest.approx(0.5 * 60.4 / 600, rel=0.01)


def test_the_state_survives_its_worker(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    first = gate(dynamodb, clock)
    first.admit(10, START + 60)
    first.blocked(is_sure=True)

    heir = gate(dynamodb, clock)

    assert not heir.is_open()
    assert heir.wait() == pytest.approx(60)


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerError", "AccessDenied"])
@pytest.mark.parametrize("call", ["update_item", "get_item"])
def test_a_table_that_does_not_answer_is_unavailable(
    dynamodb: DynamoDBClient, call: str, code: str
) -> None:
    worker = gate(dynamodb, Clock())
    calls: dict[str, Callable[[], object]] = {
        "update_item": lambda: worker.admit(1, START + 60),
        "get_item": worker.is_open,
    }

    with Stubber(dynamodb) as stub:
        stub.add_client_error(call, code)
        with pytest.raises(Unavailable, match="gate") as caught:
            calls[call]()

    assert isinstance(caught.value.__cause__, ClientError)
    assert len(worker.admit(1, START + 60).slots) == 1


def test_a_gate_that_changes_at_every_try_is_unavailable_rather_than_endless(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = gate(dynamodb, Clock())

    def lost(**_: object) -> None:
        raise dynamodb.exceptions.ConditionalCheckFailedException(
            {"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem"
        )

    monkeypatch.setattr(dynamodb, "update_item", lost)

    with pytest.raises(Unavailable, match="contended"):
        worker.admit(1, START + 60)


def _date(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(moment), UTC), usegmt=True)


@pytest.mark.parametrize("skew", [-2.0, -0.9, 0.0, 1.3, 2.0])
def test_a_clock_that_is_off_is_corrected_by_dynamodbs(skew: float) -> None:
    local = Clock(START + skew)
    shared = SharedClock(local.now)

    for _ in range(40):
        local.sleep(0.005)
        shared.learn(_date(local.now() - skew), 0.005)
        local.sleep(0.337)

    assert shared.now() == pytest.approx(local.now() - skew, abs=0.05 if skew else 1e-9)


def test_an_answer_that_took_long_leaves_a_right_clock_alone() -> None:
    local = Clock(START + 4)
    shared = SharedClock(local.now)

    shared.learn(_date(START + 1), 3.5)

    assert shared.now() == local.now()


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_was_set_is_corrected_by_the_next_answers(step: float) -> None:
    local = Clock(START)
    shared, skew = SharedClock(local.now), 0.0
    for number in range(40):
        if number == 20:
            local.sleep(step)
            skew = step
        shared.learn(_date(local.now() - skew), 0.005)
        local.sleep(0.337)

    assert shared.now() == pytest.approx(local.now() - skew, abs=0.5)


def test_a_clock_without_dates_to_hear_is_left_alone() -> None:
    shared = SharedClock(Clock().now)

    shared.learn(None, 0)
    shared.learn("yesterday", 0)

    assert shared.now() == START


def test_slots_are_told_by_the_workers_own_clock(dynamodb: DynamoDBClient) -> None:
    right, fast = Clock(), Clock(START + 2)
    one = gate(dynamodb, right)
    their_clock = StillClock(fast.now, most=-2.0)
    other = DynamoGate(GateTable(dynamodb, TABLE, their_clock, fast.now), 1000)

    slots = one.admit(10, START + 60).slots
    theirs = other.admit(10, START + 62).slots

    assert theirs[0] - 2 > slots[-1]
    assert theirs[0] - 2 < slots[-1] + 0.1


def of(table: FakeTable, *, skew: float = 0.0, is_patient: bool = False) -> DynamoGate:
    """Make a worker's gate over that table, with a clock that is `skew` seconds ahead.

    The waits between two tries are random: they take no time, except for one that is patient.
    """
    sleep = table.clock.sleep if is_patient else lambda _: None
    clock = SharedClock(lambda: table.clock.now() + skew)
    return DynamoGate(table_of(table, clock), 1000, sleep)


def settled(table: FakeTable, *, skew: float) -> DynamoGate:
    """Make a worker's gate that has heard enough to know how far its clock is off."""
    worker = of(table, skew=skew)
    for _ in range(30):
        worker.admit(1, table.clock.now() + skew + 60)
        table.clock.sleep(SOME_TIME)
    return worker


def table_of(table: FakeTable, clock: SharedClock) -> GateTable:
    return GateTable(table, TABLE, clock, table.clock.now)  # type: ignore[arg-type]


@pytest.mark.parametrize("skew", [-2.0, 1.5])
def test_workers_whose_clocks_differ_share_one_schedule(skew: float) -> None:
    table = FakeTable(Clock())
    right, wrong = of(table), of(table, skew=skew)

    slots: list[float] = []
    for _ in range(90):
        slots += right.admit(5, table.clock.now() + 60).slots
        slots += [slot - skew for slot in wrong.admit(5, table.clock.now() + skew + 60).slots]
        table.clock.sleep(SOME_TIME)

    # By then the worker that was wrong has heard enough to know.
    gaps = [later - earlier for earlier, later in pairwise(sorted(slots)[-100:])]
    assert min(gaps) > 0.015
    assert max(slots) < table.clock.now() + 3


@pytest.mark.parametrize("skew", [-2.0, 1.5])
def test_a_pause_lasts_as_long_for_a_worker_whose_clock_is_off(skew: float) -> None:
    table = FakeTable(Clock())
    right, wrong = of(table), settled(table, skew=skew)

    right.throttled(30)

    assert wrong.admit(1, table.clock.now() + skew + 60).wait == pytest.approx(30, abs=0.1)


def test_what_the_headers_said_is_dated_by_the_shared_clock() -> None:
    table = FakeTable(Clock())
    wrong = settled(table, skew=-2.0)
    [slot] = wrong.admit(1, table.clock.now() + 58).slots

    wrong.observe(RateHeaders(600, 599, slot))
    wrong.admit(1, table.clock.now() + 60)

    heard_at = json.loads(table.item["state"]["S"])["learnt"]["quota_at"]
    assert heard_at == pytest.approx(slot + 2.0, abs=0.1)


def test_a_deadline_is_kept_by_a_worker_whose_clock_is_off() -> None:
    table = FakeTable(Clock())
    wrong = settled(table, skew=1.5)
    local = table.clock.now() + 1.5

    slots = wrong.admit(100, local + 2.0).slots

    assert slots
    assert max(slots) <= local + 2.0


@pytest.mark.parametrize("takes", [0.3, 1.0])
def test_slots_lie_as_far_ahead_as_a_slow_table_needs(takes: float) -> None:
    table = FakeTable(Clock(), takes=takes)
    worker = of(table)
    for _ in range(2):
        worker.admit(1, table.clock.now() + 60)

    [slot] = worker.admit(1, table.clock.now() + 60).slots

    # A claim, then a refresh by another thread, then an own one.
    assert slot - table.clock.now() >= 3 * takes
    assert worker.refresh_lead() == pytest.approx(2 * takes)


@pytest.mark.parametrize(
    "calls",
    [(0.01, 0.01, 4.0, 0.01), (4.0, 4.0, 4.0, 0.01, 0.01, 0.01, 0.01)],
    ids=["slow once", "quick again"],
)
def test_what_a_call_takes_is_soon_what_the_last_ones_took(calls: tuple[float, ...]) -> None:
    table = FakeTable(Clock())
    worker = of(table)
    for table.takes in calls:
        worker.admit(1, table.clock.now() + 60)

    assert worker.refresh_lead() <= 0.1


def test_a_worker_whose_clock_is_off_gives_back_the_slot_that_it_had() -> None:
    table = FakeTable(Clock())
    wrong = settled(table, skew=-2.0)
    [slot] = wrong.admit(1, table.clock.now() + 58).slots

    wrong.give_back((slot,), probe=False)

    assert table.reserved == 30


def test_threads_that_wait_for_a_table_that_is_silent_do_not_each_ask() -> None:
    table = FakeTable(Clock(), takes=8.0)
    worker = of(table)
    slots = worker.admit(10, START + 600).slots
    table.fails = 100

    refused = 0
    for slot in slots:
        with pytest.raises(Unavailable):
            worker.give_back((slot,), probe=False)
        with pytest.raises(Unavailable):
            worker.failed(probe=False)
        refused += 2

    assert refused == 20
    assert table.calls == 2
    table.clock.sleep(1.1)
    table.fails = 0
    assert worker.admit(1, table.clock.now() + 600).slots


def test_a_429_that_could_not_be_written_is_obeyed_here_and_written_with_the_next() -> None:
    table = FakeTable(Clock(), takes=0.5)
    worker = of(table)
    worker.admit(1, START + 60)
    table.fails = 1

    with pytest.raises(Unavailable):
        worker.throttled(30)
    told = worker.wait()
    table.clock.sleep(1.1)
    reservation = worker.admit(1, table.clock.now() + 60)

    assert told == pytest.approx(30, abs=1)
    assert reservation.cause is Cause.THROTTLED
    assert of(table).admit(1, table.clock.now() + 60).cause is Cause.THROTTLED


def test_reports_of_threads_that_wait_share_a_write() -> None:
    table = FakeTable(Clock())
    worker = of(table)
    worker.admit(1, START + 60)
    table.hold.clear()

    with ThreadPoolExecutor(9) as threads:
        told = [threads.submit(worker.failed, probe=False) for _ in range(9)]
        while table.calls < 2 or len(worker._reports) < 9:
            time.sleep(0.001)
        table.hold.set()
        for each in told:
            each.result()

    assert json.loads(table.item["state"]["S"])["failures"] == 9
    assert table.calls == 3  # the reservation, whoever came first, and the eight who waited


def test_a_call_that_failed_quickly_is_soon_tried_again() -> None:
    table = FakeTable(Clock(), takes=0.01, fails=1)
    worker = of(table)
    with pytest.raises(Unavailable):
        worker.admit(1, START + 60)
    table.clock.sleep(0.02)

    assert worker.admit(1, START + 60).slots


def test_a_write_whose_answer_was_lost_is_not_done_twice() -> None:
    table = FakeTable(Clock())
    worker = of(table)
    slots = worker.admit(10, START + 60).slots
    table.loses = 2

    worker.give_back(slots[:4], probe=False)
    more = worker.admit(3, START + 60).slots

    assert len(more) == 3
    assert table.reserved == 10 - 4 + 3
    assert table.calls == 3


def put(client: DynamoDBClient, **attributes: Any) -> None:
    """Store a good item with other attributes; None leaves one out."""
    state = json.dumps({"window": {"base": int(START * 10) - 20}})
    good = {"state": {"S": state}, "sent": {"B": zlib.compress(b"")}, "version": {"N": "3"}}
    changed = {**good, "mark": {"S": "x"}, **attributes}
    present = {name: value for name, value in changed.items() if value is not None}
    client.put_item(TableName=TABLE, Item={"event_id": {"S": KEY}, **present})


ODD_STATES = {
    "an older version's": '{"base": 1, "ideal": 0.0, "pause": null}',
    "no JSON": "not JSON",
    "a number that is null": '{"ideal": null}',
    "a number that is text": '{"last": "soon", "failures": "many"}',
    "numbers that are no numbers": '{"ideal": NaN, "last": Infinity, "failures": -Infinity}',
    "a number without end": '{"ideal": 1e400, "last": %s}' % ("9" * 400),
    "a number of 5000 digits": '{"last": %s}' % ("9" * 5000),
    "a list": "[1]",
    "a list of pairs": '[["ideal", 1]]',
    "nested beyond measure": "[" * 100_000,
    "a pause that is a number": '{"pause": 5}',
    "a pause with an unknown cause": '{"pause": {"cause": "x", "until": 1, "step": 1}}',
    "a pause whose cause is a list": '{"pause": {"cause": []}, "pages_pause": [[]]}',
    "a pause without times": '{"pause": {"cause": "blocked"}}',
    "a window that starts at a text": '{"window": {"base": "x"}}',
    "a window that starts at NaN": '{"window": {"base": NaN}}',
    "a window that is null": '{"window": null, "learnt": null, "doubt": null}',
    "a limit that is text": '{"learnt": {"limit": "x", "limit_at": 1}}',
    "a limit beyond any": '{"learnt": {"limit": 1e9, "limit_at": 1799999999}}',
    "others who are NaN": '{"learnt": {"others": NaN, "squeeze": NaN}}',
    "others beyond the limit": '{"learnt": {"limit": 10, "others": 1e9, "limit_at": 1799999999}}',
    "a squeeze of nothing": '{"learnt": {"squeeze": 0, "squeezed_at": 1799999999}}',
    "unknown fields": '{"learnt": {"more": 1}, "more": {"yet": 1}, "doubt": {"why": 1}}',
}
ODD_ATTRIBUTES = {
    "no state": {"state": None},
    "a state that is a number": {"state": {"N": "1"}},
    "no counts": {"sent": None},
    "counts that are text": {"sent": {"S": "x"}},
    "counts that are not compressed": {"sent": {"B": b"xx"}},
    "counts that were cut": {"sent": {"B": zlib.compress(b"abcdefgh" * 9)[:-3]}},
    "counts without end": {"sent": {"B": zlib.compress(bytes(50_000_000))}},
    "no version": {"version": None},
    "a version that is text": {"version": {"S": "three"}},
    "a version that is null": {"version": {"NULL": True}},
    "a version that is a list": {"version": {"L": [{"N": "3"}]}},
    "a negative version": {"version": {"N": "-7"}},
    "half a version": {"version": {"N": "3.5"}},
    "the largest version": {"version": {"N": "9" * 38}},
    "no version and no mark": {"version": None, "mark": None},
    "nothing": {"state": None, "sent": None, "version": None, "mark": None},
}


@pytest.mark.parametrize(
    "attributes",
    [*({"state": {"S": state}} for state in ODD_STATES.values()), *ODD_ATTRIBUTES.values()],
    ids=[*ODD_STATES, *ODD_ATTRIBUTES],
)
def test_an_item_that_is_odd_stops_nobody(
    dynamodb: DynamoDBClient, attributes: dict[str, Any]
) -> None:
    clock = Clock()
    put(dynamodb, **attributes)
    one, other = gate(dynamodb, clock), gate(dynamodb, clock)

    slots = [
        slot
        for _ in range(2)
        for worker in (one, other)
        for slot in worker.admit(5, START + 21).slots
    ]

    assert len(set(slots)) == 20
    assert 4 <= int(item(dynamodb)["version"]["N"]) + 3 * ("version" in attributes) <= 7


def test_a_pause_survives_a_state_of_which_nothing_else_can_be_read() -> None:
    pause = Pause(Cause.BLOCKED, START + 60, 60.0)
    state = json.loads(attributes_of(GateState(pause=pause))["state"]["S"])

    assert state_in({"state": {"S": json.dumps({"pause": state["pause"]})}}).pause == pause


@pytest.mark.parametrize("cut", [slice(0, -3), slice(0, 0)], ids=["cut", "empty"])
def test_counts_that_are_not_whole_are_begun_anew(dynamodb: DynamoDBClient, cut: slice) -> None:
    put(dynamodb, sent={"B": zlib.compress(b"abcdefgh" * 9)[cut]})

    assert state_in(item(dynamodb)).window == Window()


def test_an_item_of_the_version_before_is_read(dynamodb: DynamoDBClient) -> None:
    before = {
        "window": {"base": 17999999400},
        "learnt": {
            "limit": 600,
            "limit_at": START - 1,
            "remaining": 500,
            "quota_at": START - 1,
            "window_at": START - 30,
            "others": 12.0,
            "confirmed": 0.0,
            "squeeze": 1.0,
            "squeezed_at": 0.0,
        },
        "ideal": START + 1,
        "last": START + 2,
        "failures": 3,
        "pause": {"cause": "blocked", "until": START + 9, "step": 60.0, "probe_until": 0.0},
    }
    put(dynamodb, state={"S": json.dumps(before)}, sent={"B": zlib.compress(b"\1" * 600)})

    state = state_in(item(dynamodb))

    assert state.window == Window(17999999400, b"\1" * 600)
    assert state.learnt == LimitEstimate(600, START - 1, 500, START - 1, START - 30, 12.0)
    assert (state.ideal, state.last, state.failures) == (START + 1, START + 2, 3)
    assert state.pause == Pause(Cause.BLOCKED, START + 9, 60.0)
    assert state.pages_pause is None


def test_the_version_before_can_read_an_item(dynamodb: DynamoDBClient) -> None:
    # It makes its objects of all fields that it finds in these four.
    worker = gate(dynamodb, Clock())
    worker.blocked(is_sure=True)

    state = json.loads(item(dynamodb)["state"]["S"])

    assert set(state["window"]) == {"base"}
    assert set(state["pause"]) == {"cause", "until", "step", "probe_until"}
    assert set(state["learnt"]) == {
        "limit",
        "limit_at",
        "remaining",
        "quota_at",
        "window_at",
        "others",
        "confirmed",
        "squeeze",
        "squeezed_at",
    }
    assert {"ideal", "last", "failures"} <= set(state)


def test_an_item_with_all_that_it_can_hold_is_one_write_unit() -> None:
    # A minute and what is reserved ahead, as uneven as posts get.
    uneven = random.Random(1)
    sent = bytes(uneven.choices([0, 1, 2, 3], [2, 5, 3, 1], k=850))
    time = START + 0.123
    state = GateState(
        window=Window(17999999400, sent),
        learnt=LimitEstimate(60000, time, 59999, time, time, 12345.678, 12345.678, 0.123, time),
        doubt=Doubt(60000, 2, time),
        ideal=time,
        last=time,
        failures=100,
        pause=Pause(Cause.THROTTLED, time, 900.0, time),
        pages_last=time,
        pages_failures=100,
        pages_pause=Pause(Cause.THROTTLED, time, 900.0, time),
        taken_at=time,
    )

    attributes = attributes_of(state)

    rest = "event_idgatestatesentversionmark" + "0123456789ab"
    size = len(rest) + 21 + len(attributes["state"]["S"]) + len(attributes["sent"]["B"])
    assert size <= 1024
    assert state_in(attributes) == state


def test_lanes_share_one_schedule_in_which_services_are_not_behind_pages() -> None:
    table = FakeTable(Clock())
    one, other = of(table), of(table)

    pages = one.lane(Lane.PAGES).admit(5, START + 21).slots
    services = other.lane(Lane.SERVICES).admit(5, START + 21).slots

    assert len(set(pages + services)) == table.reserved == 10
    assert min(services) < min(pages)


@pytest.mark.parametrize("lane", Lane)
def test_a_lane_is_closed_by_its_own_news(lane: Lane) -> None:
    table = FakeTable(Clock())
    worker = of(table)
    other = {Lane.PAGES: Lane.SERVICES, Lane.SERVICES: Lane.PAGES}[lane]

    for _ in range(FAILURES_TO_CLOSE):
        worker.lane(lane).failed(probe=False)

    assert not worker.lane(lane).is_open()
    assert worker.lane(lane).wait() == pytest.approx(5)
    assert worker.lane(lane).admit(1, START + 21).cause is Cause.FAILING
    assert worker.lane(other).is_open() == (lane is Lane.PAGES)


def test_a_block_of_pages_leaves_services_open_until_a_page_probes_well() -> None:
    table = FakeTable(Clock())
    worker, pages = of(table), of(table).lane(Lane.PAGES)
    pages.blocked(is_sure=True)
    blocked = worker.admit(1, START + 21), worker.is_open(), worker.wait()
    table.clock.sleep(61)

    probe = pages.admit(5, table.clock.now() + 21)
    pages.succeeded(probe=True, is_booked=True)

    assert (blocked[0].cause, blocked[1:]) == (None, (True, 0.0))
    assert probe.probe
    assert len(pages.admit(5, table.clock.now() + 21).slots) == 5


def test_a_pages_probe_that_is_refused_opens_the_gate_for_pages_alone() -> None:
    table = FakeTable(Clock())
    worker = of(table)
    worker.blocked(is_sure=True)
    table.clock.sleep(61)
    pages = worker.lane(Lane.PAGES)
    assert pages.admit(1, table.clock.now() + 21).probe

    pages.succeeded(probe=True, is_booked=False)
    assert worker.admit(5, table.clock.now() + 21).probe

    assert pages.admit(1, table.clock.now() + 21).probe
    pages.succeeded(probe=True, is_booked=True)
    assert len(worker.admit(5, table.clock.now() + 21).slots) == 5


@pytest.mark.parametrize("lane", list(Lane))
def test_while_events_are_taken_some_refusals_in_a_row_close_the_gate(lane: Lane) -> None:
    worker = of(FakeTable(Clock()))
    gate = worker.lane(lane)

    for _ in range(2):
        worker.succeeded(probe=False, is_booked=True)
        for _ in range(REFUSALS_TO_CLOSE - 1):
            gate.blocked(is_sure=False)
    assert gate.is_open()

    gate.blocked(is_sure=False)
    assert not gate.is_open()


def test_a_refusal_closes_the_gate_at_once_when_nothing_was_taken_lately() -> None:
    table = FakeTable(Clock())
    worker = of(table)
    worker.succeeded(probe=False, is_booked=True)
    table.clock.sleep(TAKEN_LATELY_SECONDS)

    worker.blocked(is_sure=False)

    assert not worker.is_open()


def test_a_page_gives_back_slots_of_its_lane() -> None:
    table = FakeTable(Clock())
    worker = of(table)
    worker.admit(100, START + 21)
    pages = worker.lane(Lane.PAGES)
    [first] = pages.admit(5, START + 21).slots

    pages.give_back((first,), probe=False)

    assert pages.admit(5, START + 21).slots == ()
    assert table.reserved == 100


def test_pages_without_a_slot_wait_for_the_next_one() -> None:
    table = FakeTable(Clock())
    pages = of(table, is_patient=True).lane(Lane.PAGES)
    first = pages.admit(50, START + 21)

    reservation = pages.admit(5, START + 21)

    assert len(first.slots) < 50
    assert reservation.slots
    assert table.clock.now() == pytest.approx(START + first.wait)


def test_pages_that_wait_do_so_for_two_seconds_at_most() -> None:
    table = FakeTable(Clock())
    worker = of(table, is_patient=True)
    worker.throttled(300)

    reservation = worker.lane(Lane.PAGES).admit(5, START + 21)

    assert reservation.slots == ()
    assert reservation.wait == pytest.approx(298)
    assert table.clock.now() == START + 2


def test_services_without_a_slot_neither_write_nor_wait() -> None:
    table = FakeTable(Clock())
    worker = of(table, is_patient=True)
    worker.admit(400, START + 21)
    version = table.item["version"]

    reservation = worker.admit(5, START + 21)

    assert reservation.wait > 0
    assert table.item["version"] == version
    assert table.calls == 1
    assert table.clock.now() == START


def test_before_a_worker_turns_messages_away_it_looks_whether_there_is_room_now() -> None:
    table = FakeTable(Clock())
    one, other = of(table), of(table)
    slots = one.admit(400, START + 21).slots
    assert other.admit(5, START + 21).slots == ()
    one.give_back(slots, probe=False)
    table.clock.sleep(0.3)

    assert len(other.admit(5, START + 21).slots) == 5


def test_the_last_answer_about_an_event_is_known_to_others_without_a_write_of_its_own() -> None:
    table = FakeTable(Clock())
    one, other = of(table), of(table)
    one.admit(1, START + 21)
    table.clock.sleep(1)

    one.succeeded(probe=False, is_booked=True)
    calls, mine = table.calls, one.last_taken()
    table.clock.sleep(1)
    one.lane(Lane.PAGES).admit(1, START + 21)
    other.admit(1, START + 21)

    assert calls == 1
    assert mine == START + 1
    assert other.last_taken() == pytest.approx(START + 1)
    assert other.lane(Lane.PAGES).last_taken() == other.last_taken()


def test_a_worker_expects_room_once_it_knows_that_there_is_some() -> None:
    table = FakeTable(Clock())
    worker = of(table)
    services = worker.lane(Lane.SERVICES)

    before = services.expects_room(10, START + 21)
    worker.admit(1, START + 21)
    calls = table.calls

    assert (before, services.expects_room(10, START + 21)) == (False, True)
    assert not services.expects_room(10, START)
    assert table.calls == calls


@pytest.mark.parametrize("why", ["closed", "a probe", "much is taken"])
def test_a_worker_expects_no_room_where_posts_have_to_wait(why: str) -> None:
    table = FakeTable(Clock())
    worker = of(table)
    worker.admit(1 if why != "much is taken" else 300, START + 21)
    worker.admit(1 if why != "much is taken" else 300, START + 40)
    if why != "much is taken":
        worker.blocked(is_sure=True)
    if why == "a probe":
        table.clock.sleep(61)

    assert not worker.expects_room(1, table.clock.now() + 21)


def test_a_state_that_is_old_costs_one_more_write_and_no_wait(
    dynamodb: DynamoDBClient,
) -> None:
    clock = Clock()
    slept: list[float] = []
    one, other = gate(dynamodb, clock), gate(dynamodb, clock)
    other.sleep = slept.append
    other.admit(1, START + 60)
    one.admit(1, START + 60)

    assert other.admit(1, START + 60).slots
    assert slept == []


def test_without_an_answer_nothing_was_taken() -> None:
    worker = of(FakeTable(Clock()))
    worker.admit(1, START + 21)
    worker.blocked(is_sure=True)

    assert worker.last_taken() == 0.0


def test_a_time_that_no_right_clock_wrote_is_not_when_an_event_was_taken() -> None:
    worker = of(FakeTable(Clock()))
    worker.table.state = GateState(taken_at=START + 3600)

    assert worker.last_taken() == 0.0
    worker.blocked(is_sure=False)
    assert not worker.is_open()


@pytest.mark.parametrize(("ours", "theirs"), [(0.0, 3.0), (3.0, 0.0)])
def test_the_last_answer_is_told_by_each_workers_own_clock(ours: float, theirs: float) -> None:
    table = FakeTable(Clock())
    one, other = settled(table, skew=ours), settled(table, skew=theirs)

    one.succeeded(probe=False, is_booked=True)
    taken_at = table.clock.now()
    for worker, skew in ((one, ours), (other, theirs)):
        worker.admit(1, taken_at + skew + 21)

    assert other.last_taken() == pytest.approx(taken_at + theirs, abs=0.1)


def test_headers_of_a_429_reach_the_others_with_it() -> None:
    table = FakeTable(Clock())
    one, other = of(table), of(table)
    slots: list[float] = []
    while table.clock.now() < START + 60:
        slots += one.admit(10, table.clock.now() + 21).slots
        table.clock.sleep(0.6)
    other.admit(10, table.clock.now() + 21)

    one.observe(RateHeaders(300, 0, slots[-1]))
    one.throttled(1)
    table.clock.sleep(1.2)

    # The pause is over, but what was reserved at 1000 a minute is too much for 300.
    assert not other.is_open()


class Wall:
    """A worker's wall clock, which may be set while it runs."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ahead = 0.0

    def now(self) -> float:
        return self.clock.now() + self.ahead


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_costs_nobody_more_than_a_batch(step: float) -> None:
    table = FakeTable(Clock())
    wall, right = Wall(table.clock), of(table)
    worker = DynamoGate(table_of(table, SharedClock(wall.now)), 1000, lambda _: None)
    for _ in range(10):
        worker.admit(1, wall.now() + 21)
        table.clock.sleep(SOME_TIME)
    wall.ahead = step

    first = worker.admit(10, wall.now() + 21).slots
    ahead = [slot - wall.now() for slot in first]
    table.clock.sleep(1)
    theirs = right.admit(10, table.clock.now() + 21).slots
    table.clock.sleep(1)
    second = worker.admit(10, wall.now() + 21).slots

    assert len(first) == len(theirs) == len(second) == 10
    assert all(0 < each < 3 for each in ahead)
    assert all(0 < slot - table.clock.now() + 1 < 3 for slot in theirs)
    assert all(0 < slot - wall.now() < 3 for slot in second)


def test_a_wall_clock_put_back_after_a_failed_call_does_not_keep_the_worker_blind() -> None:
    table = FakeTable(Clock(), takes=4.0, fails=1)
    wall = Wall(table.clock)
    worker = DynamoGate(table_of(table, SharedClock(wall.now)), 1000, lambda _: None)
    with pytest.raises(Unavailable):
        worker.admit(1, wall.now() + 21)

    wall.ahead = -3600.0
    table.clock.sleep(1.1)

    assert worker.admit(1, wall.now() + 21).slots


def test_a_wall_clock_put_back_does_not_keep_a_worker_from_looking() -> None:
    table = FakeTable(Clock())
    wall = Wall(table.clock)
    worker = DynamoGate(table_of(table, SharedClock(wall.now)), 1000, lambda _: None)
    worker.admit(1, wall.now() + 21)
    of(table).throttled(300)

    wall.ahead = -0.2
    table.clock.sleep(0.3)

    assert not worker.is_open()
