"""Replay and send, by the command line: while live events flow, and killed in their middle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.stack.checkout import Checkout
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
    where = ["--stack-file", str(deployed.stack.checkout.stack_file)]
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


def test_a_send_that_is_killed_in_its_middle_and_repeated_books_each_once(
    deployed: Deployed, tmp_path: Path
) -> None:
    file, record = tmp_path / "leads.csv", tmp_path / "leads.csv.sent"
    rows = "".join(f"lead_generated,lead-{number}@example.com\n" for number in range(600))
    file.write_text("event_name,email\n" + rows)

    with started(deployed, "send", str(file)) as sending:
        seen = eventually(
            lambda: json.loads(record.read_text())["confirmed"] if record.exists() else 0,
            lambda confirmed: confirmed >= 150 or sending.poll() is not None,
            within=120,
        )
        sending.kill()
    assert 150 <= seen < 601
    summary = run(deployed, "send", str(file))["summary"]

    assert (summary["accepted"], summary["refused"], summary["complete"]) == (600, 0, True)
    keys = booked(deployed)
    assert len(keys) == 600
    assert set(keys.values()) == {1}
    assert run(deployed, "send", str(file))["summary"]["accepted"] == 600
    assert booked(deployed) == keys
