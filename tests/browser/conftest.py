"""A stack of these tests' own, a real Chromium, and a site whose pages a test writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import urllib3
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from local.stack import deploy, ports, shop, signals
from local.stack.checkout import Checkout
from local.stack.environment import isolated
from local.stack.lifecycle import Stack, bring_up, supervising, take_down
from local.stack.options import Options
from tests.browser.visit import Site, Visit
from tests.stack.deployed import Functions, Queues, Sandbox, Table

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


class CheckoutOfTheTests(Checkout):
    """The checkout, with another place for what a stack writes: ports, processes, logs, build."""

    @property
    def local(self) -> Path:
        return self.root / ".local" / "browser-tests"


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
    checkout, chosen = CheckoutOfTheTests.here(), dict[str, int]()
    for role in ("emulator", "sandbox", "shop"):
        chosen[role] = ports.choose(checkout, role, wanted=None, taken=set(chosen.values()))
    origins = f"{site.url},{shop.origins_of(ports.url_at(chosen['shop']))}"
    return Options(
        requests_per_minute=12_000, shop_port=chosen["shop"], param=(f"AllowedOrigins={origins}",)
    )


# The browser first: without one there is no need of a stack.
@pytest.fixture(scope="session")
def _stack(browser: Browser, _options: Options) -> Iterator[Stack]:  # noqa: ARG001
    checkout = CheckoutOfTheTests.here()
    with patch.dict(os.environ, isolated(checkout), clear=True), supervising(checkout):
        take_down(checkout)  # what a killed session left
        try:
            yield bring_up(checkout, _options)
        finally:
            with signals.ignored():
                take_down(checkout)


@pytest.fixture(scope="session")
def _visits(_stack: Stack, _options: Options, site: Site) -> Iterator[Visit]:
    plan, names = _stack.plan, _stack.names
    assert plan.sandbox
    session = deploy.session_for(plan.aws)
    with ExitStack() as connections:

        def client(service: Any) -> Any:
            made = session.client(service, endpoint_url=plan.aws.endpoint_url)
            return connections.enter_context(closing(made))

        pool = connections.enter_context(urllib3.PoolManager())
        functions = {"ingest": names.ingest_function, "deliver": names.deliver_function}
        yield Visit(
            site=site,
            api_url=names.api_url,
            shop_url=plan.shop_url,
            sandbox=Sandbox(_stack, _options, pool, plan.sandbox),
            queues=Queues(
                client("sqs"),
                names.event_queue_url,
                names.dead_letter_queue_url,
                names.page_queue_url,
            ),
            table=Table(client("dynamodb"), names.table_name),
            functions=Functions(client("lambda"), client("iam"), client("logs"), functions),
        )


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
