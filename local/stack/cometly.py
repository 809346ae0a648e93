"""The Cometly at the far end: the sandbox as a process of this checkout."""

import sys
import time
from pathlib import Path
from typing import Any

import urllib3

from local.stack import processes
from local.stack.checkout import Checkout
from local.stack.environment import isolated
from local.stack.errors import StepFailed
from local.stack.options import Options
from local.stack.ports import LOOPBACK
from local.stack.processes import Identity

READY_WITHIN = 20.0


def start(checkout: Checkout, options: Options, *, port: int, token: str) -> Identity:
    """Start the sandbox on `port`; it is not ready yet."""
    command = [sys.executable, "-m", "local.sandbox", "--host", LOOPBACK, "--port", str(port)]
    command += [f"--token={token}"]
    if options.requests_per_minute:
        command += ["--requests-per-minute", str(options.requests_per_minute)]
    if options.window:
        command += ["--window", options.window]
    return processes.start(command, env=isolated(checkout), cwd=checkout.root, log=log_of(checkout))


def log_of(checkout: Checkout) -> Path:
    return checkout.logs / "sandbox.log"


def wait_until_ready(checkout: Checkout, url: str, process: Identity) -> None:
    """Return when the sandbox answers; raise StepFailed when it died or took too long."""
    deadline = time.monotonic() + READY_WITHIN
    while not _answers(url):
        if not process.alive or time.monotonic() > deadline:
            msg = "The Cometly sandbox did not start."
            raise StepFailed(msg, log=log_of(checkout))
        time.sleep(0.1)


def events_since(url: str, number: int) -> list[dict[str, Any]]:
    """Return the events that the sandbox took after its event `number`, oldest first."""
    answer = urllib3.request("GET", f"{url}/_sandbox/events?since={number}", retries=False)
    events: list[dict[str, Any]] = answer.json()
    return events


def _answers(url: str) -> bool:
    try:
        answer = urllib3.request("GET", f"{url}/_sandbox/stats", timeout=2.0, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200
