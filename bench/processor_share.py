"""Give a process the share of a processor that Lambda gives a function of so many megabytes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

WHOLE_PROCESSOR_MB = 1769  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
PERIOD_SECONDS = 0.02
_ROOT = Path("/sys/fs/cgroup")
QUOTA = "a control group with a quota"
DUTY_CYCLE = "SIGSTOP and SIGCONT in turns, for want of a control group that can be written"


def share_of(megabytes: int) -> float:
    """Return processors; a function of 1,769 MB has one."""
    return megabytes / WHOLE_PROCESSOR_MB


@contextlib.contextmanager
def limited(pids: Sequence[int], processors: float) -> Iterator[str]:
    """Hold each process to its share for a while; yields how that is done.

    A process that is stopped does not hear the network either, so the duty cycle shows the worse
    case of the two.
    """
    with contextlib.ExitStack() as undoing:
        try:
            for pid in pids:
                undoing.enter_context(_grouped(pid, processors))
        except OSError:
            undoing.pop_all().close()
        else:
            yield QUOTA
            return
    with _duty_cycle(pids, processors):
        yield DUTY_CYCLE


@contextlib.contextmanager
def _grouped(pid: int, processors: float) -> Iterator[None]:
    """Put one process into a control group of its own (version 2, or 1 where there is no other)."""
    period = int(PERIOD_SECONDS * 1_000_000)
    quota = max(int(processors * period), 1000)
    is_second = (_ROOT / "cgroup.controllers").exists()
    parent = _ROOT if is_second else _ROOT / "cpu"
    group = parent / f"bench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        if is_second:
            (group / "cpu.max").write_text(f"{quota} {period}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(OSError):
            (parent / "cgroup.procs").write_text(str(pid))
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a group; a process that has just left may still count for a moment."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)


@contextlib.contextmanager
def _duty_cycle(pids: Sequence[int], processors: float) -> Iterator[None]:
    over = threading.Event()

    def cycle() -> None:
        while not over.wait(PERIOD_SECONDS * min(processors, 1.0)):
            _signal(pids, signal.SIGSTOP)
            over.wait(PERIOD_SECONDS * max(1 - processors, 0.0))
            _signal(pids, signal.SIGCONT)

    thread = threading.Thread(target=cycle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _signal(pids, signal.SIGCONT)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
