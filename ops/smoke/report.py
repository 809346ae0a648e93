"""One line a step: what it shows, how it went, and where to read on if it did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ClientError

from ops.errors import OpsError, is_denied, reason_of

RUNBOOK = "docs/operations.md"


class Section(StrEnum):
    """A section of the runbook, by its anchor."""

    FIRST = "what-to-look-at-first"
    KEYS = "replacing-the-server-key"
    TOKEN = "the-token"  # noqa: S105 - an anchor
    BLOCKED = "cometly-blocks-the-space"
    DOWN = "cometly-is-down"
    PARKED = "parked-events"
    PERMISSIONS = "permissions-of-the-smoke-test"


class Mark(StrEnum):
    """How a step went."""

    GOOD = "✓"
    BAD = "✗"
    OPEN = "-"
    """Neither: there is nothing to look at, or it cannot be told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How a step went, in words. `look` is the section of the runbook that helps."""

    mark: Mark
    says: str
    look: Section | None = None


def good(says: str) -> Finding:
    return Finding(Mark.GOOD, says)


def undecided(says: str) -> Finding:
    return Finding(Mark.OPEN, says)


def bad(says: str, look: Section = Section.FIRST) -> Finding:
    return Finding(Mark.BAD, says, look)


@dataclass
class Report:
    """Takes the steps in turn, and shows each."""

    say: Callable[[str], None]
    marks: Counter[Mark] = field(default_factory=Counter)

    @property
    def has_failed(self) -> bool:
        return self.marks[Mark.BAD] > 0

    def step(self, title: str, look: Callable[[], Finding]) -> Finding:
        """Take a step and show it. What AWS refuses is its finding; the next step goes on."""
        finding = _found(look)
        self.marks[finding.mark] += 1
        self.say(f"{finding.mark} {title}: {finding.says}")
        if finding.look:
            self.say(f"    see {RUNBOOK}#{finding.look}")
        return finding

    def summary(self) -> str:
        return ", ".join(f"{self.marks[mark]} {mark}" for mark in Mark)


def _found(look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (BotoCoreError, ClientError) as exc:
        return bad(reason_of(exc), Section.PERMISSIONS if is_denied(exc) else Section.FIRST)
    except OpsError as exc:
        return bad(str(exc))
