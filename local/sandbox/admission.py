"""Who is let in, and what an answer's headers say of a limit: the same at every endpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import cycle

from local.sandbox.limiter import Decision
from local.sandbox.settings import Settings

_NONSENSE_RATES = ("-7", "0", "twelve", "NaN", "1e999", "99999999999999999999", "")
_NONSENSE_WAITS = ("-5", "soon", "1e999", "99999999999999999999", "0x10", "")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error's status and message."""

    status: int
    message: str


def refused_token(headers: Mapping[str, str], settings: Settings) -> Refusal | None:
    """Tell why a request's token opens nothing; names of headers are lower-case."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    if token in settings.forbidden_tokens:
        return Refusal(403, "The token lacks the permission, or the plan is inactive.")
    if token not in settings.tokens:
        return Refusal(401, "The API token is missing or wrong.")
    return None


def refused_rate(decision: Decision) -> Refusal | None:
    """Tell whether a request is one too many."""
    return None if decision.admitted else Refusal(429, "Too many requests.")


@dataclass(slots=True)
class RateHeaders:
    """Writes X-RateLimit-* and Retry-After in the form that the settings ask for."""

    _rates: Iterator[str] = field(default_factory=lambda: cycle(_NONSENSE_RATES))
    _waits: Iterator[str] = field(default_factory=lambda: cycle(_NONSENSE_WAITS))

    def of(self, decision: Decision, received_at: float, settings: Settings) -> dict[str, str]:
        """Return the headers about a request's limit; none where they are switched off."""
        if settings.rate_limit_headers == "absurd":
            return self._absurd(decision)
        if not settings.rate_limit_headers:
            return {}
        headers = {
            "X-RateLimit-Limit": str(decision.limit),
            "X-RateLimit-Remaining": str(decision.remaining),
        }
        if decision.admitted or settings.retry_after_form == "none":
            return headers
        if settings.retry_after_form == "date":
            free_at = math.ceil(received_at + decision.retry_after_s)
            return headers | {"Retry-After": formatdate(free_at, usegmt=True)}
        return headers | {"Retry-After": str(max(1, math.ceil(decision.retry_after_s)))}

    def _absurd(self, decision: Decision) -> dict[str, str]:
        headers = {
            "X-RateLimit-Limit": next(self._rates),
            "X-RateLimit-Remaining": next(self._rates),
        }
        return headers if decision.admitted else headers | {"Retry-After": next(self._waits)}
