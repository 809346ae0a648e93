"""The event's rules: what is refused, what is normalised, and what the caller is told."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from cometly_forwarder.errors import Fault, InvalidEvent
from cometly_forwarder.event.model import EVENT_NAMES, FIELDS, read_event
from tests.unit.conftest import an_event

TEXT_FIELDS = (
    "comet_token",
    "full_name",
    "first_name",
    "last_name",
    "user_agent",
    "url",
    "comet_source",
    "comet_network",
    "comet_keyword",
    "comet_type",
)
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


def fields_of(raw: object, phone_region: str | None = None) -> dict[str, object]:
    event, _ = read_event(raw, phone_region)
    return event.fields()


def outcome_of(raw: object) -> tuple[dict[str, object], tuple[Fault, ...]]:
    """Return the fields, or the faults; one of the two is empty."""
    try:
        return fields_of(raw), ()
    except InvalidEvent as exc:
        return {}, exc.faults


def faults_of(raw: object) -> tuple[Fault, ...]:
    with pytest.raises(InvalidEvent) as refusal:
        read_event(raw)
    return refusal.value.faults


def faulty_fields(raw: object) -> list[str]:
    return [fault.field for fault in faults_of(raw)]


def warnings_of(raw: object, phone_region: str | None = None) -> tuple[Fault, ...]:
    _, warnings = read_event(raw, phone_region)
    return warnings


# --- The fields -------------------------------------------------------------------------------


def test_the_fields_are_cometlys_28() -> None:
    assert set(FIELDS) == set(EVERY_FIELD)
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


def test_what_is_not_given_is_not_sent() -> None:
    assert fields_of(an_event()) == {"event_name": "purchase", "email": "grace@example.com"}


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


@pytest.mark.parametrize("name", sorted(EVENT_NAMES))
def test_each_of_cometlys_names_is_taken(name: str) -> None:
    assert fields_of(an_event(event_name=name))["event_name"] == name


def test_there_are_14_standard_names_and_50_custom_ones() -> None:
    customs = {f"custom_event_{number}" for number in range(1, 51)}

    assert len(EVENT_NAMES - customs) == 14
    assert customs <= EVENT_NAMES


@pytest.mark.parametrize(
    "name",
    [
        "Purchase",
        "purchased",
        "custom_event_0",
        "custom_event_51",
        "custom_event_01",
        "custom_event_",
        "custom_event_1.0",
        "page_view",
        "purchase\x00",
        "pur chase",
        5,
        True,
        ["purchase"],
    ],
    ids=repr,
)
def test_any_other_name_is_refused(name: object) -> None:
    assert faulty_fields(an_event(event_name=name)) == ["event_name"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Purchase", "purchase"), ("purchased", "purchase"), ("addToCart", "add_to_cart")],
)
def test_a_name_close_to_one_of_cometlys_is_answered_with_it(name: str, meant: str) -> None:
    (fault,) = faults_of(an_event(event_name=name))

    assert f'did you mean "{meant}"?' in fault.message


def test_a_name_close_to_none_gets_no_guess() -> None:
    (fault,) = faults_of(an_event(event_name="zzzz"))

    assert "did you mean" not in fault.message


@pytest.mark.parametrize(
    "raw",
    [{"email": "g@example.com"}, an_event(event_name=" "), an_event(event_name=None)],
    ids=repr,
)
def test_a_name_is_required(raw: object) -> None:
    assert faults_of(raw) == (Fault("event_name", "is required"),)


# --- Who it is about ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "customer",
    [
        pytest.param({"email": "g@example.com"}, id="e-mail"),
        pytest.param({"comet_token": "ct_1"}, id="token"),
        pytest.param({"fingerprint": "fp_1", "ip": "203.0.113.7"}, id="fingerprint and ip"),
        pytest.param({"email": "g@example.com", "ip": " ", "fingerprint": ""}, id="blank others"),
    ],
)
def test_a_customer_is_identified_by(customer: dict[str, str]) -> None:
    assert fields_of({"event_name": "purchase", **customer}).keys() >= {"event_name"}


@pytest.mark.parametrize(
    ("customer", "field"),
    [
        pytest.param({}, "email", id="nothing"),
        pytest.param({"email": " ", "comet_token": None}, "email", id="blanks"),
        pytest.param({"phone": "+16505551212", "full_name": "Grace"}, "email", id="phone and name"),
        pytest.param({"tracking_id": "trk-1"}, "email", id="tracking id"),
        pytest.param({"ip": "203.0.113.7"}, "fingerprint", id="ip alone"),
        pytest.param({"fingerprint": "fp_1"}, "ip", id="fingerprint alone"),
        pytest.param({"fingerprint": "fp_1", "ip": " "}, "ip", id="fingerprint with a blank ip"),
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
        pytest.param(EVERY_FIELD, "grace@example.com", id="e-mail first"),
        pytest.param(EVERY_FIELD | {"email": ""}, "ct_1", id="then the token"),
        pytest.param(EVERY_FIELD | {"email": "", "comet_token": ""}, "fp_1", id="then fingerprint"),
    ],
)
def test_the_customer_is_the_first_given_of(given: dict[str, object], customer: str) -> None:
    event, _ = read_event(given)

    assert event.customer == customer


def test_an_email_is_trimmed_and_lower_cased() -> None:
    assert fields_of(an_event(email="  Grace.M@Example.COM\n"))["email"] == "grace.m@example.com"


def test_what_does_not_look_like_an_email_is_sent_with_a_warning() -> None:
    event, warnings = read_event(an_event(email="Grace"))

    assert event.email == "grace"
    assert [warning.field for warning in warnings] == ["email"]


# --- Phone ------------------------------------------------------------------------------------


def test_a_national_phone_number_gets_the_country_code_of_the_region() -> None:
    event, warnings = read_event(an_event(phone="(650)555-1212"), "US")

    assert event.phone == "16505551212"
    assert warnings == ()


def test_a_phone_number_that_cannot_be_read_is_sent_bare_with_a_warning() -> None:
    event, warnings = read_event(an_event(phone="(0650) 555-1212"))

    assert event.phone == "6505551212"
    assert [warning.field for warning in warnings] == ["phone"]


def test_a_phone_without_a_digit_is_left_out_with_a_warning() -> None:
    event, warnings = read_event(an_event(phone="n/a"))

    assert "phone" not in event.fields()
    assert [warning.field for warning in warnings] == ["phone"]


def test_a_phone_number_may_be_an_integer() -> None:
    assert fields_of(an_event(phone=16505551212))["phone"] == "16505551212"


# --- Time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param("2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z", id="as it is sent"),
        pytest.param("2024-01-15T10:30:00z", "2024-01-15T10:30:00Z", id="small z"),
        pytest.param("2024-01-15t10:30:00Z", "2024-01-15T10:30:00Z", id="small t"),
        pytest.param("2024-01-15 10:30:00", "2024-01-15T10:30:00Z", id="a blank, no offset"),
        pytest.param("2024-01-15T10:30", "2024-01-15T10:30:00Z", id="no seconds"),
        pytest.param("2024-01-15", "2024-01-15T00:00:00Z", id="a date"),
        pytest.param("2024-01-15T12:30:00+02:00", "2024-01-15T10:30:00Z", id="east"),
        pytest.param("2024-01-14T23:30:00-11:00", "2024-01-15T10:30:00Z", id="west, another day"),
        pytest.param("2024-01-15T16:00:00+0530", "2024-01-15T10:30:00Z", id="half an hour"),
        pytest.param("2024-01-15T11:30:00+01", "2024-01-15T10:30:00Z", id="hours alone"),
        pytest.param("2024-01-15T10:30:00.999Z", "2024-01-15T10:30:00Z", id="milliseconds"),
        pytest.param("2024-01-15T10:30:00,5Z", "2024-01-15T10:30:00Z", id="a comma"),
        pytest.param("2024-01-15T10:30:00.123456789Z", "2024-01-15T10:30:00Z", id="nanoseconds"),
        pytest.param("20240115T103000Z", "2024-01-15T10:30:00Z", id="the basic form"),
        pytest.param(" 2024-01-15T10:30:00Z ", "2024-01-15T10:30:00Z", id="blanks around"),
        pytest.param(1705314600, "2024-01-15T10:30:00Z", id="Unix seconds"),
        pytest.param("1705314600", "2024-01-15T10:30:00Z", id="Unix seconds as text"),
        pytest.param(" 1705314600 ", "2024-01-15T10:30:00Z", id="Unix seconds with blanks"),
        pytest.param(1705314600.75, "2024-01-15T10:30:00Z", id="Unix seconds with a part"),
        pytest.param("1705314600.75", "2024-01-15T10:30:00Z", id="a part as text"),
        pytest.param(0, "1970-01-01T00:00:00Z", id="zero"),
        pytest.param(10**11 - 1, "5138-11-16T09:46:39Z", id="the last that is seconds"),
    ],
)
def test_every_form_of_time_becomes_one(given: object, sent: str) -> None:
    event, warnings = read_event(an_event(event_time=given))

    assert event.event_time == sent
    assert warnings == ()


@pytest.mark.parametrize(
    "given", [1705314600123, "1705314600123", 1705314600123.0, "1705314600123.5"], ids=repr
)
def test_milliseconds_are_converted_with_a_warning(given: object) -> None:
    event, (warning,) = read_event(an_event(event_time=given))

    assert event.event_time == "2024-01-15T10:30:00Z"
    assert warning.field == "event_time"
    assert "milliseconds" in warning.message


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "15.01.2024",
        "2024-13-01T00:00:00Z",
        "2024-02-30",
        "2024-01-15T25:00:00Z",
        "2024-01-15T10:30:00+99:00",
        "2024-01-15T10:30:00Zjunk",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "-5",
        "1e9",
        "0x65a50000",
        "١٧٠٥٣١٤٦٠٠",
        -1,
        -0.5,
        10**14,
        1705314600123456,
        math.nan,
        math.inf,
        1e300,
        10**4000,
        "9" * 100_000,
        True,
        [],
        ["2024-01-15"],
        {"seconds": 1},
    ],
    ids=lambda value: repr(value)[:30] if value != 10**4000 else "huge",
)
def test_what_is_no_time_is_refused(given: object) -> None:
    assert faulty_fields(an_event(event_time=given)) == ["event_time"]


def test_a_date_in_the_basic_form_is_not_silently_taken_for_seconds_of_1970() -> None:
    # "20240115" is ISO 8601 as much as "2024-01-15" is.
    fields, faults = outcome_of(an_event(event_time="20240115"))

    assert faults or fields["event_time"] == "2024-01-15T00:00:00Z"


# --- Amount -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (99.99, "99.99"),
        ("99.99", "99.99"),
        (" 99.99 ", "99.99"),
        (100, "100"),
        ("100", "100"),
        ("+100", "100"),
        ("-12.50", "-12.5"),
        ("007", "7"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("1e2", "100.0"),
        ("0.1", "0.1"),
        ("0.30", "0.3"),
        (0, "0"),
        (0.0, "0.0"),
        ("0.00", "0.0"),
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
        "1,000.00",
        "$99.99",
        "99.99 USD",
        "1_000",
        "1 000",
        "0x10",
        "--5",
        ".",
        "e5",
        "1e",
        "٩٩",
        "NaN",
        "nan",
        "Infinity",
        "-inf",
        "+inf",
        "-Infinity",
        math.nan,
        math.inf,
        -math.inf,
        "1e400",
        "-1e400",
        10**15 + 1,
        -(10**15) - 1,
        "1e16",
        10**4000,
        "9" * 65,
        True,
        False,
        [],
        [1],
        {"value": 1},
        "0.1234567890123456789",
        "1e-400",
    ],
    ids=lambda value: repr(value)[:30] if value != 10**4000 else "huge",
)
def test_what_is_no_amount_is_refused(given: object) -> None:
    assert faulty_fields(an_event(amount=given)) == ["amount"]


@pytest.mark.parametrize("sign", ["", "-"], ids=["many", "few"])
@pytest.mark.parametrize("mantissa", ["1", "0", "1.5"])
def test_an_exponent_beyond_all_bounds_is_refused_or_exact(mantissa: str, sign: str) -> None:
    sent, faults = outcome_of(an_event(amount=f"{mantissa}e{sign}999999999999999999999"))

    if faults:
        assert [fault.field for fault in faults] == ["amount"]
    else:
        assert (mantissa, sent["amount"]) == ("0", 0)


@pytest.mark.parametrize("name", ["amount", "event_time", "phone", "event_name", "is_upsell"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1" * 5_000 + "x", id="digits, then a letter"),
        pytest.param("1." + "1" * 5_000 + "x", id="decimals, then a letter"),
        pytest.param("1e" + "1" * 5_000 + "x", id="an exponent, then a letter"),
        pytest.param(" " * 5_000 + "x", id="blanks"),
        pytest.param("(" * 5_000, id="brackets"),
    ],
)
def test_a_long_text_is_judged_without_being_searched(name: str, text: str) -> None:
    # Time is not asserted; a pattern that backtracks over this text would not come back in minutes.
    sent, faults = outcome_of(an_event(**{name: text * 40}))

    assert faults or sent


# --- Booleans ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (True, True),
        ("true", True),
        ("True", True),
        (" TRUE ", True),
        (1, True),
        ("1", True),
        (False, False),
        ("false", False),
        ("FALSE", False),
        (0, False),
        ("0", False),
    ],
    ids=repr,
)
def test_a_boolean_is_taken_in_its_forms(name: str, given: object, *, sent: bool) -> None:
    assert fields_of(an_event(**{name: given}))[name] is sent


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize(
    "given",
    ["yes", "no", "on", "t", 2, -1, 1.0, 0.0, 10**4000, [], [True], {}],
    ids=lambda v: repr(v)[:12],
)
def test_what_is_no_boolean_is_refused(name: str, given: object) -> None:
    assert faults_of(an_event(**{name: given})) == (Fault(name, "must be true or false"),)


# --- Fields that Cometly does not know ---------------------------------------------------------


def test_a_misspelled_field_is_left_out_and_the_nearest_name_is_offered() -> None:
    event, (warning,) = read_event(an_event(comet_token="ct_1", emial="other@example.com"))

    assert event.email == "grace@example.com"
    assert "emial" not in event.fields()
    assert warning.field == "emial"
    assert 'did you mean "email"?' in warning.message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Email", "email"),
        (" email ", "email"),
        ("orderId", "order_id"),
        ("IP", "ip"),
        ("frist_name", "first_name"),
        ("eventTime", "event_time"),
    ],
)
def test_a_field_in_another_spelling_is_recognised(name: str, meant: str) -> None:
    (warning,) = warnings_of(an_event(**{name: "x"}))

    assert f'did you mean "{meant}"?' in warning.message


def test_a_field_like_no_other_is_left_out_without_a_guess() -> None:
    (warning,) = warnings_of(an_event(zzzz=1))

    assert warning.field == "zzzz"
    assert "did you mean" not in warning.message


def test_ten_unknown_fields_are_named_and_the_rest_are_counted() -> None:
    warnings = warnings_of(an_event(**{f"zz{number}": 1 for number in range(1_000)}))

    assert [warning.field for warning in warnings[:-1]] == [f"zz{number}" for number in range(10)]
    assert warnings[-1] == Fault("", "990 more unknown fields are left out")


def test_a_very_long_unknown_name_is_cut() -> None:
    (warning,) = warnings_of(an_event(**{"z" * 100_000: 1}))

    assert warning.field == "z" * 64


def test_what_an_unknown_field_holds_does_not_matter() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]

    event, _ = read_event(an_event(items=nested, huge=10**5000, nan=math.nan, half="\ud800"))

    assert event.fields() == an_event()


# --- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, [], [an_event()], "purchase", 5, True, math.nan], ids=repr)
def test_an_event_must_be_an_object(raw: object) -> None:
    assert faults_of(raw) == (Fault("", "an event must be a JSON object"),)


def test_every_fault_is_reported_at_once() -> None:
    raw = {"event_name": "purchased", "amount": "a lot", "ip": "203.0.113.9", "is_upsell": "maybe"}

    assert sorted(faulty_fields(raw)) == ["amount", "event_name", "fingerprint", "is_upsell"]


def test_faults_are_named_in_one_sentence() -> None:
    with pytest.raises(InvalidEvent) as refusal:
        read_event({"event_name": "purchase", "amount": "a lot"})

    message = str(refusal.value)
    assert message.startswith("The event is not valid: amount must be a number")
    assert "must identify the customer" in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_refused_event_brings_its_warnings_along() -> None:
    with pytest.raises(InvalidEvent) as refusal:
        read_event({"event_name": "purchase", "emial": "grace@example.com"})

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
