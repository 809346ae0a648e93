"""What pyproject.toml names, against what `make lock` has pinned."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
GROUPS: dict[str, list[Any]] = PYPROJECT["dependency-groups"]
OF_A_FUNCTION = ROOT / "src" / "requirements.txt"
OF_A_DEVELOPER = ROOT / "requirements" / "dev.txt"
OF_UV = ROOT / "requirements" / "uv.txt"
LOCKS = (OF_A_FUNCTION, OF_A_DEVELOPER, OF_UV)


def named_by(group: str) -> list[Requirement]:
    """Return what a group names, with what the groups that it includes name."""
    return [
        requirement
        for entry in GROUPS[group]
        for requirement in (
            [Requirement(entry)] if isinstance(entry, str) else named_by(entry["include-group"])
        )
    ]


def pins_in(path: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)(?:\[[^]]*])?==([^\s;]+)", path.read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def fits(named: Requirement, pins: dict[str, str]) -> bool:
    pin = pins.get(canonicalize_name(named.name))
    return pin is not None and named.specifier.contains(pin)


PACKAGED = [Requirement(text) for text in PYPROJECT["project"]["dependencies"]]


@pytest.mark.parametrize(
    ("named", "lock"),
    [
        pytest.param(named_by("lambda"), OF_A_FUNCTION, id="the functions' own"),
        pytest.param(PACKAGED, OF_A_DEVELOPER, id="the command line's"),
        pytest.param(named_by("dev"), OF_A_DEVELOPER, id="a developer's"),
        pytest.param(named_by("uv"), OF_UV, id="uv"),
    ],
)
def test_what_is_named_is_pinned_at_a_version_that_fits(
    named: list[Requirement], lock: Path
) -> None:
    pins = pins_in(lock)

    unfit = {it.name for it in named if not fits(it, pins)}

    assert unfit == set()


@pytest.mark.parametrize("lock", [OF_A_FUNCTION, OF_UV], ids=lambda path: path.parent.name)
def test_a_developer_has_the_versions_that_run_in_lambda(lock: Path) -> None:
    pins = pins_in(lock)

    assert pins
    assert pins.items() <= pins_in(OF_A_DEVELOPER).items()


def test_every_group_is_a_developers() -> None:
    included = {entry["include-group"] for entry in GROUPS["dev"]}

    assert included == GROUPS.keys() - {"dev"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_registry(lock: Path) -> None:
    text = lock.read_text("utf-8")

    assert "://" not in text
    assert "--index-url" not in text
    assert "--hash=sha256:" in text
