"""The demo shop as a process of this checkout."""

import sys
import time
from pathlib import Path

import urllib3

from local.stack import processes
from local.stack.checkout import Checkout
from local.stack.environment import isolated
from local.stack.errors import StepFailed
from local.stack.ports import LOOPBACK
from local.stack.processes import Identity

READY_WITHIN = 20.0


def url_at(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def origins_of(url: str) -> str:
    """Return the origins that its pages may have, as AllowedOrigins takes them."""
    return f"{url},{url.replace(LOOPBACK, 'localhost')}"


def start(checkout: Checkout, *, port: int) -> Identity:
    """Start the shop on `port`. It serves its pages once the stack file is there."""
    return processes.start(
        [sys.executable, "-m", "local.shop", "--port", str(port)]
        + ["--stack-file", str(checkout.stack_file)],
        env=isolated(checkout),
        cwd=checkout.root,
        log=log_of(checkout),
    )


def log_of(checkout: Checkout) -> Path:
    return checkout.logs / "shop.log"


def wait_until_ready(checkout: Checkout, url: str, process: Identity) -> None:
    """Return when the shop answers; raise StepFailed when it died or took too long."""
    deadline = time.monotonic() + READY_WITHIN
    while not _answers(url):
        if not process.alive or time.monotonic() > deadline:
            msg = "The demo shop did not start."
            raise StepFailed(msg, log=log_of(checkout))
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/shop.css", timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
