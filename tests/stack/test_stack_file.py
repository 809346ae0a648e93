"""What scripts read in .local/stack.json is what is deployed, and answers."""

from __future__ import annotations

import json

from local.stack.checkout import read_json
from tests.stack.deployed import Deployed, Fields, eventually

LEAD = {"event_name": "lead_generated", "email": "ada@example.com"}
PAGE = "https://shop.example.com"


def stack_file(deployed: Deployed) -> Fields:
    return read_json(deployed.stack.checkout.stack_file) or {}


def test_pages_can_post_to_the_collect_url(deployed: Deployed) -> None:
    url = stack_file(deployed)["collect_url"]

    answer = deployed.api.pool.request("POST", url, json=LEAD, headers={"Origin": PAGE})

    assert answer.status == 202
    deployed.queues.until_all_is_settled()
    assert [event["fields"]["email"] for event in deployed.sandbox.events()] == [LEAD["email"]]


def test_the_queues_that_are_named_are_those_that_the_functions_know(deployed: Deployed) -> None:
    names = stack_file(deployed)
    urls = {"EVENT_QUEUE_URL": "event_queue_url", "PAGE_QUEUE_URL": "page_queue_url"}

    for function in ("ingest", "deliver"):
        for variable, name in urls.items():
            assert deployed.functions.variable(function, variable) == names[name]


def test_the_topic_and_the_bus_that_are_named_are_those_that_are_taken_from(
    deployed: Deployed,
) -> None:
    names = stack_file(deployed)

    deployed.topic.sns.publish(TopicArn=names["topic_arn"], Message=json.dumps(LEAD))
    deployed.bus.events.put_events(
        Entries=[
            {
                "EventBusName": names["event_bus_name"],
                "Source": "shop",
                "DetailType": "ConversionEvent",
                "Detail": json.dumps(LEAD),
            }
        ]
    )

    eventually(deployed.sandbox.events, lambda events: len(events) == 2)
    deployed.queues.until_all_is_settled()


def test_the_shop_is_at_its_url_and_loads_the_script_of_the_stack(deployed: Deployed) -> None:
    names = stack_file(deployed)

    answer = deployed.api.pool.request("GET", names["shop_url"], retries=3)

    assert answer.status == 200
    assert f"{names['api_url']}/client.js" in answer.data.decode()
