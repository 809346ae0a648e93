"""Cometly's list and its exports, read from a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import urllib3

from cometly_forwarder.errors import ListUnread
from cometly_forwarder.event.facts import order_hash
from cometly_forwarder.reconcile.asking import Asker, Pace, safe_url
from cometly_forwarder.reconcile.days import Day, day_of, utc_time
from cometly_forwarder.reconcile.exports import CometlyExports
from cometly_forwarder.reconcile.listing import FIELDS, CometlyList
from cometly_forwarder.reconcile.matching import Recorded
from cometly_forwarder.reconcile.rows import firsts_in, recorded_in
from tests.unit.cometly_fake import TOKEN, Answer, FakeCometly, reading_from, told
from tests.unit.fakes import Clock

BERLIN = ZoneInfo("Europe/Berlin")
DAY = day_of(date(2026, 11, 24), BERLIN)
pytestmark = pytest.mark.usefixtures("socket_enabled")


def a_row(number: int, second: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "event_name": "purchase",
        "event_time_utc": utc_time(second),
        "amount": 89.5,
        "order_id": str(number),
        "order_name": None,
        **fields,
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cometly(clock: Clock) -> Iterator[FakeCometly]:
    with reading_from(FakeCometly(BERLIN, now=clock.now)) as fake:
        yield fake


@pytest.fixture
def asker(cometly: FakeCometly) -> Iterator[Asker]:
    with urllib3.PoolManager() as pool:
        yield Asker(pool, cometly.url, lambda: TOKEN)


@pytest.fixture
def listing(asker: Asker, clock: Clock) -> CometlyList:
    return CometlyList(asker, BERLIN, Pace(7, clock.now, clock.sleep))


@pytest.fixture
def exports(asker: Asker, clock: Clock) -> CometlyExports:
    return CometlyExports(asker, Pace(5, clock.now, clock.sleep), Pace(30, clock.now, clock.sleep))


def every_row(listing: CometlyList, day: Day) -> list[Any]:
    rows: list[Any] = []
    page = listing.page(day, None)
    while page.cursor:
        rows += page.rows
        page = listing.page(day, page.cursor)
    return rows + list(page.rows)


def test_a_day_is_asked_for_in_the_spaces_time_with_an_hour_around_it(
    listing: CometlyList, cometly: FakeCometly
) -> None:
    listing.page(DAY, None)
    listing.page(DAY, "4000")

    first, second = (query for _, _, query in cometly.asked)
    assert first == {
        "start_date": ["2026-11-23 23:00:00"],
        "end_date": ["2026-11-25 01:00:00"],
        "fields[]": list(FIELDS),
        "per_page": ["4000"],
    }
    assert second == {**first, "cursor": ["4000"]}


def test_pages_are_read_to_the_end(listing: CometlyList, cometly: FakeCometly) -> None:
    cometly.most_per_page = 2
    cometly.rows = [a_row(number, DAY.start + number) for number in range(5)]

    rows = every_row(listing, DAY)

    assert [row["id"] for row in rows] == [0, 1, 2, 3, 4]


def test_seven_requests_a_minute_are_sent_and_none_is_refused(
    listing: CometlyList, cometly: FakeCometly, clock: Clock
) -> None:
    cometly.most_per_page = 1
    cometly.rows = [a_row(number, DAY.start + number) for number in range(30)]
    began = clock.now()

    every_row(listing, DAY)

    assert listing.pace.requests == 30
    assert cometly.throttled == 0
    assert clock.now() - began == 4 * 60


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param(told(429, {}, {"Retry-After": "33"}), 33, id="429"),
        pytest.param(told(429, {}), 1, id="429 without Retry-After"),
        pytest.param(told(503, {}, {"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}), 1, id="503"),
        pytest.param((500, {}, b"<html>"), 1, id="a page"),
        pytest.param(None, 1, id="cut"),
    ],
)
def test_what_passes_is_asked_again(
    listing: CometlyList, cometly: FakeCometly, clock: Clock, fault: Answer | None, seconds: float
) -> None:
    cometly.faults.append(fault)
    cometly.rows = [a_row(1, DAY.start)]
    began = clock.now()

    assert len(listing.page(DAY, None).rows) == 1
    assert clock.now() - began == seconds


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(told(401, {"message": "no"}), "401: the token is missing", id="401"),
        pytest.param(told(403, {}), "403: the token lacks the permission to read", id="403"),
        pytest.param(told(422, {"message": "The fields are odd."}), "422: The fields", id="422"),
        pytest.param(told(404, []), "404: without a reason", id="404"),
        pytest.param((302, {}, b"x"), "302: not an answer of Cometly's", id="a redirect"),
        pytest.param((200, {}, b"<html>"), "cannot be read", id="a page"),
        pytest.param(told(200, []), "no object", id="an array"),
        pytest.param(told(200, {"data": [1]}), "no rows", id="no rows"),
        pytest.param(told(200, {"data": [], "next_cursor": 7}), "leads nowhere", id="a number"),
        pytest.param(told(200, {"data": [], "next_cursor": "c"}), "leads nowhere", id="a circle"),
        pytest.param(told(429, {}, {"Retry-After": "7200"}), "7200 seconds", id="too long"),
    ],
)
def test_what_asking_again_would_not_change_is_said(
    listing: CometlyList, cometly: FakeCometly, fault: Answer, words: str
) -> None:
    cometly.faults.append(fault)

    with pytest.raises(ListUnread, match=words):
        listing.page(DAY, "c")
    assert len(cometly.asked) == 1


def test_cometly_that_is_away_is_given_up(listing: CometlyList, cometly: FakeCometly) -> None:
    cometly.faults.extend([told(500, {})] * 7 + [None])

    with pytest.raises(ListUnread, match="no answer"):
        listing.page(DAY, None)


def test_the_token_goes_to_https_or_this_machine() -> None:
    assert safe_url("https://app.cometly.com/") == "https://app.cometly.com"
    assert safe_url("http://localhost:1") == "http://localhost:1"
    with pytest.raises(ListUnread, match="not https"):
        safe_url("http://app.cometly.com")


def test_rows_are_read_by_their_second_of_utc() -> None:
    rows = [
        a_row(number, DAY.start + offset) for number, offset in enumerate((-1, 0, 86399, 86400))
    ]
    rows[2] |= {"amount": None, "order_id": "", "order_name": "#2", "event_name": "upsell_purchase"}

    found = list(recorded_in(rows, DAY.start, DAY.end))

    assert found == [
        Recorded("1", "purchase", DAY.start, order_hash("purchase", "1", None), "1", 895_000),
        Recorded(
            *("2", "upsell_purchase", DAY.end - 1),
            *(order_hash("upsell_purchase", None, "#2"), "#2", None),
        ),
    ]


def test_a_row_without_a_name_is_somebody_elses() -> None:
    [found] = recorded_in([a_row(1, DAY.start, event_name=None)], DAY.start, DAY.end)

    assert found.name == "(without a name)"


def test_halves_of_characters_in_a_row_are_replaced() -> None:
    row = a_row(1, DAY.start, event_name="purch\ud83dase", order_id="\ud800")

    [found] = recorded_in([row], DAY.start, DAY.end)

    assert (found.name, found.order_id) == ("purch?ase", "?")
    assert found.order == order_hash("purch\ud83dase", "\ud800", None)


@pytest.mark.parametrize("lacking", ["id", "event_time_utc"])
def test_a_row_that_cannot_be_read_ends_the_comparison(lacking: str) -> None:
    row = {**a_row(1, DAY.start, order_name="#1"), lacking: None}

    with pytest.raises(ListUnread, match="lacks"):
        list(recorded_in([row], DAY.start, DAY.end))
    assert list(firsts_in([row], DAY.start, DAY.end)) == []


# --- Exports --------------------------------------------------------------------------------------


def exported(exports: CometlyExports, known: str | None = None) -> tuple[list[int], list[str]]:
    notes: list[str] = []
    pages = exports.read(DAY, known, notes.append)
    return [row["id"] for page in pages for row in page.rows], notes


@pytest.fixture
def full(cometly: FakeCometly) -> FakeCometly:
    cometly.rows = [a_row(number, DAY.start + number) for number in range(9001)]
    return cometly


def test_an_export_is_awaited_and_its_file_read(
    exports: CometlyExports, full: FakeCometly, clock: Clock
) -> None:
    began = clock.now()

    ids, notes = exported(exports)

    assert ids == list(range(9001))
    assert notes == ["1"]
    assert clock.now() - began == 5
    assert [(method, path.rpartition("/events")[2]) for method, path, _ in full.asked] == [
        ("POST", "/exports"),
        ("GET", "/exports/1"),
        ("GET", "/exports/1"),
        ("GET", "/files/1"),
    ]


def test_an_export_that_was_asked_for_before_is_not_asked_for_again(
    exports: CometlyExports, full: FakeCometly
) -> None:
    exported(exports)

    ids, _ = exported(exports, "1")

    assert len(ids) == 9001
    assert sum(method == "POST" for method, _, _ in full.asked) == 1


@pytest.mark.usefixtures("full")
def test_an_export_that_is_gone_is_made_anew(exports: CometlyExports) -> None:
    ids, notes = exported(exports, "77")

    assert (len(ids), notes) == (9001, ["77", "1"])


@pytest.mark.parametrize("members", [2, 7])
def test_a_file_that_was_packed_in_parts_is_read_to_its_end(
    exports: CometlyExports, full: FakeCometly, members: int
) -> None:
    full.members_of_files = members

    ids, notes = exported(exports)

    assert (ids, notes) == (list(range(9001)), ["1"])


def test_a_failed_export_and_a_broken_file_are_made_anew(
    exports: CometlyExports, full: FakeCometly
) -> None:
    full.failing_exports, full.broken_files = 1, 1

    ids, notes = exported(exports)

    assert set(ids) == set(range(9001))
    assert notes == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"failing_exports": 3}, "could not make it", id="failed"),
        pytest.param({"broken_files": 3}, "broke off", id="broken"),
        pytest.param({"checks_until_done": 999}, "half an hour", id="never done"),
        pytest.param({"odd_lines": True}, "no object of JSON", id="odd lines"),
    ],
)
def test_an_export_that_never_works_is_given_up(
    exports: CometlyExports, full: FakeCometly, change: dict[str, Any], words: str
) -> None:
    for name, value in change.items():
        setattr(full, name, value)
    with pytest.raises(ListUnread, match=words):
        exported(exports)


def test_an_answer_without_an_export_is_said(exports: CometlyExports, cometly: FakeCometly) -> None:
    cometly.faults.append(told(202, {"export_id": "../1"}))

    with pytest.raises(ListUnread, match="no export_id"):
        exported(exports)


def test_a_file_at_an_address_that_is_not_safe_is_not_read(
    exports: CometlyExports, cometly: FakeCometly
) -> None:
    cometly.faults.append(told(202, {"export_id": 1}))
    bad = {"status": "completed", "download_url": "http://files.example.com/1"}
    cometly.faults.append(told(200, bad))

    with pytest.raises(ListUnread, match="not https"):
        exported(exports)


def test_a_file_that_is_refused_is_asked_for_anew(
    exports: CometlyExports, full: FakeCometly
) -> None:
    full.faults.append(told(202, {"export_id": 1}))
    gone = {"status": "completed", "download_url": f"{full.url}/nothing"}
    full.faults.append(told(200, gone))
    full.faults.append(told(403, {}))

    ids, _ = exported(exports)

    assert len(ids) == 9001


def test_days_of_the_fake_are_the_spaces(exports: CometlyExports, cometly: FakeCometly) -> None:
    cometly.rows = [a_row(1, DAY.start), a_row(2, DAY.start - 1), a_row(3, DAY.end)]

    ids, _ = exported(replace(exports))

    assert ids == [1]
