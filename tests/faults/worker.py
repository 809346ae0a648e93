"""A worker process: Lambda's poller and one execution environment of the deliver function.

It runs the real handler on real batches of the queue, and deletes what the handler did not keep, as
the event source mapping does with a partial batch response. Like an environment on Lambda it dies
when an invocation outlasts its time. A `Death` makes it die at a named moment; the product knows
nothing of that.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import multiprocessing
import os
import pkgutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import boto3
from botocore.config import Config

import cometly_forwarder
from cometly_forwarder import aws
from cometly_forwarder.aws import SQS_BATCH
from cometly_forwarder.deliver import handler as function
from cometly_forwarder.deliver.assembly import Ports, assemble
from cometly_forwarder.deliver.batch import BatchDelivery
from cometly_forwarder.gate import rules
from tests.faults.emulator import ROOT

if TYPE_CHECKING:
    from io import TextIOWrapper

SERVICES: tuple[Literal["sqs", "dynamodb", "secretsmanager"], ...] = (
    "sqs",
    "dynamodb",
    "secretsmanager",
)

# The product's times, shortened so that a test takes seconds. Ratios are those of the product.
SHORT: Mapping[str, object] = {
    "cometly.CONNECT_SECONDS": 1.0,
    "cometly.READ_SECONDS": 2.5,
    "ANSWER_SECONDS": 3.0,
    "_SECOND_SECONDS": 0.5,
    "POST_SECONDS": 4.0,
    "LEASE_MARGIN_SECONDS": 0.2,
    "UNAVAILABLE_SECONDS": 0.4,
    "_FIRST_BACK_OFF_SECONDS": 0.1,
    "_LONGEST_BACK_OFF_SECONDS": 2.0,
    "_LONGEST_SPREAD_SECONDS": 1.0,
    "_LONGEST_PATIENCE_SECONDS": 1.0,
    "_YIELD_SECONDS": 0.2,
    "_OVERTAKING_SECONDS": 0.5,
    # With pauses as short as these, messages are received many times within seconds.
    "_RECEIVES_UNCOUNTED": 100_000,
    "PROBE_SECONDS": 4.0,
    "MIN_AGE_SECONDS": 0.3,
    "_STEPS": {
        rules.Cause.THROTTLED: (0.5, 4.0),
        rules.Cause.BLOCKED: (1.0, 4.0),
        rules.Cause.FAILING: (0.5, 2.0),
    },
}


@dataclass(frozen=True)
class Death:
    """When the process kills itself: `moment` is such as `after ledger.claim` or `before delete`.

    It counts only the calls whose arguments mention `mention`, and dies at the `nth` of them.
    """

    moment: str
    nth: int = 1
    mention: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a worker is told. Times are in seconds."""

    aws_url: str
    environment: Mapping[str, str]
    log: Path
    endpoints: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    invocation: float = 8.0
    batch: int = 10
    rounds: float = float("inf")
    death: Death | None = None
    aws_seconds: float = 2.0
    horizon: float = 3600.0
    skew: float = 0.0


@dataclass(frozen=True)
class Context:
    """What the handler reads of Lambda's context."""

    deadline: float
    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        return int((self.deadline - time.time()) * 1000)


class Executioner:
    """Counts moments, and kills this very process at the one that was asked for."""

    def __init__(self, death: Death | None) -> None:
        self._death = death
        self._seen = 0
        self._lock = threading.Lock()

    def at(self, moment: str, *arguments: object) -> None:
        death = self._death
        if not death or moment != death.moment or death.mention not in repr(arguments):
            return
        with self._lock:
            self._seen += 1
            if self._seen == death.nth:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)


class Deadly:
    """A port of the batch delivery, with a moment before and after each of its calls."""

    def __init__(self, name: str, port: object, executioner: Executioner) -> None:
        self._name = name
        self._port = port
        self._executioner = executioner

    def __getattr__(self, call: str) -> Any:
        def watched(*arguments: Any, **named: Any) -> Any:
            self._executioner.at(f"before {self._name}.{call}", arguments)
            result = getattr(self._port, call)(*arguments, **named)
            self._executioner.at(f"after {self._name}.{call}", arguments, result)
            return result

        return watched


def work(plan: Plan) -> None:
    """Receive and deliver until told to stop (SIGTERM), or for so many batches."""
    _prepare(plan)
    _misset_clock(plan.skew)
    executioner = Executioner(plan.death)

    def assemble_deadly(ports: Ports) -> BatchDelivery:
        deadly: dict[str, Any] = {
            name: Deadly(name, getattr(ports, name), executioner)
            for name in ("ledger", "gate", "cometly", "queue")
        }
        return assemble(dataclasses.replace(ports, horizon_seconds=plan.horizon, **deadly))

    function.assemble = assemble_deadly  # type: ignore[attr-defined]
    function.batch_deliveries()
    _poll(plan, executioner)


def _poll(plan: Plan, executioner: Executioner) -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    # An invocation that outlasts its time ends the process, as Lambda's time-out does.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    queue = boto3.client("sqs", endpoint_url=plan.aws_url)
    url = plan.environment["EVENT_QUEUE_URL"]
    rounds = 0
    while rounds < plan.rounds and not stopping.is_set() and _has_parent():
        messages = _gathered(queue, url, plan.batch)
        if not messages:
            continue
        rounds += 1
        kept = _invoke(messages, plan.invocation, rounds)
        gone = [message for message in messages if message["MessageId"] not in kept]
        executioner.at("before delete", gone)
        for start in range(0, len(gone), SQS_BATCH):
            queue.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
                    for place, message in enumerate(gone[start : start + SQS_BATCH])
                ],
            )
        executioner.at("after delete", gone)


def _gathered(queue: Any, url: str, most: int) -> list[Any]:
    """Receive a batch, by as many calls as it takes; only the first waits."""
    messages: list[Any] = []
    for start in range(0, most, SQS_BATCH):
        found = queue.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(most - start, SQS_BATCH),
            WaitTimeSeconds=0 if messages else 1,
            AttributeNames=["All"],
        ).get("Messages", [])
        if not found:
            break
        messages += found
    return messages


def _invoke(messages: list[Any], seconds: float, number: int) -> set[str]:
    records = [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
        }
        for message in messages
    ]
    context = Context(time.time() + seconds, f"{os.getpid()}-{number}")
    signal.setitimer(signal.ITIMER_REAL, seconds)
    answer = function.handler({"Records": records}, context)  # type: ignore[arg-type]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}


def _has_parent() -> bool:
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()


def _prepare(plan: Plan) -> None:
    """Give this process the environment of the function, shorter times, and a log of its own."""
    log = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    # Lambda's runtime holds no line back either; a worker here ends by a signal.
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    os.environ.update(ROOT | {"AWS_ENDPOINT_URL": plan.aws_url})
    for service, url in plan.endpoints.items():
        os.environ[f"AWS_ENDPOINT_URL_{service.upper()}"] = url
    os.environ.update(plan.environment)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    shorten({**SHORT, **plan.constants})
    _close_network()
    aws._CONFIG = aws._CONFIG.merge(
        Config(connect_timeout=plan.aws_seconds, read_timeout=plan.aws_seconds)
    )


def _misset_clock(skew: float) -> None:
    """Put this process's clock ahead by so many seconds, as far as the product sees it."""
    right = time.time
    time.time = lambda: right() + skew


def shorten(constants: Mapping[str, object]) -> None:
    """Set constants of the product, in each of its modules that has one of that name.

    A name that several modules use for different things is written with its own module.
    """
    package = f"{cometly_forwarder.__name__}."
    found = pkgutil.walk_packages(cometly_forwarder.__path__, package)
    modules = {
        module.name.rpartition(".")[2]: importlib.import_module(module.name)
        for module in found
        if not module.name.startswith(f"{package}ingest")
    }
    for path, value in constants.items():
        module, _, name = path.rpartition(".")
        homes = [home for home in modules.values() if hasattr(home, name)]
        if module:
            before = getattr(modules[module], name)
            homes = [home for home in homes if getattr(home, name) is before]
        if not homes:
            raise LookupError(f"the product has no constant {name}")
        for home in homes:
            setattr(home, name, value)


def _close_network() -> None:
    """Let no name but loopback's resolve: whatever a test says, nothing leaves this machine."""
    resolve = socket.getaddrinfo

    def loopback_only(host: Any, *arguments: Any, **named: Any) -> Any:
        if host not in {"127.0.0.1", "localhost"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **named)

    socket.getaddrinfo = loopback_only
