"""What goes wrong on the way to AWS, in one sentence for the person who runs this."""

from __future__ import annotations

from collections.abc import Mapping

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as AwsConnectionError,
)

_DENIED = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"),
    *("AuthorizationErrorException", "NotAuthorized"),
}
_REFUSED = {
    *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "RequestExpired"),
    *("UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException"),
    *("InvalidAccessKeyId", "AuthFailure", "InvalidToken"),
}


class OpsError(Exception):
    """A reason not to go on, in plain words."""


def reason_of(exc: BotoCoreError | ClientError) -> str:
    """Say what to do about an error of AWS's client."""
    if isinstance(exc, ClientError):
        return _answered(exc)
    for kinds, reason in _REASONS.items():
        if isinstance(exc, kinds):
            return reason.format(exc)
    return f"{type(exc).__name__}: {exc}"


_REASONS: Mapping[tuple[type[BotoCoreError], ...], str] = {
    (ProfileNotFound,): "{}: name one of `aws configure list-profiles` by --profile.",
    (NoRegionError,): "No Region is set: name the stack's by --region.",
    (NoCredentialsError, PartialCredentialsError): (
        "No AWS credentials were found: `aws sts get-caller-identity` should print your account; "
        "--profile names another profile."
    ),
    (SSOError, TokenRetrievalError): "The login has ended ({}): log in again (`aws sso login`).",
    (HTTPClientError, AwsConnectionError): "AWS cannot be reached: {}",
}


def is_denied(exc: BotoCoreError | ClientError) -> bool:
    """Say whether a permission is missing."""
    return isinstance(exc, ClientError) and _code_of(exc) in _DENIED


def _answered(exc: ClientError) -> str:
    code = _code_of(exc)
    if is_denied(exc):
        return f"your credentials lack the permission for {exc.operation_name}."
    if code in _REFUSED:
        return f"AWS refuses the credentials ({code}): they are wrong, or have ended."
    return f"{exc.operation_name} failed: {code}: {exc.response['Error'].get('Message', '')}"


def _code_of(exc: ClientError) -> str:
    return exc.response["Error"].get("Code", "")
