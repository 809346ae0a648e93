"""What can be seen of a stack while nothing is booked: each part of it in turn."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from cometly_forwarder.gate.item import state_in
from cometly_forwarder.secrets import NO_TOKEN
from ops.alarms import alarms_of
from ops.gates import pauses_in
from ops.mappings import mappings_of
from ops.smoke.doors import EVENTS, HTTPS, Answer, Api, Door, an_event, http_doors
from ops.smoke.report import Finding, Report, Section, bad, good, undecided
from ops.target import Target
from ops.tokens import is_token

# A mapping on its way to another state.
_CHANGING = frozenset({"Creating", "Enabling", "Updating", "Disabling"})
_CAUSES = {"blocked": Section.BLOCKED, "failing": Section.DOWN}
_WRONG_KEY = "a-key-that-opens-nothing"
_WORKS = re.compile("(CREATE|UPDATE|UPDATE_ROLLBACK|IMPORT|IMPORT_ROLLBACK)_COMPLETE")


@dataclass(frozen=True, slots=True)
class Checks:
    """The steps that change nothing. `now` is Unix time in seconds."""

    target: Target
    api: Api
    event_name: str
    now: Callable[[], float] = time.time

    def take(self, report: Report) -> None:
        """Take all of them."""
        report.step("the stack is deployed", self.stack)
        report.step("the API answers", self.health)
        report.step("a wrong key is refused", self.wrong_key)
        for door in self._doors(report):
            title = f"{door.name}: an event that is invalid is refused"
            report.step(title, partial(self.invalid, door))
        report.step("a dry run says what would be sent", self.dry_run)
        report.step("Cometly's token is stored", self.token)
        report.step("delivery is not paused", self.gate)
        report.step("deliver takes from its queues", self.mappings)
        report.step("the topic leads to the event queue", self.topic)
        report.step("the bus leads to the event queue", self.bus)
        report.step("no alarm is on", self.alarms)
        report.step("nothing is parked", self.parked)

    def stack(self) -> Finding:
        status = self.target.status
        if _WORKS.fullmatch(status):
            return good(f"{self.target.name} is {status}")
        if status.endswith("_IN_PROGRESS"):
            return undecided(f"{self.target.name} is {status}: what follows may change yet")
        return bad(f"{self.target.name} is {status}: deploy it again")

    def health(self) -> Finding:
        answer = self.api.get("/health")
        if answer.status == 200:
            return good(f"{self.api.url}/health, after {answer.seconds:.2f} s")
        if self.target.parameters.get("DisableExecuteApiEndpoint") == "true":
            return bad("its own address is closed: name your domain's by --url")
        return bad(f"{self.api.url}/health should answer 200: {answer.message}")

    def wrong_key(self) -> Finding:
        door = Door(HTTPS, EVENTS, {"Authorization": f"Bearer {_WRONG_KEY}"})
        return _expected(self.api.post(door, {}), 401, Section.KEYS)

    def invalid(self, door: Door) -> Finding:
        answer = self.api.post(door, {})
        look = Section.KEYS if answer.status == 401 else Section.FIRST
        return _expected(answer, 422, look, more=", nothing was queued")

    def dry_run(self) -> Finding:
        [door] = [
            it for it in http_doors(self.target, self.target.server_key()) if it.name == HTTPS
        ]
        answer = self.api.post(door, an_event("nobody", self.event_name), query="?dry_run=true")
        if answer.status == 202:
            return bad("this version knows no dry run: the event was queued")
        if answer.status != 200:
            return bad(f"the answer should be 200; it was {answer.message}")
        would = answer.body.get("event") if isinstance(answer.body, dict) else None
        if not isinstance(would, dict):
            return bad(
                f"what answers at {self.target.api_url} is no forwarder; --url names its address"
            )
        if would.get("do_not_capi") is not True or would.get("event_name") != self.event_name:
            return bad("what would be sent is not what was given")
        return good(f"{self.event_name} of {would['email']}, and nothing was queued")

    def token(self) -> Finding:
        arn = self.target.outputs["CometlyTokenSecretArn"]
        secret = self.target.clients.secrets.get_secret_value(SecretId=arn)
        token = secret.get("SecretString", "").strip()
        if token in {"", NO_TOKEN}:
            return bad("none is stored yet", Section.TOKEN)
        if not is_token(token):
            return bad("what is stored cannot be one: it has blanks in it", Section.TOKEN)
        return good(f"{len(token)} characters; `cometly-forwarder doctor` asks Cometly about it")

    def gate(self) -> Finding:
        item = self.target.clients.dynamodb.get_item(
            TableName=self.target.outputs["TableName"], Key={"event_id": {"S": "gate"}}
        )
        pauses = pauses_in(state_in(item.get("Item", {})), self.now())
        if not pauses:
            return good("the gate is open")
        says = "; ".join(it.says for it in pauses)
        for pause in pauses:
            if pause.cause in _CAUSES and not pause.is_probing:
                return bad(says, _CAUSES[pause.cause])
        return undecided(f"{says}: it opens by itself, if the cause is over")

    def mappings(self) -> Finding:
        found = mappings_of(self.target)
        for it in found:
            if it.state in _CHANGING:
                return undecided(f"the mapping of {it.queue} is {it.state}: try again")
            if it.state != "Enabled":
                return bad(
                    f"the mapping of {it.queue} is {it.state}, so its events wait: "
                    "`cometly-forwarder resume` switches it on"
                )
        return good(f"the mapping of each is enabled ({', '.join(it.queue for it in found)})")

    def topic(self) -> Finding:
        arn, queue = self.target.outputs["TopicArn"], self._event_queue_arn()
        pages = self.target.clients.sns.get_paginator("list_subscriptions_by_topic").paginate(
            TopicArn=arn
        )
        endpoints = {it.get("Endpoint") for page in pages for it in page["Subscriptions"]}
        if queue not in endpoints:
            return bad(f"{_name(arn)} has no subscription of the queue: deploy again")
        return self._admitted("sns.amazonaws.com", [arn])

    def bus(self) -> Finding:
        bus, events = self.target.outputs["EventBusName"], self.target.clients.events
        names = events.list_rule_names_by_target(
            TargetArn=self._event_queue_arn(), EventBusName=bus
        )["RuleNames"]
        rules = [events.describe_rule(Name=name, EventBusName=bus) for name in names]
        # Also ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS.
        enabled = [it["Arn"] for it in rules if it.get("State", "").startswith("ENABLED")]
        if not enabled:
            return bad(f"no rule of {bus} that is enabled leads to the queue: deploy again")
        return self._admitted("events.amazonaws.com", enabled)

    def alarms(self) -> Finding:
        ours = alarms_of(self.target)
        if not ours:
            return undecided("no alarm watches this stack; the runbook says which are worth one")
        if on := [alarm["AlarmName"] for alarm in ours if alarm["StateValue"] == "ALARM"]:
            return bad(f"on are: {', '.join(on)}")
        okay = sum(alarm["StateValue"] == "OK" for alarm in ours)
        return good(f"of {len(ours)}, {okay} are OK and {len(ours) - okay} without data")

    def parked(self) -> Finding:
        count = self.target.count(self.target.outputs["DeadLetterQueueUrl"])
        if count:
            return undecided(f"{count} lie there: `cometly-forwarder parked list` says why")
        return good("the dead-letter queue is empty")

    def _doors(self, report: Report) -> list[Door]:
        """Return the open doors; a key that cannot be read is a finding, and leaves none."""
        doors: list[Door] = []

        def look() -> Finding:
            doors.extend(http_doors(self.target, self.target.server_key()))
            shut = "" if self.target.page_origin else "; /collect is shut (AllowedOrigins is empty)"
            return good(f"{', '.join(door.path for door in doors)}{shut}")

        report.step("the callers' key is readable, and the doors are known", look)
        return doors

    def _event_queue_arn(self) -> str:
        return self.target.queue_arn(self.target.outputs["EventQueueUrl"])

    def _admitted(self, service: str, sources: Iterable[str]) -> Finding:
        for output in ("EventQueueUrl", "DeadLetterQueueUrl"):
            policy = self.target.queue_attributes(self.target.outputs[output], "Policy")
            for source in sources:
                if not admits(json.loads(policy.get("Policy", "{}")), service, source):
                    return bad(f"the policy of {output} does not admit {source}: deploy again")
        return good(f"{', '.join(map(_name, sources))}, admitted by the policies of both queues")


def admits(policy: Mapping[str, Any], service: str, source: str) -> bool:
    """Say whether a queue's policy lets a service send what this topic or rule sends."""
    return any(
        statement["Effect"] == "Allow"
        and isinstance(statement["Principal"], dict)
        and service in _listed(statement["Principal"].get("Service", ()))
        and {"sqs:SendMessage", "SQS:SendMessage", "sqs:*"} & set(_listed(statement["Action"]))
        and _holds(statement.get("Condition", {}), source)
        for statement in policy.get("Statement", ())
    )


def _holds(conditions: Mapping[str, Mapping[str, Any]], source: str) -> bool:
    return all(
        operator in {"ArnEquals", "ArnLike"}
        and key.lower() == "aws:sourcearn"
        and any(fnmatchcase(source, pattern) for pattern in _listed(patterns))
        for operator, condition in conditions.items()
        for key, patterns in condition.items()
    )


def _expected(answer: Answer, status: int, look: Section, *, more: str = "") -> Finding:
    if answer.status != status:
        return bad(f"the answer should be {status}; it was {answer.message}", look)
    return good(f"{status} after {answer.seconds:.2f} s{more}")


def _listed(part: str | Iterable[str]) -> list[str]:
    return [part] if isinstance(part, str) else list(part)


def _name(arn_or_url: str) -> str:
    return re.split("[:/]", arn_or_url)[-1]
