"""What `doctor` looks at beyond the smoke test; each finding says how to mend it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from ops.alarms import alarms_of
from ops.counts import oldest_seconds
from ops.mappings import QUEUES
from ops.smoke.report import Finding, Report, Section, bad, good, undecided
from ops.target import Target
from ops.templates import differences
from ops.tokens import stored_token, try_token

# When AWS ends its support of a runtime: the "deprecation date" of
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
RUNTIMES_END: Mapping[str, date] = {
    "python3.11": date(2027, 6, 30),
    "python3.12": date(2028, 10, 31),
    "python3.13": date(2029, 6, 30),
    "python3.14": date(2029, 6, 30),
}
_SOON_DAYS = 90
# AWS refuses requests that are signed 5 minutes off.
_MOST_SKEW_SECONDS = 30.0
# As the alarms EventsWaitAlarm and PagesWaitAlarm.
_OLD_SECONDS = {"events": 15 * 60.0, "pages": 30 * 60.0}
_PENDING = "PendingConfirmation"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The steps beyond the smoke test's; none books an event. `now` is Unix time in seconds."""

    target: Target
    template: Path | None
    now: Callable[[], float] = time.time

    def take(self, report: Report) -> None:
        """Take all of them."""
        report.step("Cometly takes the token", self.token)
        report.step("someone is told when an alarm rings", self.alarms)
        report.step("nothing waits for long", self.queue_age)
        report.step("this machine's clock is right", self.clock)
        report.step("the runtime is supported", self.runtime)
        report.step("the stack is that of this checkout", self.checkout)

    def token(self) -> Finding:
        if (token := stored_token(self.target)) is None:
            return undecided("none is stored, so none was tried")
        trial = try_token(self.target, token, self.now())
        says = trial.verdict.reason
        if trial.is_accepted:
            return good(f"{says} to an event without fields, as it should be: nothing was booked")
        if trial.is_refused:
            return bad(f"Cometly answered {says}; store another by `token set`", Section.BLOCKED)
        return undecided(f"it cannot be told from here: {says}")

    def alarms(self) -> Finding:
        ours = alarms_of(self.target)
        if not ours:
            return undecided("no alarm watches this stack: deploy it with one (the runbook)")
        topics = {arn for alarm in ours for arn in alarm.get("AlarmActions", ()) if ":sns:" in arn}
        if not topics:
            return bad("the alarms tell nobody: give them an action, such as a topic of SNS")
        told, pending = self._subscribed(topics)
        if pending:
            return bad(f"{', '.join(pending)} has not confirmed: follow the link in AWS's mail")
        if not told:
            return bad("nobody has subscribed to the alarms' topic: subscribe an address to it")
        return good(f"{len(ours)} alarms tell {len(told)} subscribers")

    def queue_age(self) -> Finding:
        ages = {
            name: oldest_seconds(self.target, self.target.outputs[output], self.now())
            for name, output in QUEUES.items()
            if output in self.target.outputs
        }
        known = {name: age for name, age in ages.items() if age is not None}
        if not known:
            return undecided("CloudWatch has no age of the queues' messages yet")
        says = ", ".join(f"{name} {age:.0f} s" for name, age in known.items())
        if any(age > _OLD_SECONDS[name] for name, age in known.items()):
            return bad(f"the oldest wait: {says}; `status` says whether delivery is paused")
        return good(f"the oldest wait: {says}")

    def clock(self) -> Finding:
        answer = self.target.clients.cloudformation.describe_stacks(StackName=self.target.name)
        header = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            skew = self.now() - parsedate_to_datetime(header).timestamp()
        except ValueError:
            return undecided("AWS's answer has no Date")
        if abs(skew) > _MOST_SKEW_SECONDS:
            way = "ahead of" if skew > 0 else "behind"
            return bad(f"it is {abs(skew):.0f} s {way} AWS's: set it, by NTP for instance")
        return good(f"it is within {_MOST_SKEW_SECONDS:.0f} s of AWS's")

    def runtime(self) -> Finding:
        today = datetime.fromtimestamp(self.now(), UTC).date()
        runtimes = {self._runtime(name) for name in ("IngestFunctionName", "DeliverFunctionName")}
        for runtime in sorted(runtimes):
            end = RUNTIMES_END.get(runtime)
            if end is None:
                return undecided(f"when AWS's support of {runtime} ends is not known here")
            if (left := (end - today).days) < _SOON_DAYS:
                tense = "ended" if left < 0 else "ends"
                return bad(f"support of {runtime} {tense} on {end}: deploy with a later Runtime")
        ends = ", ".join(f"{it} until {RUNTIMES_END[it]}" for it in sorted(runtimes))
        return good(ends)

    def checkout(self) -> Finding:
        if self.template is None:
            return undecided("run it in a checkout, to compare the templates")
        if self.target.is_local:
            return undecided("not compared: the emulator gets a template of its own")
        found = differences(self.target, self.template)
        if not found:
            return good("the templates are the same")
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return undecided(
            f"other in the checkout: {', '.join(found[:5])}{more}; make build and sam deploy bring "
            "the stack up to it"
        )

    def _runtime(self, output: str) -> str:
        function = self.target.outputs[output]
        found: Any = self.target.clients.functions.get_function_configuration(FunctionName=function)
        return str(found.get("Runtime", "a container"))

    def _subscribed(self, topics: set[str]) -> tuple[list[str], list[str]]:
        told: list[str] = []
        pending: list[str] = []
        for topic in sorted(topics):
            pages = self.target.clients.sns.get_paginator("list_subscriptions_by_topic").paginate(
                TopicArn=topic
            )
            for each in (it for page in pages for it in page["Subscriptions"]):
                is_pending = each.get("SubscriptionArn") == _PENDING
                (pending if is_pending else told).append(str(each.get("Endpoint")))
        return told, pending
