"""How many events a minute one visitor may send: pages need no key, so somebody may flood them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

# A flood of made-up addresses must not fill the memory: some 4 MB at the most.
MOST_VISITORS = 20_000
_MINUTE = 60.0
# What adding up fractions may be off: the last event of a share is part of it.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Shares:
    """Counts what each visitor sent, in the memory of this one instance of the function.

    A visitor may send `per_minute` events at once and as many in each minute after that; 0 means
    without bound. `now`, in seconds, is a clock that nobody sets and that a freeze does not stop.
    Lambda calls an instance once at a time, so there is no lock.
    """

    per_minute: int
    now: Callable[[], float]
    # When each share will be whole again; who sent last stands last.
    _whole_at: dict[str, float] = field(default_factory=dict, repr=False)

    def take(self, ip: str, events: int) -> float:
        """Take events from a visitor's share; returns 0, or the seconds until it holds them.

        An array that is larger than a whole share takes a whole one.
        """
        if not self.per_minute:
            return 0.0
        visitor, now = visitor_at(ip), self.now()
        cost = min(events, self.per_minute) * _MINUTE / self.per_minute
        whole_at = max(self._whole_at.get(visitor, now), now) + cost
        if (wait := whole_at - now - _MINUTE) > _ROUNDING:
            return wait
        self._whole_at.pop(visitor, None)
        self._whole_at[visitor] = whole_at
        if len(self._whole_at) > MOST_VISITORS:
            del self._whole_at[next(iter(self._whole_at))]
        return 0.0


def visitor_at(ip: str) -> str:
    """Name the visitor at an address. Of IPv6 a household gets a /64, so the rest says nothing."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))
