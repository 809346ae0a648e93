"""The same event, however often it is posted, is posted to Cometly once."""

from __future__ import annotations

import pytest

from tests.stack.deployed import DROP_IN, Deployed, Fields


@pytest.mark.parametrize(
    "identity",
    [{"idempotency_key": "checkout-4711"}, {"order_id": "ORD-4711"}],
    ids=["by its key", "by its order"],
)
def test_the_same_event_five_times_at_once_and_again_later_is_posted_to_cometly_once(
    deployed: Deployed, identity: Fields
) -> None:
    purchase = {"event_name": "purchase", "email": "ada@example.com", "amount": 20} | identity

    at_once = deployed.api.post_at_once(purchase, times=5)
    deployed.queues.until_all_is_settled()
    later = deployed.api.post(purchase)
    deployed.queues.until_all_is_settled()

    answers = [*at_once, later]
    assert [answer.status for answer in answers] == [202] * 6
    assert len({answer.body["event_id"] for answer in answers}) == 1
    [request] = deployed.sandbox.requests()
    assert request["status"] == 202
    assert deployed.table.entry(later.body["event_id"])["state"] == "delivered"


def test_both_paths_and_the_header_name_the_same_event(deployed: Deployed) -> None:
    event = {"event_name": "purchase", "email": "ada@example.com"}

    in_body = deployed.api.post({**event, "idempotency_key": "basket-1"})
    in_header = deployed.api.post(event, Idempotency_Key="basket-1")
    as_to_cometly = deployed.api.post({**event, "idempotency_key": "basket-1"}, path=DROP_IN)

    assert in_body.body["event_id"] == in_header.body["event_id"]
    assert as_to_cometly.headers["request-id"] == in_body.body["event_id"]
    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.requests()) == 1
