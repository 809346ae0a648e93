"""An older version with events in every state, and this checkout deployed over it.

    python -m bench.upgrade --from REVISION [--spoil lost|twice]

The older version is taken from this repository. It gets events by every door and brings them as far
as each state goes; then `sam deploy` puts this checkout in its place, in the same emulator, while
callers go on; the parked events are sent again. Exits with 1 unless Cometly (the sandbox) booked
each accepted event once and no queue holds anything. `--spoil` loses an event, or books one twice,
to see that it is noticed. Loopback only; within six minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import urllib3

from bench.running import Bench, Running, alone
from local.stack.build import build_for_emulator
from local.stack.checkout import Checkout
from local.stack.console import complain, say, step, table
from local.stack.errors import StackError, StepFailed, UsageError
from local.stack.lifecycle import bring_up
from local.stack.options import Options
from tests.stack.deployed import DROP_IN, eventually

Fields = dict[str, Any]

NAME = "upgrade"
OPTIONS = Options(requests_per_minute=12_000)
REACHED_WITHIN = 40.0
# The leases of the killed workers run out after 65 s, the pause after 401s after 60.
DRAINED_WITHIN = 180.0
# What a killed worker had comes back this soon, while its lease still runs; on AWS after 360 s.
COMES_BACK_SECONDS = 20
MEANWHILE_EVERY = 0.5


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


# --- The older version ----------------------------------------------------------------------------


def checked_out(revision: str) -> Bench:
    """Take an older version's template and sources out of this repository."""
    root = Checkout.here().root
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    if not commit:
        raise UsageError(f"--from {revision}: this repository has no such revision.")
    bench = Bench.of(NAME, root / ".local" / f"bench-{NAME}" / "trees" / commit)
    # The archive is in the order of names: the template comes last, and says that all is there.
    if not bench.template.exists():
        bench.tree.mkdir(parents=True, exist_ok=True)
        archive = bench.tree.with_suffix(".tar")
        _git(root, "archive", f"--output={archive}", commit, "template.yaml", "src")
        with tarfile.open(archive) as content:
            content.extractall(bench.tree, filter="data")
    return bench


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


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


# --- The new version ------------------------------------------------------------------------------


@contextlib.contextmanager
def callers_going_on(upgrade: Upgrade) -> Iterator[None]:
    """Post an event every half second, by a service and a page in turn."""
    over = threading.Event()
    failed: list[BaseException] = []

    def go_on() -> None:
        number = 0
        try:
            while not over.wait(MEANWHILE_EVERY):
                door = (Door.SERVICE, Door.PAGE)[number % 2]
                order = f"{State.MEANWHILE.name}-{number}"
                upgrade.accept_in_the_end(Event(State.MEANWHILE, door, number, order))
                number += 1
        except BaseException as exc:  # noqa: BLE001 - raised again in the other thread
            failed.append(exc)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    for exc in failed:
        raise exc


def resend_parked(running: Running) -> int:
    """Send every dead letter again, to the queue that it came from; return how many there were."""
    dead_letters = running.stack.names.dead_letter_queue_url
    count = 0
    while messages := running.sqs.receive_message(
        QueueUrl=dead_letters, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in messages:
            url = _url_of(running, message.get("MessageAttributes", {}))
            running.sqs.send_message(QueueUrl=url, MessageBody=message["Body"])
            running.sqs.delete_message(
                QueueUrl=dead_letters, ReceiptHandle=message["ReceiptHandle"]
            )
            count += 1
    return count


def _url_of(running: Running, attributes: Mapping[str, Any]) -> str:
    """Return the page queue for what came from it, if there is one, and else the event queue."""
    events = running.stack.names.event_queue_url
    others = [url for url in running.waiting_queues if url != events]
    is_page = attributes.get("queue", {}).get("StringValue") == "pages"
    return others[0] if is_page and others else events


# --- What came of it ------------------------------------------------------------------------------


def lose_one(running: Running) -> None:
    """Take a message that waits off the event queue."""
    url = running.stack.names.event_queue_url
    [message] = running.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
    running.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def book_one_twice(upgrade: Upgrade) -> None:
    """Post an event to Cometly past the forwarder, with another key."""
    plan = upgrade.running.stack.plan
    answer = upgrade.running.api.pool.request(
        "POST",
        f"{plan.cometly_url}{DROP_IN}",
        json=upgrade.accepted[0].fields | {"idempotency_key": "another"},
        headers={"Authorization": f"Bearer {plan.token}", "Accept": "application/json"},
    )
    if answer.status != 202:
        raise StepFailed(f"The sandbox refused the second booking: {answer.status}.")


def accounts(upgrade: Upgrade) -> bool:
    """Print what became of the events of each state; return whether each was booked once."""
    sandbox = upgrade.running.sandbox
    posts = Counter(request["email"] for request in sandbox.requests())
    booked = Counter(it["fields"]["email"] for it in sandbox.events() if it["duplicate_of"] is None)
    rows = [_account(upgrade, state, posts, booked) for state in State]
    left = upgrade.running.messages()
    strangers = booked.keys() - {event.email for event in upgrade.accepted}
    say(f"\n{table([_HEADING, *(tuple(map(str, row)) for row in rows)])}")
    say(f"\nLeft on the queues: {left}. Booked and never accepted: {len(strangers)}.")
    whole = all(accepted == now and not lost + twice for _, accepted, _, now, lost, twice in rows)
    return whole and not any(left.values()) and not strangers


_HEADING = ("state before the upgrade", "accepted", "posts", "booked", "lost", "twice")


def _account(
    upgrade: Upgrade, state: State, posts: Mapping[str, int], booked: Mapping[str, int]
) -> tuple[str, int, int, int, int, int]:
    emails = [event.email for event in upgrade.accepted if event.state is state]
    times = [booked.get(email, 0) for email in emails]
    posted = sum(posts.get(email, 0) for email in emails)
    lost, twice = times.count(0), sum(count > 1 for count in times)
    return state.value, len(emails), posted, sum(times), lost, twice


def measure(before: Bench, after: Bench, spoil: str | None) -> bool:
    """Deploy one, bring events into every state, deploy the other over it, and account for all."""
    with step("sam build of both versions"):
        build_for_emulator(before)
        build_for_emulator(after)
    upgrade = Upgrade(_deployed(before))
    bring_into_every_state(upgrade)
    if spoil == "lost":
        lose_one(upgrade.running)
    with callers_going_on(upgrade):
        _tell_of(upgrade.running, "Left by the older version")
        upgrade.running = _deployed(after)
    _tell_of(upgrade.running, "Found by the new one")
    say(f"  answers to callers meanwhile that were not 202: {upgrade.refused}")
    upgrade.running.sandbox.recover()
    upgrade.running.sandbox.set(tokens=[upgrade.running.stack.plan.token])
    let_deliver(upgrade.running, take=True)
    say(f"  parked events resent: {resend_parked(upgrade.running)}")
    upgrade.repeat(State.DELIVERED)
    with step("waiting until the queues are empty"), contextlib.suppress(AssertionError):
        eventually(upgrade.running.messages, _is_empty, within=DRAINED_WITHIN)
    if spoil == "twice":
        book_one_twice(upgrade)
    return accounts(upgrade)


def _deployed(bench: Bench) -> Running:
    options = Options(requests_per_minute=12_000, param=bench.parameters())
    return Running.of(bring_up(bench, options), options)


def _is_empty(messages: Mapping[str, int]) -> bool:
    return not any(messages.values())


def _tell_of(running: Running, title: str) -> None:
    entries = ledger(running)
    leases = [float(it["lease"]) for it in entries if it["state"] == "claimed"]
    runs = f"leases run for {max(leases) - time.time():.0f} s more" if leases else "no lease"
    states = dict(Counter(entry["state"] for entry in entries))
    say(f"  {title}: queues {running.messages()}, ledger {states}, {runs}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.upgrade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="revision", required=True, metavar="REVISION")
    parser.add_argument("--spoil", choices=["lost", "twice"])
    given = parser.parse_args()
    after = Bench.of(NAME)
    try:
        before = checked_out(given.revision)
        with alone(after):
            say(f"From {before.tree.name[:12]} to this checkout:")
            is_whole = measure(before, after, given.spoil)
    except StackError as error:
        complain(error)
        return 2 if isinstance(error, UsageError) else 1
    say("as promised" if is_whole else "NOT as promised")
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
