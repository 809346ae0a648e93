"""Make the package of a function: what each `Makefile` beside this runs for `sam build`.

    ARTIFACTS_DIR=... python3 artefact/build.py python3.13 arm64

SAM's method `makefile` gives the folder of the package and nothing else, so the template chooses
the `Makefile` by runtime and processor. Any `python3` may run this: nothing needs more than 3.9.
"""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Those that `cometly_forwarder.aws` makes clients of. The others are most of botocore.
SERVICES = frozenset({"dynamodb", "secretsmanager", "sqs"})
# Python 3.11 runs on Amazon Linux 2, which has glibc 2.26; wheels for 2.17 run on every runtime.
_GLIBC = "manylinux_2_17"
_PROCESSORS = {"arm64": "aarch64", "x86_64": "x86_64"}
# Beside the package's own modules; `cometly_forwarder.loading` compares it with where it runs.
STAMP = "built-for"
_NO_INSTALLER = (
    "Neither uv nor pip is here to install the functions' packages: install uv"
    " (https://docs.astral.sh/uv/), or the package python3-pip."
)


def main(arguments: Sequence[str]) -> None:
    runtime, architecture = _target_of(arguments)
    folder = Path(os.environ["ARTIFACTS_DIR"])
    install(Path("requirements.txt"), folder, runtime, architecture)
    prune(folder)
    shutil.copytree(
        "cometly_forwarder",
        folder / "cometly_forwarder",
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    stamp = folder / "cometly_forwarder" / STAMP
    stamp.write_text(f"{runtime} {architecture}\n", "utf-8")
    interpreter = interpreter_for(runtime)
    if interpreter is None:
        _say(f"No {runtime} on the PATH: built without bytecode, so cold starts take longer.")
    else:
        compile_all(folder, interpreter)


def _target_of(arguments: Sequence[str]) -> tuple[str, str]:
    """Return runtime and processor; a checkout with CRLF leaves a carriage return at the end."""
    given = " ".join(each.strip() for each in arguments)
    if found := re.fullmatch(rf"(python3\.\d+) ({'|'.join(_PROCESSORS)})", given):
        return found[1], found[2]
    raise SystemExit(
        "build.py takes a runtime and a processor, such as python3.13 arm64"
        f" (of {' and '.join(_PROCESSORS)}); it was given: {given or 'nothing'}."
    )


def install(requirements: Path, folder: Path, runtime: str, architecture: str) -> None:
    """Install wheels alone, for a Python and a processor that need not be this machine's."""
    version, platform = runtime.removeprefix("python"), _PROCESSORS[architecture]
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable]
        command += ["--no-build", "--python-platform", f"{platform}-{_GLIBC}"]
    elif importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:"]
        # pip would compare what a package requires with the Python that runs pip.
        command += ["--ignore-requires-python"]
        command += ["--implementation", "cp", "--platform", f"{_GLIBC}_{platform}"]
    else:
        raise SystemExit(_NO_INSTALLER)
    command += ["--python-version", version, "--target", str(folder)]
    command += ["--no-deps", "--require-hashes", "--requirement", str(requirements)]
    _run(command, "The functions' packages could not be installed.")


def prune(folder: Path) -> None:
    """Remove what describes services that are not called, programs for a shell, and uv's lock."""
    data = folder / "botocore" / "data"
    for each in data.iterdir():
        if each.is_dir() and each.name not in SERVICES:
            shutil.rmtree(each)
    _prune_endpoints(data / "endpoints.json")
    for path in data.glob("*/*/examples-1.json"):
        path.unlink()
    for path in data.glob("*/*/*.json.gz"):
        _prune_model(path)
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for record in folder.glob("*.dist-info/RECORD"):
        _correct(record, folder)


def _prune_endpoints(path: Path) -> None:
    """Keep the addresses of services that are called: botocore reads the file for every session."""
    endpoints = json.loads(path.read_text("utf-8"))
    for partition in endpoints["partitions"]:
        services = partition["services"].items()
        partition["services"] = {name: it for name, it in services if name in SERVICES}
    _replace(path, _compact(endpoints).encode())


def _prune_model(path: Path) -> None:
    """Take the sentences for people out of a service's model: three quarters of what is parsed."""
    model = _without_documentation(json.loads(gzip.decompress(path.read_bytes())))
    _replace(path, gzip.compress(_compact(model).encode(), mtime=0))


def _without_documentation(value: object) -> object:
    if isinstance(value, dict):
        # What a service calls so is no text, but a shape.
        kept = ((k, it) for k, it in value.items() if k != "documentation" or type(it) is not str)
        return {name: _without_documentation(it) for name, it in kept}
    return [_without_documentation(it) for it in value] if isinstance(value, list) else value


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _correct(record: Path, folder: Path) -> None:
    """Make a package's list of its files true again: which there are, their hashes and sizes."""
    rows = csv.reader(io.StringIO(record.read_text("utf-8")))
    kept = [(name, digest) for name, digest, _ in rows if (folder / name).is_file()]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    for name, digest in kept:
        content = (folder / name).read_bytes()
        # The list itself has neither.
        lines.writerow([name, _digest(content), len(content)] if digest else [name, "", ""])
    _replace(record, text.getvalue().encode())


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def _replace(path: Path, content: bytes) -> None:
    """Write a new file: the old one may be a link into uv's cache."""
    path.unlink()
    path.write_bytes(content)


def interpreter_for(runtime: str) -> str | None:
    """Return an interpreter of exactly the runtime's version (`python3.13`), or None.

    A runtime ignores the bytecode of another version.
    """
    if runtime == f"python{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    return next(filter(_works, _candidates(runtime)), None)


def _candidates(runtime: str) -> list[str]:
    """Name what may be one: on the PATH, or among those that uv has installed."""
    found = [shutil.which(runtime)]
    if uv := shutil.which("uv"):
        find = [uv, "python", "find", "--no-python-downloads", runtime.removeprefix("python")]
        found.append(subprocess.run(find, capture_output=True, text=True, check=False).stdout)
    return [each.strip() for each in found if each]


def _works(interpreter: str) -> bool:
    """Tell a Python from a version manager's stand-in for one that is not chosen."""
    answer = subprocess.run([interpreter, "-S", "-c", ""], capture_output=True, check=False)
    return answer.returncode == 0


def compile_all(folder: Path, interpreter: str) -> None:
    """Put bytecode beside each module below `folder`, the same bytes wherever the folder is.

    `unchecked-hash`: Python trusts such a file without a look at its source. The ordinary kind
    holds the source's date, which SAM's archive does not keep, and Lambda cannot write new ones.
    """
    command = [interpreter, "-m", "compileall", "-q", "-f", "-j", "0"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(folder), str(folder)]
    _run(command, f"Compiling {folder.name} failed.")


def _run(command: Sequence[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{failure}\n{done.stdout}{done.stderr}")


def _say(text: str) -> None:
    """Print to SAM's output, where it lets through what its builders print."""
    print(text, flush=True)  # noqa: T201 - a command line


if __name__ == "__main__":
    main(sys.argv[1:])
