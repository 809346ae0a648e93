"""What an answer of Cometly's leads to: the gate is told, and the claim ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.jobs import End, Job, Later
from cometly_forwarder.deliver.outcomes import Outcomes
from cometly_forwarder.deliver.slots import Gate, Slot
from cometly_forwarder.deliver.verdict import Kind, Verdict
from cometly_forwarder.deliver.waits import back_off
from cometly_forwarder.gate.quota import RateHeaders

# An event that was refused this often as if the Space were blocked, while others were taken, is
# parked.
MAX_BLOCKS = 5
# "While" allows for answers that overtook each other, in seconds.
_OVERTAKING_SECONDS = 5.0
# An event that was blocked comes back so much later than the gate opens: others probe first.
_YIELD_SECONDS = 15.0
# One that is refused while others are taken backs off as if it had failed so many times more: at
# first for up to two minutes, then less and less often.
_ATTEMPTS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Settlement:
    """Acts on verdicts."""

    gate: Gate
    outcomes: Outcomes
    failures: Failures
    random: Callable[[], float]

    def act_on(self, job: Job, verdict: Verdict, slot: Slot) -> End:
        """Tell the gate and the ledger what an answer means.

        Delivered: ledger, then gate, for until the ledger knows it a crash leads to a second post.
        Permanent: gate, then dead-letter queue, then ledger. Others: gate, which then says for how
        long to wait, then ledger.
        """
        if verdict.limit is not None and verdict.remaining is not None:
            # What goes out early overtakes what has an earlier slot: all of it may be counted here.
            at = slot.at + slot.early
            self.gate.observe(RateHeaders(verdict.limit, verdict.remaining, at))
        best_effort = self.failures.best_effort
        match verdict.kind:
            case Kind.DELIVERED:
                end = self.outcomes.delivered(job, verdict)
                best_effort(lambda: self.gate.succeeded(probe=slot.probe, is_booked=True))
                return end
            case Kind.PERMANENT:
                best_effort(lambda: self.gate.succeeded(probe=slot.probe, is_booked=False))
                return self.outcomes.park(job, verdict, tries=1)
            case Kind.TRANSIENT:
                best_effort(lambda: self.gate.failed(probe=slot.probe))
                delay = back_off(job.claimed.attempts + 1, self.random())
                return self.outcomes.retried(job, verdict, delay)
            case Kind.THROTTLED:
                best_effort(lambda: self.gate.throttled(verdict.retry_after))
                return self.outcomes.throttled(job, verdict, self._when_open())
            case Kind.BLOCKED if self._is_refused_alone(job):
                return self._blame_event(job, verdict, slot)
            case Kind.BLOCKED:
                best_effort(lambda: self.gate.blocked(is_sure=slot.probe))
                delay = self.gate.wait() + _YIELD_SECONDS * (1 + self.random())
                # The first such answer is remembered. More of them are not counted here, for
                # they may all be about the Space.
                blocks = max(job.claimed.blocks, 1)
                return self.outcomes.blocked(job, verdict, delay, blocks)

    def token_missing(self, job: Job) -> Later:
        """Close the gate; nothing was posted."""
        self.failures.best_effort(lambda: self.gate.blocked(is_sure=True))
        return self.outcomes.unclaim(job, Later(self._when_open()))

    def _is_refused_alone(self, job: Job) -> bool:
        """Say whether this event was blocked before, and others were taken since."""
        blocked_at = job.claimed.blocked_at
        if not job.claimed.blocks:
            return False
        return self.gate.last_taken() > blocked_at + _OVERTAKING_SECONDS

    def _blame_event(self, job: Job, verdict: Verdict, slot: Slot) -> End:
        """Leave the gate open: the event, not the Space, is the reason."""
        if slot.probe:
            self.failures.best_effort(lambda: self.gate.give_back((), probe=True))
        blocks = job.claimed.blocks + 1
        if blocks >= MAX_BLOCKS:
            reason = f"HTTP {verdict.status}, again and again, while other events were taken"
            return self.outcomes.park(job, replace(verdict, reason=reason), tries=1)
        delay = back_off(_ATTEMPTS_AHEAD + job.claimed.blocks, self.random())
        return self.outcomes.blocked(job, verdict, delay, blocks)

    def _when_open(self) -> float:
        """Seconds until the gate opens, spread so that not all come back at once."""
        return self.gate.wait() + self.random() * 2
