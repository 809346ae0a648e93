"""Replay and send, by the command line: beside live events, killed, interrupted, and cut off."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.stack.checkout import Checkout
from tests.faults import aws_proxy
from tests.faults.aws_proxy import AwsProxy, Call, Harm
from tests.patience import PATIENCE_SECONDS, looks
from tests.stack.deployed import Deployed, Fields, eventually

REFUSED = "grace@example.com"
# The program, with less patience: what a killed run held comes back soon, and arrays are short.
PROGRAM = """
from ops.deadletters import shelf
from ops.sending import arrays
shelf.HOLD_SECONDS, arrays.MOST_EVENTS = 3, 50
from ops.cli import main
main()
"""


def program(deployed: Deployed, *arguments: str) -> list[str]:
    """Return the command line; the stack is that of these tests, if no other is named."""
    stack_file = str(deployed.stack.checkout.stack_file)
    where = [] if "--stack-file" in arguments else ["--stack-file", stack_file]
    return [sys.executable, "-c", PROGRAM, *arguments, *where]


def run(deployed: Deployed, *arguments: str) -> Fields:
    """Run a command with --json to its end; return its last object."""
    done = subprocess.run(
        program(deployed, *arguments, "--json"),
        cwd=Checkout.here().root,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last: Fields = json.loads(done.stdout.splitlines()[-1])
    return last


@contextmanager
def started(deployed: Deployed, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command; what is left of it at the end is killed, as by the system."""
    with subprocess.Popen(
        program(deployed, *arguments, "--json"),
        cwd=Checkout.here().root,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def park(deployed: Deployed, prefix: str, count: int) -> list[str]:
    """Let Cometly refuse so many for good, and then take what comes; return their keys."""
    deployed.sandbox.fail(kind="status", status=422, times="always", match={"email": REFUSED})
    keys = [f"{prefix}-{number}" for number in range(count)]
    answer = deployed.api.post([_event(key, email=REFUSED) for key in keys])
    assert answer.status == 202
    eventually(deployed.queues.parked, lambda parked: parked == count, within=60)
    deployed.queues.until_all_is_settled()
    deployed.sandbox.recover()
    return keys


def booked(deployed: Deployed) -> Counter[str]:
    """Count what was posted to Cometly and taken, by key: a second post counts, too."""
    deployed.queues.until_all_is_settled(within=90)
    return Counter(it["fields"]["idempotency_key"] for it in deployed.sandbox.events())


def _event(key: str, email: str = "ada@example.com") -> Fields:
    return {"event_name": "purchase", "email": email, "amount": 20, "idempotency_key": key}


def test_parked_events_are_replayed_beside_live_ones_and_each_is_booked_once(
    deployed: Deployed,
) -> None:
    parked = park(deployed, "beside", 50)
    live = [f"live-{number}" for number in range(60)]

    with started(deployed, "parked", "replay", "--yes", "--set", "phone=6505551212") as replay:
        for key in live:
            assert deployed.api.post(_event(key)).status == 202
        assert replay.stdout
        summary = json.loads(replay.stdout.read().splitlines()[-1])["summary"]
        assert replay.wait(60) == 0

    assert summary == {"replayed": 50, "refused": 0}
    assert booked(deployed) == Counter(parked + live)
    phones = {it["fields"].get("phone") for it in deployed.sandbox.events()}
    assert phones == {None, "16505551212"}
    assert deployed.queues.parked() == 0


def test_a_replay_that_is_killed_in_its_middle_and_repeated_books_each_once(
    deployed: Deployed,
) -> None:
    parked = park(deployed, "killed", 30)

    with started(deployed, "parked", "replay", "--yes", "--per-minute", "600") as replay:
        assert replay.stdout
        for _ in range(13):
            assert json.loads(replay.stdout.readline())["replayed"]
        replay.kill()
    left = deployed.queues.parked()
    assert 0 < left <= 17
    again = eventually(
        lambda: run(deployed, "parked", "replay", "--yes")["summary"]["replayed"],
        lambda _: deployed.queues.parked() == 0,
        within=60,
    )

    assert again <= left
    assert booked(deployed) == Counter(parked)


def test_a_replay_of_what_cometly_still_refuses_ends_and_each_is_parked_again(
    deployed: Deployed,
) -> None:
    parked = park(deployed, "again", 25)
    deployed.sandbox.fail(kind="status", status=422, times="always", match={"email": REFUSED})

    summary = run(deployed, "parked", "replay", "--yes")["summary"]

    assert summary["refused"] == 0
    eventually(deployed.queues.parked, lambda count: count == 25)
    deployed.queues.until_all_is_settled()
    deployed.sandbox.recover()
    assert run(deployed, "parked", "replay", "--yes")["summary"]["replayed"] == 25
    assert booked(deployed) == Counter(parked)


@dataclass
class Cable:
    """The network to AWS: cut for good once a call was made so often, its answer lost or not."""

    proxy: AwsProxy
    action: str
    times: int
    harm: Harm
    seen: int = 0

    def lay(self) -> None:
        self.proxy.spoil(self._is_the_last, self.harm, times=1)
        self.proxy.spoil(lambda _: self.seen >= self.times, "cut")

    def _is_the_last(self, call: Call) -> bool:
        self.seen += call.action == self.action
        return call.action == self.action and self.seen == self.times


# One call of each kind; every call of the command is cut in tests/unit/ops/test_parked.py.
CUTS: dict[str, tuple[str, int, Harm]] = {
    "receiving": ("ReceiveMessage", 2, "cut"),
    "sent, and not heard": ("SendMessage", 4, "answer lost"),
    "reading the gate": ("GetItem", 3, "cut"),
}


@pytest.mark.parametrize(("action", "times", "harm"), CUTS.values(), ids=CUTS)
def test_a_replay_whose_network_is_cut_says_so_and_repeated_books_each_once(
    deployed: Deployed, tmp_path: Path, action: str, times: int, harm: Harm
) -> None:
    parked = park(deployed, f"cut-{action}-{harm}", 15)
    known = json.loads(deployed.stack.checkout.stack_file.read_text())
    elsewhere = tmp_path / "stack.json"

    with aws_proxy.running(known["aws_endpoint_url"]) as proxy:
        elsewhere.write_text(json.dumps({**known, "aws_endpoint_url": proxy.url}))
        cable = Cable(proxy, action, times, harm)
        cable.lay()
        through = program(deployed, "parked", "replay", "--yes", "--stack-file", str(elsewhere))
        cut = subprocess.run(
            through,
            cwd=Checkout.here().root,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    assert cable.seen >= times
    assert cut.returncode == 1, cut.stderr
    assert "Traceback" not in cut.stderr
    *_, how_to_go_on, why = cut.stderr.splitlines()
    assert how_to_go_on.startswith("Broken off: ")
    assert why.startswith("cometly-forwarder: AWS cannot be reached: ")
    eventually(
        lambda: run(deployed, "parked", "replay", "--yes"),
        lambda _: deployed.queues.parked() == 0,
        within=60,
    )
    assert booked(deployed) == Counter(parked)


def sent_up_to(least: int, record: Path, sending: subprocess.Popen[str]) -> int:
    """Wait until so many lines are confirmed; return how many are.

    The next moment all may be, so the record, a small file, is looked at all the time.
    """
    for _ in looks(PATIENCE_SECONDS, pause=0.005):
        confirmed = int(json.loads(record.read_text())["confirmed"]) if record.exists() else 0
        if confirmed >= least or sending.poll() is not None:
            return confirmed
    raise AssertionError(f"{confirmed} of {least} lines")


def test_a_send_that_is_killed_and_then_interrupted_and_repeated_books_each_once(
    deployed: Deployed, tmp_path: Path
) -> None:
    file, record = tmp_path / "leads.csv", tmp_path / "leads.csv.sent"
    rows = "".join(f"lead_generated;lead-{number}@example.com\n" for number in range(600))
    file.write_text("event_name;email\n" + rows)

    for number, least in ((signal.SIGKILL, 150), (signal.SIGINT, 300)):
        with started(deployed, "send", str(file)) as sending:
            seen = sent_up_to(least, record, sending)
            sending.send_signal(number)
            status = sending.wait(60)
        assert least <= seen < 601
        assert status == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[number]
    summary = run(deployed, "send", str(file))["summary"]

    assert (summary["accepted"], summary["refused"], summary["complete"]) == (600, 0, True)
    keys = booked(deployed)
    assert len(keys) == 600
    assert set(keys.values()) == {1}
    assert run(deployed, "send", str(file))["summary"]["accepted"] == 600
    assert booked(deployed) == keys
