"""JSON as it comes from strangers: read strictly, refused without quoting it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from cometly_forwarder.errors import Unreadable

_LONGEST_NAME = 64
# Made once: `json.dumps` makes one for each text that is not in its own form.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Ambiguous(dict[str, Any]):
    """An object that names a key twice: `repeated` is that key, with the way to it."""

    repeated: str = ""


def parse(text: str | bytes) -> Any:  # noqa: ANN401 - JSON can be anything
    """Parse UTF-8 JSON in which no object names a key twice; raises Unreadable.

    NaN and Infinity pass, as they do in Python's json: the event's own rules refuse them, each
    with the name of its field.
    """
    return _parsed(text, _unique)


def parse_each(text: str | bytes) -> Any:  # noqa: ANN401 - JSON can be anything
    """Parse in the same way, but let what an object names twice spoil that object alone.

    Such an object is an `Ambiguous`, and so is what holds it as a member. An integer with too many
    digits is infinite.
    """
    try:
        return _parsed(text, _members)
    except _TooManyDigits:
        # A second time, for calling a function for each integer takes long.
        return _parsed(text, _members, _integer)


class _TooManyDigits(Unreadable):
    """An integer that Python does not read: one of more than 4300 digits."""


def _integer(digits: str) -> int | float:
    """Read an integer; one with too many digits is infinite, as 1e999 is, and so it is judged."""
    try:
        return int(digits)
    except ValueError:
        return -math.inf if digits.startswith("-") else math.inf


def _parsed(
    text: str | bytes,
    of_pairs: Callable[[list[tuple[str, Any]]], object],
    of_digits: Callable[[str], int | float] | None = None,
) -> object:
    try:
        # RFC 8259 lets a reader ignore a byte order mark, which some callers put in front.
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        content: object = json.loads(decoded, object_pairs_hook=of_pairs, parse_int=of_digits)
    except UnicodeDecodeError as exc:
        raise Unreadable("it is not UTF-8") from exc
    except RecursionError as exc:
        raise Unreadable("it is nested too deeply") from exc
    except json.JSONDecodeError as exc:
        raise Unreadable(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from None
    except ValueError as exc:
        raise _TooManyDigits("it holds a number with too many digits") from exc
    return content


def dump(value: object) -> str:
    """Write compact JSON in ASCII, so that no transport refuses a character of it."""
    return _ENCODER.encode(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("an object names the same key twice")
    return members


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    inner = next((it for it in pairs if type(it[1]) is Ambiguous), None)
    if len(members) == len(pairs) and inner is None:
        return members
    spoilt = Ambiguous(members)
    if inner is None or len(members) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        spoilt.repeated = next(name for name, count in counts.items() if count > 1)
    else:
        spoilt.repeated = f"{inner[0]}.{inner[1].repeated}"
    # Bounded here: a long name, nested deep, would be written once a level.
    spoilt.repeated = spoilt.repeated[:_LONGEST_NAME]
    return spoilt
