from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local import release
from local.release import NotReleasable

ROOT = Path(__file__).resolve().parents[3]
CHANGELOG = """# Changelog

## [0.2.0] - 2026-11-25

### Added

- A thing that takes
  two lines.
- Another
  - with a part

## [0.1.0] - 2026-10-01

- The first.
"""


def project(folder: Path, changelog: str = CHANGELOG, version: str = '"0.2.0"') -> Path:
    package = folder / "src" / "cometly_forwarder"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f'"""What it is."""\n\n__version__ = {version}\n', "utf-8")
    (folder / "CHANGELOG.md").write_text(changelog, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("version", "notes"),
    [
        ("0.2.0", "### Added\n\n- A thing that takes two lines.\n- Another\n  - with a part"),
        ("0.1.0", "- The first."),
    ],
)
def test_the_notes_are_the_versions_section_with_an_item_on_a_line(
    tmp_path: Path, version: str, notes: str
) -> None:
    assert release.notes_for(f"v{version}", project(tmp_path, version=f'"{version}"')) == notes


@pytest.mark.parametrize("tag", ["v0.1.0", "0.2.0", "v0.2.0-rc1"])
def test_a_tag_of_another_version_is_refused(tmp_path: Path, tag: str) -> None:
    root = project(tmp_path)

    with pytest.raises(NotReleasable, match=r"asks for v0\.2\.0"):
        release.notes_for(tag, root)


@pytest.mark.parametrize(
    ("heading", "complaint"),
    [
        pytest.param("## [0.2.0] - unreleased", "date is missing", id="unreleased"),
        pytest.param("## [0.2.0] - 2026-02-30", "date is missing", id="no such day"),
        pytest.param("## [0.2.0] - 20261125", "date is missing", id="without separators"),
        pytest.param("## [0.2.00] - 2026-11-25", "no version", id="another version"),
        pytest.param("## [0.2.0] - 2026-11-25\n\n## [0.1.9]", "says nothing", id="empty"),
    ],
)
def test_a_section_without_version_date_or_content_is_refused(
    tmp_path: Path, heading: str, complaint: str
) -> None:
    root = project(tmp_path, CHANGELOG.replace("## [0.2.0] - 2026-11-25", heading))

    with pytest.raises(NotReleasable, match=complaint):
        release.notes_for("v0.2.0", root)


def test_a_version_that_is_not_written_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReleasable, match="no __version__"):
        release.notes_for("v0.2.0", project(tmp_path, version="computed()"))


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        pytest.param(["v0.0.0"], 1, "The tag is v0.0.0", id="a tag of another version"),
        pytest.param([], 2, "usage:", id="no tag"),
    ],
)
def test_the_command_runs_where_nothing_is_installed(
    arguments: list[str], status: int, says: str
) -> None:
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})"]
    command[-1] += "; from local import release; sys.exit(release.main(sys.argv[1:]))"

    answer = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    assert answer.returncode == status
    assert says in answer.stderr
    assert answer.stdout == ""
