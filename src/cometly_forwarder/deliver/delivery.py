"""From the queue to Cometly: claim, pace, post, settle; park what cannot be delivered.

The order of effects is what keeps the promises, whatever line a crash falls on:

* delivered: claim in the ledger, post, settle in the ledger, delete the message;
* parked: claim, send to the dead-letter queue, settle, delete.

A message is deleted by not being handed back. SQS is the only thing that retries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from cometly_forwarder import jsontext
from cometly_forwarder.deliver.claims import (
    Claim,
    Claimed,
    Duplicate,
    Leased,
    Ledger,
    Outcome,
    Settled,
    State,
    Waiting,
)
from cometly_forwarder.deliver.verdict import CometlyResponse, Kind, NoResponse, Verdict, judge
from cometly_forwarder.errors import TokenMissing, Unavailable, summary_of, trace_of
from cometly_forwarder.event.envelope import Envelope, Source, read_envelope
from cometly_forwarder.gate.quota import RateHeaders
from cometly_forwarder.gate.rules import Reservation
from cometly_forwarder.journal import Journal

# An event on which this many workers died is parked. The first death is not counted as one: it
# only makes the event a suspect, whose posts are.
MAX_DEATHS = 5
# So is an event that was refused this often as if the Space were blocked, while others were taken.
MAX_BLOCKS = 5
# "While" allows for answers that overtook each other, in seconds.
_OVERTAKING_SECONDS = 5.0
# Whoever was refused so lets others probe first; refused alone, it comes back after about a minute,
# then less and less often.
_YIELD_SECONDS = 15.0
_ALONE_STEP = 4
# A lease outlives the invocation by this much, for clocks that differ between workers.
LEASE_MARGIN_SECONDS = 5.0
# What a post and what follows it may take: 14 s for Cometly's answer, three calls to AWS of 9 s
# (the gate, the ledger, the queue), and half a second (the sum: test_template.py). With every
# service at its slowest, an event that is parked, or whose token is renewed, takes longer: its
# claim is left.
POST_SECONDS = 41.5
# A thread that wakes later than this after its slot gives it up: the gate's sums rest on it.
LATE_SECONDS = 0.2
_SWAPS = 3
# No slot lies farther ahead: a longer sleep is that of a clock which was put back.
_LONGEST_SLEEP_SECONDS = 20.0
# How long a message waits when an AWS service, not Cometly, was the reason.
UNAVAILABLE_SECONDS = 20.0
_LONGEST_PATIENCE_SECONDS = 64.0
_LONGEST_BACK_OFF_SECONDS = 3600.0
_FIRST_BACK_OFF_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the queue handed it over. `sent_at` is Unix time in seconds."""

    id: str
    body: str
    sent_at: float
    receipt: str
    receives: int = 1


class Gate(Protocol):
    """What paces all workers together (see `pacing`). The calls raise Unavailable."""

    def admit(self, count: int, latest: float) -> Reservation: ...

    def swap_slot(self, slot: float, latest: float) -> Reservation: ...

    def refresh_lead(self) -> float:
        """Seconds before its slot at which a thread should ask whether the gate is open."""

    def is_open(self) -> bool: ...

    def wait(self) -> float:
        """Seconds until the gate opens, as far as this worker knows."""

    def give_back(self, slots: tuple[float, ...], *, probe: bool) -> None: ...

    def observe(self, quota: RateHeaders) -> None: ...

    def last_taken(self) -> float:
        """Say when an event was last taken or refused for its own sake, as Unix time; 0: never."""

    def throttled(self, retry_after: float | None) -> None: ...

    def blocked(self, *, is_sure: bool) -> None: ...

    def failed(self, *, probe: bool) -> None: ...

    def succeeded(self, *, probe: bool, is_taken: bool) -> None: ...


class Cometly(Protocol):
    """The HTTP call. Raises TokenMissing and Unavailable, and nothing for what the network does."""

    def make_ready(self) -> None:
        """Do what may take time before a post can go out at its slot."""

    def post(self, event: Mapping[str, Any]) -> CometlyResponse | NoResponse: ...


class Queue(Protocol):
    """The event queue and its dead-letter queue."""

    def release(self, delays: Mapping[str, float]) -> None:
        """Hide each receipt's message for so many seconds. Best effort: never raises."""

    def park(self, body: str, attributes: Mapping[str, str]) -> None:
        """Put a whole event on the dead-letter queue; raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do for the message: it can be deleted.

    `is_delivered` when that is so because Cometly has an event of its identity.
    """

    is_delivered: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """The message goes back to the queue for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message, and the event in it."""

    message: Message
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed event that is fit to be posted. A suspect's last claim ended without an outcome."""

    message: Message
    envelope: Envelope
    claim: Claim
    claimed: Claimed

    @property
    def is_suspect(self) -> bool:
        return self.claimed.claims > 1

    @property
    def kept(self) -> Outcome:
        """What stays of the identity's history while it waits."""
        before = self.claimed
        return Outcome(
            State.WAITING, before.attempts, blocks=before.blocks, blocked_at=before.blocked_at
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """A moment to post at, as Unix time; `probe` when the gate hangs on the answer."""

    at: float
    probe: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """The way of one event. `horizon_seconds` is how long it may wait before it is parked."""

    ledger: Ledger
    gate: Gate
    cometly: Cometly
    queue: Queue
    journal: Journal
    now: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]
    horizon_seconds: float
    phone_region: str | None = None

    def read(self, message: Message) -> Arrival:
        return Arrival(message, read_envelope(message.body, _source_of(message), self.phone_region))

    def prepare(self, arrival: Arrival, deadline: float) -> Job | Done | Later:
        """Claim an event for its message; returns a job if it is to be posted."""
        message, envelope = arrival.message, arrival.envelope
        lease = deadline + LEASE_MARGIN_SECONDS
        claim = Claim(
            event_id=envelope.event_id,
            owner=_hash_of(message.body),
            content=_hash_of(_content_of(envelope)),
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
                case Settled():
                    self.journal.record("delivery.settled_before", event_id=envelope.event_id)
            return Done()
        except Unavailable as exc:
            return self.unavailable(exc, envelope.event_id)

    def _hold(self, arrival: Arrival, seconds: float) -> Later:
        """Wait for what becomes of another message of the identity, or for its back-off."""
        delay = max(seconds, 1.0)
        self.journal.record(
            "delivery.held", event_id=arrival.envelope.event_id, delay=round(delay, 1)
        )
        return Later(delay)

    def _drop(self, arrival: Arrival) -> Done:
        self.journal.record("delivery.duplicate", event_id=arrival.envelope.event_id)
        return Done(is_delivered=True)

    def follow(self, arrival: Arrival, first: Done | Later) -> Done | Later:
        """End as a duplicate of an earlier event of the same batch, or wait as long as that one."""
        if isinstance(first, Done) and first.is_delivered:
            return self._drop(arrival)
        return self._hold(arrival, first.seconds + 1 if isinstance(first, Later) else 1.0)

    def _fit(self, job: Job) -> Job | Done | Later:
        """Park an event that must not be posted at all; hand on any other."""
        if job.envelope.faults:
            message = summary_of(job.envelope.faults)
            return self._park(job, Verdict(Kind.PERMANENT, "invalid", message=message), 0)
        if job.is_suspect and job.claimed.deaths >= MAX_DEATHS - 1:
            return self._park(job, Verdict(Kind.PERMANENT, "poison"), 0)
        if self.now() - job.message.sent_at > self.horizon_seconds:
            return self._park(job, Verdict(Kind.PERMANENT, "expired"), 0)
        return job

    def postpone(self, job: Job) -> Later:
        """Let a suspect come back at another time than the others; its claim did not count."""
        seconds = 1 + self.random() * UNAVAILABLE_SECONDS
        return self._unclaim(job, Later(seconds))

    def post(self, job: Job, slot: Slot, deadline: float) -> Done | Later:
        """Post a claimed event in its slot, and settle what comes of it."""
        try:
            self.cometly.make_ready()
            if job.is_suspect:
                self.ledger.begin(job.claim, job.claimed.deaths + 1)
            reached = self._wait_for(job, slot, deadline)
            if isinstance(reached, Later):
                return self._unclaim(job, reached)
            slot = reached
            verdict = judge(self.cometly.post(job.envelope.event), self.now())
        except TokenMissing as exc:
            self.journal.record("delivery.blocked", event_id=job.claim.event_id, reason=str(exc))
            self.best_effort(lambda: self.gate.blocked(is_sure=True))
            return self._unclaim(job, Later(self.gate.wait() + self.random() * 2))
        except Unavailable as exc:
            self.give_back((slot.at,), probe=slot.probe)
            return self._unclaim(job, self.unavailable(exc, job.claim.event_id))
        return self._settle(job, verdict, slot)

    def _wait_for(self, job: Job, slot: Slot, deadline: float) -> Slot | Later:
        """Sleep until the slot. A slot that was missed is swapped, a gate that closed obeyed."""
        for _ in range(_SWAPS):
            self._sleep_until(slot.at - self.gate.refresh_lead())
            try:
                is_open = slot.probe or self.gate.is_open()
            except Unavailable as exc:
                self.give_back((slot.at,), probe=slot.probe)
                return self.unavailable(exc, job.claim.event_id)
            self._sleep_until(slot.at)
            if slot.probe or (is_open and self.now() - slot.at <= LATE_SECONDS):
                return slot
            try:
                reservation = self.gate.swap_slot(slot.at, deadline - POST_SECONDS)
            except Unavailable as exc:
                # Whether the slot went back is not known: given back twice, it would be another's.
                return self.unavailable(exc, job.claim.event_id)
            if not reservation.slots:
                return Later(reservation.wait + self.random() * 2)
            slot = Slot(reservation.slots[0], reservation.probe)
        # A worker that is this slow only takes slots from the others.
        self.give_back((slot.at,), probe=slot.probe)
        self.journal.record("delivery.late", event_id=job.claim.event_id)
        return Later(1 + self.random() * 2)

    def _sleep_until(self, moment: float) -> None:
        self.sleep(min(max(moment - self.now(), 0), _LONGEST_SLEEP_SECONDS))

    def _settle(self, job: Job, verdict: Verdict, slot: Slot) -> Done | Later:
        if verdict.limit is not None and verdict.remaining is not None:
            self.gate.observe(RateHeaders(verdict.limit, verdict.remaining, slot.at))
        match verdict.kind:
            case Kind.DELIVERED:
                end = self._delivered(job, verdict)
                self.best_effort(lambda: self.gate.succeeded(probe=slot.probe, is_taken=True))
                return end
            case Kind.PERMANENT:
                self.best_effort(lambda: self.gate.succeeded(probe=slot.probe, is_taken=False))
                return self._park(job, verdict, 1)
            case Kind.TRANSIENT:
                self.best_effort(lambda: self.gate.failed(probe=slot.probe))
                return self._retry(job, verdict)
            case Kind.THROTTLED:
                self.best_effort(lambda: self.gate.throttled(verdict.retry_after))
                delay = self.gate.wait() + self.random() * 2
                return self._wait(job, verdict, delay, job.claimed.blocks)
            case Kind.BLOCKED:
                return self._blocked(job, verdict, slot)

    def _delivered(self, job: Job, verdict: Verdict) -> Done | Later:
        """Record it. If that fails, the message must not be posted again within its lease."""
        try:
            self.ledger.settle(
                job.claim, Outcome(State.DELIVERED, job.claimed.attempts + 1, verdict)
            )
        except Unavailable as exc:
            return self._after_lease(job, exc)
        self._log("delivery.delivered", job, verdict, tries=1, latency=self._age(job))
        return Done(is_delivered=True)

    def _after_lease(self, job: Job, exc: Unavailable) -> Later:
        """The outcome stands, only its record is missing: keep the message until it may claim."""
        self.unavailable(exc, job.claim.event_id)
        return Later(max(job.claim.lease - self.now(), 0) + 1)

    def _retry(self, job: Job, verdict: Verdict) -> Later:
        attempts = job.claimed.attempts + 1
        delay = back_off(attempts, self.random())
        outcome = replace(job.kept, attempts=attempts, verdict=verdict, retry_at=self.now() + delay)
        self._settle_best_effort(job, outcome)
        self._log("delivery.retried", job, verdict, tries=1, delay=round(delay, 1))
        return Later(delay)

    def _blocked(self, job: Job, verdict: Verdict, slot: Slot) -> Done | Later:
        """Close the gate; but not for an event that is refused while others are taken."""
        blocks = job.claimed.blocks
        is_alone = blocks and self.gate.last_taken() > job.claimed.blocked_at + _OVERTAKING_SECONDS
        if not is_alone:
            self.best_effort(lambda: self.gate.blocked(is_sure=slot.probe))
            delay = self.gate.wait() + _YIELD_SECONDS * (1 + self.random())
            return self._wait(job, verdict, delay, max(blocks, 1))
        if slot.probe:
            self.best_effort(lambda: self.gate.give_back((), probe=True))
        if blocks + 1 >= MAX_BLOCKS:
            reason = f"HTTP {verdict.status}, again and again, while other events were taken"
            return self._park(job, replace(verdict, reason=reason), 1)
        return self._wait(job, verdict, back_off(_ALONE_STEP + blocks, self.random()), blocks + 1)

    def _wait(self, job: Job, verdict: Verdict, delay: float, blocks: int) -> Later:
        """The Space, not the event, was the reason: it costs no attempt."""
        now = self.now()
        blocked_at = now if verdict.kind is Kind.BLOCKED else job.claimed.blocked_at
        outcome = replace(
            job.kept, verdict=verdict, blocks=blocks, blocked_at=blocked_at, retry_at=now + delay
        )
        self._settle_best_effort(job, outcome)
        self._log(f"delivery.{verdict.kind.value}", job, verdict)
        return Later(delay)

    def _park(self, job: Job, verdict: Verdict, tries: int) -> Done | Later:
        attempts = job.claimed.attempts + tries
        try:
            self.queue.park(_parked_body(job), _attributes(job, attempts, verdict, self.now()))
        except Unavailable as exc:
            return self._unclaim(job, self.unavailable(exc, job.claim.event_id))
        # Even if this fails the dead-letter queue has it, and the claim ends with its lease.
        self._settle_best_effort(job, Outcome(State.PARKED, attempts, verdict))
        self._log("delivery.parked", job, verdict, tries=tries)
        return Done()

    def _unclaim(self, job: Job, later: Later) -> Later:
        """Undo a claim that led to no post, with all that it counts."""
        before = replace(job.kept, claims=job.claimed.claims - 1, deaths=job.claimed.deaths)
        self._settle_best_effort(job, before)
        return later

    def _settle_best_effort(self, job: Job, outcome: Outcome) -> None:
        """Record what can be lost: without it the claim merely ends with its lease."""
        self.best_effort(lambda: self.ledger.settle(job.claim, outcome), job.claim.event_id)

    def give_back(self, slots: tuple[float, ...], *, probe: bool) -> None:
        """Return slots in which nothing was posted."""
        if slots:
            self.best_effort(lambda: self.gate.give_back(slots, probe=probe))

    def best_effort(self, report: Callable[[], None], event_id: str | None = None) -> None:
        try:
            report()
        except Unavailable as exc:
            self.unavailable(exc, event_id)

    def unavailable(self, exc: Unavailable, event_id: str | None = None) -> Later:
        self.journal.record("delivery.unavailable", event_id=event_id, reason=str(exc))
        return self._soon()

    def crashed(self, exc: Exception, message: Message | None = None) -> Later:
        """Leave a trace of a defect of ours."""
        message_id = message.id if message else None
        self.journal.record("delivery.crashed", message_id=message_id, reason=trace_of(exc))
        return self._soon()

    def _soon(self) -> Later:
        return Later(UNAVAILABLE_SECONDS * (0.5 + self.random()))

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

    def _age(self, job: Job) -> float:
        return max(self.now() - job.claim.accepted_at.timestamp(), 0.0)


def _content_of(envelope: Envelope) -> str:
    """Write what tells one content of an identity from another: not its time."""
    told = {name: value for name, value in envelope.event.items() if name != "event_time"}
    return jsontext.dump(dict(sorted(told.items())))


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def patience(message: Message, longest: float) -> float:
    """Seconds after which a message asks again: twice as long at each receive, up to `longest`."""
    return min(2.0 ** min(message.receives, 30), longest)


def back_off(attempts: int, random: float) -> float:
    """Seconds to wait after so many attempts: seconds, then minutes, then an hour; full jitter."""
    ceiling = _FIRST_BACK_OFF_SECONDS * 2.0 ** min(attempts, 30)
    return 1 + random * min(ceiling, _LONGEST_BACK_OFF_SECONDS)


def _source_of(message: Message) -> Source:
    return Source("sqs", message.id, datetime.fromtimestamp(message.sent_at, UTC))


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
