"""The deployed stack, from where its callers, Cometly and its operators stand."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from unittest.mock import patch

import urllib3

from cometly_forwarder.journal import each_outcome
from local.stack import cometly, deploy, lifecycle, processes, signals
from local.stack.build import build_for_emulator
from local.stack.checkout import Checkout
from local.stack.environment import isolated
from local.stack.lifecycle import Stack, bring_up, supervising, take_down
from local.stack.options import Options
from local.stack.processes import Identity
from tests.patience import PATIENCE_SECONDS, looks

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import FunctionConfigurationResponseTypeDef
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")
Fields = dict[str, Any]
Policy = dict[str, Any]

EVENTS, DROP_IN = "/v1/events", "/public-api/v1/events/track"
_COUNTED = "ApproximateNumberOfMessages"
_DYNAMODB_BATCH = 25


def eventually(
    look: Callable[[], T], holds: Callable[[T], object], *, within: float = PATIENCE_SECONDS
) -> T:
    """Look until it holds; return what was seen then."""
    for _ in looks(within):
        if holds(seen := look()):
            return seen
    msg = f"not within {within:.0f} s; seen last: {seen!r:.2000}"
    raise AssertionError(msg)


@dataclass(frozen=True)
class CheckoutOfTests(Checkout):
    """The checkout, with another place for what a stack writes: ports, processes, logs, build."""

    name: str

    @property
    def local(self) -> Path:
        return self.root / ".local" / self.name

    @property
    def number(self) -> int:
        """Where to look for ports: stacks that come up at once look in different places."""
        return Checkout(self.local).number


def listed(part: str | list[str]) -> list[str]:
    """Return a statement's actions, or resources, as the list that a single one may stand for."""
    return [part] if isinstance(part, str) else part


def statements(policy: Policy) -> set[tuple[str, str, str]]:
    """Say who may do what, for whom, and hold that there is nothing else to it."""
    found = set()
    for statement in policy["Statement"]:
        [(operator, condition)] = statement["Condition"].items()
        [(key, sources)] = condition.items()
        assert (statement["Effect"], key) == ("Allow", "aws:SourceArn")
        assert operator in {"ArnEquals", "ArnLike"}
        [service] = statement["Principal"].values()
        actions = [it for it in statement["Action"] if not it.endswith("Batch")]
        found |= {(service, act, source) for act in actions for source in listed(sources)}
    return found


@dataclass(frozen=True)
class Answer:
    """What a caller gets. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Api:
    """The API, with the key of a service (None: without one)."""

    url: str
    key: str | None
    pool: urllib3.PoolManager

    def with_key(self, key: str | None) -> Api:
        return replace(self, key=key)

    def post(self, content: object, *, path: str = EVENTS, **headers: str) -> Answer:
        """Post bytes as they are, and anything else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.request("POST", path, body, **headers)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        bearer = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        answer = self.pool.request(
            method,
            self.url + path,
            body=body,
            headers={"Content-Type": "application/json", **bearer, **given},
            timeout=60.0,
            retries=False,
        )
        seen = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, seen, json.loads(answer.data or b"null"))

    def post_at_once(self, content: object, times: int) -> list[Answer]:
        """Post the same several times side by side."""
        with ThreadPoolExecutor(times) as threads:
            return list(threads.map(lambda _: self.post(content), range(times)))


@dataclass
class Sandbox:
    """The Cometly sandbox: a process that can be stopped and started again on its port."""

    stack: Stack
    options: Options
    pool: urllib3.PoolManager
    process: Identity

    def events(self) -> list[Fields]:
        """Return what Cometly took, oldest first."""
        taken: list[Fields] = self._control("GET", "events")
        return taken

    def requests(self) -> list[Fields]:
        """Return what was posted to Cometly, whatever came of it."""
        posted: list[Fields] = self._control("GET", "requests")
        return posted

    def reset(self) -> None:
        self._control("POST", "reset", {"events": True, "settings": True, "faults": True})

    def set(self, **settings: object) -> None:
        self._control("PUT", "settings", settings)

    def fail(self, **rule: object) -> None:
        self._control("POST", "faults", [rule])

    def recover(self) -> None:
        self._control("DELETE", "faults")

    def record_others(self, events: list[Fields]) -> None:
        """Have another sender's events recorded."""
        self._control("POST", "records", events)

    def stop(self) -> None:
        processes.stop_group(self.process)

    def start(self) -> None:
        """Start it again, with nothing in its memory."""
        checkout, plan = self.stack.checkout, self.stack.plan
        port = urllib3.util.parse_url(plan.cometly_url).port
        assert port
        service = cometly.service(checkout, self.options, port=port, token=plan.token)
        self.process = lifecycle.start(checkout, service)
        service.wait_until_ready(self.process)

    def start_if_stopped(self) -> None:
        if not self.process.alive:
            self.start()

    def _control(self, method: str, path: str, body: object = None) -> Any:
        url = f"{self.stack.plan.cometly_url}/_sandbox/{path}"
        return self.pool.request(method, url, json=body, retries=False).json()


@dataclass(frozen=True)
class DeadLetter:
    """A parked message, off the queue."""

    body: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Queues:
    """The event queue, the page queue (None: there is none) and their dead-letter queue."""

    sqs: SQSClient
    events_url: str
    dead_letters_url: str
    pages_url: str | None = None

    def send(self, body: str, *, to: str | None = None) -> str:
        """Send a message past the API, to the event queue by default; return its id."""
        return self.sqs.send_message(QueueUrl=to or self.events_url, MessageBody=body)["MessageId"]

    def bodies(self) -> list[str]:
        """Return what lies on a queue from which nobody takes."""
        answer = self.sqs.receive_message(QueueUrl=self.events_url, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", ())]

    def waiting(self) -> int:
        """Count what is on the event and the page queue: waiting, in flight, or put off."""
        return sum(map(self._count, self._sources()))

    def parked(self) -> int:
        return self._count(self.dead_letters_url)

    def until_all_is_settled(self, *, within: float = PATIENCE_SECONDS) -> None:
        """Wait until no message is left that could still lead to a post."""
        eventually(self.waiting, lambda count: count == 0, within=within)

    def take_dead_letters(self, count: int = 1) -> list[DeadLetter]:
        """Wait for so many parked messages and take them off their queue."""
        eventually(self.parked, lambda parked: parked >= count)
        taken: list[DeadLetter] = []
        while messages := self.sqs.receive_message(
            QueueUrl=self.dead_letters_url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
        ).get("Messages"):
            for message in messages:
                attributes = message.get("MessageAttributes", {})
                values = {name: value["StringValue"] for name, value in attributes.items()}
                taken.append(DeadLetter(message["Body"], values))
                self.sqs.delete_message(
                    QueueUrl=self.dead_letters_url, ReceiptHandle=message["ReceiptHandle"]
                )
        return taken

    def purge(self) -> None:
        for url in (*self._sources(), self.dead_letters_url):
            self.sqs.purge_queue(QueueUrl=url)

    def _sources(self) -> list[str]:
        return [url for url in (self.events_url, self.pages_url) if url]

    def arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]

    def policy(self, url: str) -> Policy:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        return cast("Policy", json.loads(answer["Attributes"]["Policy"]))

    def _count(self, url: str) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return sum(int(it) for name, it in answer.items() if name.startswith(_COUNTED))


@dataclass(frozen=True)
class Topic:
    """The SNS topic of the stack."""

    sns: SNSClient
    arn: str

    def publish(self, content: object) -> str:
        """Publish text as it is, and anything else as JSON; return the message's id."""
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        return self.sns.publish(TopicArn=self.arn, Message=text)["MessageId"]

    @contextlib.contextmanager
    def raw(self) -> Iterator[None]:
        """Deliver messages without their wrapping for a while."""
        self._deliver(raw=True)
        try:
            yield
        finally:
            self._deliver(raw=False)

    def _deliver(self, *, raw: bool) -> None:
        [subscription] = self.sns.list_subscriptions_by_topic(TopicArn=self.arn)["Subscriptions"]
        self.sns.set_subscription_attributes(
            SubscriptionArn=subscription["SubscriptionArn"],
            AttributeName="RawMessageDelivery",
            AttributeValue=json.dumps(raw),
        )


@dataclass(frozen=True)
class Bus:
    """The EventBridge bus of the stack."""

    events: EventBridgeClient
    name: str

    def put(
        self, detail: object, *, detail_type: str = "ConversionEvent", source: str = "shop"
    ) -> str:
        """Put an event on the bus; return its id."""
        answer = self.events.put_events(
            Entries=[
                {
                    "EventBusName": self.name,
                    "Source": source,
                    "DetailType": detail_type,
                    "Detail": json.dumps(detail, ensure_ascii=False),
                }
            ]
        )
        assert answer["FailedEntryCount"] == 0
        return answer["Entries"][0]["EventId"]

    def rule_arns(self) -> list[str]:
        """Name the rules that pass events on: a schedule waits on the default bus, too."""
        rules = self.events.list_rules(EventBusName=self.name)["Rules"]
        return [rule["Arn"] for rule in rules if "EventPattern" in rule]


@dataclass(frozen=True)
class Table:
    """The ledger, and the gate's item in it."""

    dynamodb: DynamoDBClient
    name: str

    def entry(self, event_id: str) -> dict[str, str]:
        """Return the item of an event or of the gate; empty where there is none."""
        answer = self.dynamodb.get_item(
            TableName=self.name, Key={"event_id": {"S": event_id}}, ConsistentRead=True
        )
        item = answer.get("Item", {})
        return {name: str(next(iter(value.values()))) for name, value in item.items()}

    def pause(self) -> dict[str, Any] | None:
        """Return why and for how long the gate is closed, if it is."""
        pause: dict[str, Any] | None = json.loads(self.entry("gate").get("state", "{}")).get(
            "pause"
        )
        return pause

    def forget_the_gate(self) -> None:
        self._forget("gate")

    def forget(self) -> None:
        """Empty it, so that no test meets an identity of another one's."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.name, ProjectionExpression="event_id"
        )
        self._forget(*(item["event_id"]["S"] for page in pages for item in page["Items"]))

    def _forget(self, *event_ids: str) -> None:
        for begin in range(0, len(event_ids), _DYNAMODB_BATCH):
            keys = [{"event_id": {"S": it}} for it in event_ids[begin : begin + _DYNAMODB_BATCH]]
            deletions: list[WriteRequestTypeDef] = [{"DeleteRequest": {"Key": it}} for it in keys]
            left = self.dynamodb.batch_write_item(RequestItems={self.name: deletions})
            assert not left["UnprocessedItems"]


@dataclass(frozen=True)
class Functions:
    """The functions, their roles and their logs."""

    client: LambdaClient
    iam: IAMClient
    logs: CloudWatchLogsClient
    names: Mapping[str, str]

    def restart(self, function: str) -> None:
        """Let no worker live on: what they had cached is gone."""
        self.client.update_function_configuration(
            FunctionName=self.names[function],
            MemorySize=self._configuration(function)["MemorySize"],
        )

    def variable(self, function: str, name: str) -> str:
        """Return an environment variable of a function."""
        return self._configuration(function)["Environment"]["Variables"][name]

    @contextlib.contextmanager
    def with_variable(self, function: str, name: str, value: str) -> Iterator[None]:
        """Change an environment variable for a while; no worker lives on."""
        before = self._configuration(function)["Environment"]["Variables"]
        self._set_variables(function, {**before, name: value})
        try:
            yield
        finally:
            self._set_variables(function, before)

    def _set_variables(self, function: str, variables: Mapping[str, str]) -> None:
        self.client.update_function_configuration(
            FunctionName=self.names[function], Environment={"Variables": dict(variables)}
        )

    def role(self, function: str) -> str:
        """Return the name of a function's role."""
        return self._configuration(function)["Role"].rpartition("/")[2]

    @contextlib.contextmanager
    def without(self, function: str, action: str) -> Iterator[None]:
        """Take one action from a function's role for a while."""
        role = self.role(function)
        [(name, policy)] = self.policies(function).items()
        less = json.loads(json.dumps(policy))
        for statement in less["Statement"]:
            given = listed(statement["Action"])
            # The emulator asks for batch actions of their own (local/stack/gaps.py).
            statement["Action"] = [it for it in given if it.removesuffix("Batch") != action]
        less["Statement"] = [it for it in less["Statement"] if it["Action"]]
        assert less != policy
        self._put_policy(role, name, less)
        try:
            yield
        finally:
            self._put_policy(role, name, policy)

    def policies(self, function: str) -> dict[str, Policy]:
        """Return the policies in a function's role, by name."""
        role = self.role(function)
        return {
            name: cast(
                "Policy", self.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            )
            for name in self.iam.list_role_policies(RoleName=role)["PolicyNames"]
        }

    def _put_policy(self, role: str, name: str, policy: Policy) -> None:
        self.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))

    def log_lines(self, function: str) -> list[str]:
        """Return what CloudWatch Logs holds of a function, without the platform's own lines."""
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName=self.log_group(function)
        )
        lines = [
            line
            for page in pages
            for event in page["events"]
            for line in event["message"].splitlines()
        ]
        return [line for line in lines if line and not line.startswith(_PLATFORM)]

    def log_group(self, function: str) -> str:
        return self._configuration(function)["LoggingConfig"]["LogGroup"]

    def _configuration(self, function: str) -> FunctionConfigurationResponseTypeDef:
        return self.client.get_function_configuration(FunctionName=self.names[function])


_PLATFORM = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START")


@dataclass(frozen=True)
class Deployed:
    """All of it."""

    stack: Stack
    api: Api
    sandbox: Sandbox
    queues: Queues
    topic: Topic
    bus: Bus
    table: Table
    functions: Functions
    secrets: SecretsManagerClient
    cloudformation: CloudFormationClient
    # Without types: its package is not among those of development.
    cloudwatch: Any

    @classmethod
    def of(cls, stack: Stack, options: Options, connections: ExitStack) -> Deployed:
        plan, names, session = stack.plan, stack.names, deploy.session_for(stack.plan.aws)
        assert plan.sandbox

        def client(service: Any) -> Any:
            made = session.client(service, endpoint_url=plan.aws.endpoint_url)
            return connections.enter_context(closing(made))

        pool = connections.enter_context(urllib3.PoolManager(maxsize=16))
        queues = (names.event_queue_url, names.dead_letter_queue_url, names.page_queue_url)
        functions = {"ingest": names.ingest_function, "deliver": names.deliver_function}
        if names.reconcile_function:
            functions["reconcile"] = names.reconcile_function
        return cls(
            stack=stack,
            api=Api(names.api_url, names.server_key, pool),
            sandbox=Sandbox(stack, options, pool, plan.sandbox),
            queues=Queues(client("sqs"), *queues),
            topic=Topic(client("sns"), names.topic_arn),
            bus=Bus(client("events"), names.event_bus_name),
            table=Table(client("dynamodb"), names.table_name),
            functions=Functions(client("lambda"), client("iam"), client("logs"), functions),
            secrets=client("secretsmanager"),
            cloudformation=client("cloudformation"),
            cloudwatch=client("cloudwatch"),
        )

    @contextlib.contextmanager
    def beside(self, name: str, body: str, parameters: Mapping[str, str]) -> Iterator[Fields]:
        """Deploy another stack beside this one for a while; yield its outputs."""
        stacks = self.cloudformation
        stacks.create_stack(
            StackName=name,
            TemplateBody=body,
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
        )
        stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        try:
            outputs = stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
            yield {output["OutputKey"]: output["OutputValue"] for output in outputs}
        finally:
            stacks.delete_stack(StackName=name)
            gone = stacks.get_waiter("stack_delete_complete")
            gone.wait(StackName=name, WaiterConfig={"Delay": 1})

    @contextlib.contextmanager
    def with_parameter(self, name: str, value: str) -> Iterator[None]:
        """Deploy the stack with another value of a parameter for a while."""
        [stack] = self.cloudformation.describe_stacks(StackName=deploy.STACK_NAME)["Stacks"]
        before = {it["ParameterKey"]: it["ParameterValue"] for it in stack["Parameters"]}
        self._deploy_with({**before, name: value})
        try:
            yield
        finally:
            self._deploy_with(before)

    def _deploy_with(self, parameters: Mapping[str, str]) -> None:
        stacks = self.cloudformation
        stacks.update_stack(
            StackName=deploy.STACK_NAME,
            UsePreviousTemplate=True,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
        )
        updated = stacks.get_waiter("stack_update_complete")
        updated.wait(StackName=deploy.STACK_NAME, WaiterConfig={"Delay": 1})

    def resource(self, logical_id: str) -> str | None:
        """Return what a resource of the stack is called; None where the stack has none such."""
        resources = self.cloudformation.describe_stack_resources(StackName=deploy.STACK_NAME)
        found = [it for it in resources["StackResources"] if it["LogicalResourceId"] == logical_id]
        return found[0]["PhysicalResourceId"] if found else None

    def logged(self, name: str) -> list[Fields]:
        """Return the outcomes of that name that the log lines of every function tell so far."""
        outcomes = (outcome for line in self._lines() for outcome in each_outcome(line))
        return [outcome for outcome in outcomes if outcome.get("message") == name]

    def metrics(self) -> Counter[str]:
        """Add up each metric that was written so far."""
        totals: Counter[str] = Counter()
        for line in self._lines():
            for metrics in line.get("_aws", {}).get("CloudWatchMetrics", ()):
                for metric in metrics["Metrics"]:
                    totals[metric["Name"]] += sum(line[metric["Name"]])
        return totals

    def clean(self) -> None:
        """Leave nothing of an earlier test behind."""
        self.sandbox.start_if_stopped()
        self.sandbox.reset()
        self.queues.purge()
        self.table.forget()

    def lines(self) -> Iterator[str]:
        """Yield what the functions logged since the stack came up, whichever test made them."""
        for function in self.functions.names:
            yield from self.functions.log_lines(function)

    def _lines(self) -> Iterator[Fields]:
        return map(json.loads, self.lines())


def build_once(checkout: CheckoutOfTests) -> None:
    """Build for all of the stacks that come up side by side; each has the same files."""
    shared = replace(checkout, name="build-of-tests")
    shared.local.mkdir(parents=True, exist_ok=True)
    with (shared.local / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest, mark = build_for_emulator(shared), checkout.build / "digest"
        if not mark.is_file() or mark.read_text("utf-8") != digest:
            copy = checkout.local / "build.new"
            for old in (copy, checkout.build):
                shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(shared.build, copy, copy_function=os.link)
            copy.rename(checkout.build)


@contextlib.contextmanager
def running(name: str, options: Options) -> Iterator[Deployed]:
    """Build and deploy; nothing of the developer's AWS configuration is seen."""
    checkout = CheckoutOfTests(Checkout.here().root, name)
    with patch.dict(os.environ, isolated(checkout), clear=True), supervising(checkout):
        take_down(checkout)  # what a killed session left
        build_once(checkout)
        try:
            with ExitStack() as connections:
                yield Deployed.of(bring_up(checkout, options), options, connections)
        finally:
            with signals.ignored():
                take_down(checkout)
