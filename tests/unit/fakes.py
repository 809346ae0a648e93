"""In-memory stand-ins for the ports of delivery, with a clock that only tests move."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cometly_forwarder import pacing
from cometly_forwarder.claims import (
    Claimed,
    Duplicate,
    Leased,
    Outcome,
    Settled,
    State,
    Ticket,
)
from cometly_forwarder.courier import Courier
from cometly_forwarder.delivery import Delivery, Message
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.pacing import Admission, GateState, Wish
from cometly_forwarder.quota import Quota
from cometly_forwarder.verdict import Answer, NoAnswer

START = 1_800_000_000.0
ACCEPTED = Answer(202, {}, b'{"status": 202, "message": "queued"}')


def answer(status: int, message: str = "no", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, json.dumps({"message": message}).encode())


@dataclass
class Clock:
    time: float = START

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class MemoryLedger:
    """The ledger's rules over a dict. `broken` names the calls that fail."""

    clock: Clock
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def claim(self, ticket: Ticket) -> Claimed | Settled | Duplicate | Leased:
        self._check("claim")
        item = self.items.get(ticket.event_id)
        held = self._held(item, ticket) if item else None
        if held:
            return held
        is_replay = item is None or item["state"] is State.PARKED
        claims, attempts = (0, 0) if is_replay else (item["claims"], item["attempts"])
        self.items[ticket.event_id] = {
            **(item or {}),
            "owner": ticket.owner,
            "message_id": ticket.message_id,
            "state": State.CLAIMED,
            "lease": ticket.lease,
            "claims": claims + 1,
            "attempts": attempts,
        }
        before = item or {}
        answer, request_id = before.get("answer", ""), before.get("request_id", "")
        return Claimed(claims + 1, attempts, answer, request_id)

    def settle(self, ticket: Ticket, outcome: Outcome) -> None:
        self._check("settle")
        item = self.items.get(ticket.event_id)
        if not item or item["owner"] != ticket.owner:
            return
        is_held = item["state"] is State.CLAIMED and item["lease"] == ticket.lease
        if not is_held and outcome.state is not State.DELIVERED:
            return
        item["state"], item["attempts"] = outcome.state, outcome.attempts
        item["claims"] = outcome.claims
        if outcome.verdict:
            item["answer"] = outcome.verdict.reason
            item["request_id"] = outcome.verdict.request_id or ""

    def _held(self, item: dict[str, Any], ticket: Ticket) -> Settled | Duplicate | Leased | None:
        is_same = item["message_id"] == ticket.message_id
        if item["state"] is State.PARKED and not is_same:
            return None
        if item["owner"] != ticket.owner:
            return Duplicate()
        if item["state"] is State.CLAIMED and item["lease"] >= self.clock.now():
            return Leased(item["lease"])
        if item["state"] in {State.DELIVERED, State.PARKED}:
            return Settled() if is_same else Duplicate()
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
    is_broken: bool = False
    admitted: int = 0
    given_back: int = 0

    def admit(self, count: int, latest: float) -> Admission:
        if self.is_broken:
            raise Unavailable("the gate is away")
        wish = Wish(self.clock.now(), count, latest, self.configured)
        self.state, admission = pacing.admit(self.state, wish)
        self.admitted += len(admission.slots)
        return admission

    def exchange(self, slot: float, latest: float) -> Admission:
        self.give_back((slot,), probe=False)
        return self.admit(1, latest)

    def look_ahead(self) -> float:
        return 0.0

    def is_open(self) -> bool:
        return pacing.closed(self.state, self.clock.now()) is None

    def wait(self) -> float:
        pause = pacing.closed(self.state, self.clock.now())
        return pause.wait(self.clock.now()) if pause else 0.0

    def give_back(self, slots: tuple[float, ...], *, probe: bool) -> None:
        self.given_back += len(slots)
        self.state = pacing.give_back(
            self.state, slots, now=self.clock.now(), configured=self.configured, probe=probe
        )

    def note(self, quota: Quota) -> None:
        self.state = pacing.observe(self.state, quota, now=self.clock.now())

    def throttled(self, retry_after: float | None) -> None:
        self.state = pacing.throttled(self.state, now=self.clock.now(), retry_after=retry_after)

    def blocked(self) -> None:
        self.state = pacing.blocked(self.state, now=self.clock.now())

    def failed(self, *, probe: bool) -> None:
        self.state = pacing.failed(self.state, now=self.clock.now(), probe=probe)

    def succeeded(self, *, probe: bool) -> None:
        self.state = pacing.succeeded(self.state, probe=probe)


@dataclass
class ScriptedCometly:
    """Answers by a function of the event; keeps what was posted."""

    respond: Callable[[Mapping[str, Any]], Answer | NoAnswer] = lambda _: ACCEPTED
    posted: list[Mapping[str, Any]] = field(default_factory=list)

    def make_ready(self) -> None:
        pass

    def post(self, event: Mapping[str, Any]) -> Answer | NoAnswer:
        self.posted.append(event)
        return self.respond(event)


@dataclass
class MemoryQueue:
    hidden: dict[str, float] = field(default_factory=dict)
    parked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    is_broken: bool = False

    def hand_back(self, delays: Mapping[str, float]) -> None:
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
    """A courier with all of its ports in memory."""

    clock: Clock = field(default_factory=Clock)
    horizon: float = 3 * 24 * 3600

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.clock)
        self.gate = MemoryGate(self.clock)
        self.cometly = ScriptedCometly()
        self.queue = MemoryQueue()
        self.journal = Lines()

    def courier(self) -> Courier:
        delivery = Delivery(
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
        return Courier(delivery)

    def deliver(self, *messages: Message, seconds: float = 60.0) -> list[str]:
        return self.courier().deliver(messages, self.clock.now() + seconds)


def message(
    number: int = 1, *, receives: int = 1, sent_at: float = START, **fields: Any
) -> Message:
    """Make a message with an event as SNS delivers it raw; each number is another order."""
    event = {"event_name": "purchase", "email": "ada@example.com", "order_id": f"o-{number}"}
    body = json.dumps({**event, **fields})
    return Message(f"m-{number}", body, sent_at, f"r-{number}", receives)
