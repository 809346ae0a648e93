"""One JSON line an outcome, one EMF line an invocation."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cometly_forwarder.journal import METRICS, NAMESPACE
from cometly_forwarder.observability import (
    Journal,
    PageJournal,
    make_logger,
    make_metrics,
)
from tests.unit.conftest import lines_in, metrics_in
from tests.unit.fakes import Pipe, answer, message


@pytest.fixture(autouse=True)
def _named_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "shop-events")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(make_logger().registered_handler, "stream", stream)
    return stream


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal(make_logger(), make_metrics())
    yield journal
    journal.metrics.clear_metrics()


def test_an_outcome_is_one_line_of_json(journal: Journal, log: io.StringIO) -> None:
    journal.record("delivery.parked", event_id="evt_1", reason="HTTP 422")

    (line,) = lines_in(log)
    assert line["message"] == "delivery.parked"
    assert line["event_id"] == "evt_1"
    assert line["reason"] == "HTTP 422"
    assert line["level"] == "INFO"
    assert line["service"] == "shop-events"
    assert line["timestamp"].endswith("+00:00")  # RFC 3339, the one form that Lambda reads


def test_a_line_names_its_invocation_and_keeps_no_key_of_the_one_before(
    journal: Journal, log: io.StringIO
) -> None:
    for number in (1, 2):
        journal.begin(f"invocation-{number}")
        journal.record("delivery.retried", event_id="evt_1", **{f"key_{number}": 1})

    first, second = lines_in(log)
    assert (first["invocation"], second["invocation"]) == ("invocation-1", "invocation-2")
    assert "key_1" in first
    assert "key_1" not in second


def test_each_outcome_is_counted(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    for name in METRICS:
        journal.record(name, event_id="evt_1")
        journal.record(name, event_id="evt_2")
    journal.flush()

    counted = metrics_in(capsys.readouterr().out)
    assert counted == Counter([*METRICS.values()] * 2)
    assert counted.keys() >= {"Accepted", "Rejected", "Delivered", "Duplicate", "Retried", "Parked"}


def test_latency_is_measured_in_milliseconds(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.record("delivery.delivered", event_id="evt_1", latency=1.2345)
    journal.flush()

    (emf,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert emf["DeliveryLatency"] == [1234]
    described = emf["_aws"]["CloudWatchMetrics"][0]
    assert described["Namespace"] == NAMESPACE
    assert {"Name": "DeliveryLatency", "Unit": "Milliseconds"} in described["Metrics"]
    # A dimension an event would be a metric an event, and a bill to match.
    assert described["Dimensions"] == [["service"]]
    assert emf["service"] == "shop-events"


def test_a_line_of_several_outcomes_counts_each(
    journal: Journal, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.record("ingest.array", outcomes={"ingest.accepted": 97, "ingest.rejected": 3})
    journal.flush()

    assert metrics_in(capsys.readouterr().out) == {"Accepted": 97, "Rejected": 3}
    assert len(lines_in(log)) == 1


def test_a_name_without_a_metric_is_only_logged_and_metrics_are_written_once(
    journal: Journal, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.record("ingest.accepted", event_id="evt_1")
    journal.flush()
    capsys.readouterr()

    journal.record("delivery.settled_before", event_id="evt_1")
    journal.flush()

    assert lines_in(log)[1]["message"] == "delivery.settled_before"
    assert capsys.readouterr().out == ""


def test_what_is_parked_of_the_page_queue_is_counted_twice(
    journal: Journal, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = PageJournal(journal)

    journal.record("delivery.parked", event_id="evt_1", reason="expired")
    pages.record("delivery.parked", event_id="evt_2", reason="expired")
    pages.record("delivery.delivered", event_id="evt_3")
    journal.flush()

    assert metrics_in(capsys.readouterr().out) == {"Parked": 2, "PagesParked": 1, "Delivered": 1}
    assert [line.get("queue") for line in lines_in(log)] == [None, "pages", "pages"]


@pytest.mark.parametrize("name", ["ingest.warned", "delivery.warned"])
def test_what_nobody_was_told_is_counted_by_no_dimension_of_its_own(
    journal: Journal, name: str, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.record(name, event_id="evt_1", fields=["(other)", "amount"])
    PageJournal(journal).record(name, event_id="evt_2", fields=["email"])
    journal.flush()

    (emf,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert emf["Warned"] == [1, 1]
    assert emf["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert [line["fields"] for line in lines_in(log)] == [["(other)", "amount"], ["email"]]


@pytest.fixture
def _hasty_threads() -> Iterator[None]:
    """Let threads take turns within a call, not between calls."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_hasty_threads")
def test_threads_may_share_a_journal(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    # EMF holds a hundred values a metric: beyond, it takes more than one line.
    with ThreadPoolExecutor(8) as threads:
        for number in range(2_000):
            threads.submit(journal.record, "ingest.accepted", event_id=f"evt_{number}")
    journal.flush()

    assert metrics_in(capsys.readouterr().out) == {"Accepted": 2_000}


def test_a_blocked_space_is_counted_from_its_first_answer_on(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = Pipe()
    pipe.journal = journal  # type: ignore[assignment]
    pipe.cometly.respond = lambda _: answer(401)

    counted = []
    for number in range(2):
        pipe.deliver(message(number))
        journal.flush()
        counted.append(metrics_in(capsys.readouterr().out))

    assert counted == [{"Blocked": 1}, {"Paused": 1}]
