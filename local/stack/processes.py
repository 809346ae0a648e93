"""Start processes in groups of their own, and end exactly those.

A process id alone is no proof: the system gives it out again. So each id is kept with the moment
its process began, and nothing is sent to a process whose moment is another.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local.stack import signals

GRACE = 8.0
"""Seconds that a process group has to end by itself before it is killed."""


@dataclass(frozen=True)
class Identity:
    """A process, beyond mistaking it for a later one with the same id."""

    pid: int
    began: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return the identity of a live process, or None where there is none with this id."""
        began = _began(pid)
        return None if began is None else cls(pid, began)

    @classmethod
    def read(cls, record: object) -> "Identity | None":
        """Read what `record` wrote; None for anything else."""
        if isinstance(record, dict) and isinstance(record.get("pid"), int):
            return cls(record["pid"], str(record.get("began")))
        return None

    @property
    def alive(self) -> bool:
        return _began(self.pid) == self.began

    def record(self) -> dict[str, Any]:
        return asdict(self)


def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Identity:
    """Start a process as the leader of its own group, with its output in `log`."""
    return _identify(_spawn(command, env=env, cwd=cwd, log=log).pid)


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> int:
    """Run a command to its end; return its exit status.

    Where the wait is broken off (by Ctrl-C), the command and all that it started end too.
    """
    leader = None
    try:
        with signals.deferred():
            process = _spawn(command, env=env, cwd=cwd, log=log)
            leader = _identify(process.pid)
        return process.wait()
    finally:
        if leader:
            stop_group(leader)


def _spawn(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> "subprocess.Popen[bytes]":
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    return process


def stop_group(leader: Identity, *, grace: float = GRACE) -> bool:
    """End a process with all that it started; return whether it was still there.

    Its group dies with it, as workers of the emulator end when their leader does.
    """
    if not leader.alive:
        return False
    _signal_group(leader.pid, signal.SIGTERM)
    if not wait_for_end(leader, grace):
        _signal_group(leader.pid, signal.SIGKILL)
        wait_for_end(leader, grace)
    _signal_group(leader.pid, signal.SIGKILL)
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


def _identify(pid: int) -> Identity:
    """Name a child just started, dead already or not."""
    return Identity(pid, _look_up(pid)[1])


def _began(pid: int) -> str | None:
    """Return the moment a live process began, in the system's own words; None for a dead one."""
    _reap(pid)
    state, began = _look_up(pid)
    return None if state in _DEAD else began


_DEAD = {"", "Z", "X"}


def _look_up(pid: int) -> tuple[str, str]:
    """Return a process's state and the moment it began; empty strings where there is none."""
    if not Path("/proc/self/stat").exists():
        return _look_up_by_ps(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    return fields[0], fields[19]


def _look_up_by_ps(pid: int) -> tuple[str, str]:
    """Where there is no /proc (macOS)."""
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    state, _, began = answer.partition(" ")
    return state[:1], began.strip()


def _reap(pid: int) -> None:
    """Take leave of a child of ours that has ended, or it would stay as a zombie."""
    child = _children.get(pid)
    if child and child.poll() is not None:
        del _children[pid]


_children: dict[int, "subprocess.Popen[bytes]"] = {}
"""What this process started and has not seen end."""
