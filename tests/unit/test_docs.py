"""What the documents claim, as far as a machine can tell: links, names, defaults, tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cometly_forwarder.observability import METRICS

ROOT = Path(__file__).resolve().parents[2]
README, ARCHITECTURE, OPERATIONS = (
    ROOT / name for name in ("README.md", "docs/architecture.md", "docs/operations.md")
)
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALL_METRICS = {*METRICS.values(), "DeliveryLatency"}

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")


class _Template(yaml.SafeLoader):
    """Reads CloudFormation's short forms, such as !Ref, as the plain values behind them."""


def _plain(loader: _Template, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    return loader.construct_mapping(node)  # type: ignore[arg-type]


_Template.add_multi_constructor("!", _plain)
TEMPLATE = yaml.load((ROOT / "template.yaml").read_text("utf-8"), _Template)  # noqa: S506 - safe


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def code_in(path: Path) -> str:
    """Everything in a document that is set as code, in a line or in a block of its own."""
    text = text_of(path)
    return "\n".join(_FENCE.findall(text) + _SPAN.findall(_FENCE.sub("", text)))


def names_in(path: Path) -> set[str]:
    return set(_SPAN.findall(_FENCE.sub("", text_of(path))))


def anchors_of(path: Path) -> set[str]:
    """The anchors that a Markdown page gets from its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[Any]:
    return [
        pytest.param(path, target, id=f"{path.relative_to(ROOT)} {target}")
        for path in DOCUMENTS
        for target in _LINK.findall(_FENCE.sub("", text_of(path)))
        if not target.startswith("https://")
    ]


def row_of(path: Path, name: str) -> list[str]:
    """The cells of the table row that `name` begins."""
    rows = [line for line in text_of(path).splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, f"{path.name} has {len(rows)} rows for {name}"
    return [cell.strip() for cell in rows[0].strip("|").split("|")]


@pytest.mark.parametrize(("path", "target"), links())
def test_a_link_leads_somewhere(path: Path, target: str) -> None:
    place, _, anchor = target.partition("#")
    aim = (path.parent / place).resolve() if place else path

    assert aim.exists()
    assert not anchor or anchor in anchors_of(aim)


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_a_parameter_is_in_the_readme_with_its_default(name: str) -> None:
    default = TEMPLATE["Parameters"][name]["Default"]

    assert row_of(README, name)[1] == (f"`{default}`" if default != "" else "(empty)")


def test_the_readme_has_no_parameter_that_the_template_lacks() -> None:
    table = text_of(README).split("## Parameters")[1].split("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(TEMPLATE["Parameters"])


def test_every_output_is_in_the_readme_and_every_output_read_exists() -> None:
    read = {
        name
        for path in (README, OPERATIONS)
        for name in re.findall(r"output (\w+)", code_in(path))
        if name != "text"
    }

    assert set(TEMPLATE["Outputs"]) <= names_in(README)
    assert read
    assert read <= set(TEMPLATE["Outputs"])


@pytest.mark.parametrize("path", [README, OPERATIONS], ids=lambda path: path.name)
def test_every_metric_is_named(path: Path) -> None:
    assert names_in(path) >= ALL_METRICS


def test_every_counted_log_line_is_explained() -> None:
    assert set(METRICS) <= names_in(OPERATIONS)


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {name for path in DOCUMENTS for name in re.findall(r"\bmake ([a-z-]+)", code_in(path))}

    assert {"run", "test"} <= named
    assert named <= targets


def test_the_tests_that_the_documents_rely_on_exist() -> None:
    named = {
        name for path in DOCUMENTS for name in names_in(path) if re.fullmatch(r"test_\w+", name)
    }
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", text_of(path), re.MULTILINE)
    }

    assert named & names_in(ARCHITECTURE)
    assert named <= written


def test_the_files_that_the_documents_name_exist() -> None:
    named = {
        name
        for path in DOCUMENTS
        for name in names_in(path)
        if re.fullmatch(r"(\w[\w.-]*/)*[\w-]+\.(py|yaml|toml)", name)
    }
    places = (ROOT, ROOT / "src" / "cometly_forwarder")

    assert named
    assert {name for name in named if not any((place / name).exists() for place in places)} == set()


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 200
