"""Run a server as a program of its own."""

from __future__ import annotations

import signal
import socket

import uvicorn


def serve(server: uvicorn.Server, listener: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    # uvicorn stops on these and raises them again when it is done: that is no failure here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run([listener] if listener else None)
