"""Bytecode in the artefacts, so that a cold start does not compile every import.

`unchecked-hash`: Python trusts such a file without a look at its source. The ordinary kind holds
the source's date, which the zip's fixed dates would never match, and Lambda cannot write new ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from local.stack import processes
from local.stack.errors import StepFailed


def interpreter_for(runtime: str) -> str | None:
    """Return an interpreter of exactly the runtime's version (`python3.13`), or None.

    A runtime ignores the bytecode of another version.
    """
    if runtime == this_runtime():
        return sys.executable
    found = shutil.which(runtime)
    return found if found and _works(found) else None


def _works(interpreter: str) -> bool:
    """Tell a Python from a version manager's stand-in for one that is not chosen."""
    answer = subprocess.run([interpreter, "-S", "-c", ""], capture_output=True, check=False)
    return answer.returncode == 0


def this_runtime() -> str:
    """Return the Lambda runtime that is like the Python running this."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def compile_artefact(folder: Path, interpreter: str, *, log: Path) -> None:
    """Put bytecode beside each module below `folder`, the same bytes wherever the folder is."""
    command = [interpreter, "-m", "compileall", "-q", "-f", "-j", "2"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(folder), str(folder)]
    if processes.run(command, env=os.environ, cwd=folder, log=log):
        raise StepFailed(f"Compiling {folder.name} failed.", log=log)


def artefacts_in(build: Path) -> list[Path]:
    """Return the folders of functions that `sam build` left in `build`."""
    return sorted(folder for folder in build.iterdir() if folder.is_dir())
