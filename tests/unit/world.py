"""A small world for the real batch delivery: a queue, a table, Cometly, and workers that may die.

What it takes for granted: a call to AWS takes no time, and fails before or after it took effect;
a worker dies between two calls, or in the middle of Cometly's answer; a claim, a settle and a park
are each atomic (they are one request each); clocks agree; the queue hands out any message that is
visible, and may hand out one that is not, as SQS may. Two contents of one identity differ in their
`url`: Cometly refuses the one with a typo whenever it would take the other.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cometly_forwarder.deliver.assembly import Ports, assemble
from cometly_forwarder.deliver.batch import BatchDelivery
from cometly_forwarder.deliver.claims import Claim, Claimed, ClaimResult
from cometly_forwarder.deliver.jobs import Message
from cometly_forwarder.deliver.posting import LATE_SECONDS, POST_SECONDS
from cometly_forwarder.deliver.preparation import MAX_DEATHS
from cometly_forwarder.deliver.settlement import MAX_BLOCKS
from cometly_forwarder.deliver.verdict import CometlyResponse, Kind, NoResponse, judge
from cometly_forwarder.errors import TokenMissing, Unavailable
from cometly_forwarder.event.envelope import Source, read_envelope
from cometly_forwarder.jsontext import dump
from cometly_forwarder.ledger_item import State
from local.sandbox.duplicates import DuplicateIndex
from tests.unit.fakes import ACCEPTED, Clock, Lines, MemoryGate, MemoryLedger, answer

INVOCATION = 60.0
VISIBILITY = 360.0
HORIZON = 3 * 24 * 3600.0
RIGHT, TYPO = "https://shop.example.com/right", "https://shop.example.com/typo"

ANSWERS: dict[str, CometlyResponse | NoResponse] = {
    "accepted": ACCEPTED,
    "accepted, answer lost": NoResponse("connection lost"),
    "accepted, a page instead": CometlyResponse(202, {}, b"<html>"),
    "never arrived": NoResponse("connection refused"),
    "broken": answer(503),
    "throttled": answer(429, retry_after="7"),
    "throttled, not said for how long": answer(429),
    "blocked": answer(401),
    "refused": answer(422),
}
# The calls that may fail, and those between which the worker may die.
FALLIBLE = (
    "gate.admit",
    "gate.is_open",
    "gate.give_back",
    "gate.failed",
    "gate.succeeded",
    "gate.throttled",
    "gate.blocked",
    "ledger.claim",
    "ledger.begin",
    "ledger.settle",
    "queue.park",
    "queue.release",
    "cometly.make_ready",
)
MOMENTS = (*FALLIBLE, "cometly.post", "queue.delete")


class Killed(BaseException):
    """The worker's end: nothing of it runs on, and nothing can catch it."""


class Violation(BaseException):
    """What must never happen did, inside of the batch delivery, which would catch an Exception."""


def insist(holds: object, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)


@dataclass
class CountingLedger(MemoryLedger):
    """With `unresolved`: the claims of an identity that ended without an outcome."""

    unresolved: Counter[str] = field(default_factory=Counter)

    def claim(self, claim: Claim) -> ClaimResult:
        before = self.items.get(claim.event_id, {}).get("state")
        found = super().claim(claim)
        if isinstance(found, Claimed) and before is State.CLAIMED:
            self.unresolved[claim.event_id] += 1
        return found


@dataclass(frozen=True)
class Content:
    """What was accepted: an identity, and which of its contents."""

    event_id: str
    url: str


@dataclass
class Queued:
    """A message on the queue."""

    content: Content
    message: Message
    visible_at: float


@dataclass(frozen=True)
class Fate:
    """What befalls one delivery: the call that fails, and the one at which the worker dies.

    A call is named with its number, and whether it took effect before: `("queue.park", 2, True)`.
    At `meeting` another worker comes between.
    """

    failing: tuple[str, int, bool] | None = None
    dying: tuple[str, int, bool] | None = None
    meeting: tuple[str, int, bool] | None = None


class Worker:
    """One invocation, whose calls may fail and which may die."""

    def __init__(self, world: World, fate: Fate) -> None:
        self.world = world
        self.fate = fate
        self.deadline = world.clock.time + INVOCATION
        self.calls: Counter[str] = Counter()
        self.is_dead = False

    def batch_delivery(self) -> BatchDelivery:
        world = self.world
        ports = Ports(
            ledger=Port(self, "ledger", world.ledger),
            gate=Port(self, "gate", world.gate),
            cometly=Port(self, "cometly", Cometly(world, self)),
            queue=Port(self, "queue", world),
            journal=Lines(),
            now=world.clock.now,
            sleep=world.clock.sleep,
            random=lambda: 0.5,
            horizon_seconds=HORIZON,
        )
        return assemble(ports)

    def call(self, name: str, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        self.calls[name] += 1
        here = (name, self.calls[name])
        self._live((*here, False))
        if self.fate.failing == (*here, False):
            return self._failed(name)
        result = function(*given, **named)
        self._live((*here, True))
        return self._failed(name) if self.fate.failing == (*here, True) else result

    def _live(self, here: tuple[str, int, bool]) -> None:
        if self.is_dead or self.world.clock.time > self.deadline or self.fate.dying == here:
            self.is_dead = True
            raise Killed
        if self.fate.meeting == here:
            self.world.meanwhile(self)

    def _failed(self, name: str) -> None:
        if name == "cometly.make_ready":
            raise TokenMissing("as told")
        if name != "queue.release":
            raise Unavailable("as told")


class Port:
    """A port of the batch delivery, every call of which goes by way of its worker."""

    def __init__(self, worker: Worker, name: str, port: object) -> None:
        self._worker, self._name, self._port = worker, name, port

    def __getattr__(self, call: str) -> Any:
        function = getattr(self._port, call)
        name = f"{self._name}.{call}"
        if name not in MOMENTS:
            return function
        return lambda *given, **named: self._worker.call(name, function, *given, **named)


@dataclass
class Cometly:
    """Books events by Cometly's own rules, and answers as told."""

    world: World
    worker: Worker

    def make_ready(self) -> None: ...

    def post(self, event: Mapping[str, Any]) -> CometlyResponse | NoResponse:
        world = self.world
        event_id = world.content_of(event).event_id
        state = world.ledger.items[event_id]["state"]
        latest = self.worker.deadline - POST_SECONDS + LATE_SECONDS
        insist(event_id not in world.in_flight, "posted twice at once")
        insist(state is State.CLAIMED, "posted without a claim")
        insist(event_id not in world.delivered, "posted after it was settled as delivered")
        insist(world.clock.time <= latest, "posted too late to be finished")
        with world.flying(event_id):
            said = world.answer_to(event)
            if not self.worker.fate.meeting:
                world.meanwhile(self.worker)
        return said


@dataclass
class World:
    """The queues, the table, Cometly, and what happened to each identity."""

    rate: int
    clock: Clock = field(default_factory=Clock)
    queue: dict[str, Queued] = field(default_factory=dict)
    parked: list[tuple[str, Content]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    accepted: set[Content] = field(default_factory=set)
    booked: Counter[str] = field(default_factory=Counter)
    refused: set[Content] = field(default_factory=set)
    counted: Counter[str] = field(default_factory=Counter)
    blocked: Counter[str] = field(default_factory=Counter)
    delivered: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    answers: Iterator[str] = field(default_factory=lambda: iter(()))
    meanwhile: Callable[[Worker], None] = lambda _: None
    called: frozenset[str] = frozenset()
    sent: int = 0
    depth: int = 0

    def __post_init__(self) -> None:
        self.ledger = CountingLedger(self.clock)
        self.gate = MemoryGate(self.clock, self.rate)
        self.index = DuplicateIndex()

    def copy(self) -> World:
        """Copy what a delivery changes."""
        clock = Clock(self.clock.time)
        other = dataclasses.replace(
            self,
            clock=clock,
            queue={name: dataclasses.replace(each) for name, each in self.queue.items()},
            parked=self.parked.copy(),
            names=self.names.copy(),
            accepted=self.accepted.copy(),
            booked=self.booked.copy(),
            refused=self.refused.copy(),
            counted=self.counted.copy(),
            blocked=self.blocked.copy(),
            delivered=self.delivered.copy(),
            in_flight=self.in_flight.copy(),
        )
        items = {event_id: item.copy() for event_id, item in self.ledger.items.items()}
        other.ledger = CountingLedger(clock, items, unresolved=self.ledger.unresolved.copy())
        other.gate = dataclasses.replace(self.gate, clock=clock)
        other.index = copy.deepcopy(self.index)
        return other

    # --- the queues, as a batch delivery sees them ----------------------------------------------

    def release(self, delays: Mapping[str, float]) -> None:
        for queued in self.queue.values():
            if queued.message.receipt_handle in delays:
                queued.visible_at = self.clock.time + delays[queued.message.receipt_handle]

    def park(self, body: str, attributes: Mapping[str, str]) -> None:
        event_id, reason = attributes["event_id"], attributes["reason"]
        content = self.content_in(body)
        insist(content.event_id == event_id, "parked under another id")
        if reason == "poison":
            insist(self.ledger.unresolved[event_id] >= MAX_DEATHS, "parked as poison too early")
        elif "again and again" in reason:
            insist(self.blocked[event_id] >= MAX_BLOCKS, "blamed too early")
        elif reason != "expired":
            insist(content in self.refused, f"parked for {reason}")
        self.parked.append((body, content))

    # --- what the machine does --------------------------------------------------------------------

    def send(self, body: str) -> None:
        self.sent += 1
        message = Message(f"m-{self.sent}", body, self.clock.time, "")
        source = Source("sqs", message.id, datetime.fromtimestamp(message.sent_at, UTC))
        envelope = read_envelope(body, source)
        self.names[dump(_identity_of(envelope.event))] = envelope.event_id
        content = self.content_of(envelope.event)
        self.accepted.add(content)
        self.queue[message.id] = Queued(content, message, self.clock.time)

    def send_again(self, place: int) -> None:
        """Let the operator move a parked event back to the queue."""
        body, _ = self.parked.pop(place)
        self.send(body)

    def content_of(self, event: Mapping[str, Any]) -> Content:
        return Content(self.names[dump(_identity_of(event))], event["url"])

    def content_in(self, body: str) -> Content:
        source = Source("sqs", "-", datetime.fromtimestamp(self.clock.time, UTC))
        return self.content_of(read_envelope(body, source).event)

    def lost(self) -> set[Content]:
        """Say what was accepted and is neither booked as its identity, nor parked, nor waiting."""
        waiting = {queued.content for queued in self.queue.values()}
        parked = {content for _, content in self.parked}
        booked = {content for content in self.accepted if self.booked[content.event_id]}
        return self.accepted - waiting - parked - booked

    def run_empty(self, rounds: int) -> None:
        """Deliver until nothing is on the queue, with nothing failing any more."""
        self.answers = iter(())
        for _ in range(rounds):
            if not self.queue:
                return
            soonest = min(queued.visible_at for queued in self.queue.values())
            self.clock.time = max(self.clock.time, soonest)
            self.deliver(self.receive(self.visible()[:10]), Fate())
        raise AssertionError("what waits is never done")

    def visible(self) -> list[str]:
        return [name for name, each in self.queue.items() if each.visible_at <= self.clock.time]

    def receive(self, names: Iterable[str]) -> list[Message]:
        batch = []
        for name in names:
            queued = self.queue[name]
            receives = queued.message.receives + 1
            queued.visible_at = self.clock.time + VISIBILITY
            queued.message = dataclasses.replace(
                queued.message, receipt_handle=f"{name}-{receives}", receives=receives
            )
            batch.append(queued.message)
        return batch

    def deliver(self, batch: list[Message], fate: Fate) -> None:
        """Run an invocation, and delete what it did not keep, unless it died."""
        worker = Worker(self, fate)
        self.depth += 1
        try:
            kept = worker.batch_delivery().deliver(batch, worker.deadline)
            worker.call("queue.delete", self._delete, batch, kept)
        except (Killed, Unavailable):
            pass
        except Violation as violation:
            if self.depth > 1:
                raise
            raise AssertionError(*violation.args) from None
        finally:
            self.depth -= 1
            self.called = frozenset(worker.calls)
        for event_id, item in self.ledger.items.items():
            if item["state"] is State.DELIVERED:
                self.delivered.add(event_id)

    def _delete(self, batch: list[Message], kept: list[str]) -> None:
        for message in batch:
            now = self.queue.get(message.id)
            if (
                message.id not in kept
                and now
                and now.message.receipt_handle == message.receipt_handle
            ):
                del self.queue[message.id]

    def answer_to(self, event: Mapping[str, Any]) -> CometlyResponse | NoResponse:
        content = self.content_of(event)
        name = next(self.answers, "accepted")
        if name.startswith("accepted") and content.url == TYPO:
            name = "refused"
        said = ANSWERS[name]
        if name.startswith("accepted") and self.index.find(event) is None:
            self.index.book(self.sent, event)
            self.booked[content.event_id] += 1
        kind = judge(said, self.clock.time).kind
        counts = {Kind.DELIVERED, Kind.TRANSIENT, Kind.PERMANENT}
        self.counted[content.event_id] += kind in counts
        self.blocked[content.event_id] += kind is Kind.BLOCKED
        if kind is Kind.PERMANENT:
            self.refused.add(content)
        return said

    @contextmanager
    def flying(self, event_id: str) -> Iterator[None]:
        self.in_flight.add(event_id)
        try:
            yield
        finally:
            self.in_flight.discard(event_id)


def _identity_of(event: Mapping[str, Any]) -> object:
    """What Cometly tells events by."""
    if key := event.get("idempotency_key"):
        return key
    return event["event_name"], event["order_id"], event["email"]


def an_event(kind: str, number: int, url: str = RIGHT) -> dict[str, object]:
    event: dict[str, object] = {
        "event_name": "purchase",
        "email": f"ada-{number}@example.com",
        "amount": 99.99,
        "url": url,
    }
    match kind:
        case "order":
            return event | {"order_id": f"order-{number}"}
        case "key":
            return event | {"idempotency_key": f"key-{number}"}
        case _:
            return event
