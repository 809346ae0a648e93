"""Requests as API Gateway hands them over, and the answers that callers get."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cometly_forwarder import secrets
from cometly_forwarder.ingest import handler as ingest
from cometly_forwarder.secrets import ServerKeys
from cometly_forwarder.stopwatch import Stopwatch
from tests.unit.conftest import (
    SERVER_KEY,
    Aws,
    FakeAws,
    an_event,
    answer_to,
    http_request,
    lines_in,
    metrics_in,
    outcomes_in,
)

SAMPLES = sorted(Path("events/http").glob("*.json"))
assert SAMPLES
DROP_IN = "/public-api/v1/events/track"
ROUTES = ["/v1/events", DROP_IN]


pytestmark = pytest.mark.usefixtures("fresh_ingest")


@pytest.fixture
def stack(aws_stack: Aws, fresh_ingest: pytest.MonkeyPatch) -> Aws:
    fresh_ingest.setenv("EVENT_QUEUE_URL", aws_stack.queue_url)
    fresh_ingest.setenv("SERVER_KEYS_SECRET_ARN", aws_stack.keys_secret_arn)
    fresh_ingest.setenv("TABLE_NAME", "table")
    fresh_ingest.setenv("DEFAULT_PHONE_REGION", "US")
    return aws_stack


def posted(stack: Aws) -> list[dict[str, Any]]:
    return [json.loads(message["Body"])["event"] for message in stack.queued()]


@pytest.mark.usefixtures("stack")
def test_a_key_ages_while_the_function_is_frozen_or_the_clock_is_put_back() -> None:
    keys = ingest.routes().keys

    assert isinstance(keys, ServerKeys)
    assert isinstance(keys.secret.now, Stopwatch)


# --- AWS that fails ---------------------------------------------------------------------------


AWAY = [
    pytest.param(EndpointConnectionError(endpoint_url="https://aws.example.com"), id="network"),
    pytest.param(ClientError({"Error": {"Code": "ServiceUnavailable"}}, "Call"), id="service"),
    pytest.param(ClientError({"Error": {"Code": "AccessDenied"}}, "Call"), id="permission"),
]


# --- One event --------------------------------------------------------------------------------


def test_a_valid_event_is_queued_and_answered_202(stack: Aws) -> None:
    answer = answer_to(http_request(an_event(order_id="1002", amount=5, emial="x")))

    (message,) = stack.queued()
    assert answer.status == 202
    assert answer.body["status"] == 202
    assert answer.body["event_id"] == json.loads(message["Body"])["event_id"]
    assert [warning["field"] for warning in answer.body["warnings"]] == ["emial"]


def test_the_phone_region_of_the_stack_is_used(stack: Aws) -> None:
    answer_to(http_request(an_event(phone="(650)555-1212")))

    assert posted(stack)[0]["phone"] == "16505551212"


def test_the_idempotency_key_header_is_the_events_key(stack: Aws) -> None:
    answer_to(http_request(an_event(), headers={"Idempotency-Key": "key-1"}))

    assert posted(stack)[0]["idempotency_key"] == "key-1"


@pytest.mark.parametrize("is_base64", [False, True], ids=["text", "base64"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_body_is_read_as_text_and_in_base64(path: str, fake: FakeAws, *, is_base64: bool) -> None:
    body = json.dumps(an_event(full_name="Zoë 😀"), ensure_ascii=False)

    assert answer_to(http_request(body, path=path, is_base64=is_base64)).status == 202
    assert json.loads(fake.bodies[0])["event"]["full_name"] == "Zoë 😀"


# --- Cometly's own path -----------------------------------------------------------------------


def test_the_drop_in_path_answers_as_cometly_does(stack: Aws) -> None:
    answer = answer_to(http_request(an_event(emial="x"), path=DROP_IN))

    (message,) = stack.queued()
    assert answer.status == 202
    assert answer.body.keys() == {"status", "message"}
    assert answer.body["status"] == 202
    assert answer.headers["request-id"] == json.loads(message["Body"])["event_id"]


@pytest.mark.parametrize("body", [{"event_name": "x"}, [an_event()]], ids=["invalid", "an array"])
def test_the_drop_in_path_refuses_with_a_message_alone(body: object, fake: FakeAws) -> None:
    answer = answer_to(http_request(body, path=DROP_IN))

    assert (answer.status, list(answer.body)) == (422, ["message"])
    assert fake.bodies == []


# --- Many events ------------------------------------------------------------------------------


def test_an_array_is_answered_207_item_by_item_when_some_are_accepted(stack: Aws) -> None:
    answer = answer_to(http_request([an_event(order_id="1"), {}, "x", an_event(order_id="2")]))

    assert answer.status == 207
    assert [result["status"] for result in answer.body["results"]] == [202, 422, 422, 202]
    assert sorted(event["order_id"] for event in posted(stack)) == ["1", "2"]


@pytest.mark.parametrize(("count", "status"), [(0, 422), (25, 202), (500, 202), (501, 413)])
def test_an_array_holds_one_to_500_events(count: int, status: int, fake: FakeAws) -> None:
    answer = answer_to(http_request([an_event(order_id=str(n)) for n in range(count)]))

    assert answer.status == status
    results = answer.body.get("results", [])
    queued = {json.loads(body)["event_id"] for body in fake.bodies}
    assert len(results) == len(queued) == (count if status == 202 else 0)
    assert {result["event_id"] for result in results} == queued
    assert "500" in answer.body["message"] or status != 413


def test_one_key_for_many_events_is_refused(fake: FakeAws) -> None:
    answer = answer_to(http_request([an_event()], headers={"Idempotency-Key": "key-1"}))

    assert answer.status == 422
    assert fake.bodies == []


# --- Keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Authorization": f"Bearer {SERVER_KEY}"}, id="bearer"),
        pytest.param({"Authorization": f"bearer   {SERVER_KEY} "}, id="bearer, written carelessly"),
        pytest.param({"X-Api-Key": SERVER_KEY}, id="x-api-key"),
        pytest.param({"Authorization": "Bearer older"}, id="the previous key"),
        pytest.param({"Authorization": "Basic abc", "X-Api-Key": SERVER_KEY}, id="beside another"),
    ],
)
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.usefixtures("fake")
def test_a_request_with_a_key_is_taken(path: str, headers: dict[str, str]) -> None:
    assert answer_to(http_request(an_event(), path=path, headers=headers, key=None)).status == 202


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Bearer "}, id="empty"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong"),
        pytest.param({"Authorization": f"Bearer {SERVER_KEY}x"}, id="longer"),
        pytest.param({"Authorization": f"Bearer {SERVER_KEY[:-1]}"}, id="shorter"),
        pytest.param({"Authorization": f"Bearer {SERVER_KEY.upper()}"}, id="in capitals"),
        pytest.param({"Authorization": SERVER_KEY}, id="without a scheme"),
        pytest.param({"Authorization": f"Basic {SERVER_KEY}"}, id="another scheme"),
        pytest.param({"Authorization": f"Bearer {SERVER_KEY},{SERVER_KEY}"}, id="sent twice"),
        pytest.param({"X-Api-Key": ""}, id="x-api-key empty"),
        pytest.param({"X-Api-Key": "ключ"}, id="other letters"),
        pytest.param({"X-Api-Key": "\ud800"}, id="no letters"),
        pytest.param({"Cookie": f"key={SERVER_KEY}"}, id="in a cookie"),
    ],
)
@pytest.mark.parametrize("path", ROUTES)
def test_without_the_key_nothing_is_taken(
    path: str, headers: dict[str, str], fake: FakeAws
) -> None:
    answer = answer_to(http_request(an_event(), path=path, headers=headers, key=None))

    assert answer.status == 401
    assert answer.body.keys() == {"message"}
    assert answer.headers["www-authenticate"] == "Bearer"
    assert fake.bodies == []


@pytest.mark.parametrize(
    "body", ["{", "x" * 2_000_000, [an_event()] * 501], ids=["no JSON", "too large", "too many"]
)
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.usefixtures("fake")
def test_a_stranger_learns_nothing_but_that_the_key_is_wrong(path: str, body: object) -> None:
    assert answer_to(http_request(body, path=path, key="wrong")).status == 401


# --- Bodies that are refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param(b"", id="empty in base64"),
        pytest.param("{", id="cut off"),
        pytest.param("event_name=purchase&email=grace%40example.com", id="a form"),
        pytest.param(b"\x1f\x8b\x08\x00", id="compressed"),
        pytest.param('{"email": "\ud800"}', id="half a surrogate pair"),
        pytest.param("[" * 500_000, id="deeply nested"),
    ],
)
@pytest.mark.parametrize("path", ROUTES)
def test_what_is_not_json_is_answered_400(path: str, body: object, fake: FakeAws) -> None:
    answer = answer_to(http_request(body, path=path))

    assert (answer.status, list(answer.body)) == (400, ["message"])
    assert fake.bodies == []


@pytest.mark.parametrize("body", ["{}", "null", "5", '"purchase"', "true", "NaN"])
@pytest.mark.parametrize("path", ROUTES)
def test_json_that_is_no_event_is_answered_422(path: str, body: str, fake: FakeAws) -> None:
    assert answer_to(http_request(body, path=path)).status == 422
    assert fake.bodies == []


@pytest.mark.usefixtures("fake")
def test_any_depth_of_nesting_gets_an_answer() -> None:
    # The parser's limit lies in here, and what passes it must not break what comes after it.
    event = '{"event_name": "purchase", "email": "grace@example.com", "idempotency_key": %s}'
    bodies = [event % ("[" * depth + "]" * depth) for depth in range(900, 1_001)]

    answers = [answer_to(http_request(body, headers={"Idempotency-Key": "k"})) for body in bodies]

    assert {answer.status for answer in answers} <= {400, 422}


@pytest.mark.parametrize("is_base64", [False, True], ids=["text", "base64"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_body_of_more_than_a_mebibyte_is_answered_413(
    path: str, fake: FakeAws, *, is_base64: bool
) -> None:
    least = json.dumps(an_event())
    largest = least + " " * (1024 * 1024 - len(least))

    assert answer_to(http_request(largest, path=path, is_base64=is_base64)).status == 202
    assert answer_to(http_request(largest + " ", path=path, is_base64=is_base64)).status == 413
    assert len(fake.bodies) == 1


def test_a_body_is_weighed_in_bytes(fake: FakeAws) -> None:
    assert answer_to(http_request('{"x": "%s"}' % ("é" * 600_000))).status == 413
    assert fake.bodies == []


# --- Paths and methods ------------------------------------------------------------------------


def test_health_needs_neither_key_nor_aws() -> None:
    answer = answer_to(http_request(method="GET", path="/health", key=None))

    assert answer.status == 200
    assert answer.body == {"status": "ok"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/event",
        "/V1/Events",
        "/v1/events/1/2",
        "/public-api/v1/events",
        "/é",
        "/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_answered_404(method: str, path: str) -> None:
    answer = answer_to(http_request(an_event(), method=method, path=path))

    assert answer.status == 404
    assert answer.body.keys() == {"message"}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/events", "POST"),
        ("/v1/events/lookup", "POST"),
        ("/v1/events/1", "GET"),
        (DROP_IN, "POST"),
        ("/health", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.usefixtures("fake")
def test_another_method_is_answered_405_with_the_right_one(
    method: str, path: str, allowed: str
) -> None:
    answer = answer_to(http_request(an_event(order_id="1"), method=method, path=path))

    if method == allowed or (method, allowed) == ("HEAD", "GET"):
        # 404: a lookup of what nobody sent.
        assert answer.status in {200, 202, 404}
    else:
        assert answer.status == 405
        assert answer.headers["allow"] == allowed
        assert answer.body.keys() == (set() if method == "HEAD" else {"message"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/events/", 202),
        ("POST", "/v1/events//", 202),
        ("POST", DROP_IN + "/", 202),
        ("GET", "/health/", 200),
        ("HEAD", "/health/", 200),
        ("GET", "/v1/events/", 405),
        ("POST", "/collect/", 403),
        ("POST", "//v1/events", 404),
        ("GET", "/", 404),
        ("GET", "//", 404),
    ],
)
@pytest.mark.usefixtures("fake")
def test_a_slash_at_the_end_of_a_path_says_nothing(method: str, path: str, status: int) -> None:
    assert answer_to(http_request(an_event(), method=method, path=path)).status == status


# --- When AWS is away -------------------------------------------------------------------------


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "part", ["sqs_is_away", "secrets_are_away"], ids=["SQS", "Secrets Manager"]
)
def test_what_could_not_be_queued_is_answered_503_with_retry_after(
    part: str, path: str, error: Exception, fake: FakeAws
) -> None:
    setattr(fake, part, error)

    answer = answer_to(http_request(an_event(), path=path))

    assert answer.status == 503
    assert answer.body.keys() == {"message"}
    assert re.fullmatch("[1-9][0-9]*", answer.headers["retry-after"])


def test_a_worker_recovers_when_aws_does(fake: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_FAILURE_SECONDS", 0.0)
    fake.secrets_are_away = EndpointConnectionError(endpoint_url="https://aws.example.com")
    first = answer_to(http_request(an_event()))

    fake.secrets_are_away = None
    second = answer_to(http_request(an_event()))

    assert (first.status, second.status) == (503, 202)


# --- What is left in logs and metrics ---------------------------------------------------------

PERSONAL = {
    "email": "grace.murray@example.com",
    "comet_token": "ct_5f2c9a71",
    "fingerprint": "fp_81b7e0d4",
    "ip": "198.51.100.99",
    "full_name": "Grace Murray",
    "phone": "+16505551212",
    "user_agent": "Agent-of-Grace",
    "url": "https://shop.example.com/thank-you?grace",
    "order_id": "ORD-77120",
    "idempotency_key": "KEY-77121",
    "grace_field": "grace",
}
TRACES = (
    "grace",
    "murray",
    "ct_5f2c9a71",
    "fp_81b7e0d4",
    "198.51.100.99",
    "5551212",
    "agent-of",
    "shop.example",
    "ord-77120",
    "key-77121",
    SERVER_KEY,
    "203.0.113.7",
)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"event_name": "purchase", **PERSONAL}, id="accepted"),
        pytest.param({"event_name": "grace", **PERSONAL, "amount": "grace"}, id="invalid"),
        pytest.param([{"event_name": "purchase", **PERSONAL}, PERSONAL, "grace"], id="an array"),
        pytest.param('{"email": "grace@example.com"', id="no JSON"),
        pytest.param(json.dumps(PERSONAL) + "grace", id="JSON and more"),
    ],
)
@pytest.mark.parametrize("path", [*ROUTES, "/grace"])
@pytest.mark.parametrize("sqs_is_away", [None, AWAY[1].values[0]], ids=["well", "SQS away"])
def test_nothing_personal_is_logged_or_measured(  # noqa: PLR0917 - fixtures are arguments
    body: object,
    path: str,
    sqs_is_away: Exception | None,
    fake: FakeAws,
    log: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake.sqs_is_away = sqs_is_away

    answer_to(http_request(body, path=path))

    captured = capfd.readouterr()
    records = [str(record.__dict__) for record in caplog.records]
    written = "\n".join([log.getvalue(), captured.out, captured.err, *records]).lower()
    assert [trace for trace in TRACES if trace.lower() in written] == []


def test_an_event_leaves_one_line_that_names_it(fake: FakeAws, log: io.StringIO) -> None:
    answer = answer_to(http_request(an_event(order_id="1")))

    [line] = outcomes_in(log)
    assert (line["message"], line["event_id"]) == ("ingest.accepted", answer.body["event_id"])
    assert (line["warnings"], line["faults"]) == (1, [])
    assert len(fake.bodies) == 1


def test_an_array_leaves_one_line_in_which_each_event_is_found(
    fake: FakeAws, log: io.StringIO
) -> None:
    fake.refuses = frozenset({1})
    events = [an_event(order_id="1"), {"amount": "x"}, an_event(amount=5), an_event(made_up=1)]

    answer = answer_to(http_request(events))

    [line] = lines_in(log)
    first, _, _, last = answer.body["results"]
    assert line["message"] == "ingest.array"
    assert line["outcomes"] == {
        "ingest.accepted": 2,
        "ingest.rejected": 1,
        "ingest.unavailable": 1,
    }
    assert line["event_ids"] == [first["event_id"], None, None, last["event_id"]]
    assert line["faults"] == {"1": ["event_name", "amount", "email"]}
    assert line["warnings"] == {"0": 1, "3": 2}


@pytest.mark.parametrize("many", [1, 2, 500])
def test_a_request_leaves_one_line_that_holds_its_metrics(
    many: int, fake: FakeAws, log: io.StringIO
) -> None:
    answer_to(http_request([an_event(order_id=str(it)) for it in range(many)]))

    [line] = log.getvalue().splitlines()
    assert metrics_in(line) == {"Accepted": many}
    assert len(fake.bodies) == many


def test_an_array_is_read_as_a_line_each_event(fake: FakeAws, log: io.StringIO) -> None:
    answer = answer_to(http_request([an_event(order_id="1"), {"amount": "x"}]))

    accepted, rejected = outcomes_in(log)
    assert (accepted["message"], rejected["message"]) == ("ingest.accepted", "ingest.rejected")
    assert accepted["event_id"] == answer.body["results"][0]["event_id"]
    assert sorted(rejected["faults"]) == ["amount", "email", "event_name"]
    assert len(fake.bodies) == 1


@pytest.mark.parametrize(
    ("body", "refuses", "counts"),
    [
        pytest.param(an_event(), set(), {"Accepted": 1}, id="accepted"),
        pytest.param({}, set(), {"Rejected": 1}, id="invalid"),
        pytest.param(an_event(), {0}, {"Unavailable": 1}, id="not queued"),
        pytest.param(
            [an_event(), {}, an_event(), an_event()],
            {0},
            {"Accepted": 2, "Rejected": 1, "Unavailable": 1},
            id="of each",
        ),
        pytest.param("{", set(), {}, id="no JSON"),
    ],
)
def test_outcomes_are_counted(
    body: object,
    refuses: set[int],
    counts: dict[str, int],
    fake: FakeAws,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.refuses = frozenset(refuses)

    answer_to(http_request(body))

    assert metrics_in(capsys.readouterr().out) == counts


# --- Samples ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_gets_its_answer(path: Path, stack: Aws) -> None:
    sample = json.loads(path.read_text())
    request = http_request(
        sample["body"], method=sample["method"], path=sample["path"], headers=sample["headers"]
    )

    status = answer_to(request).status

    is_invalid = path.stem == "invalid"
    assert status == (422 if is_invalid else 202)
    events = sample["body"] if isinstance(sample["body"], list) else [sample["body"]]
    assert len(stack.queued()) == (0 if is_invalid else len(events))
