"""What real callers send to the HTTP front: packed, wrapped, with fields of their own."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from cometly_forwarder.ingest import handler as ingest
from tests.unit.conftest import (
    FakeAws,
    FakeLambdaContext,
    an_event,
    answer_to,
    http_request,
    lines_in,
    metrics_in,
    outcomes_in,
)

EVENTS, DROP_IN = "/v1/events", "/public-api/v1/events/track"
ROUTES = [EVENTS, DROP_IN]
MEBIBYTE = 1024 * 1024
JSON = json.dumps(an_event(full_name="Zoë 😀"), ensure_ascii=False).encode()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


# --- Packed bodies ----------------------------------------------------------------------------


def packed(body: bytes, encoding: str = "gzip", path: str = EVENTS) -> dict[str, Any]:
    """Post bytes as API Gateway hands over those of a type that it takes for binary."""
    headers = {"Content-Encoding": encoding, "Content-Type": "application/octet-stream"}
    return http_request(body, path=path, headers=headers)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(gzip.compress(JSON), "gzip", id="gzip"),
        pytest.param(gzip.compress(JSON), " GZIP ", id="in capitals"),
        pytest.param(gzip.compress(JSON), "x-gzip", id="its old name"),
        pytest.param(gzip.compress(JSON[:9]) + gzip.compress(JSON[9:]), "gzip", id="two members"),
        pytest.param(gzip.compress(JSON) + b"\0" * 9, "gzip", id="padded with zeros"),
        pytest.param(JSON, "gzip", id="unpacked by a gateway"),
        pytest.param(JSON, "identity", id="not packed, and said so"),
        pytest.param(JSON, "", id="an empty header"),
        *(pytest.param(JSON, it, id=it) for it in ("utf-8", "UTF8", "aws-chunked", "identity, ")),
        pytest.param(gzip.compress(JSON), "gzip, identity", id="gzip and nothing"),
        pytest.param(gzip.compress(JSON), "aws-chunked,gzip", id="gzip, as S3's clients say it"),
    ],
)
@pytest.mark.parametrize("path", ROUTES)
def test_a_gzipped_body_is_read(path: str, body: bytes, encoding: str, fake: FakeAws) -> None:
    assert answer_to(packed(body, encoding, path)).status == 202
    assert fake.events[0]["full_name"] == "Zoë 😀"


DAMAGED = gzip.compress(JSON).decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("body", "encoding", "status", "why"),
    [
        pytest.param(gzip.compress(JSON)[:-9], "gzip", 400, "its gzip is damaged", id="cut off"),
        pytest.param(gzip.compress(JSON)[:5], "gzip", 400, "its gzip is damaged", id="a stub"),
        pytest.param(b"\x1f\x8b" + JSON, "gzip", 400, "its gzip is damaged", id="a head alone"),
        pytest.param(
            gzip.compress(JSON)[:-8] + b"\0" * 8, "gzip", 400, "damaged", id="another checksum"
        ),
        pytest.param(
            gzip.compress(JSON) + b"more", "gzip", 400, "its gzip is damaged", id="more behind"
        ),
        pytest.param(gzip.compress(b"{"), "gzip", 400, "not JSON", id="half of JSON in it"),
        pytest.param(b"", "gzip", 400, "not JSON", id="nothing"),
        pytest.param(gzip.compress(JSON), "", 400, "UTF-8", id="without the header"),
        pytest.param(JSON, "br", 415, "send gzip, or none", id="brotli"),
        pytest.param(JSON, "deflate", 415, "send gzip, or none", id="deflate"),
        pytest.param(JSON, "gzip, gzip", 415, "send gzip, or none", id="packed twice"),
        pytest.param(DAMAGED, "gzip", 415, "application/octet-stream", id="damaged by the gateway"),
        pytest.param(DAMAGED.encode(), "gzip", 415, "octet-stream", id="the same in base64"),
    ],
)
@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_cannot_be_unpacked_is_refused_with_the_reason(  # noqa: PLR0917 - a table
    path: str, body: bytes | str, encoding: str, status: int, why: str, fake: FakeAws
) -> None:
    answer = answer_to(http_request(body, path=path, headers={"Content-Encoding": encoding}))

    assert (answer.status, list(answer.body)) == (status, ["message"])
    assert why in answer.body["message"]
    assert fake.bodies == []


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes that gzip gives back."""
    given: list[int] = []
    genuine = gzip.GzipFile.read

    def read(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        content = genuine(self, size)
        given.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    return given


BOMB = gzip.compress(b" " * 64 * MEBIBYTE)


@pytest.mark.parametrize(
    "bomb", [BOMB, BOMB * 9, BOMB[:-9]], ids=["one member", "several", "cut off"]
)
def test_a_bomb_is_unpacked_up_to_the_limit_and_no_further(
    bomb: bytes, fake: FakeAws, unpacked: list[int]
) -> None:
    answer = answer_to(packed(bomb))

    assert answer.status == 413
    assert unpacked == [MEBIBYTE + 1]
    assert fake.bodies == []


def test_gzip_of_nothing_but_empty_members_is_weighed_before_it_is_unpacked(
    fake: FakeAws, unpacked: list[int]
) -> None:
    empty = gzip.compress(b"")

    answer = answer_to(packed(empty * (MEBIBYTE // len(empty) + 1)))

    assert answer.status == 413
    assert unpacked == []
    assert fake.bodies == []


@pytest.mark.parametrize(("more", "status"), [(0, 202), (1, 413)])
@pytest.mark.usefixtures("fake")
def test_the_limit_counts_unpacked_bytes(more: int, status: int) -> None:
    body = JSON + b" " * (MEBIBYTE - len(JSON) + more)

    assert answer_to(packed(gzip.compress(body))).status == status


# --- Forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*FORM.values(), "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_form_is_told_to_be_json(path: str, kind: str, fake: FakeAws) -> None:
    body = "event_name=purchase&email=grace%40example.com"

    answer = answer_to(http_request(body, path=path, headers={"Content-Type": kind}))

    assert answer.status == 415
    assert "send JSON, with Content-Type: application/json" in answer.body["message"]
    assert fake.bodies == []


@pytest.mark.parametrize("kind", ["application/x-ndjson", "Application/JSONL; charset=utf-8"])
@pytest.mark.parametrize("path", ROUTES)
def test_lines_of_json_are_told_to_be_an_array(path: str, kind: str, fake: FakeAws) -> None:
    answer = answer_to(http_request(JSON + b"\n" + JSON, path=path, headers={"Content-Type": kind}))

    assert (answer.status, fake.bodies) == (415, [])
    assert "array" in answer.body["message"]


@pytest.mark.parametrize("kind", [*FORM.values(), "Application/X-WWW-Form-Urlencoded; charset=x"])
@pytest.mark.parametrize("path", ROUTES)
def test_json_that_curl_calls_a_form_is_taken(path: str, kind: str, fake: FakeAws) -> None:
    answer = answer_to(http_request(an_event(), path=path, headers={"Content-Type": kind}))

    assert answer.status == 202
    assert fake.events[0]["email"] == "grace@example.com"


# --- Arrays in objects ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data", "events", "batch"])
def test_the_array_in_another_apis_batch_is_read(name: str, fake: FakeAws) -> None:
    body = {name: [an_event(order_id="1"), {}], "test_event_code": "TEST1", "sentAt": None}

    answer = answer_to(http_request(body))

    assert answer.status == 207
    assert [result["status"] for result in answer.body["results"]] == [202, 422]
    assert fake.events[0]["order_id"] == "1"


@pytest.mark.parametrize(
    ("content", "headers", "status", "why"),
    [
        pytest.param({"data": []}, {}, 422, "holds no event", id="none"),
        pytest.param({"data": [{}] * 501}, {}, 413, "500", id="too many"),
        pytest.param({"data": [{}]}, {"Idempotency-Key": "k"}, 422, "its own key", id="one key"),
        pytest.param({"data": [{}], "events": [{}]}, {}, 422, "event_name", id="two arrays"),
        pytest.param({"data": {"a": 1}}, {}, 422, "event_name", id="an object"),
        pytest.param({"items": [an_event()]}, {}, 422, "event_name", id="another name"),
        pytest.param(
            '{"data": [{}], "data": [{}]}', {}, 422, "data must be given once", id="an array twice"
        ),
    ],
)
def test_what_is_no_batch_of_events_is_refused_with_the_reason(
    content: object, headers: dict[str, str], status: int, why: str, fake: FakeAws
) -> None:
    answer = answer_to(http_request(content, headers=headers))

    assert answer.status == status
    assert why in answer.body["message"]
    assert fake.bodies == []


@pytest.mark.parametrize("name", ["event_name", "event", "eventName", "Event-Type"])
def test_an_event_that_holds_an_array_is_one_event(name: str, fake: FakeAws) -> None:
    body = {name: "purchase", "email": "grace@example.com", "data": [{"sku": "A1"}]}

    answer = answer_to(http_request(body))

    assert (answer.status, len(fake.bodies)) == (202, 1)
    assert "data" in [warning["field"] for warning in answer.body["warnings"]]


@pytest.mark.parametrize("body", [[an_event()], {"data": [an_event()]}], ids=["bare", "wrapped"])
def test_the_drop_in_path_says_where_arrays_go(body: object, fake: FakeAws) -> None:
    answer = answer_to(http_request(body, path=DROP_IN))

    assert (answer.status, list(answer.body)) == (422, ["message"])
    assert "/v1/events" in answer.body["message"]
    assert fake.bodies == []


def warned_in(result: Any) -> set[str]:
    return {warning["field"] for warning in result["warnings"]}


def test_what_stands_beside_an_array_is_each_events_default(fake: FakeAws) -> None:
    beside = {
        "user_data": {"em": "ada@example.com", "ph": "0151 23456789"},
        "timestamp_micros": 1705314600000000,
        "phone_region": "DE",
        "currency": "EUR",
        "made_up": 1,
    }
    own = {"event": "purchase", "user_email": "b@example.com", "currency": "USD", "value": 2}
    events = [{"event": "purchase", "order_id": "1", "value": 1}, {**own, "phone": " "}]

    answer = answer_to(http_request({**beside, "events": events}))

    assert answer.status == 202
    first, second = fake.events
    shared = {"phone": "4915123456789", "event_time": "2024-01-15T10:30:00Z"}
    assert first.items() >= {**shared, "email": "ada@example.com", "currency": "EUR"}.items()
    assert second.items() >= {**shared, "email": "b@example.com", "currency": "USD"}.items()
    for result in answer.body["results"]:
        assert warned_in(result) >= {"user_data.em", "timestamp_micros", "made_up"}


def test_ga4s_batch_is_read(fake: FakeAws) -> None:
    body = {
        "client_id": "1.2",
        "user_data": {"email": "ada@example.com"},
        "timestamp_micros": "1705314600000000",
        "events": [{"name": "purchase", "params": {"transaction_id": "T-1", "value": 49.9}}],
    }

    assert answer_to(http_request(body)).status == 202
    assert fake.events == [
        {
            "event_name": "purchase",
            "email": "ada@example.com",
            "event_time": "2024-01-15T10:30:00Z",
            "amount": 49.9,
            "order_id": "T-1",
        }
    ]


@pytest.mark.parametrize(
    "name", ["idempotency_key", "event_id", "messageId", "$insert_id", "order_id", "transaction_id"]
)
def test_what_would_make_a_batch_one_event_is_not_shared(name: str, fake: FakeAws) -> None:
    body = {name: "same", "batch": [an_event(amount=1), an_event(amount=2)]}

    answer = answer_to(http_request(body))

    assert answer.status == 202
    assert len({result["event_id"] for result in answer.body["results"]}) == 2
    assert all(name in warned_in(result) for result in answer.body["results"])
    assert all("order_id" not in event for event in fake.events)


def test_a_test_code_beside_an_array_is_said_to_change_nothing(fake: FakeAws) -> None:
    answer = answer_to(http_request({"data": [an_event(amount=1)], "test_event_code": "TEST1"}))

    [told] = answer.body["results"][0]["warnings"]
    assert "IS booked" in told["message"]
    assert len(fake.bodies) == 1


def test_what_stands_beside_an_array_is_not_multiplied_without_bound(fake: FakeAws) -> None:
    events = [an_event()] * 500

    assert answer_to(http_request({"data": events, "url": "x" * 20_000})).status == 413
    assert fake.bodies == []
    assert answer_to(http_request({"data": events[:2], "url": "x" * 20_000})).status == 202


# --- A name that is given twice ---------------------------------------------------------------

GOOD = '{"event_name": "purchase", "email": "grace@example.com", "order_id": "1"}'
TWICE = [
    pytest.param('{"event_name": "purchase", "email": "a", "email": "b"}', "email", id="a field"),
    pytest.param(
        '{"event_name": "purchase", "properties": {"value": 1, "value": 2}}',
        "properties.value",
        id="a field of an object in it",
    ),
    pytest.param(
        '{"event_name": "purchase", "email": "a", "\\u0065mail": "a"}', "email", id="in disguise"
    ),
]


@pytest.mark.parametrize(("spoilt", "name"), TWICE)
@pytest.mark.parametrize("form", ["[%s, %s, %s]", '{"batch": [%s, %s, %s]}'])
def test_of_an_array_that_event_alone_is_refused(
    form: str, spoilt: str, name: str, fake: FakeAws
) -> None:
    answer = answer_to(http_request(form % (GOOD, spoilt, GOOD)))

    assert answer.status == 207
    assert [result["status"] for result in answer.body["results"]] == [202, 422, 202]
    [error] = answer.body["results"][1]["errors"]
    assert error == {"field": name, "message": "must be given once: it is there twice"}
    assert len(fake.bodies) == 2


@pytest.mark.parametrize(("spoilt", "name"), TWICE)
@pytest.mark.parametrize("path", ROUTES)
def test_a_single_event_is_refused_by_the_name(
    path: str, spoilt: str, name: str, fake: FakeAws
) -> None:
    answer = answer_to(http_request(spoilt, path=path))

    assert answer.status == 422
    assert f"{name} must be given once" in answer.body["message"]
    assert fake.bodies == []


@pytest.mark.usefixtures("fake")
def test_a_name_that_the_sender_made_up_is_not_logged(log: io.StringIO) -> None:
    body = '{"email": 1, "email": 2}, {"grace@example.com": 1, "grace@example.com": 2}, 5'

    answer_to(http_request(f"[{body}]"))

    assert [line["faults"] for line in outcomes_in(log)] == [["email"], ["(other)"], [""]]
    assert "grace" not in log.getvalue()


# --- HEAD -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/client.js"])
@pytest.mark.parametrize("headers", [{}, {"Accept-Encoding": "gzip"}], ids=["plain", "gzip"])
def test_head_is_answered_as_get_without_the_body(path: str, headers: dict[str, str]) -> None:
    def answer_by(method: str) -> dict[str, Any]:
        request = http_request(method=method, path=path, headers=headers, key=None)
        answer: dict[str, Any] = ingest.handler(request, FakeLambdaContext())  # type: ignore[arg-type]
        return answer

    get, head = answer_by("GET"), answer_by("HEAD")

    assert get["statusCode"] == 200
    assert get["body"]
    assert head == {**get, "body": ""}


@pytest.mark.parametrize("path", [*ROUTES, "/collect"])
def test_head_of_a_path_that_takes_posts_is_answered_405(path: str) -> None:
    answer = answer_to(http_request(method="HEAD", path=path))

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


# --- The Idempotency-Key header ---------------------------------------------------------------

KEY = "38627e30-7b0a-4c5c-9d3f-0a4c7b1f2e11"
KEYS = [KEY, f'"{KEY}"', f' "{KEY}" ', f"{KEY}\u200b"]


@pytest.mark.parametrize(
    ("own", "header"),
    [(own, header) for own in (None, *KEYS) for header in (None, *KEYS) if own or header],
    ids=repr,
)
@pytest.mark.parametrize("path", ROUTES)
def test_a_key_in_two_spellings_is_one_identity(
    path: str, own: str | None, header: str | None, fake: FakeAws
) -> None:
    headers = {"Idempotency-Key": header} if header else {}

    answer_to(http_request(an_event(idempotency_key=own), path=path, headers=headers))
    answer_to(http_request(an_event(idempotency_key=KEY)))

    one, other = map(json.loads, fake.bodies)
    assert one["event_id"] == other["event_id"]
    assert one["event"]["idempotency_key"] == KEY


@pytest.mark.parametrize("path", ROUTES)
def test_two_keys_in_one_request_are_refused(path: str, fake: FakeAws) -> None:
    body = an_event(idempotency_key="other")

    answer = answer_to(http_request(body, path=path, headers={"Idempotency-Key": f'"{KEY}"'}))

    assert answer.status == 422
    assert "idempotency_key differs from the Idempotency-Key header" in answer.body["message"]
    assert fake.bodies == []


# --- Fields that are passed on ----------------------------------------------------------------

THEIRS: dict[str, object] = {
    "currency": "EUR",
    "profile_field_1": "gold",
    "profile_field_7": 7.5,
    "profile_field_30": True,
    "profile_field_x": " as it is ",
}


@pytest.mark.parametrize("body", [an_event(amount=5, **THEIRS), [an_event(amount=5, **THEIRS)]])
def test_what_the_deployment_passes_on_arrives_as_it_is(body: object, fake: FakeAws) -> None:
    answer = answer_to(http_request(body))

    assert answer.status == 202
    assert answer.body.get("warnings", []) == []
    assert fake.events[0].items() >= THEIRS.items()


def test_the_drop_in_takes_nothing_of_it_away_and_has_nothing_to_warn_of(
    fake: FakeAws, log: io.StringIO
) -> None:
    answer_to(http_request(an_event(amount=5, **THEIRS), path=DROP_IN))

    assert fake.events[0].items() >= THEIRS.items()
    assert [line["message"] for line in lines_in(log)] == ["ingest.accepted"]


@pytest.mark.parametrize("value", [None, ["EUR"], {"code": "EUR"}, float("nan")], ids=repr)
def test_a_list_or_an_object_is_not_passed_on(value: object, fake: FakeAws) -> None:
    answer = answer_to(http_request(an_event(amount=5, currency=value)))

    assert answer.status == 202
    assert [it["field"] for it in answer.body["warnings"]] == ["currency"] * (value is not None)
    assert "currency" not in fake.events[0]


def test_without_the_parameter_nothing_is_passed_on(
    fake: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PASSED_ON_FIELDS")

    answer = answer_to(http_request(an_event(amount=5, currency="EUR")))

    assert [it["field"] for it in answer.body["warnings"]] == ["currency"]
    assert "currency" not in fake.events[0]


# --- Four things refuse an event --------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        pytest.param({"event_name": None}, ["event_name"], id="no name"),
        pytest.param({"event_name": "bought"}, ["event_name"], id="an unknown name"),
        pytest.param({"email": ""}, ["email"], id="nobody"),
        pytest.param({"email": "undefined"}, ["email"], id="a placeholder for somebody"),
        pytest.param({"amount": "1,234"}, ["amount"], id="an amount that is two"),
        pytest.param({"event_time": "01/02/2024"}, ["event_time"], id="a time that is two"),
        pytest.param({"idempotency_key": ["k"]}, ["idempotency_key"], id="a list for a key"),
        pytest.param({"order_id": {"id": 1}}, ["order_id"], id="an object for an order"),
    ],
)
def test_one_of_four_things_refuses_an_event(
    fields: dict[str, object], faults: list[str], fake: FakeAws
) -> None:
    answer = answer_to(http_request(an_event(**fields)))

    assert answer.status == 422
    assert [error["field"] for error in answer.body["errors"]] == faults
    assert fake.bodies == []


@pytest.mark.parametrize("name", ["phone", "is_upsell", "tracking_id", "url", "ip", "made_up"])
@pytest.mark.parametrize("value", [{"a": 1}, [1], "\ud83d", 1e300, 10**400], ids=type)
@pytest.mark.parametrize("path", ROUTES)
def test_nothing_else_does(path: str, name: str, value: object, fake: FakeAws) -> None:
    assert answer_to(http_request(an_event(**{name: value}), path=path)).status == 202
    assert len(fake.bodies) == 1


# --- What nobody reads is counted -------------------------------------------------------------


def test_warnings_of_the_drop_in_are_counted_and_logged_by_field_name(
    fake: FakeAws, log: io.StringIO
) -> None:
    event = {"event": "Purchase", "email": "Grace <grace@example.com>", "grace_of": 1}

    answer = answer_to(http_request(event, path=DROP_IN))

    accepted, warned = outcomes_in(log)
    assert len(lines_in(log)) == 1
    assert answer.body.keys() == {"status", "message"}
    assert (warned["message"], warned["event_id"]) == ("ingest.warned", accepted["event_id"])
    assert warned["fields"] == ["(other)", "amount", "email"]
    assert "grace" not in log.getvalue()
    assert metrics_in(log.getvalue()) == {"Accepted": 1, "Warned": 1}
    assert len(fake.bodies) == 1


@pytest.mark.parametrize(
    ("path", "event"),
    [
        pytest.param(EVENTS, an_event(emial="x"), id="where the caller reads them"),
        pytest.param(DROP_IN, an_event(amount=5), id="without one"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_no_other_event_is_counted_as_warned(
    path: str, event: object, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_to(http_request(event, path=path))

    assert metrics_in(capsys.readouterr().out) == {"Accepted": 1}
