"""The pages' route: what a page may send, and what is taken from the connection instead.

Whatever a page holds is public, so there is no key. An allow-list of origins keeps the pages of
other sites out (not programs, which can write any Origin), and a page cannot say who or where it
is: address and agent are the connection's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from cometly_forwarder.errors import Fault, InvalidEvent
from cometly_forwarder.event.model import EVENT_NAMES

# These carry money, and first in wins: a visitor could book an order before the back end does.
MONEY_NAMES = frozenset({"purchase", "subscribe", "start_trial"})
PAGE_NAMES = EVENT_NAMES - MONEY_NAMES
_EVERY_NAME = "*"
# A page that is being left may send 64 KiB with keepalive, by the Fetch standard.
MAX_BODY_BYTES = 64 * 1024
MAX_EVENTS = 20
_OWN_FIELDS = ("ip", "user_agent")
_LONGEST_AGENT = 1024
_NOT_ADMITTED = "is not taken from browsers here (the parameter BrowserEventNames can admit it)"


@dataclass(frozen=True, slots=True)
class Visitor:
    """The connection behind a request."""

    ip: str
    user_agent: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class BrowserRules:
    """Who may come in, and with what. Without an origin no page may.

    Origins are compared whole and exactly, as browsers write them: scheme, host, port.
    """

    origins: frozenset[str]
    event_names: frozenset[str] = PAGE_NAMES
    proxy_hops: int = 0

    def event_from(self, raw: object, visitor: Visitor) -> object:
        """Put the visitor into an event in place of what the page claims.

        Raises InvalidEvent for an event name that browsers may not send.
        """
        if not isinstance(raw, Mapping):
            return raw
        self._check_name(raw.get("event_name"))
        event = {name: value for name, value in raw.items() if name not in _OWN_FIELDS}
        if visitor.user_agent:
            event["user_agent"] = visitor.user_agent[:_LONGEST_AGENT]
        if visitor.url and not event.get("url"):
            event["url"] = visitor.url
        # Cometly takes an address only together with a fingerprint.
        if str(event.get("fingerprint") or "").strip():
            event["ip"] = visitor.ip
        return event

    def _check_name(self, name: object) -> None:
        """Refuse what pages may not send. What is no name at all is left to the validation."""
        if isinstance(name, str) and name.strip() in EVENT_NAMES - self.event_names:
            raise InvalidEvent((Fault("event_name", _NOT_ADMITTED),))


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
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def preflight_headers(origin: str) -> dict[str, str]:
    return {
        **cors_headers(origin),
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "content-type",
        "Access-Control-Max-Age": "7200",
    }
