"""The endpoint, held against Cometly's documents."""

import json

import pytest

from local.sandbox import contract
from tests.sandbox.client import EVENT as ADA
from tests.sandbox.client import HEADERS, Client

# The reference's first example with its placeholders, and headers as curl sends them.
CURL_PLACEHOLDERS: dict[str, object] = {
    **dict.fromkeys(contract.STRING_FIELDS, "<string>"),
    **dict.fromkeys(contract.BOOLEAN_FIELDS, True),
    "amount": 123,
}
CURL_PURCHASE = {
    "event_name": "purchase",
    "email": "ada@example.com",
    "amount": 99.99,
    "order_id": "ORD-12345",
    "url": "https://example.com/checkout/success",
    "event_time": "2024-01-15T10:30:00Z",
}


def test_the_first_curl_example_passes_once_its_placeholders_are_filled(client: Client) -> None:
    filled = {"event_name": "subscribe", "phone": "16505551212", "event_time": "1705314600"}

    answer = client.send(CURL_PLACEHOLDERS | filled | {"colour": "green"}, Accept="*/*")

    assert answer.status == 202
    assert client.events()[0]["unknown_fields"] == ["colour"]


def test_the_first_curl_example_as_printed_names_what_is_wrong(client: Client) -> None:
    answer = client.send(CURL_PLACEHOLDERS, Accept="*/*")

    assert answer.status == 422
    assert {"event_name", "phone", "event_time"} <= set(answer.json()["message"].split())


def test_the_second_curl_example_is_queued(client: Client) -> None:
    answer = client.send(CURL_PURCHASE)

    assert answer.status == 202
    assert answer.json()["status"] == 202
    assert set(answer.json()) == {"status", "message"}
    assert client.events()[0]["fields"] == CURL_PURCHASE


VALID: dict[str, dict[str, object]] = {
    "comet-token-alone": {"email": "", "comet_token": "ct-1"},
    "fingerprint-with-ip": {"email": " ", "fingerprint": "fp-1", "ip": "192.0.2.1"},
    "blank-strings-are-absent": {"phone": "", "event_time": " ", "fingerprint": "", "ip": ""},
    "time-offset-and-fraction": {"event_time": "2024-01-15T10:30:00.123+02:00"},
    "time-basic-form": {"event_time": "20240115T103000Z"},
    "time-date-alone": {"event_time": "2024-01-15"},
    "amount-zero": {"amount": 0},
    "amount-below-zero": {"amount": -12.5},
}


@pytest.mark.parametrize("fields", VALID.values(), ids=VALID)
def test_what_the_documents_allow_is_valid(fields: dict[str, object]) -> None:
    assert contract.problems(ADA | fields) == []


INVALID: dict[str, tuple[dict[str, object], str]] = {
    "no-event-name": ({"event_name": ""}, "event_name is required."),
    "unknown-event-name": ({"event_name": "refund"}, "event_name must"),
    "event-name-in-capitals": ({"event_name": "Purchase"}, "event_name must"),
    "custom-event-0": ({"event_name": "custom_event_0"}, "event_name must"),
    "custom-event-01": ({"event_name": "custom_event_01"}, "event_name must"),
    "nobody": ({"email": ""}, "One of email"),
    "fingerprint-without-ip": ({"fingerprint": "fp-1"}, "ip is required"),
    "ip-without-fingerprint": ({"ip": "192.0.2.1"}, "fingerprint is required"),
    "null": ({"url": None}, "url must be a string"),
    "order-id-number": ({"order_id": 12345}, "order_id must be a string"),
    "phone-number": ({"phone": 16505551212}, "phone must be a string"),
    "phone-with-plus": ({"phone": "+16505551212"}, "phone must be digits"),
    "phone-leading-zero": ({"phone": "06505551212"}, "phone must be digits"),
    "phone-other-digits": ({"phone": "1٦٥٠"}, "phone must be digits"),
    "time-number": ({"event_time": 1705314600}, "event_time must be a string"),
    "time-milliseconds": ({"event_time": "1705314600000"}, "event_time must be ISO"),
    "time-with-space": ({"event_time": "2024-01-15 10:30:00"}, "event_time must be ISO"),
    "time-no-such-day": ({"event_time": "2024-02-30T10:30:00Z"}, "event_time must be ISO"),
    "amount-string": ({"amount": "99.99"}, "amount must be a number"),
    "amount-boolean": ({"amount": True}, "amount must be a number"),
    "amount-beyond-a-double": ({"amount": 10**400}, "amount must be a number"),
    "boolean-string": ({"is_upsell": "true"}, "is_upsell must be a boolean"),
    "boolean-number": ({"do_not_capi": 1}, "do_not_capi must be a boolean"),
}


@pytest.mark.parametrize(("fields", "message"), INVALID.values(), ids=INVALID)
def test_what_the_documents_forbid_answers_422(
    client: Client,
    fields: dict[str, object],
    message: str,
) -> None:
    answer = client.send(ADA | fields)

    assert answer.status == 422
    assert message in answer.json()["message"]
    assert set(answer.json()) == {"message"}
    assert client.events() == []


UNREADABLE = {
    "empty": b"",
    "not-utf-8": b'{"email": "\xff"}',
    "array": b"[]",
    "nan": b'{"event_name": "purchase", "email": "ada@example.com", "amount": NaN}',
    "infinite": b'{"event_name": "purchase", "email": "ada@example.com", "amount": 1e999}',
    "too-deep": b"[" * 100_000,
    "too-many-digits": b'{"amount": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_is_no_json_object_answers_422(client: Client, body: bytes) -> None:
    answer = client.send(body)

    assert answer.status == 422
    assert "JSON" in answer.json()["message"]


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        pytest.param("Content-Type", "application/json; charset=utf-8", 202, id="charset"),
        pytest.param("Content-Type", "text/plain", 422, id="other-content-type"),
        pytest.param("Content-Type", None, 422, id="no-content-type"),
        pytest.param("Accept", "text/html, application/json;q=0.9", 202, id="json-among-others"),
        pytest.param("Accept", "text/html", 422, id="html-alone"),
        pytest.param("Accept", "application/json;q=0", 422, id="json-refused"),
        pytest.param("Accept", None, 422, id="no-accept"),
    ],
)
def test_both_required_headers_are_asked_for(
    client: Client,
    name: str,
    value: str | None,
    status: int,
) -> None:
    headers = {key: it for key, it in HEADERS.items() if key != name}

    answer = client.send(headers=headers | ({name: value} if value else {}))

    assert answer.status == status
    if status == 422:
        assert name in answer.json()["message"]


def test_any_string_that_json_can_carry_can_be_read_back(client: Client) -> None:
    client.send(b'{"event_name": "purchase", "email": "\\ud800\\u0000<script>\\u00e9"}')

    assert client.events()[0]["fields"]["email"] == json.loads('"\\ud800\\u0000<script>\\u00e9"')
