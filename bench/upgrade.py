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
import itertools
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.running import Bench, Running, alone
from bench.states import Door, Event, State, Upgrade, bring_into_every_state, ledger, let_deliver
from local.stack.build import build_for_emulator
from local.stack.checkout import Checkout
from local.stack.console import complain, say, step, table
from local.stack.errors import StackError, StepFailed, UsageError
from local.stack.lifecycle import bring_up
from local.stack.options import Options
from tests.stack.deployed import DROP_IN, eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

NAME = "upgrade"
# The leases of the killed workers run out after 65 s, the pause after 401s after 60.
DRAINED_WITHIN = 180.0
MEANWHILE_EVERY = 0.5


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


@contextlib.contextmanager
def callers_going_on(upgrade: Upgrade) -> Iterator[None]:
    """Post an event every half second, by a service and a page in turn."""
    over = threading.Event()

    def go_on() -> None:
        for number in itertools.count():
            if over.wait(MEANWHILE_EVERY):
                return
            door = (Door.SERVICE, Door.PAGE)[number % 2]
            order = f"{State.MEANWHILE.name}-{number}"
            upgrade.accept_in_the_end(Event(State.MEANWHILE, door, number, order))

    with ThreadPoolExecutor(1) as aside:
        callers = aside.submit(go_on)
        try:
            yield
        finally:
            over.set()
    callers.result()


def resend_parked(running: Running) -> int:
    """Send every dead letter again, to the queue that it came from; return how many there were."""
    parked = list(_taken(running, running.stack.names.dead_letter_queue_url))
    for message in parked:
        url = _url_of(running, message.get("MessageAttributes", {}))
        running.sqs.send_message(QueueUrl=url, MessageBody=message["Body"])
    return len(parked)


def _taken(running: Running, url: str) -> Iterator[MessageTypeDef]:
    """Take every message off a queue."""
    while messages := running.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in messages:
            running.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            yield message


def _url_of(running: Running, attributes: Mapping[str, Any]) -> str:
    """Return the page queue for what came from it, if there is one, and else the event queue."""
    events = running.stack.names.event_queue_url
    others = [url for url in running.waiting_queues if url != events]
    is_page = attributes.get("queue", {}).get("StringValue") == "pages"
    return others[0] if is_page and others else events


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
    left = max(0.0, max(leases, default=0.0) - time.time())
    states = dict(Counter(entry["state"] for entry in entries))
    say(f"  {title}: queues {running.messages()}, ledger {states}")
    say(f"    the leases of its claims run for {left:.0f} s more")


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
            say("as promised" if is_whole else "NOT as promised")
    except StackError as error:
        complain(error)
        return 2 if isinstance(error, UsageError) else 1
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
