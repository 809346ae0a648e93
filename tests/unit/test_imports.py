"""Which module runs in which function, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

import pytest

from tests.unit.cases import in_one_test

SOURCE = Path("src").resolve()
PACKAGE = "cometly_forwarder"
# What a module of each folder may import, beside its own folder. "" is the top.
MAY_IMPORT = {
    "": set(),
    "event": {""},
    "gate": {""},
    "ingest": {"", "event"},
    "deliver": {"", "event", "gate"},
    "reconcile": {"", "event"},
}
# What talks to AWS or HTTP; the rest runs without either.
EDGES = {
    "aws",
    "observability",
    "secrets",
    "gate.gate",
    "gate.table",
    "ingest.handler",
    "ingest.ledger",
    "ingest.queue",
    "deliver.cometly",
    "deliver.connections",
    "deliver.deadline",
    "deliver.handler",
    "deliver.ledger",
    "deliver.queue",
    "reconcile.asking",
    "reconcile.exports",
    "reconcile.handler",
    "reconcile.listing",
}
OUTSIDE = ("boto3", "botocore", "urllib3", "aws_lambda_powertools")


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted((SOURCE / PACKAGE).rglob("*.py"))}


def folder_of(name: str) -> str:
    return name.partition(".")[0] if name in MAY_IMPORT or "." in name else ""


def imported_by(name: str) -> set[str]:
    """Name the modules of the package that a module imports, for its types as well."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {each.removeprefix(f"{PACKAGE}.") for each in names} & MODULES.keys()


@cache
def loaded_by(code: str) -> frozenset[str]:
    """Run code in a fresh interpreter with an empty environment; returns what it has loaded."""
    return frozenset(output_of(f"import sys\n{code}\nprint(*sys.modules)").split())


def output_of(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def folders_loaded_by(code: str) -> set[str]:
    loaded = {each.removeprefix(f"{PACKAGE}.") for each in loaded_by(code)}
    return {folder_of(name) for name in loaded & (MODULES.keys() - MAY_IMPORT.keys())}


def modules_named(names: AbstractSet[str]) -> frozenset[str]:
    return frozenset(f"{PACKAGE}.{name}" if name else PACKAGE for name in names)


def test_every_folder_has_its_rule() -> None:
    assert {folder_of(name) for name in MODULES} == MAY_IMPORT.keys()


@in_one_test
@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_its_own_folder_and_those_that_it_may(name: str) -> None:
    folder = folder_of(name)

    assert {folder_of(each) for each in imported_by(name)} <= MAY_IMPORT[folder] | {folder}


def test_the_functions_do_import_what_they_share() -> None:
    # Else the rule above would hold of anything.
    assert {"event.envelope", "secrets"} <= imported_by("ingest.accept") | imported_by(
        "ingest.handler"
    )
    assert {"event.envelope", "gate.rules"} <= imported_by("deliver.preparation") | imported_by(
        "deliver.slots"
    )


def test_the_core_knows_neither_aws_nor_http() -> None:
    core = modules_named(MODULES.keys() - EDGES)

    loaded = loaded_by("import " + ", ".join(core))

    assert core <= loaded
    assert loaded & set(OUTSIDE) == set()


@pytest.mark.parametrize(
    ("function", "folders"),
    [
        ("ingest", {"", "event", "ingest"}),
        ("deliver", {"", "event", "gate", "deliver"}),
        ("reconcile", {"", "event", "reconcile"}),
    ],
)
def test_a_function_loads_its_own_half_with_an_empty_environment(
    function: str, folders: set[str]
) -> None:
    start = f"import {PACKAGE}.{function}.handler"

    assert folders_loaded_by(start) == folders
    assert {"botocore", "aws_lambda_powertools"} <= loaded_by(start)


def test_every_module_imports_with_an_empty_environment() -> None:
    every = modules_named(MODULES.keys())

    assert every <= loaded_by("import " + ", ".join(every))


def test_phone_numbers_are_loaded_when_the_first_one_comes() -> None:
    start = (
        "from datetime import UTC, datetime\n"
        f"import {PACKAGE}.ingest.handler\n"
        f"from {PACKAGE}.event.reading import DEFAULT_RULES, read_event\n"
        "def read(raw): read_event(raw, DEFAULT_RULES, datetime.now(UTC))\n"
    )
    event = {"event_name": "purchase", "email": "grace@example.com"}
    phone = {"phone": "+16505551212"}

    without = loaded_by(start + f"read({event})")
    with_one = loaded_by(start + f"read({event} | {phone})")

    assert "phonenumbers" not in without
    assert "phonenumbers" in with_one


@pytest.mark.parametrize("function", ["ingest", "deliver", "reconcile"])
def test_a_function_loads_nothing_that_it_never_calls(function: str) -> None:
    loaded = loaded_by(f"import {PACKAGE}.{function}.handler")

    assert (
        loaded
        & {
            "asyncio",
            "aws_lambda_powertools.event_handler",
            "boto3",
            "difflib",
            "phonenumbers",
            "s3transfer",
        }
        == set()
    )


BOTOCORES = (
    "import botocore.session\nsession = botocore.session.Session()\n"
    "for name in ('dynamodb', 'secretsmanager', 'sqs'):\n"
    "    session.create_client(name, region_name='eu-central-1')\n"
)
PYDANTICS = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions"}


@pytest.mark.parametrize(("function", "most"), [("ingest", 40), ("deliver", 60)])
def test_beside_botocore_a_function_loads_powertools_pydantic_and_modules_of_ours(
    function: str, most: int
) -> None:
    """Each module of ours is 0.5 to 1 ms of a cold start."""
    loaded = loaded_by(f"import {PACKAGE}.{function}.handler") - loaded_by(BOTOCORES)
    roots = {name.partition(".")[0] for name in loaded}
    others = {it for it in roots - sys.stdlib_module_names if not it.startswith("_sysconfigdata")}

    assert others <= {PACKAGE, "aws_lambda_powertools", "typing_inspection"} | PYDANTICS
    assert sum(name.startswith(PACKAGE) for name in loaded) <= most


@pytest.mark.parametrize("function", ["ingest", "deliver", "reconcile"])
def test_garbage_collection_is_off_before_anything_large_is_loaded(function: str) -> None:
    order = output_of(f"import sys, {PACKAGE}.{function}.handler\nprint(*sys.modules)").split()

    first = order.index(f"{PACKAGE}.loading")
    assert all(first < order.index(name) for name in ("botocore", "pydantic", f"{PACKAGE}.aws"))


@pytest.mark.parametrize("function", ["ingest", "deliver", "reconcile"])
def test_garbage_is_collected_once_a_function_is_loaded(function: str) -> None:
    loaded = f"import gc, {PACKAGE}.{function}.handler\n"

    assert output_of(f"{loaded}print(gc.isenabled(), gc.get_freeze_count() > 0)") == "True True\n"
