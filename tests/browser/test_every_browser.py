"""What has to work in every engine: the same tests in Chromium, Firefox and WebKit.

A wrong clock is the page's: `Date.now`, which is all that the script asks for the time.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.browser.drivers import Driver, Tab, until
from tests.browser.visit import (
    FINGERPRINT,
    KEPT,
    TOKEN,
    WATCHED,
    WITH_PIXEL,
    Fields,
    Visit,
    new_order,
)

EMAIL = "ada@example.com"
HOUR, DAY = 3600, 86400
NOTHING_IS_KEPT = f"!{KEPT}.length"


@pytest.fixture
def tab(driver: Driver) -> Iterator[Tab]:
    with driver.visitor() as it:
        yield it


def start_tracking(tab: Tab, name: str, **fields: Any) -> None:
    tab.evaluate(f"void cometlyForwarder.track('{name}', {json.dumps(fields)})")


def kept(tab: Tab) -> list[Fields]:
    events: list[Fields] = tab.evaluate(f"{KEPT}.map((key) => JSON.parse(localStorage[key]).e)")
    return events


def clock(seconds: int) -> str:
    """Return what sets the clock of a page that much too far ahead; `window.ahead` changes it."""
    return f"""<script>
      window.ahead = {seconds * 1000};
      const right = Date.now;
      Date.now = () => right() + ahead;
    </script>"""


def age_of(event: Fields) -> float:
    """Return how many seconds ago an event was, by the clock of this machine."""
    return time.time() - datetime.fromisoformat(event["event_time"]).timestamp()


def test_an_event_tells_who_it_was_and_where(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write(path="/lamp") + "?color=green")

    assert tab.evaluate("cometlyForwarder.track('view_content', { amount: 89 })") is True

    event = visit.received_one()
    assert event.pop("idempotency_key")
    assert age_of({"event_time": event.pop("event_time")}) < 60
    assert event == {
        "event_name": "view_content",
        "amount": 89,
        "comet_token": TOKEN,
        "fingerprint": FINGERPRINT,
        "ip": "127.0.0.1",
        "user_agent": tab.evaluate("navigator.userAgent"),
        "url": f"{visit.site.url}/lamp?color=green",
    }


@pytest.mark.parametrize(
    "head", [pytest.param(WITH_PIXEL, id="known at once"), pytest.param("", id="still waiting")]
)
def test_a_purchase_survives_that_the_page_is_left_at_once(
    visit: Visit, tab: Tab, head: str
) -> None:
    order = new_order()
    buying = f"""<script>function buy() {{
      cometlyForwarder.track('purchase', {{ email: '{EMAIL}', order_id: '{order}', amount: 89 }});
      location.href = '/thanks';
    }}</script>"""
    visit.write_plain("<h1>Thanks</h1>", path="/thanks")
    tab.goto(visit.write(buying, head=head))

    tab.evaluate("void setTimeout(buy)")
    until(tab, "location.pathname == '/thanks'")

    event = visit.received_one()
    assert (event["order_id"], event["amount"], event["email"]) == (order, 89, EMAIL)


def test_an_event_is_sent_again_with_the_same_key_when_told(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write(head=WATCHED + WITH_PIXEL))
    with visit.functions.without("ingest", "sqs:SendMessage"):
        start_tracking(tab, "add_to_cart")
        [refused] = until(tab, "posts.length && posts")
        [waiting] = kept(tab)

    _, taken = until(tab, "posts.length > 1 && posts")

    (status, pause, then), (later_status, _, later) = refused, taken
    assert (status, later_status) == (503, 202)
    assert later - then >= 1000 * pause > 0
    assert visit.received_one()["idempotency_key"] == waiting["idempotency_key"]
    until(tab, NOTHING_IS_KEPT)


def test_the_next_page_sends_what_was_kept(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write(head="", path="/bare"))
    start_tracking(tab, "view_content")
    tab.goto(visit.write_plain("<h1>Thanks</h1>", path="/thanks"))
    [waiting] = kept(tab)

    tab.goto(visit.write(path="/next"))

    until(tab, NOTHING_IS_KEPT)
    event = visit.received_one()
    assert event["idempotency_key"] == waiting["idempotency_key"]
    assert (event["comet_token"], event["url"]) == (TOKEN, f"{visit.site.url}/bare")


def test_the_same_call_twice_is_one_event(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write())

    answers = tab.evaluate(
        "Promise.all([1, 2].map(() => cometlyForwarder.track('add_to_cart', { amount: 89 })))"
    )

    assert answers == [True, True]
    visit.received_one()


def test_a_refused_event_is_not_kept(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write())

    assert tab.evaluate(f"cometlyForwarder.track('misspelled', {{ email: '{EMAIL}' }})") is False

    assert kept(tab) == []
    assert visit.sandbox.events() == []


EVENT = json.dumps({"event_name": "lead_generated", "email": EMAIL})


def test_a_beacon_may_be_json(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write_plain(""))

    assert tab.evaluate(f"""navigator.sendBeacon(
      '{visit.api_url}/collect', new Blob(['{EVENT}'], {{ type: 'application/json' }}),
    )""")

    assert visit.received_one()["email"] == EMAIL


def test_a_fetch_with_credentials_may_read_its_answer(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write_plain(""))

    status, answer = tab.evaluate(f"""fetch('{visit.api_url}/collect', {{
      method: 'POST',
      credentials: 'include',
      headers: {{
        'Content-Type': 'application/json',
        'Idempotency-Key': '{uuid.uuid4()}',
        'X-Requested-With': 'XMLHttpRequest',
      }},
      body: '{EVENT}',
    }}).then(async (answer) => [answer.status, await answer.json()])""")

    assert status == 202
    assert answer["event_id"]
    assert visit.received_one()["email"] == EMAIL


FIELDS = f"{{ email: '{EMAIL}', url: 'https://shop.example.com' }}"
SENDING = f"cometlyForwarder.track('lead_generated', {FIELDS})"


def test_a_sandboxed_frame_is_let_in_where_null_is_allowed(visit: Visit, tab: Tab) -> None:
    tab.goto(visit.write_with_a_frame(SENDING))

    heard = until(tab, "window.heard?.posts.length && heard")

    assert (heard["origin"], heard["storage"]) == ("null", "SecurityError")
    assert [status for status, *_ in heard["posts"]] == [202]
    event = visit.received_one()
    assert (event["email"], event["comet_token"], event["url"]) == (
        EMAIL,
        TOKEN,
        "https://shop.example.com",
    )


def test_a_page_of_a_subdomain_is_let_in(visit: Visit, tab: Tab) -> None:
    origin = visit.site.named("b.a.shop.localhost")
    visit.write(path="/lamp")
    tab.goto(f"{origin}/lamp")

    assert tab.evaluate("cometlyForwarder.track('view_content')") is True

    assert visit.received_one()["url"] == f"{origin}/lamp"


def test_a_page_of_another_origin_is_kept_out(visit: Visit, tab: Tab) -> None:
    visit.write(head=WATCHED + WITH_PIXEL, path="/elsewhere")
    tab.goto(f"{visit.site.named('shop.localhost')}/elsewhere")

    start_tracking(tab, "lead_generated", email=EMAIL)

    assert until(tab, "posts.length && posts")[0] == ["TypeError"]
    visit.queues.until_all_is_settled()
    assert visit.sandbox.events() == []


WRONG = [pytest.param(3 * DAY, id="3 days ahead"), pytest.param(-400 * DAY, id="400 days behind")]


@pytest.mark.parametrize("ahead", WRONG)
def test_a_wrong_clock_does_not_move_an_event(visit: Visit, tab: Tab, ahead: int) -> None:
    tab.goto(visit.write(head=clock(ahead) + WITH_PIXEL))

    assert tab.evaluate("cometlyForwarder.track('view_content')") is True

    assert abs(age_of(visit.received_one())) < 60


@pytest.mark.parametrize("ahead", WRONG)
def test_a_wrong_clock_does_not_move_a_late_event(visit: Visit, tab: Tab, ahead: int) -> None:
    tab.goto(visit.write(head=clock(ahead)))
    start_tracking(tab, "view_content")

    tab.goto(visit.write(head=clock(ahead + 2 * HOUR) + WITH_PIXEL, path="/later"))

    assert abs(age_of(visit.received_one()) - 2 * HOUR) < 60


@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(-400 * DAY, id="put back"),
        pytest.param(DAY, id="put on"),
    ],
)
def test_a_clock_that_is_set_between_two_pages_loses_no_event(
    visit: Visit, tab: Tab, ahead: int
) -> None:
    tab.goto(visit.write(head=""))
    start_tracking(tab, "view_content")

    tab.goto(visit.write(head=clock(ahead) + WITH_PIXEL, path="/later"))

    event = visit.received_one()
    assert abs(age_of(event) - max(0, ahead)) < 60  # the script cannot know that it was set


@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(-400 * DAY, id="put back"),
        pytest.param(400 * DAY, id="put on"),
    ],
)
def test_a_clock_that_is_set_under_a_page_loses_no_event(
    visit: Visit, tab: Tab, ahead: int
) -> None:
    tab.goto(visit.write(head=clock(0)))
    start_tracking(tab, "view_content")

    tab.evaluate(f"window.ahead = {ahead * 1000}")
    until(tab, "new Promise((done) => setTimeout(done, 1500, true))")  # the script has looked
    tab.evaluate("window.cometToken = 'token-1'")

    assert visit.received_one()["comet_token"] == TOKEN
