"""`reconcile` against a ledger in memory and a Cometly on loopback."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from cometly_forwarder.deliver.claims import Claim, Outcome
from cometly_forwarder.deliver.ledger import DynamoLedger
from cometly_forwarder.deliver.verdict import Kind, Verdict
from cometly_forwarder.event.envelope import Source, seal
from cometly_forwarder.event.facts import facts_of
from cometly_forwarder.event.reading import DEFAULT_RULES, read_event
from cometly_forwarder.ledger_item import State
from cometly_forwarder.reconcile import run as comparison
from cometly_forwarder.reconcile.book import Book
from cometly_forwarder.reconcile.days import utc_time
from cometly_forwarder.reconcile.ledger import LedgerScan
from cometly_forwarder.reconcile.listing import CometlyList
from ops import reconciling
from ops.commands import reconcile
from ops.errors import OpsError
from tests.unit import cometly_fake
from tests.unit.cometly_fake import TOKEN, FakeCometly, reading_from, told
from tests.unit.fakes import Clock
from tests.unit.ops.conftest import Run
from tests.unit.ops.stack_in_memory import StackInMemory

DAY = "2026-11-24"
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
NOON = MIDNIGHT + 12 * 3600
NEXT_MORNING = MIDNIGHT + 30 * 3600

pytestmark = pytest.mark.usefixtures("socket_enabled")


@dataclass
class FirstWrites:
    """DynamoDB for the ledger of identities that nobody has met: no condition stands in the way.

    moto takes long to read an expression, and a day here has many events.
    """

    item: dict[str, Any] = field(default_factory=dict)

    def update_item(self, *, Key: Any, UpdateExpression: str, **given: Any) -> Any:  # noqa: N803
        names, values = (given[f"ExpressionAttribute{it}"] for it in ("Names", "Values"))
        rest, _, removes = UpdateExpression.removeprefix("SET ").partition(" REMOVE ")
        sets, _, adds = rest.partition(" ADD ")
        parts = [it.split(" = ") for it in sets.split(", ")] + [it.split() for it in [adds] if it]
        self.item |= Key | {names.get(name, name): values[value] for name, value in parts}
        for name in removes.split(", ") if removes else ():
            self.item.pop(names.get(name, name), None)
        return {"Attributes": self.item}


@dataclass
class Space:
    """A stack and its Space: what is delivered is recorded, unless a test says otherwise."""

    stack: StackInMemory
    cometly: FakeCometly
    clock: Clock
    folder: Path
    delivered: dict[str, dict[str, Any]] = field(default_factory=dict)

    def deliver(self, at: float = NOON, *, delay: float = 1.0, **fields: Any) -> str:
        """Deliver an event of a second as deliver does it; returns its id."""
        raw = {"event_name": "purchase", "email": "ada@example.com", **fields}
        raw.setdefault("event_time", utc_time(at))
        event, _ = read_event(raw, DEFAULT_RULES, datetime.fromtimestamp(at + delay, UTC))
        number = len(self.delivered)
        source = Source("http", f"{number}", datetime.fromtimestamp(at + delay, UTC))
        envelope = seal(event, source)
        assert envelope.event_id not in self.delivered
        writes = FirstWrites()
        ledger = DynamoLedger(cast("Any", writes), "table", lambda: at + delay)
        claim = Claim(envelope.event_id, "o", "c", "m", at + delay + 65, source.time)
        verdict = Verdict(Kind.DELIVERED, "HTTP 202", 202, request_id=f"req_{number}")
        ledger.claim(claim)
        facts = facts_of(envelope.event)
        ledger.settle(claim, Outcome(State.DELIVERED, 1, verdict, facts=facts))
        self.stack.dynamodb.put_item(TableName="table", Item=writes.item)
        self.delivered[envelope.event_id] = dict(envelope.event)
        return envelope.event_id

    def record(self, event_id: str, **changes: Any) -> int:
        """Record a delivered event; returns Cometly's id of it."""
        event = self.delivered[event_id]
        is_upsell = event["event_name"] == "purchase" and event.get("is_upsell")
        row = {
            "id": 8000 + len(self.cometly.rows),
            "event_name": "upsell_purchase" if is_upsell else event["event_name"],
            "amount": event.get("amount", 0),
            "event_time_utc": event["event_time"],
            "order_id": event.get("order_id"),
            "order_name": event.get("order_name"),
        }
        self.cometly.rows.append(row | changes)
        return int(row["id"])

    def both(self, at: float = NOON, **fields: Any) -> str:
        event_id = self.deliver(at, **fields)
        self.record(event_id)
        return event_id

    def in_zone(self, name: str) -> None:
        self.cometly.zone = ZoneInfo(name)
        self.stack.target.parameters["SpaceTimeZone"] = name  # type: ignore[index]


@pytest.fixture
def space(stack: StackInMemory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Space]:
    clock = Clock(NEXT_MORNING)
    monkeypatch.setattr(reconcile, "_CLOCK", reconciling.Clock(clock.now, clock.now, clock.sleep))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with reading_from(FakeCometly(now=clock.now)) as cometly:
        stack.target.parameters["CometlyUrl"] = cometly.url  # type: ignore[index]
        yield Space(stack, cometly, clock, tmp_path)


def found(document: dict[str, Any], kind: str) -> list[str]:
    return [
        it["event_id"] or str(it["cometly_id"]) for it in document["findings"] if it["kind"] == kind
    ]


def test_a_day_that_is_all_there_ends_with_0(space: Space, run: Run) -> None:
    space.both(order_id="1", amount=89.5)
    space.both(event_name="lead_generated")

    ran = run("reconcile", "--day", DAY, "--json")

    assert ran.status == 0
    assert (ran.document["delivered"], ran.document["recorded"]) == (2, 2)
    assert ran.document["findings"] == []
    assert ran.document["requests"] == 1
    assert not list((space.folder / "state").rglob("*.sqlite"))


def test_each_kind_is_named_with_what_support_asks_for(space: Space, run: Run) -> None:
    missing = space.deliver(order_id="1042", amount=20)
    dearer = space.deliver(order_id="1043", amount=99.99)
    lead = space.deliver(event_name="lead_generated")
    changed = space.deliver(order_id="1044", amount=50)
    changed_row = space.record(changed, amount=5)
    twice = space.both(order_id="1045")
    second_row = space.record(twice)
    space.both(order_id="1042", is_upsell=True, amount=20)
    space.both(order_id="1047")
    duplicate = space.deliver(order_id="1047", email="eve@example.com", delay=2)
    young = space.deliver(order_id="1046", delay=NEXT_MORNING - NOON - 60)
    other = space.record(twice, order_id="=1+1")

    ran = run("reconcile", "--day", DAY, "--json", "--csv", str(space.folder / "all.csv"))

    document = ran.document
    assert ran.status == 1
    assert found(document, "missing") == [dearer, missing, lead]
    assert found(document, "different_amount") == [changed]
    assert found(document, "repeated") == [str(second_row)]
    assert found(document, "not_from_here") == [str(other)]
    assert found(document, "duplicate") == [duplicate]
    assert found(document, "too_young") == [young]
    assert [it["event_name"] for it in document["by_event_name"]] == [
        *("purchase", "lead_generated", "upsell_purchase"),
    ]
    assert document["by_event_name"][0] == {
        "event_name": "purchase",
        "delivered": 7,
        "recorded": 3,
        "missing": 2,
        "different_amount": 1,
        "repeated": 1,
        "not_from_here": 1,
        "duplicate": 1,
        "too_young": 1,
    }
    amount = next(it for it in document["findings"] if it["kind"] == "different_amount")
    assert amount == {
        "kind": "different_amount",
        "event_name": "purchase",
        "event_time": "2026-11-24T12:00:00Z",
        "event_id": changed,
        "delivered_at": "2026-11-24T12:00:01Z",
        "request_id": "req_3",
        "amount": 50.0,
        "cometly_id": str(changed_row),
        "order": "1044",
        "recorded_amount": 5.0,
        "basis": "the same order",
    }
    with (space.folder / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["findings"]) == 8
    assert [it["order"] for it in rows if it["kind"] == "not_from_here"] == ["'=1+1"]
    assert "ada@example.com" not in ran.out


def test_people_see_the_worst_first(space: Space, run: Run) -> None:
    space.both(event_name="lead_generated")
    missing = space.deliver(order_id="1042", amount=20)
    space.record(space.deliver(order_id="1043", amount=7), amount=7.125)
    for _ in range(22):
        space.record(missing, order_id="elsewhere")

    ran = run("reconcile", "--day", DAY)

    assert ran.status == 1
    lines = ran.out.splitlines()
    assert lines[0] == "shop, 2026-11-24 in UTC, as Cometly had it at 2026-11-25T06:00:00Z"
    assert [line.split()[0] for line in lines[1:5]] == [
        *("event", "purchase", "lead_generated", "all"),
    ]
    assert (
        f"  2026-11-24T12:00:00Z purchase {missing} 20.00 Request-Id req_1"
        " (no record of this name and order)"
    ) in lines
    assert "7.00 Cometly's 8001 7.125 order 1043 Request-Id req_2 (the same order)" in ran.out
    assert "  and 2 more: --csv FILE names them all" in lines


def test_an_item_of_a_version_before_is_counted_and_not_judged(space: Space, run: Run) -> None:
    space.stack.put("evt_old", state={"S": "delivered"}, updated_at={"N": str(NOON)})
    space.stack.put("evt_older", state={"S": "delivered"}, updated_at={"N": str(NOON - 86400)})
    space.stack.put("gate", version={"N": "1"})

    ran = run("reconcile", "--day", DAY)

    assert ran.status == 0
    assert "not judged: 1, delivered by a version that kept no facts" in ran.out


@pytest.mark.parametrize(
    ("zone", "day", "first", "last"),
    [
        ("UTC", "2026-11-24", "2026-11-24T00:00:00Z", "2026-11-24T23:59:59Z"),
        ("Europe/Berlin", "2026-11-24", "2026-11-23T23:00:00Z", "2026-11-24T22:59:59Z"),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z"),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z"),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", "2026-04-05T13:29:59Z"),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", "2026-10-04T12:59:59Z"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T04:59:59Z"),
    ],
)
def test_events_belong_to_the_spaces_day_of_their_own_time(
    space: Space, run: Run, *, zone: str, day: str, first: str, last: str
) -> None:
    start, end = (datetime.fromisoformat(it).timestamp() for it in (first, last))
    space.in_zone(zone)
    space.clock.time = end + 3600
    inside = [space.deliver(at, order_id=f"{at}") for at in (start, end)]
    # Delivered after midnight, and of the day before all the same.
    inside.append(space.deliver(end, delay=1200, order_id="late"))
    for at in (start - 1, end + 1):
        space.deliver(at, order_id=f"{at}")
    others = [space.record(inside[0], event_time_utc=it, order_id=it) for it in (first, last)]
    for at in (start - 1, end + 1):
        space.record(inside[0], event_time_utc=utc_time(at), order_id=f"other {at}")

    document = run("reconcile", "--day", day, "--json").document

    assert sorted(found(document, "missing")) == sorted(inside)
    assert sorted(found(document, "not_from_here")) == sorted(map(str, others))


def test_several_days_are_one_comparison(space: Space, run: Run) -> None:
    first = space.deliver(MIDNIGHT - 1, order_id="1")
    second = space.deliver(NOON, order_id="2")
    space.both(MIDNIGHT - 86401, order_id="3")

    document = run("reconcile", "--from", "2026-11-23", "--to", DAY, "--json").document

    assert sorted(found(document, "missing")) == sorted([first, second])
    assert document["delivered"] == 2


def test_without_a_day_it_is_the_last_that_is_over(space: Space, run: Run) -> None:
    space.clock.time = MIDNIGHT + 86400 + 600

    assert run("reconcile", "--json").document["from"] == "2026-11-23"
    space.clock.time += 600
    assert run("reconcile", "--json", "--time-zone", "UTC").document["to"] == DAY


def test_an_order_that_another_day_delivered_first_is_a_duplicate(space: Space, run: Run) -> None:
    first = space.both(MIDNIGHT - 7200, order_id="1042")
    again = space.deliver(MIDNIGHT + 60, order_id="1042", email="eve@example.com")
    keyed = space.deliver(MIDNIGHT + 61, order_id="1042", idempotency_key="k")
    space.deliver(MIDNIGHT + 86400, order_id="1043")
    lost = space.deliver(MIDNIGHT + 62, order_id="1043", email="eve@example.com")

    document = run("reconcile", "--day", DAY, "--json").document

    assert found(document, "duplicate") == [again]
    assert sorted(found(document, "missing")) == sorted([keyed, lost])
    [duplicate] = [it for it in document["findings"] if it["kind"] == "duplicate"]
    assert duplicate["basis"] == (
        f"Cometly keeps one of an order and customer: {first}, of 2026-11-23T22:00:00Z"
    )


def test_of_very_many_orders_each_is_looked_for_on_other_days(space: Space, run: Run) -> None:
    lost = [space.deliver(order_id=f"lost {number}", amount=9) for number in range(60)]
    lead = space.deliver(event_name="lead_generated")
    for number in range(60):
        space.both(MIDNIGHT - 7200, order_id=f"{number}", amount=1)
    again = [
        space.deliver(order_id=f"{number}", amount=1, email="eve@example.com")
        for number in range(60)
    ]

    document = run("reconcile", "--day", DAY, "--json").document

    assert sorted(found(document, "missing")) == sorted([*lost, lead])
    assert sorted(found(document, "duplicate")) == sorted(again)


def test_an_order_that_another_sender_recorded_around_midnight_is_a_duplicate(
    space: Space, run: Run
) -> None:
    at_night = [space.deliver(at, order_id=f"{at}") for at in (MIDNIGHT, MIDNIGHT + 86399)]
    for order, at in zip(at_night, (MIDNIGHT - 2, MIDNIGHT + 86401), strict=True):
        space.record(order, event_time_utc=utc_time(at))
    keyed = space.deliver(order_id="1042", idempotency_key="k")
    space.record(keyed, event_time_utc=utc_time(MIDNIGHT - 1))
    lost = space.deliver(order_id="1043")
    space.record(lost, event_time_utc=utc_time(MIDNIGHT - 1), event_name="upsell_purchase")

    document = run("reconcile", "--day", DAY, "--json").document

    assert sorted(found(document, "duplicate")) == sorted(at_night)
    assert sorted(found(document, "missing")) == sorted([keyed, lost])
    assert found(document, "not_from_here") == []
    assert "its row 8000, of 2026-11-23T23:59:58Z" in str(document["findings"])


def test_an_order_by_its_name_alone_is_a_duplicate_of_one_that_has_an_id_too(
    space: Space, run: Run
) -> None:
    space.both(order_id="1042", order_name="#1042")
    by_name = space.deliver(order_name="#1042", email="eve@example.com")
    lost = space.deliver(order_name="#1043")

    document = run("reconcile", "--day", DAY, "--json").document

    assert found(document, "duplicate") == [by_name]
    assert found(document, "missing") == [lost]


def test_a_large_day_is_read_by_an_export(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "EXPORTED_FROM", 10)
    space.cometly.most_per_page = 4
    events = [space.both(order_id=f"{number}") for number in range(30)]
    missing = space.deliver(order_id="lost")

    document = run("reconcile", "--day", DAY, "--json").document

    assert found(document, "missing") == [missing]
    assert document["recorded"] == len(events)
    assert document["requests"] == 3 + 1 + 2


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
def test_a_zone_that_is_not_the_spaces_is_said_and_nothing_is_called_missing(
    space: Space, run: Run, zone: str
) -> None:
    for hour in range(-24, 48):
        space.both(MIDNIGHT + 3600 * hour, order_id=f"{hour}")
    space.cometly.zone = ZoneInfo(zone)

    ran = run("reconcile", "--day", DAY)

    assert ran.status == 1
    assert "the Space has another time zone" in str(ran.exception)
    assert "missing there" not in ran.out


def test_a_zone_that_is_wrong_by_an_hour_loses_nothing(space: Space, run: Run) -> None:
    for minute in range(-180, 1620, 10):
        space.both(MIDNIGHT + 60 * minute, order_id=f"{minute}")
    space.cometly.zone = ZoneInfo("Europe/Berlin")

    document = run("reconcile", "--day", DAY, "--json").document

    assert (document["delivered"], document["recorded"]) == (144, 144)
    assert document["findings"] == []


def test_an_export_of_another_day_gives_way_to_the_list(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "EXPORTED_FROM", 10)
    space.in_zone("America/New_York")
    space.cometly.zone_of_exports = ZoneInfo("UTC")
    space.cometly.most_per_page = 4
    space.clock.time += 86400
    for hour in range(-12, 48):
        space.both(MIDNIGHT + 3600 * hour, order_id=f"{hour}")

    document = run("reconcile", "--day", DAY, "--json").document

    assert (document["delivered"], document["recorded"]) == (24, 24)
    assert document["findings"] == []


def interrupted(*, after: int) -> Callable[[Any], Any]:
    """Break off at a page of the list, as Ctrl-C does."""
    page = CometlyList.page
    calls = 0

    def page_or_interrupt(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        return page(self, *arguments)

    return page_or_interrupt


def test_a_run_that_was_interrupted_twice_goes_on(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.cometly.most_per_page = 10
    for number in range(100):
        space.both(order_id=f"{number}")
    missing = space.deliver(order_id="lost")

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(CometlyList, "page", interrupted(after=4))
            ran = run("reconcile", "--day", DAY, "--json")
        assert ran.status == 130
        assert "the same command goes on" in ran.err
    ran = run("reconcile", "--day", DAY, "--json")

    assert found(ran.document, "missing") == [missing]
    assert ran.document["recorded"] == 100
    assert ran.document["requests"] == 2
    # The third process does not know what the others asked for: it is told by a 429, and waits.
    assert len(space.cometly.asked) == 10 + space.cometly.throttled


def test_an_interrupted_scan_is_repeated_and_the_list_is_not(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.both(order_id="1")
    with monkeypatch.context() as patched:
        patched.setattr(LedgerScan, "between", interrupted(after=0))
        assert run("reconcile", "--day", DAY, "--json").status == 130
    # What came in between is too young for the list that is there.
    late = space.deliver(NOON, delay=NEXT_MORNING - NOON + 1, order_id="2")

    ran = run("reconcile", "--day", DAY, "--json")

    assert ran.document["requests"] == 0
    assert found(ran.document, "too_young") == [late]


def test_a_second_run_of_the_same_days_waits_for_no_end_and_spoils_nothing(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = space.deliver(order_id="1")
    second: list[Any] = []
    between = LedgerScan.between

    def run_again_first(self: Any, *bounds: int) -> Any:
        monkeypatch.setattr(LedgerScan, "between", between)
        second.append(run("reconcile", "--day", DAY))
        return between(self, *bounds)

    monkeypatch.setattr(LedgerScan, "between", run_again_first)

    first = run("reconcile", "--day", DAY, "--json")

    assert "Another run compares these days" in str(second[0].exception)
    assert found(first.document, "missing") == [missing]


def test_with_another_token_the_list_is_read_anew(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.both(order_id="1")
    with monkeypatch.context() as patched:
        patched.setattr(LedgerScan, "between", interrupted(after=0))
        run("reconcile", "--day", DAY, "--json")
    monkeypatch.setattr(reconciling, "stored_token", lambda _: "a-token-of-another-space")
    monkeypatch.setattr(cometly_fake, "TOKEN", "a-token-of-another-space")

    ran = run("reconcile", "--day", DAY, "--json")

    assert (ran.status, ran.document["requests"]) == (0, 1)
    for file in (space.folder / "state").rglob("*.sqlite"):
        assert TOKEN.encode() not in file.read_bytes()


@pytest.mark.parametrize("spoilt", ["another day later", "no database"])
def test_an_old_or_broken_file_is_begun_anew(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    space.both(order_id="1")
    with monkeypatch.context() as patched:
        patched.setattr(LedgerScan, "between", interrupted(after=0))
        run("reconcile", "--day", DAY, "--json")
    [file] = (space.folder / "state").rglob("*.sqlite")
    assert file.stat().st_mode & 0o077 == 0
    if spoilt == "no database":
        file.write_text("?" * 2000)
    else:
        space.clock.time += 86401

    ran = run("reconcile", "--day", DAY, "--json")

    assert (ran.status, ran.document["requests"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--day", "2026-11-26"], "has not begun yet in UTC"),
        (["--day", "2026-10-01"], "keeps 30 days"),
        (["--from", DAY, "--to", "2026-11-23"], "no days that can be compared"),
        (["--from", "2026-01-01", "--to", DAY], "no days that can be compared"),
        (["--day", DAY, "--time-zone", "Berlin"], "'Berlin' is no time zone"),
        (["--day", DAY, "--csv", "/nowhere/all.csv"], "/nowhere/all.csv cannot be written"),
    ],
)
def test_what_cannot_be_compared_is_said(
    space: Space, run: Run, arguments: list[str], words: str
) -> None:
    assert space.stack

    ran = run("reconcile", *arguments)

    assert isinstance(ran.exception, OpsError)
    assert words in str(ran.exception)


@pytest.mark.parametrize(
    "arguments", [["--day", "24.11.2026"], ["--day", DAY, "--from", DAY]], ids=["form", "both"]
)
def test_a_wrong_command_line_ends_with_2(space: Space, run: Run, arguments: list[str]) -> None:
    assert space.stack
    assert run("reconcile", *arguments).status == 2


def test_cometlys_refusal_is_said_in_one_sentence(space: Space, run: Run) -> None:
    space.cometly.faults.append(told(403, {"message": "This action is unauthorized."}))

    ran = run("reconcile", "--day", DAY)

    assert isinstance(ran.exception, OpsError)
    assert "the token lacks the permission to read events" in str(ran.exception)
    assert TOKEN not in ran.out + ran.err + str(ran.exception)


def test_without_a_token_nothing_is_asked(space: Space, run: Run) -> None:
    space.stack.secrets.put_secret_value(SecretId="token", SecretString="unset")

    assert "token set" in str(run("reconcile", "--day", DAY).exception)
    assert space.cometly.asked == []


def test_a_file_that_cannot_be_made_is_said(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (space.folder / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(space.folder / "file"))

    assert "cannot be written" in str(run("reconcile", "--day", DAY).exception)


def test_a_file_that_another_run_holds_is_said(
    space: Space, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Book, "forget_delivered", locked)

    space.both(order_id="1")

    assert "database is locked" in str(run("reconcile", "--day", DAY).exception)
