"""Who may act for an identity: the ledger as delivery sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from cometly_forwarder.verdict import Verdict


class State(Enum):
    """Where an identity stands in the ledger."""

    CLAIMED = "claimed"
    WAITING = "waiting"
    DELIVERED = "delivered"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The message may act for its identity. `claims` counts those since the last outcome."""

    claims: int
    attempts: int
    last_answer: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """This very message has its outcome already; only its deletion was missed."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Another message answers for this identity."""


@dataclass(frozen=True, slots=True)
class Leased:
    """Another copy of this message is being worked on, at the latest until `until`."""

    until: float


@dataclass(frozen=True, slots=True)
class Ticket:
    """What names a claim: only its holder may settle it. `lease` is Unix time in seconds.

    The owner is the message's content, not its id: a message that went through the dead-letter
    queue comes back with another id, and must not be taken for somebody else's.
    """

    event_id: str
    owner: str
    message_id: str
    lease: float
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the ledger keeps of an attempt. No personal data."""

    state: State
    attempts: int
    verdict: Verdict | None = None
    claims: int = 0


class Ledger(Protocol):
    """One record an identity. Both calls raise Unavailable."""

    def claim(self, ticket: Ticket) -> Claimed | Settled | Duplicate | Leased: ...

    def settle(self, ticket: Ticket, outcome: Outcome) -> None: ...
