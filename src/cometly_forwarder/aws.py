"""How the functions talk to AWS: bounded waits, few retries, one pool a client.

The clients are boto3's, which come from botocore, made without boto3: that would load what S3 needs
for transfers as well.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, overload

from botocore.config import Config
from botocore.session import Session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

# `sam build` packages the models of these services alone (artefact/build.py).
Service = Literal["sqs", "dynamodb", "secretsmanager"]

# The SDK waits a minute and more by default, longer than a caller or an invocation has.
CONNECT_SECONDS = 1
READ_SECONDS = 3
TRIES = 2
# SQS takes and hands over ten messages a call.
SQS_BATCH = 10
# botocore's "standard" mode waits up to 2 ** 0 seconds before the second of two tries.
BACK_OFF_SECONDS = 1
# One call at its worst, if one address of the service at the most does not answer: connecting takes
# CONNECT_SECONDS for each that does not.
CALL_SECONDS = TRIES * (CONNECT_SECONDS + READ_SECONDS) + BACK_OFF_SECONDS
_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": TRIES},
    max_pool_connections=16,
)


@overload
def client(service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
def client(service: Service) -> object:
    """Make a client with the time-outs above."""
    return _session().create_client(service, config=_CONFIG)


@cache
def _session() -> Session:
    return Session()
