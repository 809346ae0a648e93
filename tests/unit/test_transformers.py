"""The rules of docs/transformers, without a stack: which event each takes, and what it makes of it.

The emulator's own functions match and transform. That its answers are those of AWS is assumed; the
operators used are the documented ones.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ministack.services import eventbridge

from tests import partners
from tests.partners import LEFT_ALONE, SHOPIFY, STRIPE, WEBHOOK, payment, sample
from tests.unit import cloudformation
from tests.unit.cases import in_one_test
from tests.unit.conftest import read

TRANSFORMERS = Path(__file__).resolve().parents[2] / "docs" / "transformers"

# https://docs.stripe.com/currencies, whose special cases (HUF, ISK, TWD, UGX) have two decimals:
# to charge 5 UGX is to charge 500. Its list of zero-decimal currencies names UGX all the same. The
# three-decimal ones are listed by older versions of the page.
CURRENCIES = {
    0: "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf",
    2: """huf isk twd ugx
        aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad
        cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl
        htg idr ils inr jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr
        mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr
        sek sgd shp sle sos srd std szl thb tjs top try ttd tzs uah usd uyu uzs wst xcd xcg yer zar
        zmw""",
    3: "bhd jod kwd omr tnd",
}


@functools.cache
def rules_in(name: str) -> list[dict[str, Any]]:
    resources = cloudformation.read(TRANSFORMERS / f"{name}.yaml")["Resources"]
    return [it["Properties"] for it in resources.values() if it["Type"] == "AWS::Events::Rule"]


def takes(rule: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    status, _, answer = eventbridge._test_event_pattern(
        {"Event": json.dumps(event), "EventPattern": json.dumps(rule["EventPattern"])}
    )
    assert status == 200, answer
    result: bool = json.loads(answer)["Result"]
    return result


def made_of(event: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return what the rules of a template put on the queue for an event."""
    view = eventbridge._pattern_event_view(eventbridge._event_from_test_payload(event))
    return [
        json.loads(eventbridge._apply_input_transformer(target["InputTransformer"], None, view))
        for rule in rules_in(name)
        if takes(rule, event)
        for target in rule["Targets"]
    ]


def amounts(event: Mapping[str, Any], name: str) -> list[object]:
    return [read(message)[0].amount for message in made_of(event, name)]


@pytest.mark.parametrize(
    ("decimals", "currencies"),
    [(decimals, names.split()) for decimals, names in CURRENCIES.items()],
    ids=[f"{decimals} decimals" for decimals in CURRENCIES],
)
@pytest.mark.parametrize("spelled", [str.lower, str.upper], ids=["jpy", "JPY"])
def test_a_payment_of_stripe_is_taken_by_one_rule_and_in_whole_units(
    decimals: int, currencies: list[str], spelled: Any
) -> None:
    came = {it: amounts(payment(18600, spelled(it)), STRIPE) for it in currencies}

    assert came == {it: [18600 / 10**decimals] for it in currencies}


@pytest.mark.parametrize(
    ("amount", "currency", "booked"),
    [
        (1, "eur", 0.01),
        (50, "usd", 0.5),
        (4990, "usd", 49.9),
        (999_999_999_999, "idr", 9_999_999_999.99),
        (600_000_000_000, "idr", 6_000_000_000),
        (1, "jpy", 1),
        (5000, "jpy", 5000),
        (99_999_999, "krw", 99_999_999),
        (10, "kwd", 0.01),
        (5120, "kwd", 5.12),
    ],
)
def test_no_digit_of_a_payment_is_lost(amount: int, currency: str, booked: float) -> None:
    assert amounts(payment(amount, currency), STRIPE) == [booked]


# Shop currencies have their own number of decimals in the text of the amount.
@pytest.mark.parametrize(
    ("total", "currency", "booked"),
    [("403.00", "EUR", 403), ("5000", "JPY", 5000), ("18.600", "KWD", 18.6), ("0.00", "USD", 0)],
)
def test_an_order_of_shopify_is_booked_as_its_text_says(
    total: str, currency: str, booked: float
) -> None:
    changes = {"detail.payload.total_price": total, "detail.payload.currency": currency}
    order = sample(SHOPIFY, changes)

    assert amounts(order, SHOPIFY) == [booked]
    assert [it["currency"] for it in made_of(order, SHOPIFY)] == [currency]


def test_a_late_payment_is_taken_when_it_succeeds_and_is_the_same_order() -> None:
    """A method that takes days completes the session unpaid; the money has an event of its own."""
    completed = payment(4990, "eur", payment_status="unpaid")
    succeeded = payment(4990, "eur")
    succeeded["detail-type"] = "checkout.session.async_payment_succeeded"

    assert made_of(completed, STRIPE) == []
    assert [it["order_id"] for it in made_of(succeeded, STRIPE)] == ["cs_example_a1b2"]


@in_one_test
@pytest.mark.parametrize(("name", "changes"), LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_what_is_no_purchase_and_no_lead_is_left_alone(
    name: str, changes: Mapping[str, object]
) -> None:
    assert made_of(sample(name), name) != []
    assert made_of(sample(name, changes), name) == []


def test_an_order_is_taken_from_a_subscription_that_leaves_out_what_the_rule_does_not_map() -> None:
    order = sample(SHOPIFY, {"detail.payload.test": partners.ABSENT})

    assert len(made_of(order, SHOPIFY)) == 1


@pytest.mark.parametrize("name", [SHOPIFY, STRIPE, WEBHOOK])
def test_a_mapped_event_has_a_time_an_identity_and_a_customer_of_its_own(name: str) -> None:
    [message] = made_of(sample(name), name)
    event, _ = read(message)

    assert event.email
    assert str(event.event_time).startswith("2024-01-15T10:30:0")
    assert event.order_id or event.idempotency_key
    assert ("currency" in message) == ("amount" in message)


def test_the_rules_of_a_template_differ_in_currency_and_amount_alone() -> None:
    """What one of them is shown to leave alone, all of them do."""
    rules = copy.deepcopy(rules_in(STRIPE))
    for rule in rules:
        del rule["Name"], rule["Description"]
        del rule["EventPattern"]["detail"]["data"]["object"]["currency"]
        transformer = rule["Targets"][0]["InputTransformer"]
        template = transformer["InputTemplate"]
        transformer["InputTemplate"] = re.sub(r'"?<amount>(e-\d")?', "AMOUNT", template)

    assert rules == [rules[0]] * 3


@pytest.mark.parametrize("name", [SHOPIFY, STRIPE, WEBHOOK])
def test_a_template_holds_no_null(name: str) -> None:
    """CloudFormation refuses a template with one, which cfn-lint does not see in a list."""
    assert "null" not in json.dumps(cloudformation.read(TRANSFORMERS / f"{name}.yaml"))


@pytest.mark.parametrize("name", [SHOPIFY, STRIPE, WEBHOOK])
def test_no_rule_compares_numbers(name: str) -> None:
    """EventBridge does so up to 5e9, and amounts are larger; the emulator has no such limit.

    https://github.com/aws/event-ruler#numeric-matching
    """
    assert "numeric" not in json.dumps([rule["EventPattern"] for rule in rules_in(name)])
