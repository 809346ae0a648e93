"""A real sandbox on loopback, as new for each test."""

from collections.abc import Iterator

import pytest
import urllib3

from local.sandbox.server import RunningSandbox, running
from tests.sandbox.client import Client


@pytest.fixture(scope="session")
def server() -> Iterator[RunningSandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def client(server: RunningSandbox) -> Iterator[Client]:
    with urllib3.PoolManager() as pool:
        client = Client(server, pool)
        client.control("POST", "reset", {"settings": True, "faults": True})
        yield client
