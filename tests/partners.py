"""What Shopify, Stripe and a webhook put on a bus: the samples of events/partners, and changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PARTNERS = Path(__file__).resolve().parents[1] / "events" / "partners"
ABSENT = object()

SHOPIFY, STRIPE, WEBHOOK = "shopify-order", "stripe-payment", "webhook"
_ORDER = "detail.payload"
_SESSION = "detail.data.object"


def sample(name: str, changes: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Read a sample and change fields of it, named by their paths (ABSENT removes one)."""
    event: dict[str, Any] = json.loads((PARTNERS / f"{name}.json").read_text("utf-8"))
    for path, value in (changes or {}).items():
        *parents, field = path.split(".")
        part = event
        for parent in parents:
            part = part[parent]
        if value is ABSENT:
            del part[field]
        else:
            part[field] = value
    return event


def payment(amount: object, currency: object, **more: object) -> dict[str, Any]:
    """Make a paid Checkout session of Stripe of this amount, in the currency's smallest unit."""
    fields = {"amount_total": amount, "currency": currency, **more}
    return sample(STRIPE, {f"{_SESSION}.{field}": value for field, value in fields.items()})


LEFT_ALONE: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "Stripe: a test payment": (STRIPE, {"detail.livemode": False}),
    "Stripe: not paid yet": (STRIPE, {f"{_SESSION}.payment_status": "unpaid"}),
    "Stripe: nothing to pay yet": (STRIPE, {f"{_SESSION}.payment_status": "no_payment_required"}),
    "Stripe: it cost nothing": (STRIPE, {f"{_SESSION}.amount_total": 0}),
    "Stripe: a null for an address": (STRIPE, {f"{_SESSION}.customer_details.email": None}),
    "Stripe: nobody's": (STRIPE, {f"{_SESSION}.customer_details": None}),
    "Stripe: the same payment by another name": (
        STRIPE,
        {"detail-type": "payment_intent.succeeded"},
    ),
    "Stripe: an invoice": (STRIPE, {"detail-type": "invoice.paid"}),
    "Stripe: the payment failed": (
        STRIPE,
        {
            "detail-type": "checkout.session.async_payment_failed",
            f"{_SESSION}.payment_status": "unpaid",
        },
    ),
    "Stripe: a refund": (STRIPE, {"detail-type": "charge.refunded"}),
    "Shopify: a test order": (SHOPIFY, {f"{_ORDER}.test": True}),
    "Shopify: not paid yet": (SHOPIFY, {"detail.metadata.X-Shopify-Topic": "orders/create"}),
    "Shopify: a later change": (SHOPIFY, {"detail.metadata.X-Shopify-Topic": "orders/updated"}),
    "Shopify: a refund": (SHOPIFY, {"detail.metadata.X-Shopify-Topic": "refunds/create"}),
    "Shopify: a null for an address": (SHOPIFY, {f"{_ORDER}.email": None}),
    "Shopify: a blank for an address": (SHOPIFY, {f"{_ORDER}.email": ""}),
    "Shopify: nobody's": (SHOPIFY, {f"{_ORDER}.email": ABSENT}),
    "Shopify: a phone alone": (
        SHOPIFY,
        {f"{_ORDER}.email": None, f"{_ORDER}.phone": "+14155550123"},
    ),
    "Shopify: too large to be sent whole": (SHOPIFY, {_ORDER: {"id": 820982911946154508}}),
    "webhook: of another type": (WEBHOOK, {"detail.type": "lead.deleted"}),
    "webhook: a null for an address": (WEBHOOK, {"detail.contact.email": None}),
    "webhook: nobody's": (WEBHOOK, {"detail.contact": None}),
}
"""What the rules of docs/transformers leave alone, by what it is: a sample, changed."""
