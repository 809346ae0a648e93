"""One emulator a session, one pipe a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

from tests.faults import emulator
from tests.faults.rig import AwsClients, Rig, opened


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> None:
    # Worker processes are asked for over a Unix socket.
    socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the random runs came to, with the seeds that repeat them."""
    for report in terminalreporter.stats.get("passed", []):
        for name, tally in report.user_properties:
            if name == "tally":
                terminalreporter.write_line(tally)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory, _loopback_only: None) -> Iterator[AwsClients]:
    with emulator.running(tmp_path_factory.mktemp("emulator")) as url:
        yield AwsClients.at(url)


@pytest.fixture
def rig(aws: AwsClients, tmp_path: Path) -> Iterator[Rig]:
    with opened(aws, tmp_path) as rig:
        yield rig
