"""What each answer of Cometly's means, and what the operator sees of it."""

from __future__ import annotations

import pytest

from cometly_forwarder.deliver.verdict import CometlyResponse, Kind, NoResponse, Verdict, judge
from tests.unit.cases import in_one_test

NOW = 1_705_314_600.0  # 2024-01-15T10:30:00Z
MESSAGE = b'{"message": "words"}'
PAGE = b"<html><body>Bad gateway</body></html>"


@in_one_test
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(202, b'{"status": 202, "message": "queued"}', Kind.DELIVERED, id="queued"),
        pytest.param(202, b"{}", Kind.DELIVERED, id="202 without words"),
        pytest.param(202, b"", Kind.TRANSIENT, id="202 of nobody"),
        pytest.param(202, PAGE, Kind.TRANSIENT, id="202 with a page"),
        pytest.param(202, b'["queued"]', Kind.TRANSIENT, id="202 with an array"),
        pytest.param(202, b'{"status": 202', Kind.TRANSIENT, id="202 cut off"),
        pytest.param(202, b'{"message": "\xff"}', Kind.TRANSIENT, id="202 not in UTF-8"),
        pytest.param(202, b"[" * 100_000, Kind.TRANSIENT, id="202 nested deeply"),
        pytest.param(200, MESSAGE, Kind.TRANSIENT, id="200 is undocumented"),
        pytest.param(301, b"", Kind.BLOCKED, id="moved"),
        pytest.param(399, MESSAGE, Kind.BLOCKED, id="the last redirect"),
        pytest.param(400, MESSAGE, Kind.PERMANENT, id="bad request"),
        pytest.param(400, PAGE, Kind.TRANSIENT, id="bad request, says a proxy"),
        pytest.param(401, MESSAGE, Kind.BLOCKED, id="token wrong"),
        pytest.param(403, MESSAGE, Kind.BLOCKED, id="forbidden, or no subscription"),
        pytest.param(403, PAGE, Kind.TRANSIENT, id="forbidden, says a proxy"),
        pytest.param(402, MESSAGE, Kind.BLOCKED, id="payment required"),
        pytest.param(404, MESSAGE, Kind.BLOCKED, id="not found"),
        pytest.param(404, PAGE, Kind.BLOCKED, id="not found, with a page"),
        pytest.param(405, b"", Kind.BLOCKED, id="method, without a body"),
        pytest.param(406, MESSAGE, Kind.TRANSIENT, id="a client error of no known meaning"),
        pytest.param(408, MESSAGE, Kind.TRANSIENT, id="request time-out"),
        pytest.param(409, MESSAGE, Kind.PERMANENT, id="conflict"),
        pytest.param(410, PAGE, Kind.BLOCKED, id="gone"),
        pytest.param(411, b"", Kind.PERMANENT, id="length required"),
        pytest.param(413, b" \n", Kind.PERMANENT, id="too large, with a blank body"),
        pytest.param(413, PAGE, Kind.PERMANENT, id="too large, says a proxy"),
        pytest.param(414, MESSAGE, Kind.PERMANENT, id="address too long"),
        pytest.param(414, PAGE, Kind.TRANSIENT, id="address too long, says a proxy"),
        pytest.param(415, MESSAGE, Kind.PERMANENT, id="media type"),
        pytest.param(422, MESSAGE, Kind.PERMANENT, id="validation"),
        pytest.param(422, PAGE, Kind.TRANSIENT, id="422 with a page"),
        pytest.param(429, MESSAGE, Kind.THROTTLED, id="rate limit"),
        pytest.param(431, MESSAGE, Kind.PERMANENT, id="header too large"),
        pytest.param(431, PAGE, Kind.PERMANENT, id="header too large, says a proxy"),
        pytest.param(499, MESSAGE, Kind.TRANSIENT, id="the last client error"),
        pytest.param(500, MESSAGE, Kind.TRANSIENT, id="server error"),
        pytest.param(503, b"", Kind.TRANSIENT, id="unavailable"),
        pytest.param(599, MESSAGE, Kind.TRANSIENT, id="the last server error"),
        pytest.param(101, b"", Kind.TRANSIENT, id="informational"),
        pytest.param(600, MESSAGE, Kind.TRANSIENT, id="beyond HTTP"),
    ],
)
def test_an_answer_means(status: int, body: bytes, kind: Kind) -> None:
    verdict = judge(CometlyResponse(status, {}, body), NOW)

    assert verdict.kind is kind
    assert verdict.status == status
    assert verdict.reason.startswith(f"HTTP {status}")


def test_no_answer_is_transient_and_keeps_its_reason() -> None:
    assert judge(NoResponse("connect timeout"), NOW) == Verdict(Kind.TRANSIENT, "connect timeout")


def test_a_verdict_carries_the_words_and_the_request_id() -> None:
    answer = CometlyResponse(422, {"request-id": "req-81"}, b'{"message": "The email is wrong."}')

    assert judge(answer, NOW) == Verdict(
        Kind.PERMANENT, "HTTP 422", 422, message="The email is wrong.", request_id="req-81"
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="no body"),
        pytest.param(PAGE, id="a page"),
        pytest.param(b'{"message": {"email": ["wrong"]}}', id="no text"),
        pytest.param(b'{"error": "wrong"}', id="other words"),
        pytest.param(b'["message"]', id="an array"),
    ],
)
def test_where_there_is_no_message_there_is_none_in_the_verdict(body: bytes) -> None:
    assert judge(CometlyResponse(500, {}, body), NOW).message is None


def test_a_long_message_is_cut() -> None:
    verdict = judge(CometlyResponse(422, {}, b'{"message": "%s"}' % (b"x" * 10_000)), NOW)

    assert verdict.message == "x" * 500


@pytest.mark.parametrize(
    ("text", "request_id"),
    [
        pytest.param("r" * 60_000, "r" * 200, id="long"),
        pytest.param("\x00r\x1b[1m\x85-1\u2028", "r[1m-1", id="not printable"),
        pytest.param("\x00" * 60_000 + "r-1", "r-1", id="long, little of it printable"),
        pytest.param(" r-1 ", "r-1", id="blanks around"),
        pytest.param(" ", None, id="blank"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_request_id_is_bounded_and_can_be_read(text: str, request_id: str | None) -> None:
    assert judge(CometlyResponse(422, {"request-id": text}), NOW).request_id == request_id


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(CometlyResponse(302), "redirect", id="redirect"),
        pytest.param(CometlyResponse(200), "not an answer of Cometly's", id="undocumented success"),
        pytest.param(
            CometlyResponse(404, {}, PAGE), "nothing is at this address", id="no endpoint"
        ),
        pytest.param(
            CometlyResponse(403, {}, PAGE), "not an answer of Cometly's", id="a proxy's page"
        ),
    ],
)
def test_a_surprising_answer_is_named_as_such(answer: CometlyResponse, words: str) -> None:
    assert words in judge(answer, NOW).reason


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("30", 30, id="seconds"),
        pytest.param(" 30 ", 30, id="seconds with blanks"),
        pytest.param("0", 0, id="at once"),
        pytest.param("Mon, 15 Jan 2024 10:31:00 GMT", 60, id="a date"),
        pytest.param("Mon, 15 Jan 2024 10:29:00 GMT", 0, id="a date gone by"),
        pytest.param("Monday, 15-Jan-24 10:31:00 GMT", 60, id="a date in an older form"),
    ],
)
def test_retry_after_is_read_in_both_of_its_forms(text: str, seconds: float) -> None:
    assert judge(CometlyResponse(429, {"retry-after": text}), NOW).retry_after == seconds


@in_one_test
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "-5",
        "1.5",
        "1e3",
        "٣٠",
        "1234567890",
        "9" * 10_000,
        "Mon",
        "Mon,",
        ",",
        ":",
        "0 0 0 0",
        "Mon, 15 Jan 2024",
        "Mon, 99 Foo 2024 10:31:00 GMT",
        "Mon, 31 Feb 2024 10:31:00 GMT",
        "Mon, 15 Jan 99999 10:31:00 GMT",
        "Mon, 15 Jan 2024 99:99:99 GMT",
        "\x00",
        "\ud800",
        "Mon, 15 Jan 2024 10:31:00 +999999999999",
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_a_retry_after_that_says_nothing_is_none(text: str) -> None:
    assert judge(CometlyResponse(429, {"retry-after": text}), NOW).retry_after is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1000", 1000),
        (" 0", 0),
        *[(text, None) for text in ("", "many", "-1", "1.5", "1_000", "٣٠")],
    ],
)
def test_the_rate_limit_is_read_from_its_headers(text: str, number: int | None) -> None:
    headers = {"x-ratelimit-limit": text, "x-ratelimit-remaining": text}

    verdict = judge(CometlyResponse(202, headers, b"{}"), NOW)

    assert (verdict.limit, verdict.remaining) == (number, number)


def test_a_date_in_retry_after_is_read_by_the_clock_that_wrote_it() -> None:
    headers = {
        "date": "Fri, 15 Jan 2027 08:00:02 GMT",
        "retry-after": "Fri, 15 Jan 2027 08:00:32 GMT",
    }

    verdict = judge(CometlyResponse(429, headers, b""), NOW + 7)

    assert verdict.retry_after == 30
