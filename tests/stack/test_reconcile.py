"""What was delivered by the deployed stack, beside what the sandbox recorded of it.

An event is judged a quarter of an hour after its delivery: the command's clock goes so far ahead.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from cometly_forwarder.reconcile.days import Day, day_of, utc_time
from ops.cli import app
from ops.commands import reconcile
from ops.reconciling import Clock
from tests.stack.deployed import Deployed, Fields, eventually

ZONE = ZoneInfo("Australia/Lord_Howe")


def days_ago(number: int) -> Day:
    """Return a day: each test has one of its own, for the ledger forgets nothing between them."""
    return day_of(datetime.now(ZONE).date() - timedelta(days=number), ZONE)


Command = Callable[..., tuple[int, Any]]


def events_of_all_kinds(day: Day) -> list[Fields]:
    """Build events of a day, and two a second outside of it, which are not to be judged."""
    length = day.end - day.start
    events: list[Fields] = []
    for number in range(150):
        common: Fields = {
            "event_time": utc_time(day.start + number * length // 150),
            "email": f"customer-{number}@{day.date}.example.com",
        }
        order = {"order_id": f"{day.date}-{number}", "amount": 10 + number / 4}
        events.append({**common, **order, "event_name": "purchase"})
        if number % 3 == 0:
            events.append({**common, **order, "event_name": "purchase", "is_upsell": True})
        if number % 5 == 0:
            events.append(
                {**common, "event_name": "subscribe", "idempotency_key": f"{day.date}-{number}"}
            )
        if number % 6 == 0:
            events.append(
                {**common, "event_name": "start_trial", "order_name": f"#{day.date}-{number}"}
            )
        # Two of a second, which the amount alone tells apart.
        common |= {"amount": number}
        lead = {"event_name": "lead_generated", "event_time": utc_time(day.start + number // 2)}
        events.append({**common, **lead})
    for second in (day.start - 1, day.end):
        fields = {"event_name": "purchase", "event_time": utc_time(second), "amount": 1}
        events.append({**fields, "email": "night@example.com", "order_id": f"at {second}"})
    return events


def twins(day: Day) -> list[Fields]:
    """Build pairs that are two events for us, by e-mail and by token, and one for Cometly."""
    found = []
    for number in range(10):
        common: Fields = {
            "event_name": "purchase",
            "event_time": utc_time(day.start + number),
            "order_id": f"twin-{number}",
            "comet_token": f"token-{number}",
            "amount": 7,
        }
        found += [{**common, "email": f"twin-{number}@example.com"}, common]
    return found


def delivered(deployed: Deployed, events: list[Fields]) -> list[str]:
    """Post events and wait until all are delivered; returns their ids."""
    ids: list[str] = []
    for first in range(0, len(events), 100):
        answer = deployed.api.post(events[first : first + 100])
        assert answer.status == 202, answer
        ids += [result["event_id"] for result in answer.body["results"]]
    deployed.queues.until_all_is_settled()
    return ids


@pytest.fixture
def command(deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ahead = Clock(now=lambda: time.time() + 16 * 60)
    monkeypatch.setattr(reconcile, "_CLOCK", ahead)
    where = ["--stack-file", str(deployed.stack.checkout.stack_file), "--time-zone", ZONE.key]

    def run(*arguments: str) -> tuple[int, Any]:
        ran = CliRunner().invoke(app, ["reconcile", *where, "--json", *arguments])
        assert ran.stdout, ran.exception
        return ran.exit_code, json.loads(ran.stdout)

    return run


def found(document: Any, kind: str) -> set[str]:
    findings = [it for it in document["findings"] if it["kind"] == kind]
    return {it["event_id"] or it["order"] for it in findings}


def test_exactly_what_cometly_lost_and_changed_is_named(
    deployed: Deployed, command: Command
) -> None:
    day = days_ago(3)
    events = events_of_all_kinds(day)
    forgotten = list(range(0, 170, 10))
    purchases = [n for n, it in enumerate(events) if it["event_name"] == "purchase"]
    changed = [place for place in purchases[::20] if place not in forgotten][:5]
    assert len({events[place]["event_name"] for place in forgotten}) == 4
    deployed.sandbox.set(time_zone=ZONE.key)
    for place in forgotten:
        deployed.sandbox.fail(kind="forget", match=told(events[place]))
    for place in changed:
        deployed.sandbox.fail(kind="other_amount", more=1.0, match=told(events[place]))

    ids = delivered(deployed, events)
    others = [
        {
            "event_name": "purchase",
            "event_time": utc_time(day.start + 60 * number),
            "order_id": f"other-{number}",
            "amount": 3,
        }
        for number in range(40)
    ]
    deployed.sandbox.record_others(others)
    status, document = command("--day", str(day.date))

    assert status == 1
    assert found(document, "missing") == {ids[place] for place in forgotten}
    assert found(document, "different_amount") == {ids[place] for place in changed}
    assert found(document, "not_from_here") == {it["order_id"] for it in others}
    assert document["delivered"] == len(events) - 2
    assert document["recorded"] == len(events) - 2 - 17
    kinds = Counter(it["kind"] for it in document["findings"])
    assert kinds == {"missing": 17, "different_amount": 5, "not_from_here": 40}
    requests = {it["request_id"] for it in deployed.sandbox.requests()}
    assert {it["request_id"] for it in document["findings"] if it["event_id"]} <= requests


def test_what_cometly_drops_by_its_rules_is_not_missing(
    deployed: Deployed, command: Command
) -> None:
    day = days_ago(6)
    events = twins(day)
    delivered(deployed, events[0::2])
    again = delivered(deployed, events[1::2])
    deployed.sandbox.set(time_zone=ZONE.key)

    status, document = command("--day", str(day.date))

    assert (status, document["delivered"], document["recorded"]) == (0, 20, 10)
    assert found(document, "duplicate") == set(again)


def test_what_cometly_records_twice_is_named(deployed: Deployed, command: Command) -> None:
    day = days_ago(8)
    [event, *_] = events_of_all_kinds(day)
    deployed.sandbox.set(time_zone=ZONE.key)
    deployed.sandbox.fail(kind="record_twice")
    delivered(deployed, [event])

    status, document = command("--day", str(day.date))

    assert (status, document["repeated"]) == (0, 1)


def test_a_large_day_comes_by_an_export(
    deployed: Deployed, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cometly_forwarder.reconcile.listing.PER_PAGE", 20)
    monkeypatch.setattr("cometly_forwarder.reconcile.run.EXPORTED_FROM", 30)
    day = days_ago(10)
    events = events_of_all_kinds(day)[:90]
    deployed.sandbox.set(time_zone=ZONE.key)
    deployed.sandbox.fail(kind="forget", match=told(events[50]))
    ids = delivered(deployed, events)

    _, document = command("--day", str(day.date))

    assert found(document, "missing") == {ids[50]}
    assert document["recorded"] == 89
    assert document["requests"] == 2 + 1 + 1


def test_what_is_young_is_not_judged(
    deployed: Deployed, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_CLOCK", Clock())
    day = days_ago(12)
    [event, *_] = events_of_all_kinds(day)
    deployed.sandbox.set(time_zone=ZONE.key)
    deployed.sandbox.fail(kind="forget")
    [event_id] = delivered(deployed, [event])

    status, document = command("--day", str(day.date))

    assert status == 0
    assert found(document, "too_young") == {event_id}


def test_the_nightly_function_names_what_is_missing(deployed: Deployed) -> None:
    zone = ZoneInfo(deployed.functions.variable("reconcile", "SPACE_TIME_ZONE"))
    yesterday = day_of(datetime.now(zone).date() - timedelta(days=1), zone)
    events = [
        {
            "event_name": "purchase",
            "event_time": utc_time(yesterday.start + 60 * number),
            "email": f"nightly-{number}@example.com",
            "order_id": f"nightly {yesterday.date} {number}",
        }
        for number in range(3)
    ]
    deployed.sandbox.fail(kind="forget", match={"order_id": events[1]["order_id"]})
    ids = delivered(deployed, events)
    for event_id in ids:
        grow_old(deployed, event_id)
    known = len(deployed.functions.log_lines("reconcile"))

    answer = deployed.functions.client.invoke(
        FunctionName=deployed.functions.names["reconcile"], Payload=b"{}"
    )

    counts = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, counts
    lines = eventually(
        lambda: [json.loads(it) for it in deployed.functions.log_lines("reconcile")[known:]],
        lambda lines: any("_aws" in it for it in lines),
    )
    [request] = [it for it in deployed.sandbox.requests() if it["email"] == events[1]["email"]]
    missing = {it["event_id"]: it for it in lines if it.get("message") == "reconcile.missing"}
    assert ids[1] in missing
    assert not missing.keys() & {ids[0], ids[2]}
    assert missing[ids[1]]["request_id"] == request["request_id"]
    assert "@example.com" not in str(lines)
    [metrics] = [it for it in lines if "_aws" in it]
    assert sum(metrics["Missing"]) == counts["missing"] == len(missing)
    assert metrics["Recorded"] == [counts["recorded"]]
    [dimensions] = metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    alarm = deployed.cloudwatch.describe_alarms(AlarmNames=[deployed.resource("MissingAlarm")])[
        "MetricAlarms"
    ][0]
    # The emulator makes no metrics of such lines; test_alarms rings this alarm by its own.
    assert alarm["Dimensions"] == [{"Name": it, "Value": metrics[it]} for it in dimensions]
    assert alarm["Namespace"] == metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"]


def grow_old(deployed: Deployed, event_id: str) -> None:
    """Have an event be delivered an hour ago: the function's clock is the machine's."""
    deployed.table.dynamodb.update_item(
        TableName=deployed.table.name,
        Key={"event_id": {"S": event_id}},
        UpdateExpression="SET updated_at = :then",
        ExpressionAttributeValues={":then": {"N": str(time.time() - 3600)}},
    )


def told(event: Fields) -> Fields:
    """Return what tells an event from all others."""
    return {name: event.get(name) for name in ("event_name", "email", "order_id", "is_upsell")}


def test_the_ledger_keeps_facts_and_nothing_personal(deployed: Deployed) -> None:
    day = days_ago(14)
    [event, *_] = events_of_all_kinds(day)
    [event_id] = delivered(deployed, [event])

    item = eventually(lambda: deployed.table.entry(event_id), lambda it: it["state"] == "delivered")

    assert item["event_name"] == "purchase"
    assert item["event_time"] == str(day.start)
    assert event["email"] not in str(item)
    assert event["order_id"] not in str(item)
