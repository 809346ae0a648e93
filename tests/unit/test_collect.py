"""/collect through the handler: who may post, what is read, what is answered."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from cometly_forwarder import aws, jsontext
from cometly_forwarder.ingest import handler as ingest
from cometly_forwarder.stopwatch import Stopwatch
from tests.unit.conftest import (
    SERVER_KEY,
    FakeLambdaContext,
    an_event,
    http_request,
    lines_in,
    metrics_in,
    outcomes_in,
)
from tests.unit.fakes import Clock

ORIGIN = "https://shop.example.com"
SOURCE_IP = "203.0.113.7"
KIBIBYTE = 1024


@dataclass
class PageQueue:
    """The page queue, as far as ingest uses it, and a trap for what should come here."""

    url: str = "pages"
    is_away: bool = False
    defect: Exception | None = None
    bodies: list[str] = field(default_factory=list)

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        assert QueueUrl == self.url
        if self.is_away:
            raise EndpointConnectionError(endpoint_url="https://aws.example.com")
        if self.defect:
            raise self.defect
        self.bodies += [entry["MessageBody"] for entry in Entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def get_secret_value(self, *, SecretId: str) -> Any:  # noqa: N803
        """Give the keys of the services, which /collect does without."""
        assert SecretId == "keys"
        return {"SecretString": json.dumps({"current": SERVER_KEY, "previous": ""})}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body)["event"] for body in self.bodies]


@pytest.fixture(autouse=True)
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageQueue]:
    """A worker that has served nothing yet, with two pages allowed."""
    queue = PageQueue()
    monkeypatch.setattr(aws, "client", lambda _: queue)
    monkeypatch.setenv("EVENT_QUEUE_URL", "events")
    monkeypatch.setenv("PAGE_QUEUE_URL", "pages")
    monkeypatch.setenv("SERVER_KEYS_SECRET_ARN", "keys")
    monkeypatch.setenv("TABLE_NAME", "table")
    monkeypatch.setenv("ALLOWED_ORIGINS", f"{ORIGIN}, http://localhost:5173")
    monkeypatch.setenv("BROWSER_EVENT_NAMES", "*")
    ingest.routes.cache_clear()
    yield queue
    ingest.routes.cache_clear()
    ingest.journal.metrics.clear_metrics()


def collect(
    body: object = None, *, method: str = "POST", path: str = "/collect", **headers: str | None
) -> tuple[int, dict[str, str], Any]:
    """Post as a page does: with an origin, no key, and text/plain, which needs no preflight."""
    given = {"origin": ORIGIN, "content-type": "text/plain"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    present = {name: value for name, value in given.items() if value is not None}
    request = http_request(body, method=method, path=path, key=None, headers=present)
    answer: Any = ingest.handler(request, FakeLambdaContext())  # type: ignore[arg-type]
    seen = {name.lower(): value for name, value in answer["headers"].items()}
    return answer["statusCode"], seen, json.loads(answer["body"] or "null")


# --- Who may enter ----------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:5173"])
def test_a_page_of_an_allowed_origin_needs_no_key(queue: PageQueue, origin: str) -> None:
    status, headers, body = collect(an_event(), origin=origin)

    assert status == 202
    assert headers["access-control-allow-origin"] == origin
    assert headers["vary"] == "Origin"
    assert len(queue.bodies) == 1
    assert body["event_id"].startswith("evt_")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "*",
        "https://shop.example.com.",
        "https://SHOP.example.com",
        "HTTPS://shop.example.com",
        "https://shop.example.com:443",
        "https://shop.example.com:8443",
        "https://shop.example.com/",
        "http://shop.example.com",
        "https://evil-shop.example.com",
        "https://evil.shop.example.com",
        "https://example.com",
        "https://shop.example.com.evil.example",
        "https://shop.example.com@evil.example",
        "https://shop.example.com, https://evil.example",
        " https://shop.example.com",
        "shop.example.com",
        "http://localhost",
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_any_other_origin_is_refused_and_may_not_read_the_answer(
    queue: PageQueue, method: str, origin: str | None
) -> None:
    status, headers, body = collect(an_event(), method=method, origin=origin)

    assert status == 403
    assert body.keys() == {"message"}
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == "Origin"
    assert queue.bodies == []


@pytest.mark.parametrize("setting", ["", " , "], ids=repr)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_without_an_allowed_origin_no_page_may_post(
    queue: PageQueue, monkeypatch: pytest.MonkeyPatch, method: str, setting: str
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", setting)

    for origin in (ORIGIN, "", None):
        status, headers, body = collect(an_event(), method=method, origin=origin)

        assert status == 403
        assert "AllowedOrigins" in body["message"]
        assert "access-control-allow-origin" not in headers
    assert queue.bodies == []


def test_a_preflight_is_answered_for_json(queue: PageQueue) -> None:
    status, headers, body = collect(
        method="OPTIONS",
        access_control_request_method="POST",
        access_control_request_headers="content-type",
    )

    assert (status, body) == (204, None)
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-allow-methods"] == "POST"
    assert headers["access-control-allow-credentials"] == "true"
    admitted = headers["access-control-allow-headers"].split(", ")
    assert sorted(admitted) == ["content-type", "idempotency-key", "x-requested-with"]
    assert int(headers["access-control-max-age"]) > 0
    assert queue.bodies == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_another_method_is_answered_405(method: str) -> None:
    status, headers, _ = collect(method=method)

    assert (status, headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://berlin.shop.example.com", True),
        ("https://a.berlin.shop.example.com", True),
        ("null", True),
        (ORIGIN, False),
        ("https://evil-shop.example.com", False),
        ("https://a.shop.example.com.evil.example", False),
        ("https://a.shop.example.com:8443", False),
        ("http://a.shop.example.com", False),
        ("https://A.shop.example.com", False),
    ],
)
@pytest.mark.parametrize(("method", "status"), [("POST", 202), ("OPTIONS", 204)])
def test_frames_and_subdomains_may_be_allowed(
    monkeypatch: pytest.MonkeyPatch, method: str, status: int, origin: str, *, is_allowed: bool
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "null, https://*.shop.example.com")

    answered, headers, _ = collect(an_event(), method=method, origin=origin)

    assert answered == (status if is_allowed else 403)
    assert headers.get("access-control-allow-origin") == (origin if is_allowed else None)
    assert headers.get("access-control-allow-credentials") == ("true" if is_allowed else None)


@pytest.mark.parametrize("body", [an_event(), {}, "{"], ids=["taken", "invalid", "no JSON"])
def test_a_page_with_credentials_may_read_each_answer(body: object) -> None:
    _, headers, _ = collect(body, content_type="application/json", cookie="session=1")

    assert headers["access-control-allow-credentials"] == "true"
    assert headers["access-control-allow-origin"] == ORIGIN


def test_what_a_page_is_told_leaves_no_header_for_the_next_request(queue: PageQueue) -> None:
    collect(an_event())
    queue.url = "events"

    for request in (
        http_request(an_event(), headers={"Origin": ORIGIN}),
        http_request(method="GET", path="/health", headers={"Origin": ORIGIN}),
    ):
        answer: Any = ingest.handler(request, FakeLambdaContext())  # type: ignore[arg-type]
        assert not [name for name in answer["headers"] if name.lower().startswith("access-")]
    assert "access-control-allow-origin" not in collect({}, origin="https://evil.example")[1]


# --- What is read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "text/plain;charset=UTF-8", "application/json", "image/png"],
)
def test_json_is_read_whatever_the_content_type_says(
    queue: PageQueue, content_type: str | None
) -> None:
    status, _, _ = collect(an_event(full_name="Zoë 😀"), content_type=content_type)

    assert status == 202
    assert queue.events[0]["full_name"] == "Zoë 😀"


def test_the_connection_says_who_and_where_the_visitor_is(queue: PageQueue) -> None:
    event = an_event(fingerprint="fp", ip="192.0.2.66", user_agent="Forged/9")

    collect(
        event,
        user_agent="Agent/1.0",
        referer=ORIGIN + "/thanks",
        x_forwarded_for=f"192.0.2.66, {SOURCE_IP}",
    )

    [queued] = queue.events
    assert queued["ip"] == SOURCE_IP
    assert queued["user_agent"] == "Agent/1.0"
    assert queued["url"] == ORIGIN + "/thanks"


@pytest.mark.parametrize(
    ("hops", "ip"), [("0", SOURCE_IP), ("1", "198.51.100.1"), ("2", "192.0.2.66")]
)
def test_the_stack_says_how_many_proxies_are_its_own(
    queue: PageQueue, monkeypatch: pytest.MonkeyPatch, hops: str, ip: str
) -> None:
    monkeypatch.setenv("TRUSTED_PROXY_HOPS", hops)

    collect(an_event(fingerprint="fp"), x_forwarded_for=f"192.0.2.66, 198.51.100.1, {SOURCE_IP}")

    assert queue.events[0]["ip"] == ip


def test_by_default_a_page_may_send_all_but_what_carries_money(
    queue: PageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROWSER_EVENT_NAMES")
    names = ["purchase", "subscribe", "start_trial", "sign_up", "custom_event_50", "purchases"]

    _, _, body = collect([an_event(event_name=name) for name in names])

    assert [result["status"] for result in body["results"]] == [422, 422, 422, 202, 202, 422]
    assert "BrowserEventNames" in body["results"][0]["message"]
    assert 'did you mean "purchase"?' in body["results"][5]["message"]
    assert {event["event_name"] for event in queue.events} == {"sign_up", "custom_event_50"}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"event_name": " Purchase\t"}, id="another case"),
        pytest.param({"event_name": "purchase\u200b"}, id="with what none sees"),
        pytest.param({"event_name": "order_completed"}, id="GA4's or Segment's word"),
        pytest.param({"event_name": "CompletePayment"}, id="TikTok's word"),
        pytest.param({"event_name": "Subscribe"}, id="Meta's word for another"),
        pytest.param({"event_name": "StartTrial"}, id="Meta's word for a third"),
        pytest.param({"event": "Purchase"}, id="in another field"),
        pytest.param({"eventName": "Order Completed"}, id="in camelCase"),
        pytest.param({"event_name": "", "event": "purchase"}, id="behind a blank"),
        pytest.param({"event_name": None, "event_type": "purchase"}, id="behind null"),
        pytest.param({"name": "purchase", "params": {"value": 1}}, id="as GA4 has it"),
        pytest.param({"properties": {"event_name": "purchase"}}, id="within Segment's object"),
    ],
)
def test_money_is_not_taken_from_pages_in_other_words(
    queue: PageQueue, monkeypatch: pytest.MonkeyPatch, event: dict[str, object]
) -> None:
    monkeypatch.delenv("BROWSER_EVENT_NAMES")

    status, _, body = collect({"email": "grace@example.com", **event})

    assert status == 422
    assert body["errors"][0]["field"] == "event_name"
    assert queue.bodies == []


def test_beside_an_array_too_a_page_cannot_say_who_or_where_it_is(queue: PageQueue) -> None:
    claim = {"ip": "192.0.2.66", "user_data": {"client_user_agent": "Forged/9"}}

    status, _, _ = collect({**claim, "events": [an_event(event_name="contact", fingerprint="fp")]})

    assert status == 202
    assert "192.0.2.66" not in queue.bodies[0]
    assert "Forged" not in queue.bodies[0]


def test_the_key_in_a_pages_header_outranks_metas_event_id(queue: PageQueue) -> None:
    event = an_event(event_name="contact", event_id="e-1")

    status, _, _ = collect(event, idempotency_key="k-1")

    assert status == 202
    assert '"idempotency_key":"k-1"' in queue.bodies[0]


def test_a_page_is_told_that_there_is_no_dry_run_here(queue: PageQueue) -> None:
    request = http_request(
        an_event(event_name="contact"), path="/collect", key=None, headers={"origin": ORIGIN}
    )
    query = {"rawQueryString": "dryRun=1", "queryStringParameters": {"dryRun": "1"}}

    answer: Any = ingest.handler(request | query, FakeLambdaContext())  # type: ignore[arg-type]

    assert (answer["statusCode"], queue.bodies) == (422, [])
    assert "dry run" in answer["body"]


@pytest.mark.parametrize(
    ("setting", "statuses"),
    [("", [202, 202, 422]), ("purchase", [422, 422, 202]), ("*", [202, 202, 202])],
    ids=["by default", "a list", "all"],
)
def test_the_names_that_pages_may_send_are_cometlys_whatever_words_they_use(
    monkeypatch: pytest.MonkeyPatch, setting: str, statuses: list[int]
) -> None:
    monkeypatch.setenv("BROWSER_EVENT_NAMES", setting)

    _, _, body = collect([an_event(event_name=it) for it in ("AddToCart", "lead", "Purchase")])

    assert [result["status"] for result in body["results"]] == statuses


@pytest.mark.parametrize(
    "claim",
    [
        {"client_ip_address": "192.0.2.66", "client_user_agent": "Forged/9"},
        {"clientIpAddress": "192.0.2.66", "userAgent": "Forged/9"},
        {"IP": "192.0.2.66", "User-Agent": "Forged/9"},
        {"context": {"ip": "192.0.2.66", "userAgent": "Forged/9"}},
        {"user_data": {"client_ip_address": "192.0.2.66", "client_user_agent": "Forged/9"}},
        {"properties": {"ip": "192.0.2.66", "user_agent": "Forged/9"}},
        {"ip": ["192.0.2.66"], "user_agent": {"a": "Forged/9"}},
        {"ip": "", "user_agent": None, "remote_addr": "192.0.2.66", "$browser": "Forged/9"},
    ],
    ids=",".join,
)
@pytest.mark.parametrize("agent", ["Agent/1.0", None], ids=["an agent", "no agent"])
def test_who_the_visitor_is_cannot_be_claimed_in_other_words(
    queue: PageQueue, claim: dict[str, object], agent: str | None
) -> None:
    events = [an_event(**claim), an_event(fingerprint="fp", **claim)]

    collect(events, user_agent=agent)

    without, with_fingerprint = queue.events
    assert "ip" not in without
    assert with_fingerprint["ip"] == SOURCE_IP
    assert [it.get("user_agent") for it in queue.events] == [agent, agent]
    assert not [body for body in queue.bodies if "192.0.2.66" in body or "Forged" in body]


def test_how_long_ago_an_event_was_is_its_time_and_goes_no_further(
    queue: PageQueue, log: io.StringIO
) -> None:
    before = datetime.now(UTC)
    ages: list[object] = [0, 7200, -5, "x", 10**400]
    collect([an_event(amount=5, seconds_ago=age) for age in ages])
    after = datetime.now(UTC)

    times = [datetime.fromisoformat(event["event_time"]) for event in queue.events]
    for age, time in zip([0, 7200, 0, 0, 0], times, strict=True):
        assert before - timedelta(seconds=age + 1) < time <= after - timedelta(seconds=age)
    assert not [body for body in queue.bodies if "seconds_ago" in body]
    assert {line["message"] for line in outcomes_in(log)} == {"ingest.accepted"}


@pytest.mark.parametrize("name", ["data", "events", "batch"])
def test_the_array_in_another_apis_batch_is_read(queue: PageQueue, name: str) -> None:
    status, _, _ = collect({name: [an_event(order_id="1"), an_event(order_id="2")]})

    assert (status, len(queue.bodies)) == (202, 2)
    assert collect({name: [{}] * 21})[0] == 413


def test_the_idempotency_key_header_is_the_events_key(queue: PageQueue) -> None:
    collect(an_event(), idempotency_key='"key-1"')
    collect(an_event(idempotency_key="key-1"))

    one, other = (json.loads(body)["event_id"] for body in queue.bodies)
    assert one == other
    assert collect(an_event(idempotency_key="key-2"), idempotency_key="key-1")[0] == 422
    assert collect([an_event()], idempotency_key="key-1")[0] == 422
    assert len(queue.bodies) == 2


def test_what_the_deployment_passes_on_is_passed_on_for_pages_too(
    queue: PageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSED_ON_FIELDS", "currency,profile_field_*")

    collect(an_event(currency="EUR", profile_field_30=True, profile_fields=1))

    assert queue.events[0].items() >= {"currency": "EUR", "profile_field_30": True}.items()
    assert "profile_fields" not in queue.events[0]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(gzip.compress(json.dumps(an_event()).encode()), 202, id="an event"),
        pytest.param(gzip.compress(b" " * KIBIBYTE**2 * 16), 413, id="a bomb"),
        pytest.param(gzip.compress(json.dumps(an_event()).encode())[:-1], 400, id="cut off"),
    ],
)
def test_a_page_may_send_gzip(queue: PageQueue, body: bytes, status: int) -> None:
    answered, headers, _ = collect(body, content_encoding="gzip")

    assert answered == status
    assert headers["access-control-allow-origin"] == ORIGIN
    assert len(queue.bodies) == (1 if status == 202 else 0)


# --- A visitor's share ------------------------------------------------------------------------


@pytest.fixture
def _ten_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISITOR_EVENTS_PER_MINUTE", "10")


@pytest.mark.usefixtures("_ten_a_minute")
def test_an_address_that_sends_more_than_its_share_is_told_when_to_come_back(
    queue: PageQueue, log: io.StringIO
) -> None:
    collect([an_event(order_id=str(number), amount=5) for number in range(10)])

    status, headers, body = collect([an_event(order_id="a"), an_event(order_id="b")])

    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 12
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-expose-headers"] == "Retry-After"
    assert body.keys() == {"message"}
    assert len(queue.bodies) == 10
    assert lines_in(log)[-1]["message"] == "ingest.limited"
    assert SOURCE_IP not in log.getvalue()
    assert metrics_in(log.getvalue()) == {"Accepted": 10, "Limited": 2}


@pytest.mark.usefixtures("_ten_a_minute")
def test_a_share_grows_again_while_the_function_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, monotonic = Clock(), Clock()
    monkeypatch.setattr(ingest, "Stopwatch", lambda: Stopwatch(wall.now, monotonic.now))
    before = [collect([{}] * 10)[0] for _ in range(2)]

    wall.time += 600

    assert before == [422, 429]
    assert collect([{}] * 10)[0] == 422


@pytest.mark.usefixtures("_ten_a_minute")
def test_another_address_has_a_share_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXY_HOPS", "1")

    def post_from(address: str) -> int:
        return collect([{}] * 10, x_forwarded_for=f"{address}, {SOURCE_IP}")[0]

    assert [post_from("198.51.100.1"), post_from("198.51.100.2")] == [422, 422]
    assert [post_from("198.51.100.1"), post_from("198.51.100.2")] == [429, 429]


@pytest.mark.usefixtures("_ten_a_minute")
def test_a_service_is_not_counted_with_the_pages(queue: PageQueue) -> None:
    queue.url = "events"
    request = http_request([an_event(order_id=str(number)) for number in range(50)])

    answer: Any = ingest.handler(request, FakeLambdaContext())  # type: ignore[arg-type]

    assert answer["statusCode"] == 202


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 202), (20, 202), (21, 413)])
def test_an_array_holds_up_to_20_events(queue: PageQueue, count: int, status: int) -> None:
    answered, headers, _ = collect([an_event(order_id=str(n)) for n in range(count)])

    assert answered == status
    assert headers["access-control-allow-origin"] == ORIGIN
    assert len(queue.bodies) == (count if status == 202 else 0)


def padded(size: int) -> str:
    least = json.dumps(an_event())
    return least + " " * (size - len(least))


@pytest.mark.parametrize(
    ("size", "status"), [(64 * KIBIBYTE, 202), (64 * KIBIBYTE + 1, 413), (KIBIBYTE**2, 413)]
)
def test_a_body_holds_up_to_64_kib(size: int, status: int) -> None:
    assert collect(padded(size))[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param(ORIGIN, 413, id="too large"),
        pytest.param("https://evil.example", 403, id="a stranger's"),
    ],
)
def test_a_body_that_is_not_taken_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, origin: str, status: int
) -> None:
    monkeypatch.setattr(jsontext, "parse_each", lambda _: pytest.fail("it was parsed"))

    assert collect(padded(KIBIBYTE**2), origin=origin)[0] == status


NASTY = [
    pytest.param(None, 400, id="no body"),
    pytest.param("", 400, id="an empty body"),
    pytest.param('{"event_name"', 400, id="half of it"),
    pytest.param("[" * 60_000, 400, id="deep arrays"),
    pytest.param('{"a":' * 10_000 + "1" + "}" * 10_000, 400, id="deep objects"),
    pytest.param(b'{"event_name": "\xff\xfe"}', 400, id="invalid UTF-8"),
    pytest.param('{"email": "a@example.com", "email": "b@example.com"}', 422, id="a key twice"),
    pytest.param("9" * 60_000, 422, id="an endless number"),
    pytest.param("event_name=purchase", 400, id="a form"),
    pytest.param('"purchase"', 422, id="text"),
    pytest.param([[]], 422, id="an array in an array"),
    pytest.param({f"f{n}": 1 for n in range(10_000)}, 413, id="10,000 fields"),
    pytest.param({f"{n:x}": 1 for n in range(6_000)}, 422, id="as many fields as fit"),
    pytest.param([{}] * 20, 422, id="20 that are empty"),
    pytest.param({"event_name": {"$ne": None}, "email": ["x"]}, 422, id="other types"),
]


@pytest.mark.parametrize(("body", "status"), NASTY)
def test_what_is_no_event_is_refused_briefly_and_the_page_may_read_why(
    queue: PageQueue, body: object, status: int
) -> None:
    answered, headers, answer = collect(body)

    assert answered == status
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["vary"] == "Origin"
    assert len(json.dumps(answer)) < 8 * KIBIBYTE
    assert queue.bodies == []


# --- What is answered, logged and counted -----------------------------------------------------


def test_an_allowed_page_may_read_that_the_queue_is_away(queue: PageQueue) -> None:
    queue.is_away = True

    status, headers, _ = collect(an_event())

    assert status == 503
    assert headers["access-control-allow-origin"] == ORIGIN
    assert int(headers["retry-after"]) > 0


def test_warnings_are_counted_and_logged_by_field_name(queue: PageQueue, log: io.StringIO) -> None:
    odd = {"email": "Grace <grace@example.com>", "of_grace": 1, "eventName": "purchase"}
    spoilt = {"event_name": "bought", "email": "x@example.com", "phone": {"of": "grace"}}

    _, _, body = collect([odd, an_event(amount=5), spoilt])

    assert len(lines_in(log)) == 1
    warned = [line for line in outcomes_in(log) if line["message"] == "ingest.warned"]
    assert [line["fields"] for line in warned] == [["(other)", "amount", "email"], ["phone"]]
    assert [line.get("event_id") for line in warned] == [body["results"][0]["event_id"], None]
    assert "grace" not in log.getvalue()
    assert metrics_in(log.getvalue()) == {"Accepted": 2, "Rejected": 1, "Warned": 2}
    assert len(queue.bodies) == 2


GRACE = {
    "email": "grace.murray@example.com",
    "full_name": "Grace Murray",
    "fingerprint": "fp_grace",
    "url": "https://shop.example.com/?grace",
    "idempotency_key": "key-of-grace",
}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"event_name": "purchase", **GRACE}, id="accepted"),
        pytest.param({"event_name": "grace", **GRACE, "grace": 1}, id="invalid"),
        pytest.param([{"event_name": "purchase", **GRACE}, GRACE, "grace"], id="an array"),
        pytest.param('{"email": "grace@example.com"', id="no JSON"),
        pytest.param("grace" * 20_000, id="too large"),
    ],
)
@pytest.mark.parametrize("origin", [ORIGIN, "https://grace.example"])
def test_nothing_of_the_body_or_the_connection_is_logged(
    body: object, origin: str, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    collect(body, origin=origin, user_agent="Agent-of-Grace", referer="https://grace.example/")

    captured = capfd.readouterr()
    written = (log.getvalue() + captured.out + captured.err).lower()
    for trace in ("grace", "murray", SOURCE_IP, "shop.example.com"):
        assert trace not in written


def test_the_script_is_served_to_every_page_and_may_be_kept() -> None:
    request = http_request(method="GET", path="/client.js", key=None)

    answer: Any = ingest.handler(request, FakeLambdaContext())  # type: ignore[arg-type]

    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert answer["statusCode"] == 200
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert "max-age" in headers["cache-control"]
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert "cometlyForwarder" in answer["body"]


# --- When it is our fault ---------------------------------------------------------------------


def test_a_page_can_read_the_answer_to_a_defect_of_ours(queue: PageQueue, log: io.StringIO) -> None:
    queue.defect = LookupError("ada@example.com")

    status, headers, body = collect(an_event())

    assert status == 500
    assert headers["access-control-allow-origin"] == ORIGIN
    assert body == {"message": "Something went wrong here; please try again."}
    [line] = lines_in(log)
    assert line["message"] == "ingest.crashed"
    assert "LookupError" in line["reason"]
    assert "ada@example.com" not in log.getvalue()


def test_settings_that_cannot_be_read_are_answered_500(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    monkeypatch.delenv("EVENT_QUEUE_URL")

    status, _, body = collect(an_event())

    assert status == 500
    assert "again" in body["message"]
    assert lines_in(log)[0]["message"] == "ingest.crashed"
