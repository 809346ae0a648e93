"""The ways in over HTTP: who may enter, what is read, and how it is answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Unavailable, Unreadable, trace_of
from cometly_forwarder.ingest import browser
from cometly_forwarder.ingest.accept import Intake, Receipt, Status, accept
from cometly_forwarder.ingest.browser import (
    BrowserRules,
    Visitor,
    cors_headers,
    preflight_headers,
    visitor_of,
)
from cometly_forwarder.ingest.responses import (
    CRASHED_MESSAGE,
    RETRY_AFTER_SECONDS,
    Response,
    refusal,
    response_as_cometly,
    response_to_many,
    response_to_one,
)
from cometly_forwarder.ingest.shares import Shares
from cometly_forwarder.journal import Journal

MAX_BODY_BYTES = 1024 * 1024
MAX_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes
    source_ip: str


class Keys(Protocol):
    """The callers' keys."""

    def admit(self, key: str) -> bool:
        """Say whether a key is valid; raises Unavailable."""


class _Refused(Exception):
    """Ends the reading of a request with an answer."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__()
        self.response = refusal(status, message, **headers)


_OUTCOMES = {
    Status.ACCEPTED: "ingest.accepted",
    Status.INVALID: "ingest.rejected",
    Status.TOO_LARGE: "ingest.rejected",
    Status.UNAVAILABLE: "ingest.unavailable",
}


@dataclass(frozen=True, slots=True)
class Routes:
    """Every way in over HTTP. What pages send goes to a queue of its own."""

    intake: Intake
    page_intake: Intake
    keys: Keys
    browser: BrowserRules
    shares: Shares
    journal: Journal

    def services(self, request: Request) -> Response:
        """`POST /v1/events`: one event, or an array of them."""
        return self._answered(lambda: self._services(request))

    def drop_in(self, request: Request) -> Response:
        """`POST /public-api/v1/events/track`: what Cometly takes, answered as Cometly answers."""
        return self._answered(lambda: self._drop_in(request))

    def pages(self, request: Request) -> Response:
        """`POST /collect`: a page of an allowed origin. Refusals, too, are for the page to read."""
        return self._answered_to_page(request, lambda: self._pages(request))

    def preflight(self, request: Request) -> Response:
        """`OPTIONS /collect`: what a browser asks before it sends application/json."""
        return self._answered_to_page(
            request, lambda: Response(204, {}, preflight_headers(request.headers["origin"]))
        )

    def _services(self, request: Request) -> Response:
        self._authenticate(request)
        content = _content_of(request, MAX_BODY_BYTES)
        key = request.headers.get("idempotency-key")
        if isinstance(content, list):
            if key:
                raise _Refused(422, "Idempotency-Key goes with one event: give each its own key.")
            return response_to_many(self._accept(_bounded(content, MAX_EVENTS), self.intake))
        return response_to_one(self._accept([content], self.intake, key)[0])

    def _drop_in(self, request: Request) -> Response:
        self._authenticate(request)
        content = _content_of(request, MAX_BODY_BYTES)
        key = request.headers.get("idempotency-key")
        return response_as_cometly(self._accept([content], self.intake, key)[0])

    def _pages(self, request: Request) -> Response:
        content = _content_of(request, browser.MAX_BODY_BYTES)
        visitor = visitor_of(request.source_ip, request.headers, self.browser.proxy_hops)

        if isinstance(content, list):
            events = _bounded(content, browser.MAX_EVENTS)
            return response_to_many(self._accept_from(visitor, events))
        return response_to_one(self._accept_from(visitor, [content])[0])

    def _accept_from(self, visitor: Visitor, raws: Sequence[object]) -> list[Receipt]:
        """Take a visitor's events, unless they are too many, valid or not; the log names nobody."""
        if wait := self.shares.take(visitor.ip, len(raws)):
            self.journal.record("ingest.limited", count=len(raws))
            raise _Refused(429, _too_many(self.shares), Retry_After=str(math.ceil(wait)))
        return self._accept(
            raws, self.page_intake, prepare=lambda raw: self.browser.event_from(raw, visitor)
        )

    def _authenticate(self, request: Request) -> None:
        if not self.keys.admit(_presented_key(request.headers)):
            raise _Refused(401, "The key is missing or wrong.", WWW_Authenticate="Bearer")

    def _accept(
        self,
        raws: Sequence[object],
        intake: Intake,
        key: str | None = None,
        prepare: Callable[[object], object] = lambda raw: raw,
    ) -> list[Receipt]:
        receipts = accept(raws, intake, key, prepare)
        for receipt in receipts:
            self.journal.record(
                _OUTCOMES[receipt.status],
                event_id=receipt.event_id,
                warnings=len(receipt.warnings),
                faults=[fault.field for fault in receipt.faults],
            )
        return receipts

    def _answered_to_page(self, request: Request, answer: Callable[[], Response]) -> Response:
        origin = request.headers.get("origin", "")
        if not self.browser.origins:
            return refusal(403, "This door is shut: AllowedOrigins names no origin.")
        if origin not in self.browser.origins:
            return refusal(403, "This origin is not allowed here.", Vary="Origin")
        response = self._answered(answer)
        return Response(
            response.status, response.body, {**response.headers, **cors_headers(origin)}
        )

    def _answered(self, answer: Callable[[], Response]) -> Response:
        try:
            return answer()
        except _Refused as refused:
            return refused.response
        except Unreadable as exc:
            return refusal(400, f"The body is not JSON that can be read: {exc}.")
        except Unavailable as exc:
            self.journal.record("ingest.unavailable", reason=str(exc))
            wait = str(RETRY_AFTER_SECONDS)
            return refusal(503, "The service is unavailable; please try again.", Retry_After=wait)
        except Exception as exc:  # noqa: BLE001 - a page, too, must be able to read the answer
            return crash_of(exc, self.journal)


def crash_of(exc: Exception, journal: Journal) -> Response:
    """Answer for a defect of ours. Only its trace is logged: a message may quote the event."""
    journal.record("ingest.crashed", reason=trace_of(exc))
    return refusal(500, CRASHED_MESSAGE)


def _content_of(request: Request, most: int) -> object:
    if len(request.body) > most:
        raise _Refused(413, f"A request must not exceed {most // 1024} KiB.")
    content: object = jsontext.parse(request.body)
    return content


def _too_many(shares: Shares) -> str:
    return f"More than {shares.per_minute} events a minute came from this address; try again."


def _bounded(events: list[object], most: int) -> list[object]:
    if not events:
        raise _Refused(422, "The array holds no event.")
    if len(events) > most:
        raise _Refused(413, f"An array must not hold more than {most} events.")
    return events


def _presented_key(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    bearer = key.strip() if scheme.lower() == "bearer" else ""
    return bearer or headers.get("x-api-key", "").strip()
