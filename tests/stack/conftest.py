"""One stack for all of these tests, of their own: a developer's `make up` goes on beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import urllib3

from local.stack import deploy, signals
from local.stack.checkout import Checkout
from local.stack.environment import REGION, isolated
from local.stack.lifecycle import Stack, bring_up, supervising, take_down
from local.stack.options import Options
from tests.stack.deployed import Api, Bus, Deployed, Functions, Queues, Sandbox, Table, Topic

# The rules of docs/transformers, by the names that their templates give them. The queue admits them
# before they are there, as docs/sources.md asks for.
EXTRA_RULES = tuple(
    f"arn:aws:events:{REGION}:000000000000:rule/{deploy.STACK_NAME}/{name}"
    for name in (
        "cometly-shopify-order",
        "cometly-stripe-payment",
        "cometly-stripe-payment-whole",
        "cometly-stripe-payment-thousandths",
        "cometly-webhook",
    )
)
PAGE_DELAY_SECONDS = 3
# A rate at which the gate costs the tests no time; American numbers need no country code; one
# shop's pages may send events, which come after those of services; as many as the tests make up.
OPTIONS = Options(
    requests_per_minute=12_000,
    param=(
        "DefaultPhoneRegion=US",
        "AllowedOrigins=https://shop.example.com",
        # As a stack has it that names none: without what carries money.
        "BrowserEventNames=",
        f"PageDelaySeconds={PAGE_DELAY_SECONDS}",
        "VisitorEventsPerMinute=0",
        f"ExtraRuleArns={','.join(EXTRA_RULES)}",
    ),
)


class CheckoutOfTheTests(Checkout):
    """The checkout, with another place for what a stack writes: ports, processes, logs, build."""

    @property
    def local(self) -> Path:
        return self.root / ".local" / "stack-tests"


@pytest.fixture(scope="session")
def _stack() -> Iterator[Stack]:
    """Build and deploy; nothing of the developer's AWS configuration is seen."""
    checkout = CheckoutOfTheTests.here()
    with patch.dict(os.environ, isolated(checkout), clear=True), supervising(checkout):
        take_down(checkout)  # what a killed session left
        try:
            yield bring_up(checkout, OPTIONS)
        finally:
            with signals.ignored():
                take_down(checkout)


@pytest.fixture(scope="session")
def _deployed(_stack: Stack) -> Iterator[Deployed]:
    plan, names = _stack.plan, _stack.names
    assert plan.sandbox
    session = deploy.session_for(plan.aws)
    with ExitStack() as connections:

        def client(service: Any) -> Any:
            made = session.client(service, endpoint_url=plan.aws.endpoint_url)
            return connections.enter_context(closing(made))

        pool = connections.enter_context(urllib3.PoolManager(maxsize=16))
        yield Deployed(
            stack=_stack,
            api=Api(names.api_url, names.server_key, pool),
            sandbox=Sandbox(_stack, OPTIONS, pool, plan.sandbox),
            queues=Queues(
                client("sqs"),
                names.event_queue_url,
                names.dead_letter_queue_url,
                names.page_queue_url,
            ),
            topic=Topic(client("sns"), names.topic_arn),
            bus=Bus(client("events"), names.event_bus_name),
            table=Table(client("dynamodb"), names.table_name),
            functions=Functions(
                client("lambda"),
                client("iam"),
                client("logs"),
                {"ingest": names.ingest_function, "deliver": names.deliver_function},
            ),
            secrets=client("secretsmanager"),
            cloudformation=client("cloudformation"),
        )


@pytest.fixture
def deployed(_deployed: Deployed) -> Iterator[Deployed]:
    """The stack with an empty sandbox, empty queues and an open gate; a test leaves none behind."""
    _deployed.clean()
    yield _deployed
    left = {"waiting": _deployed.queues.waiting(), "parked": _deployed.queues.parked()}
    assert left == {"waiting": 0, "parked": 0}
