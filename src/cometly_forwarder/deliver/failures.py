"""What a failure of AWS's or a defect of ours leads to: a line in the journal, and a wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cometly_forwarder.deliver.jobs import Later, Message
from cometly_forwarder.errors import Unavailable, trace_of
from cometly_forwarder.journal import Journal

# How long a message waits when an AWS service, not Cometly, was the reason.
UNAVAILABLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Failures:
    """Writes failures down; says when their messages come back."""

    journal: Journal
    now: Callable[[], float]
    random: Callable[[], float]

    def best_effort(self, report: Callable[[], None], event_id: str | None = None) -> None:
        """Make a call that may be lost."""
        try:
            report()
        except Unavailable as exc:
            self.unavailable(exc, event_id)

    def unavailable(self, exc: Unavailable, event_id: str | None = None) -> Later:
        self.journal.record("delivery.unavailable", event_id=event_id, reason=str(exc))
        return self.soon()

    def crashed(self, exc: Exception, message: Message | None = None) -> None:
        """Leave a trace of a defect of ours."""
        message_id = message.id if message else None
        self.journal.record("delivery.crashed", message_id=message_id, reason=trace_of(exc))

    def soon(self) -> Later:
        return Later(UNAVAILABLE_SECONDS * (0.5 + self.random()))

    def after(self, lease: float) -> Later:
        """Come back when the lease is over: until then nobody can claim the event."""
        return Later(max(lease - self.now(), 0) + 1)
