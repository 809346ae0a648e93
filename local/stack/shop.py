"""The demo shop as a service of this checkout's stack."""

from __future__ import annotations

import sys

from local import LOOPBACK
from local.stack.checkout import Checkout
from local.stack.environment import isolated
from local.stack.ports import url_at
from local.stack.service import Service

NAME = "shop"


def service(checkout: Checkout, *, port: int) -> Service:
    """Return the shop on `port`. It serves its pages once the stack file is there."""
    command = [sys.executable, "-m", "local.shop", "--port", str(port)]
    return Service(
        name=NAME,
        command=[*command, "--stack-file", str(checkout.stack_file)],
        env=isolated(checkout),
        checkout=checkout,
        url=url_at(port),
        ready_path="/shop.css",
    )


def origins_of(url: str) -> str:
    """Return the origins that its pages may have, as AllowedOrigins takes them."""
    return f"{url},{url.replace(LOOPBACK, 'localhost')}"
