"""The stand-in itself, without HTTP: a request goes in, an answer comes out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any

from local.sandbox import contract
from local.sandbox.admission import RateHeaders, Refusal, refused_rate, refused_token
from local.sandbox.book import Book, Recorded
from local.sandbox.contract import UnreadableBodyError
from local.sandbox.faults import FaultPlan, FaultRule, Place
from local.sandbox.limiter import Decision, Peak, RateLimiter
from local.sandbox.reading import Reading
from local.sandbox.records import record_of
from local.sandbox.settings import Settings

QUEUED = "Event queued for processing."

TOO_LONG = Refusal(413, "The body is too long.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request, read.

    Header names are lower-case. `fields` is empty where the body is not readable as an
    event: `refusal` then says why.
    """

    method: str
    headers: Mapping[str, str]
    received_at: float
    fields: dict[str, object] = field(default_factory=dict)
    refusal: Refusal | None = None
    request_id: str = field(default_factory=lambda: f"req_{uuid.uuid4().hex}")


def read_request(
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
    received_at: float,
) -> Received:
    """Read a request's body once; None is a body too long to be read."""
    fields, refusal = _read_body(body)
    return Received(
        method=method,
        headers=headers,
        received_at=received_at,
        fields=fields,
        refusal=refusal,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackResponse:
    """What the sender is told."""

    status: int
    message: str
    headers: dict[str, str]

    def as_json(self) -> dict[str, object]:
        """Return the body: a success repeats its status, an error is a message alone."""
        accepted = 202
        if self.status == accepted:
            return {"status": self.status, "message": self.message}
        return {"message": self.message}


class Sandbox:
    """One Space: its tokens, limit, events, and what is to go wrong."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start empty; these settings are what a reset comes back to."""
        self.clock = clock
        self.faults = FaultPlan()
        self._initial = settings or Settings()
        self._rate_headers = RateHeaders()
        self.settings = self._initial
        self._reseed()
        self.reading = self._new_reading()
        self.forget()

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings from the next request on; another window form starts empty."""
        before = self.settings
        self.settings = before.changed(changes)
        if "seed" in changes:
            self._reseed()
        self._limiter.limit = self.settings.requests_per_minute
        if self.settings.window != before.window:
            self._restart_limiter()

    def restore_settings(self) -> None:
        """Go back to the settings of the start."""
        self.settings = self._initial
        self._reseed()
        self._restart_limiter()

    def forget(self) -> None:
        """Forget events, what is recorded of them, requests, counters and the places taken."""
        self.reading.close()
        self.reading = self._new_reading()
        self.book = Book(record=self._record_event)
        self._peak = Peak()
        self._restart_limiter()

    def stats(self) -> dict[str, object]:
        """Return the counters, and the most requests admitted in any 60 s."""
        return {**self.book.stats(), "max_admitted_in_60s": self._peak.most}

    def state(self) -> dict[str, object]:
        """Return what a page shows beside the requests."""
        return {
            "stats": self.stats(),
            "quota": self.quota(),
            "faults": self.faults.as_json(),
            "settings": asdict(self.settings) | {"tokens": None, "forbidden_tokens": None},
            "timeline": self.book.timeline.as_json(),
            "records": self.reading.state(self.clock()),
        }

    def quota(self) -> dict[str, object]:
        """Return how much of the limit is taken now."""
        used = self._limiter.used(self.clock())
        return {"used": used, "limit": self._limiter.limit, "window": self.settings.window}

    def pick_fault(self, fields: Mapping[str, object], place: Place) -> FaultRule | None:
        """Return what is to go wrong there, if anything, with what has these fields."""
        return self.faults.pick(fields, self._dice, place)

    def record_others(self, events: Sequence[Mapping[str, object]]) -> range:
        """Record what another sender of the Space brought; returns the records' numbers."""
        now = self.clock()
        visible_at = now + self.settings.shows_up_after_s
        return self.reading.records.add(
            (
                record_of(event, received_at=now, visible_at=visible_at, sender="other")
                for event in events
            ),
            now,
        )

    def process(self, received: Received, fault: FaultRule | None = None) -> TrackResponse:
        """Do what Cometly does with a request, and record it.

        A fault changes nothing but the record: it says what the sender got to see.
        """
        decision = self._limiter.peek(received.received_at)
        refusal = _refused_method(received) or refused_token(received.headers, self.settings)
        if refusal is None:
            decision = self._admit(received.received_at)
            refusal = refused_rate(decision) or _refused_content(received)
        response = TrackResponse(
            status=refusal.status if refusal else 202,
            message=refusal.message if refusal else QUEUED,
            headers=self._headers(received, decision),
        )
        self._record(received, response, fault)
        return response

    def record_fault(self, received: Received, fault: FaultRule) -> None:
        """Record a request that never reached the API."""
        self.book.enter_request(
            request_id=received.request_id,
            received_at=received.received_at,
            status=fault.status_sent,
            message="",
            fault=fault.kind,
            event=None,
            fields=received.fields,
            headers=received.headers,
        )

    def _new_reading(self) -> Reading:
        return Reading(lambda: self.settings, lambda: self.pick_fault({}, "export") is not None)

    def _record_event(self, fields: Mapping[str, object], received_at: float) -> Recorded:
        """Record an accepted event that is no duplicate, unless a fault is about that."""
        fault = self.pick_fault(fields, "record")
        visible_at = received_at + self.settings.shows_up_after_s
        record = record_of(fields, received_at=received_at, visible_at=visible_at, sender="api")
        kept = [record]
        match fault and fault.kind:
            case "forget":
                kept = []
            case "other_amount":
                record.amount += fault.more if fault else 0
            case "record_twice":
                kept = [record, replace(record)]
        numbers = self.reading.records.add(kept, received_at)
        return Recorded(tuple(numbers), fault.kind if fault else None)

    def _reseed(self) -> None:
        self._dice = Random(self.settings.seed)  # noqa: S311 - dice for tests

    def _restart_limiter(self) -> None:
        self._limiter = RateLimiter(self.settings.requests_per_minute, self.settings.window)

    def _admit(self, now: float) -> Decision:
        decision = self._limiter.admit(now)
        if decision.admitted:
            self._peak.admitted(now)
        return decision

    def _record(self, received: Received, response: TrackResponse, fault: FaultRule | None) -> None:
        seen = response.status if fault is None or fault.answers else None
        accepted = response.status == 202
        event = None
        if accepted:
            event = self.book.enter_event(
                request_id=received.request_id,
                received_at=received.received_at,
                status=seen,
                fields=received.fields,
                headers=received.headers,
            )
        self.book.enter_request(
            request_id=received.request_id,
            received_at=received.received_at,
            status=seen,
            message=response.message,
            fault=fault.kind if fault else None,
            event=event,
            fields=received.fields,
            headers=received.headers,
        )

    def _headers(self, received: Received, decision: Decision) -> dict[str, str]:
        headers = {"Request-Id": received.request_id}
        if received.method != "POST":
            headers["Allow"] = "POST"
        rates = self._rate_headers.of(decision, received.received_at, self.settings)
        return headers | rates


def _refused_method(received: Received) -> Refusal | None:
    if received.method == "POST":
        return None
    return Refusal(405, "Only POST is supported here.")


def _refused_content(received: Received) -> Refusal | None:
    if received.refusal is TOO_LONG:
        return TOO_LONG
    if problems := contract.header_problems(received.headers):
        return Refusal(422, " ".join(problems))
    if received.refusal:
        return received.refusal
    problems = contract.problems(received.fields)
    return Refusal(422, " ".join(problems)) if problems else None


def _read_body(body: bytes | None) -> tuple[dict[str, object], Refusal | None]:
    if body is None:
        return {}, TOO_LONG
    try:
        return contract.read_fields(body), None
    except UnreadableBodyError as exc:
        return {}, Refusal(422, str(exc))
