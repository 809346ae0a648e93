"""Exports of a day: queued, worked on, then a file at an address that holds for 15 minutes.

The address is signed, as S3's are: it needs no token, and refuses a request that brings one.
https://docs.cometly.com/api-reference/endpoint/get-event-export
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from local.sandbox.admission import Refusal
from local.sandbox.questions import ExportQuestion, shown
from local.sandbox.records import Records, utc

Status = Literal["queued", "processing", "completed", "failed"]

DOWNLOAD_PATH = "/_exports/{export_id:int}.ndjson.gz"
HOLDS_S = 900
# Oldest out first: whoever asks for a day of each of two years still finds all of them.
KEPT = 1000
_GZIP = 16 + zlib.MAX_WBITS
_WORDS: dict[Status, str] = {
    "queued": "Export is being processed. Please check back in a few minutes.",
    "processing": "Export is being processed. Please check back in a few minutes.",
    "failed": "Export failed. Please create a new export.",
}


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was asked for. Times are Unix time in seconds."""

    id: int
    question: ExportQuestion
    created_at: float
    completed_at: float
    fails: bool

    def status(self, now: float) -> Status:
        """Tell how far it is; half of its time it is queued."""
        if now >= self.completed_at:
            return "failed" if self.fails else "completed"
        halfway = (self.created_at + self.completed_at) / 2
        return "queued" if now < halfway else "processing"


@dataclass(slots=True)
class Exports:
    """Keeps exports, the newest ones."""

    records: Records
    _kept: dict[int, Export] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    _last: int = 0

    def create(
        self, question: ExportQuestion, now: float, seconds: float, *, fails: bool
    ) -> dict[str, object]:
        """Queue an export that takes so long; returns what is answered."""
        self._last += 1
        self._kept[self._last] = Export(self._last, question, now, now + seconds, fails)
        self._kept.pop(self._last - KEPT, None)
        return {"export_id": self._last, "status": "queued", "message": _WORDS["queued"]}

    def find(self, export_id: int) -> Export | None:
        return self._kept.get(export_id)

    def told(self, export: Export, now: float, base_url: str) -> dict[str, object]:
        """Return what is answered about an export."""
        status = export.status(now)
        told: dict[str, object] = {
            "export_id": export.id,
            "status": status,
            "created_at": utc(export.created_at),
        }
        if status != "completed":
            return told | {"message": _WORDS[status]}
        expires = int(now) + HOLDS_S
        query = urlencode({"expires": expires, "signature": self._signature(export.id, expires)})
        path = DOWNLOAD_PATH.replace("{export_id:int}", str(export.id))
        return told | {
            "completed_at": utc(export.completed_at),
            "download_url": f"{base_url}{path}?{query}",
            "expires_at": utc(expires),
        }

    def refusal(
        self, export_id: int, query: Mapping[str, str], headers: Mapping[str, str], now: float
    ) -> Refusal | None:
        """Tell why an address opens nothing."""
        expires, signature = query.get("expires", ""), query.get("signature", "")
        if "authorization" in headers:
            return Refusal(400, "Only one way to authenticate is allowed: the address has its own.")
        is_signed = expires.isdecimal() and hmac.compare_digest(
            signature.encode(), self._signature(export_id, int(expires)).encode()
        )
        if not is_signed:
            return Refusal(403, "The signature does not match.")
        if now > int(expires):
            return Refusal(403, "The address has expired.")
        return None if export_id in self._kept else Refusal(404, "There is no such file.")

    def file(self, export: Export) -> Iterator[bytes]:
        """Yield the gzipped lines of what was there when the export was completed."""
        gzip = zlib.compressobj(level=1, wbits=_GZIP)
        span, names = export.question.span, export.question.fields
        for records in self.records.every(span, export.completed_at):
            lines = (json.dumps(shown(it, names), separators=(",", ":")) + "\n" for it in records)
            yield gzip.compress("".join(lines).encode())
        yield gzip.flush()

    def _signature(self, export_id: int, expires: int) -> str:
        return hmac.new(self._key, f"{export_id} {expires}".encode(), hashlib.sha256).hexdigest()
