"""The AWS emulator alone: no template, no Lambda; queues, tables and secrets are made as needed.

`python -m tests.faults.emulator` runs it until its standard input ends, so that it never outlives
the test session that started it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import urllib3

from local import LOOPBACK
from local.stack import emulator as stack_emulator
from local.stack.environment import REGION

READY_WITHIN_SECONDS = 60.0
# The emulator takes such keys for its root user's; they open nothing.
ROOT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
ROOT |= {"AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run an emulator of one's own, with all of its files in `folder`; yields its URL."""
    port = _free_port()
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.emulator"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(folder, port),
            cwd=Path(__file__).parents[2],
        )
    try:
        url = f"http://{LOOPBACK}:{port}"
        _wait_for(url, process, folder / "emulator.log")
        yield url
    finally:
        process.kill()
        process.communicate()


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    with urllib3.PoolManager(timeout=2.0, retries=False) as http:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if http.request("GET", f"{url}/_ministack/ready").status == 200:
                    return
            time.sleep(0.05)
    raise RuntimeError(f"the emulator did not start: {log.read_text(errors='replace')[-2000:]}")


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Return what a stack's emulator is told, but for its IAM: nothing here has a role."""
    return stack_emulator._environment(folder, port) | ROOT | {"AUTH": "false"}


def _end_with_standard_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    # It reads its environment on import.
    from ministack import app

    app.main()
