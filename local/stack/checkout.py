"""Where things are: everything that a stack writes lies in the checkout's own `.local/`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Checkout:
    """One copy of the project. Copies share nothing, so they run side by side."""

    root: Path

    @classmethod
    def here(cls) -> Checkout:
        return cls(Path(__file__).resolve().parents[2])

    @property
    def local(self) -> Path:
        return self.root / ".local"

    @property
    def template(self) -> Path:
        return self.root / "template.yaml"

    @property
    def samples(self) -> Path:
        return self.root / "events" / "http"

    @property
    def logs(self) -> Path:
        return self.local / "logs"

    @property
    def build(self) -> Path:
        """What `sam build` makes for the emulator; what it makes for AWS is in `.aws-sam`."""
        return self.local / "build"

    @property
    def stack_file(self) -> Path:
        """What scripts read. It exists only while the stack takes events."""
        return self.local / "stack.json"

    @property
    def processes_file(self) -> Path:
        return self.local / "processes.json"

    @property
    def ports_file(self) -> Path:
        return self.local / "ports.json"

    @property
    def number(self) -> int:
        """A number from the path of the folder: two folders seldom have the same."""
        return int.from_bytes(hashlib.sha256(os.fsencode(self.root)).digest()[:4], "big")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a file; None where there is no such file or it is no JSON object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: object) -> None:
    """Replace a file at once; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    beside.replace(path)
