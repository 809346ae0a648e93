"""The nightly comparison: what it writes down, and the function around it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pytest
from moto import mock_aws

from cometly_forwarder import aws
from cometly_forwarder.errors import ListUnread, SettingsError
from cometly_forwarder.event.facts import Facts, facts_of
from cometly_forwarder.reconcile import handler as nightly
from cometly_forwarder.reconcile.book import Book
from cometly_forwarder.reconcile.days import day_of, last_settled_day, utc_time
from cometly_forwarder.reconcile.matching import Delivered, judge
from cometly_forwarder.reconcile.nightly import MOST_LINES, write_down
from cometly_forwarder.reconcile.run import Line, Report
from tests.unit.cometly_fake import TOKEN, FakeCometly, reading_from, told

DAY = day_of(date(2026, 11, 24), ZoneInfo("UTC"))
pytestmark = pytest.mark.usefixtures("socket_enabled")


@dataclass
class Lines:
    """A journal that keeps its lines."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None:
        self.lines.append((name, {"event_id": event_id, **keys}))

    def begin(self, request_id: str) -> None:
        assert request_id == "request-1"

    def flush(self) -> None:
        self.lines.append(("flush", {}))


def test_a_day_that_is_missing_altogether_is_not_named_event_by_event(tmp_path: Path) -> None:
    book, lines = Book.open(tmp_path / "book", "a day", 1.0), Lines()
    line = Line("purchase", delivered=MOST_LINES + 5)
    for number in range(MOST_LINES + 5):
        sent = Delivered(f"evt_{number}", Facts("purchase", DAY.start, f"{number}"), 1.0, "req")
        book.add_delivered([sent])
        findings = judge([sent], [], 9e9).findings
        book.add_findings(findings)
        line.of.update(it.kind for it in findings)

    write_down(lines, DAY, Report([line], 1.0), book)
    book.remove()

    names = [name for name, _ in lines.lines]
    assert names == ["reconcile.missing"] * (MOST_LINES + 1) + ["reconcile.compared"]
    assert lines.lines[MOST_LINES][1] == {"event_id": None, "count": 5}


# --- The function ---------------------------------------------------------------------------------


@dataclass
class Space:
    """The table and the Space of the function."""

    cometly: FakeCometly
    dynamodb: Any
    second: int

    def deliver(self, event_id: str, **fields: Any) -> None:
        event = {"event_name": "purchase", "event_time": utc_time(self.second), **fields}
        facts = facts_of(event)
        assert facts
        item = {
            "event_id": {"S": event_id},
            "state": {"S": "delivered"},
            "updated_at": {"N": str(self.second + 1)},
            "request_id": {"S": f"req-of-{event_id}"},
            **facts.attributes(),
        }
        self.dynamodb.put_item(TableName="table", Item=item)

    def record(self, **fields: Any) -> None:
        row = {
            "id": len(self.cometly.rows),
            "event_name": "purchase",
            "event_time_utc": utc_time(self.second),
            **dict.fromkeys(("amount", "order_id", "order_name")),
        }
        self.cometly.rows.append(row | fields)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    lines = Lines()
    monkeypatch.setattr(nightly, "journal", lines)
    return lines


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Space]:
    zone = ZoneInfo("Australia/Lord_Howe")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with mock_aws(), reading_from(FakeCometly(zone)) as cometly:
        aws._session.cache_clear()
        dynamodb, secrets = boto3.client("dynamodb"), boto3.client("secretsmanager")
        dynamodb.create_table(
            TableName="table",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
        )
        arn = secrets.create_secret(Name="token", SecretString=TOKEN)["ARN"]
        monkeypatch.setenv("TABLE_NAME", "table")
        monkeypatch.setenv("COMETLY_TOKEN_SECRET_ARN", arn)
        monkeypatch.setenv("COMETLY_URL", cometly.url)
        monkeypatch.setenv("SPACE_TIME_ZONE", zone.key)
        yesterday = day_of(last_settled_day(time.time(), zone), zone)
        yield Space(cometly, dynamodb, yesterday.end - 1)
    aws._session.cache_clear()


Invoke = Callable[[], dict[str, object]]


@pytest.fixture
def invoke() -> Invoke:
    context: Any = SimpleNamespace(aws_request_id="request-1")
    return lambda: nightly.handler({}, context)


def test_each_missing_event_has_a_line_and_the_day_its_counts(
    space: Space, invoke: Invoke, lines: Lines
) -> None:
    space.deliver("evt_1", order_id="1042", email="ada@example.com", amount=5)
    space.deliver("evt_2", order_id="1043", amount=5)
    space.record(order_id="1043", amount=6)
    space.record(order_id="other")

    counts = invoke()

    assert (counts["delivered"], counts["recorded"], counts["missing"]) == (2, 1, 1)
    missing, compared, flush = lines.lines
    told = {"event_id": "evt_1", "event_name": "purchase", "request_id": "req-of-evt_1"}
    assert missing == ("reconcile.missing", told)
    assert compared == (
        "reconcile.compared",
        {
            "event_id": None,
            "count": 1,
            "day": counts["day"],
            "delivered": 2,
            "missing": 1,
            "different_amount": 1,
            "repeated": 0,
            "not_from_here": 1,
            "unjudged": 0,
        },
    )
    assert flush == ("flush", {})


def test_a_day_that_is_all_there_has_no_other_line(
    space: Space, invoke: Invoke, lines: Lines
) -> None:
    space.deliver("evt_1", order_id="1")
    space.record(order_id="1")

    invoke()

    assert [name for name, _ in lines.lines] == ["reconcile.compared", "flush"]


def test_a_refusal_of_cometlys_fails_the_function_and_a_second_try_goes_on(
    space: Space, invoke: Invoke
) -> None:
    space.deliver("evt_1", order_id="1")
    space.cometly.faults.append(told(403, {}))

    with pytest.raises(ListUnread, match="permission"):
        invoke()
    assert invoke()["missing"] == 1


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("SPACE_TIME_ZONE", "Mars", "no time zone"), ("TABLE_NAME", "", "TABLE_NAME is not set")],
)
@pytest.mark.usefixtures("space")
def test_a_wrong_setting_is_named(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=words):
        invoke()
