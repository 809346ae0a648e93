"""Where is it? Which event somebody asks for, and what the ledger knows of it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cometly_forwarder.errors import Fault, summary_of
from cometly_forwarder.event.envelope import Envelope, is_event_id
from cometly_forwarder.event.reading import Amend
from cometly_forwarder.ingest.accept import Intake, preview
from cometly_forwarder.ingest.bodies import Refused
from cometly_forwarder.ingest.responses import Response
from cometly_forwarder.ledger_item import Entry, State

# A message comes back when its visibility time-out (template.yaml) is over.
_BACK_WITHIN = "six minutes"
# What a time cannot be: a clock that was wrong may have written it.
_LARGEST_TIME = 1e11
# With a key, only the key says which event it is: these make an event of it.
_ANYBODY = {"event_name": "contact", "email": "anybody@example.com"}
# An event of these fields alone was named, not brought: its content says nothing.
_NAMING = frozenset(
    {
        *("event_name", "order_id", "idempotency_key", "event_time"),
        *("email", "comet_token", "fingerprint", "ip"),
        *("is_upsell", "amount", "order_name"),
    }
)


class Ledger(Protocol):
    """What deliver has written down."""

    def find(self, event_id: str) -> Entry | None:
        """Return what is known of an event; raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Sought:
    """The event that somebody asks for. `content` is empty unless it was brought whole."""

    event_id: str
    content: str = ""


def sought_by_id(event_id: str) -> Sought:
    """Take an id for what it is; raises Refused."""
    if not is_event_id(event_id):
        raise Refused(404, "This is no event's id: that is evt_ and 32 hexadecimal digits.")
    return Sought(event_id)


def sought_in(raw: object, intake: Intake, key: Amend) -> Sought:
    """Find which event a body names, by the reading of those that are posted; raises Refused."""
    if not isinstance(raw, Mapping):
        raise Refused(422, "Look for one event at a time: send a JSON object.")
    [found] = preview([raw], intake, key)
    if found.envelope is None:
        return _sought_by_key(raw, intake, key, found.faults)
    if found.identity[0] == "source":
        raise Refused(
            422,
            "An event without idempotency_key and order_id is an event of its own each time it is "
            "sent: ask for the event_id of its answer.",
        )
    return Sought(found.envelope.event_id, _content_of(found.envelope))


def _sought_by_key(raw: object, intake: Intake, key: Amend, faults: tuple[Fault, ...]) -> Sought:
    """Find it by its key alone; without one its faults say why it is not found."""
    [found] = preview([raw], intake, _with_nothing_but(key))
    if found.envelope and found.identity[0] == "key":
        return Sought(found.envelope.event_id)
    raise Refused(
        422,
        "It does not say which event it is: send the event, its idempotency_key, or its "
        f"event_name, order_id and customer. {summary_of(faults)}",
    )


def _with_nothing_but(key: Amend) -> Amend:
    return lambda told: {**_ANYBODY, "idempotency_key": key(told).get("idempotency_key")}


def _content_of(envelope: Envelope) -> str:
    return "" if envelope.event.keys() <= _NAMING else envelope.content()


def response_to(sought: Sought, entry: Entry | None, now: datetime) -> Response:
    """Say where the event is: 200, or 404 if the ledger does not know it."""
    if entry is None:
        message = (
            "The ledger does not know this event: it may be on the queue, untried; or it was never "
            "accepted, or nothing has happened to it for 30 days."
        )
        return Response(404, {"message": message, "event_id": sought.event_id})
    # An item of a version before says nothing of its content.
    is_other = "" not in (sought.content, entry.content) and entry.content != sought.content
    if is_other and entry.state is State.DELIVERED:
        state, message = "duplicate", _DUPLICATE
    else:
        state, message = _WORDS[entry.state](entry, now.timestamp())
    return Response(
        200,
        {
            "message": message,
            "event_id": sought.event_id,
            "state": state,
            **({"duplicate_of": sought.event_id} if state == "duplicate" else {}),
            # A parked identity begins anew, and keeps none: its message has them.
            "attempts": None if entry.state is State.PARKED else entry.attempts,
            "last_answer": entry.answer or None,
            "request_id": entry.request_id or None,
            "accepted_at": entry.accepted_at or None,
            "updated_at": _time(entry.updated_at),
            "next_try_at": _time(entry.retry_at) if entry.state is State.WAITING else None,
        },
    )


def _claimed(entry: Entry, now: float) -> tuple[str, str]:
    if entry.lease > now:
        return "in_progress", "It is being delivered just now."
    message = f"Its worker left no outcome; it is tried again within {_BACK_WITHIN} of that."
    return "in_progress", message


def _waiting(entry: Entry, now: float) -> tuple[str, str]:
    if entry.retry_at > now:
        return "waiting", "It waits on the queue until next_try_at, and for its turn after that."
    return "waiting", "It waits on the queue for its turn."


def _delivered(_entry: Entry, _now: float) -> tuple[str, str]:
    return "delivered", "Cometly has it."


def _parked(_entry: Entry, _now: float) -> tuple[str, str]:
    return "parked", "It was given up, and put on the dead-letter queue with the reason."


_DUPLICATE = (
    "Cometly has this event with another content, which came first: what was sent here is a "
    "duplicate of it, and dropped."
)
_WORDS = {
    State.CLAIMED: _claimed,
    State.WAITING: _waiting,
    State.DELIVERED: _delivered,
    State.PARKED: _parked,
}


def _time(seconds: float) -> str | None:
    if not 0 < seconds < _LARGEST_TIME:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
