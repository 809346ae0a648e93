"""What the functions write down: ids and outcomes, and nothing about a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest

from local.stack.checkout import Checkout
from tests.stack.deployed import Deployed, Fields, eventually

SAMPLE: Fields = json.loads((Checkout.here().samples / "every-field.json").read_text("utf-8"))[
    "body"
]
PERSONAL = [
    *("email", "full_name", "last_name", "phone", "ip", "user_agent", "url", "order_name"),
    *("comet_token", "fingerprint", "tracking_id", "checkout_token", "idempotency_key"),
]


def test_logs_name_each_outcome_by_its_event_id_and_nothing_personal(deployed: Deployed) -> None:
    deployed.sandbox.fail(kind="status", status=422, times="always", match={"order_id": "refused"})

    delivered = deployed.api.post({**SAMPLE, "idempotency_key": "one-of-everything"}).body
    deployed.queues.until_all_is_settled()
    again = deployed.api.post({**SAMPLE, "idempotency_key": "one-of-everything"}).body
    parked = deployed.api.post({**SAMPLE, "order_id": "refused"}).body
    deployed.api.post({**SAMPLE, "event_name": "Grace Murray", "grace.murray@example.com": "yes"})
    deployed.api.post(b'{"email": "grace.murray@example.com"')
    deployed.queues.send('{"email": "grace.murray@example.com"')
    deployed.queues.take_dead_letters(2)
    deployed.queues.until_all_is_settled()

    for name, event_id in [
        ("ingest.accepted", delivered["event_id"]),
        ("delivery.delivered", delivered["event_id"]),
        ("delivery.duplicate", again["event_id"]),
        ("delivery.parked", parked["event_id"]),
    ]:
        lines = eventually(partial(deployed.logged, name), bool)
        assert event_id in {line["event_id"] for line in lines}
    written = "\n".join(all_lines(deployed))
    for secret in secrets_of(deployed):
        assert secret.lower() not in written.lower()


def test_every_log_line_is_json_and_names_its_invocation(deployed: Deployed) -> None:
    deployed.api.post({"event_name": "contact", "email": "ada@example.com"})
    deployed.queues.until_all_is_settled()

    lines = [json.loads(line) for line in eventually(lambda: list(all_lines(deployed)), bool)]

    assert all("_aws" in line or {"level", "message", "invocation"} <= set(line) for line in lines)


def all_lines(deployed: Deployed) -> Iterator[str]:
    """Yield what both functions logged since the stack came up, whichever test made them."""
    for function in ("ingest", "deliver"):
        yield from deployed.functions.log_lines(function)


def secrets_of(deployed: Deployed) -> Iterator[str]:
    yield from (str(SAMPLE[name]) for name in PERSONAL)
    yield "one-of-everything"
    yield "@example.com"
    yield str(deployed.api.key)
    yield deployed.stack.plan.token


def test_metrics_count_what_was_accepted_and_what_became_of_it(deployed: Deployed) -> None:
    deployed.sandbox.fail(
        kind="status", status=422, times="always", match={"email": "grace@example.com"}
    )
    deployed.sandbox.fail(kind="status", status=500, match={"email": "alan@example.com"})
    before = deployed.metrics()

    deployed.api.post([{"event_name": "contact", "email": "ada@example.com", "order_id": "7"}] * 2)
    deployed.api.post({"event_name": "contact", "email": "grace@example.com"})
    deployed.api.post({"event_name": "contact", "email": "alan@example.com"})
    deployed.api.post({"event_name": "contact"})
    deployed.queues.take_dead_letters()
    deployed.queues.until_all_is_settled()

    counted = eventually(
        lambda: deployed.metrics() - before, lambda counted: counted["Delivered"] == 2
    )
    latency = counted.pop("DeliveryLatency")
    assert latency > 0
    assert counted == {
        "Accepted": 4,
        "Rejected": 1,
        "Delivered": 2,
        "Duplicate": 1,
        "Retried": 1,
        "Parked": 1,
    }


@pytest.mark.parametrize("function", ["ingest", "deliver"])
def test_metrics_carry_the_name_of_the_stack_alone(deployed: Deployed, function: str) -> None:
    """A dimension of one value a metric: each further value would cost money."""
    lines = [json.loads(line) for line in deployed.functions.log_lines(function)]

    dimensions = [
        (metrics["Namespace"], metrics["Dimensions"], line["service"])
        for line in lines
        for metrics in line.get("_aws", {}).get("CloudWatchMetrics", ())
    ]

    assert dimensions
    assert all(it == ("CometlyForwarder", [["service"]], "cometly-forwarder") for it in dimensions)
