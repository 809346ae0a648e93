"""How much happened lately: CloudWatch's metrics, and the log where they are late or missing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from cometly_forwarder.journal import METRICS, NAMESPACE
from ops.logs import outcomes, quoted
from ops.target import Target

HOUR, MINUTE = 3600.0, 60.0
# How far back the rate looks. Lines reach CloudWatch Logs within some seconds, metrics within some
# minutes.
RATE_SECONDS = 180.0


def last_hour(target: Target, now: float) -> dict[str, int]:
    """Count the last hour by metric, those alone that are not 0."""
    counted = _logged(target, now - HOUR) if target.is_local else _measured(target, now)
    return {name: counted[name] for name in dict.fromkeys(METRICS.values()) if counted[name]}


def delivered_per_minute(target: Target, now: float) -> float:
    """Count the lines `delivery.delivered` of the last three minutes, a minute of them."""
    start = now - RATE_SECONDS
    where = f"{{ $.message = {quoted('delivery.delivered')} }}"
    lines = outcomes(target, start, functions=("deliver",), where=where)
    count = sum(it.outcome == "delivery.delivered" and it.at >= start for it in lines)
    return round(count / RATE_SECONDS * MINUTE, 1)


def oldest_seconds(target: Target, queue_url: str, now: float) -> float | None:
    """Return the age of a queue's oldest message, as CloudWatch saw it last; None: not known."""
    dimension = {"Name": "QueueName", "Value": queue_url.rpartition("/")[2]}
    points = _maxima(target, ("AWS/SQS", "ApproximateAgeOfOldestMessage"), dimension, now, 10)
    return float(points[-1]["Maximum"]) if points else None


def waited_seconds(target: Target, now: float) -> float | None:
    """Return for how long the oldest of what came back in a pause waits by now; None: not known.

    The longest pause probes every 15 minutes.
    """
    dimension = {"Name": "service", "Value": target.name}
    points = _maxima(target, (NAMESPACE, "Waited"), dimension, now, 20)
    waits = [it["Maximum"] + max(now - it["Timestamp"].timestamp(), 0.0) for it in points]
    return max(waits, default=None)


def _maxima(
    target: Target, metric: tuple[str, str], dimension: dict[str, str], now: float, minutes: int
) -> list[dict[str, Any]]:
    """Return the largest value of each of the last minutes, oldest first."""
    namespace, name = metric
    answer = target.clients.cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[dimension],
        StartTime=_time(now - minutes * MINUTE),
        EndTime=_time(now + MINUTE),
        Period=60,
        Statistics=["Maximum"],
    )
    return sorted(answer.get("Datapoints", ()), key=lambda it: it["Timestamp"])


def _measured(target: Target, now: float) -> Counter[str]:
    names = list(dict.fromkeys(METRICS.values()))
    queries = [
        {
            "Id": f"m{place}",
            "MetricStat": {
                "Metric": {
                    "Namespace": NAMESPACE,
                    "MetricName": name,
                    "Dimensions": [{"Name": "service", "Value": target.name}],
                },
                "Period": 60,
                "Stat": "Sum",
            },
        }
        for place, name in enumerate(names)
    ]
    pages: Any = target.clients.cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=_time(now - HOUR), EndTime=_time(now + MINUTE)
    )
    counted: Counter[str] = Counter()
    for page in pages:
        for result in page["MetricDataResults"]:
            counted[names[int(result["Id"][1:])]] += int(sum(result["Values"]))
    return counted


def _logged(target: Target, start: float) -> Counter[str]:
    counted: Counter[str] = Counter()
    for line in outcomes(target, start):
        if (metric := METRICS.get(line.outcome)) and line.at >= start:
            count = line.fields.get("count", 1)
            counted[metric] += count if isinstance(count, int) else 1
    return counted


def _time(moment: float) -> datetime:
    return datetime.fromtimestamp(moment // 60 * 60, UTC)
