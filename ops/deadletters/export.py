"""Parked events in a file: one JSON object a line, for its owner's eyes alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ops.deadletters.shelf import DeadLetter
from ops.errors import OpsError

_OWNER_ALONE = 0o600


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is being written; its methods raise OpsError where it cannot be."""

    path: Path
    file: TextIO

    def write(self, letter: DeadLetter) -> None:
        with self._told():
            self.file.write(json.dumps(letter.record(), ensure_ascii=True) + "\n")

    def keep(self) -> None:
        """Bring to the disk what was written: after it, the events may be deleted."""
        with self._told():
            self.file.flush()
            os.fsync(self.file.fileno())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise _not_written(self.path, exc) from exc


@contextmanager
def export_to(path: Path) -> Iterator[Export]:
    """Make the file, mode 0600; raises OpsError where there is one already, or none can be."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ALONE)
    except FileExistsError as exc:
        raise OpsError(f"{path} is there already: name another file.") from exc
    except OSError as exc:
        raise _not_written(path, exc) from exc
    file = os.fdopen(number, "w", encoding="utf-8")
    try:
        export = Export(path, file)
        yield export
        export.keep()
    finally:
        # What a full disk did not take would be tried once more here.
        with suppress(OSError):
            file.close()


def _not_written(path: Path, exc: OSError) -> OpsError:
    return OpsError(f"{path} cannot be written: {exc.strerror}.")
