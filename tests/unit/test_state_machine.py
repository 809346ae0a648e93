"""One event's life as a state machine, whatever fails: the real courier against a small model.

Messages are received in any order and twice at once, Cometly answers in any way, AWS fails before
or after it has done what was asked, the worker dies between any two effects, and time passes. What
must hold is written in the invariants and in `Cometly.post`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Self

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cometly_forwarder import courier
from cometly_forwarder.claims import (
    Claimed,
    Duplicate,
    Leased,
    Settled,
    State,
    Ticket,
)
from cometly_forwarder.courier import Courier
from cometly_forwarder.delivery import (
    LATE_SECONDS,
    MAX_DEATHS,
    POST_SECONDS,
    Delivery,
    Message,
)
from cometly_forwarder.envelope import Origin, read_envelope, seal
from cometly_forwarder.errors import TokenMissing, Unavailable
from cometly_forwarder.events import read_event
from cometly_forwarder.jsontext import dump
from cometly_forwarder.verdict import Answer, Kind, NoAnswer, judge
from local.sandbox.duplicates import DuplicateIndex
from tests.unit.fakes import ACCEPTED, Clock, Lines, MemoryGate, MemoryLedger, answer

INVOCATION = 60.0
VISIBILITY = 360.0
HORIZON = 3 * 24 * 3600.0
RATES = (1000, 60, 12, 2)

ANSWERS: dict[str, Answer | NoAnswer] = {
    "accepted": ACCEPTED,
    "accepted, answer lost": NoAnswer("connection lost"),
    "accepted, a page instead": Answer(202, {}, b"<html>"),
    "never arrived": NoAnswer("connection refused"),
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
    "ledger.settle",
    "queue.park",
    "queue.hand_back",
    "cometly.make_ready",
)
MOMENTS = (*FALLIBLE, "cometly.post", "queue.delete")


class Killed(BaseException):
    """The worker's end: nothing of it runs on, and nothing can catch it."""


class Violation(BaseException):
    """What must never happen did, inside of the courier, which would catch an Exception."""


def insist(holds: object, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)


class InTurn:
    """The courier's threads, one after the other, so that a run can be repeated."""

    def __init__(self, _: int) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, step: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
        return [step(*each) for each in zip(*arguments, strict=False)]

    def submit(self, step: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(step(*arguments))
        return done


@dataclass
class CountingLedger(MemoryLedger):
    """With `unresolved`: the claims of an identity that ended without an outcome."""

    unresolved: Counter[str] = field(default_factory=Counter)

    def claim(self, ticket: Ticket) -> Claimed | Settled | Duplicate | Leased:
        before = self.items.get(ticket.event_id, {}).get("state")
        found = super().claim(ticket)
        if isinstance(found, Claimed) and before is State.CLAIMED:
            self.unresolved[ticket.event_id] += 1
        return found


@dataclass
class Waiting:
    """A message on the queue."""

    event_id: str
    message: Message
    visible_at: float


@dataclass(frozen=True)
class Fate:
    """What befalls one delivery: the call that fails, and the one at which the worker dies.

    A call is named with its number, and whether it took effect before: `("queue.park", 2, True)`.
    """

    failing: tuple[str, int, bool] | None = None
    dying: tuple[str, int, bool] | None = None


class Worker:
    """One invocation, whose calls may fail and which may die."""

    def __init__(self, world: World, fate: Fate) -> None:
        self.world = world
        self.fate = fate
        self.deadline = world.clock.time + INVOCATION
        self.calls: Counter[str] = Counter()
        self.is_dead = False

    def delivery(self) -> Delivery:
        world = self.world
        return Delivery(
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

    def _failed(self, name: str) -> None:
        if name == "cometly.make_ready":
            raise TokenMissing("as told")
        if name != "queue.hand_back":
            raise Unavailable("as told")


class Port:
    """A port of the courier, every call of which goes by way of its worker."""

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

    def post(self, event: Mapping[str, Any]) -> Answer | NoAnswer:
        world = self.world
        event_id = world.event_id_of(event)
        state = world.ledger.items[event_id]["state"]
        latest = self.worker.deadline - POST_SECONDS + LATE_SECONDS
        insist(event_id not in world.in_flight, "posted twice at once")
        insist(state is State.CLAIMED, "posted without a claim")
        insist(event_id not in world.delivered, "posted after it was settled as delivered")
        insist(world.clock.time <= latest, "posted too late to be finished")
        with world.flying(event_id):
            said = world.answer_to(event_id, event)
            world.meanwhile(self.worker)
        return said


@dataclass
class World:
    """The queues, the table, Cometly, and what happened to each identity."""

    rate: int
    clock: Clock = field(default_factory=Clock)
    queue: dict[str, Waiting] = field(default_factory=dict)
    parked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    booked: Counter[str] = field(default_factory=Counter)
    refused: set[str] = field(default_factory=set)
    counted: Counter[str] = field(default_factory=Counter)
    delivered: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    answers: Iterator[str] = field(default_factory=lambda: iter(()))
    meanwhile: Callable[[Worker], None] = lambda _: None
    sent: int = 0
    depth: int = 0

    def __post_init__(self) -> None:
        self.ledger = CountingLedger(self.clock)
        self.gate = MemoryGate(self.clock, self.rate)
        self.index = DuplicateIndex()

    # --- the queues, as the courier sees them -----------------------------------------------------

    def hand_back(self, delays: Mapping[str, float]) -> None:
        for waiting in self.queue.values():
            if waiting.message.receipt in delays:
                waiting.visible_at = self.clock.time + delays[waiting.message.receipt]

    def park(self, body: str, attributes: Mapping[str, str]) -> None:
        event_id, reason = attributes["event_id"], attributes["reason"]
        if reason == "poison":
            insist(self.ledger.unresolved[event_id] >= MAX_DEATHS, "parked as poison too early")
        elif reason != "expired":
            insist(event_id in self.refused, f"parked for {reason}")
        self.parked.append((body, dict(attributes)))

    # --- what the machine does --------------------------------------------------------------------

    def send(self, body: str) -> None:
        self.sent += 1
        message = Message(f"m-{self.sent}", body, self.clock.time, "")
        origin = Origin("sqs", message.id, datetime.fromtimestamp(message.sent_at, UTC))
        envelope = read_envelope(body, origin)
        self.queue[message.id] = Waiting(envelope.event_id, message, self.clock.time)
        self.names[dump(_identity_of(envelope.event))] = envelope.event_id

    def event_id_of(self, event: Mapping[str, Any]) -> str:
        return self.names[dump(_identity_of(event))]

    def visible(self) -> list[str]:
        return [name for name, each in self.queue.items() if each.visible_at <= self.clock.time]

    def receive(self, names: Iterable[str]) -> list[Message]:
        batch = []
        for name in names:
            waiting = self.queue[name]
            receives = waiting.message.receives + 1
            waiting.visible_at = self.clock.time + VISIBILITY
            waiting.message = dataclasses.replace(
                waiting.message, receipt=f"{name}-{receives}", receives=receives
            )
            batch.append(waiting.message)
        return batch

    def deliver(self, batch: list[Message], fate: Fate) -> None:
        """Run an invocation, and delete what it did not keep, unless it died."""
        worker = Worker(self, fate)
        self.depth += 1
        try:
            kept = Courier(worker.delivery()).deliver(batch, worker.deadline)
            worker.call("queue.delete", self._delete, batch, kept)
        except (Killed, Unavailable):
            pass
        except Violation as violation:
            if self.depth > 1:
                raise
            raise AssertionError(*violation.args) from None
        finally:
            self.depth -= 1
        for event_id, item in self.ledger.items.items():
            if item["state"] is State.DELIVERED:
                self.delivered.add(event_id)

    def _delete(self, batch: list[Message], kept: list[str]) -> None:
        for message in batch:
            now = self.queue.get(message.id)
            if message.id not in kept and now and now.message.receipt == message.receipt:
                del self.queue[message.id]

    def answer_to(self, event_id: str, event: Mapping[str, Any]) -> Answer | NoAnswer:
        name = next(self.answers, "accepted")
        said = ANSWERS[name]
        if name.startswith("accepted") and self.index.find(event) is None:
            self.index.book(self.sent, event)
            self.booked[event_id] += 1
        kind = judge(said, self.clock.time).kind
        self.counted[event_id] += kind in {Kind.DELIVERED, Kind.TRANSIENT, Kind.PERMANENT}
        if kind is Kind.PERMANENT:
            self.refused.add(event_id)
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


def _an_event(kind: str, number: int) -> dict[str, object]:
    event: dict[str, object] = {"event_name": "purchase", "email": f"ada-{number}@example.com"}
    match kind:
        case "order":
            return event | {"order_id": f"order-{number}"}
        case "key":
            return event | {"idempotency_key": f"key-{number}"}
        case _:
            return event


KINDS = ("order", "key", "neither")
some_numbers = st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=True)
some_picks = st.lists(st.integers(0, 9), min_size=1, max_size=10)
an_answer = st.sampled_from(["accepted", "refused", *ANSWERS, "accepted", "refused"])
# What changes who is responsible for an event comes more often than the rest.
CRUCIAL = ("ledger.settle", "queue.park", "ledger.claim") * 4
some_answers = st.one_of(an_answer.map(lambda name: [name] * 10), st.lists(an_answer, max_size=6))
a_failure = st.tuples(st.sampled_from(CRUCIAL + FALLIBLE), st.integers(1, 2), st.booleans())
a_death = st.tuples(st.sampled_from(CRUCIAL + MOMENTS), st.integers(1, 2), st.booleans())
some_fate = st.one_of(
    st.just(Fate()),
    st.builds(Fate, dying=a_death),
    st.builds(Fate, failing=a_failure),
    st.builds(Fate, failing=a_failure, dying=a_death),
)


class Pipe(RuleBasedStateMachine):
    """Accepted, claimed, waiting, delivered, parked: any number of times, in any order."""

    world: World

    @initialize(rate=st.sampled_from(RATES))
    def build(self, rate: int) -> None:
        self.world = World(rate)

    @rule(kind=st.sampled_from(KINDS), numbers=some_numbers)
    def accept(self, kind: str, numbers: list[int]) -> None:
        """Take events in at the door; the same number is the same order, or the same key."""
        world = self.world
        for number in numbers:
            event, _ = read_event(_an_event(kind, number))
            now = datetime.fromtimestamp(world.clock.time, UTC)
            world.send(seal(event, Origin("http", f"request-{world.sent}", now)).body())

    @rule(kind=st.sampled_from(KINDS), numbers=some_numbers)
    def publish(self, kind: str, numbers: list[int]) -> None:
        """Let SNS bring bare events: the same number has the same bytes."""
        for number in numbers:
            self.world.send(dump(_an_event(kind, number)))

    @precondition(lambda self: self.world.parked)
    @rule(place=st.integers(0, 50))
    def send_again(self, place: int) -> None:
        """The operator sends a parked event once more."""
        body, _ = self.world.parked.pop(place % len(self.world.parked))
        self.world.send(body)

    @precondition(lambda self: self.world.visible())
    @rule(picks=some_picks, answers=some_answers, fate=some_fate)
    def deliver(self, picks: list[int], answers: list[str], fate: Fate) -> None:
        self.world.answers = iter(answers)
        self.world.deliver(self.world.receive(self._names(picks)), fate)

    @precondition(lambda self: self.world.visible())
    @rule(picks=some_picks, answers=some_answers, fate=some_fate, later=st.sampled_from([0, 9, 70]))
    def deliver_twice_at_once(
        self, picks: list[int], answers: list[str], fate: Fate, later: float
    ) -> None:
        """Another worker gets all of the queue while the first is at its first post."""
        world = self.world
        world.answers = iter(answers)

        def meanwhile(worker: Worker) -> None:
            world.meanwhile = lambda _: None
            world.clock.time += later
            if world.clock.time > worker.deadline:
                world.in_flight.clear()
            world.deliver(world.receive(list(world.queue)[:10]), Fate())

        world.meanwhile = meanwhile
        world.deliver(world.receive(self._names(picks)), fate)
        world.meanwhile = lambda _: None

    @precondition(lambda self: self.world.visible())
    @rule(
        pick=st.integers(0, 9),
        times=st.integers(1, 8),
        answer=an_answer,
        fate=some_fate,
    )
    def deliver_over_and_over(self, pick: int, times: int, answer: str, fate: Fate) -> None:
        """What befalls the worker befalls the next one, with the same message and answer."""
        world = self.world
        world.answers = repeat(answer)
        [name] = self._names([pick])
        for _ in range(times):
            if name in world.queue:
                world.clock.time = max(world.clock.time, world.queue[name].visible_at)
                world.deliver(world.receive([name]), fate)

    @rule(seconds=st.sampled_from([1.0, 20.0, 70.0, 400.0, 4000.0, 100_000.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock.time += seconds

    def _names(self, picks: list[int]) -> list[str]:
        visible = self.world.visible()
        return list(dict.fromkeys(visible[pick % len(visible)] for pick in picks))

    @invariant()
    def nothing_is_lost(self) -> None:
        world = self.world
        waiting = {waiting.event_id for waiting in world.queue.values()}
        parked = {attributes["event_id"] for _, attributes in world.parked}
        assert set(world.names.values()) <= waiting | parked | set(world.booked)

    @invariant()
    def nothing_is_booked_twice(self) -> None:
        assert max(self.world.booked.values(), default=0) <= 1

    @invariant()
    def nothing_counts_but_what_came_of_the_event_itself(self) -> None:
        world = self.world
        for event_id, item in world.ledger.items.items():
            assert item["attempts"] <= world.counted[event_id]
            assert item["claims"] <= world.ledger.unresolved[event_id] + 1

    @invariant()
    def what_was_delivered_stays_delivered(self) -> None:
        world = self.world
        for event_id, item in world.ledger.items.items():
            assert (event_id in world.delivered) == (item["state"] is State.DELIVERED)
        assert world.delivered <= set(world.booked)

    def teardown(self) -> None:
        """When nothing fails any more, the queue runs empty, and all are at their end."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.answers = iter(())
        # At two a minute nearly every look finds no slot.
        for _ in range(5000):
            if not world.queue:
                break
            soonest = min(waiting.visible_at for waiting in world.queue.values())
            world.clock.time = max(world.clock.time, soonest)
            world.deliver(world.receive(world.visible()[:10]), Fate())
        assert not world.queue, "what waits is never done"
        self.nothing_is_lost()
        self.nothing_is_booked_twice()
        states = {item["state"] for item in world.ledger.items.values()}
        assert states <= {State.DELIVERED, State.PARKED}


@pytest.fixture(autouse=True)
def _in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "ThreadPoolExecutor", InTurn)


TestPipe = Pipe.TestCase
TestPipe.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
