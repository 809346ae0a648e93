"""A stack of a measurement's own: a developer's `make up` of this checkout goes on beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import urllib3

from local.stack import deploy, signals, template
from local.stack.checkout import Checkout
from local.stack.console import complain, say
from local.stack.environment import isolate_this_process
from local.stack.errors import StackError
from local.stack.lifecycle import Stack, bring_up, supervising, take_down
from local.stack.options import Options
from tests.stack.deployed import Api, Bus, Sandbox, Table, Topic

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

PAGE_EVENT_NAMES = ("lead_generated", "view_content")
# What both versions of a template read alike, as far as they have it. All pages of a measurement
# share an address, so it must not be bounded.
PARAMETERS = {"VisitorEventsPerMinute": "0", "BrowserEventNames": ",".join(PAGE_EVENT_NAMES)}


@dataclass(frozen=True)
class Bench(Checkout):
    """This checkout, with the template and the sources of `tree`, and a folder for what it writes.

    Two with the same name share a running stack: bringing up the second is an update of the first.
    """

    name: str
    tree: Path

    @classmethod
    def of(cls, name: str, tree: Path | None = None) -> Bench:
        root = Checkout.here().root
        return cls(root, name, tree or root)

    @property
    def local(self) -> Path:
        return self.root / ".local" / f"bench-{self.name}"

    @property
    def template(self) -> Path:
        return self.tree / "template.yaml"

    @property
    def build(self) -> Path:
        return self.local / "builds" / self.tree.name

    def parameters(self) -> tuple[str, ...]:
        """Return what a measurement asks for, as far as this template has it."""
        known = template.parameters_of(self.template)
        found = template.only_declared(PARAMETERS, known)
        return tuple(f"{name}={value}" for name, value in found.items())


@dataclass(frozen=True)
class Running:
    """A deployed stack, from where its callers, Cometly and its operators stand."""

    stack: Stack
    api: Api
    sandbox: Sandbox
    topic: Topic
    bus: Bus
    table: Table
    functions: LambdaClient
    sqs: SQSClient
    queues: Mapping[str, str]
    """The URLs of all its queues, by their names in the template."""

    @classmethod
    def of(cls, stack: Stack, options: Options) -> Running:
        plan, names = stack.plan, stack.names
        if plan.sandbox is None:
            raise ValueError("the stack has no sandbox")
        session, url, pool = deploy.session_for(plan.aws), plan.aws.endpoint_url, _pool()
        return cls(
            stack=stack,
            api=Api(names.api_url, names.server_key, pool),
            sandbox=Sandbox(stack, options, pool, plan.sandbox),
            topic=Topic(session.client("sns", endpoint_url=url), names.topic_arn),
            bus=Bus(session.client("events", endpoint_url=url), names.event_bus_name),
            table=Table(session.client("dynamodb", endpoint_url=url), names.table_name),
            functions=session.client("lambda", endpoint_url=url),
            sqs=session.client("sqs", endpoint_url=url),
            queues=_queues(session, url),
        )

    @property
    def waiting_queues(self) -> list[str]:
        """Return the URLs of the queues from which deliver takes."""
        dead_letters = self.stack.names.dead_letter_queue_url
        return [url for url in self.queues.values() if url != dead_letters]

    def post_from_page(self, content: object) -> int:
        """Post as a page of an allowed origin does; return the status."""
        page = self.api.with_key(None)
        return page.post(content, path="/collect", Origin=self.stack.plan.shop_url).status

    def messages(self) -> dict[str, int]:
        """Count what is on each queue: to be had, in flight, or put off."""
        return {name: self._count(url) for name, url in self.queues.items()}

    def _count(self, url: str) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return sum(int(value) for name, value in answer.items() if name.startswith(_COUNTED))


_COUNTED = "ApproximateNumberOfMessages"


def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(maxsize=16)


def _queues(session: boto3.session.Session, endpoint_url: str) -> dict[str, str]:
    cloudformation = session.client("cloudformation", endpoint_url=endpoint_url)
    answer = cloudformation.describe_stack_resources(StackName=deploy.STACK_NAME)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in answer["StackResources"]
        if resource["ResourceType"] == "AWS::SQS::Queue"
    }


@contextlib.contextmanager
def alone(bench: Bench) -> Iterator[None]:
    """Hold the stack of a measurement, begin without one and leave none."""
    isolate_this_process(bench)
    with signals.interrupting(), supervising(bench):
        take_down(bench)  # what a killed run left
        try:
            yield
        finally:
            with signals.ignored():
                take_down(bench)


def judged(bench: Bench, limit: int, measure: Callable[[Running], bool]) -> int:
    """Measure on a stack of its own, with so many requests a minute; return the exit status."""
    options = Options(requests_per_minute=limit, param=bench.parameters())
    try:
        with alone(bench):
            is_kept = measure(Running.of(bring_up(bench, options), options))
            say("as promised" if is_kept else "NOT as promised")
    except StackError as error:
        complain(error)
        return 1
    return 0 if is_kept else 1
