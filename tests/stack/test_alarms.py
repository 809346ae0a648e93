"""Each alarm of the deployed stack is driven to ring, and is told to whoever subscribed.

The emulator publishes no metrics of SQS, API Gateway or EMF lines, so their values are put here. It
adds up all periods of an alarm, and knows neither its dimensions, nor how many of the periods must
breach, nor what missing data means: tests/unit/test_alarms.py evaluates that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cometly_forwarder.journal import NAMESPACE
from tests.stack.deployed import Deployed, Fields, eventually

DAY = 24 * 3600
# For each alarm a value at which it rings.
VALUES: dict[str, float] = {
    "IngestFailsAlarm": 1,
    "IngestDiesAlarm": 1,
    "DeliverDiesAlarm": 1,
    "IngestThrottledAlarm": 1,
    "DeliverThrottledAlarm": 1,
    "EventsWaitAlarm": 901,
    "PagesWaitAlarm": 1801,
    "EventsComeBackAlarm": 1801,
    "EventsGrowOldAlarm": 3 * DAY + 1,
    "PagesGrowOldAlarm": 3 * DAY + 1,
    "ParkedGrowOldAlarm": 10 * DAY + 1,
    "ParkedAlarm": 1,
    "PausedAlarm": 1,
    "BlockedAlarm": 1,
    "CrashedAlarm": 1,
    "SilenceAlarm": 0,
    "MissingAlarm": 1,
    "ReconcileFailsAlarm": 1,
}


def alarm_of(deployed: Deployed, name: str) -> Fields:
    physical = deployed.resource(name)
    [alarm] = deployed.cloudwatch.describe_alarms(AlarmNames=[physical])["MetricAlarms"]
    found: Fields = alarm
    return found


def state_of(deployed: Deployed, name: str) -> str:
    return str(alarm_of(deployed, name)["StateValue"])


@pytest.fixture
def heard(deployed: Deployed) -> Iterator[str]:
    """Subscribe a queue to the topic of the alarms; its URL."""
    sqs, sns = deployed.queues.sqs, deployed.topic.sns
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    topic = deployed.resource("AlarmTopic")
    assert topic
    admitted = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [admitted]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    subscription = sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=deployed.queues.arn(url),
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    yield url
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=url)


def notices(deployed: Deployed, url: str) -> list[Fields]:
    messages = deployed.queues.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    bodies = [json.loads(message["Body"]) for message in messages.get("Messages", ())]
    return [json.loads(body["Message"]) for body in bodies]


def put(deployed: Deployed, alarm: Fields, value: float) -> None:
    datum: dict[str, Any] = {
        "MetricName": alarm["MetricName"],
        "Dimensions": alarm["Dimensions"],
        "Value": value,
    }
    deployed.cloudwatch.put_metric_data(Namespace=alarm["Namespace"], MetricData=[datum])


def test_the_stack_has_these_alarms(deployed: Deployed) -> None:
    alarms = deployed.cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]

    assert {alarm["AlarmName"] for alarm in alarms} == {deployed.resource(name) for name in VALUES}
    for alarm in alarms:
        assert alarm["AlarmActions"] == [deployed.resource("AlarmTopic")]
        assert "docs/operations.md#" in alarm["AlarmDescription"]
        assert all(it["Value"] for it in alarm["Dimensions"])


@pytest.fixture(autouse=True)
def _quiet_afterwards(deployed: Deployed) -> Iterator[None]:
    """Leave no alarm on: others ask the stack whether it is well."""
    yield
    for name in VALUES:
        deployed.cloudwatch.set_alarm_state(
            AlarmName=alarm_of(deployed, name)["AlarmName"],
            StateValue="OK",
            StateReason="a test is over",
        )


@pytest.mark.parametrize("name", VALUES)
def test_an_alarm_rings_and_is_told(deployed: Deployed, name: str, heard: str) -> None:
    alarm = alarm_of(deployed, name)
    # What was put for another alarm of the same metric counts here too.
    deployed.cloudwatch.set_alarm_state(
        AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="a test begins"
    )

    put(deployed, alarm, VALUES[name])

    assert state_of(deployed, name) == "ALARM"
    eventually(partial(notices, deployed, heard), partial(tells_of, alarm))


def tells_of(alarm: Fields, told: list[Fields]) -> bool:
    return (alarm["AlarmName"], "ALARM") in {(it["AlarmName"], it["NewStateValue"]) for it in told}


def test_the_dimensions_are_those_of_the_stack(deployed: Deployed) -> None:
    functions, queues = deployed.functions.names, deployed.queues
    assert queues.pages_url
    expected = {
        "EventsWaitAlarm": queues.events_url.rpartition("/")[2],
        "PagesWaitAlarm": queues.pages_url.rpartition("/")[2],
        "ParkedAlarm": queues.dead_letters_url.rpartition("/")[2],
        "IngestThrottledAlarm": functions["ingest"],
        "DeliverThrottledAlarm": functions["deliver"],
        "IngestDiesAlarm": functions["ingest"],
        "DeliverDiesAlarm": functions["deliver"],
        "EventsComeBackAlarm": "cometly-forwarder",
        "IngestFailsAlarm": deployed.resource("Api"),
        "CrashedAlarm": "cometly-forwarder",
    }

    for name, value in expected.items():
        assert [it["Value"] for it in alarm_of(deployed, name)["Dimensions"]] == [value]


def test_what_is_counted_has_the_names_that_the_alarms_watch(deployed: Deployed) -> None:
    """A real 401 is counted, and how long its event has waited is measured."""
    deployed.sandbox.fail(kind="status", status=401, match={"email": "ada@example.com"})
    before = deployed.metrics()

    deployed.api.post({"event_name": "contact", "email": "ada@example.com"})
    eventually(lambda: deployed.metrics() - before, lambda counted: counted["Blocked"])
    eventually(lambda: "Waited" in deployed.metrics(), bool)

    for name, metric in (("BlockedAlarm", "Blocked"), ("EventsComeBackAlarm", "Waited")):
        alarm = alarm_of(deployed, name)
        assert (alarm["Namespace"], alarm["MetricName"]) == (NAMESPACE, metric)
    deployed.table.forget_the_gate()
    deployed.queues.purge()


def test_the_dashboard_names_the_stacks_own_queues_and_logs(deployed: Deployed) -> None:
    name = deployed.resource("Dashboard")

    body = deployed.cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]

    widgets = json.loads(body)["widgets"]
    shown = json.dumps(widgets)
    assert len(widgets) > 8
    assert "${" not in body
    for part in (
        deployed.queues.events_url.rpartition("/")[2],
        str(deployed.queues.pages_url).rpartition("/")[2],
        deployed.functions.log_group("deliver"),
        "12000",
    ):
        assert part in shown


def test_without_an_address_nothing_of_it_is_there(deployed: Deployed) -> None:
    with deployed.with_parameter("AlarmEmail", ""):
        assert deployed.resource("AlarmTopic") is None
        assert deployed.cloudwatch.describe_alarms()["MetricAlarms"] == []

    assert deployed.resource("AlarmTopic")
