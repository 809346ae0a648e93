"""A batch of messages: admitted by the gate together, then each on its own way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from cometly_forwarder.deliver.delivery import (
    LEASE_MARGIN_SECONDS,
    POST_SECONDS,
    Arrival,
    Delivery,
    Done,
    Job,
    Later,
    Message,
    Slot,
    patience,
)
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate.rules import Cause, Reservation

T = TypeVar("T")

# Posts of a batch run side by side; a batch is ten messages.
THREADS = 10
# From this many receives on a message comes back less often the more it was received.
_RECEIVES_UNCOUNTED = 20
# While Cometly is dead, waiting messages come back less and less often, up to this spread.
_LONGEST_SPREAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class BatchDelivery:
    """Delivers batches."""

    delivery: Delivery

    def deliver(self, batch: Sequence[Message], deadline: float) -> list[str]:
        """Take each message as far as it goes; returns the ids of those to keep on the queue.

        `deadline` is Unix time in seconds: when the invocation is over at the latest.
        """
        reservation = self._reservation(len(batch), deadline - POST_SECONDS)
        if isinstance(reservation, Later):
            return self._release(dict.fromkeys(batch, reservation))
        if not reservation.slots:
            return self._release(self._turned_away(batch, reservation))
        groups, away = self._by_identity(batch, deadline)
        admitted, rest = groups[: len(reservation.slots)], groups[len(reservation.slots) :]
        away |= self._turned_away([each.message for group in rest for each in group], reservation)
        with ThreadPoolExecutor(THREADS) as threads:
            # What gets no slot goes back at once, unclaimed and unwritten.
            kept = threads.submit(self._release, away)
            ends = self._ends([group[0] for group in admitted], reservation, deadline, threads)
        for first, *others in admitted:
            end = ends[first.message]
            ends |= {other.message: self.delivery.follow(other, end) for other in others}
        return kept.result() + self._release(ends)

    def _reservation(self, count: int, latest: float) -> Reservation | Later:
        try:
            return self.delivery.gate.admit(count, latest)
        except Unavailable as exc:
            return self.delivery.unavailable(exc)
        except Exception as exc:  # noqa: BLE001 - a defect of the gate's must not be silent
            return self.delivery.crashed(exc)

    def _by_identity(
        self, batch: Sequence[Message], deadline: float
    ) -> tuple[list[list[Arrival]], dict[Message, Done | Later]]:
        """Read a batch: events by identity, in the order of acceptance, and what crashed."""
        groups: dict[str, list[Arrival]] = {}
        away: dict[Message, Done | Later] = {}
        arrivals = []
        for message in batch:
            step = functools.partial(self.delivery.read, message)
            read = self._safely(step, message, deadline)
            if isinstance(read, Later):
                away[message] = read
            else:
                arrivals.append(read)
        for arrival in sorted(arrivals, key=lambda each: each.envelope.accepted_at):
            groups.setdefault(arrival.envelope.event_id, []).append(arrival)
        return list(groups.values()), away

    def _release(self, ends: Mapping[Message, Done | Later]) -> list[str]:
        """Hide what is to come back, each for its time; returns the ids of those messages."""
        delays = {
            message: max(end.seconds, least_wait(message))
            for message, end in ends.items()
            if isinstance(end, Later)
        }
        if delays:
            self.delivery.queue.release({m.receipt: seconds for m, seconds in delays.items()})
        return [message.id for message in delays]

    def _ends(
        self,
        admitted: Sequence[Arrival],
        reservation: Reservation,
        deadline: float,
        threads: ThreadPoolExecutor,
    ) -> dict[Message, Done | Later]:
        def claim(arrival: Arrival) -> Job | Done | Later:
            step = functools.partial(self.delivery.prepare, arrival, deadline)
            return self._safely(step, arrival.message, deadline)

        ends: dict[Message, Done | Later] = {}
        jobs = []
        for arrival, claimed in zip(admitted, threads.map(claim, admitted), strict=True):
            if isinstance(claimed, Job):
                jobs.append(claimed)
            else:
                ends[arrival.message] = claimed
        return ends | self._posted(jobs, reservation, deadline, threads)

    def _posted(
        self,
        jobs: Sequence[Job],
        reservation: Reservation,
        deadline: float,
        threads: ThreadPoolExecutor,
    ) -> dict[Message, Done | Later]:
        """Post side by side, and one suspect after all others, so that it takes none with it."""
        steady = [job for job in jobs if not job.is_suspect]
        suspects = [job for job in jobs if job.is_suspect]
        slots = [Slot(slot, reservation.probe) for slot in reservation.slots]
        posting = len(steady) + len(suspects[:1])
        self.delivery.give_back(reservation.slots[posting:], probe=reservation.probe)

        def post(job: Job, slot: Slot) -> Done | Later:
            step = functools.partial(self.delivery.post, job, slot, deadline)
            return self._safely(step, job.message, deadline)

        ends: dict[Message, Done | Later] = {}
        ends |= {job.message: self.delivery.postpone(job) for job in suspects[1:]}
        posts = threads.map(post, steady, slots)
        ends |= {job.message: end for job, end in zip(steady, posts, strict=True)}
        return ends | {job.message: post(job, slots[len(steady)]) for job in suspects[:1]}

    def _safely(self, step: Callable[[], T], message: Message, deadline: float) -> T | Later:
        """Keep a defect of ours to its own event: its claim ends without an outcome."""
        try:
            return step()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
            self.delivery.crashed(exc, message)
            lease = deadline + LEASE_MARGIN_SECONDS
            return Later(max(lease - self.delivery.now(), 0) + 1)

    def _turned_away(
        self, messages: Sequence[Message], reservation: Reservation
    ) -> dict[Message, Done | Later]:
        """Send back what got no slot, with a trace of it."""
        if messages and reservation.cause:
            self.delivery.journal.record(
                "delivery.paused", cause=reservation.cause.value, count=len(messages)
            )
        elif messages:
            self.delivery.journal.record("delivery.no_slot", count=len(messages))
        return {message: self._away(message, reservation) for message in messages}

    def _away(self, message: Message, reservation: Reservation) -> Later:
        """Wait for the gate; while Cometly is dead, come back less and less often."""
        spread = 2.0
        if reservation.cause is Cause.FAILING:
            spread = patience(message, _LONGEST_SPREAD_SECONDS)
        return Later(reservation.wait + self.delivery.random() * spread)


def least_wait(message: Message) -> float:
    """Seconds for which a message must stay away, so that waiting never trips `maxReceiveCount`.

    It grows with the receives: the 1000 that SQS grants then last almost six days, longer than any
    horizon.
    """
    return message.receives if message.receives > _RECEIVES_UNCOUNTED else 0.0
