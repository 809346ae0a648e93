"""Check a tag against the version and the changelog; print what the changelog says of it.

python -m local.release v0.1.0 > notes.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_SECTION = re.compile(r"^(?=## )", re.MULTILINE)
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WRAPPED = re.compile(r"\n +(?=[^\s*-])")


class NotReleasable(Exception):
    """The tag, the version and the changelog do not agree; the message says where."""


def notes_for(tag: str, root: Path) -> str:
    """Return what the changelog says of a tagged version, or raise NotReleasable."""
    version = version_of(root)
    if tag != f"v{version}":
        raise NotReleasable(f"The tag is {tag}; the version {version} asks for v{version}.")
    heading, notes = _section_of(version, (root / "CHANGELOG.md").read_text("utf-8"))
    if not _is_date(heading.removeprefix(f"## [{version}] - ")):
        raise NotReleasable(f"CHANGELOG.md has {heading!r}; a date is missing, as in 2026-01-31.")
    if not notes:
        raise NotReleasable(f"CHANGELOG.md says nothing of {version}.")
    return _unwrapped(notes)


def version_of(root: Path) -> str:
    """Read `__version__` without an import: nothing is installed where this runs."""
    path = root / "src" / "cometly_forwarder" / "__init__.py"
    found = _VERSION.search(path.read_text("utf-8"))
    if not found:
        raise NotReleasable(f"{path.relative_to(root)} has no __version__.")
    return found[1]


def _section_of(version: str, changelog: str) -> tuple[str, str]:
    for section in _SECTION.split(changelog):
        heading, _, notes = section.partition("\n")
        if heading.startswith(f"## [{version}]"):
            return heading, notes.strip()
    raise NotReleasable(f"CHANGELOG.md has no version {version}.")


def _is_date(text: str) -> bool:
    if not _ISO_DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _unwrapped(notes: str) -> str:
    """Put each item on a line of its own: GitHub shows every line break of a release's notes."""
    return _WRAPPED.sub(" ", notes)


def main(arguments: Sequence[str]) -> int:
    """Print the notes of the tag in `arguments`; return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m local.release TAG", file=sys.stderr)
        return 2
    try:
        print(notes_for(arguments[0], _ROOT))
    except NotReleasable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
