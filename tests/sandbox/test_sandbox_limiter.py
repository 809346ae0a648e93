"""Both forms of the minute, on a clock that the test turns."""

import json
import math
from datetime import UTC, datetime
from random import Random

import pytest

from local.sandbox.limiter import Peak, RateLimiter, WindowForm
from local.sandbox.sandbox import Sandbox, TrackResponse, read_request
from local.sandbox.settings import Settings
from tests.sandbox.client import EVENT, HEADERS
from tests.unit.fakes import Clock

# Aligned to the clock's minute.
NOON = datetime(2024, 1, 15, 12, tzinfo=UTC).timestamp()


def admitted(limiter: RateLimiter, *times: float) -> list[bool]:
    return [limiter.admit(NOON + time).admitted for time in times]


def test_a_fixed_minute_starts_afresh_with_the_clock() -> None:
    limiter = RateLimiter(2, "fixed")

    outcome = admitted(limiter, 58, 59, 59.9, 60, 60.1, 60.2)

    assert outcome == [True, True, False, True, True, False]


def test_a_sliding_window_looks_back_60_s_from_any_moment() -> None:
    limiter = RateLimiter(2, "sliding")

    outcome = admitted(limiter, 58, 59, 60, 117.9, 118, 118.9, 119)

    assert outcome == [True, True, False, False, True, False, True]


@pytest.mark.parametrize("form", ["fixed", "sliding"])
def test_obeying_the_wait_exactly_is_enough(form: WindowForm) -> None:
    limiter = RateLimiter(1, form)
    limiter.admit(NOON + 12.3)
    refused = limiter.admit(NOON + 30.7)

    wait_s = math.ceil(refused.retry_after_s)

    assert not limiter.admit(NOON + 30.7 + wait_s - 1).admitted
    assert limiter.admit(NOON + 30.7 + wait_s).admitted


@pytest.mark.parametrize("form", ["fixed", "sliding"])
def test_a_refused_request_takes_no_place(form: WindowForm) -> None:
    limiter = RateLimiter(1, form)

    outcome = admitted(limiter, 0, *range(1, 60), 60)

    assert outcome == [True, *[False] * 59, True]


def test_a_lowered_limit_waits_until_enough_places_are_free() -> None:
    limiter = RateLimiter(3, "sliding")
    admitted(limiter, 0, 10, 20)

    limiter.limit = 1

    assert limiter.admit(NOON + 30).retry_after_s == 50
    assert limiter.peek(NOON + 30).remaining == 0


def test_no_60_s_ever_hold_more_than_a_sliding_limit() -> None:
    limiter, dice, now = RateLimiter(20, "sliding"), Random(1), NOON
    taken: list[float] = []

    for _ in range(5000):
        now += dice.expovariate(1)
        if limiter.admit(now).admitted:
            taken.append(now)

    assert max(sum(start <= t < start + 60 for t in taken) for start in taken) == 20


def test_the_peak_sees_twice_a_fixed_limit_across_the_minute() -> None:
    limiter, peak = RateLimiter(5, "fixed"), Peak()

    for second in (*range(55, 60), *range(60, 65)):
        if limiter.admit(NOON + second).admitted:
            peak.admitted(NOON + second)

    assert peak.most == 10


def post(sandbox: Sandbox) -> TrackResponse:
    headers = {name.lower(): value for name, value in HEADERS.items()}
    body = json.dumps(EVENT).encode()
    return sandbox.process(read_request("POST", headers, body, sandbox.clock()))


@pytest.mark.parametrize(
    ("settings", "retry_after", "wait_s"),
    [
        pytest.param({"window": "fixed"}, "48", 48, id="seconds"),
        pytest.param(
            {"retry_after_form": "date"}, "Mon, 15 Jan 2024 12:01:13 GMT", 60.75, id="date"
        ),
    ],
)
def test_retry_after_is_rounded_up(
    settings: dict[str, str], retry_after: str, wait_s: float
) -> None:
    clock = Clock(NOON + 12.25)
    changes = {"requests_per_minute": 1, **settings}
    sandbox = Sandbox(Settings().changed(changes), clock=clock.now)
    post(sandbox)

    refused = post(sandbox)
    clock.time += wait_s

    assert refused.headers["Retry-After"] == retry_after
    assert post(sandbox).status == 202


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"rate_limit_headers": False}, set()),
        ({"retry_after_form": "none"}, {"X-RateLimit-Limit", "X-RateLimit-Remaining"}),
    ],
    ids=["all", "Retry-After alone"],
)
def test_the_limit_headers_can_be_left_out(settings: dict[str, object], headers: set[str]) -> None:
    changes = {"requests_per_minute": 1, **settings}
    sandbox = Sandbox(Settings().changed(changes), clock=Clock(NOON + 12.25).now)

    answers = [post(sandbox), post(sandbox)]

    assert [answer.status for answer in answers] == [202, 429]
    assert [set(answer.headers) for answer in answers] == [{"Request-Id", *headers}] * 2


def test_the_limit_headers_can_be_absurd() -> None:
    settings = Settings(requests_per_minute=1, rate_limit_headers="absurd")
    sandbox = Sandbox(settings, clock=Clock(NOON + 12.25).now)

    answers = [post(sandbox) for _ in range(20)]

    assert {"twelve", "-7", "NaN"} <= {answer.headers["X-RateLimit-Limit"] for answer in answers}
    assert {"soon", "-5"} <= {answer.headers["Retry-After"] for answer in answers[1:]}


def test_another_window_form_starts_empty_and_keeps_the_peak() -> None:
    sandbox = Sandbox(Settings(requests_per_minute=1), clock=Clock(NOON + 12.25).now)
    post(sandbox)

    sandbox.change({"window": "fixed"})

    assert post(sandbox).status == 202
    assert sandbox.stats()["max_admitted_in_60s"] == 2
