"""What the page is told of an event: ledger, log and dead letters of a stack that moto plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cometly_forwarder.event.envelope import Source, read_envelope
from local import story
from local.sandbox.errors import ForwarderAway
from local.story import LocalForwarder, ids_of, outcomes, tail

PURCHASE = {"event_name": "purchase", "email": "ada@example.com", "order_id": "1042"}


class Stack:
    """A table, three queues, a log, and the file that names them."""

    def __init__(self, folder: Path) -> None:
        session = boto3.session.Session("key", "secret", region_name="us-east-1")
        self.dynamodb, self.sqs = session.client("dynamodb"), session.client("sqs")
        self.log, self.file = folder / "functions.log", folder / "stack.json"
        self.dynamodb.create_table(
            TableName="events",
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.queues = {
            name: self.sqs.create_queue(QueueName=name)["QueueUrl"]
            for name in ("event", "page", "dead_letter")
        }
        names = {f"{name}_queue_url": url for name, url in self.queues.items()}
        names |= {"table_name": "events", "log": str(self.log), "region": "us-east-1"}
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        self.file.write_text(json.dumps({**names, **keys, "aws_endpoint_url": None}), "utf-8")
        self.forwarder = LocalForwarder(self.file)

    def put(self, event_id: str, **attributes: Any) -> None:
        self.dynamodb.put_item(TableName="events", Item={"event_id": {"S": event_id}, **attributes})

    def write(self, *lines: object) -> None:
        texts = [
            it if isinstance(it, str) else json.dumps(it, separators=(",", ":")) for it in lines
        ]
        self.log.write_text("".join(f"{text}\n" for text in texts), "utf-8")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    story._connected.cache_clear()
    with mock_aws():
        yield Stack(tmp_path)
    story._connected.cache_clear()


def line(name: str, event_id: str, **keys: object) -> dict[str, object]:
    at = "2026-01-31 12:00:00,123+0000"
    return {"level": "INFO", "message": name, "timestamp": at, "event_id": event_id, **keys}


def test_a_story_has_the_ledger_and_the_lines_of_its_event_alone(stack: Stack) -> None:
    stack.put("evt_a", state={"S": "delivered"}, attempts={"N": "2"}, owner={"S": "hidden"})
    stack.write(
        line("ingest.accepted", "evt_a"),
        line("delivery.retried", "evt_a", request_id="req_1", reason="HTTP 503"),
        line("delivery.delivered", "evt_b", request_id="req_2"),
        line("delivery.delivered", "evt_a", request_id="req_3"),
        "START RequestId: 1",
        '{"event_id":"evt_a" cut off',
        '"evt_a"',
    )

    told = stack.forwarder.story("req_1", {})

    assert told["event_id"] == "evt_a"
    assert told["ledger"] == {"state": "delivered", "attempts": 2}
    assert [it["name"] for it in told["lines"]] == [
        *("ingest.accepted", "delivery.retried", "delivery.delivered")
    ]
    assert told["lines"][1]["keys"] == {"request_id": "req_1", "reason": "HTTP 503"}


def test_a_story_has_what_became_of_its_event_in_an_array(stack: Stack) -> None:
    joint = {"outcomes": {"ingest.accepted": 2}, "event_ids": ["evt_b", "evt_a"]}
    stack.put("evt_a", state={"S": "delivered"})
    stack.write(
        {**line("ingest.array", "evt_x"), **joint, "event_id": None},
        line("delivery.delivered", "evt_a", request_id="req_3"),
    )

    told = stack.forwarder.story("req_3", {})

    assert [it["name"] for it in told["lines"]] == ["ingest.accepted", "delivery.delivered"]
    assert told["lines"][0]["keys"] == {"place": 1, "warnings": 0, "faults": []}


def test_a_story_has_what_is_in_a_line_with_other_events_or_metrics(stack: Stack) -> None:
    metrics = [{"Metrics": [{"Name": "Accepted", "Unit": "Count"}]}]
    described = {"Timestamp": 1769860800123, "CloudWatchMetrics": metrics}
    stack.put("evt_a", state={"S": "delivered"})
    stack.write(
        {"_aws": described, "message": "ingest.accepted", "event_id": "evt_a", "Accepted": [1.0]},
        {
            "message": "delivery.delivered",
            "event_ids": ["evt_b", "evt_a"],
            "request_ids": ["req_2", "req_3"],
            "latencies": [5000, 250],
            "attempts": {"1": 2},
        },
    )

    told = stack.forwarder.story("req_3", {})

    accepted, delivered = told["lines"]
    assert accepted["at"] == "2026-01-31T12:00:00.123+00:00"
    assert accepted["keys"] == {"warnings": 0, "faults": []}
    assert delivered["keys"] == {
        "attempts": 2,
        "receives": 1,
        "reason": "HTTP 202",
        "request_id": "req_3",
        "latency": 0.25,
    }


def test_an_event_whose_answer_never_came_is_found_by_its_fields(stack: Stack) -> None:
    [event_id] = ids_of(PURCHASE)
    stack.put(event_id, state={"S": "waiting"}, retry_at={"N": "5.5"})

    told = stack.forwarder.story("req_unheard", PURCHASE)

    assert told == {
        "event_id": event_id,
        "ledger": {"state": "waiting", "retry_at": 5.5},
        "lines": [],
    }


def test_what_the_forwarder_never_had_has_no_story(stack: Stack) -> None:
    assert stack.forwarder.story("req_1", PURCHASE)["event_id"] is None


@pytest.mark.parametrize(
    "event",
    [
        PURCHASE,
        {**PURCHASE, "idempotency_key": "mine"},
        {"event_name": "purchase", "email": "ada@example.com"},
        {**PURCHASE, "is_upsell": True, "amount": 5},
    ],
    ids=["order", "key", "neither", "upsell"],
)
def test_the_ids_of_fields_are_those_that_ingest_gave(event: dict[str, Any]) -> None:
    source = Source("api", "request-1", datetime(2026, 1, 31, tzinfo=UTC))
    sealed = read_envelope(json.dumps(event), source)

    assert sealed.event_id in ids_of(sealed.event)


def test_the_state_counts_both_queues_and_names_the_pause(stack: Stack) -> None:
    pause = {"cause": "blocked", "until": 60.0, "step": 60.0, "probe_until": 0.0}
    stack.put("gate", state={"S": json.dumps({"pause": pause})})
    for name in ("event", "page", "page", "dead_letter"):
        stack.sqs.send_message(QueueUrl=stack.queues[name], MessageBody="{}")
    stack.sqs.receive_message(QueueUrl=stack.queues["page"])

    assert stack.forwarder.state() == {
        "waiting": 2,
        "in_flight": 1,
        "parked": 1,
        "pause": pause,
        "pages_pause": None,
    }


@pytest.mark.parametrize("item", [{}, {"state": {"S": "no JSON"}}], ids=["none", "unreadable"])
def test_a_gate_that_cannot_be_read_pauses_nothing(stack: Stack, item: dict[str, Any]) -> None:
    stack.put("gate", **item)

    assert stack.forwarder.state()["pause"] is None


def test_parked_events_are_looked_at_and_stay(stack: Stack) -> None:
    url = stack.queues["dead_letter"]
    stack.sqs.send_message(
        QueueUrl=url,
        MessageBody=json.dumps({"event": PURCHASE}),
        MessageAttributes={"reason": {"DataType": "String", "StringValue": "HTTP 422"}},
    )
    for body in ("no JSON", "[1]", json.dumps(PURCHASE), '{"event": 1}'):
        stack.sqs.send_message(QueueUrl=url, MessageBody=body)

    parked, again = stack.forwarder.parked(), stack.forwarder.parked()

    assert len(parked) == len(again) == 5
    [sealed] = [it for it in parked if "reason" in it]
    assert sealed | PURCHASE == sealed
    assert sealed["reason"] == "HTTP 422"
    assert [it["event_name"] for it in parked].count("purchase") == 2


def test_without_a_stack_the_forwarder_is_away(tmp_path: Path) -> None:
    with pytest.raises(ForwarderAway, match="not ready"):
        LocalForwarder(tmp_path / "stack.json").state()


def test_what_aws_refuses_is_no_crash(stack: Stack) -> None:
    stack.dynamodb.delete_table(TableName="events")

    with pytest.raises(ForwarderAway, match=r"did not answer: \w+Not\w+|ClientError"):
        stack.forwarder.story("req_1", PURCHASE)


def test_only_the_end_of_a_long_log_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "functions.log"
    written = [json.dumps(line("x", f"evt_{n}"), separators=(",", ":")) for n in range(9)]
    log.write_text("\n".join(written), "utf-8")
    monkeypatch.setattr(story, "LOG_BYTES", 2 * len(written[0]) + 20)

    assert len(tail(log)) == 3
    assert list(outcomes(tail(log), "evt_6")) == []
    assert [it["event_id"] for it in outcomes(tail(log), "evt_7")] == ["evt_7"]
    assert tail(tmp_path / "none.log") == []
