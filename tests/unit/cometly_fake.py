"""Cometly's reading side on a socket of this machine: the list, its exports, and their files.

It takes for granted that a wall time which comes twice is the first of the two, that a minute is
counted from the request that began it, and that an export holds what is there when it is asked for.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from cometly_forwarder.event.facts import second_in
from cometly_forwarder.reconcile.listing import PATH

TOKEN = "the-token-of-a-space"
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class FakeCometly:
    """A Space. `faults` are answered first, in turn; None among them closes the connection."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    rows: list[dict[str, Any]] = field(default_factory=list)
    now: Callable[[], float] = lambda: 0.0
    faults: deque[Answer | None] = field(default_factory=deque)
    most_per_page: int = 4000
    failing_exports: int = 0
    broken_files: int = 0
    odd_lines: bool = False
    checks_until_done: int = 2
    members_of_files: int = 1
    zone_of_exports: ZoneInfo | None = None
    asked: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    throttled: int = 0
    url: str = ""
    _window: deque[float] = field(default_factory=deque)
    _exports: list[list[dict[str, Any]]] = field(default_factory=list)

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer | None:
        """Answer a request; None closes the connection unanswered."""
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        self.asked.append((method, parts.path, query))
        if parts.path.startswith("/files/"):
            return self._file(int(parts.path.split("/")[2]), headers)
        if self.faults:
            return self.faults.popleft()
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return told(401, {"message": "Unauthenticated."})
        if method == "POST":
            return self._created(json.loads(body))
        if "/exports/" in parts.path:
            return self._checked(int(parts.path.rsplit("/", 1)[1]))
        return self._listed(query)

    def _listed(self, query: dict[str, list[str]]) -> Answer:
        if wait := self._wait():
            self.throttled += 1
            return told(429, {"message": "Too Many Attempts."}, {"Retry-After": str(wait)})
        start, end = (self._moment(query[name][0]) for name in ("start_date", "end_date"))
        size = min(int(query["per_page"][0]), self.most_per_page)
        found = self._between(start, end)
        first = int(query.get("cursor", ["0"])[0])
        page, rest = found[first : first + size], found[first + size :]
        names = query["fields[]"]
        return told(
            200,
            {
                "data": [{name: row[name] for name in names} for row in page],
                "path": self.url + PATH,
                "per_page": size,
                "next_cursor": str(first + size) if rest else None,
                "prev_cursor": None,
            },
        )

    def _wait(self) -> int:
        while self._window and self._window[0] <= self.now() - 60:
            self._window.popleft()
        if len(self._window) == 7:
            return int(self._window[0] + 60 - self.now()) + 1
        self._window.append(self.now())
        return 0

    def _created(self, body: dict[str, Any]) -> Answer:
        day = date.fromisoformat(body["date"])
        zone = self.zone_of_exports or self.zone
        start, end = (
            datetime.combine(day + timedelta(days=it), time(), zone).timestamp() for it in (0, 1)
        )
        rows = self._between(start, end - 1)
        self._exports.append([{name: row[name] for name in body["fields"]} for row in rows])
        return told(202, {"export_id": len(self._exports), "status": "queued"})

    def _checked(self, number: int) -> Answer:
        if not 1 <= number <= len(self._exports):
            return told(404, {"message": "Not found."})
        path = f"{PATH}/exports/{number}"
        checks = sum(1 for _, asked, _ in self.asked if asked == path)
        if checks < self.checks_until_done:
            return told(200, {"export_id": number, "status": "processing"})
        if number <= self.failing_exports:
            return told(200, {"export_id": number, "status": "failed"})
        url = f"{self.url}/files/{number}?signature=s"
        return told(200, {"export_id": number, "status": "completed", "download_url": url})

    def _file(self, number: int, headers: Any) -> Answer:
        if "Authorization" in headers:
            return told(400, {"message": "Only one way to authenticate is allowed."})
        rows = ["odd"] if self.odd_lines else self._exports[number - 1]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        text = lines.encode()
        size = -(-len(text) // self.members_of_files) or 1
        data = b"".join(_packed(text[at : at + size]) for at in range(0, len(text) or 1, size))
        if self.broken_files:
            self.broken_files -= 1
            data = data[: len(data) // 2]
        return 200, {"Content-Type": "application/gzip"}, data

    def _between(self, start: float, end: float) -> list[dict[str, Any]]:
        found = [row for row in self.rows if start <= _second(row) <= end]
        return sorted(found, key=lambda row: (_second(row), row["id"]))

    def _moment(self, text: str) -> float:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=self.zone).timestamp()


def _packed(text: bytes) -> bytes:
    packed = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return packed.compress(text) + packed.flush()


def told(status: int, content: object, headers: dict[str, str] | None = None) -> Answer:
    """Return an answer of JSON."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    return status, sent, json.dumps(content).encode()


def _second(row: dict[str, Any]) -> int:
    second = second_in(row["event_time_utc"])
    assert second is not None
    return second


@contextmanager
def reading_from(cometly: FakeCometly) -> Iterator[FakeCometly]:
    """Serve a Space on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One packet an answer: else each waits for the acknowledgement of its head.
        wbufsize = -1

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = cometly.answer(self.command, self.path, self.headers, body)
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    cometly.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield cometly
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
