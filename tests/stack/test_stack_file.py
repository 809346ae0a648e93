"""What scripts read in .local/stack.json is what is deployed, and answers."""

from __future__ import annotations

from local.stack.checkout import read_json
from tests.stack.deployed import Deployed, Fields


def stack_file(deployed: Deployed) -> Fields:
    return read_json(deployed.stack.checkout.stack_file) or {}


def test_what_is_named_is_what_the_functions_know_and_what_the_tests_use(
    deployed: Deployed,
) -> None:
    names, variable = stack_file(deployed), deployed.functions.variable

    for function in ("ingest", "deliver"):
        assert variable(function, "EVENT_QUEUE_URL") == names["event_queue_url"]
        assert variable(function, "PAGE_QUEUE_URL") == names["page_queue_url"]
    assert names["collect_url"] == f"{deployed.api.url}/collect"
    assert names["topic_arn"] == deployed.topic.arn
    assert names["event_bus_name"] == deployed.bus.name


def test_the_shop_is_at_its_url_and_loads_the_script_of_the_stack(deployed: Deployed) -> None:
    names = stack_file(deployed)

    answer = deployed.api.pool.request("GET", names["shop_url"], retries=3)

    assert answer.status == 200
    assert f"{names['api_url']}/client.js" in answer.data.decode()
