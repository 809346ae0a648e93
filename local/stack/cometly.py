"""The Cometly at the far end: the sandbox as a service of this checkout's stack."""

from __future__ import annotations

import sys
from typing import Any

import urllib3

from local.stack.checkout import Checkout
from local.stack.environment import isolated
from local.stack.options import Options
from local.stack.ports import url_at
from local.stack.service import Service

NAME = "sandbox"


def service(checkout: Checkout, options: Options, *, port: int, token: str) -> Service:
    command = [sys.executable, "-m", "local.sandbox", "--port", str(port), f"--token={token}"]
    command += ["--stack-file", str(checkout.stack_file)]
    if options.requests_per_minute:
        command += ["--requests-per-minute", str(options.requests_per_minute)]
    if options.window:
        command += ["--window", options.window]
    return Service(
        name=NAME,
        command=command,
        env=isolated(checkout),
        checkout=checkout,
        url=url_at(port),
        ready_path="/_sandbox/stats",
    )


def events_since(url: str, number: int) -> list[dict[str, Any]]:
    """Return the events that the sandbox took after its event `number`, oldest first."""
    response = urllib3.request("GET", f"{url}/_sandbox/events?since={number}", retries=False)
    events: list[dict[str, Any]] = response.json()
    return events
