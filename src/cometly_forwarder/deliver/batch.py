"""A batch of messages, step by step: read, reserve and claim, post, release.

Slots are reserved for every identity; what duplicates do not use goes back. Where slots at once are
to be expected, the events are claimed at the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Protocol

from cometly_forwarder.deliver.claims import LEASE_MARGIN_SECONDS
from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.jobs import Arrival, End, Job, Later, Message
from cometly_forwarder.deliver.posting import POST_SECONDS, Posting
from cometly_forwarder.deliver.preparation import Preparation
from cometly_forwarder.deliver.slots import Gate, Slot, slots_of
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


@dataclass(frozen=True, slots=True)
class Admission:
    """What the gate said; `later` when it said nothing."""

    reservation: Reservation = field(default_factory=Reservation)
    later: Later | None = None

    @property
    def count(self) -> int:
        return len(self.reservation.slots)


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims that go on side by side."""

    threads: ThreadPoolExecutor
    claim: Callable[[Arrival], Job | End]
    _arrivals: dict[Future[Job | End], Arrival] = field(default_factory=dict)
    _ended: SimpleQueue[Future[Job | End]] = field(default_factory=SimpleQueue)

    def begin(self, arrivals: Iterable[Arrival]) -> None:
        for arrival in arrivals:
            future = self.threads.submit(self.claim, arrival)
            self._arrivals[future] = arrival
            future.add_done_callback(self._ended.put)

    def ended(self) -> Iterator[tuple[Message, Job | End]]:
        """Wait for the claims, and yield each as it ends."""
        for _ in range(len(self._arrivals)):
            future = self._ended.get()
            yield self._arrivals[future].message, future.result()


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
        lease, latest = deadline + LEASE_MARGIN_SECONDS, deadline - POST_SECONDS
        arrivals, away = self._read(batch, lease)
        groups = _by_identity(arrivals)
        with ThreadPoolExecutor(THREADS) as threads:
            claims = Claims(threads, lambda arrival: self._claim(arrival, lease))
            is_expected = self._expects_room(len(groups), latest)
            if is_expected:
                claims.begin(first for first, *_ in groups)
            admission = self._admission(len(groups), latest)
            admitted = groups if is_expected else groups[: admission.count]
            # What gets no slot goes back at once, unclaimed and unwritten.
            away |= self._turned_away(_messages_of(groups[len(admitted) :]), admission)
            kept = threads.submit(self._release, away)
            if not is_expected:
                claims.begin(first for first, *_ in admitted)
            ends = self._post(claims, admission)
        for first, *others in admitted:
            end = ends[first.message]
            ends |= {other.message: self.preparation.follow(other, end) for other in others}
        return kept.result() + self._release(ends)

    def _expects_room(self, count: int, latest: float) -> bool:
        try:
            return self.gate.expects_room(count, latest)
        except Exception as exc:  # noqa: BLE001 - a defect of the gate's must not be silent
            self.failures.crashed(exc)
            return False

    def _admission(self, count: int, latest: float) -> Admission:
        try:
            return Admission(self.gate.admit(count, latest))
        except Unavailable as exc:
            return Admission(later=self.failures.unavailable(exc))
        except Exception as exc:  # noqa: BLE001 - a defect of the gate's must not be silent
            self.failures.crashed(exc)
            return Admission(later=self.failures.soon())

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

    def _claim(self, arrival: Arrival, lease: float) -> Job | End:
        try:
            return self.preparation.prepare(arrival, lease)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
            return self._crashed(exc, arrival.message, lease)

    def _post(self, claims: Claims, admission: Admission) -> dict[Message, End]:
        """Post each event as soon as it is claimed, side by side.

        A suspect may kill its worker: it posts after all others, so that it takes none with it, and
        a second one goes back.
        """
        slots = deque(slots_of(admission.reservation))
        ends: dict[Message, End] = {}
        posts: dict[Message, Future[End]] = {}
        suspects: list[Job] = []
        late: list[Job] = []
        for message, claimed in claims.ended():
            if not isinstance(claimed, Job):
                ends[message] = claimed
            elif claimed.is_suspect:
                suspects.append(claimed)
            elif slots:
                posts[message] = claims.threads.submit(self._post_one, claimed, slots.popleft())
            else:
                late.append(claimed)
        last = slots.popleft() if suspects and slots else None
        self._give_back(slots)
        ends |= self._undo(late, admission)
        ends |= {job.message: self.posting.postpone(job) for job in suspects[bool(last) :]}
        ends |= {message: future.result() for message, future in posts.items()}
        return ends | ({suspects[0].message: self._post_one(suspects[0], last)} if last else {})

    def _post_one(self, job: Job, slot: Slot) -> End:
        try:
            return self.posting.post(job, slot)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others must go on
            return self._crashed(exc, job.message, job.claim.lease)

    def _give_back(self, slots: Sequence[Slot]) -> None:
        if slots:
            unused, probe = tuple(slot.at for slot in slots), slots[0].probe
            self.failures.best_effort(lambda: self.gate.give_back(unused, probe=probe))

    def _undo(self, jobs: Sequence[Job], admission: Admission) -> dict[Message, End]:
        """Undo the claims of what got no slot, though one was expected."""
        away = self._turned_away([job.message for job in jobs], admission)
        return {job.message: self.posting.undo(job, away[job.message]) for job in jobs}

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
        self, messages: Sequence[Message], admission: Admission
    ) -> dict[Message, Later]:
        """Send back what got no slot, with a trace of it."""
        cause = admission.reservation.cause
        if messages and cause:
            self.journal.record("delivery.paused", cause=cause.value, count=len(messages))
        elif messages and not admission.later:
            self.journal.record("delivery.no_slot", count=len(messages))
        return {message: self._away(message, admission) for message in messages}

    def _away(self, message: Message, admission: Admission) -> Later:
        """Wait for the gate; while Cometly is dead, come back less and less often."""
        if admission.later:
            return admission.later
        spread = 2.0
        if admission.reservation.cause is Cause.FAILING:
            spread = patience(message, _LONGEST_SPREAD_SECONDS)
        return Later(admission.reservation.wait + self.random() * spread)


def _by_identity(arrivals: Iterable[Arrival]) -> list[list[Arrival]]:
    """Put the events of an identity together, all in the order of acceptance."""
    groups: dict[str, list[Arrival]] = {}
    for arrival in sorted(arrivals, key=lambda each: each.envelope.accepted_at):
        groups.setdefault(arrival.envelope.event_id, []).append(arrival)
    return list(groups.values())


def _messages_of(groups: Iterable[Iterable[Arrival]]) -> list[Message]:
    return [arrival.message for group in groups for arrival in group]
