"""Cometly's reading side, without HTTP: a question goes in, an answer comes out.

Each of the four endpoints has a limit of its own, for the whole Space. Where Cometly's pages are
silent: a token is looked at before the limit, the limit before the question.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from local.sandbox.admission import RateHeaders, Refusal, refused_rate, refused_token
from local.sandbox.contract import accept_problems, header_problems
from local.sandbox.exports import Exports
from local.sandbox.limiter import RateLimiter, WindowForm
from local.sandbox.questions import (
    FIELDS,
    Cursor,
    ListQuestion,
    Unprocessable,
    export_question,
    list_question,
    shown,
)
from local.sandbox.records import Record, Records
from local.sandbox.settings import Settings

Endpoint = Literal["list", "record", "export", "export_check"]

# Which setting says how many a minute.
_LIMITS: dict[Endpoint, str] = {
    "list": "lists_per_minute",
    "record": "records_per_minute",
    "export": "exports_per_minute",
    "export_check": "export_checks_per_minute",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, read. Names of headers are lower-case; `body` is None where it is no JSON.

    `url` is the address without its query, as the client wrote it.
    """

    headers: Mapping[str, str]
    url: str
    received_at: float
    query: Sequence[tuple[str, str]] = ()
    body: object = None
    request_id: str = field(default_factory=lambda: f"req_{uuid.uuid4().hex}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, what is said with it, and headers."""

    status: int
    content: object
    headers: Mapping[str, str]


class Reading:
    """What can be read of one Space, and how often it was asked."""

    def __init__(self, settings: Callable[[], Settings], export_fails: Callable[[], bool]) -> None:
        """Start empty. `export_fails` tells whether the export that is queued now is to fail."""
        self.records = Records()
        self.exports = Exports(self.records)
        self._settings = settings
        self._export_fails = export_fails
        self._rate_headers = RateHeaders()
        self._limiters: dict[tuple[Endpoint, WindowForm], RateLimiter] = {}
        self._answered: dict[Endpoint, Counter[int]] = {it: Counter() for it in _LIMITS}

    def close(self) -> None:
        """Give the records' memory back."""
        self.records.close()

    def list(self, asked: Asked) -> Answer:
        """Answer with a page of the records."""
        return self._answer("list", asked, self._page)

    def record(self, asked: Asked, number: str) -> Answer:
        """Answer with one record."""

        def find(asked: Asked) -> object:
            if not number.isdecimal():
                raise Unprocessable("The event ID is invalid.")
            found = self.records.find(int(number), asked.received_at)
            return shown(found, tuple(FIELDS)) if found else Refusal(404, "Event not found.")

        return self._answer("record", asked, find)

    def create_export(self, asked: Asked) -> Answer:
        """Queue an export."""

        def create(asked: Asked) -> object:
            settings = self._settings()
            question = export_question(asked.body, settings.zone)
            return self.exports.create(
                question, asked.received_at, settings.export_s, fails=self._export_fails()
            )

        return self._answer("export", asked, create, status=202)

    def export(self, asked: Asked, number: str, base_url: str) -> Answer:
        """Answer how far an export is; its file is at an address under `base_url`."""

        def check(asked: Asked) -> object:
            export = self.exports.find(int(number)) if number.isdecimal() else None
            if export is None:
                return Refusal(404, "Export not found.")
            return self.exports.told(export, asked.received_at, base_url)

        return self._answer("export_check", asked, check)

    def state(self, now: float) -> dict[str, object]:
        """Return how much is recorded, and what the endpoints answered, by status."""
        answered = {
            name: {str(status): count for status, count in sorted(counts.items())}
            for name, counts in self._answered.items()
        }
        return {**self.records.stats(now), "answered": answered}

    def _answer(
        self,
        endpoint: Endpoint,
        asked: Asked,
        reply: Callable[[Asked], object],
        *,
        status: int = 200,
    ) -> Answer:
        settings = self._settings()
        limiter = self._limiter(endpoint, settings)
        decision = limiter.peek(asked.received_at)
        content: object = refused_token(asked.headers, settings)
        if content is None:
            decision = limiter.admit(asked.received_at)
            content = refused_rate(decision) or _refused_headers(endpoint, asked)
        if content is None:
            try:
                content = reply(asked)
            except Unprocessable as exc:
                content = Refusal(422, str(exc))
        if isinstance(content, Refusal):
            status, content = content.status, {"message": content.message}
        self._answered[endpoint][status] += 1
        headers = self._rate_headers.of(decision, asked.received_at, settings)
        return Answer(status, content, {"Request-Id": asked.request_id, **headers})

    def _limiter(self, endpoint: Endpoint, settings: Settings) -> RateLimiter:
        limit = int(getattr(settings, _LIMITS[endpoint]))
        limiter = self._limiters.setdefault(
            (endpoint, settings.window), RateLimiter(limit, settings.window)
        )
        limiter.limit = limit
        return limiter

    def _page(self, asked: Asked) -> dict[str, object]:
        settings = self._settings()
        question = list_question(asked.query, settings.zone)
        page = _page_of(
            self.records, question, asked.received_at, newest_first=settings.list_order == "newest"
        )
        return {
            "data": [shown(it, question.fields) for it in page.records],
            "path": asked.url,
            "per_page": question.per_page,
            "next_cursor": page.next and page.next.text(),
            "next_page_url": page.next and _address(asked, page.next),
            "prev_cursor": page.before and page.before.text(),
            "prev_page_url": page.before and _address(asked, page.before),
        }


@dataclass(frozen=True, slots=True)
class _Page:
    records: Sequence[Record]
    next: Cursor | None
    before: Cursor | None


def _page_of(records: Records, question: ListQuestion, now: float, *, newest_first: bool) -> _Page:
    """Find a page. One record beyond it tells whether there are more that way."""
    cursor, size = question.cursor, question.per_page
    is_forward = cursor is None or cursor.is_forward
    found = records.page(
        question.span,
        now,
        size + 1,
        after=cursor.position if cursor else None,
        newest_first=newest_first == is_forward,
    )
    has_more, found = len(found) > size, found[:size]
    if not is_forward:
        found.reverse()
    if not found:
        return _Page((), None, None)
    has_next, has_before = (has_more, cursor is not None) if is_forward else (True, has_more)
    return _Page(
        found,
        Cursor(found[-1].position) if has_next else None,
        Cursor(found[0].position, is_forward=False) if has_before else None,
    )


def _address(asked: Asked, cursor: Cursor) -> str:
    query = [it for it in asked.query if it[0] != "cursor"]
    return f"{asked.url}?{urlencode([*query, ('cursor', cursor.text())])}"


def _refused_headers(endpoint: Endpoint, asked: Asked) -> Refusal | None:
    find = header_problems if endpoint == "export" else accept_problems
    problems = find(asked.headers)
    return Refusal(422, " ".join(problems)) if problems else None
