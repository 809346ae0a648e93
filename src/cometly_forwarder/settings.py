"""What each function reads from its environment: once, in its first invocation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from cometly_forwarder.browser import BrowserRules, event_names_in, names_in
from cometly_forwarder.errors import SettingsError

# As the parameter AllowedOrigins has it.
_ORIGIN = re.compile(
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII
)
_OWN_PORTS = {"http": ":80", "https": ":443"}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """The environment of the ingest function. Pages have a queue where an origin is allowed."""

    queue_url: str
    page_queue_url: str
    keys_secret_arn: str
    phone_region: str | None
    browser: BrowserRules
    visitor_events_per_minute: int

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> IngestSettings:
        browser = BrowserRules(
            origins=_origins(environ.get("ALLOWED_ORIGINS", "")),
            event_names=event_names_in(environ.get("BROWSER_EVENT_NAMES", "")),
            proxy_hops=_count(environ, "TRUSTED_PROXY_HOPS", most=9),
        )
        page_queue = _required if browser.origins else _optional
        return cls(
            queue_url=_required(environ, "EVENT_QUEUE_URL"),
            page_queue_url=page_queue(environ, "PAGE_QUEUE_URL"),
            keys_secret_arn=_required(environ, "SERVER_KEYS_SECRET_ARN"),
            phone_region=environ.get("DEFAULT_PHONE_REGION") or None,
            browser=browser,
            visitor_events_per_minute=_count(environ, "VISITOR_EVENTS_PER_MINUTE", most=60_000),
        )


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
            queue_url=_required(environ, "EVENT_QUEUE_URL"),
            page_queue_url=_optional(environ, "PAGE_QUEUE_URL"),
            page_queue_arn=_optional(environ, "PAGE_QUEUE_ARN"),
            dead_letter_queue_url=_required(environ, "DEAD_LETTER_QUEUE_URL"),
            table_name=_required(environ, "TABLE_NAME"),
            token_secret_arn=_required(environ, "COMETLY_TOKEN_SECRET_ARN"),
            cometly_url=_safe_url(_required(environ, "COMETLY_URL")),
            requests_per_minute=_whole_number(environ, "COMETLY_REQUESTS_PER_MINUTE"),
            horizon_seconds=_whole_number(environ, "DELIVERY_HORIZON_HOURS") * 3600,
            phone_region=environ.get("DEFAULT_PHONE_REGION") or None,
        )


def _optional(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _required(environ: Mapping[str, str], name: str) -> str:
    if not (value := _optional(environ, name)):
        raise SettingsError(f"the environment variable {name} is not set")
    return value


def _whole_number(environ: Mapping[str, str], name: str) -> int:
    text = _required(environ, name)
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) == 0:
        raise SettingsError(f"the environment variable {name} must be a whole number from 1 on")
    return int(text)


def _count(environ: Mapping[str, str], name: str, *, most: int) -> int:
    text = _optional(environ, name) or "0"
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) > most:
        raise SettingsError(
            f"the environment variable {name} must be a whole number from 0 to {most}"
        )
    return int(text)


def _origins(text: str) -> frozenset[str]:
    """Read origins, which are compared letter for letter with what browsers write."""
    origins = names_in(text)
    for origin in sorted(origins):
        if not _ORIGIN.fullmatch(origin) or origin.endswith(_OWN_PORTS[origin.partition(":")[0]]):
            raise SettingsError(
                f"ALLOWED_ORIGINS: no browser writes {origin!r}; write https://shop.example.com: "
                "in lower case, with no path, no slash or dot at the end, no :443 of https, no :80"
            )
    return origins


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
