import subprocess
import sys
from pathlib import Path

import pytest

from local.stack import bytecode
from local.stack.errors import StepFailed

UNCHECKED_HASH = 0b01
"""The second word of such a file: https://peps.python.org/pep-0552/"""


def test_bytecode_is_trusted_whatever_the_sources_date(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("VALUE = 'compiled'\n", "utf-8")
    bytecode.compile_artefact(tmp_path, sys.executable, log=tmp_path / "log")
    module.write_text("VALUE = 'read'\n", "utf-8")

    answer = subprocess.run(
        [sys.executable, "-S", "-c", "import module; print(module.VALUE)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout == "compiled\n"


def test_the_same_sources_give_the_same_bytes_in_every_checkout(tmp_path: Path) -> None:
    one, other = (_compiled(tmp_path / name) for name in ("one", "other"))

    assert one == other
    assert int.from_bytes(one[4:8], "little") == UNCHECKED_HASH


def test_a_module_that_does_not_compile_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def", "utf-8")

    with pytest.raises(StepFailed) as failed:
        bytecode.compile_artefact(tmp_path, sys.executable, log=tmp_path / "log")

    assert "broken.py" in (tmp_path / "log").read_text("utf-8")
    assert failed.value.log == tmp_path / "log"


def test_only_the_runtimes_own_version_compiles_for_it() -> None:
    assert bytecode.interpreter_for(bytecode.this_runtime()) == sys.executable
    assert bytecode.interpreter_for("python2.0") is None


def test_a_stand_in_that_runs_no_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python2.0"
    shim.write_text("#!/bin/sh\nexit 127\n", "utf-8")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert bytecode.interpreter_for("python2.0") is None


def _compiled(folder: Path) -> bytes:
    folder.mkdir()
    (folder / "module.py").write_text("def f():\n    raise ValueError\n", "utf-8")
    bytecode.compile_artefact(folder, sys.executable, log=folder / "log")
    return next((folder / "__pycache__").iterdir()).read_bytes()
