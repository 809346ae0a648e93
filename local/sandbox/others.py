"""Events of another sender, such as Cometly's own pixel: what the Space holds beside ours."""

from __future__ import annotations

from collections.abc import Mapping

from local.sandbox import contract
from local.sandbox.errors import ControlError

# Who an event is about is no matter here, and a sender of Cometly's own need not say it.
_ANYONE = {"email": "somebody@example.com"}


def read_events(value: object) -> list[Mapping[str, object]]:
    """Return the events of a posted list, or raise `ControlError`."""
    if not isinstance(value, list) or not all(isinstance(it, dict) for it in value):
        raise ControlError("Events of others come as a list of objects.")
    for number, event in enumerate(value, 1):
        for problem in contract.problems(_ANYONE | event):
            raise ControlError(f"Event {number}: {problem}")
    return value
