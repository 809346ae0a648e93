"""Where is it? The API tells of each event what the ledger knows, and of nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime

import boto3
import pytest
from botocore.exceptions import ClientError

from local.stack.environment import REGION
from tests.stack.deployed import EVENTS, Answer, Deployed, Fields, eventually

LOOKUP = f"{EVENTS}/lookup"
PURCHASE = {
    "event_name": "purchase",
    "email": "ada@example.com",
    "order_id": "1042",
    "amount": 99.9,
    "url": "https://shop.example.com/thanks",
}
NAMED = {"event_name": "Purchase", "email": "Ada@Example.com", "order_id": 1042}


def found(deployed: Deployed, event_id: str) -> Fields:
    answer = deployed.api.request("GET", f"{EVENTS}/{event_id}")
    return {"status": answer.status, **answer.body}


def looked_up(deployed: Deployed, content: object) -> Answer:
    return deployed.api.post(content, path=LOOKUP)


def test_an_event_is_followed_from_waiting_to_delivered_and_its_correction_is_a_duplicate(
    deployed: Deployed,
) -> None:
    deployed.sandbox.fail(
        kind="status", status=500, times="always", match={"email": "ada@example.com"}
    )
    event_id = deployed.api.post(PURCHASE).body["event_id"]

    waiting = eventually(
        lambda: found(deployed, event_id), lambda seen: seen.get("state") == "waiting"
    )
    deployed.sandbox.recover()
    delivered = eventually(
        lambda: found(deployed, event_id), lambda seen: seen.get("state") == "delivered"
    )
    [booked] = deployed.sandbox.events()

    assert waiting["last_answer"] == "HTTP 500"
    assert 1 <= waiting["attempts"] < delivered["attempts"] == len(deployed.sandbox.requests())
    times = [datetime.fromisoformat(waiting[name]) for name in ("accepted_at", "next_try_at")]
    assert times[0] < times[1]
    assert delivered["last_answer"] == "HTTP 202"
    assert delivered["next_try_at"] is None
    assert delivered["request_id"] == booked["request_id"]
    for content in (PURCHASE, NAMED):
        assert looked_up(deployed, content).body == {
            name: it for name, it in delivered.items() if name != "status"
        }
    corrected = {**PURCHASE, "amount": 89.9}
    assert deployed.api.post(corrected).body["event_id"] == event_id
    deployed.queues.until_all_is_settled()
    duplicate = looked_up(deployed, corrected).body
    assert (duplicate["state"], duplicate["duplicate_of"]) == ("duplicate", event_id)
    assert len(deployed.sandbox.events()) == 1


def test_a_parked_event_is_found_by_its_key(deployed: Deployed) -> None:
    deployed.sandbox.fail(kind="status", status=422, times="always", match={"order_id": "1043"})
    key = "6b6f0b7e-8b1d-4a53-9d6e-5a1f2e7c9b40"
    deployed.api.post({**PURCHASE, "order_id": "1043", "idempotency_key": key})
    deployed.queues.take_dead_letters()
    deployed.queues.until_all_is_settled()

    answer = looked_up(deployed, {"idempotency_key": key})

    assert answer.status == 200
    assert (answer.body["state"], answer.body["last_answer"]) == ("parked", "HTTP 422")
    assert answer.body["attempts"] is None


def test_what_the_ledger_does_not_know_is_answered_404_in_words(deployed: Deployed) -> None:
    unknown = found(deployed, "evt_" + "0" * 32)
    never_sent = looked_up(deployed, {**NAMED, "order_id": "never sent"})

    assert (unknown["status"], never_sent.status) == (404, 404)
    assert "queue" in unknown["message"]
    assert found(deployed, "gate")["status"] == 404
    assert looked_up(deployed, {"event_name": "contact", "email": "a@example.com"}).status == 422


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_lookup_needs_the_key(deployed: Deployed, key: str | None) -> None:
    api = deployed.api.with_key(key)

    assert api.request("GET", f"{EVENTS}/evt_{'0' * 32}").status == 401
    assert api.post(NAMED, path=LOOKUP).status == 401


@contextlib.contextmanager
def as_ingest(deployed: Deployed) -> Iterator[boto3.session.Session]:
    """Act with ingest's own policy, as a user who has nothing but that."""
    iam = deployed.functions.iam
    [(name, policy)] = deployed.functions.policies("ingest").items()
    iam.create_user(UserName="ingest")
    iam.put_user_policy(UserName="ingest", PolicyName=name, PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="ingest")["AccessKey"]
    try:
        yield boto3.session.Session(
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            region_name=REGION,
        )
    finally:
        iam.delete_access_key(UserName="ingest", AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName="ingest", PolicyName=name)
        iam.delete_user(UserName="ingest")


def test_ingest_may_read_events_and_no_other_item(deployed: Deployed) -> None:
    event_id = deployed.api.post(PURCHASE).body["event_id"]
    deployed.queues.until_all_is_settled()
    assert deployed.table.entry("gate")

    with as_ingest(deployed) as session:
        client = session.client("dynamodb", endpoint_url=deployed.stack.plan.aws.endpoint_url)
        table = deployed.table.name
        item = client.get_item(TableName=table, Key={"event_id": {"S": event_id}})["Item"]
        with pytest.raises(ClientError, match="AccessDenied"):
            client.get_item(TableName=table, Key={"event_id": {"S": "gate"}})
        with pytest.raises(ClientError, match="AccessDenied"):
            client.scan(TableName=table)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_item(TableName=table, Key={"event_id": {"S": event_id}})

    assert item["state"] == {"S": "delivered"}
