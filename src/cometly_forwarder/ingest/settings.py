"""What ingest reads from its environment: once, when it is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, Field

from cometly_forwarder import settings
from cometly_forwarder.errors import SettingsError
from cometly_forwarder.event.settings import EventSettings
from cometly_forwarder.ingest.browser import (
    PAGE_NAMES,
    AllowedOrigins,
    BrowserRules,
    event_names_in,
    names_in,
)

# As the parameter AllowedOrigins has it: `null` is that of a sandboxed frame.
_ORIGIN = re.compile(
    r"null|https?://((\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII
)
_TOO_WIDE = re.compile(r"https?://\*\.[^.]+")
_OWN_PORTS = {"http": ":80", "https": ":443"}


def _origins(text: str) -> frozenset[str]:
    """Read origins, which are compared letter for letter with what browsers write."""
    origins = names_in(text)
    for origin in sorted(origins):
        if _TOO_WIDE.fullmatch(origin):
            raise SettingsError(
                f"ALLOWED_ORIGINS: {origin!r} would admit every site of a top-level domain; write"
                " https://*.shop.example.com"
            )
        own_port = _OWN_PORTS.get(origin.partition(":")[0], ":")
        if not _ORIGIN.fullmatch(origin) or origin.endswith(own_port):
            raise SettingsError(
                f"ALLOWED_ORIGINS: no browser writes {origin!r}; write https://shop.example.com: "
                "in lower case, with no path, no slash or dot at the end, no :443 of https, no :80"
            )
    return origins


class IngestSettings(EventSettings, frozen=True):
    """The environment of the ingest function. Pages have a queue where an origin is allowed."""

    event_queue_url: str
    page_queue_url: str = ""
    server_keys_secret_arn: str
    table_name: str
    allowed_origins: Annotated[frozenset[str], BeforeValidator(_origins)] = frozenset()
    browser_event_names: Annotated[frozenset[str], BeforeValidator(event_names_in)] = PAGE_NAMES
    trusted_proxy_hops: int = Field(0, ge=0, le=9, title="a whole number from 0 to 9")
    visitor_events_per_minute: int = Field(
        0, ge=0, le=60_000, title="a whole number from 0 to 60000"
    )

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        known = settings.read(cls, environ)
        if known.allowed_origins and not known.page_queue_url:
            raise SettingsError("the environment variable PAGE_QUEUE_URL is not set")
        return known

    @property
    def browser(self) -> BrowserRules:
        return BrowserRules(AllowedOrigins.of(self.allowed_origins), self.trusted_proxy_hops)
