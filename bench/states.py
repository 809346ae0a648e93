"""Events by every door, and an older version's way of leaving them in every state."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import urllib3

from bench.running import Running
from local.stack.console import step
from local.stack.errors import StepFailed
from tests.stack.deployed import DROP_IN, eventually

Fields = dict[str, Any]

REACHED_WITHIN = 40.0
# What a killed worker had comes back this soon, while its lease still runs; on AWS after 360 s.
COMES_BACK_SECONDS = 20


class Door(Enum):
    """A way in."""

    SERVICE = "/v1/events"
    DROP_IN = "the drop-in"
    PAGE = "/collect"
    TOPIC = "SNS"
    BUS = "EventBridge"


class State(Enum):
    """How far the older version brings an event; the value heads its row of the table."""

    DELIVERED = "delivered, posted again before and after"
    PARKED = "parked after a 422, resent after"
    KILLED_BEFORE = "claimed, its worker killed before Cometly booked it"
    KILLED_AFTER = "claimed, its worker killed after Cometly booked it"
    BACKING_OFF = "waits out a back-off after a 503"
    PAUSED = "waits because of a pause after a 401"
    WAITING = "waits on the queue, never received"
    MEANWHILE = "posted while the new version was deployed"


@dataclass(frozen=True)
class Event:
    """An event, with a customer of its own: by that it is found again."""

    state: State
    door: Door
    number: int
    order: str | None

    @property
    def email(self) -> str:
        return f"{self.state.name}-{self.door.name}-{self.number}@example.com".lower()

    @property
    def fields(self) -> Fields:
        order = {"order_id": self.order} if self.order else {}
        return {
            "event_name": "lead_generated",
            "email": self.email,
            "comet_campaign": self.state.name,
            **order,
        }


def events_of(state: State) -> list[Event]:
    """Return two events a door: one that an order names, one that only its message does."""
    return [
        Event(state, door, number, order)
        for door in Door
        for number, order in enumerate((f"{state.name}-{door.name}", None))
    ]


@dataclass
class Upgrade:
    """What was accepted, and the version that now runs."""

    running: Running
    accepted: list[Event] = field(default_factory=list)
    refused: int = 0
    """How many tries came to nothing while the new version was deployed."""

    def accept(self, event: Event) -> None:
        """Send an event; raises StepFailed where it is not taken."""
        self._send_or_fail(event)
        self.accepted.append(event)

    def repeat(self, state: State) -> None:
        """Send once more what an order names: the rest would be events of their own."""
        for event in self.accepted[:]:
            if event.state is state and event.order:
                self._send_or_fail(event)

    def accept_in_the_end(self, event: Event) -> None:
        """Send an event as callers do who try again: an upgrade may cost an answer."""
        eventually(lambda: self._try(event), bool, within=REACHED_WITHIN)
        self.accepted.append(event)

    def _send_or_fail(self, event: Event) -> None:
        if (status := self._send(event)) != 202:
            raise StepFailed(f"{event.door.value} answered {status}, and not 202.")

    def _try(self, event: Event) -> bool:
        try:
            is_taken = self._send(event) == 202
        except (urllib3.exceptions.HTTPError, ValueError):
            is_taken = False
        self.refused += not is_taken
        return is_taken

    def _send(self, event: Event) -> int:
        match event.door:
            case Door.SERVICE:
                return self.running.api.post(event.fields).status
            case Door.DROP_IN:
                return self.running.api.post(event.fields, path=DROP_IN).status
            case Door.PAGE:
                return self.running.post_from_page(event.fields)
            case Door.TOPIC:
                self.running.topic.publish(event.fields)
            case Door.BUS:
                self.running.bus.put(event.fields)
        return 202


def bring_into_every_state(upgrade: Upgrade) -> None:
    """Leave events in each state; the mapping is off in the end, so that they stay there.

    Claims come late, for a lease must run when the new version begins; the pause comes last, for it
    holds for all.
    """
    for state, bring in (
        (State.DELIVERED, _deliver),
        (State.PARKED, _park),
        (State.KILLED_BEFORE, _kill),
        (State.BACKING_OFF, _back_off),
        (State.PAUSED, _pause),
        (State.WAITING, _leave_waiting),
    ):
        with step(state.value):
            try:
                bring(upgrade)
            except AssertionError as exc:
                raise StepFailed(f"The older version did not get there: {exc}") from exc


def _deliver(upgrade: Upgrade) -> None:
    _accept_all(upgrade, State.DELIVERED)
    _until(upgrade, "delivered", 10)


def _park(upgrade: Upgrade) -> None:
    _fail(upgrade, State.PARKED, kind="status", status=422)
    _accept_all(upgrade, State.PARKED)
    _until(upgrade, "parked", 10)


def _kill(upgrade: Upgrade) -> None:
    """Kill the workers while Cometly holds its answers, half of them after it booked the event."""
    running = upgrade.running
    _fail(upgrade, State.KILLED_BEFORE, kind="hang")
    _fail(upgrade, State.KILLED_AFTER, kind="process_then_hang")
    with _coming_back_soon(running):
        let_deliver(running, take=False)
        _accept_all(upgrade, State.KILLED_BEFORE)
        _accept_all(upgrade, State.KILLED_AFTER)
        let_deliver(running, take=True)
        eventually(
            lambda: [it for it in running.sandbox.requests() if it["status"] is None],
            lambda hanging: len(hanging) == 20,
            within=REACHED_WITHIN,
        )
        _kill_workers(running)
    _until(upgrade, "claimed", 20)


def _back_off(upgrade: Upgrade) -> None:
    _fail(upgrade, State.BACKING_OFF, kind="status", status=503)
    _accept_all(upgrade, State.BACKING_OFF)
    _until(upgrade, "waiting", 10)


def _pause(upgrade: Upgrade) -> None:
    """Let Cometly refuse the token until the gate has turned every message away."""
    running = upgrade.running
    running.sandbox.recover()
    running.sandbox.set(tokens=["another-token"])
    _accept_all(upgrade, State.PAUSED)
    eventually(
        lambda: {request["status"] for request in running.sandbox.requests()},
        lambda statuses: 401 in statuses,
        within=REACHED_WITHIN,
    )
    eventually(lambda: _to_be_had(running), lambda it: it == 0, within=REACHED_WITHIN)


def _to_be_had(running: Running) -> int:
    """Count the messages that are neither in flight nor hidden."""
    return sum(
        int(_attribute(running, url, "ApproximateNumberOfMessages"))
        for url in running.waiting_queues
    )


def _attribute(
    running: Running, url: str, name: Literal["ApproximateNumberOfMessages", "VisibilityTimeout"]
) -> str:
    return running.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name]


def _leave_waiting(upgrade: Upgrade) -> None:
    let_deliver(upgrade.running, take=False)
    _accept_all(upgrade, State.WAITING)
    upgrade.repeat(State.DELIVERED)


def _accept_all(upgrade: Upgrade, state: State) -> None:
    for event in events_of(state):
        upgrade.accept(event)


def _fail(upgrade: Upgrade, state: State, **rule: object) -> None:
    upgrade.running.sandbox.fail(times="always", match={"comet_campaign": state.name}, **rule)


def _until(upgrade: Upgrade, state: str, count: int) -> None:
    eventually(
        lambda: Counter(entry["state"] for entry in ledger(upgrade.running)),
        lambda counts: counts[state] >= count,
        within=REACHED_WITHIN,
    )


def ledger(running: Running) -> list[dict[str, str]]:
    """Return what the ledger holds of events."""
    items = running.table.dynamodb.scan(TableName=running.table.name)["Items"]
    entries = [{name: str(next(iter(it.values()))) for name, it in item.items()} for item in items]
    return [entry for entry in entries if entry["event_id"].startswith("evt_")]


def let_deliver(running: Running, *, take: bool) -> None:
    """Switch every mapping of deliver on or off."""
    name = running.stack.names.deliver_function
    answer = running.functions.list_event_source_mappings(FunctionName=name)
    for mapping in answer["EventSourceMappings"]:
        running.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=take)


def _kill_workers(running: Running) -> None:
    """Change deliver's configuration to what it is: the emulator kills its workers for that."""
    name = running.stack.names.deliver_function
    memory = running.functions.get_function_configuration(FunctionName=name)["MemorySize"]
    running.functions.update_function_configuration(FunctionName=name, MemorySize=memory)


@contextlib.contextmanager
def _coming_back_soon(running: Running) -> Iterator[None]:
    usual = {url: _attribute(running, url, "VisibilityTimeout") for url in running.waiting_queues}
    _hide_for(running, dict.fromkeys(usual, str(COMES_BACK_SECONDS)))
    try:
        yield
    finally:
        _hide_for(running, usual)


def _hide_for(running: Running, seconds: Mapping[str, str]) -> None:
    """Set for how long each queue hides what is received."""
    for url, value in seconds.items():
        running.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": value})
