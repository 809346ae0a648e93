"""What the sandbox refuses to be told."""

from __future__ import annotations


class ControlError(ValueError):
    """A call of the control API that makes no sense; its text is the answer's message."""


class ForwarderAway(Exception):
    """There is no forwarder to ask; the message says why, for whoever looks at the page."""
