"""Cometly's three rules, in their order."""

import pytest

from local.sandbox.duplicates import Duplicate, DuplicateIndex, Rule
from tests.sandbox.client import EVENT as ADA
from tests.sandbox.client import Client

BOB = {"event_name": "purchase", "email": "bob@example.com"}
ORDER = {"order_id": "A-1"}
NAME = {"order_name": "#1001"}
KEY = {"idempotency_key": "k-1"}
OTHER_KEY = {"idempotency_key": "k-2"}
LEAD = {"event_name": "lead_generated"}

CASES: dict[str, tuple[dict[str, str], dict[str, str], Rule | None]] = {
    "same-key": (ADA | KEY, BOB | LEAD | KEY, "idempotency_key"),
    "same-key-other-order": (ADA | KEY | ORDER, ADA | KEY | {"order_id": "B"}, "idempotency_key"),
    "other-key-same-order": (ADA | KEY | ORDER, ADA | OTHER_KEY | ORDER, None),
    "new-key-after-none": (ADA | ORDER, ADA | KEY | ORDER, None),
    "no-key-after-a-key": (ADA | KEY | ORDER, ADA | ORDER, "order_id"),
    "blank-key-is-none": (ADA | ORDER, ADA | ORDER | {"idempotency_key": " "}, "order_id"),
    "same-order": (ADA | ORDER, ADA | ORDER | {"amount": "2"}, "order_id"),
    "same-order-other-event": (ADA | ORDER, ADA | LEAD | ORDER, None),
    "same-order-other-customer": (ADA | ORDER, BOB | ORDER, None),
    "same-customer-by-token": (
        ADA | ORDER | {"comet_token": "ct"},
        BOB | ORDER | {"comet_token": "ct"},
        "order_id",
    ),
    "same-customer-by-fingerprint": (
        ADA | ORDER | {"fingerprint": "fp"},
        BOB | ORDER | {"fingerprint": "fp"},
        "order_id",
    ),
    "token-is-not-a-fingerprint": (
        ADA | ORDER | {"fingerprint": "x"},
        BOB | ORDER | {"comet_token": "x"},
        None,
    ),
    "same-order-name": (ADA | NAME, BOB | NAME, "order_name"),
    "same-order-name-other-event": (ADA | NAME, ADA | LEAD | NAME, None),
    "order-id-outranks-order-name": (ADA | NAME, ADA | NAME | ORDER, None),
    "order-name-after-both": (ADA | NAME | ORDER, ADA | NAME, "order_name"),
    "nothing-to-compare": (ADA, ADA, None),
}


@pytest.mark.parametrize(("first", "second", "rule"), CASES.values(), ids=CASES)
def test_the_second_event_is_judged_by_the_first(
    first: dict[str, str],
    second: dict[str, str],
    rule: Rule | None,
) -> None:
    index = DuplicateIndex()
    index.book(7, first)

    found = index.find(second)

    assert found == (Duplicate(7, rule) if rule else None)


def test_a_duplicate_answers_202_and_points_to_the_first(client: Client) -> None:
    client.send(ADA | ORDER | {"amount": 1})

    answer = client.send(ADA | ORDER | {"amount": 2})

    first, second = client.events()
    assert answer.status == 202
    assert (first["duplicate_of"], first["duplicate_rule"]) == (None, None)
    assert (second["duplicate_of"], second["duplicate_rule"]) == (first["id"], "order_id")


def test_whatever_comes_again_points_to_the_first(client: Client) -> None:
    for more in (ORDER | KEY, ORDER | OTHER_KEY, ORDER, ORDER):
        client.send(ADA | more)

    assert [event["duplicate_of"] for event in client.events()] == [None, None, 1, 1]


def test_nothing_of_a_duplicate_is_remembered(client: Client) -> None:
    client.send(ADA | ORDER)
    client.send(ADA | ORDER | {"comet_token": "ct"})

    client.send({"event_name": "purchase", "comet_token": "ct"} | ORDER)

    assert [event["duplicate_of"] for event in client.events()] == [None, 1, None]


def test_an_invalid_event_is_no_first(client: Client) -> None:
    client.send(ADA | KEY | {"amount": "1"})

    client.send(ADA | KEY)

    assert [event["duplicate_of"] for event in client.events()] == [None]
