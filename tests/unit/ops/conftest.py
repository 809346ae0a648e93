"""A stack in memory, and the command line that finds it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer
from moto import mock_aws
from typer.testing import CliRunner

from ops import stacks
from ops.cli import app
from tests.unit.ops.stack_in_memory import StackInMemory


@dataclass(frozen=True)
class Ran:
    """What a command printed, and the status it ended with."""

    status: int
    out: str
    err: str
    exception: BaseException | None

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture(scope="session", autouse=True)
def _commands_are_made_once() -> Iterator[None]:
    """Share what Typer makes of the functions' signatures: it makes it anew at each call."""
    made = functools.cache(typer.main.get_command)
    with patch("typer.main.get_command", made), patch("typer.testing._get_command", made):
        yield


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[StackInMemory]:
    with mock_aws():
        made = StackInMemory.make()
        monkeypatch.setattr(stacks, "find", lambda _: made.target)
        yield made


@pytest.fixture
def run() -> Run:
    """Run a command in this process; an OpsError is left in `exception`."""

    def run(*arguments: str, given: str | None = None) -> Ran:
        result = CliRunner().invoke(app, list(arguments), input=given)
        return Ran(result.exit_code, result.stdout, result.stderr, result.exception)

    return run


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave AWS's client nothing to sign with, wherever it looks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
