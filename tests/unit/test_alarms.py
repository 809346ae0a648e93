"""The template's alarms and dashboard: what they watch, when they ring, and what they tell."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cometly_forwarder.journal import NAMESPACE
from cometly_forwarder.observability import ALL_METRICS
from local.stack.checkout import Checkout
from tests.unit import cloudformation
from tests.unit.cases import in_one_test
from tests.unit.test_docs import OPERATIONS, REFERENCE, anchors_of, section_of

TEMPLATE = cloudformation.read(Checkout.here().template)
RESOURCES = TEMPLATE["Resources"]
ALARMS: dict[str, dict[str, Any]] = {
    name: it["Properties"]
    for name, it in RESOURCES.items()
    if it["Type"] == "AWS::CloudWatch::Alarm"
}
COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}
MINUTE, DAY = 60, 24 * 3600
# What AWS and the forwarder publish, by the dimension of it.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
PUBLISHED = {
    NAMESPACE: ("service", ALL_METRICS),
    "AWS/ApiGateway": ("ApiId", {"5xx"}),
    "AWS/Lambda": ("FunctionName", {"Errors", "Throttles"}),
    "AWS/SQS": (
        "QueueName",
        {
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesVisible",
            "NumberOfMessagesSent",
        },
    ),
}


NOTHING: list[float | None] = [None] * 60


def rings(alarm: dict[str, Any], series: Sequence[float | None], *, periods: int = 0) -> bool:
    """Evaluate an alarm as CloudWatch does, on a value a period (None: no data), newest last.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
    """
    evaluated = periods or alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm", evaluated)
    padded: list[float | None] = [*NOTHING, *series]
    missing = alarm["TreatMissingData"] == "breaching"
    breaches: Callable[[float, float], bool] = COMPARISONS[alarm["ComparisonOperator"]]
    breaching = sum(
        missing if value is None else breaches(value, alarm["Threshold"])
        for value in padded[-evaluated:]
    )
    return bool(breaching >= needed)


# --- What they watch --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_watches_what_is_published(name: str) -> None:
    alarm = ALARMS[name]
    dimension, metrics = PUBLISHED[alarm["Namespace"]]

    assert [it["Name"] for it in alarm["Dimensions"]] == [dimension]
    assert alarm["MetricName"] in metrics
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_one_that_cloudwatch_takes(name: str) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""
    alarm = ALARMS[name]
    periods = alarm["EvaluationPeriods"]
    if periods == {"Ref": "SilenceMinutes"}:
        periods = TEMPLATE["Parameters"]["SilenceMinutes"]["MaxValue"]

    assert alarm["Period"] % MINUTE == 0
    assert alarm["Period"] * periods <= DAY
    assert alarm.get("DatapointsToAlarm", 1) <= periods
    assert len(alarm["AlarmDescription"]) <= 1024


def test_without_an_address_there_is_no_alarm_no_topic_and_no_dashboard() -> None:
    conditions = TEMPLATE["Conditions"]
    watched = {
        name
        for name, it in RESOURCES.items()
        if it["Type"].startswith("AWS::CloudWatch::") or name.startswith("Alarm")
    }

    assert TEMPLATE["Parameters"]["AlarmEmail"]["Default"] == ""
    assert conditions["IsWatched"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]}
    assert {RESOURCES[name]["Condition"] for name in watched} == {
        "IsWatched",
        "IsWatchedWithPages",
        "IsWatchedForSilence",
        "IsWatchedAndReconciled",
    }
    for name in ("IsWatchedWithPages", "IsWatchedForSilence", "IsWatchedAndReconciled"):
        assert {"Condition": "IsWatched"} in conditions[name]["Fn::And"]
    assert {it["Condition"] for it in TEMPLATE["Outputs"].values() if "IsWatched" in str(it)} == {
        "IsWatched"
    }


def test_the_topic_of_the_alarms_takes_them_alone() -> None:
    [alarms, _] = RESOURCES["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert alarms["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(
        ":cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*"
    )


# --- When they ring ---------------------------------------------------------------------------

EACH_MINUTE: list[float | None] = [1.0] * 60


@in_one_test
@pytest.mark.parametrize(
    ("name", "series", "is_ringing"),
    [
        ("ParkedAlarm", [0], False),
        ("ParkedAlarm", [1], True),
        ("EventsWaitAlarm", [901] * 3, True),
        ("EventsWaitAlarm", [900] * 3, False),
        ("EventsWaitAlarm", [5000, 5000, 1], False),
        ("PagesWaitAlarm", [1801] * 3, True),
        ("PagesWaitAlarm", [900 + 900] * 3, False),
        ("EventsGrowOldAlarm", [3 * DAY], False),
        ("EventsGrowOldAlarm", [3 * DAY + 1], True),
        ("PagesGrowOldAlarm", [3 * DAY + 1], True),
        ("ParkedGrowOldAlarm", [10 * DAY], False),
        ("ParkedGrowOldAlarm", [10 * DAY + 1], True),
        ("PausedAlarm", [3.0] * 5, False),
        ("PausedAlarm", [3.0] * 6, True),
        ("PausedAlarm", [3.0, None, 1.0, 3.0, None, 1.0, 1.0, 1.0], True),
        ("BlockedAlarm", [1.0, 1.0], False),
        # It probes after 1, 2, 4 and 8 minutes.
        ("BlockedAlarm", [1.0, 1.0, None, 1.0], True),
        # Four times an hour, as long as it lasts.
        ("BlockedAlarm", [1.0, *[None] * 14] * 4, True),
        ("BlockedAlarm", [1.0, 1.0, None, 1.0, *NOTHING], False),
        ("EventsComeBackAlarm", [1800.0], False),
        ("EventsComeBackAlarm", [1801.0], True),
        # It comes back an hour later, at the latest.
        ("EventsComeBackAlarm", [1801.0, *[None] * 12], True),
        ("EventsComeBackAlarm", [1801.0, *[None] * 13], False),
        ("CrashedAlarm", [1.0], True),
        ("MissingAlarm", [1.0], True),
        ("ReconcileFailsAlarm", [1.0], True),
        ("ReconcileFailsAlarm", [0.0], False),
        ("IngestFailsAlarm", [1.0], True),
        ("IngestFailsAlarm", [0.0], False),
        ("IngestThrottledAlarm", [1.0], True),
        ("DeliverThrottledAlarm", [1.0], True),
        ("IngestDiesAlarm", [1.0], True),
        ("IngestDiesAlarm", [0.0], False),
        ("DeliverDiesAlarm", [1.0], True),
    ],
)
def test_an_alarm_rings_when_it_should(
    name: str, series: list[float | None], *, is_ringing: bool
) -> None:
    assert rings(ALARMS[name], series) is is_ringing


@pytest.mark.parametrize("name", sorted(ALARMS.keys() - {"SilenceAlarm"}))
def test_no_alarm_rings_for_want_of_data(name: str) -> None:
    assert not rings(ALARMS[name], NOTHING)


@pytest.mark.parametrize(
    ("series", "is_ringing"),
    [
        pytest.param(NOTHING, True, id="nothing, as in a new stack"),
        pytest.param([*NOTHING, 1.0, *[None] * 29], False, id="one event half an hour ago"),
        pytest.param([*NOTHING, 1.0, *[None] * 30], True, id="one event a minute before that"),
        pytest.param([0.0] * 60, True, id="zero"),
        pytest.param(EACH_MINUTE, False, id="traffic"),
    ],
)
def test_silence_is_as_long_as_the_parameter_says(
    series: list[float | None], *, is_ringing: bool
) -> None:
    silence = ALARMS["SilenceAlarm"]

    assert (silence["Period"], silence["EvaluationPeriods"]) == (60, {"Ref": "SilenceMinutes"})
    assert "DatapointsToAlarm" not in silence
    assert rings(silence, series, periods=30) is is_ringing


# --- What they tell ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_names_a_section_of_the_runbook_that_exists(name: str) -> None:
    file, _, anchor = ALARMS[name]["AlarmDescription"].rpartition("Runbook: ")[2].partition("#")

    assert file == "docs/operations.md"
    assert anchor in anchors_of(OPERATIONS)


def test_the_runbook_lists_every_alarm_with_its_section() -> None:
    rows = re.findall(
        r"^\| `(\w+Alarm)` \|.*\(#([\w-]+)\) \|$", section_of(OPERATIONS, "Alarms"), re.MULTILINE
    )

    assert dict(rows) == {
        name: it["AlarmDescription"].rpartition("#")[2] for name, it in ALARMS.items()
    }


def test_the_reference_says_what_they_cost() -> None:
    text = section_of(REFERENCE, "Logs and metrics")

    assert f"{len(ALARMS)} alarms" in text
    assert f"${len(ALARMS) / 10:.2f} a month" in text


# --- The dashboard ----------------------------------------------------------------------------


def widgets() -> list[dict[str, Any]]:
    text, names = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    known = RESOURCES.keys() | TEMPLATE["Parameters"].keys() | names.keys()
    for name in re.findall(r"\$\{([^}]+)\}", text):
        assert name.startswith("AWS::") or name.partition(".")[0] in known
    filled = re.sub(r"\$\{[^}]+\}", "1", text)
    found: list[dict[str, Any]] = json.loads(filled)["widgets"]
    return found


def test_the_dashboard_shows_metrics_that_are_published() -> None:
    shown = [metric for widget in widgets() for metric in widget["properties"].get("metrics", ())]

    for namespace, metric, dimension, *_ in shown:
        assert dimension == PUBLISHED[namespace][0]
        assert metric in PUBLISHED[namespace][1]
    # Three dashboards are free up to 50 metrics each.
    assert 20 < len(shown) <= 50


def test_the_dashboard_goes_along_the_flow_and_nothing_overlaps() -> None:
    places = [(it["y"], it["x"]) for it in widgets()]
    cells = [(x, it["y"]) for it in widgets() for x in range(it["x"], it["x"] + it["width"])]

    assert places == sorted(places)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_dashboard_asks_the_logs_for_names_that_are_logged() -> None:
    queries = [it["properties"]["query"] for it in widgets() if it["type"] == "log"]

    assert ["routeKey" in query for query in queries] == [True, False]
    assert "delivery.parked" in queries[1]
    assert "by reason" in queries[1]


def test_latency_is_shown_by_its_percentiles() -> None:
    [latency] = [it for it in widgets() if "DeliveryLatency" in str(it)]

    assert [row[-1]["stat"] for row in latency["properties"]["metrics"]] == ["p50", "p95", "p99"]
