"""Logs and metrics through Powertools.

One JSON line an outcome, or a request of several, and one document of metrics an invocation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from cometly_forwarder.journal import METRICS, NAMESPACE

# Counted once more for the page queue: a flood of pages that expires is no purchase lost.
_PAGE_METRICS = {"delivery.parked": "PagesParked"}
ALL_METRICS = frozenset({*METRICS.values(), *_PAGE_METRICS.values(), "DeliveryLatency", "Waited"})


def make_logger() -> Logger:
    """Make the JSON logger. Its lines name ids, never events, and say nothing twice: logs cost.

    The service's name comes from POWERTOOLS_SERVICE_NAME: the stack's, so one for each Space.
    """
    return Logger(location=None, log_uncaught_exceptions=False, utc=True, use_rfc3339=True)


def make_metrics() -> Metrics:
    return Metrics(namespace=NAMESPACE)


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes outcomes down and counts them; safe to share between threads."""

    logger: Logger
    metrics: Metrics
    _lock: Lock = field(default_factory=Lock, repr=False)

    def begin(self, request_id: str) -> None:
        """Name the invocation in every line of it."""
        self.logger.append_keys(invocation=request_id)

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None:
        """Log `name` with its keys, and count it, or `count` of it. `latency` is in seconds.

        A line of several outcomes has the number of each in `outcomes`, which counts instead.
        """
        self.logger.info(name, extra={"event_id": event_id, **keys})
        with self._lock:
            for outcome, number in _counts(name, keys):
                if metric := METRICS.get(outcome):
                    self.metrics.add_metric(metric, MetricUnit.Count, number)
            if isinstance(latency := keys.get("latency"), float):
                self.metrics.add_metric(
                    "DeliveryLatency", MetricUnit.Milliseconds, round(latency * 1000)
                )

    def count(self, metric: str) -> None:
        """Count one of a metric."""
        with self._lock:
            self.metrics.add_metric(metric, MetricUnit.Count, 1)

    def waited(self, seconds: float) -> None:
        """Measure how long a message had waited that went back to its queue.

        SQS leaves out of the age of the oldest what was received three times or more, so that a
        pause would hide what waits.
        """
        with self._lock:
            self.metrics.add_metric("Waited", MetricUnit.Seconds, round(seconds))

    def flush(self) -> None:
        """Write the metrics of this invocation as one EMF line, if there are any."""
        if self.metrics.metric_set:
            self.metrics.flush_metrics()


@dataclass(frozen=True, slots=True)
class PageJournal:
    """Tells the outcomes of the page queue from those of the event queue."""

    journal: Journal

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None:
        """Log and count as the journal does; what is parked counts as `PagesParked` as well."""
        self.journal.record(name, event_id=event_id, queue="pages", **keys)
        if metric := _PAGE_METRICS.get(name):
            self.journal.count(metric)


def _counts(name: str, keys: Mapping[str, object]) -> Iterable[tuple[str, int]]:
    """Say which outcomes a line stands for, and how many of each."""
    outcomes, count = keys.get("outcomes"), keys.get("count", 1)
    if isinstance(outcomes, Mapping):
        return outcomes.items()
    return [(name, count if isinstance(count, int) else 1)]
