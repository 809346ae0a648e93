"""Who an event is, when it was, and what the queue's messages are read as."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from cometly_forwarder.errors import InvalidEvent
from cometly_forwarder.event.envelope import MAX_BODY_BYTES, Envelope, Source, read_envelope, seal
from cometly_forwarder.event.reading import DEFAULT_RULES, EventRules, read_event
from tests.unit.cases import in_one_test
from tests.unit.conftest import PASSED_ON, an_event

NOON = datetime(2024, 1, 15, 12, 0, 0, tzinfo=UTC)
HTTP = Source("http", "request-1", NOON)
QUEUE = Source("queue", "message-1", NOON)
US = EventRules("US", PASSED_ON)
DE = EventRules("DE", PASSED_ON)


def sealed(raw: object, source: Source = HTTP) -> Envelope:
    event, _ = read_event(raw, US, source.time)
    return seal(event, source)


def other(source: Source = HTTP, **changes: object) -> Source:
    values = {"kind": source.kind, "id": source.id, "time": source.time}
    return Source(**(values | changes))  # type: ignore[arg-type]


# --- Identity ---------------------------------------------------------------------------------


def test_an_event_id_never_changes_between_releases() -> None:
    # The ledger knows events by it: another value would deliver what is in flight a second time.
    assert sealed(an_event(idempotency_key="key-1")).event_id == (
        "evt_73b74b2960d0c5745839aa18de8292fd"
    )
    assert sealed(an_event(order_id="1002")).event_id == ("evt_54d85890a25b2c1a9021e3c2847e5b9d")


@pytest.mark.parametrize(
    ("one", "another"),
    [
        pytest.param({"idempotency_key": "k"}, {"idempotency_key": "K"}, id="key"),
        pytest.param({"order_id": "1"}, {"order_id": "2"}, id="order"),
        pytest.param(
            {"order_id": "1"}, {"order_id": "1", "email": "ada@example.com"}, id="customer"
        ),
        pytest.param({"order_id": "1"}, {"order_id": "1", "event_name": "sign_up"}, id="name"),
        pytest.param(
            {"order_id": "1"}, {"order_id": "1", "idempotency_key": "1"}, id="kind of identity"
        ),
        pytest.param({"order_id": "1"}, {"order_id": "1", "is_upsell": True}, id="an upsell"),
        pytest.param(
            {"order_id": "1", "is_upsell": True, "amount": 97},
            {"order_id": "1", "is_upsell": True, "amount": 47},
            id="an upsell's amount",
        ),
        pytest.param(
            {"order_id": "1", "is_upsell": True, "order_name": "#1-1"},
            {"order_id": "1", "is_upsell": True, "order_name": "#1-2"},
            id="an upsell's name",
        ),
        pytest.param(
            {"order_id": "1", "is_upsell": True, "amount": 0},
            {"order_id": "1", "is_upsell": True},
            id="an upsell without an amount",
        ),
        pytest.param({}, {}, id="the request, without key and order"),
        pytest.param({"order_id": "null"}, {"order_id": "null"}, id="the request, for no order"),
        pytest.param({"order_name": "#1"}, {"order_name": "#1"}, id="the request, by name"),
    ],
)
def test_two_events_differ_by(one: dict[str, object], another: dict[str, object]) -> None:
    ids = {sealed(an_event(**one)).event_id, sealed(an_event(**another), other(id="2")).event_id}

    assert len(ids) == 2


@pytest.mark.parametrize(
    ("one", "another"),
    [
        pytest.param({"is_upsell": True}, {"is_upsell": "yes"}, id="sent again"),
        pytest.param(
            {"is_upsell": True, "amount": 97}, {"is_upsell": 1, "amount": "97.0"}, id="97"
        ),
        pytest.param({}, {"is_upsell": False, "amount": 12}, id="the order, whatever its amount"),
        pytest.param({"phone": "0151 23456789"}, {"phone_region": "FR"}, id="its phone"),
    ],
)
def test_two_events_are_one_whatever(one: dict[str, object], another: dict[str, object]) -> None:
    raws = (an_event(order_id="1", **one), an_event(order_id="1", **another))

    assert len({sealed(raw, other(id=str(raw))).event_id for raw in raws}) == 1


def test_the_same_id_of_two_sources_is_two_events() -> None:
    ids = {sealed(an_event(), other(kind=kind)).event_id for kind in ("sns", "eventbridge")}

    assert len(ids) == 2


@pytest.mark.parametrize(
    "order", [{"order_id": "1002"}, {"order_name": "#1002"}], ids=["order id", "order name"]
)
def test_no_key_of_ours_switches_off_cometlys_order_check(order: dict[str, object]) -> None:
    assert "idempotency_key" not in sealed(an_event(**order)).event


def test_the_callers_key_is_always_sent() -> None:
    assert sealed(an_event(idempotency_key="k", order_id="1")).event["idempotency_key"] == "k"


def test_without_key_and_order_the_event_id_is_the_key() -> None:
    envelope = sealed(an_event())

    assert envelope.event["idempotency_key"] == envelope.event_id


# --- Time and size ----------------------------------------------------------------------------


def test_only_an_event_without_a_time_gets_that_of_its_acceptance() -> None:
    source = other(time=datetime(2024, 1, 15, 14, 0, 0, 999_999, timezone(timedelta(hours=2))))

    assert sealed(an_event(), source).event["event_time"] == "2024-01-15T12:00:00Z"
    assert sealed(an_event(event_time=0), source).event["event_time"] == "2024-01-15T12:00:00Z"
    assert sealed(an_event(event_time="2024-01-02"), source).event["event_time"] == (
        "2024-01-02T00:00:00Z"
    )


def test_an_event_too_large_for_the_queue_is_refused() -> None:
    room = MAX_BODY_BYTES - len(sealed(an_event(url="")).body()) - len(',"url":""')

    assert len(sealed(an_event(url="x" * room)).body()) == MAX_BODY_BYTES
    with pytest.raises(InvalidEvent, match="768 KiB"):
        sealed(an_event(url="x" * (room + 1)))


def test_an_event_is_weighed_as_it_travels() -> None:
    # Two bytes in the request, six on the queue.
    with pytest.raises(InvalidEvent, match="768 KiB"):
        sealed(an_event(url="é" * (MAX_BODY_BYTES // 6)))


# --- Reading the queue ------------------------------------------------------------------------


def in_envelope_of_0_1_0(event_id: str, event: Mapping[str, object]) -> str:
    accepted_at = "2024-01-15T12:00:00+00:00"
    return json.dumps(
        {"cometly_forwarder": 1, "event_id": event_id, "accepted_at": accepted_at, "event": event},
        separators=(",", ":"),
    )


OF_0_1_0 = {"event_name": "purchase", "email": "grace@example.com"}


def id_by_0_1_0(*identity: str) -> str:
    """Work out what versions before 1.0 called an event: they took each field as it was."""
    text = json.dumps(identity, separators=(",", ":"))
    return "evt_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def order_of_0_1_0(order: str, customer: str = "grace@example.com") -> str:
    return id_by_0_1_0("order", "purchase", order, customer)


@pytest.mark.parametrize(
    ("event_id", "event", "changed"),
    [
        pytest.param(
            "evt_54d85890a25b2c1a9021e3c2847e5b9d",
            {**OF_0_1_0, "full_name": "Zoë", "phone": "4792731000", "order_id": "1002"},
            {},
            id="order",
        ),
        pytest.param(
            "evt_cababc34a9cecb3f05e2f01df6e00d4b",
            {**OF_0_1_0, "idempotency_key": "evt_cababc34a9cecb3f05e2f01df6e00d4b"},
            {},
            id="neither key nor order",
        ),
        pytest.param(
            id_by_0_1_0("key", '"k"'),
            {**OF_0_1_0, "idempotency_key": '"k"'},
            {},
            id="a key in quotes",
        ),
        pytest.param(
            order_of_0_1_0("1"),
            {**OF_0_1_0, "order_id": "1", "is_upsell": True, "amount": 97},
            {},
            id="an upsell, which was known by its order",
        ),
        pytest.param(
            order_of_0_1_0("gid://shopify/Order/5001"),
            {**OF_0_1_0, "order_id": "gid://shopify/Order/5001"},
            {},
            id="Shopify's long form of an order",
        ),
        pytest.param(
            order_of_0_1_0("1", "grace"),
            {**OF_0_1_0, "email": "grace", "comet_token": "ct_1", "order_id": "1"},
            {},
            id="a text without an @ as the customer",
        ),
        pytest.param(
            order_of_0_1_0("1", "ada@example.com\u200b"),
            {**OF_0_1_0, "email": "ada@example.com\u200b", "order_id": "1"},
            {},
            id="a customer with what shows nothing",
        ),
        pytest.param(order_of_0_1_0("null"), {**OF_0_1_0, "order_id": "null"}, {}, id="null"),
        pytest.param(
            order_of_0_1_0("1", "null"),
            {**OF_0_1_0, "email": "null", "comet_token": "ct_1", "order_id": "1"},
            {},
            id="null as the customer",
        ),
        pytest.param(
            id_by_0_1_0("source", "http", "1"),
            {"event_name": "purchase", "comet_token": "{x}", "order_name": "#1"},
            {},
            id="an order's name alone",
        ),
        pytest.param(
            order_of_0_1_0("1", "null"),
            {**OF_0_1_0, "email": "null", "order_id": "1", "amount": 5, "do_not_capi": False},
            {},
            id="null as the only customer",
        ),
        pytest.param(
            id_by_0_1_0("key", "k"),
            {
                "event_name": "purchase",
                "fingerprint": "fp_1",
                "ip": "unknown",
                "idempotency_key": "k",
                "currency": "EUR",
            },
            {},
            id="an address that is none",
        ),
    ],
)
def test_an_envelope_that_waits_while_the_stack_is_upgraded_keeps_its_id(
    event_id: str, event: Mapping[str, object], changed: Mapping[str, object]
) -> None:
    timed = {**event, "event_time": "2024-01-15T12:00:00Z"}

    read = read_envelope(in_envelope_of_0_1_0(event_id, timed), QUEUE, US)

    posted = {name: value for name, value in {**timed, **changed}.items() if value is not None}
    assert read == Envelope(event_id, NOON, posted)


@pytest.mark.parametrize(
    ("event_id", "event"),
    [
        pytest.param(order_of_0_1_0("2"), {**OF_0_1_0, "order_id": "1"}, id="another order"),
        pytest.param(order_of_0_1_0("None"), OF_0_1_0, id="an order None of one without any"),
        pytest.param(order_of_0_1_0(""), {**OF_0_1_0, "order_id": ""}, id="an empty order"),
        pytest.param(id_by_0_1_0("key", "k"), OF_0_1_0, id="a key of one without any"),
        pytest.param(
            order_of_0_1_0("1", "ada@example.com"), {**OF_0_1_0, "order_id": "1"}, id="customer"
        ),
        pytest.param(
            order_of_0_1_0("1"),
            {**OF_0_1_0, "order_id": "1", "idempotency_key": "k"},
            id="an order of one with a key",
        ),
    ],
)
def test_no_envelope_claims_the_id_of_another_by_the_old_rules(
    event_id: str, event: Mapping[str, object]
) -> None:
    read = read_envelope(in_envelope_of_0_1_0(event_id, event), QUEUE, US)

    assert [str(fault) for fault in read.faults] == [
        "the envelope's event_id is that of another event"
    ]
    assert read.event_id != event_id


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({"amount": "a lot"}, id="a text as an amount"),
        pytest.param({"is_upsell": "maybe", "email": "null"}, id="a text as a boolean"),
        pytest.param({"phone": "call me", "email": "null"}, id="words as a phone"),
        pytest.param({"event_time": "noon"}, id="words as a time"),
        pytest.param({"event_name": "bought"}, id="no event of Cometly's"),
        pytest.param({"email": ""}, id="nobody"),
        pytest.param({"email": "null", "url": 5}, id="a number as text"),
        pytest.param({"email": "null", "x": {}}, id="an object"),
        pytest.param({"email": "null", "x": 10**400}, id="an endless number"),
    ],
)
def test_what_no_earlier_version_sealed_is_judged_by_todays_rules(
    forged: Mapping[str, object],
) -> None:
    event = {**OF_0_1_0, "idempotency_key": "k", **forged}

    read = read_envelope(in_envelope_of_0_1_0(id_by_0_1_0("key", "k"), event), QUEUE, US)

    assert read.faults


def in_sns(raw: object, **changes: object) -> str:
    wrapped = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": "arn:aws:sns:eu-central-1:123456789012:shop",
        "Subject": "a sale",
        "Message": raw if isinstance(raw, str) else json.dumps(raw),
        "Timestamp": "2024-01-15T11:00:00.123Z",
        "SignatureVersion": "1",
    }
    return json.dumps(wrapped | changes)


def in_eventbridge(raw: object, **changes: object) -> str:
    wrapped = {
        "version": "0",
        "id": "bus-1",
        "detail-type": "Order Paid",
        "source": "shop",
        "account": "123456789012",
        "time": "2024-01-15T11:00:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": raw,
    }
    return json.dumps(wrapped | changes)


@pytest.mark.parametrize(
    ("body", "source"),
    [
        pytest.param(
            in_sns(an_event()),
            Source("sns", "sns-1", datetime(2024, 1, 15, 11, 0, 0, 123_000, UTC)),
            id="SNS",
        ),
        pytest.param(
            in_eventbridge(an_event()),
            Source("eventbridge", "bus-1", datetime(2024, 1, 15, 11, tzinfo=UTC)),
            id="EventBridge",
        ),
        pytest.param(
            in_sns(in_eventbridge(an_event())),
            Source("eventbridge", "bus-1", datetime(2024, 1, 15, 11, tzinfo=UTC)),
            id="EventBridge by way of SNS",
        ),
        pytest.param(json.dumps(an_event()), QUEUE, id="raw"),
        pytest.param(
            in_sns(an_event(), Timestamp=None), Source("sns", "sns-1", NOON), id="no time"
        ),
        pytest.param(
            in_sns(an_event(), Timestamp="2024-01-15T12:00:00"),
            Source("sns", "sns-1", NOON),
            id="a time without an offset",
        ),
    ],
)
def test_an_event_is_known_by_its_source(body: str, source: Source) -> None:
    envelope = read_envelope(body, QUEUE, US)

    assert replace(envelope, is_bare=False) == sealed(an_event(), source)
    assert envelope.is_bare == (source is QUEUE)


@pytest.mark.parametrize("write", [in_sns, in_eventbridge, json.dumps], ids=["sns", "bus", "raw"])
def test_what_nobody_is_told_comes_along(write: Callable[[object], str]) -> None:
    envelope = read_envelope(write(an_event(value=5, is_upsell="maybe")), QUEUE)

    assert [warning.field for warning in envelope.warnings] == ["value", "is_upsell"]


def test_of_a_sealed_event_the_caller_was_told() -> None:
    assert read_envelope(sealed(an_event(value=5)).body(), QUEUE).warnings == ()


def test_what_is_passed_on_is_so_by_every_way() -> None:
    raw = an_event(currency="EUR", profile_field_7=True, order_id="1")

    for body in (in_sns(raw), in_eventbridge(raw), json.dumps(raw), sealed(raw).body()):
        event = read_envelope(body, QUEUE, US).event
        assert (event["currency"], event["profile_field_7"]) == ("EUR", True)
        kept = "currency" in read_envelope(body, QUEUE, DEFAULT_RULES).event
        assert kept == (body == sealed(raw).body())


def test_an_event_with_a_key_is_the_same_by_every_way() -> None:
    raw = an_event(idempotency_key="k")

    ids = {
        read_envelope(body, QUEUE).event_id
        for body in (in_sns(raw), in_eventbridge(raw), json.dumps(raw), sealed(raw).body())
    }

    assert len(ids) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("hello", "not JSON", id="words"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep nesting"),
        pytest.param('{"a": 1, "a": 2}', "a must be given once", id="a key twice"),
        pytest.param('{"a": 1, "a": 2, "cometly_forwarder": 1}', "a must be", id="in an envelope"),
        pytest.param(
            in_sns('{"email": "a", "email": "b"}'), "email must be given once", id="twice in SNS"
        ),
        pytest.param(
            in_eventbridge({}).replace('"detail": {}', '"detail": {"x": {"a": 1, "a": 2}}'),
            "x.a must be given once",
            id="twice in EventBridge",
        ),
        pytest.param(
            in_eventbridge(an_event()).replace('"id": ', '"id": "0", "id": '),
            "id must be given once",
            id="EventBridge's own id twice",
        ),
        pytest.param(json.dumps([an_event()]), "must be a JSON object", id="an array"),
        pytest.param(in_sns("hello"), "not JSON", id="words in SNS"),
        pytest.param(
            in_sns(an_event(), Timestamp="noon"), "not ISO 8601", id="a false time in SNS"
        ),
        pytest.param(
            in_eventbridge(None), "must be a JSON object", id="EventBridge without detail"
        ),
        pytest.param(
            in_sns(an_event(), Timestamp="0001-01-01T00:00:00+10:00"),
            "not ISO 8601",
            id="a time before the year 1 in UTC",
        ),
        pytest.param(
            in_envelope_of_0_1_0("evt_" + "0" * 32, {}).replace("T12", " noon"),
            "not ISO 8601",
            id="an envelope with a false time",
        ),
        pytest.param(
            json.dumps({"cometly_forwarder": 1, "event_id": 5, "event": [], "accepted_at": 5}),
            "no event_id",
            id="an envelope with a number as id",
        ),
        pytest.param(
            json.dumps({"cometly_forwarder": 1, "event_id": "evt_" + "0" * 32, "event": []}),
            "lacks accepted_at or event",
            id="an envelope of an array",
        ),
        pytest.param(json.dumps({"event_name": "purchase"}), "identify", id="an invalid event"),
        pytest.param(in_sns(an_event(url="x" * MAX_BODY_BYTES)), "768 KiB", id="too large"),
    ],
)
def test_what_cannot_be_delivered_is_read_with_its_reason(body: str, reason: str) -> None:
    envelope = read_envelope(body, QUEUE)

    assert reason in " ".join(str(fault) for fault in envelope.faults)
    assert envelope.event == {}


@in_one_test
@pytest.mark.parametrize("write", [in_sns, in_eventbridge, json.dumps], ids=["sns", "bus", "raw"])
@pytest.mark.parametrize("number", [10**400, -(10**4299)], ids=["400 digits", "4300 digits"])
@pytest.mark.parametrize("name", ["currency", "profile_field_1", "x", "value", "order_name"])
def test_an_endless_number_costs_its_field_alone(
    name: str, number: int, write: Callable[[object], str]
) -> None:
    envelope = read_envelope(write(an_event(amount=1, **{name: number})), QUEUE, US)

    assert envelope.faults == ()
    assert name == "order_name" or name not in envelope.event


def test_a_repetition_beside_the_event_spoils_only_itself() -> None:
    body = in_eventbridge(an_event()).replace('"resources": []', '"resources": [{"a": 1, "a": 2}]')

    assert read_envelope(body, QUEUE, US).faults == ()


def test_every_fault_of_an_event_from_the_queue_is_kept() -> None:
    envelope = read_envelope(in_sns({"event_name": "purchased", "amount": "a lot"}), QUEUE)

    assert sorted(fault.field for fault in envelope.faults) == ["amount", "email", "event_name"]


def test_what_is_parked_is_known_by_its_source_and_stands_in_no_sound_events_way() -> None:
    invalid = in_sns({"event_name": "bought"})
    elsewhere = replace(QUEUE, id="message-2")

    unreadable, sound = read_envelope("{", QUEUE), read_envelope(json.dumps(an_event()), QUEUE)

    assert unreadable.event_id == read_envelope("{", QUEUE).event_id
    assert unreadable.event_id != read_envelope("{", elsewhere).event_id
    assert unreadable.event_id != sound.event_id
    # A notification is one event, whatever message brings it.
    assert read_envelope(invalid, QUEUE) == read_envelope(invalid, elsewhere)


def changed(envelope: Envelope, **changes: object) -> str:
    """Write an envelope as somebody else might: every key of it can be another."""
    return json.dumps(json.loads(envelope.body()) | changes)


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        pytest.param({"event_name": "bogus", "x": [1]}, ["email", "event_name"], id="no event"),
        pytest.param(an_event(amount="a lot", order_id="1"), ["amount"], id="no amount"),
        pytest.param(an_event(idempotency_key=["k"]), ["idempotency_key"], id="a list as a key"),
    ],
)
def test_an_event_that_came_sealed_is_judged_like_any_other(
    event: object, fields: list[str]
) -> None:
    forged = read_envelope(changed(sealed(an_event(order_id="1")), event=event), QUEUE)

    assert sorted(fault.field for fault in forged.faults) == fields
    # Nor may it take the place of the event whose id it claims.
    assert forged.event_id == read_envelope("{", QUEUE).event_id


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(an_event(order_id="1"), id="order"),
        pytest.param(an_event(idempotency_key="k"), id="key"),
        pytest.param(an_event(), id="neither"),
    ],
)
def test_a_sealed_event_cannot_claim_the_id_of_another(event: Mapping[str, object]) -> None:
    another = sealed(an_event(order_id="2"))

    forged = read_envelope(changed(another, event=event), QUEUE)

    assert "that of another event" in " ".join(map(str, forged.faults))
    assert forged.event_id != another.event_id


@pytest.mark.parametrize("version", [True, 1.0, "1", 2], ids=repr)
def test_a_version_is_this_whole_number(version: object) -> None:
    assert read_envelope(changed(sealed(an_event()), cometly_forwarder=version), QUEUE).faults


@pytest.mark.parametrize(
    ("field", "written", "posted"),
    [
        pytest.param("amount", "99.90", 99.9, id="amount"),
        pytest.param("event_time", 1705314600, "2024-01-15T10:30:00Z", id="time"),
        pytest.param("event_time", None, "2024-01-15T12:00:00Z", id="no time"),
        pytest.param("x", [1], None, id="unknown field"),
        pytest.param("phone", "none", None, id="phone without a digit"),
        pytest.param("phone", "(650)555-1212", "16505551212", id="phone"),
        pytest.param("phone", "4792731000", "4792731000", id="phone in its sealed form"),
        pytest.param("ip", "203.0.113.7", None, id="half a pair"),
        pytest.param("value", 5, 5, id="another vocabulary, which is not translated"),
    ],
)
def test_what_others_sealed_is_posted_in_the_normal_form(
    field: str, written: object, posted: object
) -> None:
    envelope = sealed(an_event(idempotency_key="k", amount=1.5))

    read = read_envelope(changed(envelope, event={**envelope.event, field: written}), QUEUE, US)

    assert read.event == {
        name: value for name, value in {**envelope.event, field: posted}.items() if value
    }
    assert replace(read, event=envelope.event) == envelope
