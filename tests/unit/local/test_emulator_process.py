"""What the emulator lacks, and its own process adds: over its own services, without its server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.services import cloudwatch_logs

from local.stack import emulator_process

GROUP = "/aws/lambda/shop-deliver"


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The emulator's logs, as its process serves them, with pages of ten lines."""
    monkeypatch.setattr(emulator_process, "_MOST_LINES", 10)
    monkeypatch.setattr(cloudwatch_logs, "_filter_log_events", cloudwatch_logs._filter_log_events)
    emulator_process._page_through_logs(cloudwatch_logs)
    cloudwatch_logs._create_log_group({"logGroupName": GROUP})
    yield cloudwatch_logs
    cloudwatch_logs._delete_log_group({"logGroupName": GROUP})


def write(logs: Any, stream: str, times: list[int]) -> None:
    logs._create_log_stream({"logGroupName": GROUP, "logStreamName": stream})
    events = [
        {"timestamp": at, "ingestionTime": at, "message": f"{stream} {place}"}
        for place, at in enumerate(times)
    ]
    logs._append_log_events(logs._log_groups[GROUP]["streams"][stream], events)


def pages_of(logs: Any, **asked: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        request = {"logGroupName": GROUP, "limit": 10, **asked, **token}
        answer = json.loads(logs._filter_log_events(request)[2])
        pages.append([it["message"] for it in answer["events"]])
        if "nextToken" not in answer:
            return pages
        token = {"nextToken": answer["nextToken"]}


def test_a_log_is_read_to_its_end(logs: Any) -> None:
    write(logs, "a", [at // 3 for at in range(25)])
    write(logs, "b", [at // 3 for at in range(25)])

    pages = pages_of(logs)

    told = [line for page in pages for line in page]
    assert len(pages) > 1
    assert sorted(told) == sorted(f"{stream} {place}" for stream in "ab" for place in range(25))


def test_a_log_of_one_page_has_no_token(logs: Any) -> None:
    write(logs, "a", list(range(9)))

    assert pages_of(logs, startTime=3) == [[f"a {place}" for place in range(3, 9)]]


def test_a_full_page_of_one_time_ends(logs: Any) -> None:
    write(logs, "a", [1] * 15)

    assert [len(page) for page in pages_of(logs)] == [10]
