"""`doctor`: each part of a stack in turn; what is wrong, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from ops.app import settings_of
from ops.diagnosis import Diagnosis
from ops.output import FOUND_FAULTS, document, say
from ops.smoke.checks import Checks
from ops.smoke.doors import Api
from ops.smoke.report import RUNBOOK, Finding, Mark, Report
from ops.smoke.sending import Sending
from ops.stacks import checkout, target_of
from ops.target import Target

_EVENT_NAME = "custom_event_50"
_RESULTS = {Mark.GOOD: "ok", Mark.BAD: "bad", Mark.OPEN: "open"}
_WITHIN_SECONDS, _METRICS_WITHIN_SECONDS = 120.0, 180.0


@dataclass
class Examination(Report):
    """A report that keeps its findings."""

    findings: list[dict[str, Any]] = field(default_factory=list)

    def step(self, title: str, look: Any) -> Finding:
        """Take a step, show it, and keep what was found."""
        found = super().step(title, look)
        see = f"{RUNBOOK}#{found.look}" if found.look else None
        self.findings.append(
            {"check": title, "result": _RESULTS[found.mark], "says": found.says, "see": see}
        )
        return found


def doctor(
    context: typer.Context,
    *,
    send: Annotated[
        bool, typer.Option("--send", help="Send a test event by each door as well: it is booked.")
    ] = False,
) -> None:
    """Look at each part of the stack, and say how to mend what is wrong. Books nothing."""
    target, is_json = target_of(context), settings_of(context).json
    report = Examination(_nothing if is_json else say)
    examine(target, report)
    remains = _send(target, report) if send and not report.has_failed else ""
    if is_json:
        document({"stack": target.name, "ok": not report.has_failed, "findings": report.findings})
    else:
        say(f"\n{report.summary()}. {remains or _unsent(send)}")
    if report.has_failed:
        raise typer.Exit(FOUND_FAULTS)


def examine(target: Target, report: Report) -> None:
    """Take every step that books nothing."""
    Checks(target, Api.at(target.api_url), _EVENT_NAME).take(report)
    root = checkout()
    Diagnosis(target, root / "template.yaml" if root else None).take(report)


def _send(target: Target, report: Report) -> str:
    sending = Sending(
        target,
        Api.at(target.api_url),
        _EVENT_NAME,
        within=_WITHIN_SECONDS,
        metrics_within=_METRICS_WITHIN_SECONDS,
    )
    sending.take(report)
    return sending.remains()


def _unsent(asked: bool) -> str:  # noqa: FBT001 - one caller
    if asked:
        return "No test event was sent: it would wait for what failed."
    return "Nothing was booked; --send sends a test event by each door."


def _nothing(_: str) -> None:
    """Say nothing: the document comes at the end."""
