"""Which module may know which, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path("src").resolve()
PACKAGE = "cometly_forwarder"

# From the handlers down to the errors. A module knows its own layer and those below it.
LAYERS = (
    {"handlers.ingest", "handlers.deliver"},
    {
        "aws",
        "cometly",
        "connections",
        "cutoff",
        "gate",
        "ledger",
        "observability",
        "secrets",
        "settings",
        "sqs",
        "stopwatch",
    },
    {"doors"},
    {"gate_item"},
    {"answers", "courier", "delivery", "ingestion", "pacing", "quota", "window"},
    {"browser", "claims", "envelope", "events", "phones", "jsontext", "shares", "verdict"},
    {"errors"},
)
# Packages alone: they hold nothing.
PACKAGES = {"", "handlers"}
CORE = (
    "answers",
    "browser",
    "claims",
    "courier",
    "delivery",
    "doors",
    "envelope",
    "errors",
    "events",
    "gate_item",
    "ingestion",
    "jsontext",
    "pacing",
    "phones",
    "quota",
    "shares",
    "verdict",
    "window",
)
OUTSIDE = ("boto3", "botocore", "urllib3", "aws_lambda_powertools")


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted((SOURCE / PACKAGE).rglob("*.py"))}
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def known_to(name: str) -> set[str]:
    """Name the modules of the package that a module imports, for its types as well."""
    known: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            known |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            known |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {imported.removeprefix(f"{PACKAGE}.") for imported in known} & RANKS.keys()


@cache
def loaded_by(code: str) -> frozenset[str]:
    """Run code in a fresh interpreter with an empty environment; returns what it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(done.stdout.split())


def test_every_module_has_its_layer() -> None:
    assert set(MODULES) - PACKAGES == set(RANKS)


@pytest.mark.parametrize("name", sorted(RANKS))
def test_imports_run_one_way(name: str) -> None:
    upwards = {known for known in known_to(name) if RANKS[known] < RANKS[name]}

    assert upwards == set()


def test_the_handlers_do_import_the_core() -> None:
    # Else the rule above would hold of anything.
    assert {"ingestion", "answers", "sqs"} <= known_to("handlers.ingest")


@pytest.mark.parametrize("name", CORE)
def test_the_core_knows_neither_aws_nor_http(name: str) -> None:
    loaded = loaded_by(f"import {PACKAGE}.{name}")

    assert f"{PACKAGE}.{name}" in loaded
    assert loaded & set(OUTSIDE) == set()


@pytest.mark.parametrize("name", ["handlers.ingest", "handlers.deliver"])
def test_a_handler_imports_with_an_empty_environment(name: str) -> None:
    loaded = loaded_by(f"import {PACKAGE}.{name}")

    assert {"boto3", "aws_lambda_powertools"} <= loaded


def test_every_module_imports_with_an_empty_environment() -> None:
    names = [f"{PACKAGE}.{name}" if name else PACKAGE for name in MODULES]

    assert set(names) <= loaded_by("import " + ", ".join(names))


def test_phone_numbers_are_loaded_when_the_first_one_comes() -> None:
    start = f"from {PACKAGE}.handlers import ingest\nfrom {PACKAGE}.events import read_event\n"
    event = {"event_name": "purchase", "email": "grace@example.com"}
    phone = {"phone": "+16505551212"}

    without = loaded_by(start + f"read_event({event})")
    with_one = loaded_by(start + f"read_event({event} | {phone})")

    assert "phonenumbers" not in without
    assert "phonenumbers" in with_one


def test_ingest_does_not_load_what_only_deliver_needs() -> None:
    loaded = loaded_by(f"import {PACKAGE}.handlers.ingest")

    assert f"{PACKAGE}.cometly" not in loaded
    assert f"{PACKAGE}.ledger" not in loaded
