"""What an HTTP request brings, and the JSON in its body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Unreadable
from cometly_forwarder.ingest.responses import refusal

_GZIP_NAMES = frozenset({"gzip", "x-gzip"})
_GZIP = b"\x1f\x8b"
# Gzip's second byte is no UTF-8: API Gateway writes U+FFFD for it where it takes a body for text.
_GZIP_AS_TEXT = "\x1f\ufffd".encode()
# What callers name that packs nothing: charsets, transfer encodings, ways to sign an upload.
_NO_ENCODINGS = frozenset(
    {"", "identity", "none", "utf-8", "utf8", "aws-chunked", "chunked", "7bit", "8bit", "binary"}
)
_LINES = tuple(
    f"application/{kind}"
    for kind in ("x-ndjson", "ndjson", "x-jsonlines", "jsonlines", "jsonl", "x-jsonl", "json-seq")
)
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; header names are in lower case, as HTTP APIs write them."""

    headers: Mapping[str, str]
    body: bytes
    source_ip: str
    query: Mapping[str, str] = field(default_factory=dict)
    # The last part of the path.
    name: str = ""


class Refused(Exception):
    """Ends a request with an answer, wherever it is raised."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__()
        self.response = refusal(status, message, **headers)


def content_of(request: Request, most: int) -> object:
    """Return the JSON of a body of at most `most` bytes, unpacked ones too.

    Raises Refused, and Unreadable for what is no JSON.
    """
    body = _bounded(_unpacked(request, most), most)
    try:
        content: object = jsontext.parse_each(body)
    except Unreadable:
        # curl calls JSON a form unless it is told otherwise: the body decides.
        kind = request.headers.get("content-type", "").strip().lower()
        if kind.startswith(_FORMS):
            raise Refused(
                415, "A form cannot be read: send JSON, with Content-Type: application/json."
            ) from None
        if kind.startswith(_LINES):
            raise Refused(
                415, "Lines of JSON cannot be read: send the events as one array."
            ) from None
        raise
    return content


def _bounded(body: bytes, most: int) -> bytes:
    if len(body) > most:
        raise Refused(413, f"A request must not exceed {most // 1024} KiB.")
    return body


def _unpacked(request: Request, most: int) -> bytes:
    encodings = _encodings_in(request.headers.get("content-encoding", ""))
    if not encodings:
        return request.body
    if len(encodings) > 1 or encodings[0] not in _GZIP_NAMES:
        raise Refused(415, "This Content-Encoding cannot be read: send gzip, or none.")
    if request.body.startswith(_GZIP_AS_TEXT):
        raise Refused(
            415,
            "The gzipped body was damaged on its way: API Gateway takes a body of a JSON or text "
            "type for text. Send it with Content-Type: application/octet-stream.",
        )
    if not request.body.startswith(_GZIP):
        return request.body  # a gateway may have unpacked it already
    # Gzip may consist of many members that are empty: what is packed is bounded too.
    return _unzipped(_bounded(request.body, most), most)


def _encodings_in(header: str) -> list[str]:
    names = (name.strip().lower() for name in header.split(","))
    return [name for name in names if name not in _NO_ENCODINGS]


def _unzipped(body: bytes, most: int) -> bytes:
    """Unpack up to one byte more than `most`: a bomb ends there."""
    import gzip  # noqa: PLC0415 - few callers pack what they send
    import io  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            return packed.read(most + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise Unreadable("its gzip is damaged") from exc
