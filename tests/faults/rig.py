"""A pipe of one's own: queues, table and secret on the emulator, a sandbox, and workers."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import boto3
import urllib3

from cometly_forwarder.event.envelope import Source, read_envelope
from cometly_forwarder.ingest.accept import Intake, accept
from cometly_forwarder.journal import each_outcome
from local.sandbox.book import EventEntry, RequestEntry
from local.sandbox.faults import read_rules
from local.sandbox.sandbox import Sandbox
from local.sandbox.server import RunningSandbox
from local.sandbox.server import running as running_sandbox
from local.sandbox.settings import DEFAULT_TOKEN, Settings
from local.stack.environment import REGION
from tests import patience
from tests.faults.emulator import ROOT
from tests.faults.worker import SERVICES, Death, Plan, work

T = TypeVar("T")
R = TypeVar("R")

PATIENCE_SECONDS = patience.PATIENCE_SECONDS

# A limit that no test reaches: pace is tested elsewhere.
NO_LIMIT = 60_000

# Times of a post that is given up soon; FAULTS are what Cometly does.
BRISK = {"cometly.READ_SECONDS": 0.8, "ANSWER_SECONDS": 1.0, "POST_SECONDS": 1.6}
FAULTS: Mapping[str, list[dict[str, object]]] = {
    "accepted": [],
    "refused": [{"kind": "status", "status": 422, "times": "always"}],
    "failing": [{"kind": "status", "status": 503}],
}
# More at once would only wait for each other.
SIDE_BY_SIDE = 8

# How a process ends that was killed, or that outlasted its invocation's time.
KILLED = (-signal.SIGKILL, -signal.SIGALRM)

# Starting a process asks all others whether they live, and two threads must not ask at once.
_asking = threading.RLock()
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.faults.preload"])


@dataclass(frozen=True)
class EventQueue:
    """Puts accepted events on the queue; that nothing fails here is part of the set-up."""

    sqs: Any
    url: str

    def send(self, bodies: Sequence[str]) -> frozenset[int]:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)
        return frozenset()


@dataclass(frozen=True)
class AwsClients:
    """Clients of the emulator, made once a session."""

    url: str
    sqs: Any
    dynamodb: Any
    secretsmanager: Any

    @classmethod
    def at(cls, url: str) -> AwsClients:
        session = boto3.Session(
            aws_access_key_id=ROOT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ROOT["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        return cls(url, *[session.client(service, endpoint_url=url) for service in SERVICES])

    def peek(self, queue_url: str) -> list[dict[str, Any]]:
        """Look at every message of a queue, hidden ones too, without receiving any."""
        answer = urllib3.request(
            "GET", f"{self.url}/_ministack/sqs/messages", fields={"QueueUrl": queue_url}
        )
        [queue] = [
            messages
            for regions in answer.json()["messages"].values()
            for queues in regions.values()
            for messages in queues.values()
        ]
        return list(queue)


class Content(NamedTuple):
    """What was sent: an identity, and which of its contents, told apart by their `url`."""

    event_id: str
    url: str


@dataclass(frozen=True)
class Account:
    """Where the accepted events are."""

    accepted: frozenset[Content]
    booked: Counter[Content]
    parked: Counter[Content]
    waiting: frozenset[Content]

    def identities(self) -> Counter[str]:
        """Count how often each identity is booked."""
        return Counter(content.event_id for content in self.booked.elements())

    def check(self) -> None:
        """Each content is booked as its identity, parked or waiting; none is booked twice."""
        identities = self.identities()
        assert max(identities.values(), default=0) <= 1, "booked twice"
        found = self.booked.keys() | self.parked.keys() | self.waiting
        lost = {each for each in self.accepted - found if not identities[each.event_id]}
        assert lost == set(), "lost"
        assert found - self.accepted == set(), "out of nowhere"
        assert self.booked.keys() & self.parked.keys() == set(), "both delivered and parked"


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """What became of a single event, when nothing is on the queue any more."""

    posts: int
    parked: int
    state: object
    deaths: int = 0
    waiting: int = 0


@dataclass
class Crew:
    """Worker processes. One that dies is replaced, as Lambda replaces its environments."""

    count: int
    plan_next: Callable[[], Plan]
    processes: list[BaseProcess] = field(default_factory=list)
    deaths: int = 0
    restarts: bool = True

    def tend(self) -> None:
        """Bury the dead and fill their places."""
        with _asking:
            self._bury()
            while self.restarts and len(self.processes) < self.count:
                process = _processes.Process(target=work, args=(self.plan_next(),), daemon=True)
                process.start()
                self.processes.append(process)

    def _bury(self) -> None:
        for process in [one for one in self.processes if not one.is_alive()]:
            self.processes.remove(process)
            assert process.exitcode in {0, *KILLED}, "the worker broke: its log says why"
            self.deaths += process.exitcode in KILLED
            process.close()

    def kill(self, place: int = 0) -> None:
        """Kill a worker at once; the next `tend` counts it and replaces it."""
        self.processes[place].kill()
        self.processes[place].join()

    def finish(self) -> None:
        """Let every worker end the batch that it has, and go."""
        self.restarts = False
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(PATIENCE_SECONDS)
        self.tend()

    def end(self) -> None:
        with _asking:
            for process in self.processes:
                process.kill()
            for process in self.processes:
                process.join()
                process.close()
            self.processes.clear()


@dataclass
class Rig:
    """One pipe, from the intake to the sandbox."""

    aws: AwsClients
    box: RunningSandbox
    folder: Path
    queue_url: str
    dead_letter_url: str
    table: str
    secret: str
    accepted: set[Content] = field(default_factory=set)
    _logs: Iterator[int] = field(default_factory=itertools.count)

    @property
    def sandbox(self) -> Sandbox:
        return self.box.sandbox

    # --- what goes in -----------------------------------------------------------------------------

    def accept(self, *events: Mapping[str, object]) -> list[str]:
        """Take events in as the ingest function does; returns their event ids."""
        event_queue = EventQueue(self.aws.sqs, self.queue_url)
        intake = Intake(event_queue, lambda: datetime.now(UTC), lambda: uuid4().hex)
        ids = [receipt.event_id for receipt in accept(events, intake) if receipt.event_id]
        assert len(ids) == len(events)
        self.accepted |= {
            Content(event_id, str(event.get("url", "")))
            for event_id, event in zip(ids, events, strict=True)
        }
        return ids

    def spoil(self, *rules: Mapping[str, object]) -> None:
        """Tell the sandbox what is to go wrong."""
        self.sandbox.faults.add(read_rules(list(rules)))

    def hide_for(self, seconds: int) -> None:
        """Have the queue hide what was received for so long."""
        self.aws.sqs.set_queue_attributes(
            QueueUrl=self.queue_url, Attributes={"VisibilityTimeout": str(seconds)}
        )

    def store_token(self, token: str) -> None:
        self.aws.secretsmanager.put_secret_value(SecretId=self.secret, SecretString=token)

    # --- who works --------------------------------------------------------------------------------

    def plan(self, **changes: Any) -> Plan:
        """What a worker is told; `environment` and `constants` are added to what there is."""
        environment = {
            "EVENT_QUEUE_URL": self.queue_url,
            "DEAD_LETTER_QUEUE_URL": self.dead_letter_url,
            "TABLE_NAME": self.table,
            "COMETLY_TOKEN_SECRET_ARN": self.secret,
            "COMETLY_URL": self.box.url,
            "COMETLY_REQUESTS_PER_MINUTE": str(NO_LIMIT),
            "DELIVERY_HORIZON_HOURS": "1",
            "POWERTOOLS_SERVICE_NAME": self.table,
            **changes.pop("environment", {}),
        }
        log = self.folder / f"worker-{next(self._logs)}.log"
        return Plan(aws_url=self.aws.url, environment=environment, log=log, **changes)

    @contextlib.contextmanager
    def working(
        self,
        count: int = 1,
        *,
        deaths: Sequence[Death] = (),
        skews: Sequence[float] = (),
        **changes: Any,
    ) -> Iterator[Crew]:
        """Run workers. The first to start die as told or have a clock that is off."""
        fates, clocks = iter(deaths), iter(skews)

        def plan() -> Plan:
            return self.plan(death=next(fates, None), skew=next(clocks, 0.0), **changes)

        crew = Crew(count, plan)
        try:
            crew.tend()
            yield crew
        except AssertionError as error:
            error.add_note(self.story())
            raise
        finally:
            crew.end()

    def deliver(self, count: int = 1, **changes: Any) -> Crew:
        """Run workers until the queue is empty."""
        with self.working(count, **changes) as crew:
            self.drain(crew)
        return crew

    def until(self, condition: Callable[[], object], crew: Crew | None = None) -> None:
        """Wait for a condition; workers that die meanwhile are replaced."""
        for _ in patience.looks(PATIENCE_SECONDS):
            if condition():
                return
            if crew:
                crew.tend()
        raise AssertionError("it never came")

    def drain(self, crew: Crew) -> None:
        self.until(self.is_drained, crew)

    def is_drained(self) -> bool:
        counts = self.aws.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["All"])[
            "Attributes"
        ]
        return not any(
            int(count) for name, count in counts.items() if name.startswith("ApproximateNumber")
        )

    # --- what there is to see ---------------------------------------------------------------------

    def posts(self) -> list[RequestEntry]:
        """Every request to Cometly, in the order of their arrival."""
        return self.sandbox.book.requests()

    def bookings(self) -> list[EventEntry]:
        return self.sandbox.book.events(booked_only=True)

    def parked(self) -> list[dict[str, str]]:
        """The attributes of each parked message."""
        return [
            {
                name: attribute["StringValue"]
                for name, attribute in message["MessageAttributes"].items()
            }
            for message in self.aws.peek(self.dead_letter_url)
        ]

    def waiting(self) -> list[dict[str, Any]]:
        return self.aws.peek(self.queue_url)

    def ledger(self, event_id: str) -> dict[str, Any]:
        """One event's record, without DynamoDB's types."""
        answer = self.aws.dynamodb.get_item(
            TableName=self.table, Key={"event_id": {"S": event_id}}, ConsistentRead=True
        )
        return {
            name: float(value["N"]) if "N" in value else value.get("S")
            for name, value in answer.get("Item", {}).items()
        }

    def journal(self, name: str) -> list[dict[str, Any]]:
        """The lines of that name that any worker wrote."""
        outcomes = (outcome for line in self._lines() for outcome in each_outcome(line))
        return [outcome for outcome in outcomes if outcome["message"] == name]

    def account(self) -> Account:
        return Account(
            accepted=frozenset(self.accepted),
            booked=Counter(
                Content(_id_of(event.fields), str(event.fields.get("url", "")))
                for event in self.bookings()
            ),
            parked=Counter(_content_in(each) for each in self.aws.peek(self.dead_letter_url)),
            waiting=frozenset(_content_in(message) for message in self.waiting()),
        )

    def aftermath(self, event_id: str, crew: Crew) -> Aftermath:
        return Aftermath(
            posts=len(self.posts()),
            parked=len(self.parked()),
            state=self.ledger(event_id)["state"],
            deaths=crew.deaths,
            waiting=len(self.waiting()),
        )

    def story(self) -> str:
        """What to read when a test fails."""
        lines = [f"{log.name}: {log.read_text()[-1500:]}" for log in self._log_files()]
        posts = Counter((post.status, post.fault) for post in self.posts())
        return "\n".join([f"posts: {posts}", f"{len(self.waiting())} waiting", *lines[-6:]])

    def _lines(self) -> Iterator[dict[str, Any]]:
        for log in self._log_files():
            for line in log.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    if isinstance(content := json.loads(line), dict):
                        yield content

    def _log_files(self) -> list[Path]:
        return sorted(self.folder.glob("worker-*.log"))


@contextlib.contextmanager
def opened(aws: AwsClients, folder: Path) -> Iterator[Rig]:
    """Build a pipe. At the end of every test with one, each event is in one place."""
    name = f"pipe-{uuid4().hex}"
    dead_letter_url = aws.sqs.create_queue(QueueName=f"{name}-parked")["QueueUrl"]
    dead_letters = aws.sqs.get_queue_attributes(
        QueueUrl=dead_letter_url, AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_letters, "maxReceiveCount": 1000})
    queue_url = aws.sqs.create_queue(
        QueueName=name, Attributes={"VisibilityTimeout": "10", "RedrivePolicy": redrive}
    )["QueueUrl"]
    aws.dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
    )
    aws.secretsmanager.create_secret(Name=name, SecretString=DEFAULT_TOKEN)
    folder.mkdir(parents=True, exist_ok=True)
    with running_sandbox(Settings(requests_per_minute=NO_LIMIT)) as box:
        rig = Rig(aws, box, folder, queue_url, dead_letter_url, name, name)
        yield rig
        rig.account().check()


@contextlib.contextmanager
def side_by_side(run: Callable[[T], R], cases: Iterable[T]) -> Iterator[Callable[[T], R]]:
    """Begin all cases at once, for most of their time they wait; yields who tells of each."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        running = {case: threads.submit(run, case) for case in cases}
        yield lambda case: running[case].result()


def an_order(number: int, **fields: object) -> dict[str, object]:
    """Make a purchase; each number is another order, of another customer."""
    return {
        "event_name": "purchase",
        "email": f"customer-{number}@example.com",
        "order_id": f"order-{number}",
        "amount": 10.5 + number,
        **fields,
    }


def orders(count: int) -> list[dict[str, object]]:
    return [an_order(number) for number in range(count)]


def _content_in(message: Mapping[str, Any]) -> Content:
    sealed = json.loads(message["Body"])
    return Content(sealed["event_id"], sealed["event"].get("url", ""))


def _id_of(event: Mapping[str, object]) -> str:
    """The event id of a booked event: its key, where we gave it one, or worked out anew."""
    key = event.get("idempotency_key")
    if isinstance(key, str) and key.startswith("evt_"):
        return key
    return read_envelope(json.dumps(event), Source("http", "", datetime.now(UTC))).event_id
