"""The event's rules: what is refused, what is left out, what is sent, and what the caller hears.

How each kind of value is read is in the readers' own tests, and in test_real_callers.py.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Fault, InvalidEvent
from cometly_forwarder.event.model import EVENT_NAMES, FIELDS
from cometly_forwarder.event.reading import EventRules, faulty_fields, read_event, warned_fields
from local.sandbox import contract
from tests.unit.cases import in_one_test
from tests.unit.conftest import READ_AT, an_event, read

IDENTIFIERS = (
    "tracking_id",
    "order_id",
    "order_name",
    "checkout_token",
    "upsell_common_id",
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
ANYTHING = [*TEXT_FIELDS, *IDENTIFIERS]
# What identifies, so that a word for a missing value would be somebody or some order.
IDENTIFYING = [
    "email",
    "comet_token",
    "fingerprint",
    "ip",
    "tracking_id",
    "phone",
    "order_id",
    "order_name",
    "checkout_token",
    "upsell_common_id",
    "idempotency_key",
]


HUGE = 10**5000  # more digits than Python writes


def a_lead(**fields: object) -> dict[str, object]:
    return {"event_name": "lead_generated", "email": "grace@example.com", **fields}


def named(value: object) -> str:
    return "huge" if value == HUGE else repr(value)[:16]


def fields_of(raw: object) -> dict[str, object]:
    return read(raw)[0].fields()


def warned_of(raw: object) -> list[str]:
    return [warning.field for warning in read(raw)[1]]


def faults_of(raw: object) -> tuple[Fault, ...]:
    with pytest.raises(InvalidEvent) as refusal:
        read(raw)
    return refusal.value.faults


def refused_for(raw: object) -> list[str]:
    return [fault.field for fault in faults_of(raw)]


# --- The fields -------------------------------------------------------------------------------


def test_the_fields_are_cometlys_28() -> None:
    assert set(FIELDS) == set(EVERY_FIELD) == contract.KNOWN_FIELDS
    assert len(FIELDS) == 28


def test_an_event_in_its_final_form_passes_unchanged_and_without_a_warning() -> None:
    event, warnings = read(EVERY_FIELD)

    assert event.fields() == EVERY_FIELD
    assert warnings == ()


@pytest.mark.parametrize("name", ["full_name", "email", "order_id", "idempotency_key"])
@pytest.mark.parametrize("lost", [0xFFFD, 0xD800, 0xDFFF], ids=hex)
def test_text_that_lost_bytes_is_taken_with_one_warning(name: str, lost: int) -> None:
    """Decision 12: a refused event is lost, and what cannot be read is in one field of it."""
    event, warnings = read(a_lead(**{name: f"m{chr(lost)}ller@example.com"}))

    assert event.fields()[name] == "m\ufffdller@example.com"
    assert [(warning.field, "U+FFFD" in warning.message) for warning in warnings] == [(name, True)]


@in_one_test
@pytest.mark.parametrize("blank", [None, "", "  ", "\t\r\n", "\u00a0\u2003"], ids=ascii)
@pytest.mark.parametrize("name", [name for name in FIELDS if name not in {"event_name", "email"}])
def test_a_blank_field_counts_as_absent(name: str, blank: str | None) -> None:
    event, warnings = read(a_lead(event_name="contact", **{name: blank}))

    assert name not in event.fields()
    assert warnings == ()


@pytest.mark.parametrize("name", ANYTHING)
def test_surrounding_blanks_go_and_inner_ones_stay(name: str) -> None:
    assert fields_of(a_lead(**{name: " \tTwo  Words\n"}))[name] == "Two  Words"


@in_one_test
@pytest.mark.parametrize("name", ANYTHING)
@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1002, "1002"),
        (-5, "-5"),
        (1001.0, "1001"),
        (1.5, "1.5"),
        (10**18, "1" + "0" * 18),
    ],
    ids=str,
)
def test_a_number_stands_for_its_digits(name: str, number: float, text: str) -> None:
    raw = a_lead(**{name: number})

    assert fields_of(raw)[name] == text
    assert warned_of(raw) == []


UNREADABLE: list[tuple[list[str], list[object]]] = [
    (ANYTHING, [False, math.nan, 1e300, HUGE]),
    (TEXT_FIELDS, [["x"], {"x": 1}]),
    ([*BOOLEANS], ["maybe", 2, 1.5, [True], {}]),
    (["phone", "ip", "fingerprint", "comet_token", "tracking_id"], [True, ["1"], {"a": 1}]),
]


@in_one_test
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for names, values in UNREADABLE for name in names for value in values],
    ids=named,
)
def test_a_minor_field_that_cannot_be_read_is_left_out_with_a_warning(
    name: str, value: object
) -> None:
    raw = a_lead(**{name: value})

    assert fields_of(raw) == a_lead()
    assert warned_of(raw) == [name]


@pytest.mark.parametrize("name", ["order_id", "idempotency_key"])
@pytest.mark.parametrize("value", [["1"], {"id": 1}, [], {}], ids=repr)
def test_a_list_or_an_object_is_no_order_and_no_key(name: str, value: object) -> None:
    assert refused_for(a_lead(**{name: value})) == [name]


@pytest.mark.parametrize("value", [[5], [""], [], {"a": 1}, 5, True], ids=repr)
def test_an_unreadable_e_mail_is_left_out_and_refused_where_nothing_else_identifies(
    value: object,
) -> None:
    raw = a_lead(email=value)

    assert refused_for(raw) == ["email"]
    assert "email" not in fields_of(raw | {"comet_token": "ct_1"})
    assert warned_of(raw | {"comet_token": "ct_1"}) == ["email"]


def test_an_event_cannot_be_changed_once_it_is_read() -> None:
    event, _ = read(a_lead())

    with pytest.raises(ValidationError):
        event.email = "other@example.com"


# --- Its name ---------------------------------------------------------------------------------


def test_the_names_are_those_of_the_sandboxs_own_reading() -> None:
    assert EVENT_NAMES == contract.EVENT_NAMES
    assert len(EVENT_NAMES) == 14 + 50


@pytest.mark.parametrize(
    "name", ["custom_event_0", "custom_event_51", "custom_event_01", "bought", 5, ["purchase"]]
)
def test_any_other_name_is_refused(name: object) -> None:
    assert refused_for(a_lead(event_name=name)) == ["event_name"]


def test_a_name_close_to_one_of_cometlys_is_answered_with_it() -> None:
    (close,) = faults_of(a_lead(event_name="purchsae"))
    (far,) = faults_of(a_lead(event_name="zzzz"))

    assert close.message.endswith('; did you mean "purchase"?')
    assert far.message.endswith("custom_event_50")


def test_a_name_that_is_not_admitted_is_refused_in_whatever_words() -> None:
    rules = EventRules(event_names=frozenset({"contact"}))

    for name in ("purchase", "CompletePayment"):
        with pytest.raises(InvalidEvent, match="BrowserEventNames"):
            read_event(a_lead(event_name=name), rules, READ_AT)
    assert read_event(a_lead(event_name="Contact"), rules, READ_AT)[0].event_name == "contact"


@pytest.mark.parametrize(
    "raw",
    [{"email": "g@example.com"}, a_lead(event_name=" "), a_lead(event_name=None)],
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
        pytest.param({"fingerprint": "fp_1", "ip": "unknown"}, "ip", id="ip that is none"),
        pytest.param({"fingerprint": "null", "ip": "203.0.113.7"}, "fingerprint", id="no print"),
        pytest.param({"email": "null", "comet_token": "undefined"}, "email", id="words for none"),
        pytest.param({"email": "\u200b"}, "email", id="nothing to be seen"),
    ],
)
def test_a_customer_is_not_identified_by(customer: dict[str, str], field: str) -> None:
    assert refused_for({"event_name": "purchase", **customer}) == [field]


@pytest.mark.parametrize("customer", [{"email": "g@example.com"}, {"comet_token": "ct_1"}])
@pytest.mark.parametrize("half", [{"ip": "203.0.113.7"}, {"fingerprint": "fp_1"}])
def test_half_a_pair_is_left_out_where_something_else_identifies(
    customer: dict[str, str], half: dict[str, str]
) -> None:
    raw = {"event_name": "contact", **customer, **half}

    assert fields_of(raw) == {"event_name": "contact", **customer}
    assert warned_of(raw) == list(half)


def test_an_address_that_is_none_takes_its_fingerprint_along() -> None:
    raw = a_lead(fingerprint="fp_1", ip="unknown.example")

    assert fields_of(raw) == a_lead()
    assert warned_of(raw) == ["ip", "fingerprint"]


@pytest.mark.parametrize(
    ("given", "customer"),
    [
        pytest.param({}, "grace@example.com", id="e-mail"),
        pytest.param({"email": ""}, "ct_1", id="token"),
        pytest.param({"email": "", "comet_token": ""}, "fp_1", id="fingerprint"),
        pytest.param({"email": "grace"}, "ct_1", id="token before a text without @"),
        pytest.param({"email": "grace", "comet_token": None}, "fp_1", id="fingerprint before it"),
    ],
)
def test_the_customer_is_the_first_given_of(given: dict[str, object], customer: str) -> None:
    assert read(EVERY_FIELD | given)[0].customer == customer


def test_a_text_without_an_at_is_the_customer_where_nothing_else_is() -> None:
    assert read(a_lead(email="grace"))[0].customer == "grace"


WORDS = ["null", "Undefined", "(not set)", "[object Object]", "{{email}}", "%%email%%", "${x}"]


@in_one_test
@pytest.mark.parametrize("name", IDENTIFYING)
@pytest.mark.parametrize("word", [*WORDS, "null\u200b", "\ufeffundefined"], ids=ascii)
def test_a_word_for_a_missing_value_identifies_nobody(name: str, word: str) -> None:
    raw = a_lead(comet_token="ct_1") | {name: word}

    assert name not in fields_of(raw)
    assert set(warned_of(raw)) == {name}


@pytest.mark.parametrize("name", ["full_name", "last_name", "comet_campaign", "comet_keyword"])
def test_elsewhere_it_is_a_value(name: str) -> None:
    raw = a_lead(**{name: "Null"})

    assert fields_of(raw)[name] == "Null"
    assert warned_of(raw) == []


def test_a_key_that_is_such_a_word_in_quotes_is_none_either() -> None:
    assert "idempotency_key" not in fields_of(a_lead(idempotency_key='"null"'))


@pytest.mark.parametrize(
    ("region", "given", "sent"),
    [
        pytest.param(None, {"phone_region": "DE"}, "4915123456789", id="the event's own"),
        pytest.param("US", {"phone_region": " de "}, "4915123456789", id="before the stack's"),
        pytest.param("DE", {"phone_region": ""}, "4915123456789", id="blank"),
        pytest.param("DE", {"phone_region": None}, "4915123456789", id="null"),
    ],
)
def test_the_country_of_a_phone_is_the_events_else_the_stacks(
    region: str | None, given: dict[str, object], sent: str
) -> None:
    event, warnings = read(a_lead(phone="0151 23456789", **given), region)

    assert event.fields() == a_lead(phone=sent)
    assert warnings == ()


@pytest.mark.parametrize("region", ["Germany", "XX", "UK", 49, ["DE"], True], ids=repr)
def test_a_region_that_is_none_is_left_out_with_a_warning(region: object) -> None:
    event, warnings = read(a_lead(phone="0151 23456789", phone_region=region), "DE")

    assert event.phone == "4915123456789"
    assert [warning.field for warning in warnings] == ["phone_region"]


# --- Amount and time --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["a lot", True, [], {"value": 1}, math.nan, "1,234", HUGE], ids=named
)
def test_an_amount_that_cannot_be_read_refuses_the_event(value: object) -> None:
    assert refused_for(a_lead(amount=value)) == ["amount"]


@pytest.mark.parametrize(
    "value", ["yesterday", True, [], {}, math.inf, "01/02/2024", "9" * 9999], ids=named
)
def test_a_time_that_cannot_be_read_refuses_the_event(value: object) -> None:
    assert refused_for(a_lead(event_time=value)) == ["event_time"]


@pytest.mark.parametrize("value", [0, -1, "1970-01-01", "2026-07-03", HUGE, 1e300], ids=named)
def test_a_time_that_no_conversion_has_becomes_that_of_the_acceptance(value: object) -> None:
    event, warnings = read(a_lead(event_time=value), at=datetime(2026, 7, 1, 8, tzinfo=UTC))

    assert event.event_time == "2026-07-01T08:00:00Z"
    assert [warning.field for warning in warnings] == ["event_time"]


@pytest.mark.parametrize(
    ("raw", "warned"),
    [
        pytest.param(an_event(), ["amount"], id="absent"),
        pytest.param(an_event(amount=" "), ["amount"], id="blank"),
        pytest.param(an_event(amount=None), ["amount"], id="NaN of a page, which is null in JSON"),
        pytest.param(an_event(amount=0), [], id="zero"),
        pytest.param(a_lead(), [], id="no purchase"),
    ],
)
def test_a_purchase_without_an_amount_has_a_warning(raw: object, warned: list[str]) -> None:
    assert [warning.field for warning in read(raw)[1]] == warned


# --- Fields that Cometly does not know ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"), [("frist_name", '; did you mean "first_name"?'), ("zzzz", "is left out")]
)
def test_an_unknown_field_is_left_out_and_the_nearest_name_is_offered(name: str, hint: str) -> None:
    event, (warning,) = read(a_lead(**{name: "x"}))

    assert event.fields() == a_lead()
    assert warning.field == name
    assert warning.message.endswith(hint)


def test_ten_unknown_fields_are_named_cut_and_the_rest_are_counted() -> None:
    names = [f"zz{number}" + "z" * 100 for number in range(1_000)]

    _, warnings = read(a_lead(**dict.fromkeys(names)))

    assert [warning.field for warning in warnings[:-1]] == [name[:64] for name in names[:10]]
    assert warnings[-1] == Fault("", "990 more unknown fields are left out")


@in_one_test
@pytest.mark.parametrize("value", ["EUR", " eur ", "", 5, 1.5, True, False], ids=repr)
@pytest.mark.parametrize("name", ["currency", "profile_field_1", "profile_field_30"])
def test_what_is_passed_on_goes_as_it_is(name: str, value: object) -> None:
    raw = a_lead(**{name: value})

    assert json.dumps(fields_of(raw)) == json.dumps(raw)
    assert warned_of(raw) == []


@pytest.mark.parametrize("value", [["EUR"], {"a": 1}, math.nan], ids=repr)
def test_what_is_passed_on_is_text_a_number_or_a_boolean(value: object) -> None:
    raw = a_lead(currency=value)

    assert fields_of(raw) == a_lead()
    assert warned_of(raw) == ["currency"]
    assert warned_of(a_lead(currency=None)) == []


def test_half_a_surrogate_pair_is_passed_on_as_a_mark_with_a_warning() -> None:
    raw = a_lead(profile_field_2="Ada\ud83d")

    assert fields_of(raw) == a_lead(profile_field_2="Ada\ufffd")
    assert warned_of(raw) == ["profile_field_2"]


def test_without_rules_nothing_is_passed_on_and_the_region_never() -> None:
    raw = a_lead(currency="EUR", phone_region="DE")

    plain, warnings = read_event(raw, EventRules(), READ_AT)
    wide, _ = read_event(raw, EventRules(passed_on=frozenset({"phone_*"})), READ_AT)

    assert plain.fields() == wide.fields() == a_lead()
    assert [warning.field for warning in warnings] == ["currency"]


def test_a_wildcard_outranks_other_vocabularies() -> None:
    rules = EventRules(passed_on=frozenset({"user_*", "value*"}))
    raw = a_lead(user_email="b@example.com", value=5, user_data={"ph": "+16505551212"})

    event, _ = read_event(raw, rules, READ_AT)

    assert event.fields() == a_lead(user_email="b@example.com", value=5, phone="16505551212")


@pytest.mark.parametrize("number", [10**309, -(10**309), 10**4000, math.inf, math.nan], ids=type)
def test_a_number_that_others_cannot_read_is_not_passed_on(number: float) -> None:
    event, warnings = read_event(
        a_lead(currency=number), EventRules(passed_on=frozenset({"currency"})), READ_AT
    )

    assert event.fields() == a_lead()
    assert [warning.field for warning in warnings] == ["currency"]


# --- What costs no event ----------------------------------------------------------------------


@pytest.mark.parametrize("word", ["undefined", "null", " NaN ", "{{total}}", "N/A", "(not set)"])
@pytest.mark.parametrize("name", ["amount", "event_time"])
def test_a_word_for_a_missing_value_is_no_amount_and_no_time(name: str, word: str) -> None:
    assert fields_of(a_lead(**{name: word})) == a_lead()
    assert warned_of(a_lead(**{name: word})) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("value", "newsletter"), ("total", True), ("revenue", "1,234"), ("value", math.nan)),
        *(("timestamp", "yesterday"), ("timestamp_micros", "soon"), ("occurred_at", True)),
        *(("custom_data", {"amount": "a lot"}), ("properties", {"event_time": "noon"})),
        *(("value", 10**400), ("user_data__amount", "a lot")),
    ],
)
def test_an_amount_or_a_time_by_another_name_refuses_nothing(name: str, value: object) -> None:
    assert fields_of(a_lead(**{name: value})) == a_lead()
    assert warned_of(a_lead(**{name: value}))[0].startswith(name)


@pytest.mark.parametrize("name", ["amount", "Amount", "event_time", "eventTime"])
def test_by_cometlys_own_name_it_does(name: str) -> None:
    assert refused_for(a_lead(**{name: "newsletter"})) in (["amount"], ["event_time"])


def test_of_a_list_of_addresses_the_first_is_sent() -> None:
    raw = a_lead(email=["", "a" * 64, "Grace@Example.com", "b@example.com"])

    assert fields_of(raw)["email"] == "grace@example.com"
    assert warned_of(raw) == ["email"]


def test_a_test_event_is_said_to_be_booked() -> None:
    raw = a_lead(test_event_code="TEST1", **{f"x{n}": n for n in range(20)})

    [told] = [it.message for it in read(raw)[1] if it.field == "test_event_code"]

    assert "IS booked" in told


# --- What a way in knows better ---------------------------------------------------------------


def test_a_way_in_amends_what_other_vocabularies_were_read_as() -> None:
    raw = a_lead(client_ip_address="10.0.0.1", fingerprint="fp_1")

    event, _ = read_event(raw, EventRules(), READ_AT, lambda told: {**told, "ip": "203.0.113.7"})

    assert event.ip == "203.0.113.7"


# --- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, [a_lead()], "purchase", 5, math.nan], ids=repr)
def test_an_event_must_be_an_object(raw: object) -> None:
    assert faults_of(raw) == (Fault("", "an event must be a JSON object"),)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"email": "a@example.com", "email": "b@example.com"}', "email"),
        ('{"email": "a@example.com", "user": {"x": 1, "x": 2}}', "user.x"),
    ],
)
def test_an_event_that_names_a_key_twice_is_refused_by_that_key(body: str, name: str) -> None:
    assert refused_for(jsontext.parse_each(body)) == [name]


def test_every_fault_is_reported_at_once() -> None:
    raw = {"event_name": "bought", "amount": "a lot", "ip": "203.0.113.9", "order_id": []}

    assert sorted(refused_for(raw)) == ["amount", "event_name", "fingerprint", "order_id"]


def test_faults_are_named_in_one_sentence_and_warnings_come_along() -> None:
    with pytest.raises(InvalidEvent) as refusal:
        read({"event_name": "purchase", "amount": "a lot", "emial": "grace@example.com"})

    message = str(refusal.value)
    assert message.startswith("The event is not valid: amount must be a number")
    assert "must identify the customer" in message
    assert message.endswith(".")
    assert "\n" not in message
    assert [warning.field for warning in refusal.value.warnings] == ["emial"]


def test_a_refusal_chains_nothing_that_a_traceback_would_quote() -> None:
    with pytest.raises(InvalidEvent) as refusal:
        read(a_lead(amount="Grace at 1 Example Street"))

    assert "Grace" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


def test_a_log_names_no_field_that_a_sender_made_up() -> None:
    told = (Fault("ip", "x"), Fault("ada@example.com", "x"), Fault("", "x"), Fault("ip", "y"))

    assert warned_fields(told) == ["(other)", "ip"]
    assert faulty_fields(told) == ["ip", "(other)", "", "ip"]
