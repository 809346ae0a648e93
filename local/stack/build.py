"""`sam build` for the emulator; `python -m local.stack.build` does it for AWS (`make build`)."""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from local.stack import processes, sam
from local.stack.checkout import Checkout
from local.stack.console import complain, say, step
from local.stack.environment import isolated
from local.stack.errors import StackError, StepFailed

_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def this_architecture() -> str:
    """Return Lambda's name for this machine's processor."""
    return _ARCHITECTURES.get(platform.machine().lower(), "x86_64")


def this_runtime() -> str:
    """Return the Lambda runtime that is like the Python running this."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def build_for_emulator(checkout: Checkout) -> str:
    """Build for the emulator's Python and this processor, unless that is done; return the digest.

    The digest stands for everything that goes into the build.
    """
    runtime, architecture = this_runtime(), this_architecture()
    digest = digest_of(checkout, runtime, architecture)
    mark = checkout.build / "digest"
    if mark.is_file() and mark.read_text("utf-8") == digest:
        return digest
    shutil.rmtree(checkout.build, ignore_errors=True)
    # bench.upgrade builds older versions too, whose method python-uv was a beta feature of SAM.
    sam.run(
        checkout,
        ["build", "--beta-features", "--template", str(checkout.template)]
        + ["--build-dir", str(checkout.build)]
        + ["--parameter-overrides", f"Runtime={runtime}", f"Architecture={architecture}"],
        aws=None,
        what="build",
    )
    mark.write_text(digest, "utf-8")
    return digest


def digest_of(checkout: Checkout, *more: str) -> str:
    """Return a digest over the template, the sources with their requirements, and `more`."""
    digest = hashlib.sha256("\0".join(more).encode())
    for path in sorted(_inputs(checkout)):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(checkout.root)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _inputs(checkout: Checkout) -> Iterable[Path]:
    yield checkout.template
    yield checkout.root / "requirements" / "dev.txt"
    for path in (checkout.root / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def main(arguments: Sequence[str]) -> int:
    """Build for AWS into `.aws-sam`, where `sam deploy` looks."""
    parser = argparse.ArgumentParser(prog="python -m local.stack.build", description=main.__doc__)
    parser.add_argument("--runtime", help="else as samconfig.toml says")
    parser.add_argument("--architecture", help="else as samconfig.toml says")
    options = parser.parse_args(arguments)
    try:
        _build_for_aws(Checkout.here(), Runtime=options.runtime, Architecture=options.architecture)
    except StackError as error:
        complain(error)
        return 1
    return 0


def _build_for_aws(checkout: Checkout, **parameters: str | None) -> None:
    overrides = [f"{name}={value}" for name, value in parameters.items() if value]
    log = checkout.logs / "build-for-aws.log"
    with step(" ".join(["sam build", *overrides])):
        status = processes.run(
            # Named here, they would take the place of all that samconfig.toml names.
            [*sam.COMMAND, "build", *(["--parameter-overrides", *overrides] if overrides else [])],
            env=isolated(checkout),
            cwd=checkout.root,
            log=log,
        )
        if status:
            raise StepFailed(f"sam build failed with exit status {status}.", log=log)
    if not any((checkout.root / ".aws-sam" / "build").rglob("*.pyc")):
        say("  No such Python on the PATH: built without bytecode, so cold starts take longer.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
