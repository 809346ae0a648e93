"""A stack of these tests' own, a real Chromium, and a site whose pages a test writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from local.stack import ports, shop
from local.stack.checkout import Checkout
from local.stack.options import Options
from tests.browser.visit import Site, Visit
from tests.stack.deployed import CheckoutOfTests, running

NAME = "browser-tests"
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
)
_MISSING = (
    "No Chromium is installed, which these tests drive: `apt-get install chromium` on Debian and "
    "Ubuntu; elsewhere Chromium or Chrome on the PATH."
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(_MISSING)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with Site.serving() as it:
        yield it


@pytest.fixture(scope="session")
def _options(site: Site) -> Options:
    checkout, chosen = CheckoutOfTests(Checkout.here().root, NAME), dict[str, int]()
    for role in ("emulator", "sandbox", "shop"):
        chosen[role] = ports.choose(checkout, role, wanted=None, taken=set(chosen.values()))
    origins = f"{site.url},{shop.origins_of(ports.url_at(chosen['shop']))}"
    return Options(
        requests_per_minute=12_000, shop_port=chosen["shop"], param=(f"AllowedOrigins={origins}",)
    )


# The browser first: without one there is no need of a stack.
@pytest.fixture(scope="session")
def _visits(browser: Browser, _options: Options, site: Site) -> Iterator[Visit]:  # noqa: ARG001
    with running(NAME, _options) as it:
        shop_url = it.stack.plan.shop_url
        yield Visit(site, it.api.url, shop_url, it.sandbox, it.queues, it.functions)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor with an empty browser. Whatever the script meets, no page may see an error."""
    context = browser.new_context()
    errors: list[object] = []
    context.on("weberror", lambda error: errors.append(error.error))
    yield context
    context.close()
    assert not errors


@pytest.fixture
def visit(_visits: Visit) -> Iterator[Visit]:
    """The stack with an empty sandbox; a test leaves nothing behind."""
    _visits.sandbox.reset()
    _visits.queues.purge()
    yield _visits
    _visits.queues.until_all_is_settled()
    assert _visits.queues.parked() == 0
