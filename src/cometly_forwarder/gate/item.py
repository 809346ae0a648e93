"""The gate's state as an item of the table, and back.

Whatever the item holds can be read: what is missing or wrong in it is begun anew. Little is lost by
that: the pace stays even, and the next answers teach the rest again.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cometly_forwarder.gate.quota import Doubt, LimitEstimate
from cometly_forwarder.gate.rules import Cause, GateState, Pause
from cometly_forwarder.gate.window import Window

# What a window of a minute and what is reserved ahead take is about a quarter of this.
_MOST_COUNTS = 4096
# No time, limit or count is this large; NaN is not smaller either.
_LARGEST = 1e12
# Larger versions are not ours: DynamoDB's numbers end at 38 digits.
_MOST_VERSIONS = 10**15

T = TypeVar("T")
Item = Mapping[str, Any]
Value = Mapping[str, Any]


def attributes_of(state: GateState) -> dict[str, Value]:
    """Write a state: its counts compressed, the rest as JSON that an operator can read.

    Beside the version and a mark it is within 1 KB, a write unit of DynamoDB.
    """
    fields = dataclasses.asdict(state)
    del fields["window"]["sent"]
    text = json.dumps(_rounded(fields), separators=(",", ":"))
    return {"state": {"S": text}, "sent": {"B": zlib.compress(state.window.sent)}}


def state_in(item: Item) -> GateState:
    """Read a state, of any version of the forwarder."""
    fields = _or(dict, lambda: dict(json.loads(item["state"]["S"])))
    state = _of_numbers(GateState, fields)
    learnt = _or(LimitEstimate, lambda: _of_numbers(LimitEstimate, dict(fields["learnt"])))
    return dataclasses.replace(
        state,
        window=_or(Window, lambda: Window(int(_number(fields["window"]["base"])), _counts(item))),
        learnt=learnt if learnt.is_plausible else LimitEstimate(),
        doubt=_or(Doubt, lambda: _of_numbers(Doubt, dict(fields["doubt"]))),
        pause=_or(lambda: None, lambda: _pause_in(fields["pause"])),
        pages_pause=_or(lambda: None, lambda: _pause_in(fields["pages_pause"])),
    )


def following(version: Value | None) -> Value:
    """Count a version up. After one that is no number of ours, begin anew."""
    number = _or(int, lambda: int((version or {})["N"]))
    return {"N": str(number + 1 if 0 <= number < _MOST_VERSIONS else 1)}


def _rounded(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Round to milliseconds, which is as exact as anybody posts."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, Cause):
        return value.value
    return round(value, 3) if isinstance(value, float) else value


def _of_numbers(kind: Callable[..., T], fields: Mapping[str, Any]) -> T:
    """Make a dataclass of those fields that are numbers; the others keep their defaults."""
    numbers: dict[str, float] = {}
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        if isinstance(each.default, int | float):
            numbers[each.name] = _or(
                lambda each=each: each.default,  # type: ignore[misc]
                lambda each=each: type(each.default)(_number(fields[each.name])),  # type: ignore[misc]
            )
    return kind(**numbers)


def _pause_in(fields: Mapping[str, Any] | None) -> Pause | None:
    if not fields:
        return None
    until, step = _number(fields["until"]), _number(fields["step"])
    return Pause(Cause(fields["cause"]), until, step, _number(fields["probe_until"]))


def _number(value: Any) -> float:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, int | float) and 0 <= value < _LARGEST:
        return value
    raise ValueError("not a number of the gate's")


def _counts(item: Item) -> bytes:
    reader = zlib.decompressobj()
    counts = reader.decompress(item["sent"]["B"], _MOST_COUNTS)
    if reader.eof:
        return counts
    raise ValueError("no counts, or more than any window has")


def _or(new: Callable[[], T], read: Callable[[], T]) -> T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, RecursionError, zlib.error):
        return new()
