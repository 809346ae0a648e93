"""Secrets Manager, read seldom: values are cached, and read again when they stop working."""

from __future__ import annotations

import hmac
import math
import re
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
_FAILURE_SECONDS = 1.0
_TOKEN = re.compile("[\x21-\x7e]+")
# The posts of a batch get their 401s together; one reading serves them all.
_AFTER_401_SECONDS = 1.0


@dataclass(slots=True)
class Secret:
    """One cached secret. `now` counts seconds as `Stopwatch` does: else an age could shrink."""

    client: SecretsManagerClient
    arn: str
    now: Callable[[], float]
    _value: str | None = field(default=None, repr=False)
    _read_at: float = 0.0
    _failed_at: float = -math.inf
    _lock: Lock = field(default_factory=Lock, repr=False)

    def value(self, *, not_older_than: float = MAX_AGE_SECONDS) -> str:
        """Return the secret, read again if the cached one is older than so many seconds.

        While Secrets Manager is away the cached value goes on; raises Unavailable without one.
        """
        with self._lock:
            is_old = self._value is None or self.now() - self._read_at >= not_older_than
            if is_old and self.now() - self._failed_at >= _FAILURE_SECONDS:
                self._read()
            if self._value is None:
                raise Unavailable("Secrets Manager gave no text")
            return self._value

    def _read(self) -> None:
        """Read it. A failure is remembered for a moment, so that not every thread waits for one."""
        try:
            self._value = self.client.get_secret_value(SecretId=self.arn).get("SecretString")
        except (ClientError, BotoCoreError):
            self._failed_at = self.now()
        self._read_at = self.now()


@dataclass(frozen=True, slots=True)
class CometlyToken:
    """The token of the Space."""

    secret: Secret

    def current(self) -> str:
        """Return the token; raises TokenMissing while none is stored, Unavailable if unreadable."""
        for not_older_than in (MAX_AGE_SECONDS, MIN_AGE_SECONDS):
            if token := _token_in(self.secret.value(not_older_than=not_older_than)):
                return token
        raise TokenMissing("no Cometly token is stored, or what is stored cannot be one")

    def renewed(self, rejected: str) -> str | None:
        """Read the token again after a refusal; returns it if it is another one now."""
        token = _token_in(self.secret.value(not_older_than=_AFTER_401_SECONDS))
        return token if token != rejected else None


def _token_in(text: str) -> str | None:
    """Take what can stand in a header: a token that was pasted with more is none."""
    token = text.strip()
    return token if token != NO_TOKEN and _TOKEN.fullmatch(token) else None


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
