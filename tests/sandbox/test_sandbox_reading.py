"""The reading side, held against Cometly's pages: list, record and export."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import urllib3

from local.sandbox.exports import Exports
from local.sandbox.questions import Cursor, Unprocessable
from local.sandbox.reading import Answer, Asked
from local.sandbox.records import Position, Record, Records, Span
from local.sandbox.sandbox import Sandbox
from local.sandbox.server import running
from local.sandbox.settings import Settings
from tests.sandbox.client import EVENT, HEADERS, Client, Json

GOOD = {name.lower(): value for name, value in HEADERS.items()}
DAY = [("start_date", "2026-11-24 00:00:00"), ("end_date", "2026-11-24 23:59:59")]
NOON = "2026-11-24T12:00:00Z"
WITHOUT_TOKEN = {name: value for name, value in HEADERS.items() if name != "Authorization"}
EVERY_FIELD = ["id", "event_name", "amount", "event_time_utc", "order_id", "order_name"]


def fields(*names: str) -> list[tuple[str, str]]:
    return [("fields[]", name) for name in names]


def purchases(count: int, **more: object) -> list[dict[str, object]]:
    """Return that many purchases of one day, a minute apart."""
    return [
        {
            "event_name": "purchase",
            "event_time": f"2026-11-24T{minute // 60:02}:{minute % 60:02}:00Z",
            "order_id": f"order-{minute}",
            "amount": 10 + minute,
            **more,
        }
        for minute in range(count)
    ]


def record(client: Client, *events: Mapping[str, object]) -> None:
    """Record events of another sender: the quickest way to have some."""
    client.control("POST", "records", list(events))


def data(client: Client, *query: tuple[str, str]) -> Json:
    answer = client.read(query=[*DAY, *query])
    assert answer.status == 200, answer.data
    return answer.json()["data"]


def pages(client: Client, way: str, *query: tuple[str, str]) -> Iterator[list[Any]]:
    """Yield the ids of each page, following the cursors one way."""
    cursor: list[tuple[str, str]] = []
    while True:
        answer = client.read(query=[*DAY, *query, *cursor]).json()
        yield [it["id"] for it in answer["data"]]
        if not answer[way]:
            return
        cursor = [("cursor", answer[way])]


# --- The list -----------------------------------------------------------------------------------


def test_what_was_accepted_can_be_read_back(client: Client) -> None:
    sent = {
        **EVENT,
        "amount": 89.5,
        "order_id": "99812",
        "order_name": "Spring",
        "event_time": "2026-11-24T14:22:10+02:00",
    }
    client.send(sent)

    assert data(client, *fields(*EVERY_FIELD)) == [
        {
            "id": 1,
            "event_name": "purchase",
            "amount": 89.5,
            "event_time_utc": "2026-11-24T12:22:10Z",
            "order_id": "99812",
            "order_name": "Spring",
        }
    ]
    assert [(it["record_ids"], it["record_fault"]) for it in client.events()] == [([1], None)]


def test_a_page_has_these_members(client: Client) -> None:
    record(client, *purchases(1))

    answer = client.read(query=DAY)

    assert answer.json() == {
        "data": [{"id": 1, "event_time_utc": "2026-11-24T00:00:00Z"}],
        "path": f"{client.server.url}/public-api/v1/events",
        "per_page": 200,
        "next_cursor": None,
        "next_page_url": None,
        "prev_cursor": None,
        "prev_page_url": None,
    }
    assert answer.headers["Request-Id"].startswith("req_")


def test_a_duplicate_never_shows_up(client: Client) -> None:
    for amount in (1, 2):
        client.send({**EVENT, "order_id": "7", "amount": amount, "event_time": NOON})

    assert [it["amount"] for it in data(client, *fields("amount"))] == [1]
    assert [it["record_ids"] for it in client.events()] == [[1], []]


def test_an_upsell_on_the_orders_id_has_a_name_of_its_own(client: Client) -> None:
    for more in ({}, {"is_upsell": True}, {"is_upsell": False}):
        client.send({**EVENT, "order_id": "7", "event_time": NOON, **more})

    shown = data(client, *fields("event_name", "is_upsell"))

    assert [it["duplicate_of"] for it in client.events()] == [None, None, 1]
    assert sorted(tuple(it.values()) for it in shown) == [
        ("purchase", False),
        ("upsell_purchase", True),
    ]


@pytest.mark.parametrize(
    ("event_time", "shown"),
    [
        pytest.param("1795521600", "2026-11-24T12:00:00Z", id="unix"),
        pytest.param("2026-11-24T12:00:00.999Z", "2026-11-24T12:00:00Z", id="parts of a second"),
        pytest.param("2026-11-24T12:00:00", "2026-11-24T12:00:00Z", id="no offset"),
        pytest.param("2026-11-24", "2026-11-24T00:00:00Z", id="a day"),
        pytest.param("9999999999", "2286-11-20T17:46:39Z", id="far away"),
    ],
)
def test_an_events_own_time_counts(client: Client, event_time: str, shown: str) -> None:
    client.send({**EVENT, "event_time": event_time})

    assert client.read("/1").json()["event_time_utc"] == shown


def test_an_event_without_time_and_amount_is_recorded_as_of_now_with_0(client: Client) -> None:
    client.send()

    [event] = client.events()
    shown = client.read("/1").json()
    assert shown["amount"] == 0
    assert shown["order_id"] is None
    at = datetime.fromisoformat(shown["event_time_utc"]).timestamp()
    assert at == int(event["received_at"])


@pytest.mark.parametrize(("order", "first"), [("newest", 7), ("oldest", 1)])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_pages_hold_each_event_once_in_order(
    client: Client, order: str, first: int, size: int
) -> None:
    client.settings(list_order=order, lists_per_minute=100)
    # Two of one second, as shops have them.
    record(client, *purchases(6), purchases(1)[0])

    found = list(pages(client, "next_cursor", ("per_page", str(size))))

    ids = [id_ for page in found for id_ in page]
    times = [1, 7, 2, 3, 4, 5, 6]
    assert ids == (times if order == "oldest" else times[::-1])
    assert ids[0] == (first if order == "oldest" else 6)
    assert all(len(page) == size for page in found[:-1])


def test_a_list_can_be_walked_back(client: Client) -> None:
    client.settings(lists_per_minute=100)
    record(client, *purchases(5))
    third = list(pages(client, "next_cursor", ("per_page", "2")))
    last = client.read(query=[*DAY, ("per_page", "2")]).json()
    for _ in third[1:]:
        last = client.read(query=[*parse_qsl(urlsplit(last["next_page_url"]).query)]).json()

    before = client.read(query=[*DAY, ("per_page", "2"), ("cursor", last["prev_cursor"])]).json()
    first = client.read(query=parse_qsl(urlsplit(before["prev_page_url"]).query)).json()

    assert [it["id"] for it in last["data"]] == [1]
    assert [it["id"] for it in before["data"]] == [3, 2]
    assert [it["id"] for it in first["data"]] == [5, 4]
    assert (first["prev_cursor"], before["next_cursor"] is None) == (None, False)


def test_what_shows_up_between_two_pages_moves_nothing(client: Client) -> None:
    record(client, *purchases(4))
    first = client.read(query=[*DAY, ("per_page", "2")]).json()

    record(client, {"event_name": "contact", "event_time": "2026-11-24T23:00:00Z"})
    second = client.read(query=[*DAY, ("per_page", "2"), ("cursor", first["next_cursor"])]).json()

    assert [it["id"] for page in (first, second) for it in page["data"]] == [4, 3, 2, 1]


def test_4000_fit_on_a_page(client: Client) -> None:
    record(client, *({"event_name": "contact", "event_time": NOON} for _ in range(4001)))

    found = client.read(query=[*DAY, ("per_page", "4000")]).json()

    assert len(found["data"]) == 4000
    assert found["next_cursor"]


def test_names_choose(client: Client) -> None:
    [sale] = purchases(1)
    record(client, sale, {**sale, "is_upsell": True}, {**sale, "event_name": "contact"})
    query = [("event_names[]", "contact"), ("event_names[1]", "upsell_purchase")]

    found = data(client, *query, *fields("event_name"))

    assert {it["event_name"] for it in found} == {"contact", "upsell_purchase"}


@pytest.mark.parametrize(
    ("zone", "start", "end", "expected"),
    [
        pytest.param("UTC", "2026-11-24 00:00:00", "2026-11-24 23:59:59", [2, 3, 4], id="UTC"),
        pytest.param(
            "America/New_York", "2026-11-24 00:00:00", "2026-11-24 23:59:59", [4, 5], id="behind"
        ),
        pytest.param(
            "Asia/Tokyo", "2026-11-24 00:00:00", "2026-11-24 23:59:59", [1, 2, 3], id="ahead"
        ),
        pytest.param("UTC", "2026-11-24 04:59:59", "2026-11-24 23:59:58", [3], id="an end"),
        pytest.param("UTC", "2026-11-24 04:59:59", "2026-11-24 23:59:59", [3, 4], id="ends"),
    ],
)
def test_a_range_is_in_the_spaces_time_zone(
    client: Client, zone: str, start: str, end: str, expected: list[int]
) -> None:
    times = ["23T23:59:59", "24T00:00:00", "24T04:59:59", "24T23:59:59", "25T04:59:59"]
    record(client, *({"event_name": "contact", "event_time": f"2026-11-{it}Z"} for it in times))
    client.settings(time_zone=zone, list_order="oldest")

    found = client.read(query=[("start_date", start), ("end_date", end)]).json()

    assert [it["id"] for it in found["data"]] == expected


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-11-02", 24)]
)
def test_a_day_is_as_long_as_its_time_zone_has_it(client: Client, day: str, hours: int) -> None:
    """In New York a day has 23 hours in March, and one has 25 in November."""
    client.settings(time_zone="America/New_York", list_order="oldest")
    month = int(day[5:7])
    record(
        client,
        *(
            {"event_name": "contact", "event_time": f"2026-{month:02}-{date:02}T{hour:02}:30:00Z"}
            for date in (1, 2, 3, 7, 8, 9)
            for hour in range(24)
        ),
    )
    query = [("start_date", f"{day} 00:00:00"), ("end_date", f"{day} 23:59:59")]

    by_list = client.read(query=query).json()["data"]
    export = client.read("/exports", body={"date": day}).json()["export_id"]

    assert len(by_list) == hours
    assert len(lines_of(client, export)) == hours


@pytest.mark.parametrize(
    ("query", "says"),
    [
        pytest.param([], "start_date", id="no range"),
        pytest.param([("start_date", "2026-11-24 00:00:00")], "end_date", id="no end"),
        pytest.param([("start_date", "2026-11-24"), DAY[1]], "start_date", id="a day"),
        pytest.param([("start_date", "2026-02-30 00:00:00"), DAY[1]], "start_date", id="no day"),
        pytest.param([DAY[0], ("end_date", "2026-11-24 00:00:00")], "after", id="empty"),
        pytest.param([*DAY, ("per_page", "0")], "per_page", id="none a page"),
        pytest.param([*DAY, ("per_page", "4001")], "per_page", id="too many a page"),
        pytest.param([*DAY, ("per_page", "x")], "per_page", id="no number"),
        pytest.param([*DAY, ("fields[]", "email")], "email", id="no such field"),
        pytest.param([*DAY, *fields("id", "id")], "repeat", id="a field twice"),
        pytest.param([*DAY, ("fields", "id")], "array", id="no array"),
        pytest.param([*DAY, ("event_names[]", "bought")], "bought", id="no such name"),
        pytest.param(
            [*DAY, *(("event_names[]", f"custom_event_{it}") for it in range(1, 12))],
            "1 to 10",
            id="eleven names",
        ),
        pytest.param([*DAY, ("cursor", "abc")], "cursor", id="no cursor"),
        pytest.param([*DAY, ("cursor", "\u00e9")], "cursor", id="no base64"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(
    client: Client, query: list[tuple[str, str]], says: str
) -> None:
    answer = client.read(query=query)

    assert answer.status == 422
    assert says in answer.json()["message"]
    assert set(answer.json()) == {"message"}


def test_a_cursor_is_read_as_it_was_written() -> None:
    cursor = Cursor(Position(1_795_000_000, 8123), is_forward=False)

    assert Cursor.read(cursor.text()) == cursor
    for text in ("", "bnVsbA", "WzEsMl0", "eyJhIjoxfQ"):
        with pytest.raises(Unprocessable):
            Cursor.read(text)


# --- Who may read, and how often ------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/1", "/exports/1"])
def test_reading_takes_the_same_token(client: Client, path: str) -> None:
    client.settings(forbidden_tokens=["lapsed"])

    answers = [
        client.read(path, DAY, headers=WITHOUT_TOKEN | token)
        for token in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Bearer lapsed"})
    ]

    assert [it.status for it in answers] == [401, 401, 403]
    assert all(set(it.json()) == {"message"} for it in answers)


def test_a_request_says_that_it_takes_json(client: Client) -> None:
    token = {"Authorization": HEADERS["Authorization"]}

    assert client.read(query=DAY, headers=token).status == 422
    assert client.read(query=DAY, headers=token | {"Accept": "*/*"}).status == 200
    assert client.read("/exports", body={}, headers=token | {"Accept": "*/*"}).status == 422


def asked(sandbox: Sandbox, **more: Any) -> Asked:
    url = "https://cometly.example.com/public-api/v1/events"
    return Asked(headers=GOOD, url=url, received_at=sandbox.clock(), **more)


class Clock:
    """Stands still until it is moved."""

    now = 1_795_521_600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    sandbox = Sandbox(clock=clock)
    yield sandbox
    sandbox.reading.close()


def ask(sandbox: Sandbox, endpoint: str) -> Answer:
    reading = sandbox.reading
    match endpoint:
        case "list":
            return reading.list(asked(sandbox, query=DAY))
        case "record":
            return reading.record(asked(sandbox), "1")
        case "export":
            return reading.create_export(asked(sandbox, body={"date": "2026-11-24"}))
        case _:
            return reading.export(asked(sandbox), "1", "https://cometly.example.com")


@pytest.mark.parametrize(
    ("endpoint", "limit"), [("list", 7), ("record", 30), ("export", 5), ("export_check", 30)]
)
def test_each_endpoint_has_a_limit_of_its_own(
    sandbox: Sandbox, clock: Clock, endpoint: str, limit: int
) -> None:
    admitted = [ask(sandbox, endpoint) for _ in range(limit)]
    clock.now += 17.5

    refused = ask(sandbox, endpoint)

    assert all(it.status != 429 for it in admitted)
    left = [it.headers["X-RateLimit-Remaining"] for it in admitted]
    assert left == [str(it) for it in reversed(range(limit))]
    assert (refused.status, refused.headers["X-RateLimit-Limit"]) == (429, str(limit))
    assert refused.headers["Retry-After"] == "43"
    others = {"list", "record", "export", "export_check"} - {endpoint}
    assert all(ask(sandbox, other).status != 429 for other in others)
    clock.now += 43
    assert ask(sandbox, endpoint).status != 429


def test_reading_takes_no_place_of_those_that_send(client: Client) -> None:
    client.settings(requests_per_minute=1)

    client.read(query=DAY)

    assert client.send().status == 202


def test_what_reads_can_go_wrong_too(client: Client) -> None:
    client.faults({"kind": "status", "status": 503, "on": "reads"})
    client.faults({"kind": "status", "status": 429, "retry_after": 9, "on": "reads"})
    client.faults({"kind": "cut_before", "on": "reads", "match": {"cursor": "x"}})

    assert client.send().status == 202
    assert client.read(query=DAY).status == 503
    assert client.read(query=DAY).headers["Retry-After"] == "9"
    assert client.read(query=DAY).status == 200
    with pytest.raises(urllib3.exceptions.ProtocolError):
        client.read(query=[*DAY, ("cursor", "x")])
    assert client.control("GET", "faults")[0]["on"] == "reads"


# --- One record -----------------------------------------------------------------------------------


def test_a_record_is_found_by_its_number(client: Client) -> None:
    client.send({**EVENT, "event_time": NOON, "amount": 12, "order_id": "7"})

    assert client.read("/1").json() == {
        "id": 1,
        "event_name": "purchase",
        "configured_name": "purchase",
        "amount": 12,
        "event_time_utc": NOON,
        "order_id": "7",
        "order_name": None,
        "is_upsell": False,
        "profile_id": client.read("/1").json()["profile_id"],
        "company_id": None,
        "space_id": 6001,
    }


@pytest.mark.parametrize(
    ("number", "status"), [("2", 404), ("99999999999999999999", 404), ("evt_1", 422)]
)
def test_there_is_no_other_record(client: Client, number: str, status: int) -> None:
    client.send()

    answer = client.read(f"/{number}")

    assert (answer.status, set(answer.json())) == (status, {"message"})


def test_the_path_of_track_is_no_record(client: Client) -> None:
    assert client.read("/track").status == 405


# --- What shows up, and when ----------------------------------------------------------------------


def test_what_was_accepted_shows_up_later(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.change({"shows_up_after_s": 900})
    sandbox.record_others([{"event_name": "contact", "event_time": NOON}])

    def count() -> int:
        content: Any = sandbox.reading.list(asked(sandbox, query=DAY)).content
        return len(content["data"])

    before = (count(), ask(sandbox, "record").status, sandbox.reading.state(clock.now))
    clock.now += 900

    assert before[:2] == (0, 404)
    assert before[2]["not_shown_yet"] == 1
    assert (count(), ask(sandbox, "record").status) == (1, 200)
    assert sandbox.reading.state(clock.now)["not_shown_yet"] == 0


def test_an_event_can_be_forgotten(client: Client) -> None:
    client.faults({"kind": "forget", "times": 2, "label": "forget"})
    # Only what is booked counts: not what is refused, and no duplicate.
    client.send({})

    for key in ("a", "a", "b", "c"):
        assert client.send({**EVENT, "idempotency_key": key, "event_time": NOON}).status == 202

    assert len(data(client)) == 1
    told = [(it["record_ids"], it["record_fault"]) for it in client.events()]
    assert told == [([], "forget"), ([], None), ([], "forget"), ([1], None)]
    assert client.control("GET", "faults")[0]["applied"] == 2


def test_an_event_can_be_recorded_with_another_amount_and_twice(client: Client) -> None:
    client.faults(
        {"kind": "other_amount", "more": -2.5, "match": {"order_id": "1"}},
        {"kind": "record_twice", "match": {"order_id": "2"}},
    )

    for order_id in ("1", "2", "3"):
        client.send({**EVENT, "order_id": order_id, "amount": 10, "event_time": NOON})

    shown = data(client, *fields("order_id", "amount"))
    assert [(it["order_id"], it["amount"]) for it in shown] == [
        ("3", 10),
        ("2", 10),
        ("2", 10),
        ("1", 7.5),
    ]
    assert [it["record_ids"] for it in client.events()] == [[1], [2, 3], [4]]


def test_others_events_are_there_too(client: Client) -> None:
    client.send({**EVENT, "event_time": NOON})

    assert client.control("POST", "records", purchases(3)) == {"first": 2, "last": 4}

    assert len(data(client)) == 4
    state = client.control("GET", "records")
    assert (state["recorded"], state["from_others"]) == (4, 3)
    assert state["answered"]["list"] == {"200": 1}
    assert len(client.events()) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param({}, "list", id="no list"),
        pytest.param([1], "list", id="no objects"),
        pytest.param([{"event_name": "contact"}, {}], "Event 2: event_name", id="no name"),
        pytest.param([{**EVENT, "event_time": "noon"}], "event_time", id="no time"),
    ],
)
def test_events_of_others_have_to_make_sense(client: Client, body: object, says: str) -> None:
    assert says in client.control("POST", "records", body)["message"]
    assert client.control("GET", "records")["recorded"] == 0


def test_a_reset_forgets_what_is_recorded(client: Client) -> None:
    client.send({**EVENT, "event_time": NOON})

    client.control("POST", "reset")

    assert client.control("GET", "records")["recorded"] == 0
    assert data(client) == []


# --- The export -----------------------------------------------------------------------------------


def told_of(client: Client, number: int) -> Json:
    return client.read(f"/exports/{number}").json()


def fetched(client: Client, url: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return client.pool.request("GET", url, headers=headers, retries=False)


def lines_of(client: Client, number: int) -> list[Json]:
    """Read the file of an export."""
    answer = fetched(client, told_of(client, number)["download_url"])
    assert answer.status == 200
    return [json.loads(line) for line in gzip.decompress(answer.data).splitlines()]


def test_a_day_is_exported_as_gzipped_lines(client: Client) -> None:
    record(client, *purchases(3), {"event_name": "contact", "event_time": "2026-11-25T00:00:00Z"})

    created = client.read("/exports", body={"date": "2026-11-24", "fields": ["id", "amount"]})

    assert created.status == 202
    assert created.json() | {"message": ""} == {"export_id": 1, "status": "queued", "message": ""}
    told = told_of(client, 1)
    assert (told["export_id"], told["status"]) == (1, "completed")
    assert {"created_at", "completed_at", "expires_at", "download_url"} <= set(told)
    assert lines_of(client, 1) == [{"id": it + 1, "amount": 10 + it} for it in range(3)]


def test_an_export_takes_names_and_has_default_fields(client: Client) -> None:
    record(client, *purchases(2), *purchases(1, event_name="contact"))

    client.read("/exports", body={"date": "2026-11-24", "event_names": ["contact"]})

    assert lines_of(client, 1) == [{"id": 3, "event_time_utc": "2026-11-24T00:00:00Z"}]


def test_an_export_of_more_than_10000_is_whole(client: Client) -> None:
    record(client, *({"event_name": "contact", "event_time": NOON} for _ in range(10_001)))

    client.read("/exports", body={"date": "2026-11-24"})

    assert [it["id"] for it in lines_of(client, 1)] == list(range(1, 10_002))


def test_an_export_is_queued_then_worked_on_then_done(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.change({"export_s": 10})
    ask(sandbox, "export")
    seen = []
    for _ in range(3):
        content: Any = ask(sandbox, "export_check").content
        seen.append((content["status"], "download_url" in content))
        clock.now += 5

    assert seen == [("queued", False), ("processing", False), ("completed", True)]


def test_an_export_can_fail(client: Client) -> None:
    client.faults({"kind": "export_fails"})

    for _ in range(2):
        client.read("/exports", body={"date": "2026-11-24"})

    assert [told_of(client, it)["status"] for it in (1, 2)] == ["failed", "completed"]
    assert "failed" in told_of(client, 1)["message"]
    assert told_of(client, 3) == {"message": "Export not found."}


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"date": "24.11.2026"},
        {"date": "2026-02-30"},
        {"date": "2026-11-24", "fields": "id"},
        {"date": "2026-11-24", "fields": []},
        {"date": "2026-11-24", "event_names": ["bought"]},
    ],
)
def test_an_export_that_makes_no_sense_is_refused(client: Client, body: object) -> None:
    answer = client.read("/exports", body=body)

    assert (answer.status, set(answer.json())) == (422, {"message"})


def test_the_address_of_a_file_takes_no_token_and_no_other_signature(client: Client) -> None:
    client.read("/exports", body={"date": "2026-11-24"})
    url = told_of(client, 1)["download_url"]

    assert fetched(client, url).status == 200
    assert fetched(client, url, Authorization=HEADERS["Authorization"]).status == 400
    assert fetched(client, url[:-1]).status == 403
    assert fetched(client, url.partition("?")[0]).status == 403
    assert fetched(client, url.replace("/1.", "/2.")).status == 403


def test_the_address_of_a_file_holds_for_15_minutes(sandbox: Sandbox, clock: Clock) -> None:
    ask(sandbox, "export")
    content: Any = ask(sandbox, "export_check").content
    query = dict(parse_qsl(urlsplit(content["download_url"]).query))

    def status() -> int | None:
        refusal = sandbox.reading.exports.refusal(1, query, {}, clock.now)
        return refusal.status if refusal else None

    assert status() is None
    clock.now += 900
    assert status() is None
    clock.now += 1
    assert status() == 403


def test_what_shows_up_after_an_export_is_not_in_it(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.change({"shows_up_after_s": 60})
    sandbox.record_others([{"event_name": "contact", "event_time": NOON}])
    ask(sandbox, "export")
    clock.now += 60

    exports: Exports = sandbox.reading.exports
    export = exports.find(1)

    assert export
    assert gzip.decompress(b"".join(exports.file(export))) == b""


# --- Many of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_page_of_many_costs_no_more_than_a_page_of_few(*, newest_first: bool) -> None:
    """Counted in steps of SQLite's machine, a hundred at a time, not in seconds."""
    few, many = (_steps(count, newest_first=newest_first) for count in (1_000, 40_000))

    assert few > 0
    assert many <= few + 1


def _steps(count: int, *, newest_first: bool) -> int:
    records, steps = Records(), itertools.count()
    records.add((_at(second) for second in range(count)), now=0)
    after = Position(count // 2, count // 2)
    records._database.set_progress_handler(lambda: next(steps) and None, 100)
    found = records.page(Span(0, count), 10.0, 300, after=after, newest_first=newest_first)
    records.close()
    assert len(found) == 300
    return next(steps)


def _at(second: int) -> Record:
    return Record(
        id=0,
        event_time=second,
        visible_at=0,
        event_name="contact",
        amount=0,
        order_id=None,
        order_name=None,
        is_upsell=False,
        profile_id=1,
        sender="api",
    )


def test_settings_of_the_start_hold(clock: Clock) -> None:
    sandbox = Sandbox(Settings(lists_per_minute=2), clock=clock)

    assert [ask(sandbox, "list").status for _ in range(3)] == [200, 200, 429]
    sandbox.reading.close()


def test_two_sandboxes_share_nothing() -> None:
    with running() as first, running() as second, urllib3.PoolManager() as pool:
        record(Client(first, pool), *purchases(2))

        assert Client(second, pool).control("GET", "records")["recorded"] == 0
