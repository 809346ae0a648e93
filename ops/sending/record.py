"""The file beside a file of events that says how far it was sent: no event is in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ops.errors import OpsError


@dataclass(frozen=True, slots=True)
class Sent:
    """How far a content was sent to an API: up to and with the line `confirmed`."""

    digest: str
    api_url: str
    confirmed: int = 0
    lines: int = 0
    """How many events the file holds; 0 until all were counted."""
    accepted: int = 0
    refused: int = 0
    is_checked: bool = False
    """All lines were looked at, and the run was to go on."""
    is_complete: bool = False

    @classmethod
    def read(cls, file: Path, digest: str, api_url: str) -> Sent:
        """Return what is known of this content at this API: nothing, if the file is of another."""
        anew = cls(digest, api_url)
        try:
            known = cls(**json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return anew
        return known if (known.digest, known.api_url) == (digest, api_url) else anew

    def write(self, file: Path) -> None:
        """Take the old one's place at once, so that a killed run leaves the one or the other."""
        beside = file.with_name(file.name + ".new")
        try:
            beside.write_text(json.dumps(asdict(self)) + "\n", "utf-8")
            beside.replace(file)
        except OSError as exc:
            raise OpsError(
                f"{file}, which says how far the file was sent, cannot be written: {exc.strerror}."
            ) from exc

    def after(self, place: int, *, accepted: int, refused: int) -> Sent:
        return replace(
            self,
            confirmed=place,
            accepted=self.accepted + accepted,
            refused=self.refused + refused,
        )
