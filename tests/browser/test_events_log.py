"""The Events Log of the sandbox in Chromium, beside the stack whose events it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from playwright.sync_api import BrowserContext, Locator, Page, expect

from local.sandbox.server import RunningSandbox
from local.sandbox.server import running as sandbox_alone
from local.sandbox.settings import DEFAULT_TOKEN
from tests.browser.drivers import Driver, until
from tests.browser.visit import Visit, new_order
from tests.stack.deployed import Deployed, eventually

AS_SENDER = {"Authorization": f"Bearer {DEFAULT_TOKEN}", "Accept": "application/json"}
CONTACT = {"event_name": "contact", "email": "ada@example.com"}
PHONE, DESKTOP = (390, 844), (1280, 900)
# Each control has a name that a screen reader can say, and each id is there once.
UNNAMED = """[...document.querySelectorAll('button, input, select, [role=meter], svg[role=img]')]
  .filter((it) => !(it.getAttribute('aria-label') || it.labels?.length || it.textContent.trim()))
  .map((it) => it.outerHTML)"""
DOUBLE_IDS = """[...document.querySelectorAll('[id]')].map((it) => it.id)
  .filter((id, at, all) => all.indexOf(id) !== at)"""
DANGLING = """['aria-controls', 'aria-labelledby', 'aria-describedby'].flatMap((name) =>
  [...document.querySelectorAll(`[${name}]`)].map((it) => it.getAttribute(name)))
  .filter((id) => !document.getElementById(id))"""

# Text of at least 4.5 to 1 against what is behind it (WCAG 2.2, 1.4.3).
FAINT = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => channels(colour).slice(0, 3).map((it) => it / 255)
    .map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4))
    .reduce((sum, it, at) => sum + it * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (it) => {
    const colour = getComputedStyle(it).backgroundColor;
    return channels(colour)[3] === 0 ? behind(it.parentElement) : colour;
  };
  const isSeen = (it) => it.checkVisibility() && !it.closest('svg, .unseen, .skip')
    && [...it.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  return [...document.body.querySelectorAll('*')].filter(isSeen).map((it) => {
    const [dark, bright] = [light(getComputedStyle(it).color), light(behind(it))]
      .sort((one, other) => one - other);
    return [it.textContent.trim(), (bright + 0.05) / (dark + 0.05)];
  }).filter(([, contrast]) => contrast < 4.5);
})()"""


class EventsLog:
    """The page as somebody sees it."""

    def __init__(self, page: Page, deployed: Deployed) -> None:
        self.page, self.deployed = page, deployed
        self.said: list[str] = []
        page.on("console", lambda it: self.said.append(f"{it.type}: {it.text}"))

    def rows(self) -> Locator:
        return self.page.locator(".row:visible")

    def row(self, text: str) -> Locator:
        return self.page.locator(".row:visible", has_text=text)

    def switch(self, label: str) -> Locator:
        return self.page.get_by_role("switch", name=label)

    def stay_on_for(self, requests: int) -> None:
        """Let a switch end by itself."""
        self.page.get_by_label("for the next", exact=True).check()
        self.page.get_by_label("How many requests").fill(str(requests))

    def story(self) -> Locator:
        return self.page.get_by_role("region", name="The forwarder’s story")

    def post(self, name: str = "purchase", **fields: Any) -> str:
        """Post an event to the forwarder; return its order."""
        order = fields.setdefault("order_id", new_order())
        body = {"event_name": name, "email": "ada@example.com", **fields}
        assert self.deployed.api.post(body).status == 202
        return str(order)

    def booked(self) -> int:
        return len(self.deployed.sandbox.events())

    def post_and_see(self, name: str = "purchase", **fields: Any) -> str:
        order = self.post(name, **fields)
        expect(self.row(order).first).to_be_visible()
        return order


@pytest.fixture
def log(visitor: BrowserContext, visit: Visit, deployed: Deployed) -> Iterator[EventsLog]:
    visit.sandbox.reset()
    page = visitor.new_page()
    log = EventsLog(page, deployed)
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    page.goto(visit.sandbox.stack.plan.cometly_url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    yield log
    page.close()
    visit.sandbox.recover()
    deployed.table.forget_the_gate()
    deployed.queues.purge()
    assert log.said == []


def test_an_event_appears_by_itself_when_it_is_booked(log: EventsLog) -> None:
    order = log.post("purchase", amount="12.50", currency="EUR")
    eventually(log.booked, bool)

    expect(log.row(order)).to_be_visible()

    expect(log.row(order)).to_contain_text("202 booked")
    expect(log.row(order)).to_contain_text("12.5 EUR")
    expect(log.page.locator("#empty")).to_be_hidden()


def test_an_event_opens_to_its_fields_its_masked_headers_and_its_story(log: EventsLog) -> None:
    order = log.post_and_see(full_name="<img src=x onerror=alert(1)>")

    log.row(order).click()

    fields = log.page.get_by_role("region", name="Fields")
    expect(fields).to_contain_text("<img src=x onerror=alert(1)>")
    headers = log.page.get_by_role("region", name="Headers")
    expect(headers).to_contain_text("Bearer ••••")
    expect(headers).not_to_contain_text(log.deployed.stack.plan.token)
    expect(log.story()).to_contain_text("accepted by the API")
    expect(log.story()).to_contain_text("delivered · 1 attempt · HTTP 202")
    assert log.page.locator(".details img").count() == 0


def test_search_and_filters_narrow_the_list(log: EventsLog) -> None:
    mine = log.post_and_see("purchase", email="grace@example.com")
    other = log.post_and_see("lead_generated")

    log.page.get_by_role("searchbox").fill("GRACE@ purchase")
    expect(log.rows()).to_have_count(1)
    expect(log.row(mine)).to_be_visible()
    expect(log.page.locator("#found")).to_have_text("1 of 2 events shown")

    log.page.get_by_role("searchbox").fill("")
    log.page.get_by_role("button", name="Refused").click()
    expect(log.rows()).to_have_count(0)
    log.page.get_by_role("button", name="Booked").click()
    log.page.get_by_label("Status").select_option("202")
    expect(log.row(other)).to_be_visible()


def test_a_duplicate_leads_to_the_event_that_it_repeats(log: EventsLog) -> None:
    log.stay_on_for(1)
    log.switch("cut").click()
    order = log.post()
    first = log.row(order).filter(has_text="booked, no answer")
    expect(first).to_be_visible()
    # The forwarder heard nothing, so it sends the event again; Cometly drops the repetition.
    duplicate = log.row(order).filter(has_text="202 duplicate")
    expect(duplicate).to_be_visible()

    duplicate.click()
    log.page.get_by_role("button", name="the first, at").click()

    expect(first).to_have_attribute("aria-expanded", "true")
    expect(first).to_be_focused()
    expect(log.page.get_by_role("region", name="Duplicates")).to_contain_text("by order_id")


def test_a_switch_changes_the_gauge_and_the_story(log: EventsLog) -> None:
    log.stay_on_for(1)
    log.switch("503").click()
    expect(log.page.locator("#mood")).to_have_text("misbehaves: 503")
    expect(log.page.locator("#switch-503-state")).to_have_text("on for 1 more")

    order = log.post()
    expect(log.row(order).filter(has_text="503 refused")).to_be_visible()

    expect(log.switch("503")).not_to_be_checked()
    expect(log.page.locator("#mood")).to_have_text("answers normally")
    log.row(order).filter(has_text="503 refused").click()
    expect(log.story()).to_contain_text("will be tried again")
    expect(log.row(order).filter(has_text="202 booked")).to_be_visible()
    expect(log.story()).to_contain_text("delivered · 2 attempts")
    expect(log.page.get_by_role("meter")).to_have_attribute("aria-valuenow", "1")


def test_the_limit_is_set_from_the_page(log: EventsLog) -> None:
    limit = log.page.get_by_label("Limit a minute")
    limit.fill("40")
    limit.press("Enter")

    expect(log.page.get_by_role("meter")).to_have_attribute("aria-valuemax", "40")


def test_parked_events_stand_beside_the_log_with_their_reason(log: EventsLog) -> None:
    order = new_order()
    log.deployed.sandbox.fail(kind="status", status=422, times="always", match={"order_id": order})

    log.post(order_id=order)

    parked = log.page.get_by_role("list", name="Parked events")
    expect(parked).to_contain_text(order)
    expect(parked).to_contain_text("HTTP 422")
    expect(log.page.locator("#parked-count")).to_have_text("1")


def test_the_keyboard_alone_is_enough(log: EventsLog) -> None:
    first, second = log.post_and_see(), log.post_and_see()
    keyboard = log.page.keyboard

    keyboard.press("j")
    expect(log.row(second)).to_be_focused()
    keyboard.press("j")
    expect(log.row(first)).to_be_focused()
    assert log.row(first).evaluate("(it) => getComputedStyle(it).outlineStyle") == "solid"
    keyboard.press("Enter")
    expect(log.row(first)).to_have_attribute("aria-expanded", "true")
    keyboard.press("Escape")
    expect(log.row(first)).to_have_attribute("aria-expanded", "false")
    expect(log.row(first)).to_be_focused()
    keyboard.press("k")
    expect(log.row(second)).to_be_focused()

    keyboard.press("/")
    expect(log.page.get_by_role("searchbox")).to_be_focused()
    keyboard.type(f"{first}")
    keyboard.press("Enter")
    expect(log.row(first)).to_be_focused()
    keyboard.press("/")
    keyboard.press("Escape")
    expect(log.rows()).to_have_count(2)


def test_a_page_that_lost_its_sandbox_goes_on_with_the_next_one(log: EventsLog) -> None:
    before = log.post_and_see()
    log.deployed.queues.until_all_is_settled()

    log.deployed.sandbox.stop()
    expect(log.page.get_by_text("reconnecting")).to_be_visible()
    log.deployed.sandbox.start()

    expect(log.page.get_by_text("live", exact=True)).to_be_visible()
    expect(log.row(before)).to_have_count(0)
    log.post_and_see()
    # The browser itself complains of a connection that is refused.
    assert all("net::ERR_" in line for line in log.said)
    log.said.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_everything_has_a_name_and_nothing_runs_off_the_screen(
    log: EventsLog, size: tuple[int, int], scheme: Any, tmp_path: Path
) -> None:
    page = log.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    order = log.post_and_see(comet_token="t" * 300, url=f"https://shop.example.com/{'a' * 500}")
    log.row(order).click()
    expect(log.story()).to_contain_text("accepted by the API")

    page.screenshot(path=tmp_path / f"{size[0]}-{scheme}.png", full_page=True)

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(DOUBLE_IDS) == []
    assert page.evaluate(DANGLING) == []
    assert page.evaluate(FAINT) == []


@pytest.fixture
def alone() -> Iterator[RunningSandbox]:
    """A sandbox with no forwarder, which took one event."""
    with sandbox_alone() as it, urllib3.PoolManager() as pool:
        pool.request("POST", it.track_url, json=CONTACT, headers=AS_SENDER)
        yield it


def test_a_sandbox_alone_says_that_it_has_no_forwarder(
    visitor: BrowserContext, alone: RunningSandbox
) -> None:
    page = visitor.new_page()
    page.goto(alone.url)

    page.locator(".row").click()

    story = page.get_by_role("region", name="The forwarder’s story")
    expect(story).to_contain_text("The sandbox runs alone")
    expect(page.locator("#forwarder-note")).to_contain_text("The sandbox runs alone")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_what_is_recorded_of_an_event_is_told(
    visitor: BrowserContext,
    alone: RunningSandbox,
    size: tuple[int, int],
    scheme: Any,
    tmp_path: Path,
) -> None:
    page = visitor.new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    page.goto(alone.url)
    record = page.get_by_role("region", name="Record", exact=True)
    page.locator(".row").click()
    expect(record).to_have_text("Record1")

    page.get_by_role("switch", name="lost").click()
    expect(page.locator("#mood")).to_have_text("misbehaves: lost")
    with urllib3.PoolManager(headers=AS_SENDER) as pool:
        pool.request("POST", alone.track_url, json={**CONTACT, "idempotency_key": "lost"})
        pool.request("GET", f"{alone.url}/public-api/v1/events")
    expect(page.locator(".row")).to_have_count(2)
    page.locator(".row").first.click()
    expect(record).to_contain_text("Never recorded")
    page.get_by_role("button", name="Record one of another sender").click()

    expect(page.locator("#recorded")).to_have_text("2")
    expect(page.locator("#from-others")).to_have_text("1")
    expect(page.locator("#records-note")).to_have_text("Answered: 1 list (1 with 422).")
    page.screenshot(path=tmp_path / f"records-{size[0]}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for faults in (UNNAMED, DOUBLE_IDS, DANGLING, FAINT):
        assert page.evaluate(faults) == []


def test_every_browser_shows_an_event_and_opens_it(driver: Driver, alone: RunningSandbox) -> None:
    with driver.visitor() as tab:
        tab.goto(alone.url)
        until(tab, "document.querySelector('.row')?.textContent.includes('202 booked')")

        tab.evaluate("document.querySelector('.row').click()")
        until(tab, "document.querySelector('.story').textContent.includes('runs alone')")
        tab.evaluate("document.querySelector('[role=switch]').click()")
        until(tab, "document.querySelector('#mood').textContent === 'misbehaves: 429'")

    assert [rule["label"] for rule in alone.sandbox.faults.as_json()] == ["429"]


def test_the_colours_chosen_are_kept(log: EventsLog) -> None:
    log.page.emulate_media(color_scheme="light")
    light = log.page.evaluate("getComputedStyle(document.body).backgroundColor")

    log.page.get_by_role("radio", name="Dark").check(force=True)
    log.page.reload()

    expect(log.page.get_by_role("radio", name="Dark")).to_be_checked()
    assert log.page.evaluate("getComputedStyle(document.body).backgroundColor") != light
