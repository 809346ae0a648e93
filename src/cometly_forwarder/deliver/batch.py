"""A batch of messages, step by step: read, reserve and claim, post, release.

Slots are reserved for every identity; what duplicates do not use goes back. Where slots at once are
to be expected, the events are claimed at the same time.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from cometly_forwarder.deliver.claims import LEASE_MARGIN_SECONDS
from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.jobs import Arrival, End, Job, Later, Message
from cometly_forwarder.deliver.posting import POST_SECONDS, Posting
from cometly_forwarder.deliver.preparation import Preparation
from cometly_forwarder.deliver.slots import Gate, Refusal, Slot, Slots
from cometly_forwarder.deliver.waits import least_wait, patience
from cometly_forwarder.gate.rules import Cause
from cometly_forwarder.journal import Journal

# Posts of a batch run side by side; a batch is ten messages.
THREADS = 10
# While Cometly is dead, waiting messages come back less and less often, up to this spread.
_LONGEST_SPREAD_SECONDS = 60.0


class Queue(Protocol):
    """The queue that a batch came from."""

    def release(self, delays: Mapping[str, float]) -> None:
        """Hide each receipt's message for so many seconds. Best effort: never raises."""


@dataclass(slots=True)
class Course:
    """A batch on its way: which identities no thread has taken up yet, and how the others ended.

    `unplaced` are those whose claim got no slot, though one was expected.
    """

    waiting: deque[list[Arrival]]
    slots: Slots
    lease: float
    ends: dict[Message, End] = field(default_factory=dict)
    suspects: list[Job] = field(default_factory=list)
    unplaced: list[Job] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def next(self) -> list[Arrival] | None:
        """Take out the next identity; its events are in the order of acceptance."""
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def last(self, count: int) -> list[list[Arrival]]:
        """Take out the last identities."""
        taken: list[list[Arrival]] = []
        with contextlib.suppress(IndexError):
            while len(taken) < count:
                taken.append(self.waiting.pop())
        return taken[::-1]


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
    now: Callable[[], float]
    random: Callable[[], float]

    def deliver(self, batch: Sequence[Message], deadline: float) -> list[str]:
        """Take each message as far as it goes; returns the ids of those to keep on the queue.

        `deadline` is Unix time in seconds: when the invocation is over at the latest.
        """
        lease = deadline + LEASE_MARGIN_SECONDS
        arrivals, crashed = self._read(batch, lease)
        groups = _by_identity(arrivals)
        slots = Slots(
            gate=self.gate,
            failures=self.failures,
            now=self.now,
            undecided=len(groups),
            at_once=THREADS,
            latest=deadline - POST_SECONDS,
        )
        course = Course(deque(groups), slots, lease)
        self._run(course)
        kept = course.kept + self._release(crashed | self._ends(course, groups))
        if course.suspects:
            self._post_suspect(course)
            kept += self._release(self._ends(course, groups))
        return kept

    def _ends(self, course: Course, groups: Sequence[Sequence[Arrival]]) -> dict[Message, End]:
        """Take out how events ended, and with them those of the same identities."""
        ends, course.ends = course.ends, {}
        for first, *others in groups:
            if end := ends.get(first.message):
                ends |= {other.message: self.preparation.follow(other, end) for other in others}
        return ends

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

    def _run(self, course: Course) -> None:
        """Let each thread take up one event after the other, then see to those that are left."""
        count = min(THREADS, len(course.waiting))
        is_expected = self._expects_room(count, course.slots.latest)
        with ThreadPoolExecutor(THREADS) as threads:
            if not is_expected:
                course.slots.reserve()
            # What gets no slot goes back at once, unclaimed and unwritten.
            excess = course.last(0 if is_expected else course.slots.excess)
            works = [threads.submit(self._turn_away, course, excess)] if excess else []
            work = partial(self._work, course, claims_first=is_expected)
            works += [threads.submit(work) for _ in range(min(count, len(course.waiting)))]
            if is_expected:
                course.slots.reserve()
            for each in works:
                each.result()
            self._undo(course, threads)
            self._postpone(course, threads)

    def _expects_room(self, count: int, latest: float) -> bool:
        try:
            return self.gate.expects_room(count, latest)
        except Exception as exc:  # noqa: BLE001 - a defect of the gate's must not be silent
            self.failures.crashed(exc)
            return False

    def _work(self, course: Course, *, claims_first: bool) -> None:
        """Take up events until none waits, or there are no more slots."""
        while group := course.next():
            slot = None if claims_first else course.slots.take()
            if not (slot or claims_first):
                course.waiting.appendleft(group)
                self._turn_away(course, course.last(len(course.waiting)))
                return
            self._take_up(course, group[0], slot)
            claims_first = False

    def _take_up(self, course: Course, arrival: Arrival, slot: Slot | None) -> None:
        """Claim an event and post it."""
        claimed = self._claim(arrival, course.lease)
        if isinstance(claimed, Job) and claimed.is_suspect:
            course.suspects.append(claimed)
            course.slots.keep(1)
            course.slots.leave(slot)
            return
        if isinstance(claimed, Job) and (slot := slot or course.slots.take()):
            course.slots.decide(used=1)
            course.ends[arrival.message] = self._post_one(claimed, slot)
            return
        if isinstance(claimed, Job):
            course.unplaced.append(claimed)
        else:
            course.ends[arrival.message] = claimed
        course.slots.leave(slot)
        course.slots.decide()

    def _claim(self, arrival: Arrival, lease: float) -> Job | End:
        try:
            return self.preparation.prepare(arrival, lease)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
            return self._crashed(exc, arrival.message, lease)

    def _post_one(self, job: Job, slot: Slot) -> End:
        try:
            return self.posting.post(job, slot)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
            return self._crashed(exc, job.message, job.claim.lease)

    def _undone(self, job: Job, later: Later | None = None) -> End:
        """Undo the claim of an event that got no slot; of a suspect without a time to come back."""
        try:
            return self.posting.undo(job, later) if later else self.posting.postpone(job)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
            return self._crashed(exc, job.message, job.claim.lease)

    def _postpone(self, course: Course, threads: ThreadPoolExecutor) -> None:
        """Send all suspects back but one: that on which the fewest workers died."""
        course.suspects.sort(key=lambda job: job.claimed.deaths)
        others, course.suspects = course.suspects[1:], course.suspects[:1]
        postponed = threads.map(self._undone, others)
        course.ends |= zip((job.message for job in others), postponed, strict=True)
        course.slots.decide(len(others))

    def _post_suspect(self, course: Course) -> None:
        """Post a suspect, after all others: it may kill its worker, and must take none with it.

        The others are on their way back by then, or they would wait for the queue's time-out.
        """
        [job] = course.suspects
        course.slots.keep(0)
        slot = course.slots.take()
        course.slots.decide(used=1 if slot else 0)
        course.ends[job.message] = self._post_one(job, slot) if slot else self._undone(job)

    def _turn_away(self, course: Course, groups: Sequence[Sequence[Arrival]]) -> None:
        """Send back at once what gets no slot."""
        if groups:
            course.slots.decide(len(groups))
            messages = [arrival.message for group in groups for arrival in group]
            course.kept.extend(self._release(self._turned_away(messages, course.slots.refusal)))

    def _undo(self, course: Course, threads: ThreadPoolExecutor) -> None:
        """Undo the claims of what got no slot, though one was expected."""
        messages = [job.message for job in course.unplaced]
        away = self._turned_away(messages, course.slots.refusal)
        undone = threads.map(self._undone, course.unplaced, away.values())
        course.ends |= zip(messages, undone, strict=True)

    def _crashed(self, exc: Exception, message: Message, lease: float) -> Later:
        """Keep a defect of ours to its own event: its claim ends without an outcome."""
        self.failures.crashed(exc, message)
        return self.failures.after(lease)

    def _release(self, ends: Mapping[Message, End]) -> list[str]:
        """Hide what is to come back, each for its time; returns the ids of those messages."""
        delays = {
            message: max(end.seconds, least_wait(message, self.random()))
            for message, end in ends.items()
            if isinstance(end, Later)
        }
        if delays:
            self.queue.release({m.receipt_handle: seconds for m, seconds in delays.items()})
        return [message.id for message in delays]

    def _turned_away(
        self, messages: Sequence[Message], refusal: Refusal | None
    ) -> dict[Message, Later]:
        """Say when what got no slot comes back, with a trace of it."""
        refusal = refusal or Refusal()
        cause = refusal.reservation.cause
        if messages and cause:
            self.journal.record("delivery.paused", cause=cause.value, count=len(messages))
        elif messages and not refusal.later:
            self.journal.record("delivery.no_slot", count=len(messages))
        return {message: self._away(message, refusal) for message in messages}

    def _away(self, message: Message, refusal: Refusal) -> Later:
        """Wait for the gate; while Cometly is dead, come back less and less often."""
        if refusal.later:
            return refusal.later
        spread = 2.0
        if refusal.reservation.cause is Cause.FAILING:
            spread = patience(message, _LONGEST_SPREAD_SECONDS)
        return Later(refusal.reservation.wait + self.random() * spread)


def _by_identity(arrivals: Iterable[Arrival]) -> list[list[Arrival]]:
    """Put the events of an identity together, all in the order of acceptance."""
    groups: dict[str, list[Arrival]] = {}
    for arrival in sorted(arrivals, key=lambda each: each.envelope.accepted_at):
        groups.setdefault(arrival.envelope.event_id, []).append(arrival)
    return list(groups.values())
