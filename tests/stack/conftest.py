"""A stack for these tests alone: a developer's `make up` goes on beside it.

Each process of pytest-xdist has one of its own, for most of a test's time it waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from local.stack.options import Options
from tests.stack.deployed import Deployed, running

PAGE_DELAY_SECONDS = 3
# A rate at which the gate costs the tests no time; American numbers need no country code; pages of
# one shop and of subdomains may send events, which come after those of services; as many as the
# tests make up. Alarms ring for nobody: the emulator sends no mail.
OPTIONS = Options(
    requests_per_minute=12_000,
    param=(
        "DefaultPhoneRegion=US",
        "AllowedOrigins=https://shop.example.com,https://*.shops.example.com",
        # As a stack has it that names none: without what carries money.
        "BrowserEventNames=",
        f"PageDelaySeconds={PAGE_DELAY_SECONDS}",
        "VisitorEventsPerMinute=0",
        "AlarmEmail=ops@example.com",
        "SilenceMinutes=30",
        # Not in the life of a test: those that want it invoke it.
        "ReconcileSchedule=cron(0 0 1 1 ? 2199)",
    ),
)


# One waits out a minute in which the gate is closed, others build or run many programs.
LONGEST = ["test_questions.py", "test_replay.py", "test_artefact.py", "test_command_line.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: no process waits for another's last one."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def _deployed() -> Iterator[Deployed]:
    name = "-".join(["stack-tests", *filter(None, [os.environ.get("PYTEST_XDIST_WORKER")])])
    with running(name, OPTIONS) as deployed:
        yield deployed


@pytest.fixture
def deployed(_deployed: Deployed) -> Iterator[Deployed]:
    """The stack with an empty sandbox, empty queues and an open gate; a test leaves none behind."""
    _deployed.clean()
    yield _deployed
    _deployed.queues.until_all_is_settled()
    assert _deployed.queues.parked() == 0
