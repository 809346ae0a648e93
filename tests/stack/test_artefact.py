"""The package of a function as `sam build` makes it: what is in it, and whether that runs.

Wheels come from the registries. Nothing is deployed.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from artefact.build import SERVICES
from local.stack import build, sam
from local.stack.checkout import Checkout
from local.stack.environment import REGION, isolated
from tests.stack.deployed import CheckoutOfTests, build_once

CHECKOUT = Checkout.here()
ROOT, VENV = CHECKOUT.root, Path(sys.executable).parent
OTHER = "python3.13" if build.this_runtime() != "python3.13" else "python3.12"
FUNCTIONS = ("IngestFunction", "DeliverFunction")
MEGABYTE = 1_000_000
# The older of the two systems that Lambda runs Python on, and the newer:
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
GLIBC = {"python3.11": (2, 26), "python3.12": (2, 34), "python3.13": (2, 34), "python3.14": (2, 34)}
# What stands at byte 18 of an ELF file.
MACHINES = {"x86_64": 62, "arm64": 183}


@dataclass(frozen=True)
class Package:
    folder: Path
    runtime: str
    architecture: str

    def all(self, pattern: str) -> list[Path]:
        return sorted(self.folder.rglob(pattern))


def _build(
    folder: Path, runtime: str, architecture: str, *, env: dict[str, str] | None = None
) -> str:
    """Run `sam build` alone, without a configuration; return what it prints."""
    config = folder / "samconfig.toml"
    config.write_text("version = 0.1\n", "utf-8")
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [*sam.COMMAND, "build", "--config-file", str(config), "--build-dir", str(folder / "build")]
        + ["--parameter-overrides", f"Runtime={runtime}", f"Architecture={architecture}"],
        cwd=CHECKOUT.root,
        env=isolated(CHECKOUT) | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _packaged(factory: pytest.TempPathFactory, runtime: str, architecture: str) -> Package:
    folder = factory.mktemp("built")
    _build(folder, runtime, architecture)
    return Package(folder / "build" / FUNCTIONS[0], runtime, architecture)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(("python3.11", "arm64"), id="Amazon Linux 2"),
        pytest.param(("python3.13", "arm64"), id="the default"),
        pytest.param(("python3.14", "x86_64"), id="the newest"),
    ],
)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Package:
    return _packaged(tmp_path_factory, *request.param)


def test_native_code_is_for_the_processor_and_the_glibc_of_the_runtime(package: Package) -> None:
    libraries = package.all("*.so")

    assert libraries
    for each in libraries:
        content = each.read_bytes()
        needed = {(int(a), int(b)) for a, b in re.findall(rb"\bGLIBC_(\d+)\.(\d+)", content)}
        assert int.from_bytes(content[18:20], "little") == MACHINES[package.architecture]
        assert max(needed) <= GLIBC[package.runtime], each.name
        assert f"cpython-{package.runtime.removeprefix('python').replace('.', '')}-" in each.name


def test_each_wheel_says_that_it_is_for_the_runtime(package: Package) -> None:
    processor = {"arm64": "aarch64"}.get(package.architecture, package.architecture)
    newest = GLIBC[package.runtime]

    for wheel in package.all("WHEEL"):
        tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", wheel.read_text("utf-8"), re.MULTILINE)
        assert tags
        assert any(platform == "any" or _fits(platform, processor, newest) for *_, platform in tags)


def _fits(platform: str, processor: str, newest: tuple[int, int]) -> bool:
    found = re.fullmatch(rf"manylinux_(\d+)_(\d+)_{processor}", platform)
    return found is not None and (int(found[1]), int(found[2])) <= newest


def test_only_the_models_of_services_that_are_called_are_there(package: Package) -> None:
    data = package.folder / "botocore" / "data"

    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    assert {"endpoints.json", "partitions.json", "sdk-default-configuration.json"} <= {
        path.name for path in data.iterdir()
    }


def test_every_package_records_the_files_that_it_has(package: Package) -> None:
    for record in package.all("RECORD"):
        with record.open(encoding="utf-8") as file:
            missing = [
                row[0] for row in csv.reader(file) if not (package.folder / row[0]).is_file()
            ]
        assert missing == []


def test_the_zip_is_small(package: Package, tmp_path: Path) -> None:
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for each in package.all("*"):
            file.write(each, each.relative_to(package.folder))

    assert archive.stat().st_size < 12 * MEGABYTE


def test_both_functions_have_the_same_bytes(package: Package) -> None:
    one, other = (package.folder.parent / name for name in FUNCTIONS)

    assert _content(one) == _content(other)


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --- What runs on this machine ----------------------------------------------------------------


@pytest.fixture(scope="session")
def own() -> Package:
    """A package that this machine's Python can run, as the stacks of tests do."""
    checkout = CheckoutOfTests(CHECKOUT.root, "package-tests")
    build_once(checkout)
    return Package(checkout.build / FUNCTIONS[0], build.this_runtime(), build.this_architecture())


def test_every_module_has_bytecode(own: Package) -> None:
    modules = {path for path in own.all("*.py") if "__pycache__" not in path.parts}
    compiled = {
        path.parent.parent / f"{path.name.partition('.')[0]}.py" for path in own.all("*.pyc")
    }

    assert modules
    assert compiled == modules


def test_sam_says_where_there_is_no_bytecode(tmp_path: Path) -> None:
    said = _build(tmp_path, OTHER, "arm64", env={"PATH": f"{VENV}:{os.defpath}"})

    package = Package(tmp_path / "build" / FUNCTIONS[0], OTHER, "arm64")
    no_bytecode = f"No {OTHER} on the PATH: built without bytecode" in said
    assert no_bytecode != bool(package.all("*.pyc"))


ENVIRONMENT = {
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "EVENT_QUEUE_URL": "https://sqs.example.com/1/events",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.example.com/1/parked",
    "TABLE_NAME": "table",
    "SERVER_KEYS_SECRET_ARN": "keys",
    "COMETLY_TOKEN_SECRET_ARN": "token",
    "COMETLY_REQUESTS_PER_MINUTE": "1000",
    "DELIVERY_HORIZON_HOURS": "72",
    "COMETLY_URL": "https://cometly.example.com/public-api/v1/events/track",
    # Nobody listens: a token cannot be read.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}


def _run(package: Package, code: str, environment: Mapping[str, str]) -> str:
    """Run code with what is in the package alone."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"]
    done = subprocess.run(
        command, cwd=package.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("function", "services"),
    [("ingest", ["secretsmanager", "sqs"]), ("deliver", ["dynamodb", "secretsmanager", "sqs"])],
)
def test_a_function_makes_its_clients_when_it_is_loaded(
    own: Package, function: str, services: list[str]
) -> None:
    code = f"""
import botocore.client
made = []
create = botocore.client.ClientCreator.create_client
def spy(self, service_name, *args, **kwargs):
    made.append(service_name)
    return create(self, service_name, *args, **kwargs)
botocore.client.ClientCreator.create_client = spy
import cometly_forwarder.{function}.handler
print(*sorted(made))
"""

    assert _run(own, code, ENVIRONMENT).split() == services


@pytest.mark.parametrize("function", ["ingest", "deliver"])
def test_without_its_settings_a_function_is_loaded_and_says_what_is_missing(
    own: Package, function: str
) -> None:
    builder = {"ingest": "routes", "deliver": "batch_deliveries"}[function]
    code = f"""
from cometly_forwarder.{function} import handler
try:
    handler.{builder}()
except Exception as exc:
    print(type(exc).__name__, exc)
"""

    said = _run(own, code, {})

    assert said == "SettingsError the environment variable EVENT_QUEUE_URL is not set\n"


def test_the_script_of_the_page_is_in_the_package(own: Package) -> None:
    script = (ROOT / "src" / "cometly_forwarder" / "ingest" / "client.js").read_text("utf-8")
    code = """
from cometly_forwarder.ingest import bodies, handler
print(handler.client_script(bodies.Request({}, b"", ""))["body"])
"""

    assert _run(own, code, ENVIRONMENT).strip() == script.strip()
