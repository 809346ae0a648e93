"""A message on its way through delivery: received, read, claimed; then done, or for later."""

from __future__ import annotations

from dataclasses import dataclass

from cometly_forwarder.deliver.claims import Claim, Claimed, Outcome
from cometly_forwarder.event.envelope import Envelope
from cometly_forwarder.ledger_item import State


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the queue handed it over. `sent_at` is Unix time in seconds."""

    id: str
    body: str
    sent_at: float
    receipt_handle: str
    receives: int = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message, and the event in it."""

    message: Message
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed event. A suspect's last claim ended without an outcome."""

    message: Message
    envelope: Envelope
    claim: Claim
    claimed: Claimed

    @property
    def is_suspect(self) -> bool:
        return self.claimed.claims > 1

    @property
    def waiting(self) -> Outcome:
        """The outcome of an event that waits, with what stays of its identity's history."""
        return Outcome(
            State.WAITING,
            self.claimed.attempts,
            # There is an outcome: no worker died, so that neither claims nor deaths add up.
            claims=0,
            deaths=0,
            blocks=self.claimed.blocks,
            blocked_at=self.claimed.blocked_at,
        )


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do for the message: it can be deleted.

    `is_delivered` when that is so because Cometly has an event of its identity.
    """

    is_delivered: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """The message goes back to the queue for so many seconds."""

    seconds: float


End = Done | Later
