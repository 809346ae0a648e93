"""What the functions write down: ids and outcomes, and nothing about a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

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
    refused = {"order_id": "refused", "idempotency_key": "refused-by-cometly"}
    parked = deployed.api.post({**SAMPLE, **refused}).body
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
    written = "\n".join(deployed.lines())
    for secret in secrets_of(deployed):
        assert secret.lower() not in written.lower()


def test_a_refusal_by_key_is_logged_and_counted_without_the_key(deployed: Deployed) -> None:
    before, refused = deployed.metrics(), len(deployed.logged("ingest.refused"))

    answer = deployed.api.with_key("somebody-elses-key").post({"email": "ada@example.com"})

    assert answer.status == 401
    assert eventually(lambda: deployed.metrics() - before, bool) == {"Refused": 1}
    assert len(deployed.logged("ingest.refused")) == refused + 1
    assert "somebody-elses-key" not in "\n".join(deployed.lines())


def test_every_log_line_is_json_and_names_its_invocation_or_the_stack(deployed: Deployed) -> None:
    """A metric has one dimension with one value: each further value would cost money."""
    deployed.api.post({"event_name": "contact", "email": "ada@example.com"})
    deployed.queues.until_all_is_settled()

    assert eventually(deployed.metrics, bool)
    for line in map(json.loads, deployed.lines()):
        if "_aws" not in line:
            assert {"level", "message", "invocation"} <= set(line)
            continue
        assert line["service"] == "cometly-forwarder"
        for metrics in line["_aws"]["CloudWatchMetrics"]:
            assert metrics["Namespace"] == "CometlyForwarder"
            assert metrics["Dimensions"] == [["service"]]


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

    emails = ["ada@example.com", "ada@example.com", "grace@example.com", "alan@example.com", ""]
    deployed.api.post([{"event_name": "contact", "email": it, "order_id": "7"} for it in emails])
    deployed.queues.take_dead_letters()
    deployed.queues.until_all_is_settled()

    counted = eventually(
        lambda: deployed.metrics() - before, lambda counted: counted["Delivered"] == 2
    )
    latency = counted.pop("DeliveryLatency")
    assert latency > 0
    # In whole seconds, of what was retried: 0 on a machine with nothing else to do.
    del counted["Waited"]
    assert counted == {
        "Accepted": 4,
        "Rejected": 1,
        "Delivered": 2,
        "Duplicate": 1,
        "Retried": 1,
        "Parked": 1,
    }
