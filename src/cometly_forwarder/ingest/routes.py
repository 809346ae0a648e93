"""The ways in over HTTP: who may enter, what is read, and how it is answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cometly_forwarder import jsontext
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
    """An HTTP request; header names are in lower case, as HTTP APIs write them."""

    headers: Mapping[str, str]
    body: bytes
    source_ip: str


class Keys(Protocol):
    """The callers' keys."""

    def admit(self, key: str) -> bool:
        """Say whether a key is valid; raises Unavailable."""


class Refused(Exception):
    """Ends a request with an answer, wherever it is raised."""

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
        self._authenticate(request)
        content = _content_of(request, MAX_BODY_BYTES)
        key = request.headers.get("idempotency-key")
        if isinstance(content, list):
            if key:
                raise Refused(422, "Idempotency-Key goes with one event: give each its own key.")
            return response_to_many(self._accept(_bounded(content, MAX_EVENTS), self.intake))
        return response_to_one(self._accept([content], self.intake, key)[0])

    def drop_in(self, request: Request) -> Response:
        """`POST /public-api/v1/events/track`: what Cometly takes, answered as Cometly answers."""
        self._authenticate(request)
        content = _content_of(request, MAX_BODY_BYTES)
        key = request.headers.get("idempotency-key")
        return response_as_cometly(self._accept([content], self.intake, key)[0])

    def pages(self, request: Request) -> Response:
        """`POST /collect`: what a page sends, after `admit_page`."""
        content = _content_of(request, browser.MAX_BODY_BYTES)
        visitor = visitor_of(request.source_ip, request.headers, self.browser.proxy_hops)

        if isinstance(content, list):
            events = _bounded(content, browser.MAX_EVENTS)
            return response_to_many(self._accept_from(visitor, events))
        return response_to_one(self._accept_from(visitor, [content])[0])

    def preflight(self, request: Request) -> Response:
        """`OPTIONS /collect`: what a browser asks before it sends application/json."""
        return Response(204, {}, preflight_headers(request.headers["origin"]))

    def admit_page(self, origin: str) -> dict[str, str]:
        """Return the headers with which a page of this origin may read its answer; or refuse it."""
        if not self.browser.origins:
            raise Refused(403, "This door is shut: AllowedOrigins names no origin.")
        if origin not in self.browser.origins:
            raise Refused(403, "This origin is not allowed here.", Vary="Origin")
        return cors_headers(origin)

    def _accept_from(self, visitor: Visitor, raws: Sequence[object]) -> list[Receipt]:
        """Take a visitor's events, unless they are too many, valid or not; the log names nobody."""
        if wait := self.shares.take(visitor.ip, len(raws)):
            self.journal.record("ingest.limited", count=len(raws))
            raise Refused(429, _too_many(self.shares), Retry_After=str(math.ceil(wait)))
        return self._accept(
            raws, self.page_intake, prepare=lambda raw: self.browser.event_from(raw, visitor)
        )

    def _authenticate(self, request: Request) -> None:
        if not self.keys.admit(_presented_key(request.headers)):
            raise Refused(401, "The key is missing or wrong.", WWW_Authenticate="Bearer")

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


def _content_of(request: Request, most: int) -> object:
    if len(request.body) > most:
        raise Refused(413, f"A request must not exceed {most // 1024} KiB.")
    content: object = jsontext.parse(request.body)
    return content


def _too_many(shares: Shares) -> str:
    return f"More than {shares.per_minute} events a minute came from this address; try again."


def _bounded(events: list[object], most: int) -> list[object]:
    if not events:
        raise Refused(422, "The array holds no event.")
    if len(events) > most:
        raise Refused(413, f"An array must not hold more than {most} events.")
    return events


def _presented_key(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    bearer = key.strip() if scheme.lower() == "bearer" else ""
    return bearer or headers.get("x-api-key", "").strip()
