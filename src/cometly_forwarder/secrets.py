"""Secrets Manager, read seldom: values are cached, and read again when they stop working."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder import jsontext
from cometly_forwarder.errors import TokenMissing, Unavailable, Unreadable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# What the template stores until an operator stores a token.
NO_TOKEN = "unset"  # noqa: S105 - the absence of one
# A key that was taken away works on for this long at the most.
MAX_AGE_SECONDS = 300.0
# Wrong keys and a missing token make the secret be read again, but not more often than this.
MIN_AGE_SECONDS = 10.0
# The posts of a batch get their 401s together; one reading serves them all.
_AFTER_401_SECONDS = 1.0


@dataclass(slots=True)
class Secret:
    """One cached secret."""

    client: SecretsManagerClient
    arn: str
    now: Callable[[], float]
    _value: str | None = field(default=None, repr=False)
    _read_at: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def value(self, *, not_older_than: float = MAX_AGE_SECONDS) -> str:
        """Return the secret, read again if the cached one is older than so many seconds.

        While Secrets Manager is away the cached value goes on; raises Unavailable without one.
        """
        with self._lock:
            if self._value is None or self.now() - self._read_at >= not_older_than:
                self._read()
            if self._value is None:
                raise Unavailable("Secrets Manager gave no text")
            return self._value

    def _read(self) -> None:
        try:
            stored = self.client.get_secret_value(SecretId=self.arn)
        except (ClientError, BotoCoreError):
            if self._value is None:
                return
        else:
            self._value = stored.get("SecretString")
        self._read_at = self.now()


@dataclass(frozen=True, slots=True)
class CometlyToken:
    """The token of the Space."""

    secret: Secret

    def current(self) -> str:
        """Return the token; raises TokenMissing while none is stored, Unavailable if unreadable."""
        token = self.secret.value().strip()
        if token in ("", NO_TOKEN):
            token = self.secret.value(not_older_than=MIN_AGE_SECONDS).strip()
        if token in ("", NO_TOKEN):
            raise TokenMissing("no Cometly token is stored yet")
        return token

    def renewed(self, rejected: str) -> str | None:
        """Read the token again after a 401; returns it if it is another one now."""
        token = self.secret.value(not_older_than=_AFTER_401_SECONDS).strip()
        return token if token not in ("", NO_TOKEN, rejected) else None


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The callers' keys: `{"current": …, "previous": …}`, so that one can be rotated."""

    secret: Secret

    def admit(self, key: str) -> bool:
        """Compare in constant time; a key that does not match has the secret read once more."""
        return self._matches(key, MAX_AGE_SECONDS) or self._matches(key, MIN_AGE_SECONDS)

    def _matches(self, key: str, not_older_than: float) -> bool:
        keys = _keys_in(self.secret.value(not_older_than=not_older_than))
        # Every key is compared, so that the time taken does not tell which one came close.
        presented = key.encode(errors="surrogatepass")
        matches = [hmac.compare_digest(presented, known.encode()) for known in keys]
        return any(matches)


def _keys_in(text: str) -> list[str]:
    try:
        stored = jsontext.parse(text)
    except Unreadable as exc:
        raise Unavailable("the secret of the callers' keys is not JSON") from exc
    names = ("current", "previous") if isinstance(stored, dict) else ()
    return [key for name in names if isinstance(key := stored.get(name), str) and key]
