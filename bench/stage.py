"""One emulator, one sandbox, and the forwarders that are measured side by side on them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
import urllib3
import yaml

from bench import metered_emulator
from bench.meter import Meter, Reading
from bench.running import Bench, alone
from local.stack import deploy, emulator, gaps, sam
from local.stack.build import this_architecture, this_runtime
from local.stack.checkout import Checkout, write_json
from local.stack.console import step
from local.stack.environment import REGION, AwsEndpoint
from local.stack.lifecycle import Stack, bring_up
from local.stack.options import Options
from local.stack.service import Service
from tests.stack.deployed import Api

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

RIVALS = Path(__file__).with_name("rivals")
LIMIT = 1000
NO_LIMIT = 60_000
# What a rival's package holds, beside its own module. The versions are those of .venv, as ours are.
_BASE = ("boto3", "botocore", "jmespath", "s3transfer", "python-dateutil", "six", "urllib3")
_TEXTBOOK = ("aws-lambda-powertools", "typing-extensions", "requests", "certifi", "idna") + (
    ("charset-normalizer", "pydantic", "pydantic-core", "annotated-types", "typing-inspection")
)
RIVAL_PACKAGES: Mapping[str, Sequence[str]] = {"textbook": _BASE + _TEXTBOOK, "minimal": _BASE}
BOTO3 = "boto3"
OURS = "ours"
_SETTLED_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class System:
    """A deployed forwarder, from where its callers, its queue and its operators stand."""

    name: str
    api: Api
    queue_url: str
    dead_letters_url: str | None
    ingest: str
    deliver: str
    memory: Mapping[str, int]
    """Megabytes of each function."""
    mappings: Mapping[str, str]
    """The id of its event source mapping, by the ARN of the queue."""
    table: str | None = None
    topic_arn: str | None = None

    @property
    def functions(self) -> tuple[str, str]:
        return (self.ingest, self.deliver)


@dataclass(frozen=True, slots=True)
class Stage:
    """What a measurement drives. Nothing outside of this machine is reached."""

    bench: Bench
    stack: Stack
    systems: tuple[System, ...]
    meter: Meter
    http: urllib3.PoolManager
    functions: LambdaClient
    sqs: SQSClient
    sns: SNSClient
    dynamodb: DynamoDBClient

    def system(self, name: str) -> System:
        return next(it for it in self.systems if it.name == name)

    # --- Cometly ---

    def sandbox(self, method: str, path: str, body: object = None) -> Any:
        url = f"{self.stack.plan.cometly_url}/_sandbox/{path}"
        return self.http.request(method, url, json=body, retries=False).json()

    def begin(self, **settings: object) -> None:
        """Empty Cometly's book and all queues, and let Cometly answer by these settings."""
        for system in self.systems:
            self.empty(system)
        self.sandbox("POST", "reset", {"events": True, "settings": True, "faults": True})
        self.sandbox("PUT", "settings", settings)
        ours = self.stack.names
        self.dynamodb.delete_item(TableName=ours.table_name, Key={"event_id": {"S": "gate"}})

    def requests(self) -> list[dict[str, Any]]:
        """Return what was posted to Cometly."""
        posted: list[dict[str, Any]] = self.sandbox("GET", "requests")
        return posted

    def booked(self) -> int:
        return int(self.sandbox("GET", "stats")["booked"])

    # --- Queues ---

    def empty(self, system: System) -> None:
        for url in filter(None, (system.queue_url, system.dead_letters_url)):
            self.sqs.purge_queue(QueueUrl=url)

    def waiting(self, system: System) -> int:
        """Count what is on the queue: to be had, in flight, or put off."""
        return self._count(system.queue_url)

    def parked(self, system: System) -> int:
        return self._count(system.dead_letters_url) if system.dead_letters_url else 0

    def _count(self, url: str) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        counted = "ApproximateNumberOfMessages"
        return sum(int(value) for name, value in answer.items() if name.startswith(counted))

    # --- Functions ---

    def poll(self, system: System, *, workers: int | None) -> None:
        """Let so many invocations of deliver run at once; None: let Lambda take nothing."""
        for mapping in system.mappings.values():
            if workers is None:
                self.functions.update_event_source_mapping(UUID=mapping, Enabled=False)
            else:
                self.functions.update_event_source_mapping(
                    UUID=mapping, Enabled=True, ScalingConfig={"MaximumConcurrency": workers}
                )

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        answer = self.functions.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        return json.loads(answer["Payload"].read() or b"null")

    @contextlib.contextmanager
    def variables(self, function: str, **changes: str) -> Iterator[None]:
        """Change a function's environment for a while; no worker lives on."""
        configuration = self.functions.get_function_configuration(FunctionName=function)
        before = configuration["Environment"]["Variables"]
        self._set_variables(function, {**before, **changes})
        try:
            yield
        finally:
            self._set_variables(function, before)

    def _set_variables(self, function: str, variables: Mapping[str, str]) -> None:
        self.functions.update_function_configuration(
            FunctionName=function, Environment={"Variables": dict(variables)}
        )

    def reading(self, system: System, mark: int) -> Reading:
        """Return what a system's functions did since a mark of the meter."""
        time.sleep(_SETTLED_SECONDS)
        return self.meter.since(mark).of(system.functions)


@contextlib.contextmanager
def opened() -> Iterator[Stage]:
    """Bring up emulator, sandbox, ours and the rivals; leave nothing running."""
    bench = Bench.of("rivals")
    file = bench.local / "meter.jsonl"
    options = Options(window="sliding", requests_per_minute=LIMIT, param=bench.parameters())
    with alone(bench), patch.object(emulator, "service", _metered(file, emulator.service)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("", "utf-8")
        stack = bring_up(bench, options)
        for rival in RIVAL_PACKAGES:
            with step(f"sam deploy of the {rival} rival"):
                _deploy(bench, stack, rival)
        yield _stage(bench, stack, Meter(file))


def package(name: str, folder: Path) -> Path:
    """Make a rival's package, its module and what it imports, or boto3's alone, with bytecode."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for distribution in RIVAL_PACKAGES.get(name, _BASE):
        _copy(distribution, folder)
    if name in RIVAL_PACKAGES:
        shutil.copy(RIVALS / name / "app.py", folder)
        _prune(folder)
    _compile(folder)
    return folder


def _copy(distribution: str, folder: Path) -> None:
    for file in importlib.metadata.files(distribution) or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(str(file.locate())), target)


def _prune(folder: Path) -> None:
    """Leave the models of services that are called: the emulator unpacks ours as fast.

    On AWS a rival has Lambda's own boto3, with all of them.
    """
    for each in (folder / "botocore" / "data").iterdir():
        if each.is_dir() and each.name not in {"sqs", "dynamodb", "secretsmanager"}:
            shutil.rmtree(each)


def _compile(folder: Path) -> None:
    from artefact.build import compile_all  # noqa: PLC0415 - src is on the path by now

    compile_all(folder, sys.executable)


def _metered(file: Path, service: Callable[..., Service]) -> Callable[..., Service]:
    def metered(checkout: Checkout, aws: AwsEndpoint, port: int) -> Service:
        made = service(checkout, aws, port)
        command = [
            metered_emulator.__name__ if part == "local.stack.emulator_process" else part
            for part in made.command
        ]
        env = {**made.env, metered_emulator.VARIABLE: str(file)}
        return dataclasses.replace(made, command=command, env=env)

    return metered


def _deploy(bench: Bench, stack: Stack, rival: str) -> None:
    folder = bench.local / "rivals" / rival
    package(rival, folder / "code")
    parameters = {
        "CometlyUrl": stack.plan.cometly_url,
        "CometlyToken": stack.plan.token,
        "ServerKey": stack.names.server_key,
        "Runtime": this_runtime(),
        "Architecture": this_architecture(),
        "Concurrency": "5",
    }
    content = yaml.load((RIVALS / rival / "template.yaml").read_text("utf-8"), Loader=_Loader)  # noqa: S506
    write_json(folder / "template.yaml", gaps.adapted(content, parameters))
    write_json(folder / "parameters.yaml", parameters)
    sam.run(
        bench,
        ["deploy", "--stack-name", rival, "--resolve-s3", "--region", REGION]
        + ["--template-file", str(folder / "template.yaml")]
        + ["--capabilities", "CAPABILITY_IAM", "--no-progressbar"]
        + ["--no-confirm-changeset", "--no-fail-on-empty-changeset"]
        + ["--parameter-overrides", f"file://{folder / 'parameters.yaml'}"],
        aws=stack.plan.aws,
        what=f"deploy-{rival}",
    )


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as the long ones."""


def _long_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any = loader.construct_scalar(node)  # type: ignore[arg-type]
    if name == "GetAtt":
        value = value.split(".")
    return {name if name == "Ref" else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _long_form)


def _stage(bench: Bench, stack: Stack, meter: Meter) -> Stage:
    session, url = deploy.session_for(stack.plan.aws), stack.plan.aws.endpoint_url
    # A service's event is posted by one thread or a few.
    http = urllib3.PoolManager(maxsize=16)
    functions = session.client("lambda", endpoint_url=url)
    names = stack.names
    ours = System(
        name=OURS,
        api=Api(names.api_url, names.server_key, http),
        queue_url=names.event_queue_url,
        dead_letters_url=names.dead_letter_queue_url,
        ingest=names.ingest_function,
        deliver=names.deliver_function,
        memory=_memory(functions, names.ingest_function, names.deliver_function),
        mappings=_mappings(functions, names.deliver_function),
        table=names.table_name,
        topic_arn=names.topic_arn,
    )
    rivals = [_rival(rival, session, stack, functions, http) for rival in RIVAL_PACKAGES]
    return Stage(
        bench=bench,
        stack=stack,
        systems=(ours, *rivals),
        meter=meter,
        http=http,
        functions=functions,
        sqs=session.client("sqs", endpoint_url=url),
        sns=session.client("sns", endpoint_url=url),
        dynamodb=session.client("dynamodb", endpoint_url=url),
    )


def _rival(
    name: str,
    session: boto3.session.Session,
    stack: Stack,
    functions: LambdaClient,
    http: urllib3.PoolManager,
) -> System:
    url = stack.plan.aws.endpoint_url
    cloudformation = session.client("cloudformation", endpoint_url=url)
    described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    outputs = {it["OutputKey"]: it["OutputValue"] for it in described["Outputs"]}
    ingest, deliver = outputs["IngestFunctionName"], outputs["DeliverFunctionName"]
    api_url = f"{url}/_aws/execute-api/{outputs['ApiId']}"
    return System(
        name=name,
        api=Api(api_url, stack.names.server_key, http),
        queue_url=outputs["QueueUrl"],
        dead_letters_url=outputs.get("DeadLetterQueueUrl"),
        ingest=ingest,
        deliver=deliver,
        memory=_memory(functions, ingest, deliver),
        mappings=_mappings(functions, deliver),
        table=outputs.get("TableName"),
    )


def _memory(functions: LambdaClient, *names: str) -> dict[str, int]:
    configurations = [functions.get_function_configuration(FunctionName=it) for it in names]
    return {it["FunctionName"]: it["MemorySize"] for it in configurations}


def _mappings(functions: LambdaClient, function: str) -> dict[str, str]:
    listed = functions.list_event_source_mappings(FunctionName=function)
    return {it["EventSourceArn"]: it["UUID"] for it in listed["EventSourceMappings"]}
