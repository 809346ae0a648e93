"""The alarms that watch a stack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from cometly_forwarder.journal import NAMESPACE
from ops.target import Target

_NAMESPACES = frozenset({NAMESPACE, "AWS/SQS", "AWS/Lambda", "AWS/ApiGateway"})


def alarms_of(target: Target) -> list[dict[str, Any]]:
    """Return the alarms about a metric of the stack's, its queues, its functions or its API."""
    names = {re.split("[:/]", it)[-1] for it in target.outputs.values()}
    known = {*names, target.name, _api_id(target)}
    pages = target.clients.cloudwatch.get_paginator("describe_alarms").paginate()
    every = (alarm for page in pages for alarm in page["MetricAlarms"])
    return [alarm for alarm in every if _is_about(alarm, known)]


def _api_id(target: Target) -> str:
    """Return the API's id, with which its own address begins."""
    return (urlsplit(target.outputs.get("ApiUrl", "")).hostname or "").partition(".")[0]


def _is_about(alarm: Mapping[str, Any], known: set[str]) -> bool:
    return any(
        dimension["Value"] in known
        for metric in _metrics_of(alarm)
        if metric.get("Namespace") in _NAMESPACES
        for dimension in metric.get("Dimensions", ())
    )


def _metrics_of(alarm: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what an alarm watches: one metric, or several in a formula."""
    yield alarm
    for query in alarm.get("Metrics", ()):
        stat = query.get("MetricStat", {}).get("Metric")
        if stat:
            yield stat
