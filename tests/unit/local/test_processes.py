import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.stack import processes
from local.stack.processes import Identity

# For a machine that has other things to do.
PATIENCE_SECONDS = 50.0
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
time.sleep(60)
"""
PARENT = [sys.executable, "-S", "-c", _PARENT]
STUBBORN = [sys.executable, "-S", "-c", _STUBBORN]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Identity]:
    process = processes.start(SLEEP, env=dict(os.environ), cwd=tmp_path, log=tmp_path / "log")
    yield process
    processes.stop_group(process)


def test_a_process_is_known_again_from_its_record(sleeper: Identity) -> None:
    again = Identity.read(sleeper.record())

    assert again == sleeper
    assert again.alive


def test_a_process_that_only_has_the_same_id_is_left_alone(sleeper: Identity) -> None:
    earlier = replace(sleeper, mark=1)

    assert not earlier.alive
    assert not processes.stop_group(earlier)
    assert processes.stop_alone(earlier, grace=0.1)
    assert sleeper.alive


def test_a_process_ends_with_all_that_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = processes.start(PARENT, env=dict(os.environ), cwd=tmp_path, log=log)
    child = _first_number_in(log)

    assert processes.stop_group(parent)

    assert not parent.alive
    assert _gone(child)


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = processes.start(STUBBORN, env=dict(os.environ), cwd=tmp_path, log=log)
    _first_number_in(log)

    assert processes.stop_group(process, grace=0.2)
    assert not process.alive


def test_a_command_says_how_it_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "print('why'); raise SystemExit(3)"]
    log = tmp_path / "folder" / "log"

    assert processes.run(command, env=dict(os.environ), cwd=tmp_path, log=log) == 3
    assert log.read_text("utf-8") == "why\n"


def test_a_command_that_is_broken_off_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = signal.signal(signal.SIGALRM, _interrupt)
    threading.Thread(target=_interrupt_when_there_is_a_child, args=(log,), daemon=True).start()

    with pytest.raises(KeyboardInterrupt):
        processes.run(PARENT, env=dict(os.environ), cwd=tmp_path, log=log)

    signal.signal(signal.SIGALRM, before)
    assert _gone(_first_number_in(log))


@pytest.mark.parametrize("record", [None, {}, {"pid": "1"}, 7], ids=repr)
def test_what_is_no_record_is_no_process(record: object) -> None:
    assert Identity.read(record) is None


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _interrupt_when_there_is_a_child(log: Path) -> None:
    _first_number_in(log)
    time.sleep(0.5)  # it is waited for by then
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)


def _first_number_in(log: Path) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (log.exists() and (text := log.read_text("utf-8")).endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(text)


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Identity.of(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return Identity.of(pid) is None
