"""In-memory stand-ins for the ports of delivery, with a clock that only tests move."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self, cast

from cometly_forwarder.deliver.assembly import Ports, assemble
from cometly_forwarder.deliver.batch import BatchDelivery
from cometly_forwarder.deliver.claims import (
    AlreadyDone,
    Claim,
    Claimed,
    ClaimResult,
    Duplicate,
    Leased,
    Outcome,
    Waiting,
)
from cometly_forwarder.deliver.jobs import Message
from cometly_forwarder.deliver.ledger import FARTHEST_SECONDS
from cometly_forwarder.deliver.verdict import CometlyResponse, NoResponse
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate import rules
from cometly_forwarder.gate.gate import DynamoGate, LaneGate
from cometly_forwarder.gate.quota import RateHeaders
from cometly_forwarder.gate.rules import GateState, Lane, Reservation, SlotRequest, Unused
from cometly_forwarder.ledger_item import State

START = 1_800_000_000.0
ACCEPTED = CometlyResponse(202, {}, b'{"status": 202, "message": "queued"}')


def answer(status: int, message: str = "no", **headers: str) -> CometlyResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return CometlyResponse(status, named, json.dumps({"message": message}).encode())


@dataclass
class Clock:
    time: float = START

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class InTurn:
    """The batch delivery's threads, one after the other, so that a run can be repeated."""

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
class MemoryLedger:
    """The ledger's rules over a dict. `broken` names the calls that fail."""

    clock: Clock
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def claim(self, claim: Claim) -> ClaimResult:
        self._check("claim")
        item = self.items.get(claim.event_id, {})
        if held := self._held(item, claim):
            return held
        self.items[claim.event_id] = item = {
            **item,
            "owner": claim.owner,
            "message_id": claim.message_id,
            "state": State.CLAIMED,
            "lease": claim.lease,
            "claims": item.get("claims", 0) + 1,
            "attempts": item.get("attempts", 0),
        }
        is_own = item.get("content") == claim.content
        return Claimed(
            item["claims"],
            item["attempts"],
            item.get("deaths", 0) if is_own else 0,
            item.get("blocks", 0) if is_own else 0,
            item.get("blocked_at", 0.0) if is_own else 0.0,
            item.get("answer", ""),
            item.get("request_id", ""),
        )

    def begin(self, claim: Claim, deaths: int) -> None:
        self._check("begin")
        item = self.items.get(claim.event_id, {})
        if not self._holds(item, claim):
            raise Unavailable("the claim has passed to another message")
        item |= {"deaths": deaths, "content": claim.content}

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        self._check("settle")
        item = self.items.get(claim.event_id, {})
        is_delivered = outcome.state is State.DELIVERED
        if not self._holds(item, claim) and not is_delivered:
            return
        if is_delivered and item.get("state") is State.DELIVERED:
            return
        self.items[claim.event_id] = item | {
            "owner": claim.owner,
            "content": claim.content,
            "message_id": claim.message_id,
            "state": outcome.state,
            "attempts": 0 if outcome.state is State.PARKED else outcome.attempts,
            "claims": outcome.claims,
            "deaths": outcome.deaths,
            "blocks": outcome.blocks,
            "blocked_at": outcome.blocked_at,
            "retry_at": outcome.retry_at,
        }
        if outcome.verdict:
            self.items[claim.event_id] |= {
                "answer": outcome.verdict.reason,
                "request_id": outcome.verdict.request_id or "",
            }

    def _holds(self, item: dict[str, Any], claim: Claim) -> bool:
        return (
            item.get("state") is State.CLAIMED
            and item["owner"] == claim.owner
            and item["lease"] == claim.lease
        )

    def _held(
        self, item: dict[str, Any], claim: Claim
    ) -> AlreadyDone | Duplicate | Leased | Waiting | None:
        is_same = item.get("message_id") == claim.message_id
        farthest = self.clock.now() + FARTHEST_SECONDS
        match item.get("state"):
            case State.CLAIMED if self.clock.now() <= item["lease"] < farthest:
                return Leased(item["lease"], is_same)
            case State.WAITING if self.clock.now() <= item["retry_at"] < farthest:
                is_tried = item["content"] == claim.content
                return Waiting(item["retry_at"]) if is_tried else None
            case State.PARKED if is_same:
                return AlreadyDone()
            case State.DELIVERED:
                return AlreadyDone() if is_same else Duplicate()
        return None

    def _check(self, call: str) -> None:
        if call in self.broken:
            raise Unavailable(f"the ledger is away ({call})")

    def states(self) -> list[str]:
        return [item["state"].value for item in self.items.values()]


@dataclass
class MemoryGate:
    """The real rules of the gate over a variable instead of a table."""

    clock: Clock
    configured: int = 1000
    state: GateState = field(default_factory=GateState)
    admitted: int = 0
    given_back: int = 0
    taken_at: float = 0.0
    refusals: int = 0

    def lane(self, lane: Lane) -> LaneGate:
        return LaneGate(cast("DynamoGate", self), lane)

    def admit(self, count: int, latest: float, lane: Lane = Lane.SERVICES) -> Reservation:
        request = SlotRequest(self.clock.now(), count, latest, self.configured, lane=lane)
        self.state, reservation = rules.admit(self.state, request)
        self.admitted += len(reservation.slots)
        return reservation

    def expects_room(self, count: int, latest: float, lane: Lane = Lane.SERVICES) -> bool:
        request = SlotRequest(self.clock.now(), count, latest, self.configured, lane=lane)
        _, found = rules.admit(self.state, request)
        return found.early > 0 and len(found.slots) == count and not found.probe

    def refresh_lead(self) -> float:
        return 0.0

    def is_open(self, lane: Lane = Lane.SERVICES) -> bool:
        return rules.holds(self.state, self.clock.now(), self.configured, lane)

    def wait(self, lane: Lane = Lane.SERVICES) -> float:
        pause = rules.closed(self.state, self.clock.now(), lane)
        return pause.wait(self.clock.now()) if pause else 0.0

    def last_taken(self) -> float:
        return self.taken_at

    def give_back(
        self, slots: tuple[float, ...], *, probe: bool, lane: Lane = Lane.SERVICES
    ) -> None:
        self.given_back += len(slots)
        self.state = rules.give_back(
            self.state,
            Unused(slots, lane, probe=probe),
            now=self.clock.now(),
            configured=self.configured,
        )

    def observe(self, headers: RateHeaders) -> None:
        self.state = rules.observe(
            self.state, headers, now=self.clock.now(), configured=self.configured
        )

    def throttled(self, retry_after: float | None, lane: Lane = Lane.SERVICES) -> None:
        self.state = rules.throttled(
            self.state,
            now=self.clock.now(),
            configured=self.configured,
            retry_after=retry_after,
            lane=lane,
        )

    def blocked(self, *, is_sure: bool, lane: Lane = Lane.SERVICES) -> None:
        self.refusals += 1
        if not is_sure and rules.is_doubtful(self.refusals, self.taken_at, self.clock.now()):
            return
        self.state = rules.blocked(self.state, now=self.clock.now(), lane=lane)

    def failed(self, *, probe: bool, lane: Lane = Lane.SERVICES) -> None:
        self.state = rules.failed(self.state, now=self.clock.now(), probe=probe, lane=lane)

    def succeeded(self, *, probe: bool, is_booked: bool = True, lane: Lane = Lane.SERVICES) -> None:
        self.taken_at = self.clock.now()
        self.refusals = 0
        self.state = rules.succeeded(self.state, probe=probe, is_booked=is_booked, lane=lane)


@dataclass
class ScriptedCometly:
    """Answers by a function of the event; keeps what was posted."""

    respond: Callable[[Mapping[str, Any]], CometlyResponse | NoResponse] = lambda _: ACCEPTED
    posted: list[Mapping[str, Any]] = field(default_factory=list)

    def make_ready(self) -> None:
        pass

    def post(self, event: Mapping[str, Any]) -> CometlyResponse | NoResponse:
        self.posted.append(event)
        return self.respond(event)


@dataclass
class MemoryQueue:
    hidden: dict[str, float] = field(default_factory=dict)
    parked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    is_broken: bool = False

    def release(self, delays: Mapping[str, float]) -> None:
        self.hidden |= delays

    def park(self, body: str, attributes: Mapping[str, str]) -> None:
        if self.is_broken:
            raise Unavailable("the dead-letter queue is away")
        self.parked.append((body, dict(attributes)))


@dataclass
class Lines:
    """Keeps what was recorded."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def record(self, name: str, *, event_id: str | None = None, **keys: object) -> None:
        self.lines.append({"name": name, "event_id": event_id, **keys})

    def names(self) -> list[str]:
        return [line["name"] for line in self.lines]


@dataclass
class Pipe:
    """A batch delivery with all of its ports in memory."""

    clock: Clock = field(default_factory=Clock)
    horizon: float = 3 * 24 * 3600

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.clock)
        self.gate = MemoryGate(self.clock)
        self.cometly = ScriptedCometly()
        self.queue = MemoryQueue()
        self.journal = Lines()

    def batch_delivery(self) -> BatchDelivery:
        ports = Ports(
            ledger=self.ledger,
            gate=self.gate,
            cometly=self.cometly,
            queue=self.queue,
            journal=self.journal,
            now=self.clock.now,
            sleep=self.clock.sleep,
            random=lambda: 0.5,
            horizon_seconds=self.horizon,
        )
        return assemble(ports)

    def deliver(self, *messages: Message, seconds: float = 60.0) -> list[str]:
        return self.batch_delivery().deliver(messages, self.clock.now() + seconds)


def message(
    number: int = 1, *, receives: int = 1, sent_at: float = START, **fields: Any
) -> Message:
    """Make a message with an event as SNS delivers it raw; each number is another order."""
    event = {"event_name": "purchase", "email": "ada@example.com", "amount": 99.99}
    body = json.dumps({**event, "order_id": f"o-{number}", **fields})
    return Message(f"m-{number}", body, sent_at, f"r-{number}", receives)
