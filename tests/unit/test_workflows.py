"""The workflows for GitHub, as far as a test can hold them. zizmor (make lint) reads them too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FILES}


def commands_in(workflow: str) -> str:
    jobs = WORKFLOWS[workflow]["jobs"].values()
    return "\n".join(step.get("run", "") for job in jobs for step in job.get("steps", []))


def runtimes() -> set[str]:
    """Return the Pythons that the template's Runtime offers, such as 3.13."""
    template = (ROOT / "template.yaml").read_text("utf-8")
    parameter = template.split("\n  Runtime:\n")[1].split("\n\n")[0]
    return set(re.findall(r"python(3\.\d+)", parameter))


def test_the_tests_run_on_every_python_that_the_template_offers() -> None:
    matrix = WORKFLOWS["tests"]["jobs"]["test"]["strategy"]["matrix"]

    assert "make test" in commands_in("tests")
    assert len(runtimes()) > 1
    assert set(matrix["python"]) == runtimes()


def test_the_project_says_that_it_runs_on_these_pythons() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    prefix = "Programming Language :: Python :: "

    named = {it.removeprefix(prefix) for it in project["classifiers"] if it.startswith(prefix)}

    assert named == runtimes()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_workflow_reads_a_secret(path: Path) -> None:
    text = path.read_text("utf-8")

    assert re.findall(r"\bsecrets\b|aws-access-key-id|aws-secret-access-key", text) == []


def test_only_what_deploys_may_ask_for_a_token_that_aws_trusts() -> None:
    asking = {
        f"{name} {title}"
        for name, workflow in WORKFLOWS.items()
        for title, job in workflow["jobs"].items()
        if "id-token" in job["permissions"]
    }

    assert asking == {"deploy deploy", "release deploy"}


def test_a_tag_is_released_after_its_check_and_all_tests_and_deployed_after_that() -> None:
    jobs = WORKFLOWS["release"]["jobs"]

    assert [jobs[name]["needs"] for name in ("test", "release", "deploy")] == [
        "check",
        "test",
        "release",
    ]
    assert "local.release" in commands_in("release")
    assert jobs["test"]["uses"].endswith("/tests.yml")
    assert jobs["deploy"]["uses"].endswith("/deploy.yml")
