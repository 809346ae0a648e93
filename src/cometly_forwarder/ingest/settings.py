"""What ingest reads from its environment: once, in its first invocation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cometly_forwarder.errors import SettingsError
from cometly_forwarder.ingest.browser import BrowserRules, event_names_in, names_in
from cometly_forwarder.settings import count, optional, required

# As the parameter AllowedOrigins has it.
_ORIGIN = re.compile(
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII
)
_OWN_PORTS = {"http": ":80", "https": ":443"}


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
            proxy_hops=count(environ, "TRUSTED_PROXY_HOPS", most=9),
        )
        page_queue = required if browser.origins else optional
        return cls(
            queue_url=required(environ, "EVENT_QUEUE_URL"),
            page_queue_url=page_queue(environ, "PAGE_QUEUE_URL"),
            keys_secret_arn=required(environ, "SERVER_KEYS_SECRET_ARN"),
            phone_region=environ.get("DEFAULT_PHONE_REGION") or None,
            browser=browser,
            visitor_events_per_minute=count(environ, "VISITOR_EVENTS_PER_MINUTE", most=60_000),
        )


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
