"""Errors of the local stack, worded for the person who starts it.

StackError
├── UsageError      what was asked for cannot be done: other options will help
└── StepFailed      a step did not work: its own output says why
"""

from __future__ import annotations

from pathlib import Path


class StackError(Exception):
    """A reason in plain words, and where more of it can be read."""

    def __init__(self, reason: str, *, log: Path | None = None) -> None:
        super().__init__(reason)
        self.log = log


class UsageError(StackError):
    """The request itself is the fault."""


class StepFailed(StackError):
    """A step did not work."""
