"""Field names and event names of other vocabularies."""

from __future__ import annotations

import pytest

from cometly_forwarder.event.model import EVENT_NAMES, FIELDS, STANDARD_NAMES
from cometly_forwarder.event.vocabulary import others_in, read_event_name, translated
from tests.unit.cases import in_one_test

SHA_256 = "a" * 64


def read(raw: dict[str, object], *more: str) -> tuple[dict[str, object], dict[str, str]]:
    warnings: dict[str, str] = {}
    result = translated(raw, frozenset((*FIELDS, *more)), warnings.__setitem__)
    return dict(result), warnings


def was_read_as(field: str) -> str:
    return f'was read as "{field}"'


# --- Fields -------------------------------------------------------------------------------------


def test_an_event_in_cometlys_words_is_not_touched() -> None:
    raw: dict[str, object] = {"event_name": "purchase", "email": "ada@example.com", "amount": 1}

    assert translated(raw, FIELDS, lambda name, message: pytest.fail(name + message)) is raw


@in_one_test
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(lambda words: words[0] + "".join(map(str.title, words[1:])), id="camelCase"),
        pytest.param(lambda words: "".join(map(str.title, words)), id="PascalCase"),
        pytest.param("-".join, id="kebab-case"),
        pytest.param(lambda words: " ".join(map(str.title, words)), id="Title Case"),
        pytest.param(lambda words: "_".join(words).upper(), id="CONSTANT_CASE"),
        pytest.param("".join, id="flatcase"),
        pytest.param(lambda words: "$" + "_".join(words), id="$name"),
        pytest.param(lambda words: " " + "_".join(words) + " ", id="blanks around"),
    ],
)
def test_cometlys_own_names_are_read_in_any_spelling(field: str, spelling: object) -> None:
    name = spelling(field.split("_"))  # type: ignore[operator]

    result, warnings = read({name: "x"})

    assert result == {field: "x"}
    assert warnings == ({} if name == field else {name: was_read_as(field)})


@in_one_test
@pytest.mark.parametrize(
    ("name", "field"),
    [
        *(("value", "amount"), ("revenue", "amount"), ("total", "amount"), ("Value", "amount")),
        *(("total_price", "amount"), ("orderTotal", "amount"), ("transactionTotal", "amount")),
        *(("transaction_id", "order_id"), ("transactionId", "order_id"), ("orderId", "order_id")),
        *(("event_id", "idempotency_key"), ("eventID", "idempotency_key")),
        *(("messageId", "idempotency_key"), ("$insert_id", "idempotency_key")),
        *(
            ("email_address", "email"),
            ("e-mail", "email"),
            ("E-Mail Address", "email"),
            ("time_stamp", "event_time"),
            ("customerEmail", "email"),
            ("em", "email"),
        ),
        *(
            ("phone_number", "phone"),
            ("phoneNumber", "phone"),
            ("telephone", "phone"),
            ("ph", "phone"),
        ),
        *(("client_ip_address", "ip"), ("ipAddress", "ip"), ("client_user_agent", "user_agent")),
        *(("event_source_url", "url"), ("page_location", "url"), ("pageUrl", "url")),
        *(("timestamp", "event_time"), ("timestamp_micros", "event_time"), ("fn", "first_name")),
        *(
            ("originalTimestamp", "event_time"),
            ("given_name", "first_name"),
            ("surname", "last_name"),
        ),
        *(("family_name", "last_name"), ("ln", "last_name"), ("event", "event_name")),
        *(("event_type", "event_name"), ("cometFingerprint", "fingerprint")),
    ],
)
def test_another_vocabularys_name_is_read(name: str, field: str) -> None:
    result, warnings = read({name: "x"})

    assert result == {field: "x"}
    assert warnings == {name: was_read_as(field)}


@in_one_test
@pytest.mark.parametrize(
    "name",
    [
        *("id", "name", "price", "subtotal", "user_id", "client_id", "external_id", "anonymousId"),
        *(
            "created_at",
            "time",
            "date",
            "amount_total",
            "order_number",
            "currency",
            "type",
            "utm_source",
        ),
        *(
            "context",
            "properties",
            "data",
            "tax",
            "items",
            "checkout_id",
            "or_der_id",
            "v_alue",
            "",
        ),
        *("x" * 100_000, "value" * 20, "fbc", "gclid", "full", "emial"),
    ],
    ids=lambda name: name[:24],
)
def test_what_could_be_two_things_or_none_stays_as_it_is(name: str) -> None:
    assert read({name: "x"}) == ({name: "x"}, {})


@in_one_test
@pytest.mark.parametrize("value", [{"a": 1}, [1], [], {}], ids=repr)
@pytest.mark.parametrize("name", ["value", "event", "orderId", "timestamp", "email_address"])
def test_an_object_is_no_value(name: str, value: object) -> None:
    assert read({name: value}) == ({name: value}, {})


def test_the_events_own_field_stays() -> None:
    result, warnings = read({"amount": 1, "value": 2, "order_id": "A", "transaction_id": "A"})

    assert result == {"amount": 1, "order_id": "A"}
    assert warnings == {"value": 'is left out: "amount" is given with another value'}


@pytest.mark.parametrize("blank", [None, "", " ", "undefined", "{{ order.id }}"], ids=repr)
def test_a_blank_field_is_not_given(blank: object) -> None:
    assert read({"order_id": blank, "transaction_id": "T-1"})[0] == {"order_id": "T-1"}
    assert read({"order_id": "T-1", "transaction_id": blank}) == ({"order_id": "T-1"}, {})


def test_zero_and_false_are_given() -> None:
    assert read({"amount": 0, "value": 5})[0] == {"amount": 0}
    assert read({"is_upsell": False, "isUpsell": True})[0] == {"is_upsell": False}


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_names_that_differ_the_first_of_the_documented_order_is_taken(
    turned: bool,  # noqa: FBT001
) -> None:
    names = {"total": 3, "value": 1, "revenue": 2, "Amount": 0}
    raw: dict[str, object] = dict(reversed(names.items()) if turned else names.items())

    result, warnings = read(raw)

    assert result == {"amount": 0}
    assert warnings.pop("Amount") == was_read_as("amount")
    assert set(warnings.values()) == {'is left out: "amount" is given with another value'}


def test_two_spellings_of_one_name_are_not_both_read() -> None:
    result, _ = read({"value": 1, "Value": 2, **{f"VALU{'e' * n}": 3 for n in range(2, 2000)}})

    assert result["amount"] == 1
    assert result["Value"] == 2


def test_metas_event_is_read() -> None:
    result, warnings = read(
        {
            "event_name": "Purchase",
            "event_time": 1705314600,
            "event_id": "e-1",
            "event_source_url": "https://shop.example.com/thanks",
            "action_source": "website",
            "user_data": {
                "em": [SHA_256],
                "ph": "b" * 64,
                "fn": ["Ada", "A."],
                "client_ip_address": "203.0.113.7",
                "client_user_agent": "Mozilla/5.0",
                "fbc": "fb.1.1.x",
            },
            "custom_data": {"value": 49.9, "currency": "EUR", "order_id": "T-1"},
        },
        "currency",
    )

    assert result == {
        "event_name": "Purchase",
        "event_time": 1705314600,
        "idempotency_key": "e-1",
        "url": "https://shop.example.com/thanks",
        "action_source": "website",
        "first_name": "Ada",
        "ip": "203.0.113.7",
        "user_agent": "Mozilla/5.0",
        "amount": 49.9,
        "currency": "EUR",
        "order_id": "T-1",
    }
    hashed = "is a hash, which Cometly cannot match, and is left out"
    assert warnings == {
        "event_id": was_read_as("idempotency_key"),
        "event_source_url": was_read_as("url"),
        "user_data.em": hashed,
        "user_data.ph": hashed,
        "user_data.fn": was_read_as("first_name"),
        "user_data.client_ip_address": was_read_as("ip"),
        "user_data.client_user_agent": was_read_as("user_agent"),
        "user_data": "holds more than what was read; the rest is left out",
        "custom_data.value": was_read_as("amount"),
        "custom_data.currency": was_read_as("currency"),
        "custom_data.order_id": was_read_as("order_id"),
    }


def test_segments_event_is_read() -> None:
    result, _ = read(
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": "m-1",
            "anonymousId": "a-1",
            "timestamp": "2024-01-15T10:30:00.000Z",
            "properties": {"order_id": "T-1", "total": 30, "revenue": 25, "products": []},
            "context": {
                "ip": "203.0.113.7",
                "userAgent": "Mozilla/5.0",
                "page": {"url": "https://shop.example.com/thanks"},
                "traits": {"email": "ada@example.com", "firstName": "Ada"},
            },
        }
    )

    assert result == {
        "type": "track",
        "anonymousId": "a-1",
        "event_name": "Order Completed",
        "idempotency_key": "m-1",
        "event_time": "2024-01-15T10:30:00.000Z",
        "order_id": "T-1",
        "amount": 25,
        "ip": "203.0.113.7",
        "user_agent": "Mozilla/5.0",
        "url": "https://shop.example.com/thanks",
        "email": "ada@example.com",
        "first_name": "Ada",
    }


def test_ga4s_event_is_read() -> None:
    result, _ = read(
        {"name": "purchase", "params": {"transaction_id": "T-1", "value": 49.9, "items": []}}
    )

    assert result == {"event_name": "purchase", "order_id": "T-1", "amount": 49.9}


def test_tiktoks_event_is_read() -> None:
    result, warnings = read(
        {
            "event": "CompletePayment",
            "event_id": "e-1",
            "user": {"email": SHA_256, "ip": "203.0.113.7", "user_agent": "Mozilla/5.0"},
            "page": {"url": "https://shop.example.com"},
            "properties": {"value": 49.9, "order_id": "T-1"},
        }
    )

    assert result == {
        "event_name": "CompletePayment",
        "idempotency_key": "e-1",
        "ip": "203.0.113.7",
        "user_agent": "Mozilla/5.0",
        "url": "https://shop.example.com",
        "amount": 49.9,
        "order_id": "T-1",
    }
    assert "is a hash" in warnings["user.email"]


def test_what_stands_outside_of_wrappers_outranks_what_is_within() -> None:
    result, warnings = read({"properties": {"amount": 1}, "total": 2})

    assert result == {"amount": 2}
    assert "another value" in warnings["properties.amount"]


@pytest.mark.parametrize(
    "content", [None, "x", 5, [], {}, {"fbc": "x"}, {"value": {"a": 1}}], ids=repr
)
def test_a_wrapper_of_nothing_that_can_be_read_stays(content: object) -> None:
    assert read({"custom_data": content}) == ({"custom_data": content}, {})


def test_a_plain_address_under_metas_name_is_read() -> None:
    assert read({"user_data": {"em": "ada@example.com"}})[0] == {"email": "ada@example.com"}


def test_only_what_is_known_is_a_target() -> None:
    assert translated({"value": 1}, {"email"}, lambda *_: None) == {"value": 1}


def test_a_name_with_dots_is_taken_whole() -> None:
    assert read({"order.id": "T-1", "order": {"x": 1}})[0] == {"order": {"x": 1}, "order_id": "T-1"}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *(("user_data__em", "email"), ("user_data.ph", "phone"), ("custom_data.value", "amount")),
        *(("custom_data__order_id", "order_id"), ("properties.revenue", "amount")),
        *(("context.page.url", "url"), ("context__traits__email", "email")),
        *(("context.ip", "ip"), ("user__email", "email"), ("params.transaction_id", "order_id")),
    ],
)
def test_the_way_to_a_field_may_be_its_name(name: str, field: str) -> None:
    assert read({name: "x"}) == ({field: "x"}, {name: was_read_as(field)})


@pytest.mark.parametrize("name", ["user_data.id", "custom_data.", "foo__em", "user_data_em", "a.b"])
def test_another_way_is_no_name(name: str) -> None:
    assert read({name: "x"}) == ({name: "x"}, {})


@pytest.mark.parametrize("around", ["data", "event", "payload"])
@pytest.mark.parametrize(
    "event", [{"event_name": "purchase"}, {"event": "purchase"}, {"name": "purchase", "params": {}}]
)
def test_an_object_around_one_event_is_taken_off(around: str, event: dict[str, object]) -> None:
    raw: dict[str, object] = {around: {**event, "amount": 1}, "order_id": "T-1"}
    warnings: list[tuple[str, str]] = []

    result = translated(raw, FIELDS, lambda *warning: warnings.append(warning))

    assert result.items() >= {"event_name": "purchase", "amount": 1, "order_id": "T-1"}.items()
    assert (around, "was read as the event") in warnings


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({"data": {"sku": "A1"}}, id="no event in it"),
        pytest.param({"event_name": "purchase", "data": {"event": "sign_up"}}, id="one beside it"),
        pytest.param({"data": {"event": "a"}, "payload": {"event": "b"}}, id="two of them"),
        pytest.param({"body": {"event": "a"}}, id="another name"),
    ],
)
def test_any_other_object_stays(raw: dict[str, object]) -> None:
    assert read(raw) == (raw, {})


def test_what_is_passed_on_by_that_name_is_no_object_around_an_event() -> None:
    raw: dict[str, object] = {"data": {"event": "purchase"}, "x": 1}

    assert read(raw, "data") == (raw, {})


@pytest.mark.parametrize(
    "values",
    [
        [SHA_256, "ada@example.com"],
        ["", "  ", "ada@example.com"],
        [None, {"a": 1}, "ada@example.com"],
        ["undefined", SHA_256, "ada@example.com", "b@example.com"],
    ],
    ids=["a hash", "blanks", "no texts", "all of them"],
)
def test_the_first_usable_of_a_list_is_read(values: list[object]) -> None:
    assert read({"user_data": {"em": values}})[0] == {"email": "ada@example.com"}


def test_a_list_of_addresses_is_read_by_the_fields_own_name_too() -> None:
    raw: dict[str, object] = {"user_data": {"email": [SHA_256, "ada@example.com"]}}

    assert read(raw)[0] == {"email": "ada@example.com"}


@pytest.mark.parametrize(
    ("value", "total"), [(0, 12), (12, "0"), ("49.90", 4990), (4990, 49.9), ("1.00", "100")]
)
def test_of_two_amounts_that_make_each_other_doubtful_none_is_taken(
    value: object, total: object
) -> None:
    result, warnings = read({"value": value, "total": total, "total_price": 7})

    assert result == {}
    assert '"value" and "total_price"' in warnings["amount"] or '"total"' in warnings["amount"]
    assert "49" not in " ".join(warnings.values())


@pytest.mark.parametrize(
    ("value", "total"), [(5, 7), ("5", "5.00"), (0, "0.0"), ("x", 5), (5, "x"), (10, 1001)]
)
def test_of_two_other_amounts_the_first_is_taken(value: object, total: object) -> None:
    assert read({"value": value, "total": total})[0] == {"amount": value}


def test_an_amount_by_its_own_name_makes_nothing_doubtful() -> None:
    assert read({"amount": 0, "value": 12})[0] == {"amount": 0}
    assert read({"Amount": 0, "value": 12})[0] == {"amount": 0}


def test_what_is_unfit_is_passed_over() -> None:
    def unfit(field: str, value: object) -> str | None:
        return "is no number" if (field, value) == ("amount", "newsletter") else None

    warnings: dict[str, str] = {}
    raw: dict[str, object] = {"value": "newsletter", "total": 5}
    result = translated(raw, FIELDS, warnings.__setitem__, unfit=unfit)

    assert result == {"amount": 5}
    assert warnings["value"] == "is no number; it is left out"
    own: dict[str, object] = {"Amount": "newsletter"}
    assert translated(own, FIELDS, warnings.__setitem__, unfit=unfit) == {"amount": "newsletter"}


def test_what_is_kept_is_not_translated_but_for_wrappers() -> None:
    raw: dict[str, object] = {"user_email": "a@example.com", "user_data": {"ph": "1"}}

    result = translated(raw, FIELDS, lambda *_: None, keeps=lambda name: name.startswith("user_"))

    assert result == {"user_email": "a@example.com", "phone": "1"}


def test_a_field_tells_by_which_other_name_it_came() -> None:
    result = translated({"event_id": "e", "orderId": "T"}, FIELDS, lambda *_: None)

    assert others_in(result) == {"idempotency_key": "event_id"}
    assert others_in({"amount": 1}) == {}


# --- Event names --------------------------------------------------------------------------------


def name_of(text: str) -> tuple[str | None, list[str]]:
    warnings: list[str] = []
    return read_event_name(text, EVENT_NAMES, warnings.append), warnings


@in_one_test
@pytest.mark.parametrize("name", sorted(EVENT_NAMES))
def test_cometlys_names_are_read_in_any_case(name: str) -> None:
    for text in (name, name.upper(), name.title(), f" {name}\n"):
        assert name_of(text) == (name, [])


@pytest.mark.parametrize("name", [*STANDARD_NAMES, "custom_event_7", "custom_event_50"])
def test_cometlys_names_are_read_in_any_spelling(name: str) -> None:
    words = name.split("_")
    spellings = {
        "".join(map(str.title, words)),
        words[0] + "".join(map(str.title, words[1:])),
        "-".join(words),
        " ".join(map(str.title, words)),
        "".join(words),
        "__".join(words),
        f"{name}\u200b",
    }

    for text in spellings - {name, name.title()}:
        found, warnings = name_of(text)
        assert found == name
        assert warnings == ([] if text.lower() == name else [f'was read as "{name}"'])


@in_one_test
@pytest.mark.parametrize(
    ("text", "name"),
    [
        *(("Purchase", "purchase"), ("PURCHASE", "purchase"), ("CompletePayment", "purchase")),
        *(("Order Completed", "purchase"), ("order_completed", "purchase")),
        *(("checkout_completed", "purchase"), ("Placed Order", "purchase")),
        *(("fb_mobile_purchase", "purchase"), ("ecommerce_purchase", "purchase")),
        *(
            ("af_purchase", "purchase"),
            ("make_purchase", "purchase"),
            ("af_subscribe", "subscribe"),
        ),
        *(("Lead", "lead_generated"), ("generate_lead", "lead_generated")),
        *(("ViewContent", "view_content"), ("VIEW_CONTENT", "view_content")),
        *(("view_item", "view_content"), ("Product Viewed", "view_content")),
        *(("product_viewed", "view_content"), ("Viewed Product", "view_content")),
        *(
            ("AddToCart", "add_to_cart"),
            ("Add To Cart", "add_to_cart"),
            ("ADD_CART", "add_to_cart"),
        ),
        *(
            ("add-to-cart", "add_to_cart"),
            ("Add to Basket", "add_to_cart"),
            ("Product Added", "add_to_cart"),
        ),
        *(("product_added_to_cart", "add_to_cart"), ("Added to Cart", "add_to_cart")),
        *(("InitiateCheckout", "initiate_checkout"), ("begin_checkout", "initiate_checkout")),
        *(("Checkout Started", "initiate_checkout"), ("checkout_started", "initiate_checkout")),
        *(("START_CHECKOUT", "initiate_checkout"), ("Started Checkout", "initiate_checkout")),
        *(("AddPaymentInfo", "add_payment_info"), ("ADD_BILLING", "add_payment_info")),
        *(
            ("payment_info_submitted", "add_payment_info"),
            ("SIGN_UP", "sign_up"),
            ("signup", "sign_up"),
        ),
        *(("Payment Info Entered", "add_payment_info"), ("Signed Up", "sign_up")),
        *(("CompleteRegistration", "complete_registration"), ("StartTrial", "start_trial")),
        *(("Subscribe", "subscribe"), ("Contact", "contact"), ("Schedule", "schedule")),
        *(("SubmitApplication", "submit_application"), ("Trial Started", "start_trial")),
        *(("customEvent7", "custom_event_7"), ("Custom Event 7", "custom_event_7")),
    ],
)
def test_an_events_name_in_another_vocabulary_is_read(text: str, name: str) -> None:
    found, warnings = name_of(text)

    assert found == name
    assert warnings == ([] if text.lower() == name else [f'was read as "{name}"'])


@in_one_test
@pytest.mark.parametrize(
    "text",
    [
        *(
            "checkout",
            "SubmitForm",
            "PlaceAnOrder",
            "PageView",
            "page_view",
            "Search",
            "AddToWishlist",
        ),
        *(
            "purchased",
            "pur chase",
            "custom_event_0",
            "custom_event_51",
            "custom_event_01",
            "refund",
        ),
        *(
            "custom_event_",
            "custom_event_1_1",
            "custom_event_1.0",
            "customEvent",
            "",
            "zzzz",
            "event",
        ),
        *("x" * 100_000, "purchase!", "購入", "purchase purchase", "custom_event_٧"),
    ],
    ids=lambda text: text[:24],
)
def test_a_name_that_is_none_or_could_be_two_is_not_guessed(text: str) -> None:
    assert name_of(text) == (None, [])


def test_only_the_given_names_are_read() -> None:
    assert read_event_name("AddToCart", {"purchase"}, pytest.fail) is None


def test_people_may_be_called_null_in_any_vocabulary() -> None:
    raw = {"firstName": "Null", "lastName": "NA", "orderId": "null"}

    assert dict(translated(raw, FIELDS, lambda _name, _message: None)) == {
        "first_name": "Null",
        "last_name": "NA",
    }
