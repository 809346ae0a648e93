from __future__ import annotations

import json
from dataclasses import replace

import pytest

from local.stack.environment import AwsEndpoint
from local.stack.lifecycle import Plan
from local.stack.processes import Identity

PLAN = Plan(
    options={"port": None},
    aws=AwsEndpoint("http://127.0.0.1:1", "key", "secret"),
    cometly_url="http://127.0.0.1:2",
    token="t",
    shop_url="http://127.0.0.1:3",
    processes={"emulator": Identity(1, 1), "sandbox": Identity(2, 2)},
)


def test_a_plan_is_known_again_from_its_record() -> None:
    record = json.loads(json.dumps(PLAN.record()))

    assert Plan.read(record) == PLAN


@pytest.mark.parametrize("record", [None, [], {"options": {}}], ids=repr)
def test_what_is_no_record_is_no_plan(record: object) -> None:
    assert Plan.read(record) is None


def test_without_a_sandbox_events_go_to_another_cometly() -> None:
    plan = replace(PLAN, processes={"emulator": Identity(1, 1)})

    assert PLAN.sandbox_url == "http://127.0.0.1:2"
    assert plan.sandbox_url is None
