"""The command line as an operator runs it, against the deployed stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stack.deployed import Deployed, eventually

ROOT = Path(__file__).resolve().parents[2]
PURCHASE = {"event_name": "purchase", "email": "ada@example.com", "amount": 5}
SECONDS = 120


@dataclass(frozen=True)
class Ran:
    """What a command printed, and the status it ended with."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class CommandLine:
    """Runs `cometly-forwarder` in a process of its own, on the stack of these tests."""

    deployed: Deployed

    def __call__(self, *arguments: str, given: str = "", file: Path | None = None) -> Ran:
        file = file or self.deployed.stack.checkout.stack_file
        ran = subprocess.run(
            [sys.executable, "-m", "ops.cli", *arguments, "--stack-file", str(file)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert "Traceback" not in ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.fixture
def command(deployed: Deployed) -> CommandLine:
    return CommandLine(deployed)


def accepted(deployed: Deployed, **fields: object) -> str:
    answer = deployed.api.post({**PURCHASE, **fields})
    assert answer.status == 202
    return str(answer.body["event_id"])


def test_the_status_of_an_idle_stack(command: CommandLine) -> None:
    ran = command("status", "--json")

    assert ran.status == 0
    expected = {"waiting": 0, "in_flight": 0, "oldest_seconds": 0.0, "parked": 0, "paused": False}
    assert {name: ran.document[name] for name in expected} == expected
    assert ran.document["limit_per_minute"] == 12_000
    assert ran.document["delivered_per_minute"] >= 0


def test_while_paused_events_wait_and_then_they_are_delivered(
    deployed: Deployed, command: CommandLine
) -> None:
    assert command("pause").status == 0
    try:
        event_id = accepted(deployed, order_id="paused-1")
        paused = command("status", "--json").document
        waiting = command("event", event_id, "--json").document
    finally:
        resumed = command("resume", "--json")

    assert (paused["paused"], paused["waiting"]) == (True, 1)
    assert {it["by"] for it in paused["pauses"]} == {"operator"}
    assert waiting["ledger"] is None
    assert [it["outcome"] for it in waiting["log"]] == ["ingest.accepted"]
    assert resumed.document["paused"] is False
    eventually(deployed.sandbox.events, len)
    assert command("status", "--json").document["paused"] is False


def test_the_story_of_an_event(deployed: Deployed, command: CommandLine) -> None:
    event_id = accepted(deployed, order_id="story-1")
    deployed.queues.until_all_is_settled()

    story = command("event", event_id, "--json").document
    told = command("event", event_id)
    tailed = command("tail", "--since", "10m", "--no-follow", "--event", event_id, "--json")
    delivered = command(
        "tail", "--since", "10m", "--no-follow", "--event", event_id, "--outcome", "delivered"
    )

    outcomes = ["ingest.accepted", "delivery.delivered"]
    assert (story["ledger"]["state"], story["ledger"]["attempts"]) == ("delivered", 1)
    assert [it["outcome"] for it in story["log"]] == outcomes
    assert [it["outcome"] for it in tailed.lines] == outcomes
    assert "delivered" in told.out
    [line] = delivered.out.splitlines()
    assert f"delivery.delivered {event_id} HTTP 202" in line


def test_parked_events_are_counted_by_reason_and_stay(
    deployed: Deployed, command: CommandLine
) -> None:
    deployed.sandbox.fail(kind="status", status=422, times="always")
    accepted(deployed, order_id="parked-1")
    eventually(deployed.queues.parked, lambda count: count == 1)

    status = command("status", "--json").document

    assert (status["parked"], status["parked_by_reason"]) == (1, {"HTTP 422": 1})
    assert len(deployed.queues.take_dead_letters()) == 1


def test_an_event_that_nobody_knows(command: CommandLine) -> None:
    ran = command("event", "evt_nobody")

    assert (ran.status, ran.out) == (3, "")


@pytest.fixture
def token(deployed: Deployed) -> Iterator[str]:
    """The Space's token, put back at the end."""
    arn = deployed.functions.variable("deliver", "COMETLY_TOKEN_SECRET_ARN")
    stored = deployed.secrets.get_secret_value(SecretId=arn)["SecretString"]
    yield stored
    deployed.secrets.put_secret_value(SecretId=arn, SecretString=stored)


TAKES_THE_TOKEN = "Cometly takes the token"


def finds_the_token_wrong(command: CommandLine) -> bool:
    """Ask the doctor. What other tests put for the alarms may be bad as well."""
    ran = command("doctor", "--json")
    bad = {it["check"] for it in ran.document["findings"] if it["result"] == "bad"}
    assert ran.status == (3 if bad else 0)
    return TAKES_THE_TOKEN in bad


def test_a_token_is_set_and_the_doctor_tries_it(
    deployed: Deployed, command: CommandLine, token: str
) -> None:
    healthy = finds_the_token_wrong(command)
    wrong = command("token", "set", given="a-wrong-token\n")
    ill = finds_the_token_wrong(command)
    right = command("token", "set", given=f"{token}\n")

    assert (wrong.status, right.status) == (0, 0)
    assert (healthy, ill, finds_the_token_wrong(command)) == (False, True, False)
    assert deployed.sandbox.events() == []


def test_keys_are_rotated(deployed: Deployed, command: CommandLine) -> None:
    arn = deployed.functions.variable("ingest", "SERVER_KEYS_SECRET_ARN")
    before = deployed.secrets.get_secret_value(SecretId=arn)["SecretString"]
    try:
        ran = command("keys", "rotate", "--yes")
        deployed.functions.restart("ingest")

        new = ran.out.strip()
        assert deployed.api.with_key(new).post({}).status == 422
        assert deployed.api.post({}).status == 422
    finally:
        deployed.secrets.put_secret_value(SecretId=arn, SecretString=before)
        deployed.functions.restart("ingest")


def test_a_file_is_explained_and_nothing_is_sent(
    deployed: Deployed, command: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("event_name,email,amount\nPurchase,ada@example.com,12.50\nbought,,\n", "utf-8")

    ran = command("explain", str(file), "--json")

    assert ran.status == 3
    assert [(it["line"], it["status"]) for it in ran.lines] == [(2, 200), (3, 422)]
    assert ran.lines[0]["event"]["amount"] == 12.5
    assert (deployed.sandbox.events(), deployed.queues.waiting()) == ([], 0)


def test_a_stack_that_is_gone_and_a_wrong_name_are_one_sentence(
    deployed: Deployed, command: CommandLine, tmp_path: Path
) -> None:
    known = json.loads(deployed.stack.checkout.stack_file.read_text("utf-8"))
    changes = {"gone": {"aws_endpoint_url": "http://127.0.0.1:9"}, "wrong": {"stack_name": "no"}}
    said = {}
    for name, change in changes.items():
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(known | change), "utf-8")
        ran = command("status", file=file)
        assert (ran.status, ran.out) == (1, "")
        said[name] = ran.err

    assert said["gone"].startswith("cometly-forwarder: AWS cannot be reached")
    assert said["wrong"].startswith("cometly-forwarder: There is no stack no in us-east-1")
    assert {len(text.splitlines()) for text in said.values()} == {1}
