"""How the functions talk to AWS: bounded waits, few retries, one pool a client.

The clients are boto3's, which come from botocore, made without boto3: that would load what S3 needs
for transfers as well.
"""

from __future__ import annotations

import logging
import os
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, overload

from botocore.config import Config
from botocore.httpsession import create_urllib3_context, get_cert_path
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
    # mypy checks parameters by the service's model; doing so again takes a tenth of a call.
    parameter_validation=False,
)


@overload
def client(service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
def client(service: Service) -> object:
    """Make a client with the time-outs above."""
    # Else botocore puts a longer one together, twice a call, which takes another tenth of it.
    named = Config(user_agent=_session().user_agent())
    made: Any = _session().create_client(service, config=_CONFIG.merge(named))
    # Nothing of botocore's own takes a context.
    pools = made._endpoint.http_session._manager  # noqa: SLF001
    pools.connection_pool_kw["ssl_context"] = _tls()
    return made


def read_certificates() -> None:
    """Read the authorities' certificates now, while there is a whole processor.

    The first connection does it otherwise.
    """
    named = _session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    bundle: Any = named or True
    _tls().load_verify_locations(get_cert_path(bundle), None, None)


@cache
def _tls() -> ssl.SSLContext:
    """Make what all connections share, so that they read the certificates once.

    urllib3 reads them for each connection: 15 ms of a processor, of which 512 MB have a third.
    """
    context: ssl.SSLContext = create_urllib3_context()
    once: Any = cache(context.load_verify_locations)
    context.load_verify_locations = once  # type: ignore[method-assign]
    return context


@cache
def _session() -> Session:
    # It tells at each start where it has found its credentials.
    logging.getLogger("botocore.credentials").setLevel(logging.WARNING)
    return Session()
