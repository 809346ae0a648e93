"""The environment of a stack's processes: the developer's own, without its AWS configuration.

No profile, no keys, no `~/.aws`: a deployment to the emulator cannot reach an account.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from local import LOOPBACK
from local.stack.checkout import Checkout

REGION = "us-east-1"
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class AwsEndpoint:
    """Where the emulator listens, and the keys of its root user."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str

    def variables(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }


def isolated(checkout: Checkout, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without anything that configures AWS, Python or a virtual one."""
    kept = {
        name: value
        for name, value in (os.environ if given is None else given).items()
        if not name.startswith(("AWS_", "SAM_")) and name not in _OURS
    }
    nothing = str(checkout.local / "aws" / "none")
    return kept | {
        "AWS_CONFIG_FILE": nothing,
        "AWS_SHARED_CREDENTIALS_FILE": nothing,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": f"{LOOPBACK},localhost",
        "no_proxy": f"{LOOPBACK},localhost",
        "PATH": f"{checkout.root / '.venv' / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.5",
        "__SAM_CLI_APP_DIR": str(checkout.local / "sam"),
    }


def isolate_this_process(checkout: Checkout) -> None:
    """Give this very process that environment, before it makes its first AWS client."""
    environment = isolated(checkout)
    os.environ.clear()
    os.environ.update(environment)
