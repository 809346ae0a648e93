"""One post: wait for its slot, post, hand on what the answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cometly_forwarder.deliver.claims import Ledger
from cometly_forwarder.deliver.failures import UNAVAILABLE_SECONDS, Failures
from cometly_forwarder.deliver.jobs import End, Job, Later
from cometly_forwarder.deliver.outcomes import Outcomes
from cometly_forwarder.deliver.settlement import Settlement
from cometly_forwarder.deliver.slots import Gate, Slot
from cometly_forwarder.deliver.verdict import CometlyResponse, NoResponse, judge
from cometly_forwarder.errors import TokenMissing, Unavailable
from cometly_forwarder.journal import Journal

# What a post and what follows it may take: 14 s for Cometly's answer, three calls to AWS of 9 s
# (the gate, the ledger, the queue), and half a second (the sum: test_template.py). With every
# service at its slowest, an event that is parked, or whose token is renewed, takes longer. Then the
# invocation ends first, and the claim is over when its lease is.
POST_SECONDS = 41.5
# A thread that wakes later than this after its slot gives it up: the gate's sums rest on it.
LATE_SECONDS = 0.2
# No slot lies farther ahead: a longer sleep is that of a clock which was put back.
_LONGEST_SLEEP_SECONDS = 20.0


class Cometly(Protocol):
    """The HTTP call. Raises TokenMissing and Unavailable, and nothing for what the network does."""

    def make_ready(self) -> None:
        """Do what may take time before a post can go out at its slot."""

    def post(self, event: Mapping[str, Any]) -> CometlyResponse | NoResponse: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Posts claimed events in their slots."""

    ledger: Ledger
    gate: Gate
    cometly: Cometly
    outcomes: Outcomes
    settlement: Settlement
    journal: Journal
    failures: Failures
    now: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]

    def post(self, job: Job, slot: Slot) -> End:
        """Post a claimed event in its slot, and settle what comes of it.

        A suspect counts as dead until its outcome is settled.
        """
        event_id = job.claim.event_id
        try:
            self.cometly.make_ready()
            if job.is_suspect:
                self.ledger.begin(job.claim, job.claimed.deaths + 1)
            if later := self._missed(job, slot):
                return self.outcomes.unclaim(job, later)
            verdict = judge(self.cometly.post(job.envelope.event), self.now())
        except TokenMissing as exc:
            self.journal.record("delivery.blocked", event_id=event_id, reason=str(exc))
            return self.settlement.token_missing(job)
        except Unavailable as exc:
            self._give_back(slot)
            return self.outcomes.unclaim(job, self.failures.unavailable(exc, event_id))
        return self.settlement.act_on(job, verdict, slot)

    def postpone(self, job: Job) -> Later:
        """Let a suspect come back at another time than the others; its claim did not count."""
        seconds = 1 + self.random() * UNAVAILABLE_SECONDS
        return self.undo(job, Later(seconds))

    def undo(self, job: Job, later: Later) -> Later:
        """Undo a claim that got no slot."""
        return self.outcomes.unclaim(job, later)

    def _missed(self, job: Job, slot: Slot) -> Later | None:
        """Sleep until the slot; returns a wait if the thread is late, or the gate closed before."""
        event_id = job.claim.event_id
        self._sleep_until(slot.begins - self.gate.refresh_lead())
        try:
            is_open = slot.probe or self.gate.is_open()
        except Unavailable as exc:
            self._give_back(slot)
            return self.failures.unavailable(exc, event_id)
        self._sleep_until(slot.begins)
        is_late = self.now() - slot.at > LATE_SECONDS
        if slot.probe or (is_open and not is_late):
            return None
        self._give_back(slot)
        if is_late:
            self.journal.record("delivery.late", event_id=event_id)
        return Later((self.gate.wait() or 1.0) + self.random() * 2)

    def _sleep_until(self, moment: float) -> None:
        self.sleep(min(max(moment - self.now(), 0), _LONGEST_SLEEP_SECONDS))

    def _give_back(self, slot: Slot) -> None:
        """Return a slot in which nothing was posted."""
        self.failures.best_effort(lambda: self.gate.give_back((slot.at,), probe=slot.probe))
