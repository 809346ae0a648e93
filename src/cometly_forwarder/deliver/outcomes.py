"""How a claim ends: delivered, parked, waiting, or as if it had never been."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from cometly_forwarder.deliver.claims import Ledger, Outcome
from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.jobs import Done, End, Job, Later
from cometly_forwarder.deliver.verdict import Verdict
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.event.facts import facts_of
from cometly_forwarder.event.reading import warned_fields
from cometly_forwarder.journal import Journal
from cometly_forwarder.ledger_item import State


class DeadLetterQueue(Protocol):
    """Where events are parked."""

    def park(self, body: str, attributes: Mapping[str, str]) -> None:
        """Put a whole event there; raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Writes down what a claim ended with, in the ledger first and then in the journal."""

    ledger: Ledger
    dead_letters: DeadLetterQueue
    journal: Journal
    failures: Failures
    now: Callable[[], float]

    def delivered(self, job: Job, verdict: Verdict) -> End:
        """Record it. If that fails, the message must not be posted again within its lease."""
        facts = facts_of(job.envelope.event)
        outcome = Outcome(State.DELIVERED, job.claimed.attempts + 1, verdict, facts=facts)
        try:
            self.ledger.settle(job.claim, outcome)
        except Unavailable as exc:
            self.failures.unavailable(exc, job.claim.event_id)
            return self.failures.after(job.claim.lease)
        age = max(self.now() - job.claim.accepted_at.timestamp(), 0.0)
        self._log("delivery.delivered", job, verdict, tries=1, latency=age)
        self._log_warnings(job)
        return Done(is_delivered=True)

    def retried(self, job: Job, verdict: Verdict, delay: float) -> Later:
        """Count an attempt, and wait."""
        attempts = job.claimed.attempts + 1
        outcome = replace(
            job.waiting, attempts=attempts, verdict=verdict, retry_at=self.now() + delay
        )
        self._settle(job, outcome)
        self._log("delivery.retried", job, verdict, tries=1, delay=round(delay, 1))
        return Later(delay)

    def throttled(self, job: Job, verdict: Verdict, delay: float) -> Later:
        """Wait. The Space, not the event, was the reason: it costs no attempt."""
        self._settle(job, replace(job.waiting, verdict=verdict, retry_at=self.now() + delay))
        self._log("delivery.throttled", job, verdict)
        return Later(delay)

    def blocked(self, job: Job, verdict: Verdict, delay: float, blocks: int) -> Later:
        """Wait, likewise, but remember how often and when the Space was the reason."""
        now = self.now()
        outcome = replace(
            job.waiting, verdict=verdict, blocks=blocks, blocked_at=now, retry_at=now + delay
        )
        self._settle(job, outcome)
        self._log("delivery.blocked", job, verdict)
        return Later(delay)

    def park(self, job: Job, verdict: Verdict, *, tries: int) -> End:
        """Put the event on the dead-letter queue, then settle it; `tries` were made just now."""
        attempts = job.claimed.attempts + tries
        try:
            self.dead_letters.park(
                _parked_body(job), _attributes(job, attempts, verdict, self.now())
            )
        except Unavailable as exc:
            return self.unclaim(job, self.failures.unavailable(exc, job.claim.event_id))
        # Even if this fails the dead-letter queue has it, and the claim ends with its lease.
        self._settle(job, Outcome(State.PARKED, attempts, verdict))
        self._log("delivery.parked", job, verdict, tries=tries)
        self._log_warnings(job)
        return Done()

    def unclaim(self, job: Job, later: Later) -> Later:
        """Undo a claim, with all that it counted, and free its identity at once.

        Nothing was posted; or Cometly refused the event for good, and the dead-letter queue is
        away: then it is posted and refused once more.
        """
        before = replace(job.waiting, claims=job.claimed.claims - 1, deaths=job.claimed.deaths)
        self._settle(job, before)
        return later

    def _settle(self, job: Job, outcome: Outcome) -> None:
        """Record what can be lost: without it the claim merely ends with its lease."""
        event_id = job.claim.event_id
        self.failures.best_effort(lambda: self.ledger.settle(job.claim, outcome), event_id)

    def _log(
        self, name: str, job: Job, verdict: Verdict, *, tries: int = 0, **keys: object
    ) -> None:
        self.journal.record(
            name,
            event_id=job.claim.event_id,
            attempts=job.claimed.attempts + tries,
            receives=job.message.receives,
            reason=verdict.reason,
            request_id=verdict.request_id,
            **keys,
        )

    def _log_warnings(self, job: Job) -> None:
        """Name what was odd about an event whose sender could not be told: once, at its end."""
        if fields := warned_fields(job.envelope.warnings):
            self.journal.record("delivery.warned", event_id=job.claim.event_id, fields=fields)


def _parked_body(job: Job) -> str:
    """Keep who and when an event is: a bare one, sent again, would get another id and time."""
    return job.envelope.body() if job.envelope.is_bare else job.message.body


def _attributes(job: Job, attempts: int, verdict: Verdict, parked_at: float) -> dict[str, str]:
    """What the operator sees beside a parked event (SQS allows ten attributes)."""
    every = {
        "event_id": job.claim.event_id,
        "reason": verdict.reason,
        "status": str(verdict.status or ""),
        "message": verdict.message or "",
        "last_answer": job.claimed.last_answer,
        "request_id": verdict.request_id or job.claimed.request_id,
        "attempts": str(attempts),
        "accepted_at": job.claim.accepted_at.isoformat(),
        "parked_at": datetime.fromtimestamp(parked_at, UTC).isoformat(),
    }
    return {name: value for name, value in every.items() if value}
