"""What is published to SNS and EventBridge reaches Cometly once, or is parked with its reasons."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from local.stack.checkout import Checkout
from tests.stack.deployed import Deployed, Fields, Policy, eventually

ROOT = Checkout.here().root
LEAD = {"event_name": "lead_generated", "email": "ada@example.com"}
ORDER = {"event_name": "purchase", "email": "ada@example.com", "amount": 20, "order_id": "ORD-9"}

Publish = Callable[[Deployed, object], str]


def by_sns(deployed: Deployed, content: object) -> str:
    return deployed.topic.publish(content)


def by_raw_sns(deployed: Deployed, content: object) -> str:
    with deployed.topic.raw():
        return deployed.topic.publish(content)


def by_eventbridge(deployed: Deployed, content: object) -> str:
    return deployed.bus.put(content)


every_way = pytest.mark.parametrize(
    "publish",
    [by_sns, by_raw_sns, by_eventbridge],
    ids=["by SNS", "by SNS, raw", "by EventBridge"],
)


# --- Events that are valid --------------------------------------------------------------------


@every_way
def test_a_published_event_is_delivered_with_the_time_and_the_identity_of_its_source(
    deployed: Deployed, publish: Publish
) -> None:
    began = int(time.time())

    publish(deployed, {**LEAD, "email": " Ada@Example.com ", "phone": "(650)555-1212"})

    [event] = eventually(deployed.sandbox.events, bool)
    fields = event["fields"]
    assert fields["email"] == "ada@example.com"
    assert fields["phone"] == "16505551212"
    published = datetime.fromisoformat(fields["event_time"]).timestamp()
    assert began <= published <= time.time()
    deployed.queues.until_all_is_settled()
    assert deployed.table.entry(fields["idempotency_key"])["state"] == "delivered"


@every_way
def test_a_published_event_keeps_its_own_time_and_key(deployed: Deployed, publish: Publish) -> None:
    key = f"lead {publish.__name__}"

    publish(deployed, {**LEAD, "event_time": 1705314600, "idempotency_key": key})

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"]["event_time"] == "2024-01-15T10:30:00Z"
    assert event["fields"]["idempotency_key"] == key
    deployed.queues.until_all_is_settled()


@every_way
def test_without_key_and_order_each_publication_is_an_event_of_its_own(
    deployed: Deployed, publish: Publish
) -> None:
    publish(deployed, LEAD)
    publish(deployed, LEAD)

    events = eventually(deployed.sandbox.events, lambda events: len(events) == 2)
    assert len({event["fields"]["idempotency_key"] for event in events}) == 2
    assert [event["duplicate_of"] for event in events] == [None, None]
    deployed.queues.until_all_is_settled()


@pytest.mark.parametrize("identity", [{"idempotency_key": "k-1"}, {"order_id": "ORD-10"}], ids=repr)
def test_the_same_event_by_every_way_is_posted_to_cometly_once(
    deployed: Deployed, identity: Fields
) -> None:
    event = {"event_name": "purchase", "email": "ada@example.com", "amount": 20, **identity}

    for publish in (by_sns, by_raw_sns, by_eventbridge, by_sns, by_eventbridge):
        publish(deployed, event)
    assert deployed.api.post(event).status == 202

    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.requests()) == 1


def test_a_message_that_sns_delivers_twice_is_posted_to_cometly_once(deployed: Deployed) -> None:
    """SNS delivers at least once, and the message's id stays."""
    notification = json.dumps(
        {
            "Type": "Notification",
            "MessageId": "b3d1f7a0-6f1c-5a57-8d3f-aa5ab5a1a3a2",
            "TopicArn": deployed.topic.arn,
            "Message": json.dumps(LEAD),
            "Timestamp": "2024-01-15T10:30:00.000Z",
        }
    )

    deployed.queues.send(notification)
    [event] = eventually(deployed.sandbox.events, bool)
    for _ in range(3):
        deployed.queues.send(notification)

    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.requests()) == 1
    assert event["fields"]["event_time"] == "2024-01-15T10:30:00Z"


def test_what_the_rule_does_not_name_is_left_alone(deployed: Deployed) -> None:
    deployed.bus.put(LEAD, detail_type="Something Else")
    deployed.bus.put({**LEAD, "idempotency_key": "the-next"}, source="another.source")

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"]["idempotency_key"] == "the-next"
    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.requests()) == 1


UNICODE = {
    "an emoji of several parts": "👩🏽‍🚀 🏳️‍🌈",
    "combining marks": "e\N{COMBINING ACUTE ACCENT}o\N{COMBINING DIAERESIS}",
    "other scripts": "Ἀκαδημία 數學 الخوارزمی",
    "quotes and backslashes": 'the "Countess" \\ \n of Lovelace',
    "beyond the basic plane": "\N{MATHEMATICAL BOLD CAPITAL A}",
}


@every_way
@pytest.mark.parametrize("name", UNICODE.values(), ids=UNICODE.keys())
def test_a_name_arrives_as_it_was_written(deployed: Deployed, publish: Publish, name: str) -> None:
    publish(deployed, {**LEAD, "full_name": name})

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"]["full_name"] == name
    deployed.queues.until_all_is_settled()


@every_way
def test_an_event_of_almost_256_kib_is_delivered_whole(
    deployed: Deployed, publish: Publish
) -> None:
    url = "https://shop.example.com/?" + "x" * (255 * 1024)

    publish(deployed, {**LEAD, "url": url})

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"]["url"] == url
    deployed.queues.until_all_is_settled()


def test_what_is_published_while_cometly_is_away_arrives_once_each(deployed: Deployed) -> None:
    emails = [f"visitor-{number}@example.com" for number in range(30)]
    deployed.sandbox.stop()

    for number, email in enumerate(emails):
        publish = (by_sns, by_raw_sns, by_eventbridge)[number % 3]
        publish(deployed, {**LEAD, "email": email})
        publish(deployed, {**ORDER, "email": email})
    eventually(deployed.table.pause, bool)
    deployed.sandbox.start()

    deployed.queues.until_all_is_settled(within=90)
    assert Counter(it["email"] for it in deployed.sandbox.requests()) == Counter(emails * 2)


# --- Events that are not ----------------------------------------------------------------------

INVALID = {"event_name": "purchased", "amount": "a lot", "ip": "203.0.113.9"}


@every_way
def test_an_invalid_event_is_parked_at_once_with_every_reason(
    deployed: Deployed, publish: Publish
) -> None:
    before = deployed.metrics()

    publish(deployed, INVALID)

    [parked] = deployed.queues.take_dead_letters()
    deployed.queues.until_all_is_settled()
    assert parked.attributes["reason"] == "invalid"
    for field in ("event_name", "amount", "fingerprint"):
        assert field in parked.attributes["message"]
    assert "a lot" in parked.body
    assert deployed.sandbox.requests() == []
    counted = eventually(lambda: deployed.metrics() - before, bool)
    assert counted == {"Parked": 1}
    [line] = [
        line
        for line in deployed.logged("delivery.parked")
        if line["event_id"] == parked.attributes["event_id"]
    ]
    assert line["receives"] == 1


@pytest.mark.parametrize(
    "text",
    ["hello", '{"event_name": "purchase", "email": ada}', "[]", '{"a": 1, "a": 2}', "{}"],
)
def test_a_message_that_is_no_event_is_parked_whole(deployed: Deployed, text: str) -> None:
    deployed.topic.publish(text)

    [parked] = deployed.queues.take_dead_letters()
    deployed.queues.until_all_is_settled()
    assert json.loads(parked.body)["Message"] == text
    assert parked.attributes["reason"] == "invalid"


def test_a_parked_publication_that_is_sent_again_is_judged_again(deployed: Deployed) -> None:
    deployed.topic.publish(INVALID)
    [parked] = deployed.queues.take_dead_letters()

    deployed.queues.send(parked.body)

    [again] = deployed.queues.take_dead_letters()
    deployed.queues.until_all_is_settled()
    assert again.body == parked.body


# --- Who may put events on the queue ----------------------------------------------------------


def statements(policy: Policy) -> set[tuple[str, str, str]]:
    """Say who may do what, for whom, and hold that there is nothing else to it."""
    found = set()
    for statement in policy["Statement"]:
        [(operator, condition)] = statement["Condition"].items()
        [(key, source)] = condition.items()
        assert (statement["Effect"], operator, key) == ("Allow", "ArnEquals", "aws:SourceArn")
        [service] = statement["Principal"].values()
        actions = [it for it in statement["Action"] if not it.endswith("Batch")]
        found |= {(service, action, source) for action in actions}
    return found


def test_the_queues_take_from_the_topic_and_the_rule_and_from_nobody_else(
    deployed: Deployed,
) -> None:
    queues = deployed.queues
    [rule] = deployed.bus.rule_arns()

    for url in (queues.events_url, queues.dead_letters_url):
        assert statements(queues.policy(url)) == {
            ("sns.amazonaws.com", "sqs:SendMessage", deployed.topic.arn),
            ("events.amazonaws.com", "sqs:SendMessage", rule),
        }


def test_another_topic_is_refused_by_the_queue(deployed: Deployed) -> None:
    sns = deployed.topic.sns
    stranger = sns.create_topic(Name="stranger")["TopicArn"]
    queue = deployed.queues.arn(deployed.queues.events_url)
    sns.subscribe(TopicArn=stranger, Protocol="sqs", Endpoint=queue)

    sns.publish(TopicArn=stranger, Message=json.dumps({**LEAD, "email": "eve@example.com"}))
    deployed.topic.publish(LEAD)

    sns.delete_topic(TopicArn=stranger)
    eventually(deployed.sandbox.events, bool)
    deployed.queues.until_all_is_settled()
    assert [it["email"] for it in deployed.sandbox.requests()] == ["ada@example.com"]


# --- From other systems -----------------------------------------------------------------------


@contextmanager
def rule_of(deployed: Deployed, name: str) -> Iterator[None]:
    """Deploy a rule of docs/transformers beside the stack for a while."""
    body = Path(ROOT, "docs", "transformers", f"{name}.yaml").read_text("utf-8")
    queues, stacks = deployed.queues, deployed.cloudformation
    arns = {
        "EventBusName": deployed.bus.name,
        "EventQueueArn": queues.arn(queues.events_url),
        "DeadLetterQueueArn": queues.arn(queues.dead_letters_url),
    }
    stacks.create_stack(
        StackName=name,
        TemplateBody=body.replace("aws.partner", "partner"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in arns.items()],
    )
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    try:
        yield
    finally:
        stacks.delete_stack(StackName=name)
        stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def sample(name: str) -> Fields:
    """Read an event of a partner. Only partners may put events whose source starts with aws."""
    text = Path(ROOT, "events", "partners", f"{name}.json").read_text("utf-8")
    content: Fields = json.loads(text.replace("aws.partner", "partner"))
    return content


def put(deployed: Deployed, event: Fields) -> str:
    return deployed.bus.put(
        event["detail"], detail_type=event["detail-type"], source=event["source"]
    )


def test_a_paid_order_of_shopify_becomes_a_purchase(deployed: Deployed) -> None:
    order = sample("shopify-order")
    unpaid, nameless = sample("shopify-order"), sample("shopify-order")
    unpaid["detail"]["metadata"]["X-Shopify-Topic"] = "orders/create"
    nameless["detail"]["payload"]["email"] = None

    with rule_of(deployed, "shopify-order"):
        for each in (order, unpaid, nameless):
            put(deployed, each)
        [event] = eventually(deployed.sandbox.events, bool)
        put(deployed, order)
        deployed.queues.until_all_is_settled()

    assert len(deployed.sandbox.requests()) == 1
    assert event["fields"] == {
        "event_name": "purchase",
        "email": "émilie.du-chatelet@example.com",
        "order_id": "820982911946154508",
        "order_name": "#1042",
        "amount": 403.0,
        "event_time": "2024-01-15T10:30:00Z",
    }


def test_a_payment_of_stripe_becomes_a_purchase_in_whole_units(deployed: Deployed) -> None:
    payment, unpaid = sample("stripe-payment"), sample("stripe-payment")
    unpaid["detail"]["data"]["object"]["payment_status"] = "unpaid"

    with rule_of(deployed, "stripe-payment"):
        for each in (payment, unpaid):
            put(deployed, each)
        [event] = eventually(deployed.sandbox.events, bool)
        put(deployed, payment)
        deployed.queues.until_all_is_settled()

    assert len(deployed.sandbox.requests()) == 1
    assert event["fields"] == {
        "event_name": "purchase",
        "email": "sophie.germain@example.com",
        "order_id": "cs_example_a1b2",
        "amount": 49.9,
        "event_time": "2024-01-15T10:30:00Z",
    }


def test_a_webhook_becomes_a_lead_with_the_identity_of_its_event(deployed: Deployed) -> None:
    with rule_of(deployed, "webhook"):
        first = put(deployed, sample("webhook"))
        second = put(deployed, sample("webhook"))
        events = eventually(deployed.sandbox.events, lambda events: len(events) == 2)
        deployed.queues.until_all_is_settled()

    assert {event["fields"]["idempotency_key"] for event in events} == {first, second}
    assert {event["fields"]["event_name"] for event in events} == {"lead_generated"}
    assert {event["fields"]["email"] for event in events} == {"hypatia@example.com"}
    for event in events:
        assert datetime.fromisoformat(event["fields"]["event_time"]).year >= 2024
