"""What came in: every request, and every event that Cometly would have taken."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from local.sandbox.contract import unknown_fields
from local.sandbox.duplicates import Duplicate, DuplicateIndex
from local.sandbox.timeline import Outcome, Timeline

# Oldest out first; the counters go on counting.
KEPT = 200_000
# What the page shows: whole requests, refused ones too.
RECENT = 500

IDENTITY_FIELDS = (
    "event_name",
    "idempotency_key",
    "order_id",
    "order_name",
    "email",
    "comet_token",
    "fingerprint",
)
# Seen, but never shown.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_MASK = "••••••••"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What can be read back of an event: the numbers of its records, and a fault of that."""

    ids: tuple[int, ...]
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEntry:
    """One valid event. `status` is None where the sender got no answer.

    A duplicate is not recorded; `recorded` is then None.
    """

    id: int
    request_id: str
    received_at: float
    status: int | None
    fields: dict[str, object]
    duplicate: Duplicate | None
    recorded: Recorded | None
    unknown_fields: list[str]
    headers: dict[str, str]

    def as_json(self) -> dict[str, object]:
        """Return the event as the control API shows it."""
        return {
            "id": self.id,
            "request_id": self.request_id,
            "received_at": self.received_at,
            "status": self.status,
            "fields": self.fields,
            "duplicate_of": self.duplicate and self.duplicate.of,
            "duplicate_rule": self.duplicate and self.duplicate.rule,
            "record_ids": self.recorded.ids if self.recorded else [],
            "record_fault": self.recorded and self.recorded.fault,
            "unknown_fields": self.unknown_fields,
            "headers": self.headers,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEntry:
    """One request to the endpoint, whatever became of it."""

    id: int
    request_id: str
    received_at: float
    status: int | None
    message: str
    fault: str | None
    event_id: int | None
    identity: dict[str, str]

    def as_json(self) -> dict[str, object]:
        """Return the request as the control API shows it; absent identity is null."""
        return {
            "id": self.id,
            "request_id": self.request_id,
            "received_at": self.received_at,
            "status": self.status,
            "message": self.message,
            "fault": self.fault,
            "event_id": self.event_id,
            **{name: self.identity.get(name) for name in IDENTITY_FIELDS},
        }


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the page shows it: with what was sent, whether it was taken or not."""

    request: RequestEntry
    event: EventEntry | None
    fields: Mapping[str, object]
    headers: Mapping[str, str]
    """Secrets are masked."""

    @property
    def outcome(self) -> Outcome:
        """What became of it. An event that was booked stays so where the answer was cut off."""
        if self.event:
            return "duplicate" if self.event.duplicate else "booked"
        return "unanswered" if self.request.status is None else "refused"

    def as_json(self) -> dict[str, object]:
        """Return it as the stream sends it."""
        event = self.event
        return {
            **self.request.as_json(),
            "outcome": self.outcome,
            "fields": self.fields,
            "headers": self.headers,
            "unknown_fields": event.unknown_fields if event else [],
            "duplicate_of": event and event.duplicate and event.duplicate.of,
            "duplicate_rule": event and event.duplicate and event.duplicate.rule,
            "record_ids": event.recorded.ids if event and event.recorded else [],
            "record_fault": event and event.recorded and event.recorded.fault,
        }


_Entry = TypeVar("_Entry", EventEntry, RequestEntry)


# What an event's fields are recorded as, and when it came in.
Recorder = Callable[[Mapping[str, object], float], Recorded]


def _record_nothing(_: Mapping[str, object], __: float) -> Recorded:
    return Recorded(())


class Book:
    """Keeps events and requests in memory, newest `kept` of each."""

    def __init__(self, kept: int = KEPT, record: Recorder = _record_nothing) -> None:
        """Start empty. `record` keeps what can be read back of an event that is no duplicate."""
        self._record = record
        self._events: deque[EventEntry] = deque(maxlen=kept)
        self._requests: deque[RequestEntry] = deque(maxlen=kept)
        self._index = DuplicateIndex()
        self._by_status: Counter[str] = Counter()
        self._received = 0
        self._accepted = 0
        self._booked = 0
        self._recent: deque[Arrival] = deque(maxlen=RECENT)
        self.timeline = Timeline()
        self.generation = uuid.uuid4().hex[:8]
        """Tells the numbers of this book from those of one before it."""

    def enter_event(
        self,
        *,
        request_id: str,
        received_at: float,
        status: int | None,
        fields: dict[str, object],
        headers: Mapping[str, str],
    ) -> EventEntry:
        """Record a valid event and say whether it repeats another."""
        self._accepted += 1
        duplicate = self._index.find(fields)
        event = EventEntry(
            id=self._accepted,
            request_id=request_id,
            received_at=received_at,
            status=status,
            fields=fields,
            duplicate=duplicate,
            recorded=None if duplicate else self._record(fields, received_at),
            unknown_fields=unknown_fields(fields),
            headers={k: v for k, v in headers.items() if k not in _SECRET_HEADERS},
        )
        self._events.append(event)
        if event.duplicate is None:
            self._booked += 1
            self._index.book(event.id, fields)
        return event

    def enter_request(  # noqa: PLR0913 - one line of the log
        self,
        *,
        request_id: str,
        received_at: float,
        status: int | None,
        message: str,
        fault: str | None,
        event: EventEntry | None,
        fields: Mapping[str, object],
        headers: Mapping[str, str],
    ) -> None:
        """Record a request, answered or not, and the event that it brought."""
        self._received += 1
        self._by_status["none" if status is None else str(status)] += 1
        entry = RequestEntry(
            id=self._received,
            request_id=request_id,
            received_at=received_at,
            status=status,
            message=message,
            fault=fault,
            event_id=event.id if event else None,
            identity=_identity(fields),
        )
        self._requests.append(entry)
        arrival = Arrival(entry, event, fields, _masked(headers))
        self._recent.append(arrival)
        self.timeline.count(arrival.outcome, received_at)

    def events(
        self,
        *,
        since: int | None = None,
        limit: int | None = None,
        booked_only: bool = False,
    ) -> list[EventEntry]:
        """Return events, oldest first; see `_page` for since and limit."""
        chosen = [e for e in self._events if not (booked_only and e.duplicate)]
        return _page(chosen, since, limit)

    def requests(self, *, since: int | None = None, limit: int | None = None) -> list[RequestEntry]:
        """Return requests, oldest first; see `_page` for since and limit."""
        return _page(list(self._requests), since, limit)

    @property
    def last(self) -> int:
        """The number of the newest request; 0 before the first."""
        return self._received

    def arrivals(self, *, since: int = 0) -> list[Arrival]:
        """Return those of the last `RECENT` requests that came after `since`, oldest first."""
        new = min(self._received - since, len(self._recent))
        return list(islice(self._recent, len(self._recent) - max(new, 0), None))

    def find(self, request_id: str) -> Arrival | None:
        """Return a request that is still among the last `RECENT`."""
        return next((it for it in self._recent if it.request.request_id == request_id), None)

    def stats(self) -> dict[str, object]:
        """Return the counters; requests without an answer are counted under "none"."""
        return {
            "requests": self._received,
            "booked": self._booked,
            "duplicates": self._accepted - self._booked,
            "by_status": dict(sorted(self._by_status.items())),
        }


def _identity(fields: Mapping[str, object]) -> dict[str, str]:
    values = ((name, fields.get(name)) for name in IDENTITY_FIELDS)
    return {name: value for name, value in values if isinstance(value, str)}


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Hide what is secret; of an Authorization, its scheme tells something and stays."""
    return {name: _mask(name, value) for name, value in headers.items()}


def _mask(name: str, value: str) -> str:
    if name not in _SECRET_HEADERS:
        return value
    scheme, blank, _ = value.partition(" ")
    return f"{scheme} {_MASK}" if name == "authorization" and blank else _MASK


def _page(entries: list[_Entry], since: int | None, limit: int | None) -> list[_Entry]:
    """Return the first `limit` entries after `since`, or without it the last `limit`."""
    if since is None:
        return entries if limit is None else entries[max(0, len(entries) - limit) :]
    return list(islice((entry for entry in entries if entry.id > since), limit))
