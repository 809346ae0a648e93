"""Free ports: a checkout gets the same ones each time, and each checkout others."""

from __future__ import annotations

import contextlib
import socket

from local import LOOPBACK
from local.stack.checkout import Checkout, read_json, write_json
from local.stack.errors import StepFailed, UsageError

FIRST, LAST = 20_000, 31_998
"""Below the ports that systems give to outgoing connections (32768 and up on Linux)."""


def choose(checkout: Checkout, role: str, *, wanted: int | None, taken: set[int]) -> int:
    """Return a free port for `role`, remembered for the next time unless it was asked for."""
    if wanted is not None:
        if not is_free(wanted):
            raise UsageError(f"Port {wanted} is in use by another program; choose another one.")
        return wanted
    remembered = read_json(checkout.ports_file) or {}
    port = _first_free(checkout, remembered.get(role), taken)
    write_json(checkout.ports_file, remembered | {role: port})
    return port


def url_at(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _first_free(checkout: Checkout, remembered: object, taken: set[int]) -> int:
    span = LAST - FIRST
    start = checkout.number % span
    candidates = [remembered] if isinstance(remembered, int) else []
    candidates += [FIRST + (start + step) % span for step in range(span)]
    for port in candidates:
        if port not in taken and is_free(port):
            return port
    raise StepFailed(f"No port from {FIRST} to {LAST} is free.")
