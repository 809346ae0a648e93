"""What the functions write: few bytes, out of which a reader has a line an outcome."""

from __future__ import annotations

import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometly_forwarder.journal import (
    METRICS,
    NAMESPACE,
    each_outcome,
    joined,
    terse,
    time_text,
)
from cometly_forwarder.observability import (
    Journal,
    PageJournal,
    make_logger,
    make_metrics,
)
from tests.unit.conftest import lines_in, logged_by, metrics_in, outcomes_in
from tests.unit.fakes import Clock, Pipe, answer, message

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def _named_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "shop-events")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return logged_by(make_logger(), monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def journal(clock: Clock) -> Iterator[Journal]:
    journal = Journal(make_logger(), make_metrics(), clock.now)
    yield journal
    journal.metrics.clear_metrics()
    journal.logger.remove_keys(["invocation"])


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


def test_a_line_of_several_outcomes_counts_each(journal: Journal, log: io.StringIO) -> None:
    journal.record("ingest.array", outcomes={"ingest.accepted": 97, "ingest.rejected": 3})
    journal.flush()

    assert metrics_in(log.getvalue()) == {"Accepted": 97, "Rejected": 3}
    assert len(lines_in(log)) == 1


def test_a_name_without_a_metric_is_only_logged_and_metrics_are_written_once(
    journal: Journal, log: io.StringIO
) -> None:
    journal.record("ingest.accepted", event_id="evt_1")
    journal.flush()
    journal.record("delivery.settled_before", event_id="evt_1")
    journal.flush()

    assert lines_in(log)[1]["message"] == "delivery.settled_before"
    assert metrics_in(log.getvalue()) == {"Accepted": 1}


def test_what_is_parked_of_the_page_queue_is_counted_twice(
    journal: Journal, log: io.StringIO
) -> None:
    pages = PageJournal(journal)

    journal.record("delivery.parked", event_id="evt_1", reason="expired")
    pages.record("delivery.parked", event_id="evt_2", reason="expired")
    pages.record("delivery.delivered", event_id="evt_3")
    journal.flush()

    assert metrics_in(log.getvalue()) == {"Parked": 2, "PagesParked": 1, "Delivered": 1}
    assert [it.get("queue") for it in outcomes_in(log)] == [None, "pages", "pages"]


@pytest.mark.parametrize("name", ["ingest.warned", "delivery.warned"])
def test_what_nobody_was_told_is_counted_by_no_dimension_of_its_own(
    journal: Journal, name: str, log: io.StringIO
) -> None:
    journal.record(name, event_id="evt_1", fields=["(other)", "amount"])
    PageJournal(journal).record(name, event_id="evt_2", fields=["email"])
    journal.flush()

    (emf,) = [it for it in map(json.loads, log.getvalue().splitlines()) if "_aws" in it]
    assert emf["Warned"] == [1, 1]
    assert emf["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert [line["fields"] for line in lines_in(log)] == [["(other)", "amount"], ["email"]]


# --- Lines that say several things ------------------------------------------------------------


def deliver(journal: Journal, *numbers: int, **keys: object) -> None:
    """Record delivered events, each with a latency of its own."""
    for number in numbers:
        told = {"attempts": 1, "receives": 1, "reason": "HTTP 202", "request_id": f"req_{number}"}
        told |= {"latency": number + 0.25, **keys}
        journal.record("delivery.delivered", event_id=f"evt_{number}", **told)


def outcome_of(number: int, **keys: object) -> dict[str, object]:
    """Return what a reader has of such an event, but for time and service."""
    return {
        "message": "delivery.delivered",
        "event_id": f"evt_{number}",
        "attempts": 1,
        "receives": 1,
        "reason": "HTTP 202",
        "request_id": f"req_{number}",
        "latency": number + 0.25,
        **keys,
    }


def told_in(log: io.StringIO) -> list[dict[str, object]]:
    """Return the outcomes without what is the same in all of them."""
    same = {"level", "service", "timestamp", "invocation"}
    return [
        {name: it for name, it in line.items() if name not in same} for line in outcomes_in(log)
    ]


def test_the_outcome_of_a_request_is_one_document_with_its_metrics(
    journal: Journal, log: io.StringIO
) -> None:
    journal.begin("invocation-1")
    journal.record("ingest.accepted", event_id="evt_1", warnings=0, faults=[])
    journal.flush()

    (line,) = map(json.loads, log.getvalue().splitlines())
    assert line.keys() == {"_aws", "service", "message", "event_id", "Accepted"}
    assert line["Accepted"] == [1]
    (outcome,) = outcomes_in(log)
    assert abs(time.time() - datetime.fromisoformat(outcome.pop("timestamp")).timestamp()) < 3600
    assert outcome == {
        "message": "ingest.accepted",
        "event_id": "evt_1",
        "warnings": 0,
        "faults": [],
        "level": "INFO",
        "service": "shop-events",
    }


def test_a_document_of_metrics_has_nothing_of_the_one_before(
    journal: Journal, log: io.StringIO
) -> None:
    journal.record("ingest.rejected", faults=["email"])
    journal.flush()
    journal.count("Duplicate")
    journal.flush()

    first, second = map(json.loads, log.getvalue().splitlines())
    assert first["faults"] == ["email"]
    assert second.keys() == {"_aws", "service", "Duplicate"}


def test_a_request_with_two_outcomes_leaves_two_lines(journal: Journal, log: io.StringIO) -> None:
    journal.begin("invocation-1")
    journal.record("queue.unavailable", batches=1)
    journal.record("ingest.accepted", event_id="evt_1")
    journal.record("ingest.unavailable", event_id="evt_2")
    journal.flush()

    names = [(it["message"], "_aws" in it) for it in lines_in(log)]
    assert names == [
        ("queue.unavailable", False),
        ("ingest.accepted", False),
        ("ingest.unavailable", True),
    ]
    assert {it["invocation"] for it in lines_in(log)} == {"invocation-1"}


def test_what_is_delivered_together_is_one_line(journal: Journal, log: io.StringIO) -> None:
    deliver(journal, 1)
    deliver(journal, 2, attempts=3, request_id=None)
    deliver(journal, 3, receives=2)
    journal.flush()

    (line,) = map(json.loads, log.getvalue().splitlines())
    assert line["event_ids"] == ["evt_1", "evt_2", "evt_3"]
    assert line["request_ids"] == ["req_1", None, "req_3"]
    assert line["latencies"] == [1250, 2250, 3250]
    assert (line["attempts"], line["receives"]) == ({"1": 3}, {"2": 2})
    assert "reason" not in line
    assert line["DeliveryLatency"] == [1250, 2250, 3250]
    assert metrics_in(log.getvalue())["Delivered"] == 3
    second = outcome_of(2, attempts=3)
    del second["request_id"]
    assert told_in(log) == [outcome_of(1), second, outcome_of(3, receives=2)]


def test_what_is_delivered_alone_says_what_is_not_the_rule(
    journal: Journal, log: io.StringIO
) -> None:
    deliver(journal, 1, attempts=2, latency=0.123456)
    journal.flush()

    (line,) = map(json.loads, log.getvalue().splitlines())
    assert line["attempts"] == 2
    assert line["latency"] == 0.123
    assert not line.keys() & {"receives", "reason", "event_ids"}
    assert told_in(log) == [outcome_of(1, attempts=2, latency=0.123)]


def test_what_is_delivered_for_another_reason_says_so(journal: Journal, log: io.StringIO) -> None:
    deliver(journal, 1)
    deliver(journal, 2, reason="HTTP 200")
    journal.flush()

    assert len(lines_in(log)) == 2
    assert told_in(log) == [outcome_of(1), outcome_of(2, reason="HTTP 200")]


def test_ten_are_one_line_and_the_eleventh_begins_another(
    journal: Journal, log: io.StringIO
) -> None:
    deliver(journal, *range(10))
    assert not log.getvalue()

    deliver(journal, 10)
    assert told_in(log) == [outcome_of(number) for number in range(10)]
    journal.flush()

    assert ["_aws" in it for it in lines_in(log)] == [False, True]
    assert told_in(log) == [outcome_of(number) for number in range(11)]
    assert metrics_in(log.getvalue())["Delivered"] == 11


@pytest.mark.parametrize("name", ["delivery.delivered", "delivery.retried"])
def test_what_is_a_second_old_is_written_when_the_next_outcome_comes(
    journal: Journal, log: io.StringIO, clock: Clock, name: str
) -> None:
    deliver(journal, 1)
    clock.time += 0.5
    deliver(journal, 2)
    clock.time += 0.5

    journal.record(name, event_id="evt_3")

    assert [it["event_id"] for it in outcomes_in(log)][:2] == ["evt_1", "evt_2"]


def test_what_became_of_others_is_written_at_once(journal: Journal, log: io.StringIO) -> None:
    deliver(journal, 1)

    journal.record("delivery.parked", event_id="evt_2", reason="HTTP 422")

    assert [it["message"] for it in lines_in(log)] == ["delivery.parked"]


@pytest.mark.parametrize("is_followed", [True, False], ids=["by another", "by nothing"])
def test_an_outcome_that_lay_for_long_keeps_its_time(
    journal: Journal, log: io.StringIO, clock: Clock, *, is_followed: bool
) -> None:
    deliver(journal, 1)
    clock.time += 14
    if is_followed:
        deliver(journal, 2)
    journal.flush()

    first, *_ = outcomes_in(log)
    assert (first["timestamp"], first["event_id"]) == (time_text(NOW), "evt_1")
    assert "at" not in first


def test_both_queues_have_lines_of_their_own(journal: Journal, log: io.StringIO) -> None:
    deliver(journal, 1)
    PageJournal(journal).record("delivery.delivered", event_id="evt_2", latency=0.5)
    PageJournal(journal).record("delivery.delivered", event_id="evt_3", latency=0.5)
    journal.flush()

    assert len(lines_in(log)) == 2
    ids = {(it["event_id"], it.get("queue")) for it in outcomes_in(log)}
    assert ids == {("evt_1", None), ("evt_2", "pages"), ("evt_3", "pages")}


def test_what_is_kept_back_is_written_even_if_its_metrics_are(
    journal: Journal, log: io.StringIO
) -> None:
    """Powertools writes a metric out when it has a hundred values."""
    for _ in range(99):
        journal.count("Accepted")
    journal.record("ingest.accepted", event_id="evt_1")
    journal.flush()

    assert [it["event_id"] for it in outcomes_in(log)] == ["evt_1"]
    assert metrics_in(log.getvalue()) == {"Accepted": 100}


def test_what_is_kept_back_is_written_even_where_metrics_are_switched_off(
    journal: Journal, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Powertools prints them all the same, with what they share, once one has a hundred values."""
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")

    for number in range(101):
        journal.begin(f"invocation-{number}")
        journal.record("ingest.accepted", event_id=f"evt_{number}")
        journal.flush()

    written = [(it["invocation"], it["event_id"]) for it in outcomes_in(log)]
    assert written == [(f"invocation-{number}", f"evt_{number}") for number in range(101)]
    assert metrics_in(log.getvalue()) == {}


@given(
    outcomes=st.lists(
        st.fixed_dictionaries(
            {
                "event_id": st.uuids().map(str),
                "latency": st.integers(0, 10**6).map(lambda ms: ms / 1000),
            },
            optional={
                "attempts": st.integers(1, 3),
                "receives": st.integers(1, 3),
                "request_id": st.none() | st.text(),
                "reason": st.just("HTTP 202"),
            },
        ),
        min_size=1,
        max_size=10,
    ),
    shared=st.dictionaries(st.sampled_from(["queue", "reason"]), st.just("pages")),
)
def test_a_line_of_several_says_of_each_what_a_line_of_its_own_would(
    outcomes: list[dict[str, object]], shared: dict[str, object]
) -> None:
    alone = [terse({"message": "delivery.delivered", **it, **shared}) for it in outcomes]

    written = json.loads(json.dumps(joined(alone)))

    expected = [each for line in alone for each in each_outcome(line)]
    assert list(each_outcome(written)) == expected


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(
            {
                "message": "delivery.delivered",
                "event_id": "evt_1",
                "attempts": 1,
                "receives": 2,
                "reason": "HTTP 202",
                "request_id": "req_1",
                "latency": 1.23456,
            },
            id="delivered",
        ),
        pytest.param(
            {"message": "ingest.accepted", "event_id": "evt_1", "warnings": 0, "faults": []},
            id="accepted",
        ),
        pytest.param({"message": "delivery.duplicate", "event_id": "evt_1"}, id="duplicate"),
    ],
)
def test_a_line_that_says_all_is_read_as_it_is(line: dict[str, object]) -> None:
    """Versions before this one wrote them so, and logs are kept for months."""
    assert list(each_outcome(line)) == [line]


def test_metrics_alone_are_no_outcome(journal: Journal, log: io.StringIO) -> None:
    journal.count("Duplicate")
    journal.flush()

    assert list(each_outcome(json.loads(log.getvalue()))) == []


@pytest.mark.parametrize("message", [{"event_id": "evt_1"}, ["evt_1"], None])
def test_what_a_library_logs_is_no_outcome(message: object) -> None:
    assert list(each_outcome({"level": "DEBUG", "message": message, "fields": []})) == []


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


@pytest.mark.usefixtures("_hasty_threads")
def test_threads_lose_no_line_that_is_kept_back(journal: Journal, log: io.StringIO) -> None:
    with ThreadPoolExecutor(8) as threads:
        for number in range(1_001):
            threads.submit(deliver, journal, number)
    journal.flush()

    written = Counter(it["event_id"] for it in outcomes_in(log))
    assert written == Counter(f"evt_{number}" for number in range(1_001))


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
