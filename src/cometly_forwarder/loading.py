"""What a handler imports first: no garbage is collected while the rest is loaded.

Modules and clients are made to stay. Python looks for garbage by the number of objects, so it would
go through all of them again and again: an eighth of what loading a function takes.

It also refuses a package that was built for another runtime or processor. Without that the import
of pydantic fails, with a sentence that names neither.
"""

from __future__ import annotations

import gc
import platform
import sys
from pathlib import Path

STAMP = Path(__file__).with_name("built-for")
# Lambda's names for what `platform.machine` says, in lower case.
_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64", "amd64": "x86_64", "x86_64": "x86_64"}


def refuse_another_package(stamp: Path) -> None:
    """Raise ImportError if `stamp`, which `artefact/build.py` writes, names another target.

    Lambda logs the sentence as it is. Without a stamp the code is no package, and is taken.
    """
    try:
        runtime, architecture = stamp.read_text("utf-8").split()
    except FileNotFoundError:
        return
    runs = f"python{sys.version_info.major}.{sys.version_info.minor}"
    machine = platform.machine()
    on = _ARCHITECTURES.get(machine.lower(), machine)
    if (runtime, architecture) != (runs, on):
        message = (
            f"This package was built for {runtime} on {architecture}, and runs with {runs} on {on}."
            f" Build it with: sam build --parameter-overrides Runtime={runs} Architecture={on}"
        )
        raise ImportError(message)


def done() -> None:
    """Collect garbage from now on, and never look at what is here already."""
    gc.freeze()
    gc.enable()


gc.disable()
refuse_another_package(STAMP)
