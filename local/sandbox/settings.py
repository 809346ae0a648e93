"""What can be changed while the sandbox runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from local.sandbox.errors import ControlError
from local.sandbox.limiter import WindowForm

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - opens nothing but this sandbox

RetryAfterForm = Literal["seconds", "date", "none"]
ListOrder = Literal["newest", "oldest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the sandbox answers.

    `rate_limit_headers` sends X-RateLimit-* and Retry-After, leaves them out, or fills
    them with nonsense ("absurd"). `seed` starts the dice of the faults' probabilities.

    The rest is about what can be read back: the Space's time zone, the limits of the four
    endpoints, when what was accepted shows up, how long an export takes, and in which order the
    list goes. Cometly says of the fourth that it is up to 15 minutes, and nothing of the last two.
    """

    requests_per_minute: int = 1000  # Create Event, "Notes"
    window: WindowForm = "sliding"
    tokens: tuple[str, ...] = (DEFAULT_TOKEN,)
    forbidden_tokens: tuple[str, ...] = ()
    latency_ms: float = 0
    rate_limit_headers: bool | Literal["absurd"] = True
    retry_after_form: RetryAfterForm = "seconds"
    seed: int = 0
    time_zone: str = "UTC"
    lists_per_minute: int = 7  # List Events, "Notes"
    records_per_minute: int = 30  # Get Event, "Notes"
    exports_per_minute: int = 5  # Exports vs Pagination
    export_checks_per_minute: int = 30  # the same
    shows_up_after_s: float = 0
    export_s: float = 0
    list_order: ListOrder = "newest"

    @property
    def zone(self) -> ZoneInfo:
        """The Space's time zone."""
        return ZoneInfo(self.time_zone)

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Return a copy with these values, or raise `ControlError`."""
        for name, value in changes.items():
            _check(name, value)
        frozen: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()
        }
        return replace(self, **frozen)


def is_count(value: object) -> bool:
    """Tell whether a JSON value is a whole number above zero."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_amount(value: object) -> bool:
    """Tell whether a JSON value is a finite number, zero or more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < math.inf


def is_one_of(*choices: str) -> Callable[[object], bool]:
    """Return a check for a string out of a few."""
    return lambda value: isinstance(value, str) and value in choices


def _is_strings(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_headers_mode(value: object) -> bool:
    return isinstance(value, bool) or value == "absurd"


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time_zone(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "requests_per_minute": (is_count, "a whole number above zero"),
    "window": (is_one_of("fixed", "sliding"), '"fixed" or "sliding"'),
    "tokens": (_is_strings, "a list of strings"),
    "forbidden_tokens": (_is_strings, "a list of strings"),
    "latency_ms": (is_amount, "a number, zero or more"),
    "rate_limit_headers": (_is_headers_mode, 'true, false or "absurd"'),
    "retry_after_form": (is_one_of("seconds", "date", "none"), '"seconds", "date" or "none"'),
    "seed": (_is_integer, "a whole number"),
    "time_zone": (_is_time_zone, "the name of a time zone, such as America/New_York"),
    "lists_per_minute": (is_count, "a whole number above zero"),
    "records_per_minute": (is_count, "a whole number above zero"),
    "exports_per_minute": (is_count, "a whole number above zero"),
    "export_checks_per_minute": (is_count, "a whole number above zero"),
    "shows_up_after_s": (is_amount, "a number, zero or more"),
    "export_s": (is_amount, "a number, zero or more"),
    "list_order": (is_one_of("newest", "oldest"), '"newest" or "oldest"'),
}
SETTING_NAMES = tuple(field.name for field in fields(Settings))


def _check(name: str, value: object) -> None:
    if name not in _CHECKS:
        raise ControlError(f"There is no setting {name}; there are {', '.join(SETTING_NAMES)}.")
    holds, expected = _CHECKS[name]
    if not holds(value):
        raise ControlError(f"{name} must be {expected}.")
