"""What deliver reads from its environment: once, when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field

from cometly_forwarder import settings
from cometly_forwarder.errors import SettingsError
from cometly_forwarder.event.settings import EventSettings

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


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


class DeliverSettings(EventSettings, frozen=True):
    """The environment of the deliver function. Without a page queue its two names are empty."""

    event_queue_url: str
    page_queue_url: str = ""
    page_queue_arn: str = ""
    dead_letter_queue_url: str
    table_name: str
    cometly_token_secret_arn: str
    cometly_url: Annotated[str, AfterValidator(_safe_url)]
    cometly_requests_per_minute: int = Field(ge=1, lt=10**9, title="a whole number from 1 on")
    delivery_horizon_hours: int = Field(ge=1, lt=10**9, title="a whole number from 1 on")

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        return settings.read(cls, environ)
