"""The command line itself: where its options stand, and how expected failures end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from cometly_forwarder import __version__
from ops import cli, stacks
from ops.app import Settings
from ops.commands import token
from ops.errors import OpsError
from ops.eventfile import entries
from ops.target import _NEEDED, Clients, Target, stays_secret
from tests.unit.ops.conftest import Run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What was asked for; there is no such stack."""
    seen: list[Settings] = []

    def find(settings: Settings) -> Target:
        seen.append(settings)
        raise OpsError("There is no stack shop in eu-central-1 of this account.")

    monkeypatch.setattr(stacks, "find", find)
    return seen


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return cast("int", caught.value.code)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--stack", "shop", "--region", "eu-central-1", "--json", "status"),
        ("status", "--stack", "shop", "--region", "eu-central-1", "--json"),
        ("--stack", "shop", "status", "--json", "--region=eu-central-1"),
    ],
    ids=["before", "behind", "both"],
)
def test_the_shared_options_stand_before_a_commands_name_or_behind(
    asked: list[Settings], arguments: tuple[str, ...]
) -> None:
    assert ended(*arguments) == 1
    assert asked == [Settings(stack="shop", region="eu-central-1", json=True)]


def test_they_stand_behind_a_command_of_a_group_too(asked: list[Settings]) -> None:
    assert ended("keys", "rotate", "--stack", "shop") == 1
    assert asked == [Settings(stack="shop")]


@pytest.mark.parametrize(
    "arguments",
    [
        *(("status",), ("tail",), ("event", "evt_1"), ("pause",), ("resume",), ("doctor",)),
        *(("explain", __file__), ("keys", "rotate", "--yes"), ("token", "set")),
    ],
    ids=lambda it: it[0],
)
@pytest.mark.usefixtures("asked")
def test_a_wrong_name_is_one_sentence(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status = ended(*arguments, "--stack", "shop", "--json")

    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err == ("cometly-forwarder: There is no stack shop in eu-central-1 of this account.\n")


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        pytest.param(NoCredentialsError(), "No AWS credentials were found", id="no credentials"),
        pytest.param(
            EndpointConnectionError(endpoint_url="https://sqs.example.com"),
            "AWS cannot be reached",
            id="no network",
        ),
        pytest.param(
            ClientError(cast("Any", {"Error": {"Code": "AccessDenied"}}), "GetItem"),
            "your credentials lack the permission for GetItem",
            id="no permission",
        ),
    ],
)
def test_what_aws_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: Exception,
    says: str,
) -> None:
    def find(_: Settings) -> Target:
        raise failure

    monkeypatch.setattr(stacks, "find", find)

    assert ended("status", "--stack", "shop") == 1
    assert capsys.readouterr().err.startswith(f"cometly-forwarder: {says}")


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_no_stack_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(stacks.STACK_VARIABLE, "shop")

    assert ended("status", "--region", "eu-central-1") == 1
    assert capsys.readouterr().err.startswith("cometly-forwarder: No AWS credentials were found")
    assert ended("status", "--profile", "nobodys") == 1
    assert "--profile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "is_secret"),
    [
        ("https://api.example.com", True),
        ("http://127.0.0.1:4566", True),
        ("http://localhost:4566", True),
        ("http://api.example.com", False),
        ("api.example.com", False),
        ("https://", False),
        ("https://[::1", False),
    ],
)
def test_a_key_is_sent_where_nobody_else_reads_it(url: str, *, is_secret: bool) -> None:
    assert stays_secret(url) is is_secret


def test_a_stack_behind_plain_http_is_not_asked() -> None:
    outputs = [{"OutputKey": name, "OutputValue": "x"} for name in _NEEDED]
    described = {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": outputs}]}
    clients = cast("Clients", SimpleNamespace(cloudformation=Described(described)))

    with pytest.raises(OpsError, match=r"http://api.example.com is no https:// address"):
        Target.find(clients, "shop", api_url="http://api.example.com")


@dataclass(frozen=True)
class Described:
    """CloudFormation, which knows one stack."""

    answer: dict[str, Any]

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        return self.answer


def test_a_stack_must_be_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(stacks.STACK_VARIABLE, raising=False)

    ran = run("status")

    assert ran.status == 2
    assert "--stack NAME" in ran.err


def test_one_stack_alone_is_named(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="not both"):
        stacks.find(Settings(stack="shop", stack_file=tmp_path / "stack.json"))


def test_the_variable_of_awss_command_line_names_the_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    regions: list[str] = []

    def find(clients: Any, _: str, *, api_url: str | None) -> None:
        assert api_url is None
        regions.append(clients.sqs.meta.region_name)

    monkeypatch.setattr(Target, "find", find)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")

    stacks.find(Settings(stack="shop"))
    stacks.find(Settings(stack="shop", region="us-east-1"))

    assert regions == ["eu-west-1", "us-east-1"]


def test_a_stack_file_that_is_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="cannot be read: Is a directory"):
        stacks.find(Settings(stack_file=tmp_path))


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_ENDPOINT_URL", "example"), ("AWS_MAX_ATTEMPTS", "many")]
)
def test_a_variable_of_aws_that_cannot_be_read_is_said(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv(variable, value)

    with pytest.raises(OpsError, match=value):
        stacks.find(Settings(stack="shop", region="eu-west-1"))


def test_an_event_is_named_once(run: Run) -> None:
    ran = run("event", "evt_1", "--order", "1042", "--email", "ada@example.com")

    assert ran.status == 2
    assert "name the event once" in ran.err


_STATUS = """
import sys, time
from moto import mock_aws
from ops import cli, stacks
from tests.unit.ops.stack_in_memory import StackInMemory
with mock_aws():
    stack = StackInMemory.make()
    stacks.find = lambda _: stack.target
    stack.park("HTTP 422: Zo\u00eb")
    stack.logs.write("deliver", time.time(), "delivery.parked", reason="Zo\u00eb")
    cli.main()
"""


def in_a_shell(words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command over a stack in memory, as a shell does: `$RUN` stands for the program."""
    return subprocess.run(
        ["/bin/bash", "-c", words],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "PYTHON": sys.executable,
            "PROGRAM": _STATUS,
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("tail --no-follow --since 1h", 0, "delivery.parked Zo\\xeb"),
        ("parked list --json", 0, '"reason": "HTTP 422: Zo\\u00eb"'),
        ("status >&-", 0, ""),
        pytest.param(
            "status > /dev/full",
            1,
            "cometly-forwarder: No space left on device.\n",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it"),
        ),
        ("token set <&-", 1, "That is no token"),
        ("explain - <&-", 1, "The standard input is closed"),
    ],
)
def test_a_shell_that_cannot_show_or_give_all_is_no_traceback(
    words: str, status: int, says: str
) -> None:
    ran = in_a_shell(f'"$PYTHON" -c "$PROGRAM" {words}', PYTHONIOENCODING="ascii")

    assert "Traceback" not in ran.stderr
    assert ran.returncode == status
    assert says in ran.stdout + ran.stderr


def test_what_the_machine_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(_: Settings) -> Target:
        raise PermissionError(13, "Permission denied", "orders.csv")

    monkeypatch.setattr(stacks, "find", find)

    assert ended("status", "--stack", "shop") == 1
    assert capsys.readouterr().err == "cometly-forwarder: orders.csv: Permission denied.\n"


def test_a_closed_input_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    assert token._given() == ""
    with pytest.raises(OpsError, match="standard input is closed"):
        list(entries(Path("-")))


def test_a_reader_that_leaves_is_no_traceback() -> None:
    ran = in_a_shell('"$PYTHON" -c "$PROGRAM" tail --since 1h | true; exit "${PIPESTATUS[0]}"')

    assert (ran.returncode, ran.stderr) == (1, "")


def test_a_local_stack_that_does_not_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="make up"):
        stacks.find(Settings(stack_file=tmp_path / "stack.json"))


def test_the_shells_profile_and_proxy_are_not_for_the_local_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dict.fromkeys(
        ("stack_name", "api_url", "region", "aws_access_key_id", "aws_secret_access_key"), "x"
    )
    file = tmp_path / "stack.json"
    file.write_text(json.dumps({**known, "aws_endpoint_url": "http://127.0.0.1:1"}), "utf-8")
    broken = tmp_path / "config"
    broken.write_text("[default", "utf-8")
    monkeypatch.setenv("AWS_PROFILE", "of-an-account")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(broken))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(broken))
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    found: list[tuple[str, bool]] = []

    def find(clients: Any, name: str, *, api_url: str, is_local: bool) -> None:
        found.append((clients.sqs.meta.endpoint_url, is_local))
        assert (name, api_url) == ("x", "https://api.example.com")

    monkeypatch.setattr(Target, "find", find)

    stacks.find(Settings(stack_file=file, url="https://api.example.com"))

    assert found == [("http://127.0.0.1:1", True)]


def test_the_checkout_is_found_from_a_folder_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")

    assert stacks.checkout() == ROOT
    assert stacks._stack_file() == ROOT / ".local" / "stack.json"


def test_without_a_checkout_there_is_no_local_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "checkout", lambda: None)

    with pytest.raises(OpsError, match="--stack-file"):
        stacks.find(Settings(local=True))


def test_it_says_its_version(run: Run) -> None:
    assert run("--version").out.strip() == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_completes_in_a_shell(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_COMETLY_FORWARDER_COMPLETE", f"source_{shell}")

    with pytest.raises(SystemExit):
        cli.main([])

    assert "_COMETLY_FORWARDER_COMPLETE" in capsys.readouterr().out


def test_it_needs_nothing_that_it_is_not_installed_with() -> None:
    """`uv tool install .` brings neither this machine's stack nor what runs in Lambda alone."""
    code = "import sys, ops.cli; print(*sorted({it.partition('.')[0] for it in sys.modules}))"

    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(ran.stdout.split())
    assert {"ops", "cometly_forwarder", "typer"} <= loaded
    assert loaded.isdisjoint({"local", "tests", "aws_lambda_powertools", "starlette", "moto"})
