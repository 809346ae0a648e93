"""The ways in over HTTP: who may enter, what is read, and how it is answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cometly_forwarder import jsontext
from cometly_forwarder.event.reading import Amend, InBatch, as_it_is
from cometly_forwarder.event.vocabulary import names_an_event
from cometly_forwarder.ingest import browser
from cometly_forwarder.ingest.accept import Intake, Receipt, accept, preview, with_key
from cometly_forwarder.ingest.bodies import Refused, Request, content_of
from cometly_forwarder.ingest.browser import (
    BrowserRules,
    Visitor,
    cors_headers,
    preflight_headers,
    visitor_of,
)
from cometly_forwarder.ingest.lookup import Ledger, Sought, response_to, sought_by_id, sought_in
from cometly_forwarder.ingest.outcomes import record_array, record_one
from cometly_forwarder.ingest.responses import (
    Response,
    response_as_cometly,
    response_to_many,
    response_to_one,
    response_to_preview,
    response_to_previews,
)
from cometly_forwarder.ingest.shares import Shares
from cometly_forwarder.journal import Journal

MAX_BODY_BYTES = 1024 * 1024
MAX_EVENTS = 500

_BATCHES = ("data", "events", "batch")
# What stands beside an array goes into each of its events.
_MAX_SHARED_BYTES = 8 * MAX_BODY_BYTES
_DRY_RUN = "dry_run"
_FLAGS = {"": True, "true": True, "1": True, "false": False, "0": False}


class Keys(Protocol):
    """The callers' keys."""

    def admit(self, key: str) -> bool:
        """Say whether a key is valid; raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Every way in over HTTP. What pages send goes to a queue of its own."""

    intake: Intake
    page_intake: Intake
    keys: Keys
    ledger: Ledger
    browser: BrowserRules
    shares: Shares
    journal: Journal

    def services(self, request: Request) -> Response:
        """`POST /v1/events`: one event, or an array of them. With `dry_run` nothing is queued."""
        self._authenticate(request)
        content = _events_in(content_of(request, MAX_BODY_BYTES))
        is_dry = _is_dry_run(request)
        if isinstance(content, list):
            events = _bounded(content, MAX_EVENTS, request)
            if is_dry:
                return response_to_previews(preview(events, self.intake))
            receipts = accept(events, self.intake)
            record_array(self.journal, receipts)
            return response_to_many(receipts)
        key = _key_in(request)
        if is_dry:
            return response_to_preview(preview([content], self.intake, key)[0])
        [receipt] = accept([content], self.intake, key)
        record_one(self.journal, receipt)
        return response_to_one(receipt)

    def drop_in(self, request: Request) -> Response:
        """`POST /public-api/v1/events/track`: what Cometly takes, answered as Cometly answers."""
        self._authenticate(request)
        _refuse_dry_run(request)
        content = content_of(request, MAX_BODY_BYTES)
        if isinstance(_events_in(content), list):
            raise Refused(
                422, "This path takes one event, as Cometly does: arrays go to /v1/events."
            )
        [receipt] = accept([content], self.intake, _key_in(request))
        record_one(self.journal, receipt, is_heard=False)
        return response_as_cometly(receipt)

    def event(self, request: Request) -> Response:
        """`GET /v1/events/{event_id}`: what the ledger knows of an event."""
        self._authenticate(request)
        return self._whereabouts(sought_by_id(request.name))

    def lookup(self, request: Request) -> Response:
        """`POST /v1/events/lookup`: the same of an event that the body names."""
        self._authenticate(request)
        content = content_of(request, MAX_BODY_BYTES)
        return self._whereabouts(sought_in(content, self.intake, _key_in(request)))

    def _whereabouts(self, sought: Sought) -> Response:
        return response_to(sought, self.ledger.find(sought.event_id), self.intake.now())

    def pages(self, request: Request) -> Response:
        """`POST /collect`: what a page sends, after `admit_page`."""
        _refuse_dry_run(request)
        content = _events_in(content_of(request, browser.MAX_BODY_BYTES))
        visitor = visitor_of(request.source_ip, request.headers, self.browser.proxy_hops)
        if isinstance(content, list):
            events = _bounded(content, browser.MAX_EVENTS, request)
            receipts = self._accept_from(visitor, events)
            record_array(self.journal, receipts, is_heard=False)
            return response_to_many(receipts)
        [receipt] = self._accept_from(visitor, [content], _key_in(request))
        record_one(self.journal, receipt, is_heard=False)
        return response_to_one(receipt)

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

    def _accept_from(
        self, visitor: Visitor, raws: Sequence[object], key: Amend = as_it_is
    ) -> list[Receipt]:
        """Take a visitor's events, unless they are too many, valid or not; the log names nobody."""
        if wait := self.shares.take(visitor.ip, len(raws)):
            self.journal.record("ingest.limited", count=len(raws))
            raise Refused(429, _too_many(self.shares), Retry_After=str(math.ceil(wait)))
        now = self.page_intake.now()
        return accept(
            raws, self.page_intake, lambda raw: self.browser.amended(key(raw), visitor, now)
        )

    def _authenticate(self, request: Request) -> None:
        if not self.keys.admit(_presented_key(request.headers)):
            self.journal.record("ingest.refused")
            raise Refused(401, "The key is missing or wrong.", WWW_Authenticate="Bearer")


def _events_in(content: object) -> object:
    """Find the array in the object that other APIs' batches have around it.

    An object that says which event it is holds no others, and of two arrays neither is chosen.
    """
    if not isinstance(content, dict) or isinstance(content, jsontext.Ambiguous):
        return content
    arrays = [name for name in _BATCHES if isinstance(content.get(name), list)]
    if len(arrays) != 1 or names_an_event(content):
        return content
    events = content[arrays[0]]
    beside = {name: value for name, value in content.items() if name != arrays[0]}
    if not beside:
        return events
    _weigh(beside, len(events))
    return [InBatch(event, beside) for event in events]


def _weigh(beside: Mapping[str, object], events: int) -> None:
    try:
        weight = len(jsontext.dump(beside))
    except RecursionError:
        weight = _MAX_SHARED_BYTES
    if weight * events > _MAX_SHARED_BYTES:
        raise Refused(413, "What stands beside the array is too much for so many events.")


def _key_in(request: Request) -> Amend:
    return with_key(request.headers.get("idempotency-key"))


def _is_dry_run(request: Request) -> bool:
    """Read the parameter in any spelling: who misspells it means no event to be booked."""
    return any(_flag(text) for name, text in request.query.items() if _folded(name) == "dryrun")


def _refuse_dry_run(request: Request) -> None:
    if _is_dry_run(request):
        raise Refused(422, "Only POST /v1/events has a dry run; nothing was queued.")


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _flag(text: str) -> bool:
    if (word := text.strip().lower()) not in _FLAGS:
        raise Refused(422, f"The parameter {_DRY_RUN} must be true or false.")
    return _FLAGS[word]


def _too_many(shares: Shares) -> str:
    return f"More than {shares.per_minute} events a minute came from this address; try again."


def _bounded(events: list[object], most: int, request: Request) -> list[object]:
    if request.headers.get("idempotency-key"):
        raise Refused(422, "Idempotency-Key goes with one event: give each its own key.")
    if not events:
        raise Refused(422, "The array holds no event.")
    if len(events) > most:
        raise Refused(413, f"An array must not hold more than {most} events.")
    return events


def _presented_key(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    bearer = key.strip() if scheme.lower() == "bearer" else ""
    return bearer or headers.get("x-api-key", "").strip()
