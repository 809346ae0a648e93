"""A deployed stack: its clients, and what its outputs and parameters say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ops.errors import OpsError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

_CONFIG = Config(connect_timeout=10, read_timeout=20, retries={"mode": "standard"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_NEEDED = (
    *("ApiUrl", "ServerKeySecretArn", "CometlyTokenSecretArn", "TopicArn", "EventBusName"),
    *("EventQueueUrl", "DeadLetterQueueUrl", "TableName", "DeliverFunctionName"),
    "IngestFunctionName",
)


@dataclass(frozen=True, slots=True)
class Clients:
    """The services of AWS that a stack is made of."""

    cloudformation: CloudFormationClient
    cloudwatch: Any
    dynamodb: DynamoDBClient
    events: EventBridgeClient
    functions: LambdaClient
    logs: CloudWatchLogsClient
    secrets: SecretsManagerClient
    sns: SNSClient
    sqs: SQSClient

    @classmethod
    def of(cls, session: boto3.session.Session, endpoint_url: str | None = None) -> Clients:
        def client(service: Any) -> Any:
            return session.client(service, endpoint_url=endpoint_url, config=_CONFIG)

        return cls(
            cloudformation=client("cloudformation"),
            cloudwatch=client("cloudwatch"),
            dynamodb=client("dynamodb"),
            events=client("events"),
            functions=client("lambda"),
            logs=client("logs"),
            secrets=client("secretsmanager"),
            sns=client("sns"),
            sqs=client("sqs"),
        )


@dataclass(frozen=True, slots=True)
class LocalStack:
    """What `make up` wrote about the stack on this machine."""

    name: str
    api_url: str
    endpoint_url: str
    region: str
    access_key_id: str
    secret_access_key: str

    @classmethod
    def read(cls, file: Path) -> LocalStack:
        """Read `stack.json`; raise OpsError where no stack runs."""
        try:
            known = json.loads(file.read_text("utf-8"))
            return cls(
                name=known["stack_name"],
                api_url=known["api_url"],
                endpoint_url=known["aws_endpoint_url"],
                region=known["region"],
                access_key_id=known["aws_access_key_id"],
                secret_access_key=known["aws_secret_access_key"],
            )
        except FileNotFoundError as exc:
            raise OpsError(f"No stack runs here: there is no {file}. Start it: make up") from exc
        except OSError as exc:
            raise OpsError(f"{file} cannot be read: {exc.strerror}.") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise OpsError(f"{file} is not what `make up` writes: {exc!r}") from exc

    def clients(self) -> Clients:
        session = boto3.session.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
        )
        return Clients.of(session, self.endpoint_url)


@dataclass(frozen=True, slots=True)
class Target:
    """A stack that was found. `is_local`: the emulator's, which makes no metrics of log lines."""

    clients: Clients
    name: str
    status: str
    api_url: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    is_local: bool = False

    @classmethod
    def find(
        cls, clients: Clients, name: str, *, api_url: str | None = None, is_local: bool = False
    ) -> Target:
        """Look a stack up; raises OpsError where there is none, or one of another template."""
        stack = _described(clients, name)
        outputs = {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", ())}
        if missing := [output for output in _NEEDED if output not in outputs]:
            raise OpsError(
                f"The stack {name} ({stack['StackStatus']}) has no output {missing[0]}: it is not "
                "one of this template, or was never deployed to its end."
            )
        parameters = {
            it["ParameterKey"]: it.get("ParameterValue", "") for it in stack.get("Parameters", ())
        }
        url = (api_url or outputs["ApiUrl"]).rstrip("/")
        if not stays_secret(url):
            raise OpsError(f"{url} is no https:// address: the callers' key would go there openly.")
        return cls(
            clients=clients,
            name=name,
            status=stack["StackStatus"],
            api_url=url,
            outputs=outputs,
            parameters=parameters,
            is_local=is_local,
        )

    @property
    def page_origin(self) -> str | None:
        """An origin whose pages may send events; None where the door for pages is shut."""
        first = self.parameters.get("AllowedOrigins", "").partition(",")[0].strip()
        return first.replace("*", "smoke", 1) or None

    @property
    def queue_urls(self) -> list[str]:
        """The event queue, and the page queue where there is one."""
        names = ("EventQueueUrl", "PageQueueUrl")
        return [self.outputs[name] for name in names if name in self.outputs]

    def log_group(self, function: str) -> str:
        return f"/aws/lambda/{self.name}-{function}"

    def queue_arn(self, url: str) -> str:
        return self.queue_attributes(url, "QueueArn")["QueueArn"]

    def queue_attributes(self, url: str, *names: Any) -> dict[str, str]:
        answer = self.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    def count(self, url: str) -> int:
        """Count the messages of a queue: waiting, in flight, or put off. AWS's count lags."""
        counted = self.queue_attributes(
            url,
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        return sum(map(int, counted.values()))

    def server_key(self) -> str:
        """Return the callers' key; raises OpsError where the secret holds none."""
        secret = self.clients.secrets.get_secret_value(SecretId=self.outputs["ServerKeySecretArn"])
        try:
            return str(json.loads(secret["SecretString"])["current"])
        except (ValueError, KeyError, TypeError) as exc:
            raise OpsError(
                'the secret of the callers\' keys does not hold {"current": …, "previous": …}'
            ) from exc


def stays_secret(url: str) -> bool:
    """Say whether nobody reads on the way what is sent there: HTTPS, or this machine itself."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or is_local)


def _described(clients: Clients, name: str) -> Any:
    try:
        return clients.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as exc:
        if exc.response["Error"].get("Code") != "ValidationError":
            raise
        region = clients.cloudformation.meta.region_name
        raise OpsError(f"There is no stack {name} in {region} of this account.") from exc
