"""IP addresses as servers, proxies and people write them, each in its one canonical spelling.

Private and loopback addresses are sent, with a warning: behind one proxy that hides them all they
tell nobody apart, but within a company's own network they do, and Cometly takes them today. What no
visitor can have (0.0.0.0, ::, multicast, broadcast) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.texts import without_invisible

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Warn = Callable[[str], None]

_FORMS = "must be an IP address, such as 203.0.113.7 or 2001:db8::1"
_LONGEST = 1024  # a list of proxies, at most
# Loopback, link-local, RFC 1918, RFC 6598 (a carrier's own), RFC 4193. Not those of documentation.
_INTERNAL = (
    *("127.0.0.0/8", "169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *("100.64.0.0/10", "::1/128", "fe80::/10", "fc00::/7"),
)
# The commonest form, and the first numbers of which some addresses are internal, or nobody's.
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PLAIN = rf"({_BYTE})(?:\.{_BYTE}){{3}}"
_OF_NETWORKS = frozenset({0, 10, 100, 127, 169, 172, 192, *range(224, 256)})
# RFC 7239's header: for=192.0.2.60;proto=http;by=203.0.113.43
_FORWARDED = r'(?:^|[;,\s])for\s*=\s*"?([^",;\s]+)'
_BRACKETED = r"\[([^\[\]]*)\](?::\d{1,5})?"
_V4_WITH_PORT = r"([\d.]+):\d{1,5}"


def read_ip(value: object, warn: Warn) -> str | None:
    """Read an address; None, with a warning, for what is none and is left out.

    Of a list, such as X-Forwarded-For, it is the first: the visitor. Proxies add theirs behind it.
    Private ones in front are passed over, as the visitor's own network has written them.
    """
    if not isinstance(value, str):
        raise BadValue(_FORMS)
    if (plain := re.fullmatch(_PLAIN, value)) and int(plain[1]) not in _OF_NETWORKS:
        return value
    text = without_invisible(value[:_LONGEST])
    found = _visitor_in(text)
    if found is None:
        warn("is no IP address, such as 203.0.113.7, and is left out")
        return None
    address = str(found)
    if address != text.lower():
        warn("was read as one IP address, in its canonical form")
    if _is_internal(found):
        warn("is an address of a private network or of the machine itself; it is sent as it is")
    return address


def _visitor_in(text: str) -> IPv4Address | IPv6Address | None:
    forwarded = re.findall(_FORWARDED, text, re.IGNORECASE) if "=" in text else []
    chain = [_address(part) for part in forwarded or re.split(r"[,;\s]+", text) if part]
    if not chain or chain[0] is None:
        return None  # whoever hid the first did so on purpose, and the next is a proxy
    if len(chain) == 1:
        return chain[0]
    public = (address for address in chain if address and not _is_internal(address))
    return next(public, chain[0])


def _address(text: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import IPv6Address, ip_address  # noqa: PLC0415 - few events carry an address

    bare = text.strip("\"'<>()")
    if enclosed := re.fullmatch(_BRACKETED, bare) or re.fullmatch(_V4_WITH_PORT, bare, re.ASCII):
        bare = enclosed[1]
    bare = bare.removesuffix("/32") if ":" not in bare else bare.removesuffix("/128")
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id:  # one of the machine's own links
            return None
        address = address.ipv4_mapped or address
    return None if _is_nobodys(address) else address


def _is_nobodys(address: IPv4Address | IPv6Address) -> bool:
    return address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255"


def _is_internal(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _internal_networks(address.version))


@cache
def _internal_networks(version: int) -> tuple[IPv4Network | IPv6Network, ...]:
    from ipaddress import ip_network  # noqa: PLC0415

    return tuple(net for net in map(ip_network, _INTERNAL) if net.version == version)
