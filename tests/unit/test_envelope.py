"""Who an event is, when it was, and what the queue's messages are read as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from cometly_forwarder.errors import InvalidEvent
from cometly_forwarder.event.envelope import MAX_BODY_BYTES, Envelope, Source, read_envelope, seal
from cometly_forwarder.event.model import read_event
from tests.unit.conftest import an_event

NOON = datetime(2024, 1, 15, 12, 0, 0, tzinfo=UTC)
HTTP = Source("http", "request-1", NOON)
QUEUE = Source("queue", "message-1", NOON)


def sealed(raw: object, source: Source = HTTP) -> Envelope:
    event, _ = read_event(raw)
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
        pytest.param({}, {}, id="the request, without key and order"),
        pytest.param({"order_name": "#1"}, {"order_name": "#1"}, id="the request, by name"),
    ],
)
def test_two_events_differ_by(one: dict[str, object], another: dict[str, object]) -> None:
    ids = {sealed(an_event(**one)).event_id, sealed(an_event(**another), other(id="2")).event_id}

    assert len(ids) == 2


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
    assert sealed(an_event(event_time=0), source).event["event_time"] == "1970-01-01T00:00:00Z"


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


@pytest.mark.parametrize(
    ("event_id", "event"),
    [
        pytest.param(
            "evt_54d85890a25b2c1a9021e3c2847e5b9d",
            {
                "event_name": "purchase",
                "email": "grace@example.com",
                "full_name": "Zoë",
                "phone": "4792731000",
                "amount": 99.9,
                "order_id": "1002",
                "event_time": "2024-01-15T12:00:00Z",
            },
            id="order",
        ),
        pytest.param(
            "evt_cababc34a9cecb3f05e2f01df6e00d4b",
            {
                "event_name": "contact",
                "email": "grace@example.com",
                "is_upsell": False,
                "event_time": "2024-01-15T12:00:00Z",
                "idempotency_key": "evt_cababc34a9cecb3f05e2f01df6e00d4b",
            },
            id="neither key nor order",
        ),
    ],
)
def test_an_envelope_that_waits_while_the_stack_is_upgraded_is_read_as_it_was_sealed(
    event_id: str, event: Mapping[str, object]
) -> None:
    read = read_envelope(in_envelope_of_0_1_0(event_id, event), QUEUE, "US")

    assert read == Envelope(event_id, NOON, event)


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
    envelope = read_envelope(body, QUEUE)

    assert replace(envelope, is_bare=False) == sealed(an_event(), source)
    assert envelope.is_bare == (source is QUEUE)


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
        pytest.param('{"a": 1, "a": 2}', "same key twice", id="a key twice"),
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
        pytest.param(an_event(ip="203.0.113.7", order_id="1"), ["fingerprint"], id="half a pair"),
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
        pytest.param("phone", 4792731000, "14792731000", id="phone as a number"),
        pytest.param("phone", "4792731000", "4792731000", id="phone in its sealed form"),
    ],
)
def test_what_others_sealed_is_posted_in_the_normal_form(
    field: str, written: object, posted: object
) -> None:
    envelope = sealed(an_event(idempotency_key="k"))

    read = read_envelope(changed(envelope, event={**envelope.event, field: written}), QUEUE, "US")

    assert read.event == {
        name: value for name, value in {**envelope.event, field: posted}.items() if value
    }
    assert replace(read, event=envelope.event) == envelope
