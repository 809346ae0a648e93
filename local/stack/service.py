"""One of the processes that a stack is made of: it answers HTTP, and is ready when it does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import urllib3

from local.stack import processes
from local.stack.checkout import Checkout
from local.stack.errors import StepFailed
from local.stack.processes import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How a service is started. `ready_path` answers 200 as soon as it is ready."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    checkout: Checkout
    url: str
    ready_path: str
    ready_within: float = 20.0

    def start(self) -> Identity:
        """Start it; it is not ready yet."""
        log = log_of(self.checkout, self.name)
        return processes.start(self.command, env=self.env, cwd=self.checkout.root, log=log)

    def wait_until_ready(self, process: Identity) -> None:
        """Return when it answers; raise StepFailed when it ended or took too long."""
        deadline = time.monotonic() + self.ready_within
        while not self._answers():
            if not process.alive:
                raise ended(self.checkout, self.name)
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"The {self.name} was not ready within {self.ready_within:.0f} s.",
                    log=log_of(self.checkout, self.name),
                )
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            response = urllib3.request(
                "GET", self.url + self.ready_path, timeout=2.0, retries=False
            )
        except urllib3.exceptions.HTTPError:
            return False
        return response.status == 200


def ended(checkout: Checkout, name: str) -> StepFailed:
    return StepFailed(f"The {name} has ended.", log=log_of(checkout, name))


def log_of(checkout: Checkout, name: str) -> Path:
    """Return the log of the service with this name."""
    return checkout.logs / f"{name}.log"
