from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from local.stack.__main__ import _how_to_call
from local.stack.checkout import Checkout
from local.stack.deploy import Deployed
from local.stack.environment import AwsEndpoint
from local.stack.lifecycle import Plan, Stack
from local.stack.processes import Identity

NAMES = Deployed(
    api_url="http://127.0.0.1:1/api",
    server_key="key",
    topic_arn="",
    event_bus_name="",
    event_queue_url="",
    page_queue_url=None,
    dead_letter_queue_url="",
    table_name="",
    ingest_function="",
    deliver_function="",
)
PLAN = Plan(
    options={},
    aws=AwsEndpoint("http://127.0.0.1:1", "key", "secret"),
    cometly_url="http://127.0.0.1:2",
    token="t",
    shop_url="http://127.0.0.1:3",
    processes={"sandbox": Identity(2, 2)},
)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(Checkout(tmp_path), PLAN, NAMES)


def test_the_first_address_is_that_of_the_events_log(stack: Stack) -> None:
    first, *_ = _how_to_call(stack).splitlines()

    assert first.split() == ["Events", "Log", "http://127.0.0.1:2/"]


def test_without_a_sandbox_there_is_no_events_log(stack: Stack) -> None:
    text = _how_to_call(replace(stack, plan=replace(PLAN, processes={})))

    assert "Events Log" not in text
    assert text.splitlines()[0].split()[0] == "API"
