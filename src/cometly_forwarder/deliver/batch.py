"""A batch of messages, step by step: reserve, read, claim, deal, post, release.

Slots are reserved for every message; what duplicates do not use goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from cometly_forwarder.deliver.claims import LEASE_MARGIN_SECONDS
from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.jobs import Arrival, End, Job, Later, Message
from cometly_forwarder.deliver.posting import POST_SECONDS, Posting
from cometly_forwarder.deliver.preparation import Preparation
from cometly_forwarder.deliver.slots import Gate, Slot, deal
from cometly_forwarder.deliver.waits import least_wait, patience
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate.rules import Cause, Reservation
from cometly_forwarder.journal import Journal

# Posts of a batch run side by side; a batch is ten messages.
THREADS = 10
# While Cometly is dead, waiting messages come back less and less often, up to this spread.
_LONGEST_SPREAD_SECONDS = 60.0


class Queue(Protocol):
    """The queue that a batch came from."""

    def release(self, delays: Mapping[str, float]) -> None:
        """Hide each receipt's message for so many seconds. Best effort: never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDelivery:
    """Delivers batches: admitted by the gate together, then each event on its own way.

    The order of effects is what keeps the promises, whatever line a crash falls on:

    * delivered: claim in the ledger, post, settle in the ledger, delete the message;
    * parked: claim, send to the dead-letter queue, settle, delete.

    A message is deleted by not being handed back. SQS is the only thing that retries.
    """

    gate: Gate
    queue: Queue
    preparation: Preparation
    posting: Posting
    journal: Journal
    failures: Failures
    random: Callable[[], float]

    def deliver(self, batch: Sequence[Message], deadline: float) -> list[str]:
        """Take each message as far as it goes; returns the ids of those to keep on the queue.

        `deadline` is Unix time in seconds: when the invocation is over at the latest.
        """
        lease = deadline + LEASE_MARGIN_SECONDS
        reservation = self._reservation(len(batch), deadline - POST_SECONDS)
        if isinstance(reservation, Later):
            return self._release(dict.fromkeys(batch, reservation))
        if not reservation.slots:
            return self._release(self._turned_away(batch, reservation))
        arrivals, away = self._read(batch, lease)
        groups = _by_identity(arrivals)
        admitted, rest = groups[: len(reservation.slots)], groups[len(reservation.slots) :]
        away |= self._turned_away([each.message for group in rest for each in group], reservation)
        with ThreadPoolExecutor(THREADS) as threads:
            # What gets no slot goes back at once, unclaimed and unwritten.
            kept = threads.submit(self._release, away)
            jobs, ends = self._claim([first for first, *_ in admitted], lease, threads)
            ends |= self._post(jobs, reservation, threads)
        for first, *others in admitted:
            end = ends[first.message]
            ends |= {other.message: self.preparation.follow(other, end) for other in others}
        return kept.result() + self._release(ends)

    def _reservation(self, count: int, latest: float) -> Reservation | Later:
        try:
            return self.gate.admit(count, latest)
        except Unavailable as exc:
            return self.failures.unavailable(exc)
        except Exception as exc:  # noqa: BLE001 - a defect of the gate's must not be silent
            self.failures.crashed(exc)
            return self.failures.soon()

    def _read(
        self, batch: Sequence[Message], lease: float
    ) -> tuple[list[Arrival], dict[Message, End]]:
        """Return the events of a batch, and what becomes of messages that crashed."""
        arrivals: list[Arrival] = []
        ends: dict[Message, End] = {}
        for message in batch:
            try:
                arrivals.append(self.preparation.read(message))
            except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
                ends[message] = self._crashed(exc, message, lease)
        return arrivals, ends

    def _claim(
        self, arrivals: Iterable[Arrival], lease: float, threads: ThreadPoolExecutor
    ) -> tuple[list[Job], dict[Message, End]]:
        """Claim side by side; returns the jobs, and what becomes of the rest."""

        def claim(arrival: Arrival) -> Job | End:
            try:
                return self.preparation.prepare(arrival, lease)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
                return self._crashed(exc, arrival.message, lease)

        claims = {each.message: threads.submit(claim, each) for each in arrivals}
        jobs: list[Job] = []
        ends: dict[Message, End] = {}
        for message, future in claims.items():
            claimed = future.result()
            if isinstance(claimed, Job):
                jobs.append(claimed)
            else:
                ends[message] = claimed
        return jobs, ends

    def _post(
        self,
        jobs: Sequence[Job],
        reservation: Reservation,
        threads: ThreadPoolExecutor,
    ) -> dict[Message, End]:
        """Post side by side, and a suspect after all others, so that it takes none with it."""

        def post(job: Job, slot: Slot) -> End:
            try:
                return self.posting.post(job, slot)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
                return self._crashed(exc, job.message, job.claim.lease)

        dealt = deal(jobs, reservation)
        if dealt.unused:
            self.failures.best_effort(
                lambda: self.gate.give_back(dealt.unused, probe=reservation.probe)
            )
        ends: dict[Message, End] = {
            job.message: self.posting.postpone(job) for job in dealt.postponed
        }
        posts = {job.message: threads.submit(post, job, slot) for job, slot in dealt.steady}
        ends |= {message: future.result() for message, future in posts.items()}
        return ends | {job.message: post(job, slot) for job, slot in dealt.suspect}

    def _crashed(self, exc: Exception, message: Message, lease: float) -> Later:
        """Keep a defect of ours to its own event: its claim ends without an outcome."""
        self.failures.crashed(exc, message)
        return self.failures.after(lease)

    def _release(self, ends: Mapping[Message, End]) -> list[str]:
        """Hide what is to come back, each for its time; returns the ids of those messages."""
        delays = {
            message: max(end.seconds, least_wait(message))
            for message, end in ends.items()
            if isinstance(end, Later)
        }
        if delays:
            self.queue.release({m.receipt_handle: seconds for m, seconds in delays.items()})
        return [message.id for message in delays]

    def _turned_away(
        self, messages: Sequence[Message], reservation: Reservation
    ) -> dict[Message, End]:
        """Send back what got no slot, with a trace of it."""
        if messages and reservation.cause:
            self.journal.record(
                "delivery.paused", cause=reservation.cause.value, count=len(messages)
            )
        elif messages:
            self.journal.record("delivery.no_slot", count=len(messages))
        return {message: self._away(message, reservation) for message in messages}

    def _away(self, message: Message, reservation: Reservation) -> Later:
        """Wait for the gate; while Cometly is dead, come back less and less often."""
        spread = 2.0
        if reservation.cause is Cause.FAILING:
            spread = patience(message, _LONGEST_SPREAD_SECONDS)
        return Later(reservation.wait + self.random() * spread)


def _by_identity(arrivals: Iterable[Arrival]) -> list[list[Arrival]]:
    """Put the events of an identity together, all in the order of acceptance."""
    groups: dict[str, list[Arrival]] = {}
    for arrival in sorted(arrivals, key=lambda each: each.envelope.accepted_at):
        groups.setdefault(arrival.envelope.event_id, []).append(arrival)
    return list(groups.values())
