"""What the script does in a real Chromium, as the sandbox behind the stack sees it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from playwright.sync_api import BrowserContext, Page, Response, Route, expect

from local.stack.checkout import Checkout
from tests.browser.visit import (
    FINGERPRINT,
    KEPT,
    TOKEN,
    WITH_PIXEL,
    Line,
    Visit,
    kept,
    new_order,
    start_tracking,
    track,
    until_nothing_is_kept,
    warnings_of,
)

EMAIL = "ada@example.com"


@pytest.fixture
def page(visitor: BrowserContext) -> Page:
    return visitor.new_page()


def test_an_event_tells_who_it_was_and_where(visit: Visit, page: Page) -> None:
    page.goto(visit.write(path="/lamp") + "?color=green")

    with page.expect_request("**/collect") as sent:
        # Whose address and agent it is, no page can say.
        assert track(page, "view_content", amount=89, ip="203.0.113.9", user_agent="Forged/1.0")

    assert sent.value.headers["content-type"].startswith("text/plain")  # which needs no preflight
    event = visit.received_one()
    assert event.pop("idempotency_key")
    assert event.pop("event_time")
    assert event == {
        "event_name": "view_content",
        "amount": 89,
        "comet_token": TOKEN,
        "fingerprint": FINGERPRINT,
        "ip": "127.0.0.1",
        "user_agent": page.evaluate("navigator.userAgent"),
        "url": f"{visit.site.url}/lamp?color=green",
    }


@pytest.mark.parametrize("blank", ["idempotency_key", "order_id", "order_name"])
def test_what_is_blank_is_no_identity(visit: Visit, page: Page, blank: str) -> None:
    line = Line(page)
    page.goto(visit.write())

    assert track(page, "view_content", **{blank: " "})

    assert line.events()[0]["idempotency_key"].strip()
    visit.received_one()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"order_id": "O-1"}, None, id="none with an order id"),
        pytest.param({"order_name": "#1001"}, None, id="none with an order name"),
        pytest.param(
            {"order_id": "O-1", "idempotency_key": "meta-1"}, "meta-1", id="the page's own"
        ),
    ],
)
def test_the_script_makes_no_key_where_the_event_has_an_identity(
    visit: Visit, page: Page, given: dict[str, str], expected: str | None
) -> None:
    page.goto(visit.write())

    assert track(page, "purchase", **given)

    assert visit.received_one().get("idempotency_key") == expected


def test_an_event_of_nobody_waits_for_a_page_that_knows_the_visitor(
    visit: Visit, page: Page
) -> None:
    page.goto(visit.write(head="", path="/bare"))
    start_tracking(page, "view_content")
    visit.leave(page)
    assert [event["event_name"] for event in kept(page)] == ["view_content"]
    page.evaluate(TWO_HOURS_AGO)
    happened = time.time() - 2 * 3600

    page.goto(visit.write(path="/next"))

    event = visit.received_one()
    assert event["comet_token"] == TOKEN
    assert event["url"].endswith("/bare")
    assert abs(datetime.fromisoformat(event["event_time"]).timestamp() - happened) < 60


TWO_HOURS_AGO = f"""() => {{
  const [key] = {KEPT};
  const item = JSON.parse(localStorage[key]);
  item.at -= 2 * 3600e3;
  localStorage[key] = JSON.stringify(item);
}}"""


SLOW = """<script>
  window.cometToken = () => 'token-1';
  window.cometFingerprint = () => new Promise((done) => setTimeout(done, 8000, 'fingerprint-1'));
</script>"""
LATE = """<script>setTimeout(() => {
  window.cometToken = 'token-1';
  window.cometFingerprint = Promise.resolve('fingerprint-1');
}, 1500)</script>"""
BLOCKED = "<script src='http://127.0.0.1:9/pixel.js'></script>"
BROKEN = """<script>
  window.cometToken = () => { throw new Error('broken'); };
  window.cometFingerprint = () => Promise.reject(new Error('broken'));
</script>"""


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(SLOW, (TOKEN, None, None), id="slow: without the fingerprint"),
        pytest.param(LATE, (TOKEN, FINGERPRINT, "127.0.0.1"), id="late: with everything"),
        pytest.param(BROKEN, (None, None, None), id="broken: by the e-mail alone"),
        pytest.param(BLOCKED, (None, None, None), id="taken by an ad blocker: just so"),
    ],
)
def test_an_event_waits_for_the_pixel_but_not_for_long(
    visit: Visit, page: Page, head: str, expected: tuple[str | None, ...]
) -> None:
    page.goto(visit.write(head=head))

    assert track(page, "lead_generated", email=EMAIL)

    event = visit.received_one()
    assert event["email"] == EMAIL
    assert tuple(event.get(name) for name in ("comet_token", "fingerprint", "ip")) == expected


def test_a_clock_that_is_put_back_does_not_hold_an_event_up(visit: Visit, page: Page) -> None:
    page.goto(visit.write(head=SLOW))

    page.evaluate(f"""() => {{
      cometlyForwarder.track('purchase', {{ email: '{EMAIL}', order_id: 'ORD-1' }});
      const right = Date.now;
      Date.now = () => right() - 86400e3;
    }}""")

    assert visit.received_one()["order_id"] == "ORD-1"


def buying(order: str) -> str:
    return f"""<button onclick="
      cometlyForwarder.track('purchase', {{email: '{EMAIL}', order_id: '{order}', amount: 89}});
      location.href = '/thanks'">Buy</button>"""


@pytest.mark.parametrize(
    "head", [pytest.param(WITH_PIXEL, id="known at once"), pytest.param(SLOW, id="still waiting")]
)
@pytest.mark.parametrize("script", [True, False], ids=["to one with the script", "to a plain one"])
def test_a_purchase_survives_that_the_page_is_left_at_once(
    visit: Visit, page: Page, head: str, *, script: bool
) -> None:
    (visit.write if script else visit.write_plain)("<h1>Thanks</h1>", path="/thanks")
    order = new_order()
    page.goto(visit.write(buying(order), head=head))

    page.click("button")
    page.wait_for_url("**/thanks")

    if script:
        until_nothing_is_kept(page)
    event = visit.received_one()
    assert (event["order_id"], event["amount"], event["email"]) == (order, 89, EMAIL)


def test_what_was_tracked_offline_is_sent_once_when_the_line_is_back(
    visit: Visit, visitor: BrowserContext, page: Page
) -> None:
    page.goto(visit.write(head=WITH_PIXEL + ONLY_WHEN_TOLD))
    visitor.set_offline(offline=True)
    with page.expect_event("requestfailed"):
        start_tracking(page, "add_to_cart")
    [waiting] = kept(page)

    visitor.set_offline(offline=False)

    until_nothing_is_kept(page)
    assert visit.received_one()["idempotency_key"] == waiting["idempotency_key"]


ONLY_WHEN_TOLD = "<script>window.setInterval = () => 0</script>"


def test_the_next_page_sends_what_was_tracked_offline(
    visit: Visit, visitor: BrowserContext, page: Page
) -> None:
    page.goto(visit.write())
    order = new_order()
    visitor.set_offline(offline=True)
    start_tracking(page, "purchase", order_id=order)
    page.wait_for_function(f"{KEPT}.length")
    page.close(run_before_unload=False)
    visitor.set_offline(offline=False)

    page = visitor.new_page()
    page.goto(visit.write(path="/next"))

    assert visit.received_one()["order_id"] == order


FORBIDDEN = """<script>Object.defineProperty(window, 'localStorage', {
  get() { throw new DOMException('no', 'SecurityError'); } })</script>"""
FULL = """<script>
  for (let size = 1 << 22; size; size >>= 1)
    for (const n of [1, 2, 3])
      try { localStorage['full-' + size + n] = 'x'.repeat(size); } catch {}
</script>"""


@pytest.mark.parametrize(
    "head", [pytest.param(FORBIDDEN, id="forbidden"), pytest.param(FULL, id="full")]
)
def test_an_event_needs_no_storage(visit: Visit, page: Page, head: str) -> None:
    page.goto(visit.write(head=head + WITH_PIXEL))

    assert track(page, "view_content")

    assert visit.received_one()["comet_token"] == TOKEN


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param("navigator.sendBeacon = () => false", id="a beacon is refused"),
        pytest.param("delete Navigator.prototype.sendBeacon", id="there are no beacons"),
    ],
)
def test_without_storage_and_beacons_what_waits_leaves_by_fetch(
    visit: Visit, page: Page, pieces: str
) -> None:
    page.goto(visit.write(head=f"{FORBIDDEN}<script>{pieces}</script>"))
    order = new_order()
    start_tracking(page, "purchase", order_id=order, email=EMAIL)

    visit.leave(page)

    assert visit.received_one()["order_id"] == order


def test_without_storage_what_failed_leaves_with_the_page(visit: Visit, page: Page) -> None:
    order, line = new_order(), Line(page)
    page.goto(visit.write(head=FORBIDDEN + WITH_PIXEL))
    line.answer(503, Retry_After="60")
    with page.expect_response("**/collect"):
        start_tracking(page, "purchase", order_id=order)

    visit.leave(page)

    assert visit.received_one()["order_id"] == order


def test_a_page_that_empties_the_storage_loses_no_event(visit: Visit, page: Page) -> None:
    page.goto(visit.write(head=""))
    start_tracking(page, "purchase", order_id=new_order(), email=EMAIL)

    page.evaluate("localStorage.clear()")

    assert visit.received_one()["email"] == EMAIL


def test_a_page_that_comes_back_leaves_to_others_what_it_handed_over(
    visit: Visit, page: Page
) -> None:
    line = Line(page)
    page.goto(visit.write(head=""))
    start_tracking(page, "view_content")
    page.evaluate("dispatchEvent(new Event('pagehide'))")  # into the back/forward cache
    page.evaluate("localStorage.clear()")  # the next page has sent it

    page.evaluate("dispatchEvent(new Event('pageshow')); window.cometToken = 'token-1'")

    page.wait_for_timeout(5000)  # longer than an event waits for the pixel
    assert line.sent == []


def test_what_nobody_can_read_does_not_block_what_lies_behind_it(visit: Visit, page: Page) -> None:
    page.goto(visit.write(head="", path="/bare"))
    start_tracking(page, "view_content")
    visit.leave(page)
    page.evaluate("""['{', 'null', '1', '{}'].forEach((text, n) => {
      localStorage['cometlyForwarder.' + n] = text;
    })""")

    page.goto(visit.write(path="/next"))

    until_nothing_is_kept(page)
    assert visit.received_one()["url"].endswith("/bare")


def test_when_too_much_waits_an_order_is_the_last_to_give_way(
    visit: Visit, visitor: BrowserContext, page: Page
) -> None:
    page.goto(visit.write())
    visitor.set_offline(offline=True)
    order = new_order()
    start_tracking(page, "purchase", order_id=order)
    for amount in range(54):
        start_tracking(page, "view_content", amount=amount)

    waiting = kept(page)

    assert len(waiting) == 50
    assert order in [event.get("order_id") for event in waiting]
    visitor.set_offline(offline=False)
    events = visit.received(55)  # the page remembers what the storage could not hold
    assert len(events) == 55


@pytest.mark.parametrize("status", [401, 403, 404, 408, 409])
def test_an_answer_that_says_nothing_of_the_event_does_not_end_it(
    visit: Visit, page: Page, status: int
) -> None:
    line = Line(page)
    line.answer(status)
    page.goto(visit.write())

    assert track(page, "view_content")

    first, second = line.events()
    assert visit.received_one()["idempotency_key"] == first["idempotency_key"]
    assert first["idempotency_key"] == second["idempotency_key"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_ends_the_event(visit: Visit, page: Page, status: int) -> None:
    line = Line(page)
    line.answer(status)
    page.goto(visit.write())

    assert track(page, "view_content") is False

    assert kept(page) == []
    assert len(line.sent) == 1


def test_an_event_of_a_visitor_who_sent_too_much_is_kept_and_sent_when_told(
    visit: Visit, page: Page
) -> None:
    page.goto(visit.write())
    with visit.functions.with_variable("ingest", "VISITOR_EVENTS_PER_MINUTE", "12"):
        visit.send_nothing_valid(times=12)
        with page.expect_response("**/collect") as refused:
            start_tracking(page, "add_to_cart")
        assert refused.value.status == 429
        [waiting] = kept(page)

        with page.expect_response("**/collect") as taken:
            pass
        event = visit.received_one()

    assert_that_it_waited(refused.value, taken.value)
    assert event["idempotency_key"] == waiting["idempotency_key"]
    until_nothing_is_kept(page)


def assert_that_it_waited(refused: Response, taken: Response) -> None:
    pause = taken.request.timing["startTime"] - refused.request.timing["startTime"]
    assert pause >= 1000 * int(refused.headers["retry-after"])


def test_an_order_name_alone_is_known_to_cometly_at_least(visit: Visit, page: Page) -> None:
    name = new_order()
    page.goto(visit.write(head=""))
    start_tracking(page, "purchase", order_name=name, email=EMAIL)

    page.goto(visit.write(path="/thanks"))

    until_nothing_is_kept(page)
    visit.received(2)
    booked = [event for event in visit.sandbox.events() if event["duplicate_of"] is None]
    assert [event["fields"]["order_name"] for event in booked] == [name]


def test_what_json_cannot_hold_is_told_to_the_developer_alone(visit: Visit, page: Page) -> None:
    warnings = warnings_of(page)
    page.goto(visit.write())

    taken = page.evaluate("cometlyForwarder.track('purchase', { amount: 89n })")

    assert taken is False
    [warning] = warnings
    assert "BigInt" in warning


def test_a_double_click_is_one_event_and_a_later_click_another(visit: Visit, page: Page) -> None:
    page.goto(visit.write("<button onclick=\"cometlyForwarder.track('add_to_cart')\">Add</button>"))

    page.dblclick("button")
    page.wait_for_timeout(1300)
    page.click("button")

    until_nothing_is_kept(page)
    assert [event["event_name"] for event in visit.received(2)] == ["add_to_cart", "add_to_cart"]


def test_two_tabs_send_what_was_left_behind_once(visit: Visit, visitor: BrowserContext) -> None:
    sent: list[str] = []

    def slowly(route: Route) -> None:
        sent.append(route.request.url)
        time.sleep(2)
        route.continue_()

    visitor.route("**/collect", slowly)
    bare = visitor.new_page()
    bare.goto(visit.write(head="", path="/bare"))
    start_tracking(bare, "view_content")
    bare.goto("about:blank")
    address = visit.write(head="")
    tabs = [visitor.new_page(), visitor.new_page()]
    for tab in tabs:
        tab.goto(address)

    for tab in tabs:
        tab.evaluate("window.cometToken = 'token-1'")

    until_nothing_is_kept(tabs[0])
    assert visit.received_one()["url"].endswith("/bare")
    assert len(sent) == 1


def test_a_refused_event_is_dropped_with_one_warning_that_names_nobody(
    visit: Visit, page: Page
) -> None:
    warnings = warnings_of(page)
    page.goto(visit.write())

    assert not track(page, "misspelled", email=EMAIL)
    assert not track(page, "misspelled_again", email=EMAIL)

    assert warnings == ["cometlyForwarder: event refused 422"]
    assert kept(page) == []
    assert visit.sandbox.events() == []


def test_json_of_another_origin_does_not_pass_the_preflight(visit: Visit, page: Page) -> None:
    visit.write_plain("", path="/elsewhere")
    page.goto(f"{visit.site.named('localhost')}/elsewhere")

    status = page.evaluate(POST_JSON, f"{visit.api_url}/collect")

    assert status == "TypeError"
    visit.queues.until_all_is_settled()
    assert visit.sandbox.events() == []


POST_JSON = """(url) => fetch(url, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ event_name: 'lead_generated', email: 'ada@example.com' }),
}).then((answer) => answer.status, (error) => error.name)"""


def test_a_sandboxed_frame_is_kept_out_unless_null_is_allowed(visit: Visit, page: Page) -> None:
    allowed = visit.functions.variable("ingest", "ALLOWED_ORIGINS").split(",")
    others = ",".join(origin for origin in allowed if origin != "null")
    assert len(others.split(",")) == len(allowed) - 1
    sending = f"cometlyForwarder.track('lead_generated', {{ email: '{EMAIL}' }})"

    with visit.functions.with_variable("ingest", "ALLOWED_ORIGINS", others):
        page.goto(visit.write_with_a_frame(sending))
        page.wait_for_function("window.heard?.posts.length")

    assert page.evaluate("heard.posts") == [["TypeError"]]
    visit.queues.until_all_is_settled()
    assert visit.sandbox.events() == []


GUIDE = (Checkout.here().root / "docs" / "browser.md").read_text("utf-8")
[STUB] = re.findall(r"```html\n<script>(.*?)</script>\n<script async", GUIDE, re.DOTALL)
[ENDPOINT] = re.findall(
    r"<script>(\s+window.cometlyForwarder = Object.*?)</script>", GUIDE, re.DOTALL
)
TRACKED = "<script>cometlyForwarder.track('view_content')</script>"


def endpoint_of(visit: Visit) -> str:
    endpoint = re.sub(r"https://.*?/collect", f"{visit.api_url}/collect", ENDPOINT)
    return f"<script>{endpoint}</script>"


def in_an_async_tag(visit: Visit) -> str:
    return f"<script>{STUB}</script>{TRACKED}{visit.tag('async')}"


def pasted(visit: Visit) -> str:
    return f"{endpoint_of(visit)}<script>{visit.script()}</script>{TRACKED}"


def pasted_after_the_stub(visit: Visit) -> str:
    return f"<script>{STUB}</script>{TRACKED}{endpoint_of(visit)}<script>{visit.script()}</script>"


def as_a_module(visit: Visit) -> str:
    return f"<script>{STUB}</script>{TRACKED}{endpoint_of(visit)}{visit.tag('type=module')}"


def under_a_strict_policy(visit: Visit) -> str:
    api = visit.api_url.split("/_aws")[0]
    policy = "default-src 'none'; script-src 'nonce-n1'; require-trusted-types-for 'script'"
    call = "cometlyForwarder.track('view_content', {email: 'ada@example.com'});"
    return (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; connect-src {api}">'
        f"<script nonce=n1>{STUB} {call}</script>{visit.tag('nonce=n1 async')}"
    )


def loaded_twice(visit: Visit) -> str:
    return f"{visit.tag()}{visit.tag()}{TRACKED}"


@pytest.mark.parametrize(
    "head",
    [
        in_an_async_tag,
        pasted,
        pasted_after_the_stub,
        as_a_module,
        under_a_strict_policy,
        loaded_twice,
    ],
    ids=lambda it: it.__name__,
)
def test_every_way_to_put_the_script_into_a_page(
    visit: Visit, page: Page, head: Callable[[Visit], str]
) -> None:
    page.goto(visit.write_plain(WITH_PIXEL + head(visit)))

    assert visit.received_one()["event_name"] == "view_content"


def test_the_stub_may_be_used_like_the_script(visit: Visit, page: Page) -> None:
    early = """<script>
      const { track } = cometlyForwarder;
      window.early = track('view_content').then((taken) => ({ taken }));
    </script>"""

    page.goto(visit.write_plain(f"{WITH_PIXEL}<script>{STUB}</script>{early}{visit.tag('async')}"))

    assert page.evaluate("early") == {"taken": True}
    assert page.evaluate("track('add_to_cart')") is True  # the stub's own, when the script is there
    names = [event["event_name"] for event in visit.received(2)]
    assert names == ["view_content", "add_to_cart"]


def test_a_stub_whose_script_is_blocked_says_no(visit: Visit, page: Page) -> None:
    page.route("**/client.js", lambda route: route.abort())
    page.clock.install()
    page.goto(visit.write_plain(in_an_async_tag(visit)))
    page.evaluate("() => { window.answer = cometlyForwarder.track('purchase'); }")

    page.clock.fast_forward(10_000)

    assert page.evaluate("Promise.race([answer, Promise.resolve('none')])") is False


def as_a_module_alone(visit: Visit) -> str:
    return visit.tag("type=module")


def pasted_alone(visit: Visit) -> str:
    return f"<script>{visit.script()}</script>"


def in_a_bundle(visit: Visit) -> str:
    visit.site.pages["/bundle.js"] = visit.script()
    return "<script src='/bundle.js'></script>"


@pytest.mark.parametrize(
    "head", [as_a_module_alone, pasted_alone, in_a_bundle], ids=lambda it: it.__name__
)
def test_without_an_endpoint_nothing_is_sent_and_nothing_lost(
    visit: Visit, page: Page, head: Callable[[Visit], str]
) -> None:
    warnings, posts = warnings_of(page), list[str]()
    page.on("request", lambda it: posts.append(it.url) if it.method == "POST" else None)
    page.goto(visit.write_plain(WITH_PIXEL + head(visit)))
    start_tracking(page, "lead_generated", email=EMAIL)
    page.wait_for_timeout(1500)

    visit.leave(page)

    assert [event["email"] for event in kept(page)] == [EMAIL]
    assert (posts, warnings) == ([], ["cometlyForwarder: no endpoint"])
    page.goto(visit.write(path="/next"))
    assert visit.received_one()["email"] == EMAIL


def test_the_script_comes_small_and_may_be_cached(visit: Visit, page: Page) -> None:
    with page.expect_response("**/client.js") as loaded:
        page.goto(visit.write())

    headers = loaded.value.all_headers()
    assert headers["content-encoding"] == "gzip"
    assert int(headers["content-length"]) < 2048
    assert "max-age=" in headers["cache-control"]


def test_the_demo_shop_takes_a_person_from_the_lamp_to_the_order(visit: Visit, page: Page) -> None:
    page.goto(visit.shop_url)
    page.click("text=Add to cart")
    page.click("header >> text=Cart")
    page.click("text=Check out")
    page.click("text=Place the order")

    expect(page.locator("#arrived strong").first).to_have_text("purchase")
    expect(page.locator("#arrived strong")).to_have_count(4)
    page.reload()
    visit.queues.until_all_is_settled()
    names = sorted(event["event_name"] for event in visit.received(4))
    assert names == ["add_to_cart", "initiate_checkout", "purchase", "view_content"]
