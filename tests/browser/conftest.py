"""A stack of these tests' own, real browsers, and a site whose pages a test writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from local.stack import ports, shop
from local.stack.checkout import Checkout
from local.stack.options import Options
from tests.browser.drivers import Chromium, Driver
from tests.browser.firefox import Firefox
from tests.browser.visit import Site, Visit
from tests.browser.webkit import WebKit
from tests.patience import PATIENCE_SECONDS
from tests.stack.deployed import CheckoutOfTests, Deployed, running

# Each process of pytest-xdist has a stack and browsers of its own.
NAME = "-".join(["browser-tests", *filter(None, [os.environ.get("PYTEST_XDIST_WORKER")])])
PATIENCE_MS = PATIENCE_SECONDS * 1000
expect.set_options(timeout=PATIENCE_MS)
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
_NO_FIREFOX = "No Firefox is installed: `apt-get install firefox-esr` on Debian."
_NO_WEBKIT = (
    "No WebKit is installed: `apt-get install webkit2gtk-driver xvfb` on Debian and Ubuntu."
)


def _installed(missing: str, *programs: str) -> str:
    """Return the first program there is; without one, tests are skipped, and fail under CI."""
    program = next(filter(None, map(shutil.which, programs)), None)
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return program


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = _installed(_MISSING, *_PROGRAMS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session", params=["chromium", "firefox", "webkit"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    if request.param == "chromium":
        yield Chromium(request.getfixturevalue("browser"))
    elif request.param == "firefox":
        with Firefox.running(_installed(_NO_FIREFOX, "firefox-esr", "firefox")) as firefox:
            yield firefox
    else:
        _installed(_NO_WEBKIT, "Xvfb")
        with WebKit.running(_installed(_NO_WEBKIT, "WebKitWebDriver")) as webkit:
            yield webkit


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with Site.serving() as it:
        yield it


@pytest.fixture(scope="session")
def _options(site: Site) -> Options:
    checkout, chosen = CheckoutOfTests(Checkout.here().root, NAME), dict[str, int]()
    for role in ("emulator", "sandbox", "shop"):
        chosen[role] = ports.choose(checkout, role, wanted=None, taken=set(chosen.values()))
    origins = ",".join(
        [
            site.url,
            site.named("*.shop.localhost"),
            "null",
            shop.origins_of(ports.url_at(chosen["shop"])),
        ]
    )
    return Options(
        requests_per_minute=12_000, shop_port=chosen["shop"], param=(f"AllowedOrigins={origins}",)
    )


# The browser first: without one there is no need of a stack.
@pytest.fixture(scope="session")
def deployed(browser: Browser, _options: Options) -> Iterator[Deployed]:  # noqa: ARG001
    with running(NAME, _options) as it:
        yield it


@pytest.fixture(scope="session")
def _visits(deployed: Deployed, site: Site) -> Visit:
    it = deployed
    shop_url = it.stack.plan.shop_url
    return Visit(site, it.api.url, shop_url, it.sandbox, it.queues, it.functions)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor with an empty browser. Whatever the script meets, no page may see an error."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
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
