"""Logs and metrics through Powertools, in as few bytes as say it all: logs cost by the byte.

One JSON line an outcome; what belongs together is one line (`journal.each_outcome` reads it as
several). One document of metrics an invocation, which its last line is written with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.functions import is_metrics_disabled

from cometly_forwarder.journal import (
    DELIVERED,
    METRICS,
    NAMESPACE,
    Line,
    can_join,
    joined,
    terse,
)

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


# What is kept back is written down when it is so old, or so many: `tail` shows a long batch as it
# goes, and a worker that dies takes no more with it.
_KEPT_SECONDS, _KEPT_LINES = 1.0, 10


@dataclass(frozen=True, slots=True)
class _Kept:
    """A line that is kept back, and its Unix time."""

    line: Line
    at: float


@dataclass(slots=True)
class Journal:
    """Writes outcomes down and counts them; safe to share between threads.

    Kept back for a moment are what was delivered, for others to share its line, and what became of
    a request, for its metrics to share it. Anything else is written at once.
    """

    logger: Logger
    metrics: Metrics
    now: Callable[[], float] = time.time
    _kept: list[_Kept] = field(default_factory=list, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _invocation: str | None = field(default=None, init=False, repr=False)
    _has_written: bool = field(default=False, init=False, repr=False)

    def begin(self, request_id: str) -> None:
        """Name the invocation in the lines of it, if they are several: by it they are known."""
        self.logger.append_keys(invocation=request_id)
        self._invocation, self._has_written = request_id, False

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None:
        """Log `name` with its keys, and count it, or `count` of it. `latency` is in seconds.

        A line of several outcomes has the number of each in `outcomes`, which counts instead.
        """
        line = terse({"message": name, "event_id": event_id, **keys})
        is_kept = name == DELIVERED or name.startswith("ingest.")
        with self._lock:
            self._count(name, keys)
            now = self.now()
            if self._kept and self._is_over(line if is_kept else None, now):
                self._write_kept()
            if not is_kept:
                self._write(line)
                return
            self._kept.append(_Kept(line, now))

    def _count(self, name: str, keys: Mapping[str, object]) -> None:
        for outcome, number in _counts(name, keys):
            if metric := METRICS.get(outcome):
                self.metrics.add_metric(metric, MetricUnit.Count, number)
        if isinstance(latency := keys.get("latency"), float):
            self.metrics.add_metric(
                "DeliveryLatency", MetricUnit.Milliseconds, round(latency * 1000)
            )

    def _is_over(self, line: Line | None, now: float) -> bool:
        """Say whether what is kept back is written; `line` would be kept as well."""
        first = self._kept[0]
        is_old = now - first.at >= _KEPT_SECONDS
        is_full = len(self._kept) == _KEPT_LINES
        return is_old or (line is not None and (is_full or not can_join(first.line, line)))

    def _take_kept(self) -> list[Line]:
        """Take what is kept back, as one line: none, if there is nothing.

        What lay for long keeps the time of the last of it.
        """
        if not self._kept:
            return []
        line, at = joined([it.line for it in self._kept]), self._kept[-1].at
        self._kept.clear()
        is_late = self.now() - at >= _KEPT_SECONDS
        return [{**line, "at": round(at, 3)} if is_late else line]

    def _write_kept(self) -> None:
        for line in self._take_kept():
            self._write(line)

    def _write(self, line: Line) -> None:
        told = {name: it for name, it in line.items() if name != "message"}
        self.logger.info(line["message"], extra=told)
        self._has_written = True

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
        """Write what is kept back, and the metrics of this invocation with it as one EMF document.

        EMF lets a document have more members than it describes. `_aws` has its time.
        """
        with self._lock:
            if is_metrics_disabled():
                # By POWERTOOLS_METRICS_DISABLED: then Powertools writes no document, and keeps all.
                self.metrics.clear_metrics()
            if not self.metrics.metric_set:
                self._write_kept()
                return
            invocation = self._invocation if self._has_written else None
            for line in self._take_kept():
                for name, value in terse({**line, "invocation": invocation}).items():
                    self.metrics.add_metadata(name, value)
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
