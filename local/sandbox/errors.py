"""What the sandbox refuses to be told."""

from __future__ import annotations


class ControlError(ValueError):
    """A call of the control API that makes no sense; its text is the answer's message."""
