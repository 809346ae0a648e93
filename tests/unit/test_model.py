"""The event's rules: what is refused, what is normalised, and what the caller is told."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from cometly_forwarder.errors import Fault, InvalidEvent
from cometly_forwarder.event.model import EVENT_NAMES, FIELDS, read_event
from local.sandbox import contract
from tests.unit.conftest import an_event

IDENTIFIERS = (
    "tracking_id",
    "order_id",
    "order_name",
    "checkout_token",
    "upsell_common_id",
    "comet_campaign",
    "comet_ad_group",
    "comet_ad_id",
    "idempotency_key",
)
BOOLEANS = ("is_upsell", "do_not_capi")
EVERY_FIELD = {
    "event_name": "purchase",
    "email": "grace@example.com",
    "comet_token": "ct_1",
    "fingerprint": "fp_1",
    "ip": "203.0.113.7",
    "tracking_id": "trk-1",
    "full_name": "Grace Murray",
    "first_name": "Grace",
    "last_name": "Murray",
    "phone": "16505551212",
    "user_agent": "Mozilla/5.0",
    "event_time": "2024-01-15T10:30:00Z",
    "url": "https://shop.example.com/thanks?order=1",
    "amount": 99.99,
    "order_id": "1002",
    "order_name": "#1002",
    "checkout_token": "chk_1",
    "is_upsell": True,
    "upsell_common_id": "ups-1",
    "comet_source": "google",
    "comet_network": "search",
    "comet_campaign": "spring",
    "comet_ad_group": "shoes",
    "comet_ad_id": "ad-1",
    "comet_keyword": "running shoes",
    "comet_type": "cpc",
    "idempotency_key": "key-1",
    "do_not_capi": False,
}
TEXT_FIELDS = sorted(
    EVERY_FIELD.keys()
    - {"event_name", "email", "fingerprint", "ip", "phone", "event_time", "amount"}
    - {*IDENTIFIERS, *BOOLEANS}
)


def fields_of(raw: object, phone_region: str | None = None) -> dict[str, object]:
    event, _ = read_event(raw, phone_region)
    return event.fields()


def faults_of(raw: object) -> tuple[Fault, ...]:
    with pytest.raises(InvalidEvent) as refusal:
        read_event(raw)
    return refusal.value.faults


def faulty_fields(raw: object) -> list[str]:
    return [fault.field for fault in faults_of(raw)]


# --- The fields -------------------------------------------------------------------------------


def test_the_fields_are_cometlys_28() -> None:
    assert set(FIELDS) == set(EVERY_FIELD) == contract.KNOWN_FIELDS
    assert len(FIELDS) == 28


def test_an_event_in_its_final_form_passes_unchanged_and_without_a_warning() -> None:
    event, warnings = read_event(EVERY_FIELD)

    assert event.fields() == EVERY_FIELD
    assert warnings == ()


@pytest.mark.parametrize("name", ["full_name", "email", "order_id", "idempotency_key"])
def test_text_that_lost_bytes_is_taken_with_a_warning(name: str) -> None:
    """Decision 12: a refused event is lost, and what cannot be read is in one field of it."""
    event, warnings = read_event(an_event(**{name: "m\ufffdller@example.com"}))

    assert event.fields()[name] == "m\ufffdller@example.com"
    assert [(warning.field, "U+FFFD" in warning.message) for warning in warnings] == [(name, True)]


@pytest.mark.parametrize("blank", [None, "", "  ", "\t\r\n", "\u00a0\u2003"], ids=ascii)
@pytest.mark.parametrize("name", [name for name in FIELDS if name not in {"event_name", "email"}])
def test_a_blank_field_counts_as_absent(name: str, blank: str | None) -> None:
    event, warnings = read_event(an_event(**{name: blank}))

    assert name not in event.fields()
    assert warnings == ()


@pytest.mark.parametrize("name", [*TEXT_FIELDS, *IDENTIFIERS])
def test_surrounding_blanks_go_and_inner_ones_stay(name: str) -> None:
    assert fields_of(an_event(**{name: " \tTwo  Words\n"}))[name] == "Two  Words"


@pytest.mark.parametrize("name", [*TEXT_FIELDS, "email", "ip", "fingerprint"])
@pytest.mark.parametrize("value", [7, 1.5, True, ["x"], {"x": 1}], ids=json.dumps)
def test_a_text_must_be_text(name: str, value: object) -> None:
    assert name in faulty_fields(an_event(fingerprint="fp_1", ip="203.0.113.7") | {name: value})


@pytest.mark.parametrize("name", [*TEXT_FIELDS, *IDENTIFIERS, "email", "event_name", "phone"])
def test_half_a_surrogate_pair_is_refused(name: str) -> None:
    assert faulty_fields(an_event(comet_token="ct_1") | {name: "a\ud800b"}) == [name]


@pytest.mark.parametrize("name", IDENTIFIERS)
@pytest.mark.parametrize("value", [0, 1002, -5, 10**18 - 1], ids=str)
def test_an_integer_identifier_becomes_its_digits(name: str, value: int) -> None:
    assert fields_of(an_event(**{name: value}))[name] == str(value)


@pytest.mark.parametrize("name", [*IDENTIFIERS, "phone"])
@pytest.mark.parametrize(
    "value", [True, False, 1002.0, 10**18, 10**4000, ["1"], {"id": 1}], ids=lambda v: repr(v)[:12]
)
def test_an_identifier_is_text_or_an_integer(name: str, value: object) -> None:
    assert faulty_fields(an_event(**{name: value})) == [name]


def test_an_event_cannot_be_changed_once_it_is_read() -> None:
    event, _ = read_event(an_event())

    with pytest.raises(ValidationError):
        event.email = "other@example.com"


# --- Its name ---------------------------------------------------------------------------------


def test_the_names_are_those_of_the_sandboxs_own_reading() -> None:
    assert EVENT_NAMES == contract.EVENT_NAMES
    assert len(EVENT_NAMES) == 14 + 50


@pytest.mark.parametrize(
    "name",
    [
        "Purchase",
        "custom_event_0",
        "custom_event_51",
        "custom_event_01",
        "purchase\x00",
        5,
        ["purchase"],
    ],
    ids=repr,
)
def test_any_other_name_is_refused(name: object) -> None:
    assert faulty_fields(an_event(event_name=name)) == ["event_name"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Purchase", '; did you mean "purchase"?'),
        ("addToCart", '; did you mean "add_to_cart"?'),
        ("zzzz", "custom_event_50"),
    ],
)
def test_a_name_close_to_one_of_cometlys_is_answered_with_it(name: str, hint: str) -> None:
    (fault,) = faults_of(an_event(event_name=name))

    assert fault.message.endswith(hint)


@pytest.mark.parametrize(
    "raw",
    [{"email": "g@example.com"}, an_event(event_name=" "), an_event(event_name=None)],
    ids=repr,
)
def test_a_name_is_required(raw: object) -> None:
    assert faults_of(raw) == (Fault("event_name", "is required"),)


# --- Who it is about ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("customer", "field"),
    [
        pytest.param({}, "email", id="nothing"),
        pytest.param({"tracking_id": "trk-1"}, "email", id="tracking id"),
        pytest.param({"ip": "203.0.113.7"}, "fingerprint", id="ip alone"),
        pytest.param({"fingerprint": "fp_1"}, "ip", id="fingerprint alone"),
        pytest.param(
            {"email": "g@example.com", "ip": "203.0.113.7"}, "fingerprint", id="ip beside an e-mail"
        ),
        pytest.param({"comet_token": "ct_1", "fingerprint": "fp_1"}, "ip", id="token, half a pair"),
    ],
)
def test_a_customer_is_not_identified_by(customer: dict[str, str], field: str) -> None:
    assert faulty_fields({"event_name": "purchase", **customer}) == [field]


@pytest.mark.parametrize(
    ("given", "customer"),
    [
        pytest.param(EVERY_FIELD, "grace@example.com", id="e-mail"),
        pytest.param(EVERY_FIELD | {"email": ""}, "ct_1", id="token"),
        pytest.param(EVERY_FIELD | {"email": "", "comet_token": ""}, "fp_1", id="fingerprint"),
    ],
)
def test_the_customer_is_the_first_given_of(given: dict[str, object], customer: str) -> None:
    event, _ = read_event(given)

    assert event.customer == customer


@pytest.mark.parametrize(
    ("field", "given", "sent", "warns"),
    [
        pytest.param("email", "  Grace.M@Example.COM\n", "grace.m@example.com", False, id="e-mail"),
        pytest.param("email", "Grace", "grace", True, id="no e-mail"),
        pytest.param("phone", "(650)555-1212", "16505551212", False, id="national phone"),
        pytest.param("phone", 16505551212, "16505551212", False, id="whole number as phone"),
        pytest.param("phone", "(0650) 555-121", "650555121", True, id="unreadable phone"),
        pytest.param("phone", "n/a", None, True, id="phone without a digit"),
    ],
)
def test_what_reaches_the_customer_is_normalised_or_warned_of(
    field: str, given: object, sent: str | None, *, warns: bool
) -> None:
    event, warnings = read_event(an_event(**{field: given}), "US")

    assert event.fields().get(field) == sent
    assert [warning.field for warning in warnings] == [field] * warns


# --- Time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param("2024-01-15T10:30", "2024-01-15T10:30:00Z", id="no seconds"),
        pytest.param("2024-01-15", "2024-01-15T00:00:00Z", id="a date"),
        pytest.param("20240115", "2024-01-15T00:00:00Z", id="a basic date is no second of 1970"),
        pytest.param("2024-01-15T11:30:00+01", "2024-01-15T10:30:00Z", id="hours alone"),
        pytest.param("2024-01-15T10:30:00.123456789Z", "2024-01-15T10:30:00Z", id="nanoseconds"),
        pytest.param(" 2024-01-15T10:30:00Z ", "2024-01-15T10:30:00Z", id="blanks around"),
        pytest.param(" 1705314600 ", "2024-01-15T10:30:00Z", id="Unix seconds with blanks"),
        pytest.param(0, "1970-01-01T00:00:00Z", id="zero"),
        pytest.param(10**11 - 1, "5138-11-16T09:46:39Z", id="the last that is seconds"),
    ],
)
def test_a_form_of_time_that_no_property_writes_becomes_the_one(given: object, sent: str) -> None:
    event, warnings = read_event(an_event(event_time=given))

    assert event.event_time == sent
    assert warnings == ()


@pytest.mark.parametrize("given", ["1705314600123", 1705314600123.0, "1705314600123.5"], ids=repr)
def test_milliseconds_are_converted_with_a_warning(given: object) -> None:
    event, (warning,) = read_event(an_event(event_time=given))

    assert event.event_time == "2024-01-15T10:30:00Z"
    assert warning.field == "event_time"
    assert "milliseconds" in warning.message


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "2024-13-01T00:00:00Z",
        "2024-01-15T10:30:00+99:00",
        "2024-01-15T10:30:00Zjunk",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "1e9",
        "١٧٠٥٣١٤٦٠٠",
        -0.5,
        10**14,
        math.nan,
        1e300,
        10**4000,
        "9" * 100_000,
        True,
        ["2024-01-15"],
        {"seconds": 1},
    ],
    ids=lambda value: repr(value)[:30] if value != 10**4000 else "huge",
)
def test_what_is_no_time_is_refused(given: object) -> None:
    assert faulty_fields(an_event(event_time=given)) == ["event_time"]


# --- Amount -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (99.99, "99.99"),
        (100, "100"),
        ("007", "7"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("0.1", "0.1"),
        (10**15, "1000000000000000"),
        ("9007199254740.99", "9007199254740.99"),
        ("0." + "0" * 40 + "1", "1e-41"),
    ],
    ids=repr,
)
def test_an_amount_is_sent_to_the_last_digit(given: object, sent: str) -> None:
    assert json.dumps(fields_of(an_event(amount=given))["amount"]) == sent


@pytest.mark.parametrize(
    "given",
    [
        "a lot",
        "99,99",
        "$99.99",
        "1_000",
        ".",
        "1e",
        "٩٩",
        "NaN",
        "-inf",
        "+inf",
        math.nan,
        math.inf,
        "1e400",
        10**15 + 1,
        10**4000,
        "9" * 65,
        True,
        [],
        {"value": 1},
        "0.1234567890123456789",
        "1e-400",
    ],
    ids=lambda value: repr(value)[:30] if value != 10**4000 else "huge",
)
def test_what_is_no_amount_is_refused(given: object) -> None:
    assert faulty_fields(an_event(amount=given)) == ["amount"]


# --- Booleans ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (True, True),
        ("true", True),
        (" TRUE ", True),
        (1, True),
        (False, False),
        ("FALSE", False),
        (0, False),
    ],
    ids=repr,
)
def test_a_boolean_is_taken_in_its_forms(name: str, given: object, *, sent: bool) -> None:
    assert fields_of(an_event(**{name: given}))[name] is sent


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize(
    "given",
    ["yes", "t", 2, -1, 1.0, 10**4000, [True]],
    ids=lambda v: repr(v)[:12],
)
def test_what_is_no_boolean_is_refused(name: str, given: object) -> None:
    assert faults_of(an_event(**{name: given})) == (Fault(name, "must be true or false"),)


# --- Fields that Cometly does not know ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (" Email ", '; did you mean "email"?'),
        ("orderId", '; did you mean "order_id"?'),
        ("IP", '; did you mean "ip"?'),
        ("frist_name", '; did you mean "first_name"?'),
        ("zzzz", "is left out"),
    ],
)
def test_an_unknown_field_is_left_out_and_the_nearest_name_is_offered(name: str, hint: str) -> None:
    event, (warning,) = read_event(an_event(**{name: "x"}))

    assert event.fields() == an_event()
    assert warning.field == name
    assert warning.message.endswith(hint)


def test_ten_unknown_fields_are_named_cut_and_the_rest_are_counted() -> None:
    names = [f"zz{number}" + "z" * 100 for number in range(1_000)]

    _, warnings = read_event(an_event(**dict.fromkeys(names)))

    assert [warning.field for warning in warnings[:-1]] == [name[:64] for name in names[:10]]
    assert warnings[-1] == Fault("", "990 more unknown fields are left out")


# --- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, [an_event()], "purchase", 5, math.nan], ids=repr)
def test_an_event_must_be_an_object(raw: object) -> None:
    assert faults_of(raw) == (Fault("", "an event must be a JSON object"),)


def test_every_fault_is_reported_at_once() -> None:
    raw = {"event_name": "purchased", "amount": "a lot", "ip": "203.0.113.9", "is_upsell": "maybe"}

    assert sorted(faulty_fields(raw)) == ["amount", "event_name", "fingerprint", "is_upsell"]


def test_faults_are_named_in_one_sentence_and_warnings_come_along() -> None:
    with pytest.raises(InvalidEvent) as refusal:
        read_event({"event_name": "purchase", "amount": "a lot", "emial": "grace@example.com"})

    message = str(refusal.value)
    assert message.startswith("The event is not valid: amount must be a number")
    assert "must identify the customer" in message
    assert message.endswith(".")
    assert "\n" not in message
    assert [warning.field for warning in refusal.value.warnings] == ["emial"]


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"comet_token"}))
def test_a_fault_never_quotes_what_was_given(name: str) -> None:
    secret = "Grace at 1 Example Street"
    raw: dict[str, object] = {"comet_token": "ct_1", "event_name": "purchase"}

    with pytest.raises(InvalidEvent) as refusal:
        read_event(raw | {name: {"secret": secret}, "amount": secret, "event_time": secret})

    assert name in [fault.field for fault in refusal.value.faults]
    assert secret not in str(refusal.value)
    # A chained error shows in a traceback, and so in a log.
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
