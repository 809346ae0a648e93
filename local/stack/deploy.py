"""`sam deploy` onto the emulator, and what the deployed stack is called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import boto3
import yaml

from local.stack import gaps, sam
from local.stack.checkout import Checkout, write_json
from local.stack.environment import REGION, AwsEndpoint
from local.stack.errors import StepFailed

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

STACK_NAME = "cometly-forwarder"
# What the template puts into the secret of Cometly's token.
NO_TOKEN = "unset"  # noqa: S105 - the absence of one


@dataclass(frozen=True, slots=True)
class Deployed:
    """The names that a caller, a test or an operator needs."""

    api_url: str
    server_key: str
    topic_arn: str
    event_bus_name: str
    event_queue_url: str
    page_queue_url: str | None
    dead_letter_queue_url: str
    table_name: str
    ingest_function: str
    deliver_function: str
    reconcile_function: str | None = None


def session_for(aws: AwsEndpoint) -> boto3.session.Session:
    """Return a boto3 session with the emulator's root keys."""
    return boto3.session.Session(
        aws_access_key_id=aws.access_key_id,
        aws_secret_access_key=aws.secret_access_key,
        region_name=REGION,
    )


def deploy(checkout: Checkout, aws: AwsEndpoint, parameters: Mapping[str, str]) -> None:
    """Deploy what was built."""
    template = checkout.build / "emulator.yaml"
    built = yaml.safe_load((checkout.build / "template.yaml").read_text("utf-8"))
    write_json(template, gaps.adapted(built, parameters))
    # A file, so that no value is split at its blanks. What is JSON is YAML too.
    overrides = checkout.local / "parameters.yaml"
    write_json(overrides, dict(parameters))
    sam.run(
        checkout,
        ["deploy", "--stack-name", STACK_NAME, "--resolve-s3", "--region", REGION]
        + ["--template-file", str(template)]
        + ["--capabilities", "CAPABILITY_IAM", "--no-progressbar"]
        + ["--no-confirm-changeset", "--no-fail-on-empty-changeset"]
        + ["--parameter-overrides", f"file://{overrides}"],
        aws=aws,
        what="deploy",
    )


def store_token(aws: AwsEndpoint, token: str) -> None:
    """Store Cometly's token, as an operator does once, unless there is one already."""
    session = session_for(aws)
    outputs = _outputs(session.client("cloudformation", endpoint_url=aws.endpoint_url))
    secrets = session.client("secretsmanager", endpoint_url=aws.endpoint_url)
    secret = outputs["CometlyTokenSecretArn"]
    if secrets.get_secret_value(SecretId=secret)["SecretString"] == NO_TOKEN:
        secrets.put_secret_value(SecretId=secret, SecretString=token)


def look_up(aws: AwsEndpoint) -> Deployed:
    """Return what the deployed stack is called; raise StepFailed where an output is missing."""
    session = session_for(aws)
    cloudformation = session.client("cloudformation", endpoint_url=aws.endpoint_url)
    outputs = _outputs(cloudformation)
    try:
        return Deployed(
            api_url=_api_url(cloudformation, aws),
            server_key=_server_key(session, aws, outputs["ServerKeySecretArn"]),
            topic_arn=outputs["TopicArn"],
            event_bus_name=outputs["EventBusName"],
            event_queue_url=outputs["EventQueueUrl"],
            page_queue_url=outputs.get("PageQueueUrl"),
            dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
            table_name=outputs["TableName"],
            ingest_function=outputs["IngestFunctionName"],
            deliver_function=outputs["DeliverFunctionName"],
            reconcile_function=outputs.get("ReconcileFunctionName"),
        )
    except KeyError as exc:
        raise StepFailed(
            f"template.yaml has no output {exc}, which the local stack needs."
        ) from exc


def _outputs(cloudformation: CloudFormationClient) -> dict[str, str]:
    stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}


def _api_url(cloudformation: CloudFormationClient, aws: AwsEndpoint) -> str:
    """Return a base URL that needs no host name of its own and has no `$` in it."""
    resources = cloudformation.describe_stack_resources(StackName=STACK_NAME)["StackResources"]
    for resource in resources:
        if resource["ResourceType"] == "AWS::ApiGatewayV2::Api":
            return f"{aws.endpoint_url}/_aws/execute-api/{resource['PhysicalResourceId']}"
    raise StepFailed("template.yaml has no AWS::ApiGatewayV2::Api.")


def _server_key(session: boto3.session.Session, aws: AwsEndpoint, secret_arn: str) -> str:
    secrets = session.client("secretsmanager", endpoint_url=aws.endpoint_url)
    keys = json.loads(secrets.get_secret_value(SecretId=secret_arn)["SecretString"])
    return cast("str", keys["current"])
