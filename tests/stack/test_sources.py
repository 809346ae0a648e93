"""What is published to SNS and EventBridge reaches Cometly once, or is parked with its reasons.

The emulator holds SNS to the queue's policy, and not EventBridge: what a rule targets gets it. What
the policy says of rules is read, then, and not tried, here as anywhere on the local stack.
"""

from __future__ import annotations

import json
import time
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest

from cometly_forwarder.event.envelope import Source, read_envelope, seal
from cometly_forwarder.event.reading import DEFAULT_RULES, read_event
from local.stack.environment import REGION
from tests.partners import WEBHOOK, sample
from tests.stack.deployed import Deployed, Fields, Queues, eventually, statements
from tests.unit import cloudformation

LEAD = {"event_name": "lead_generated", "email": "ada@example.com"}
ORDER = {"event_name": "purchase", "email": "ada@example.com", "amount": 20, "order_id": "ORD-9"}
INVALID = {"event_name": "purchased", "amount": "a lot", "ip": "203.0.113.9"}

Publish = Callable[[Deployed, object], str]


def by_sns(deployed: Deployed, content: object) -> str:
    return deployed.topic.publish(content)


def by_raw_sns(deployed: Deployed, content: object) -> str:
    with deployed.topic.raw():
        return deployed.topic.publish(content)


def by_eventbridge(deployed: Deployed, content: object) -> str:
    return deployed.bus.put(content)


EVERY_WAY: tuple[Publish, ...] = (by_sns, by_raw_sns, by_eventbridge)
every_way = pytest.mark.parametrize(
    "publish", EVERY_WAY, ids=["by SNS", "by SNS, raw", "by EventBridge"]
)


# --- Events that are valid --------------------------------------------------------------------


def event_id_of(source: str, id_: str) -> str:
    """Say what an event without key and order is called, which this source named so."""
    now = datetime.now(UTC)
    event, _ = read_event(LEAD, DEFAULT_RULES, now)
    return seal(event, Source(source, id_, now)).event_id


@every_way
def test_without_key_and_order_each_publication_is_an_event_with_its_sources_time_and_identity(
    deployed: Deployed, publish: Publish
) -> None:
    began = int(time.time())
    lead = {**LEAD, "email": " Ada@Example.com ", "phone": "(650)555-1212"}

    ids = [publish(deployed, lead) for _ in range(2)]

    events = eventually(deployed.sandbox.events, lambda events: len(events) == 2)
    deployed.queues.until_all_is_settled()
    keys = {event["fields"]["idempotency_key"] for event in events}
    assert len(keys) == 2
    for event in events:
        fields = event["fields"]
        assert event["duplicate_of"] is None
        assert (fields["email"], fields["phone"]) == ("ada@example.com", "16505551212")
        published = datetime.fromisoformat(fields["event_time"]).timestamp()
        assert began <= published <= time.time()
        assert deployed.table.entry(fields["idempotency_key"])["state"] == "delivered"
    # Of a raw message nothing but the queue's own id comes along, which nobody is told.
    if publish is not by_raw_sns:
        source = "sns" if publish is by_sns else "eventbridge"
        assert keys == {event_id_of(source, id_) for id_ in ids}


@every_way
def test_what_its_publisher_cannot_be_told_is_logged_once_by_field_name(
    deployed: Deployed, publish: Publish
) -> None:
    before = deployed.metrics()
    odd = {"event": "Lead", "email": "ada@example.com", "emial": "x", "event_id": str(uuid.uuid4())}

    for _ in range(2):
        publish(deployed, odd)

    counted = eventually(lambda: deployed.metrics() - before, lambda it: it["Duplicate"] == 1)
    assert counted["Warned"] == 1
    [event] = deployed.sandbox.events()
    assert event["fields"]["event_name"] == "lead_generated"
    line = deployed.logged("delivery.warned")[-1]
    assert line["fields"] == ["(other)", "event_name"]
    assert deployed.table.entry(line["event_id"])["state"] == "delivered"


@pytest.mark.parametrize("identity", [{"idempotency_key": "k-1"}, {"order_id": "ORD-10"}], ids=repr)
def test_the_same_event_by_every_way_is_posted_to_cometly_once(
    deployed: Deployed, identity: Fields
) -> None:
    event = {"event_name": "purchase", "email": "ada@example.com", "amount": 20, **identity}

    for publish in (*EVERY_WAY, by_sns, by_eventbridge):
        publish(deployed, event)
    assert deployed.api.post(event).status == 202

    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.requests()) == 1


WRAPPED: dict[str, Fields] = {
    "SNS": {
        "Type": "Notification",
        "MessageId": "b3d1f7a0-6f1c-5a57-8d3f-aa5ab5a1a3a2",
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:shop",
        "Message": json.dumps(LEAD),
        "Timestamp": "2024-01-15T10:30:05.000Z",
    },
    "EventBridge": sample(WEBHOOK, {"detail": LEAD}),
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED.keys())
def test_what_its_source_delivers_twice_is_posted_to_cometly_once(
    deployed: Deployed, wrapped: Fields
) -> None:
    """SNS and EventBridge deliver at least once, and the id of what they took stays."""
    deployed.queues.send(json.dumps(wrapped))
    [event] = eventually(deployed.sandbox.events, bool)
    for _ in range(3):
        deployed.queues.send(json.dumps(wrapped))

    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.requests()) == 1
    assert event["fields"]["event_time"] == "2024-01-15T10:30:05Z"


def test_what_the_rule_does_not_name_is_left_alone(deployed: Deployed) -> None:
    deployed.bus.put(LEAD, detail_type="Something Else")
    deployed.bus.put({**LEAD, "idempotency_key": "the-next"}, source="another.source")

    [event] = eventually(deployed.sandbox.events, bool)
    deployed.queues.until_all_is_settled()
    assert event["fields"]["idempotency_key"] == "the-next"


NAME = (
    "👩🏽‍🚀 🏳️‍🌈 e\N{COMBINING ACUTE ACCENT}o\N{COMBINING DIAERESIS} Ἀκαδημία 數學 الخوارزمی "
    'the "Countess" \\ \n of Lovelace \N{MATHEMATICAL BOLD CAPITAL A}'
)
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html; an entry's source, detail-type and
# detail together: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html
MOST_BYTES = 262_144


def filled(event: Fields, publish: Publish) -> Fields:
    """Make the largest event that can be published: its URL takes what room is left."""
    beside = len("shop" + "ConversionEvent") if publish is by_eventbridge else 0
    room = MOST_BYTES - beside - len(json.dumps({**event, "url": ""}, ensure_ascii=False).encode())
    return {**event, "url": "x" * room}


def composed(event: Fields) -> Fields:
    """Write text as it is sent: letters and their accents in one (NFC)."""
    return {
        name: unicodedata.normalize("NFC", value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def test_what_is_published_while_cometly_is_away_is_delivered_or_parked_once_each(
    deployed: Deployed,
) -> None:
    """Together, by every way, and whole: invalid, published twice, with a time and a key of their
    own, in Unicode, of the largest size.
    """
    deployed.sandbox.stop()
    sent: dict[str, Fields] = {}
    for round_, publish in enumerate(EVERY_WAY):
        kinds: dict[str, Fields] = {
            "lead": {
                **LEAD,
                "event_time": "2024-01-15T10:30:00Z",
                "idempotency_key": f"lead {round_}",
            },
            "order": {**ORDER, "order_id": f"ORD-{round_}"},
            "unicode": {**LEAD, "full_name": NAME},
            "large": LEAD,
        }
        for kind, fields in kinds.items():
            event = {**fields, "email": f"{kind}-{round_}@example.com"}
            event = filled(event, publish) if kind == "large" else event
            sent[event["email"]] = event
            publish(deployed, event)
            if kind == "order":
                for again in EVERY_WAY:
                    again(deployed, event)
        publish(deployed, {**INVALID, "email": f"invalid-{round_}@example.com"})
    eventually(deployed.table.pause, bool)
    deployed.sandbox.start()

    parked = deployed.queues.take_dead_letters(len(EVERY_WAY))
    deployed.queues.until_all_is_settled()
    posted = Counter(it["email"] for it in deployed.sandbox.requests())
    assert posted == Counter(sent.keys())
    for event in deployed.sandbox.events():
        fields = event["fields"]
        assert fields == {**fields, **composed(sent[fields["email"]])}
    assert [letter.attributes["reason"] for letter in parked] == ["invalid"] * len(EVERY_WAY)
    assert len({letter.attributes["event_id"] for letter in parked}) == len(parked)


# --- Events that are not ----------------------------------------------------------------------


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

    deployed.queues.send(parked.body)  # nothing in it was mended, so it is parked again, unchanged

    [again] = deployed.queues.take_dead_letters()
    deployed.queues.until_all_is_settled()
    assert again.body == parked.body


def test_messages_that_are_no_events_are_parked_whole(deployed: Deployed) -> None:
    texts = ["hello", '{"event_name": "purchase", "email": ada}', "[]", '{"a": 1, "a": 2}', "{}"]
    for text in texts:
        deployed.topic.publish(text)

    parked = deployed.queues.take_dead_letters(len(texts))

    deployed.queues.until_all_is_settled()
    assert sorted(json.loads(it.body)["Message"] for it in parked) == sorted(texts)
    assert {it.attributes["reason"] for it in parked} == {"invalid"}


# --- Who may put events on the queue ----------------------------------------------------------


OWN_RULES = f"arn:aws:events:{REGION}:000000000000:rule/*"


def test_the_queues_take_from_the_topic_and_the_accounts_rules_and_from_nobody_else(
    deployed: Deployed,
) -> None:
    """Read, and not tried with a rule: the emulator admits every one (see above)."""
    queues = deployed.queues
    [rule] = deployed.bus.rule_arns()

    assert fnmatchcase(rule, OWN_RULES)
    for url in (queues.events_url, queues.dead_letters_url):
        assert statements(queues.policy(url)) == {
            ("sns.amazonaws.com", "sqs:SendMessage", deployed.topic.arn),
            ("events.amazonaws.com", "sqs:SendMessage", OWN_RULES),
        }


@pytest.mark.parametrize("policy", ["SourcesMaySend", "PageQueuePolicy"])
def test_what_comes_without_tls_is_refused_by_the_queue(deployed: Deployed, policy: str) -> None:
    """The emulator has no TLS, so the local stack goes without that statement; here it is tried."""
    template = cloudformation.read(deployed.stack.checkout.template)
    listed = template["Resources"][policy]["Properties"]["PolicyDocument"]["Statement"]
    [statement] = [it for it in listed if it["Sid"] == "NotWithoutTls"]
    properties = {
        "Queues": [{"Ref": "Queue"}],
        "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }
    body = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Policy": {"Type": "AWS::SQS::QueuePolicy", "Properties": properties},
        },
        "Outputs": {"Queue": {"Value": {"Ref": "Queue"}}},
    }
    sqs = deployed.queues.sqs

    with (
        deployed.beside("without-tls", json.dumps(body), {}) as urls,
        pytest.raises(sqs.exceptions.ClientError, match="AccessDenied"),
    ):
        sqs.send_message(QueueUrl=urls["Queue"], MessageBody="{}")


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


# --- A topic and a bus that exist -------------------------------------------------------------


SOURCES = ("Topic", "TopicPolicy", "TopicSubscription", "EventBus", "EventRule")
QUEUES = ("EventQueue", "DeadLetterQueue", "SourcesMaySend")


def from_sources_to_queues(deployed: Deployed) -> str:
    """Return that part of the template, without functions.

    The whole of it would take half a minute, and its functions would do as those of the stack do.
    """
    template = json.loads((deployed.stack.checkout.build / "emulator.yaml").read_text("utf-8"))
    kept = {it: template["Resources"][it] for it in (*SOURCES, *QUEUES)}
    for resource in kept.values():
        resource.pop("DeletionPolicy", None)
        resource.pop("UpdateReplacePolicy", None)
    return json.dumps(
        {
            **{part: template[part] for part in ("Parameters", "Conditions")},
            "Resources": kept,
            "Outputs": {it: {"Value": {"Ref": it}} for it in ("EventQueue", "DeadLetterQueue")},
        }
    )


def test_a_topic_and_a_bus_that_exist_are_taken_from_as_the_parameters_say(
    deployed: Deployed,
) -> None:
    sns = deployed.topic.sns
    topic = replace(deployed.topic, arn=sns.create_topic(Name="existing")["TopicArn"])
    bus = replace(deployed.bus, name="default")
    names = ("by-topic", "by-bus")
    wrong = ["other-source", "other-detail-type", "other-bus"]
    lead = {name: {**LEAD, "email": f"{name}@example.com"} for name in (*names, *wrong)}
    parameters = {
        "SnsTopicArn": topic.arn,
        "EventBusName": "default",
        "EventSource": "shop",
        "EventDetailType": "Order Paid",
    }

    with deployed.beside("other-sources", from_sources_to_queues(deployed), parameters) as urls:
        queues = Queues(deployed.queues.sqs, urls["EventQueue"], urls["DeadLetterQueue"])
        bus.put(lead["other-source"], detail_type="Order Paid", source="till")
        bus.put(lead["other-detail-type"], detail_type="ConversionEvent", source="shop")
        deployed.bus.put(lead["other-bus"], detail_type="Order Paid", source="shop")
        bus.put(lead["by-bus"], detail_type="Order Paid", source="shop")
        topic.publish(lead["by-topic"])
        eventually(queues.waiting, lambda count: count >= len(names))
        time.sleep(0.5)  # for what must not come
        bodies = queues.bodies()
        [rule] = bus.rule_arns()
        assert fnmatchcase(rule, OWN_RULES)
        admitted = statements(queues.policy(queues.events_url))
        assert queues.parked() == 0
    sns.delete_topic(TopicArn=topic.arn)

    origin = Source("sqs", "", datetime.now(UTC))
    came = Counter(str(read_envelope(body, origin).event["email"]) for body in bodies)
    assert came == Counter(f"{name}@example.com" for name in names)
    assert admitted == {
        ("sns.amazonaws.com", "sqs:SendMessage", topic.arn),
        ("events.amazonaws.com", "sqs:SendMessage", OWN_RULES),
    }
