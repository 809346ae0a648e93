"""The templates of docs/transformers, deployed: what their rules make of the events of partners.

Which event each rule takes is tried without a stack too, for more of them (tests/unit).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from local.stack.checkout import Checkout
from tests.partners import LEFT_ALONE, SHOPIFY, STRIPE, WEBHOOK, payment, sample
from tests.stack.deployed import Deployed, Fields, eventually, statements


@contextmanager
def rules_of(deployed: Deployed, name: str) -> Iterator[None]:
    """Deploy a template of docs/transformers, whose rules the queues admit, for a while."""
    body = Path(Checkout.here().root, "docs", "transformers", f"{name}.yaml").read_text("utf-8")
    queues = deployed.queues
    parameters = {
        "EventBusName": deployed.bus.name,
        "EventQueueArn": queues.arn(queues.events_url),
        "DeadLetterQueueArn": queues.arn(queues.dead_letters_url),
    }
    with deployed.beside(name, as_no_partner(body), parameters) as outputs:
        [arns] = outputs.values()
        for url in (queues.events_url, queues.dead_letters_url):
            admitted = [source for _, _, source in statements(queues.policy(url))]
            for arn in arns.split(","):
                assert any(fnmatchcase(arn, source) for source in admitted)
        yield


def as_no_partner(text: str) -> str:
    """Only partners may put events whose source starts with aws."""
    return text.replace("aws.partner", "partner")


def put(deployed: Deployed, event: Fields) -> str:
    source = as_no_partner(event["source"])
    return deployed.bus.put(event["detail"], detail_type=event["detail-type"], source=source)


def made(deployed: Deployed, name: str, *events: Fields) -> tuple[list[str], list[Fields]]:
    """Put each event on the bus twice, and what the rules leave alone; return ids and what came."""
    left_alone = [sample(it, changes) for it, changes in LEFT_ALONE.values() if it == name]
    with rules_of(deployed, name):
        ids = [put(deployed, event) for event in (*left_alone, *events, *events)]
        eventually(deployed.sandbox.events, lambda came: len(came) >= len(events))
        deployed.queues.until_all_is_settled()
    assert deployed.queues.parked() == 0
    return ids[len(left_alone) :], [event["fields"] for event in deployed.sandbox.events()]


def test_a_paid_order_of_shopify_becomes_one_purchase(deployed: Deployed) -> None:
    _, came = made(deployed, SHOPIFY, sample(SHOPIFY))

    assert len(deployed.sandbox.requests()) == 1
    assert came == [
        {
            "event_name": "purchase",
            "email": "émilie.du-chatelet@example.com",
            "order_id": "820982911946154508",
            "order_name": "#1042",
            "amount": 403.0,
            "currency": "EUR",
            "event_time": "2024-01-15T10:30:00Z",
        }
    ]


def test_a_payment_of_stripe_becomes_one_purchase_in_whole_units(deployed: Deployed) -> None:
    booked = {"jpy": 5000, "krw": 5000, "kwd": 18.6, "usd": 49.9, "eur": 0.5, "ugx": 5, "idr": 6e9}
    sent = {"jpy": 5000, "krw": 5000, "kwd": 18600, "usd": 4990, "eur": 50, "ugx": 500, "idr": 6e11}
    payments = [payment(int(amount), it, id=f"cs_{it}") for it, amount in sent.items()]

    _, came = made(deployed, STRIPE, *payments)

    assert len(deployed.sandbox.requests()) == len(payments)
    assert {fields["order_id"]: fields for fields in came} == {
        f"cs_{currency}": {
            "event_name": "purchase",
            "email": "sophie.germain@example.com",
            "order_id": f"cs_{currency}",
            "amount": amount,
            "currency": currency,
            "event_time": "2024-01-15T10:30:00Z",
        }
        for currency, amount in booked.items()
    }


def test_each_webhook_becomes_a_lead_with_the_identity_of_its_event(deployed: Deployed) -> None:
    ids, came = made(deployed, WEBHOOK, sample(WEBHOOK))

    assert {fields["idempotency_key"] for fields in came} == set(ids)
    assert {fields["event_name"] for fields in came} == {"lead_generated"}
    assert {fields["email"] for fields in came} == {"hypatia@example.com"}
    for fields in came:
        assert datetime.fromisoformat(fields["event_time"]).year >= 2024
