"""What `sam build` runs for each function, step by step. tests/stack looks at a whole package."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from artefact import build
from cometly_forwarder import aws, loading
from tests.unit import cloudformation
from tests.unit.cases import in_one_test

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = cloudformation.read(ROOT / "template.yaml")
RUNTIMES = TEMPLATE["Parameters"]["Runtime"]["AllowedValues"]
ARCHITECTURES = TEMPLATE["Parameters"]["Architecture"]["AllowedValues"]
FUNCTIONS = {
    name: it
    for name, it in TEMPLATE["Resources"].items()
    if it["Type"] == "AWS::Serverless::Function"
}
PAIR = ("Runtime", "Architecture")
UNCHECKED_HASH = 0b01
"""The second word of such a file: https://peps.python.org/pep-0552/"""
THIS_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


# --- The template's way in --------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_built_for_its_runtime_and_processor(name: str) -> None:
    metadata = FUNCTIONS[name]["Metadata"]

    assert metadata["BuildMethod"] == "makefile"
    assert metadata["ContextPath"] == {"Fn::Sub": "src/artefact/${Runtime}/${Architecture}"}


def test_each_runtime_and_processor_of_the_template_has_its_makefile() -> None:
    folder = ROOT / "src" / "artefact"
    found = {path.parent.relative_to(folder).parts for path in folder.glob("*/*/Makefile")}

    assert found == set(itertools.product(RUNTIMES, ARCHITECTURES))


@in_one_test
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_makefile_builds_for_the_runtime_and_processor_of_its_folder(
    name: str, runtime: str, architecture: str
) -> None:
    makefile = ROOT / "src" / "artefact" / runtime / architecture / "Makefile"
    command = ["make", "--dry-run", "--makefile", str(makefile), f"build-{name}"]
    # The make that runs the tests would have this one tell of the folders that it enters.
    outside = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}

    said = subprocess.run(command, capture_output=True, text=True, check=True, env=outside)

    assert said.stdout == f"python3 artefact/build.py {runtime} {architecture}\n"


def test_all_documents_ask_for_the_same_sam() -> None:
    asked = {
        name: set(
            re.findall(r"SAM CLI(?:\]\(\S+\))?\s+(\d+\.\d+)", (ROOT / name).read_text("utf-8"))
        )
        for name in ("README.md", "docs/tutorial.md", "docs/reference.md", "samconfig.toml")
    }

    assert len({*map(frozenset, asked.values())}) == 1
    assert all(asked.values())


def test_sam_sync_makes_no_layer_of_dependencies() -> None:
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))

    assert configuration["default"]["sync"]["parameters"]["dependency_layer"] is False


@pytest.mark.parametrize("environment", ["default", "second-space"])
def test_build_and_deploy_read_one_pair_which_is_the_templates(environment: str) -> None:
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))[environment]
    commands = [it["parameters"] for name, it in configuration.items() if name != "global"]

    pair = configuration["global"]["parameters"]["parameter_overrides"]

    defaults = {name: TEMPLATE["Parameters"][name]["Default"] for name in PAIR}
    assert dict(each.split("=") for each in pair.split()) == defaults
    assert not any("parameter_overrides" in it for it in commands)


# --- Packages ---------------------------------------------------------------------------------


def test_the_models_of_the_services_that_are_called_stay() -> None:
    assert set(get_args(aws.Service)) == build.SERVICES


MODEL: Mapping[str, Any] = {
    "operations": {"Send": {"name": "Send", "documentation": "<p>Sends.</p>"}},
    "shapes": {"Page": {"members": {"documentation": {"shape": "Text", "documentation": "x"}}}},
    "authors": [{"documentation": "y"}, "z"],
}
BARE = {
    "operations": {"Send": {"name": "Send"}},
    "shapes": {"Page": {"members": {"documentation": {"shape": "Text"}}}},
    "authors": [{}, "z"],
}
ENDPOINTS = '{"partitions": [{"partition": "aws", "services": {"sqs": {"a": 1}, "ec2": {}}}]}'


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder as an installer leaves it."""
    folder = tmp_path / "installed"
    files = {
        "botocore/session.py": b"",
        "botocore/data/endpoints.json": ENDPOINTS.encode(),
        "botocore/data/sqs/2012-11-05/service-2.json.gz": gzip.compress(json.dumps(MODEL).encode()),
        "botocore/data/sqs/2012-11-05/examples-1.json": b"{}",
        "botocore/data/ec2/2016-11-15/service-2.json.gz": b"",
        "bin/jp.py": b"",
        ".lock": b"",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    record = folder / "botocore-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text(
        "".join(f'"{name}",{_digest(it)},{len(it)}\n' for name, it in files.items())
        + "botocore-1.0.dist-info/RECORD,,\n",
        "utf-8",
    )
    return folder


def test_the_models_of_other_services_go(installed: Path) -> None:
    build.prune(installed)

    data = installed / "botocore" / "data"
    assert {path.name for path in data.iterdir()} == {"endpoints.json", "sqs"}
    assert not (installed / "bin").exists()
    assert not (installed / ".lock").exists()


def test_what_a_model_says_to_people_goes(installed: Path) -> None:
    build.prune(installed)

    folder = installed / "botocore" / "data" / "sqs" / "2012-11-05"
    [path] = folder.iterdir()
    assert json.loads(gzip.decompress(path.read_bytes())) == BARE


def test_the_same_model_gives_the_same_bytes(installed: Path) -> None:
    path = installed / "botocore" / "data" / "sqs" / "2012-11-05" / "service-2.json.gz"
    build.prune(installed)
    once = path.read_bytes()

    build.prune(installed)

    assert path.read_bytes() == once


def test_the_addresses_of_other_services_go(installed: Path) -> None:
    build.prune(installed)

    endpoints = json.loads((installed / "botocore" / "data" / "endpoints.json").read_text("utf-8"))
    assert endpoints == {"partitions": [{"partition": "aws", "services": {"sqs": {"a": 1}}}]}


def test_a_package_records_the_files_that_it_still_has_as_they_are(installed: Path) -> None:
    build.prune(installed)

    with (installed / "botocore-1.0.dist-info" / "RECORD").open(encoding="utf-8") as file:
        recorded = {row[0]: (row[1], row[2]) for row in csv.reader(file)}
    files = [path for path in installed.rglob("*") if path.is_file()]
    contents = {str(path.relative_to(installed)): path.read_bytes() for path in files}
    itself = "botocore-1.0.dist-info/RECORD"
    assert recorded == {
        name: ("", "") if name == itself else (_digest(it), str(len(it)))
        for name, it in contents.items()
    }


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    return f"sha256={digest.rstrip('=')}"


@pytest.mark.parametrize(
    "name",
    [
        "botocore-1.0.dist-info/RECORD",
        "botocore/data/endpoints.json",
        "botocore/data/sqs/2012-11-05/service-2.json.gz",
    ],
)
def test_a_file_that_is_a_link_into_a_cache_is_not_changed_there(
    installed: Path, tmp_path: Path, name: str
) -> None:
    path, cached = installed / name, tmp_path / "cached"
    cached.hardlink_to(path)
    before = cached.read_bytes()

    build.prune(installed)

    assert cached.read_bytes() == before
    assert path.read_bytes() != before


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run."""
    ran: list[list[str]] = []
    monkeypatch.setattr(build, "_run", lambda command, _: ran.append(command))
    return ran


def test_uv_installs_wheels_for_the_runtimes_oldest_glibc(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/bin/uv")

    build.install(Path("requirements.txt"), Path("to"), "python3.13", "arm64")

    (command,) = commands
    assert command[0] == "/bin/uv"
    assert {"--no-build", "aarch64-manylinux_2_17", "--require-hashes", "3.13"} <= set(command)


def test_pip_does_it_where_there_is_no_uv(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)

    build.install(Path("requirements.txt"), Path("to"), "python3.11", "x86_64")

    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert {":all:", "manylinux_2_17_x86_64", "--require-hashes", "3.11"} <= set(command)


def test_without_either_it_says_what_to_do(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(SystemExit, match="install uv"):
        build.install(Path("requirements.txt"), Path("to"), "python3.13", "arm64")

    assert commands == []


def test_packages_that_cannot_be_installed_end_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("no-hash-at-all==1.0\n", "utf-8")

    with pytest.raises(SystemExit, match="could not be installed"):
        build.install(requirements, tmp_path / "to", "python3.13", "arm64")


# --- The whole, with nothing to install -------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `src`, where SAM runs the build, and packages without anything to compile."""
    source = tmp_path / "source"
    (source / "cometly_forwarder" / "__pycache__").mkdir(parents=True)
    (source / "cometly_forwarder" / "__pycache__" / "old.pyc").write_bytes(b"")
    (source / "cometly_forwarder" / "module.py").write_text("VALUE = 1\n", "utf-8")
    monkeypatch.chdir(source)
    monkeypatch.setenv("ARTIFACTS_DIR", str(tmp_path / "made"))

    def install(_: Path, folder: Path, *__: str) -> None:
        (folder / "botocore" / "data").mkdir(parents=True)
        (folder / "botocore" / "data" / "endpoints.json").write_text(ENDPOINTS, "utf-8")

    monkeypatch.setattr(build, "install", install)
    return source


@pytest.mark.usefixtures("source")
def test_a_package_holds_our_code_with_bytecode_of_its_own(tmp_path: Path) -> None:
    build.main([THIS_RUNTIME, "arm64"])

    compiled = [path.name for path in (tmp_path / "made").rglob("*.pyc")]
    assert compiled == [f"module.{sys.implementation.cache_tag}.pyc"]


@pytest.mark.usefixtures("source")
def test_without_the_runtimes_python_it_says_that_there_is_no_bytecode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build.main(["python3.99", "arm64"])

    assert capsys.readouterr().out == (
        "No python3.99 on the PATH: built without bytecode, so cold starts take longer.\n"
    )
    assert (tmp_path / "made" / "cometly_forwarder" / "module.py").is_file()


@pytest.mark.usefixtures("source")
def test_a_package_says_what_it_is_for(tmp_path: Path) -> None:
    build.main(["python3.99", "arm64"])

    stamp = tmp_path / "made" / "cometly_forwarder" / build.STAMP
    assert stamp.read_text("utf-8") == "python3.99 arm64\n"


@pytest.mark.usefixtures("source")
def test_the_carriage_return_of_a_makefile_is_no_part_of_the_processor(tmp_path: Path) -> None:
    build.main(["python3.99", "x86_64\r"])

    stamp = tmp_path / "made" / "cometly_forwarder" / build.STAMP
    assert stamp.read_text("utf-8") == "python3.99 x86_64\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing"),
        (["python3.13"], "python3.13"),
        (["3.13", "arm64"], "3.13 arm64"),
        (["python3.13", "aarch64"], "python3.13 aarch64"),
    ],
)
def test_what_is_no_runtime_and_processor_is_refused_with_a_sentence(
    arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit, match=rf"such as python3\.13 arm64 .* it was given: {said}\."):
        build.main(arguments)


# --- Where a package runs ---------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Our code alone, as it lies in a package: what comes after the check is not there."""
    name = "cometly_forwarder"
    shutil.copytree(ROOT / "src" / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("function", ["ingest", "deliver", "reconcile"])
def test_a_package_for_another_runtime_says_so_before_anything_native_is_imported(
    package: Path, function: str
) -> None:
    (package / "cometly_forwarder" / build.STAMP).write_text("python3.99 arm64\n", "utf-8")

    said = subprocess.run(
        # -S: nothing is installed, so that the check has to come first.
        [sys.executable, "-S", "-c", f"import cometly_forwarder.{function}.handler"],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "ImportError: This package was built for python3.99 on arm64, and runs" in said.stderr
    assert f"sam build --parameter-overrides Runtime={THIS_RUNTIME} Architec" in said.stderr


@pytest.mark.parametrize(
    ("machine", "stamp"),
    [
        ("aarch64", "arm64"),
        ("arm64", "arm64"),
        ("x86_64", "x86_64"),
        ("AMD64", "x86_64"),
        ("riscv64", "riscv64"),
    ],
)
def test_a_package_is_taken_where_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, stamp: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    path = tmp_path / build.STAMP
    path.write_text(f"{THIS_RUNTIME} {stamp}\n", "utf-8")

    loading.refuse_another_package(path)


@pytest.mark.parametrize(("machine", "stamp"), [("aarch64", "x86_64"), ("x86_64", "arm64")])
def test_a_package_for_another_processor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, stamp: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    path = tmp_path / build.STAMP
    path.write_text(f"{THIS_RUNTIME} {stamp}\n", "utf-8")

    with pytest.raises(ImportError, match=f"was built for {THIS_RUNTIME} on {stamp}, and runs"):
        loading.refuse_another_package(path)


def test_the_check_reads_the_file_that_the_build_writes() -> None:
    assert loading.STAMP.name == build.STAMP


def test_code_without_a_stamp_is_no_package_and_runs_anywhere(tmp_path: Path) -> None:
    loading.refuse_another_package(tmp_path / build.STAMP)


# --- Bytecode ---------------------------------------------------------------------------------


def test_bytecode_is_trusted_whatever_the_sources_date(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("VALUE = 'compiled'\n", "utf-8")
    build.compile_all(tmp_path, sys.executable)
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


def test_a_module_that_does_not_compile_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def", "utf-8")

    with pytest.raises(SystemExit, match=r"broken\.py"):
        build.compile_all(tmp_path, sys.executable)


def test_only_the_runtimes_own_version_compiles_for_it() -> None:
    assert build.interpreter_for(THIS_RUNTIME) == sys.executable
    assert build.interpreter_for("python2.0") is None


def _stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


def test_a_stand_in_that_runs_no_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(tmp_path, "python2.0", "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert build.interpreter_for("python2.0") is None


def test_a_python_that_uv_has_installed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(
        tmp_path, "uv", f'[ "$*" = "python find --no-python-downloads 2.0" ] && echo {tmp_path}/py'
    )
    _stand_in(tmp_path, "py", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert build.interpreter_for("python2.0") == f"{tmp_path}/py"


def _compiled(folder: Path) -> bytes:
    folder.mkdir()
    (folder / "module.py").write_text("def f():\n    raise ValueError\n", "utf-8")
    build.compile_all(folder, sys.executable)
    return next((folder / "__pycache__").iterdir()).read_bytes()
