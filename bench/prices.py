"""AWS's list prices, and what a count of units costs by them.

US East (N. Virginia), as the services' pricing pages showed them on PRICED_ON; no free tier, no
volume discount, no data transfer. Cross-checks: aws.amazon.com/<service>/pricing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PRICED_ON = "2026-11-28"
REGION = "us-east-1"
MILLION = 1_000_000
GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for `per` units."""

    component: str
    dollars: float
    per: float
    source: str

    def of(self, units: float) -> float:
        return units * self.dollars / self.per


# By the unit's name in a count.
PRICES: Mapping[str, Price] = {
    "api_requests": Price("API Gateway", 1.00, MILLION, "api-gateway: HTTP API, 512 KB"),
    "invocations": Price("Lambda requests", 0.20, MILLION, "lambda: requests"),
    "gb_seconds": Price("Lambda time", 0.0000133334, 1, "lambda: Arm, first tier"),
    "gb_seconds_x86": Price("Lambda time", 0.0000166667, 1, "lambda: x86, first tier"),
    "sqs_requests": Price("SQS", 0.40, MILLION, "sqs: standard queues, 64 KB"),
    "writes": Price("DynamoDB", 0.625, MILLION, "dynamodb: on-demand, write request units"),
    "reads": Price("DynamoDB", 0.125, MILLION, "dynamodb: on-demand, read request units"),
    "stored_gb_months": Price("DynamoDB storage", 0.25, 1, "dynamodb: standard table class"),
    "log_bytes": Price("Logs", 0.50, GIGABYTE, "cloudwatch: logs, collect, standard"),
    "sns_requests": Price("SNS", 0.50, MILLION, "sns: requests, 64 KB; to SQS free"),
    "secret_calls": Price("Secrets Manager", 0.05, 10_000, "secrets-manager: API calls"),
    "secrets": Price("Secrets Manager", 0.40, 1, "secrets-manager: a secret and month"),
    "metrics": Price("Metrics", 0.30, 1, "cloudwatch: custom metric and month, first tier"),
    "bus_events": Price("EventBridge", 1.00, MILLION, "eventbridge: custom events, 64 KB"),
    "destination_calls": Price("API destination", 0.20, MILLION, "eventbridge: API destinations"),
}


def dollars(units: Mapping[str, float]) -> dict[str, float]:
    """Return what units cost, by component; a unit without a price raises KeyError."""
    costs: dict[str, float] = {}
    for name, count in units.items():
        price = PRICES[name]
        costs[price.component] = costs.get(price.component, 0.0) + price.of(count)
    return costs


def a_million(units: Mapping[str, float], events: int) -> dict[str, float]:
    """Return the units that a million events need, where so many needed `units`."""
    return {name: count * MILLION / events for name, count in units.items()}


def total(units: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Add several counts."""
    summed: dict[str, float] = {}
    for each in units:
        for name, count in each.items():
            summed[name] = summed.get(name, 0.0) + count
    return summed
