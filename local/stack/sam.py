"""The SAM command line, without the developer's AWS configuration.

`python -m local.stack.sam ARGUMENTS` runs it by hand.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from local.stack import processes
from local.stack.checkout import Checkout
from local.stack.environment import REGION, AwsEndpoint, isolated
from local.stack.errors import StepFailed

COMMAND = (sys.executable, "-m", "samcli")


def run(
    checkout: Checkout, arguments: Sequence[str], *, aws: AwsEndpoint | None, what: str
) -> None:
    """Run `sam ARGUMENTS` with its output in a log named `what`; raise StepFailed if it fails."""
    log = checkout.logs / f"{what}.log"
    status = processes.run(
        [*COMMAND, *arguments, *_with_own_config(checkout)],
        env=isolated(checkout) | (aws.variables() if aws else {}),
        cwd=checkout.root,
        log=log,
    )
    if status:
        raise StepFailed(f"sam {arguments[0]} failed with exit status {status}.", log=log)


def _with_own_config(checkout: Checkout) -> list[str]:
    """Name an empty configuration: `samconfig.toml` is for AWS, and holds a developer's choices."""
    config = checkout.local / "samconfig.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("version = 0.1\n", "utf-8")
    return ["--config-file", str(config)]


def main(arguments: Sequence[str]) -> None:
    environment = isolated(Checkout.here()) | {"AWS_DEFAULT_REGION": REGION}
    os.execve(sys.executable, [*COMMAND, *arguments], environment)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
