"""A batch of messages: admitted by the gate together, then each on its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from cometly_forwarder.delivery import (
    LEASE_MARGIN_SECONDS,
    POST_SECONDS,
    Delivery,
    Done,
    Job,
    Later,
    Message,
    Turn,
)
from cometly_forwarder.errors import Unavailable, trace_of
from cometly_forwarder.pacing import Admission, Cause

T = TypeVar("T")

# Posts of a batch run side by side; a batch is ten messages.
THREADS = 10
# From this many receives on a message comes back less often the more it was received.
_RECEIVES_UNCOUNTED = 20
# While Cometly is dead, waiting messages come back less and less often, up to this spread.
_LONGEST_SPREAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers batches."""

    delivery: Delivery

    def deliver(self, batch: Sequence[Message], deadline: float) -> list[str]:
        """Take each message as far as it goes; returns the ids of those to keep on the queue.

        `deadline` is Unix time in seconds: when the invocation is over at the latest.
        """
        try:
            admission = self.delivery.gate.admit(len(batch), deadline - POST_SECONDS)
        except Unavailable as exc:
            return self._hand_back({m: self.delivery.unavailable(exc) for m in batch})
        admitted, rest = batch[: len(admission.slots)], batch[len(admission.slots) :]
        self._tell_of(rest, admission)
        away: dict[Message, Done | Later] = {m: self._turned_away(m, admission) for m in rest}
        if not admitted:
            return self._hand_back(away)
        with ThreadPoolExecutor(THREADS) as threads:
            # What gets no slot goes back at once, unclaimed and unwritten.
            kept = threads.submit(self._hand_back, away)
            ends = self._ends(admitted, admission, deadline, threads)
        return kept.result() + self._hand_back({m: ends[m.id] for m in admitted})

    def _hand_back(self, ends: Mapping[Message, Done | Later]) -> list[str]:
        """Hide what is to come back, each for its time; returns the ids of those messages."""
        delays = {
            message: max(end.seconds, least_wait(message))
            for message, end in ends.items()
            if isinstance(end, Later)
        }
        if delays:
            self.delivery.queue.hand_back({m.receipt: seconds for m, seconds in delays.items()})
        return [message.id for message in delays]

    def _ends(
        self,
        admitted: Sequence[Message],
        admission: Admission,
        deadline: float,
        threads: ThreadPoolExecutor,
    ) -> dict[str, Done | Later]:
        ends: dict[str, Done | Later] = {}
        jobs = []
        claims = threads.map(lambda m: self._safely(self.delivery.claim, m, deadline), admitted)
        for message, claim in zip(admitted, claims, strict=True):
            if isinstance(claim, Job):
                jobs.append(claim)
            else:
                ends[message.id] = claim
        return ends | self._posted(jobs, admission, deadline, threads)

    def _posted(
        self,
        jobs: Sequence[Job],
        admission: Admission,
        deadline: float,
        threads: ThreadPoolExecutor,
    ) -> dict[str, Done | Later]:
        """Post side by side, and one suspect after all others, so that it takes none with it."""
        steady = [job for job in jobs if not job.is_suspect]
        suspects = [job for job in jobs if job.is_suspect]
        turns = [Turn(slot, admission.probe) for slot in admission.slots]
        posting = len(steady) + len(suspects[:1])
        self.delivery.give_back(admission.slots[posting:], probe=admission.probe)

        def post(job: Job, turn: Turn) -> Done | Later:
            return self._safely(self.delivery.post, job, turn, deadline)

        ends = [self.delivery.apart(job) for job in suspects[1:]]
        posts = [*threads.map(post, steady, turns)]
        posts += [post(job, turns[len(steady)]) for job in suspects[:1]]
        ordered = [*steady, *suspects[:1], *suspects[1:]]
        return {job.message.id: end for job, end in zip(ordered, [*posts, *ends], strict=True)}

    def _safely(self, step: Callable[..., T], *arguments: Any) -> T | Later:  # noqa: ANN401
        """Keep a defect of ours to its own event: a claim without an outcome, then poison.

        The last argument is the deadline, by which the claim's lease ends.
        """
        try:
            return step(*arguments)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
            self.delivery.journal.record(
                "delivery.crashed", message_id=_message_of(arguments[0]).id, reason=trace_of(exc)
            )
            return Later(max(arguments[-1] + LEASE_MARGIN_SECONDS - self.delivery.now(), 0) + 1)

    def _tell_of(self, rest: Sequence[Message], admission: Admission) -> None:
        """Leave a trace of messages that got no slot."""
        if rest and admission.cause:
            self.delivery.journal.record(
                "delivery.paused", cause=admission.cause.value, count=len(rest)
            )
        elif rest:
            self.delivery.journal.record("delivery.no_slot", count=len(rest))

    def _turned_away(self, message: Message, admission: Admission) -> Later:
        """Wait for the gate; while Cometly is dead, come back less and less often."""
        spread = 2.0
        if admission.cause is Cause.FAILING:
            spread = min(2.0 ** min(message.receives, 30), _LONGEST_SPREAD_SECONDS)
        return Later(admission.wait + self.delivery.random() * spread)


def _message_of(work: Message | Job) -> Message:
    return work.message if isinstance(work, Job) else work


def least_wait(message: Message) -> float:
    """Seconds for which a message must stay away, so that waiting never trips `maxReceiveCount`.

    It grows with the receives: the 1000 that SQS grants then last almost six days, longer than any
    horizon.
    """
    return message.receives if message.receives > _RECEIVES_UNCOUNTED else 0.0
