"""What can be changed while the sandbox runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from local.sandbox.errors import ControlError
from local.sandbox.limiter import WindowForm

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - opens nothing but this sandbox

RetryAfterForm = Literal["seconds", "date", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the sandbox answers.

    `rate_limit_headers` sends X-RateLimit-* and Retry-After, leaves them out, or fills
    them with nonsense ("absurd"). `seed` starts the dice of the faults' probabilities.
    """

    requests_per_minute: int = 1000  # Create Event, "Notes"
    window: WindowForm = "sliding"
    tokens: tuple[str, ...] = (DEFAULT_TOKEN,)
    forbidden_tokens: tuple[str, ...] = ()
    latency_ms: float = 0
    rate_limit_headers: bool | Literal["absurd"] = True
    retry_after_form: RetryAfterForm = "seconds"
    seed: int = 0

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


_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "requests_per_minute": (is_count, "a whole number above zero"),
    "window": (is_one_of("fixed", "sliding"), '"fixed" or "sliding"'),
    "tokens": (_is_strings, "a list of strings"),
    "forbidden_tokens": (_is_strings, "a list of strings"),
    "latency_ms": (is_amount, "a number, zero or more"),
    "rate_limit_headers": (_is_headers_mode, 'true, false or "absurd"'),
    "retry_after_form": (is_one_of("seconds", "date", "none"), '"seconds", "date" or "none"'),
    "seed": (_is_integer, "a whole number"),
}
SETTING_NAMES = tuple(field.name for field in fields(Settings))


def _check(name: str, value: object) -> None:
    if name not in _CHECKS:
        raise ControlError(f"There is no setting {name}; there are {', '.join(SETTING_NAMES)}.")
    holds, expected = _CHECKS[name]
    if not holds(value):
        raise ControlError(f"{name} must be {expected}.")
