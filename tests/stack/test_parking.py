"""What cannot be delivered is parked whole, with its reason, and can be sent again."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.stack.deployed import Deployed, eventually

LEAD = {"event_name": "lead_generated", "email": "grace@example.com", "event_time": "1705314600"}


def test_an_event_that_cometly_refuses_for_good_is_parked_at_once_and_can_be_sent_again(
    deployed: Deployed,
) -> None:
    deployed.sandbox.fail(
        kind="status", status=422, times="always", match={"email": "grace@example.com"}
    )

    event_id = deployed.api.post(LEAD).body["event_id"]

    [parked] = deployed.queues.take_dead_letters()
    [refused] = deployed.sandbox.requests()
    accepted_at, parked_at = (
        datetime.fromisoformat(parked.attributes[name]) for name in ("accepted_at", "parked_at")
    )
    assert accepted_at < parked_at
    assert parked.attributes == {
        "event_id": event_id,
        "reason": "HTTP 422",
        "status": "422",
        "message": "The sandbox was told to answer 422.",
        "request_id": refused["request_id"],
        "attempts": "1",
        "queue": "events",
        "accepted_at": accepted_at.isoformat(),
        "parked_at": parked_at.isoformat(),
    }
    deployed.queues.until_all_is_settled()
    assert deployed.table.entry(event_id)["state"] == "parked"

    deployed.sandbox.recover()
    deployed.queues.send(parked.body)

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"] == {
        **LEAD,
        "event_time": "2024-01-15T10:30:00Z",
        "idempotency_key": event_id,
    }
    deployed.queues.until_all_is_settled()
    assert deployed.table.entry(event_id)["state"] == "delivered"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"event_name": "purchase", "email": grace@example.com}', ["not JSON"]),
        ('{"event_name": "purchased", "amount": "a lot"}', ["event_name", "amount"]),
    ],
    ids=["no JSON", "an invalid event, with every fault"],
)
def test_what_is_no_event_on_the_queue_is_parked_as_it_came(
    deployed: Deployed, body: str, words: list[str]
) -> None:
    deployed.queues.send(body)

    [parked] = deployed.queues.take_dead_letters()
    assert parked.body == body
    assert parked.attributes["reason"] == "invalid"
    assert all(word in parked.attributes["message"] for word in words)
    deployed.queues.until_all_is_settled()
    assert deployed.table.entry(parked.attributes["event_id"])["state"] == "parked"
    assert deployed.sandbox.requests() == []


def test_an_event_sent_straight_to_the_queue_is_delivered(deployed: Deployed) -> None:
    deployed.queues.send(json.dumps({**LEAD, "email": " Grace@Example.com "}))

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"]["email"] == "grace@example.com"
    assert event["fields"]["event_time"] == "2024-01-15T10:30:00Z"
    deployed.queues.until_all_is_settled()
    entry = deployed.table.entry(event["fields"]["idempotency_key"])
    assert entry["state"] == "delivered"
