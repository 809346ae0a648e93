"""CONTRIBUTING and SECURITY name what exists: files, targets, tests, settings of the workflows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRIBUTING, SECURITY = ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"
BOTH = pytest.mark.parametrize("path", [CONTRIBUTING, SECURITY], ids=lambda path: path.name)
WORKFLOWS = "\n".join(
    path.read_text("utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")
)

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?!https://)([^)#\s]+)")
_FILE = re.compile(r"(?:[\w.*-]+/)+[\w.*-]*|[\w*-]+\.(?:py|toml|yaml|md)")


def names_in(path: Path) -> set[str]:
    return set(_SPAN.findall(_FENCE.sub("", path.read_text("utf-8"))))


def commands_in(path: Path) -> str:
    """Everything that is set as code."""
    text = path.read_text("utf-8")
    return "\n".join([*_FENCE.findall(text), *names_in(path)])


def exists(name: str) -> bool:
    return any(ROOT.glob(name)) or any((ROOT / "tests" / "stack").glob(name))


@BOTH
def test_the_files_that_are_named_exist(path: Path) -> None:
    named = {name for name in names_in(path) if _FILE.fullmatch(name)}
    linked = set(_LINK.findall(path.read_text("utf-8")))

    assert named
    assert {name for name in named | linked if not exists(name)} == set()


def test_the_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    named = set(re.findall(r"\bmake ([a-z-]+)", commands_in(CONTRIBUTING)))

    assert {"test", "unit", "lock"} <= named
    assert named <= targets


def test_the_programs_that_are_named_exist() -> None:
    named = set(re.findall(r"-m (?!pytest)([\w.]+)", commands_in(CONTRIBUTING)))

    assert {"bench.soak", "local.openapi", "local.release"} <= named
    assert {name for name in named if importlib.util.find_spec(name) is None} == set()


def test_the_variables_of_a_deployment_are_those_that_the_workflows_read() -> None:
    read = set(re.findall(r"\bvars\.(\w+)", WORKFLOWS))

    assert len(read) == 3
    assert read <= names_in(CONTRIBUTING)


def test_the_readme_leads_to_both() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert {"CONTRIBUTING.md", "SECURITY.md"} <= set(_LINK.findall(readme))
