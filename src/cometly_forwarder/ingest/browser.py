"""The pages' route: what a page may send, and what is taken from the connection instead.

Whatever a page holds is public, so there is no key. An allow-list of origins keeps the pages of
other sites out (not programs, which can write any Origin), and a page cannot say who or where it
is: address and agent are the connection's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cometly_forwarder.event.model import EVENT_NAMES, iso_time

# These carry money, and first in wins: a visitor could book an order before the back end does.
MONEY_NAMES = frozenset({"purchase", "subscribe", "start_trial"})
PAGE_NAMES = EVENT_NAMES - MONEY_NAMES
_EVERY_NAME = "*"
# A page that is being left may send 64 KiB with keepalive, by the Fetch standard.
MAX_BODY_BYTES = 64 * 1024
MAX_EVENTS = 20
# How long ago an event was, by the page's clock, which counts seconds right where it is set wrong.
AGE_FIELD = "seconds_ago"
_NOT_THE_PAGES = ("ip", "user_agent", AGE_FIELD)
# The script keeps an event for three days; a clock that was put on makes more of it.
_LONGEST_AGE_SECONDS = 4 * 86400
_SUBDOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)
_LONGEST_AGENT = 1024


@dataclass(frozen=True, slots=True)
class Visitor:
    """The connection behind a request."""

    ip: str
    user_agent: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class AllowedOrigins:
    """Whose pages may send: `exact` origins as browsers write them, and those of subdomains.

    `wild` holds what stands before and behind the `*` of https://*.shop.example.com, which stands
    for at least one name, and for as many as there are.
    """

    exact: frozenset[str] = frozenset()
    wild: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, origins: Collection[str]) -> AllowedOrigins:
        exact = frozenset(origin for origin in origins if "*" not in origin)
        wild = [origin.partition("*") for origin in sorted(origins) if origin not in exact]
        return cls(exact, tuple((before, behind) for before, _, behind in wild))

    def __bool__(self) -> bool:
        return bool(self.exact or self.wild)

    def __contains__(self, origin: str) -> bool:
        return origin in self.exact or any(
            origin.startswith(before)
            and origin.endswith(behind)
            and _SUBDOMAIN.fullmatch(origin[len(before) : -len(behind)]) is not None
            for before, behind in self.wild
        )


@dataclass(frozen=True, slots=True)
class BrowserRules:
    """Who may come in, and with what. Without an origin no page may."""

    origins: AllowedOrigins = AllowedOrigins()
    proxy_hops: int = 0

    def amended(
        self, raw: Mapping[str, object], visitor: Visitor, now: datetime
    ) -> dict[str, object]:
        """Put the visitor in place of what the page claims, and take the event's age off `now`."""
        event = {name: value for name, value in raw.items() if name not in _NOT_THE_PAGES}
        if visitor.user_agent:
            event["user_agent"] = visitor.user_agent[:_LONGEST_AGENT]
        # A frame without an address of its own says about:srcdoc.
        if str(event.get("url") or "").strip().lower().startswith("about:"):
            del event["url"]
        if visitor.url and not event.get("url"):
            event["url"] = visitor.url
        if not str(event.get("event_time") or "").strip():
            event |= _time_from(raw.get(AGE_FIELD), now)
        # Cometly takes an address only together with a fingerprint.
        if str(event.get("fingerprint") or "").strip():
            event["ip"] = visitor.ip
        return event


def visitor_of(source_ip: str, headers: Mapping[str, str], proxy_hops: int) -> Visitor:
    """Tell the visitor from the proxies in front: `proxy_hops` of them are ours, and believed.

    Each proxy adds to X-Forwarded-For, on the right, whom it heard from. What lies further left
    than our own proxies reach is the visitor's own claim.
    """
    chain = [part.strip() for part in headers.get("x-forwarded-for", "").split(",")]
    if chain[-1] != source_ip:
        chain.append(source_ip)
    place = len(chain) - 1 - proxy_hops
    ip = _address(chain[place]) if place >= 0 else None
    return Visitor(ip or source_ip, headers.get("user-agent"), headers.get("referer"))


def _address(text: str) -> str | None:
    """Read an address as proxies write it: with a port or without, IPv6 perhaps in brackets."""
    bare = text.partition(":")[0] if text.count(":") == 1 else text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return None if address.scope_id else str(address.ipv4_mapped or address)


def _time_from(age: object, now: datetime) -> dict[str, str]:
    if isinstance(age, bool) or not isinstance(age, int | float):
        return {}
    if not 0 <= age <= _LONGEST_AGE_SECONDS:
        return {}
    return {"event_time": iso_time(now - timedelta(seconds=age))}


def names_in(text: str) -> frozenset[str]:
    """Read a comma-separated setting."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def event_names_in(text: str) -> frozenset[str]:
    """Read BrowserEventNames: a list; `*` for every name; nothing for all that carry no money."""
    names = names_in(text)
    if _EVERY_NAME in names:
        return EVENT_NAMES
    return names or PAGE_NAMES


def cors_headers(origin: str) -> dict[str, str]:
    """What a browser needs to hear before a page of this origin may read the answer."""
    return {
        "Access-Control-Allow-Origin": origin,
        # This alone lets in sendBeacon with a JSON Blob, and fetch that includes credentials.
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def preflight_headers(origin: str) -> dict[str, str]:
    return {
        **cors_headers(origin),
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "content-type, idempotency-key, x-requested-with",
        "Access-Control-Max-Age": "7200",
    }
