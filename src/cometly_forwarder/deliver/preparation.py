"""From a message to a job: read it, claim its identity, park what must not be posted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cometly_forwarder.deliver.claims import (
    AlreadyDone,
    Claim,
    Claimed,
    Duplicate,
    Leased,
    Ledger,
    Waiting,
)
from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.jobs import Arrival, Done, End, Job, Later, Message
from cometly_forwarder.deliver.outcomes import Outcomes
from cometly_forwarder.deliver.verdict import Kind, Verdict
from cometly_forwarder.deliver.waits import patience
from cometly_forwarder.errors import Unavailable, summary_of
from cometly_forwarder.event.envelope import Source, read_envelope
from cometly_forwarder.event.reading import DEFAULT_RULES, EventRules
from cometly_forwarder.journal import Journal

# An event on which five workers died is poison, and parked: the first made it a suspect and was
# not counted, the next four are counted deaths (`Ledger.begin`).
_COUNTED_DEATHS = 4
MAX_DEATHS = _COUNTED_DEATHS + 1
_LONGEST_PATIENCE_SECONDS = 64.0


@dataclass(frozen=True, slots=True)
class Preparation:
    """Makes jobs. `horizon_seconds` is how long an event may wait before it is parked."""

    ledger: Ledger
    outcomes: Outcomes
    journal: Journal
    failures: Failures
    now: Callable[[], float]
    horizon_seconds: float
    rules: EventRules = DEFAULT_RULES

    def read(self, message: Message) -> Arrival:
        return Arrival(message, read_envelope(message.body, _source_of(message), self.rules))

    def prepare(self, arrival: Arrival, lease: float) -> Job | End:
        """Claim an event for its message; returns a job if it is to be posted."""
        message, envelope = arrival.message, arrival.envelope
        claim = Claim(
            event_id=envelope.event_id,
            owner=_hash_of(message.body),
            content=envelope.content(),
            message_id=message.id,
            lease=lease,
            accepted_at=envelope.accepted_at,
        )
        try:
            match self.ledger.claim(claim):
                case Claimed() as claimed:
                    return self._fit(Job(message, envelope, claim, claimed))
                case Leased(until, is_same):
                    left = until - self.now() + 1
                    most = left if is_same else patience(message, _LONGEST_PATIENCE_SECONDS)
                    return self._hold(arrival, min(left, most))
                case Waiting(until):
                    return self._hold(arrival, until - self.now() + 1)
                case Duplicate():
                    return self._drop(arrival)
                case AlreadyDone():
                    self.journal.record("delivery.settled_before", event_id=envelope.event_id)
            return Done()
        except Unavailable as exc:
            return self.failures.unavailable(exc, envelope.event_id)

    def follow(self, arrival: Arrival, first: End) -> End:
        """End as a duplicate of an earlier event of the same batch, or wait as long as that one."""
        if isinstance(first, Done) and first.is_delivered:
            return self._drop(arrival)
        return self._hold(arrival, first.seconds + 1 if isinstance(first, Later) else 1.0)

    def _fit(self, job: Job) -> Job | End:
        """Park an event that must not be posted at all; hand on any other."""
        if job.envelope.faults:
            message = summary_of(job.envelope.faults)
            return self._park(job, Verdict(Kind.PERMANENT, "invalid", message=message))
        if job.is_suspect and job.claimed.deaths >= _COUNTED_DEATHS:
            return self._park(job, Verdict(Kind.PERMANENT, "poison"))
        # Since it was sent, not accepted: an event that is resent has the whole horizon again.
        if self.now() - job.message.sent_at > self.horizon_seconds:
            return self._park(job, Verdict(Kind.PERMANENT, "expired"))
        return job

    def _park(self, job: Job, verdict: Verdict) -> End:
        return self.outcomes.park(job, verdict, tries=0)

    def _hold(self, arrival: Arrival, seconds: float) -> Later:
        """Wait for what becomes of another message, or until the identity may be tried again."""
        delay = max(seconds, 1.0)
        self.journal.record(
            "delivery.held", event_id=arrival.envelope.event_id, delay=round(delay, 1)
        )
        return Later(delay)

    def _drop(self, arrival: Arrival) -> Done:
        self.journal.record("delivery.duplicate", event_id=arrival.envelope.event_id)
        return Done(is_delivered=True)


def _source_of(message: Message) -> Source:
    return Source("sqs", message.id, datetime.fromtimestamp(message.sent_at, UTC))


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
