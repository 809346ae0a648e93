"""What people who send conversions for a living were seen to send, and further inputs of each kind.

Each row is what is sent, what Cometly gets of it, and which fields have a warning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cometly_forwarder.errors import InvalidEvent
from cometly_forwarder.event.envelope import Source, read_envelope, seal
from cometly_forwarder.event.reading import EventRules
from local.sandbox import contract
from tests.unit.cases import in_one_test
from tests.unit.conftest import PASSED_ON, READ_AT, read

HTTP = Source("http", "request-1", READ_AT)
QUEUE = Source("sqs", "message-1", READ_AT)
BASE = {"event_name": "purchase", "email": "ada@example.com", "amount": 49.9, "order_id": "T-1"}
NOW = READ_AT.strftime("%Y-%m-%dT%H:%M:%SZ")


def sent(
    changes: Mapping[str, object], region: str | None = None
) -> tuple[dict[str, Any], set[str]]:
    """Send a purchase with these fields in place of its own; returns what is posted, and warnings.

    Whatever is posted keeps Cometly's rules, and is what a stack of another region posts, too.
    """
    event, warnings = read({**BASE, **changes}, region)
    envelope = seal(event, HTTP)
    assert contract.problems(envelope.event) == []
    for other in (None, "US", "DE"):
        again = read_envelope(envelope.body(), QUEUE, EventRules(other, PASSED_ON))
        assert again == envelope
    return dict(envelope.event), {warning.field for warning in warnings}


def id_of(changes: Mapping[str, object], source: str = "request-1") -> str:
    event, _ = read({**BASE, **changes})
    return seal(event, Source("http", source, READ_AT)).event_id


def refusals(changes: Mapping[str, object]) -> dict[str, str]:
    with pytest.raises(InvalidEvent) as refusal:
        read({**BASE, **changes})
    return {fault.field: fault.message for fault in refusal.value.faults}


def rows(*table: tuple[object, ...]) -> list[Any]:
    """Make a row's first cells its name."""
    return [pytest.param(*row, id=" ".join(ascii(cell)[:40] for cell in row[:2])) for row in table]


# --- Phones -----------------------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    ("region", "phone", "digits", "warns"),
    rows(
        (None, "0151 23456789", None, True),
        (None, "0812-3456-7890", None, True),
        ("US", "020 7946 0958", None, True),
        ("US", "090-1234-5678", None, True),
        ("US", "0803 456 7890", None, True),
        ("US", "0917 823 4567", None, True),
        ("US", "479-273-1000 (home)", "14792731000", False),
        ("US", "4792731000 cell", "14792731000", True),
        ("DE", "49 162 2897306", "491622897306", False),
        ("DE", "49-162-2897306", "491622897306", False),
        ("DE", "(49) 162 2897306", "491622897306", False),
        ("DE", "491622897306", "491622897306", False),
        (None, "a3" * 32, None, True),
        ("US", "1.65055512E+10", None, True),
        ("US", "650-555-1212 / 415-555-1212", "16505551212", True),
        # Of the same kinds.
        ("DE", "0151 23456789", "4915123456789", False),
        ("ID", "0812-3456-7890", "6281234567890", False),
        ("JP", "090-1234-5678", "819012345678", False),
        ("NG", "0803 456 7890", "2348034567890", False),
        ("GB", "(020) 7946 0958", "442079460958", False),
        ("FR", "+33 (0)6 12 34 56 78", "33612345678", False),
        (None, "+1 (650) 555-1212 ext. 3", "16505551212", False),
        (None, "0081 90 1234 5678", "819012345678", False),
        ("DE", "UK 07911 123456", "447911123456", False),
        ("DE", "0611264644 FR", "33611264644", False),
        ("DE", "tel:0611264644;phone-context=+33", "33611264644", False),
        ("DE", "France 06 11 26 46 44", "49611264644", True),
        ("DE", "(UK) 0171 2345678", None, True),
        (None, "1312/3455085", None, True),
        (None, "e3b0c44298fc1c149afbf4c8996fb924", None, True),
        (None, "1.65E10", None, True),
        (None, "+1 650 *** 1212", None, True),
        (None, "2024-01-15", None, True),
        (None, "ada@example.com", None, True),
        (None, ["+16505551212"], None, True),
        (None, True, None, True),
        (None, 16505551212, "16505551212", False),
        (None, 1.6505551212e10, "16505551212", False),
    ),
)
def test_a_phone_is_never_a_strangers(
    region: str | None, phone: object, digits: str | None, *, warns: bool
) -> None:
    posted, warned = sent({"phone": phone}, region)

    assert posted.get("phone") == digits
    assert warned == ({"phone"} if warns else set())


# --- Minor fields -----------------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    ("field", "value", "taken", "warns"),
    rows(
        ("order_id", 1001.0, "1001", False),
        ("order_id", 7311111111111111111, "7311111111111111111", False),
        ("comet_keyword", 2024, "2024", False),
        ("is_upsell", "yes", True, False),
        ("is_upsell", "no", False, False),
        ("is_upsell", "y", True, False),
        ("is_upsell", "n", False, False),
        ("is_upsell", "on", True, False),
        ("is_upsell", "off", False, False),
        ("full_name", "Ada\ud83d", "Ada\ufffd", True),
        ("tracking_id", {"a": 1}, None, True),
        ("amount", "33.33333333333333333333333333", 33.333333333333336, True),
        ("amount", "89,00", 89, True),
        ("amount", "1.234,56", 1234.56, True),
        ("amount", "$1,234.56", 1234.56, True),
        ("amount", "49.90 USD", 49.9, True),
        ("ip", "203.0.113.7", None, True),
        ("fingerprint", "fp_1", None, True),
        # Of the same kinds.
        ("order_id", 0, "0", False),
        ("order_id", 10**25, "1" + "0" * 25, False),
        ("comet_ad_id", 120210000000000000, "120210000000000000", False),
        ("comet_ad_group", 3.5, "3.5", False),
        ("first_name", ["Ada"], None, True),
        ("url", {"href": "https://shop.example.com"}, None, True),
        ("user_agent", True, None, True),
        ("order_name", 1e300, None, True),
        ("checkout_token", ["c"], None, True),
        ("do_not_capi", "FALSE", False, False),
        ("do_not_capi", 1.0, True, False),
        ("do_not_capi", "perhaps", None, True),
        ("last_name", "\udc00Lovelace", "\ufffdLovelace", True),
        ("full_name", "Ren\u0065\u0301", "Ren\u00e9", True),
        ("full_name", "\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e", False),
        ("amount", "49.90", 49.9, False),
        ("amount", "50.000", 50.0, True),
        ("amount", 50.0, 50.0, False),
        ("order_id", "ORD-{{id}}", None, True),
        ("order_id", "order_undefined", None, True),
        ("order_id", "1.23457E+15", None, True),
        ("order_id", "{PO1}", "{PO1}", False),
        ("order_id", "1001.0", "1001.0", False),
        ("idempotency_key", "7.3111111111111E+18", None, True),
        ("idempotency_key", "ORD-${id}", None, True),
        ("idempotency_key", "x" * 10_000, "x" * 10_000, False),
        ("full_name", "Z" + "\u0301" * 40, "Z" + "\u0301" * 40, True),
        ("amount", " 5 ", 5, False),
        ("amount", "1\u202f234,56\u00a0\u20ac", 1234.56, True),
        ("amount", "CHF 1'234.50", 1234.5, True),
        ("amount", "R$ 1.234.567,89", 1234567.89, True),
        ("amount", "\u20b91,23,456.00", 123456, True),
        ("amount", "\u0661\u0662\u066b\u0665", 12.5, True),
        ("amount", "49,90 z\u0142", 49.9, True),
        ("amount", "-12,50", -12.5, True),
    ),
)
def test_a_minor_field_does_not_cost_the_purchase(
    field: str, value: object, taken: object, *, warns: bool
) -> None:
    posted, warned = sent({field: value})

    assert posted.get(field) == taken
    assert type(posted.get(field)) is type(taken) or field == "amount"
    assert warned == ({field} if warns else set())


@pytest.mark.parametrize("amount", ["1,234", "1,234 USD", "\u20ac1.234", "(12.50)", "12.50-"])
def test_an_amount_that_could_be_two_things_is_refused_and_says_so(amount: str) -> None:
    assert "could be" in refusals({"amount": amount})["amount"]


# --- Missing values ---------------------------------------------------------------------------

_WORDS = ("undefined", "null", "NaN", "None", "(not set)", "[object Object]", "{{order.id}}")
_TEMPLATES = (
    *("{{${email_address}}}", "#EMAIL#", "{$order.id}", "{Email:3}", "={{ $json.email }}"),
    *("@{variables('x')}", "<?= $order_id ?>", "%(order_id)s", "<<email>>", "{0}", "#DIV/0!"),
    *("undefined-undefined", "nullnull", "'null'", "&lt;email&gt;", "%24%7Bemail%7D"),
    "\uff5b\uff5bemail\uff5d\uff5d",
)
_MORE_WORDS = ("%%order%%", "${order}", "{{ a }}-{{ b }}", "N/A", "NULL ", "#N/A", "*|EMAIL|*", "-")
_IDENTIFYING = ("email", "comet_token", "tracking_id", "order_id", "idempotency_key")


@in_one_test
@pytest.mark.parametrize("word", [*_WORDS, *_MORE_WORDS, *_TEMPLATES])
@pytest.mark.parametrize("field", _IDENTIFYING)
def test_a_missing_value_makes_nobody_and_no_order(field: str, word: str) -> None:
    posted, warned = sent({"comet_token": "tok-a", "email": "b@example.com"} | {field: word})

    assert posted.get(field) is None
    assert warned == {field}


def test_three_visitors_without_values_are_three_events() -> None:
    nobody = {"email": "null", "order_id": "null"}

    ids = {id_of(nobody | {"comet_token": f"tok-{n}"}, f"request-{n}") for n in "abc"}

    assert len(ids) == 3


def test_a_text_without_an_at_is_not_the_customer_where_a_token_is() -> None:
    ids = {id_of({"email": "guest", "comet_token": f"tok-{n}"}) for n in "abc"}

    assert len(ids) == 3


# --- Spellings --------------------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    ("one", "other"),
    rows(
        *(
            ({"email": "ada@example.com"}, {"email": f"ada@example.com{hidden}"})
            for hidden in "\u200b\ufeff\u2060\u202a\u202c\u00ad\u200d\u2066\u180e\u00a0"
        ),
        ({"idempotency_key": '"38627e30-1"'}, {"idempotency_key": "38627e30-1"}),
        ({"order_id": "gid://shopify/OrderIdentity/5001"}, {"order_id": "5001"}),
        # Of the same kinds.
        ({"order_id": "gid://shopify/Order/5001"}, {"order_id": 5001}),
        ({"order_id": "gid://shopify/Order/5001?x=1"}, {"order_id": 5001.0}),
        ({"order_id": "Z2lkOi8vc2hvcGlmeS9PcmRlci81MDAx"}, {"order_id": "5001"}),
        ({"order_id": "T\u200b-2"}, {"order_id": "T-2"}),
        ({"order_id": "Caf\u00e9-1"}, {"order_id": "Cafe\u0301-1"}),
        ({"email": "ADA@Example.com"}, {"email": " ada@example.com"}),
        ({"email": "ada%2Btag%40example.com"}, {"email": "ada+tag@example.com"}),
        ({"email": "email:ada@example.com"}, {"email": "ada@example.com"}),
        ({"email": "ada@example.com?subject=x"}, {"email": "ada@example.com"}),
        ({"email": "ada@m\u00fcnchen.example"}, {"email": "ada@xn--mnchen-3ya.example"}),
        ({"email": "\u0130da@example.com"}, {"email": "ida@example.com"}),
        ({"order_id": "\uff15\uff10\uff10\uff11"}, {"order_id": "5001"}),
        ({"order_id": "gid%3A%2F%2Fshopify%2FOrder%2F5001"}, {"order_id": "5001"}),
        ({"order_id": "T\u20112"}, {"order_id": "T-2"}),
        ({"email": "mailto:ada@example.com"}, {"email": "ada@example.com"}),
        ({"email": "Ada Lovelace <Ada@example.com>"}, {"email": "ada@example.com"}),
        ({"email": "ad\u200ba@example.com"}, {"email": "ada@example.com"}),
        ({"email": None, "comet_token": "tok\u200b"}, {"email": None, "comet_token": "tok"}),
        ({"idempotency_key": "k\ufeff"}, {"idempotency_key": "k"}),
        ({"orderId": "7", "order_id": None}, {"order_id": "7"}),
        ({"event_name": "Purchase"}, {"event_name": "Order Completed"}),
    ),
)
def test_one_thing_in_two_spellings_is_one_event(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert id_of(one, "request-1") == id_of(other, "request-2")


@pytest.mark.parametrize(
    ("one", "other"),
    rows(
        ({"order_id": "5001"}, {"order_id": "#5001"}),
        ({"order_id": "05001"}, {"order_id": "5001"}),
        ({"order_id": "a"}, {"order_id": "A"}),
        ({"order_id": "1001.0"}, {"order_id": "1001"}),
        ({"email": "bob,smith@example.com"}, {"email": "smith@example.com"}),
        ({"order_id": "gid://shopify/Customer/1"}, {"order_id": "1"}),
        ({"idempotency_key": "k"}, {"idempotency_key": "K"}),
        ({"email": "ada@example.com"}, {"email": None, "comet_token": "tok-a"}),
    ),
)
def test_two_things_that_look_alike_are_two(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert id_of(one) != id_of(other)


# --- Addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ip", "address", "warns"),
    rows(
        ("203.0.113.7, 10.0.0.5", "203.0.113.7", True),
        ("203.0.113.7:54321", "203.0.113.7", True),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("unknown", None, True),
        # Of the same kinds.
        ("203.0.113.7", "203.0.113.7", False),
        ("10.0.0.5, 203.0.113.7", "203.0.113.7", True),
        ("[2001:db8::1]:443", "2001:db8::1", True),
        ("2001:DB8::1", "2001:db8::1", False),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1", True),
        ('for="[2001:db8::1]:4711";proto=https', "2001:db8::1", True),
        ("10.0.0.5", "10.0.0.5", True),
        ("0.0.0.0", None, True),  # noqa: S104 - nobody's address
        ("203.0.113", None, True),
        ("localhost", None, True),
        ("unknown, 203.0.113.7", None, True),
        (3405803783, None, True),
    ),
)
def test_an_address_is_read_or_left_out_with_its_fingerprint(
    ip: object, address: str | None, *, warns: bool
) -> None:
    posted, warned = sent({"fingerprint": "fp_1", "ip": ip})

    assert posted.get("ip") == address
    assert posted.get("fingerprint") == ("fp_1" if address else None)
    assert warned == ({"ip"} if warns else set()) | (set() if address else {"fingerprint"})


# --- Times ------------------------------------------------------------------------------------

_HALF_PAST = "2024-01-15T10:30:00Z"


@in_one_test
@pytest.mark.parametrize(
    ("time", "moment", "warns"),
    rows(
        (20240115, "2024-01-15T00:00:00Z", False),
        (0, NOW, True),
        ("202401151030", _HALF_PAST, True),
        ("2024-01-15 10:30:00 UTC", _HALF_PAST, False),
        ("Mon, 15 Jan 2024 10:30:00 GMT", _HALF_PAST, False),
        (1705314600123456, _HALF_PAST, True),
        ("1705314600123456", _HALF_PAST, True),
        ("2024-01-15T10:30:00+05:30[Asia/Kolkata]", "2024-01-15T05:00:00Z", False),
        ("2024-01-15T24:00:00Z", "2024-01-16T00:00:00Z", False),
        # Of the same kinds.
        ("20240115", "2024-01-15T00:00:00Z", False),
        (20240115103000, _HALF_PAST, True),
        (1705314600123, _HALF_PAST, True),
        (1705314600, _HALF_PAST, False),
        (1705314600.9, _HALF_PAST, False),
        ({"_seconds": 1705314600, "_nanoseconds": 0}, _HALF_PAST, True),
        ("1.7053146E9", _HALF_PAST, False),
        ("2024-01-15_10-30-00", _HALF_PAST, False),
        ("1705314600.9", _HALF_PAST, False),
        (-1, NOW, True),
        (946684800, NOW, True),
        ("1970-01-01T00:00:00Z", NOW, True),
        ("0001-01-01T00:00:00", NOW, True),
        ("2036-01-01", NOW, True),
        (4102444800, NOW, True),
        ("2026-07-02T11:59:59Z", "2026-07-02T11:59:59Z", False),
        ("2024-01-15 10:30:00 +0000 UTC", _HALF_PAST, False),
        ("Mon Jan 15 2024 11:30:00 GMT+0100 (CET)", _HALF_PAST, False),
        ("Mon, 15 Jan 2024 05:30:00 EST", _HALF_PAST, False),
        ("2024-01-15t10:30:00z", _HALF_PAST, False),
        ("15.01.2024 10:30", _HALF_PAST, True),
        ("\u0662\u0660\u0662\u0664-\u0660\u0661-\u0661\u0665", "2024-01-15T00:00:00Z", False),
    ),
)
def test_a_time_is_read_in_the_forms_that_programs_write(
    time: object, moment: str, *, warns: bool
) -> None:
    posted, warned = sent({"event_time": time})

    assert posted["event_time"] == moment
    assert warned == ({"event_time"} if warns else set())


@pytest.mark.parametrize("time", ["01/02/2024", "01-02-24", "2024-01-15 10:30:00 IST", "15 Jan"])
def test_a_time_that_could_be_two_or_is_none_is_refused(time: str) -> None:
    assert refusals({"event_time": time}).keys() == {"event_time"}


# --- Other vocabularies -----------------------------------------------------------------------


def test_metas_words_make_a_whole_purchase() -> None:
    meta = {"event_name": "Purchase", "transaction_id": "T-9", "value": 49.9, "event_id": "e-1"}

    event, warnings = read({"email": "ada@example.com", **meta})

    assert event.fields() == BASE | {"order_id": "T-9", "idempotency_key": "e-1"}
    assert {warning.field for warning in warnings} == meta.keys() - {"event_name"}


@in_one_test
@pytest.mark.parametrize(
    ("name", "field", "value"),
    rows(
        ("value", "amount", 5),
        ("revenue", "amount", 5),
        ("total", "amount", 5),
        ("transaction_id", "order_id", "T-9"),
        ("orderId", "order_id", "T-9"),
        ("event_id", "idempotency_key", "e-1"),
        ("eventID", "idempotency_key", "e-1"),
        ("email_address", "email", "b@example.com"),
        ("phone_number", "phone", "16505551212"),
        ("client_user_agent", "user_agent", "Mozilla/5.0"),
        ("event_source_url", "url", "https://shop.example.com"),
        ("timestamp", "event_time", _HALF_PAST),
        # Of the same kinds.
        ("totalPrice", "amount", 5),
        ("conversion_value", "amount", 5),
        ("Order-ID", "order_id", "T-9"),
        ("transactionId", "order_id", "T-9"),
        ("messageId", "idempotency_key", "e-1"),
        ("idempotencyKey", "idempotency_key", "e-1"),
        ("Email", "email", "b@example.com"),
        ("firstName", "first_name", "Ada"),
        ("page_location", "url", "https://shop.example.com"),
        ("eventTime", "event_time", _HALF_PAST),
        ("cometToken", "comet_token", "ct_1"),
        ("isUpsell", "is_upsell", True),
        ("comet campaign", "comet_campaign", "spring"),
    ),
)
def test_another_name_of_a_field_is_read_where_the_field_is_absent(
    name: str, field: str, value: object
) -> None:
    posted, warned = sent({field: None, name: value})

    assert posted[field] == value
    assert warned == {name}
    assert sent({field: value, name: "other"})[0] == sent({field: value})[0]


def test_an_address_by_metas_name_is_taken_with_its_fingerprint() -> None:
    posted, warned = sent({"client_ip_address": "203.0.113.7", "fingerprint": "fp_1"})

    assert posted["ip"] == "203.0.113.7"
    assert warned == {"client_ip_address"}


@pytest.mark.parametrize("name", ["id", "name", "user_id", "external_id", "price", "created_at"])
def test_a_name_that_could_be_two_things_is_not_guessed(name: str) -> None:
    posted, warned = sent({name: "5"})

    assert posted == sent({})[0]
    assert warned == {name}


@pytest.mark.parametrize(
    ("given", "name", "warns"),
    rows(
        ("Lead", "lead_generated", True),
        ("AddToCart", "add_to_cart", True),
        ("begin_checkout", "initiate_checkout", True),
        ("generate_lead", "lead_generated", True),
        # Of the same kinds.
        ("PURCHASE", "purchase", False),
        (" Purchase\n", "purchase", False),
        ("InitiateCheckout", "initiate_checkout", True),
        ("CompleteRegistration", "complete_registration", True),
        ("Order Completed", "purchase", True),
        ("CompletePayment", "purchase", True),
        ("view_item", "view_content", True),
        ("Product Added", "add_to_cart", True),
        ("sign up", "sign_up", True),
        ("custom-event-7", "custom_event_7", True),
        ("purchase\u200b", "purchase", True),
    ),
)
def test_an_event_is_known_by_the_names_of_other_vocabularies(
    given: str, name: str, *, warns: bool
) -> None:
    posted, warned = sent({"event_name": given})

    assert posted["event_name"] == name
    assert warned == ({"event_name"} if warns else set())


@pytest.mark.parametrize("name", ["PageView", "Search", "checkout", "custom_event_1_1", "bought"])
def test_an_event_that_could_be_two_or_is_none_is_refused(name: str) -> None:
    assert refusals({"event_name": name}).keys() == {"event_name"}


def test_segments_event_is_read_out_of_its_objects() -> None:
    segment = {
        "event": "Order Completed",
        "messageId": "m-1",
        "timestamp": _HALF_PAST,
        "context": {"traits": {"email": "ada@example.com"}, "page": {"url": "https://a.example"}},
        "properties": {"order_id": "T-9", "revenue": 49.9, "currency": "EUR"},
    }

    event, _ = read(segment)

    assert (
        event.fields().items()
        >= {
            "event_name": "purchase",
            "email": "ada@example.com",
            "order_id": "T-9",
            "amount": 49.9,
            "event_time": _HALF_PAST,
        }.items()
    )


@pytest.mark.parametrize("amount", [None, "", " "])
def test_a_purchase_without_an_amount_says_so(amount: object) -> None:
    assert sent({"amount": amount})[1] == {"amount"}


# --- Fields that the reference does not list ---------------------------------------------------


def test_the_drop_in_takes_nothing_away() -> None:
    extra = {
        "currency": "EUR",
        "profile_field_1": "gold",
        "profile_field_30": 7,
        "profile_field_2": True,
    }

    posted, warned = sent(extra)

    assert posted.items() >= extra.items()
    assert warned == set()


# --- Upsells ----------------------------------------------------------------------------------


def test_an_upsell_on_the_orders_own_id_is_an_event_of_its_own() -> None:
    order = id_of({"amount": 47})
    upsell = id_of({"amount": 97, "is_upsell": True})

    assert upsell != order
    assert upsell == id_of({"amount": "97.00", "is_upsell": "true"}, "request-2")
    assert upsell != id_of({"amount": 37, "is_upsell": True})
    assert upsell != id_of({"amount": 97, "is_upsell": True, "order_name": "#2"})
    assert upsell == id_of({"amount": 97, "is_upsell": True, "url": "https://a.example"})


# --- Every way in -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    rows(
        ({"phone": "0151 23456789", "phone_region": "DE"},),
        ({"order_id": 1001.0, "amount": "89,00"},),
        ({"order_id": "null", "idempotency_key": '"k"'},),
        ({"order_id": None, "transaction_id": "T-9", "event_name": "Purchase", "currency": "EUR"},),
        ({"is_upsell": "yes", "event_time": 0},),
    ),
)
def test_every_way_in_reads_alike(changes: dict[str, object]) -> None:
    raw, rules = BASE | changes, EventRules(None, PASSED_ON)
    stamp = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC).isoformat()
    sns = {"Type": "Notification", "MessageId": "1", "Message": json.dumps(raw), "Timestamp": stamp}
    bus = {"detail-type": "ConversionEvent", "id": "1", "time": stamp, "detail": raw}

    posted, warned = sent(changes)

    for body in (json.dumps(raw), json.dumps(sns), json.dumps(bus)):
        envelope = read_envelope(body, QUEUE, rules)
        assert envelope.event == posted
        assert {warning.field for warning in envelope.warnings} == warned
