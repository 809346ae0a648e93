"""Who may act for an identity: the ledger as delivery sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cometly_forwarder.deliver.verdict import Verdict
from cometly_forwarder.event.facts import Facts
from cometly_forwarder.ledger_item import State

# A lease outlives the invocation by this much, for clocks that differ between workers.
LEASE_MARGIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The message may act for its identity.

    `claims` counts those since the last outcome, this one included. `deaths` counts posts that were
    begun and left no outcome (see `Ledger.begin`). `blocks` counts answers that speak of the Space
    (such as 403): the first, and those that came while other events were taken. `blocked_at` is
    when the last came, in Unix seconds. Deaths and blocks are this content's own, if no other was
    tried since.
    """

    claims: int
    attempts: int
    deaths: int = 0
    blocks: int = 0
    blocked_at: float = 0.0
    last_answer: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """This very message has its outcome already; only its deletion was missed."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The identity is delivered: what another message brings of it is not needed."""


@dataclass(frozen=True, slots=True)
class Leased:
    """A message of this identity is being worked on, until `until` (Unix seconds) at the latest.

    `is_same` when it is this very message: handed out twice, or its worker died.
    """

    until: float
    is_same: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """This content of the identity is not to be tried again until `until` (Unix seconds).

    A failed attempt leads to a back-off, a 429 or a blocked Space to a wait for the gate.
    """

    until: float


ClaimResult = Claimed | AlreadyDone | Duplicate | Leased | Waiting


@dataclass(frozen=True, slots=True)
class Claim:
    """What names a claim: only its holder may settle it. `lease` is Unix time in seconds.

    `owner` stands for the message's body, which outlives its id: a message that went through the
    dead-letter queue comes back with another id. `content` stands for what is posted, save its
    time: the same thing sent twice is one content, a correction is another.
    """

    event_id: str
    owner: str
    content: str
    message_id: str
    lease: float
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the ledger keeps of an attempt. No personal data.

    A waiting identity is free from `retry_at` on (Unix seconds), for another content at once. The
    counts are those of `Claimed`. `facts` are kept of what is delivered.
    """

    state: State
    attempts: int
    verdict: Verdict | None = None
    claims: int = 0
    deaths: int = 0
    blocks: int = 0
    blocked_at: float = 0.0
    retry_at: float = 0.0
    facts: Facts | None = None


class Ledger(Protocol):
    """One record an identity. Every call raises Unavailable."""

    def claim(self, claim: Claim) -> ClaimResult: ...

    def begin(self, claim: Claim, deaths: int) -> None:
        """Count a post as a death, before it begins; its outcome takes the count back.

        Raises Unavailable as well when the claim has passed to another message.
        """

    def settle(self, claim: Claim, outcome: Outcome) -> None: ...
