"""What deliver reads from its environment: once, in its first invocation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from cometly_forwarder.errors import SettingsError
from cometly_forwarder.settings import optional, required, whole_number

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """The environment of the deliver function. Without a page queue its two names are empty."""

    queue_url: str
    page_queue_url: str
    page_queue_arn: str
    dead_letter_queue_url: str
    table_name: str
    token_secret_arn: str
    cometly_url: str
    requests_per_minute: int
    horizon_seconds: float
    phone_region: str | None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> DeliverSettings:
        return cls(
            queue_url=required(environ, "EVENT_QUEUE_URL"),
            page_queue_url=optional(environ, "PAGE_QUEUE_URL"),
            page_queue_arn=optional(environ, "PAGE_QUEUE_ARN"),
            dead_letter_queue_url=required(environ, "DEAD_LETTER_QUEUE_URL"),
            table_name=required(environ, "TABLE_NAME"),
            token_secret_arn=required(environ, "COMETLY_TOKEN_SECRET_ARN"),
            cometly_url=_safe_url(required(environ, "COMETLY_URL")),
            requests_per_minute=whole_number(environ, "COMETLY_REQUESTS_PER_MINUTE"),
            horizon_seconds=whole_number(environ, "DELIVERY_HORIZON_HOURS") * 3600,
            phone_region=environ.get("DEFAULT_PHONE_REGION") or None,
        )


def _safe_url(url: str) -> str:
    """Cometly takes HTTPS only, and so does its token; plain HTTP is for this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError("COMETLY_URL is not an address") from None
    if parts.hostname and (parts.scheme == "https" or _is_local(parts)):
        return url.rstrip("/")
    raise SettingsError("COMETLY_URL must start with https:// (http:// only for this machine)")


def _is_local(parts: SplitResult) -> bool:
    return parts.scheme == "http" and parts.hostname in _LOOPBACK
