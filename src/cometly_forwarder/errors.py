"""Every error that this package raises on purpose.

ForwarderError
├── InvalidEvent        an event breaks Cometly's rules or ours; carries every fault
│   └── TooLarge        no message of the queue can carry it
├── BadValue            a field's value cannot be read; the message says what would be right
├── Unreadable          a request body or queue message is not the JSON that it should be
├── ListUnread          Cometly's list of recorded events could not be read; the message says why
├── SettingsError       the function's environment lacks or garbles a setting
└── Unavailable         an AWS service did not do what was asked; trying again is right
    └── TokenMissing    no Cometly token has been stored yet
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field, in words that say what would be right."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field} {self.message}" if self.field else self.message

    def as_json(self) -> dict[str, str]:
        return {"field": self.field, "message": self.message}


class ForwarderError(Exception):
    """The root of the tree above."""


class InvalidEvent(ForwarderError):
    """An event that may not be sent, with all of its faults and what was noticed beside them."""

    def __init__(self, faults: tuple[Fault, ...], warnings: tuple[Fault, ...] = ()) -> None:
        super().__init__(summary_of(faults))
        self.faults = faults
        self.warnings = warnings


class TooLarge(InvalidEvent):
    """An event that no message of the queue can carry."""


class BadValue(ForwarderError):
    """A field's value that cannot be read. The message says what would be right; it quotes none."""


class Unreadable(ForwarderError):
    """Text that is not the JSON it should be. The message says why, without quoting the text."""


class ListUnread(ForwarderError):
    """Cometly's list of recorded events could not be read. The message says why."""


class SettingsError(ForwarderError):
    """A setting of the function is missing or wrong. The message names it."""


class Unavailable(ForwarderError):
    """An AWS service failed or refused; the same call may succeed later."""


class TokenMissing(Unavailable):
    """The secret for Cometly's token exists, but nobody has put a token into it."""


def summary_of(faults: tuple[Fault, ...]) -> str:
    """Say all faults in one sentence."""
    return "The event is not valid: " + "; ".join(map(str, faults)) + "."


def trace_of(exc: BaseException) -> str:
    """Name an unexpected error and its place. Not its message, which may quote an event."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = next(
        (frame for frame in reversed(frames) if "cometly_forwarder" in frame.filename), None
    )
    where = f" at {place.name}:{place.lineno}" if place else ""
    return type(exc).__name__ + where
