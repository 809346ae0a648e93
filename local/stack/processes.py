"""Start each process in a group of its own, and end that group alone.

A process id alone is no proof: the system gives it out again. So each id is kept with psutil's mark
of its process, and nothing is sent to a process whose mark is another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from local.stack import signals

GRACE = 8.0
"""Seconds that a process group has to end by itself before it is killed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, told from a later one with the same id."""

    pid: int
    mark: int
    """psutil's hash of the id and the moment of the start, by a clock that nobody sets."""

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of a live process, or None where there is none with this id."""
        try:
            process = psutil.Process(pid)
            return None if process.status() in _DEAD else cls(pid, hash(process))
        except psutil.NoSuchProcess:
            return None

    @classmethod
    def read(cls, record: object) -> Identity | None:
        """Read what `record` wrote; None for anything else."""
        try:
            return cls(**record)  # type: ignore[arg-type]
        except TypeError:
            return None

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def record(self) -> dict[str, Any]:
        return asdict(self)


# A child that has ended stays as a zombie until its parent asks how.
_DEAD = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Identity:
    """Start a process as the leader of its own group, with its output in `log`."""
    return _identify(_spawn(command, env=env, cwd=cwd, log=log))


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> int:
    """Run a command to its end; return its exit status.

    Where the wait is broken off (by Ctrl-C), the command and all that it started end too.
    """
    leader = None
    try:
        with signals.deferred():
            child = _spawn(command, env=env, cwd=cwd, log=log)
            leader = _identify(child)
        return child.wait()
    finally:
        if leader:
            stop_group(leader)


def _spawn(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _started.append(child)
    return child


def _identify(child: subprocess.Popen[bytes]) -> Identity:
    """Name a child just started, dead already or not."""
    return Identity(child.pid, hash(psutil.Process(child.pid)))


def stop_group(leader: Identity, *, grace: float = GRACE) -> bool:
    """End a process with all that it started; return whether it was still there.

    Its group dies with it, as workers of the emulator end when their leader does.
    """
    _reap()
    if not leader.alive:
        return False
    _signal_group(leader.pid, signal.SIGTERM)
    if not wait_for_end(leader, grace):
        _signal_group(leader.pid, signal.SIGKILL)
        wait_for_end(leader, grace)
    _signal_group(leader.pid, signal.SIGKILL)
    _reap()
    return True


def stop_alone(process: Identity, *, grace: float) -> bool:
    """Ask one process to end and wait for it; return whether it did."""
    with contextlib.suppress(ProcessLookupError):
        if process.alive:
            os.kill(process.pid, signal.SIGTERM)
    return wait_for_end(process, grace)


def wait_for_end(process: Identity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _reap() -> None:
    """Forget children that have ended. One that is forgotten before is a warning of Python's."""
    _started[:] = [child for child in _started if child.poll() is None]


_started: list[subprocess.Popen[bytes]] = []
