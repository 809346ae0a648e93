"""Who an event is, when it was, and what the queue's messages are read as."""

from __future__ import annotations

import json
import re
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


def test_an_event_id_is_short_and_speaks_for_itself() -> None:
    assert re.fullmatch(r"evt_[0-9a-f]{32}", sealed(an_event()).event_id)


def test_an_event_id_never_changes_between_releases() -> None:
    # The ledger knows events by it: another value would deliver what is in flight a second time.
    assert sealed(an_event(idempotency_key="key-1")).event_id == (
        "evt_73b74b2960d0c5745839aa18de8292fd"
    )
    assert sealed(an_event(order_id="1002")).event_id == ("evt_54d85890a25b2c1a9021e3c2847e5b9d")


@pytest.mark.parametrize(
    ("one", "same"),
    [
        pytest.param(
            an_event(idempotency_key="k"),
            {"event_name": "sign_up", "comet_token": "ct", "idempotency_key": " k ", "amount": 5},
            id="the caller's key, whatever else differs",
        ),
        pytest.param(
            an_event(order_id="1002", amount=5),
            an_event(order_id=1002, amount=6, order_name="#1002", comet_token="ct"),
            id="name, order and customer, whatever else differs",
        ),
        pytest.param(
            an_event(order_id="1002"),
            an_event(order_id="1002", email=" GRACE@example.com"),
            id="the customer in another spelling",
        ),
    ],
)
def test_two_events_are_the_same_by(one: object, same: object) -> None:
    assert sealed(one).event_id == sealed(same, other(id="2", time=NOON + timedelta(1))).event_id


@pytest.mark.parametrize(
    ("one", "another"),
    [
        pytest.param(an_event(idempotency_key="k"), an_event(idempotency_key="K"), id="key"),
        pytest.param(
            an_event(order_id="1", idempotency_key="k"),
            an_event(order_id="1", idempotency_key="l"),
            id="key, with the same order",
        ),
        pytest.param(an_event(order_id="1"), an_event(order_id="2"), id="order"),
        pytest.param(
            an_event(order_id="1"), an_event(order_id="1", email="ada@example.com"), id="customer"
        ),
        pytest.param(
            an_event(order_id="1"), an_event(order_id="1", event_name="sign_up"), id="name"
        ),
        pytest.param(
            an_event(order_id="1"),
            an_event(order_id="1", idempotency_key="1"),
            id="kind of identity",
        ),
        pytest.param(
            {"event_name": "purchase", "order_id": "1", "comet_token": "ab"},
            {"event_name": "purchase", "order_id": "1a", "comet_token": "b"},
            id="where one part ends and the next begins",
        ),
        pytest.param(
            an_event(amount=1), an_event(amount=1), id="the request, without key and order"
        ),
        pytest.param(
            an_event(order_name="#1"), an_event(order_name="#1"), id="the request, by name"
        ),
    ],
)
def test_two_events_differ_by(one: object, another: object) -> None:
    assert sealed(one).event_id != sealed(another, other(id="request-2")).event_id


def test_the_same_id_of_two_sources_is_two_events() -> None:
    first, second = (sealed(an_event(), Source(name, "1", NOON)) for name in ("sns", "eventbridge"))

    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(an_event(order_id="1002"), id="an order id"),
        pytest.param(an_event(order_name="#1002"), id="an order name"),
        pytest.param(an_event(order_id="1002", order_name="#1002"), id="both"),
    ],
)
def test_no_key_of_ours_switches_off_cometlys_order_check(raw: object) -> None:
    assert "idempotency_key" not in sealed(raw).event


@pytest.mark.parametrize(
    "more", [{}, {"order_id": "1002"}, {"order_name": "#1002"}], ids=["alone", "order", "name"]
)
def test_the_callers_key_is_always_sent(more: Mapping[str, str]) -> None:
    assert sealed(an_event(idempotency_key="k", **more)).event["idempotency_key"] == "k"


def test_without_key_and_order_the_event_id_is_the_key() -> None:
    envelope = sealed(an_event())

    assert envelope.event["idempotency_key"] == envelope.event_id


# --- Time and size ----------------------------------------------------------------------------


def test_an_event_without_a_time_gets_that_of_its_acceptance() -> None:
    source = other(time=datetime(2024, 1, 15, 14, 0, 0, 999_999, timezone(timedelta(hours=2))))

    assert sealed(an_event(), source).event["event_time"] == "2024-01-15T12:00:00Z"


def test_an_event_keeps_the_time_that_it_has() -> None:
    envelope = sealed(an_event(event_time="2024-01-01T00:00:00Z"))

    assert envelope.event["event_time"] == "2024-01-01T00:00:00Z"
    assert envelope.accepted_at == NOON


def test_an_event_too_large_for_the_queue_is_refused() -> None:
    room = MAX_BODY_BYTES - len(sealed(an_event(url="")).body()) - len(',"url":""')

    assert len(sealed(an_event(url="x" * room)).body()) == MAX_BODY_BYTES
    with pytest.raises(InvalidEvent, match="768 KiB"):
        sealed(an_event(url="x" * (room + 1)))


def test_an_event_is_weighed_as_it_travels() -> None:
    # Two bytes in the request, six on the queue.
    with pytest.raises(InvalidEvent, match="768 KiB"):
        sealed(an_event(url="é" * (MAX_BODY_BYTES // 6)))


def test_a_body_is_ascii_whatever_the_event_holds() -> None:
    body = sealed(an_event(full_name="Zoë 😀 \x00\x1f\uffff")).body()

    assert body.isascii()
    assert body.isprintable()


# --- Reading the queue ------------------------------------------------------------------------


def test_what_ingest_sealed_is_read_back_as_it_was() -> None:
    envelope = sealed(an_event(full_name="Zoë 😀", amount=99.99, is_upsell=False))

    assert read_envelope(envelope.body(), QUEUE) == envelope


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
    ],
)
def test_an_event_is_known_by_its_source(body: str, source: Source) -> None:
    envelope = read_envelope(body, QUEUE)

    assert replace(envelope, is_bare=False) == sealed(an_event(), source)
    assert envelope.is_bare == (source is QUEUE)


def test_what_comes_by_the_queue_is_normalised_like_what_comes_by_https() -> None:
    envelope = read_envelope(in_sns(an_event(phone="(650)555-1212", amount="5")), QUEUE, "US")

    assert envelope.event["phone"] == "16505551212"
    assert envelope.event["amount"] == 5
    assert envelope.faults == ()


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
        pytest.param("", "not JSON", id="nothing"),
        pytest.param("hello", "not JSON", id="words"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep nesting"),
        pytest.param('{"a": 1, "a": 2}', "same key twice", id="a key twice"),
        pytest.param("null", "must be a JSON object", id="null"),
        pytest.param(json.dumps([an_event()]), "must be a JSON object", id="an array"),
        pytest.param(in_sns("hello"), "not JSON", id="words in SNS"),
        pytest.param(
            in_sns(an_event(), Timestamp="noon"), "not ISO 8601", id="a false time in SNS"
        ),
        pytest.param(
            in_eventbridge(None), "must be a JSON object", id="EventBridge without detail"
        ),
        pytest.param(in_eventbridge(an_event(), time="noon"), "not ISO 8601", id="a false time"),
        pytest.param(json.dumps({"cometly_forwarder": 1}), "no event_id", id="an empty envelope"),
        pytest.param(
            json.dumps(
                {
                    "cometly_forwarder": 1,
                    "event_id": "evt_" + "0" * 32,
                    "event": {},
                    "accepted_at": "noon",
                }
            ),
            "not ISO 8601",
            id="an envelope with a false time",
        ),
        pytest.param(
            json.dumps({"cometly_forwarder": 1, "event_id": 5, "event": [], "accepted_at": 5}),
            "no event_id",
            id="an envelope of other types",
        ),
        pytest.param(json.dumps({"event_name": "purchase"}), "identify", id="an invalid event"),
        pytest.param(in_sns(an_event(url="x" * MAX_BODY_BYTES)), "768 KiB", id="too large"),
    ],
)
def test_what_cannot_be_delivered_is_read_with_its_reason(body: str, reason: str) -> None:
    envelope = read_envelope(body, QUEUE)

    assert reason in " ".join(str(fault) for fault in envelope.faults)
    assert envelope.event == {}


EARLY, LATE = "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(in_sns(an_event(), Timestamp=EARLY), id="SNS, before the year 1"),
        pytest.param(in_sns(an_event(), Timestamp=LATE), id="SNS, after the year 9999"),
        pytest.param(in_eventbridge(an_event(), time=EARLY), id="EventBridge, before the year 1"),
        pytest.param(in_eventbridge(an_event(), time=LATE), id="EventBridge, after the year 9999"),
    ],
)
def test_a_time_that_utc_cannot_express_is_a_fault(body: str) -> None:
    assert read_envelope(body, QUEUE).faults


def test_every_fault_of_an_event_from_the_queue_is_kept() -> None:
    envelope = read_envelope(in_sns({"event_name": "purchased", "amount": "a lot"}), QUEUE)

    assert sorted(fault.field for fault in envelope.faults) == ["amount", "email", "event_name"]


def test_an_unreadable_message_is_known_by_the_queues_id() -> None:
    first, again = read_envelope("{", QUEUE), read_envelope("{", QUEUE)
    second = read_envelope("{", Source("queue", "message-2", NOON))

    assert first.event_id == again.event_id
    assert first.event_id != second.event_id
    # A parked message must not stand in the way of a sound one.
    assert first.event_id != read_envelope(json.dumps(an_event()), QUEUE).event_id


def test_an_envelope_of_a_later_version_is_not_guessed_at() -> None:
    content = json.loads(sealed(an_event()).body())

    assert read_envelope(json.dumps(content | {"cometly_forwarder": 2}), QUEUE).faults


def changed(envelope: Envelope, **changes: object) -> str:
    """Write an envelope as somebody else might: every key of it can be another."""
    return json.dumps(json.loads(envelope.body()) | changes)


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        pytest.param({"event_name": "bogus", "x": [1]}, ["email", "event_name"], id="no event"),
        pytest.param(an_event(amount="a lot", order_id="1"), ["amount"], id="no amount"),
        pytest.param(an_event(ip="203.0.113.7", order_id="1"), ["fingerprint"], id="half a pair"),
        pytest.param({}, ["email", "event_name"], id="nothing"),
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


@pytest.mark.parametrize("version", [True, 1.0, "1", None, 0, [1]], ids=repr)
def test_a_version_is_a_whole_number(version: object) -> None:
    assert read_envelope(changed(sealed(an_event()), cometly_forwarder=version), QUEUE).faults


def test_what_ingest_seals_neither_lacks_a_time_nor_has_unknown_fields() -> None:
    envelope = sealed(an_event(order_id="1"))
    fields = {name: it for name, it in envelope.event.items() if name != "event_time"}

    read = read_envelope(changed(envelope, event=fields | {"x": [1], "url": " "}), QUEUE)

    assert read == envelope


@pytest.mark.parametrize(
    ("field", "written", "posted"),
    [
        pytest.param("email", " ADA@Example.com", "ada@example.com", id="email"),
        pytest.param("amount", "99.90", 99.9, id="amount"),
        pytest.param("is_upsell", "true", True, id="boolean"),
        pytest.param("event_time", 1705314600, "2024-01-15T10:30:00Z", id="time"),
        pytest.param("order_name", 1002, "1002", id="number as name"),
        pytest.param("url", " https://shop.example.com ", "https://shop.example.com", id="blanks"),
        pytest.param("phone", "(650)555-1212", "16505551212", id="phone"),
        pytest.param("phone", 4792731000, "14792731000", id="phone as a number"),
        pytest.param("phone", "4792731000", "4792731000", id="phone in its sealed form"),
    ],
)
def test_what_others_sealed_is_posted_in_the_normal_form(
    field: str, written: object, posted: object
) -> None:
    envelope = sealed(an_event(email="ada@example.com", idempotency_key="k"))
    fields = {**envelope.event, field: written}

    read = read_envelope(changed(envelope, event=fields), QUEUE, "US")

    assert read == replace(envelope, event={**envelope.event, field: posted})


def test_a_phone_number_without_a_digit_is_left_out_of_what_others_sealed() -> None:
    envelope = sealed(an_event(order_id="1"))

    read = read_envelope(changed(envelope, event={**envelope.event, "phone": "none"}), QUEUE)

    assert read == envelope


def test_a_number_that_would_be_read_otherwise_a_second_time_stays() -> None:
    """Decision 10: without its +, this Norwegian number is one of Arkansas, too."""
    event, _ = read_event(an_event(phone="+47 92731000"), "US")
    envelope = seal(event, HTTP)
    assert read_event(dict(envelope.event), "US")[0].phone == "14792731000"

    assert read_envelope(envelope.body(), QUEUE, "US") == envelope


def test_a_time_without_an_offset_is_utc() -> None:
    envelope = read_envelope(in_sns(an_event(), Timestamp="2024-01-15T11:00:00"), QUEUE)

    assert envelope.accepted_at == datetime(2024, 1, 15, 11, tzinfo=UTC)
    assert envelope.event["event_time"] == "2024-01-15T11:00:00Z"


def test_an_invalid_notification_is_one_event_whatever_message_brings_it() -> None:
    invalid = in_sns({"event_name": "bought"})

    first = read_envelope(invalid, QUEUE)
    second = read_envelope(invalid, replace(QUEUE, id="another-message"))

    assert first.faults
    assert first.event_id == second.event_id
