"""The smoke test's steps, over services in memory and answers that are written here."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
import urllib3
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)
from moto import mock_aws

from cometly_forwarder.gate.item import attributes_of
from cometly_forwarder.gate.rules import Cause, GateState, Pause
from ops.alarms import alarms_of
from ops.errors import OpsError, reason_of
from ops.smoke import __main__ as program
from ops.smoke.checks import Checks, admits
from ops.smoke.doors import (
    Answer,
    Api,
    Closed,
    Door,
    NotTaken,
    an_event,
    http_doors,
    pool_for,
    senders,
)
from ops.smoke.report import Finding, Mark, Report, Section, bad, good, undecided
from ops.smoke.sending import Clock, Sending, Sent
from ops.target import Clients, LocalStack, Target
from tests.unit.test_alarms import ALARMS
from tests.unit.test_docs import OPERATIONS, anchors_of

REGION = "eu-central-1"
NOW = 1_800_000_000.0
TOKEN = "the-token-of-a-space"
ACCOUNT = "arn:aws:%s:eu-central-1:123456789012:"


class Anything:
    """A service that nobody asks for anything."""


@dataclass
class Listing:
    """A service of AWS whose calls and pages are answered as written here."""

    answers: dict[str, Any]
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def get_paginator(self, name: str) -> Listing:
        return Listing({"paginate": [self.answers[name]]}, self.asked)

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Any:
            self.asked.append((name, given))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@dataclass
class Answers:
    """An API that answers each path as written here, whatever is posted."""

    by_path: Mapping[str, Answer]
    posted: list[tuple[Door, Any, str]] = field(default_factory=list)

    def get(self, path: str) -> Answer:
        return self.by_path[path]

    def post(self, door: Door, content: object, *, query: str = "") -> Answer:
        self.posted.append((door, content, query))
        return self.by_path[door.path + query]


def answered(status: int, body: object = None) -> Answer:
    return Answer(status, {}, body, 0.1)


def api(**by_path: Answer) -> Api:
    return cast("Api", Answers(by_path))


def client_error(code: str, operation: str = "DescribeStacks", message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def clients(**services: Any) -> Clients:
    names = [each.name for each in dataclasses.fields(Clients)]
    return Clients(**{name: services.get(name, Anything()) for name in names})


def target(parameters: Mapping[str, str] | None = None, **services: Any) -> Target:
    return Target(
        clients=clients(**services),
        name="shop",
        status="CREATE_COMPLETE",
        api_url="https://api.example.com",
        outputs={
            "CometlyTokenSecretArn": "token",
            "ServerKeySecretArn": "keys",
            "TableName": "table",
            "TopicArn": ACCOUNT % "sns" + "topic",
            "EventBusName": "shop",
            "EventQueueUrl": "https://sqs.example.com/1/events",
            "DeadLetterQueueUrl": "https://sqs.example.com/1/parked",
            "DeliverFunctionName": "shop-deliver",
        },
        parameters=parameters or {},
    )


def checks(answers: Api | None = None, on: Target | None = None) -> Checks:
    return Checks(on or target(), answers or api(), "custom_event_50", now=lambda: NOW)


# --- The report ---------------------------------------------------------------------------------


def test_a_step_is_a_line_and_a_failed_one_says_where_to_read_on() -> None:
    lines: list[str] = []
    report = Report(lines.append)

    report.step("health", lambda: good("fine"))
    report.step("token", lambda: bad("none", Section.TOKEN))
    report.step("alarms", lambda: undecided("none there"))

    assert lines == [
        "✓ health: fine",
        "✗ token: none",
        "    see docs/operations.md#the-token",
        "- alarms: none there",
    ]
    assert (report.summary(), report.has_failed) == ("1 ✓, 1 ✗, 1 -", True)


def test_what_aws_refuses_fails_its_step_alone() -> None:
    def refused() -> Finding:
        raise client_error("AccessDenied", "DescribeAlarms")

    report = Report(lambda _: None)

    finding = report.step("alarms", refused)
    report.step("health", lambda: good("fine"))

    assert (finding.mark, finding.look) == (Mark.BAD, Section.PERMISSIONS)
    assert "DescribeAlarms" in finding.says
    assert report.marks == {Mark.BAD: 1, Mark.GOOD: 1}


@pytest.mark.parametrize("section", Section, ids=lambda it: it.name)
def test_a_section_is_in_the_runbook(section: Section) -> None:
    assert section in anchors_of(OPERATIONS)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (NoCredentialsError(), "No AWS credentials"),
        (NoRegionError(), "--region"),
        (ProfileNotFound(profile="work"), "--profile"),
        (EndpointConnectionError(endpoint_url="https://sqs.example.com"), "cannot be reached"),
        (client_error("ExpiredToken"), "AWS refuses the credentials"),
        (client_error("AccessDeniedException"), "the permission for DescribeStacks"),
        (client_error("Throttling"), "DescribeStacks failed: Throttling: no"),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, Exception) else None,
)
def test_an_error_that_can_be_expected_is_one_sentence(error: Any, part: str) -> None:
    assert part in reason_of(error)


# --- Finding the stack --------------------------------------------------------------------------


def described(outputs: Mapping[str, str], **parameters: str) -> Listing:
    stack = {
        "StackStatus": "UPDATE_COMPLETE",
        "Outputs": [{"OutputKey": key, "OutputValue": it} for key, it in outputs.items()],
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": it} for key, it in parameters.items()
        ],
    }
    return Listing({"describe_stacks": {"Stacks": [stack]}})


def test_a_stack_that_is_not_there_is_named_with_its_region() -> None:
    with mock_aws():
        cloudformation = boto3.client("cloudformation", REGION)
        with pytest.raises(OpsError, match=r"no stack nowhere in eu-central-1"):
            Target.find(clients(cloudformation=cloudformation), "nowhere")


def test_a_stack_of_another_template_is_told_by_its_outputs() -> None:
    with pytest.raises(OpsError, match="no output ApiUrl"):
        Target.find(clients(cloudformation=described({"Bucket": "b"})), "other")


def test_a_stack_is_found_with_outputs_and_parameters() -> None:
    outputs = {**target().outputs, "ApiUrl": "https://x.example.com/", "IngestFunctionName": "i"}
    cloudformation = described(outputs, AllowedOrigins="https://*.shop.example.com,null")

    found = Target.find(clients(cloudformation=cloudformation), "shop")
    behind_a_domain = Target.find(
        clients(cloudformation=cloudformation), "shop", api_url="https://t.example.com"
    )

    assert found.api_url == "https://x.example.com"
    assert behind_a_domain.api_url == "https://t.example.com"
    assert found.page_origin == "https://smoke.shop.example.com"
    assert [door.name for door in http_doors(found, "k")] == ["HTTPS", "drop-in", "page"]


def test_without_origins_there_is_no_door_for_pages() -> None:
    assert [door.name for door in http_doors(target(), "k")] == ["HTTPS", "drop-in"]


def test_the_key_of_a_door_is_not_shown() -> None:
    assert "the-key" not in repr(http_doors(target(), "the-key"))


def test_without_a_local_stack_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{}", "utf-8")

    with pytest.raises(OpsError, match="make up"):
        LocalStack.read(tmp_path / "stack.json")
    with pytest.raises(OpsError, match="stack_name"):
        LocalStack.read(tmp_path / "broken.json")


# --- The steps that change nothing --------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "mark"),
    [
        ("UPDATE_ROLLBACK_COMPLETE", Mark.GOOD),
        ("UPDATE_IN_PROGRESS", Mark.OPEN),
        ("ROLLBACK_COMPLETE", Mark.BAD),
        ("UPDATE_ROLLBACK_FAILED", Mark.BAD),
    ],
)
def test_a_state_of_the_stack_is_judged(status: str, mark: Mark) -> None:
    assert checks(on=dataclasses.replace(target(), status=status)).stack().mark is mark


def test_an_api_whose_own_address_is_closed_asks_for_the_domain() -> None:
    closed = target({"DisableExecuteApiEndpoint": "true"})

    finding = checks(api(**{"/health": answered(404)}), closed).health()

    assert (finding.mark, "--url" in finding.says) == (Mark.BAD, True)


def test_an_answer_that_is_not_expected_is_shown() -> None:
    answers = api(**{"/v1/events": answered(202, {"message": "taken"})})
    [door, _] = http_doors(target(), "k")

    assert "202 taken" in checks(answers).wrong_key().says
    assert checks(answers).invalid(door).mark is Mark.BAD


@pytest.mark.parametrize(
    ("answer", "mark"),
    [
        pytest.param(
            answered(200, {"event": {**an_event("nobody", "custom_event_50")}}), Mark.GOOD, id="200"
        ),
        pytest.param(
            answered(200, {"event": {"event_name": "custom_event_50"}}), Mark.BAD, id="other fields"
        ),
        pytest.param(answered(200, "<html>"), Mark.BAD, id="a page of somebody else's"),
        pytest.param(answered(202, {}), Mark.BAD, id="queued"),
        pytest.param(answered(422, {"message": "no such name"}), Mark.BAD, id="invalid"),
    ],
)
def test_a_dry_run_has_to_say_what_was_given(answer: Answer, mark: Mark) -> None:
    keys = Listing({"get_secret_value": {"SecretString": '{"current": "k"}'}})
    tried = checks(api(**{"/v1/events?dry_run=true": answer}), target(secrets=keys))

    assert tried.dry_run().mark is mark


@pytest.mark.parametrize(
    ("stored", "mark"),
    [(TOKEN, Mark.GOOD), ("unset", Mark.BAD), ("", Mark.BAD), ("two words", Mark.BAD)],
)
def test_a_token_is_judged_and_never_shown(stored: str, mark: Mark) -> None:
    secrets = Listing({"get_secret_value": {"SecretString": stored}})

    finding = checks(on=target(secrets=secrets)).token()

    assert finding.mark is mark
    assert TOKEN not in finding.says


@pytest.mark.parametrize(
    ("state", "mark"),
    [
        pytest.param(GateState(), Mark.GOOD, id="open"),
        pytest.param(GateState(pause=Pause(Cause.BLOCKED, NOW + 60, 60)), Mark.BAD, id="blocked"),
        pytest.param(
            GateState(pages_pause=Pause(Cause.FAILING, NOW + 60, 60)), Mark.BAD, id="pages alone"
        ),
        pytest.param(
            GateState(pause=Pause(Cause.THROTTLED, NOW + 60, 60)), Mark.OPEN, id="throttled"
        ),
        # Else nobody could ever try whether a new token works.
        pytest.param(
            GateState(pause=Pause(Cause.BLOCKED, NOW - 60, 60)), Mark.OPEN, id="blocked before"
        ),
    ],
)
def test_a_pause_of_the_gate_is_judged(state: GateState, mark: Mark) -> None:
    item = {"Item": attributes_of(state)}

    assert checks(on=target(dynamodb=Listing({"get_item": item}))).gate().mark is mark


def test_a_gate_that_cannot_be_read_is_open() -> None:
    item = {"Item": {"state": {"S": '{"pause": {"cause": "blocked"}}'}}}

    assert checks(on=target(dynamodb=Listing({"get_item": item}))).gate().mark is Mark.GOOD


@pytest.mark.parametrize(
    ("proxy", "url", "headers"),
    [
        ("proxy.example.com:3128", "http://proxy.example.com:3128", {}),
        (
            "http://ada:p%40ss@proxy.example.com:3128",
            "http://proxy.example.com:3128",
            {"proxy-authorization": "Basic YWRhOnBAc3M="},
        ),
    ],
    ids=["without a scheme", "with a password"],
)
def test_the_proxy_of_this_machine_is_used(
    monkeypatch: pytest.MonkeyPatch, proxy: str, url: str, headers: dict[str, str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")

    pool = pool_for("https://api.example.com")

    assert isinstance(pool, urllib3.ProxyManager)
    assert pool.proxy is not None
    assert (f"{pool.proxy.scheme}://{pool.proxy.netloc}", pool.proxy_headers) == (url, headers)


def test_a_proxy_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://ada:secret@proxy.example.com")
    monkeypatch.setenv("https_proxy", "socks5://ada:secret@proxy.example.com")
    monkeypatch.setenv("no_proxy", "")

    with pytest.raises(OpsError, match="proxy") as caught:
        pool_for("https://api.example.com")

    assert "secret" not in str(caught.value)


def queue(**attributes: str) -> Listing:
    known = {"QueueArn": ACCOUNT % "sqs" + "events", **attributes}
    return Listing({"get_queue_attributes": {"Attributes": known}})


@pytest.mark.parametrize(
    ("mappings", "mark", "part"),
    [
        ([("events", "Enabled"), ("else", "Disabled")], Mark.GOOD, "events"),
        ([("events", "Disabled")], Mark.BAD, "`cometly-forwarder resume` switches it on"),
        ([("events", "Creating")], Mark.OPEN, "is Creating: try again"),
        ([("events", "Enabling")], Mark.OPEN, "is Enabling: try again"),
        ([("events", "Updating")], Mark.OPEN, "is Updating: try again"),
        ([("events", "Disabling")], Mark.OPEN, "is Disabling: try again"),
    ],
    ids=["enabled", "disabled", "creating", "enabling", "updating", "disabling"],
)
def test_a_mapping_that_is_off_is_named_with_the_command_that_turns_it_on(
    mappings: list[tuple[str, str]], mark: Mark, part: str
) -> None:
    listed = [
        {
            "EventSourceArn": ACCOUNT % "sqs" + name,
            "State": state,
            "UUID": f"uuid-of-{name}",
        }
        for name, state in mappings
    ]
    functions = Listing({"list_event_source_mappings": {"EventSourceMappings": listed}})

    finding = checks(on=target(functions=functions, sqs=queue())).mappings()

    assert finding.mark is mark
    assert part in finding.says


def test_a_queue_that_nothing_leads_from_is_bad() -> None:
    functions = Listing({"list_event_source_mappings": {"EventSourceMappings": []}})
    report = Report(lambda _: None)

    found = report.step("", checks(on=target(functions=functions, sqs=queue())).mappings)

    assert (found.mark, "No mapping leads" in found.says) == (Mark.BAD, True)


def statement(service: str, operator: str, source: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Condition": {operator: {"aws:SourceArn": source}},
    }


SNS, RULES = "sns.amazonaws.com", "events.amazonaws.com"
TOPIC, ANY_RULE = ACCOUNT % "sns" + "topic", ACCOUNT % "events" + "rule/*"
DENIED = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Condition": {}}


@pytest.mark.parametrize(
    ("statements", "service", "source", "does"),
    [
        ([DENIED, statement(SNS, "ArnEquals", TOPIC)], SNS, TOPIC, True),
        ([statement(SNS, "ArnEquals", TOPIC + "2")], SNS, TOPIC, False),
        ([statement(SNS, "ArnEquals", TOPIC)], RULES, TOPIC, False),
        ([statement(RULES, "ArnLike", ANY_RULE)], RULES, ANY_RULE[:-1] + "shop/ours", True),
        ([statement(RULES, "StringEquals", ANY_RULE)], RULES, ANY_RULE, False),
        ([], SNS, TOPIC, False),
    ],
    ids=["topic", "another topic", "another service", "any rule", "another operator", "none"],
)
def test_a_policy_admits_what_it_names(
    statements: list[dict[str, Any]], service: str, source: str, does: object
) -> None:
    assert admits({"Statement": statements}, service, source) is does


def test_a_topic_has_to_lead_to_the_queue_and_be_admitted_by_its_policy() -> None:
    policy = json.dumps({"Statement": [statement(SNS, "ArnEquals", TOPIC)]})
    arn = ACCOUNT % "sqs" + "events"
    led = Listing({"list_subscriptions_by_topic": {"Subscriptions": [{"Endpoint": arn}]}})
    astray = Listing({"list_subscriptions_by_topic": {"Subscriptions": []}})

    found = [
        checks(on=target(sns=sns, sqs=queue(Policy=text))).topic().mark
        for sns, text in [(led, policy), (astray, policy), (led, "{}")]
    ]

    assert found == [Mark.GOOD, Mark.BAD, Mark.BAD]


def test_a_bus_has_to_have_a_rule_that_is_enabled() -> None:
    policy = json.dumps({"Statement": [statement(RULES, "ArnLike", ANY_RULE)]})
    arn = ANY_RULE[:-1] + "shop/ours"

    def found(state: str) -> Mark:
        events = Listing(
            {
                "list_rule_names_by_target": {"RuleNames": ["ours"]},
                "describe_rule": {"Arn": arn, "State": state},
            }
        )
        return checks(on=target(events=events, sqs=queue(Policy=policy))).bus().mark

    with_trails = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
    states = ["ENABLED", with_trails, "DISABLED"]
    assert [found(state) for state in states] == [Mark.GOOD, Mark.GOOD, Mark.BAD]


def alarm(name: str, state: str, namespace: str, value: str, *, in_a_formula: bool = False) -> Any:
    metric = {"Namespace": namespace, "Dimensions": [{"Name": "any", "Value": value}]}
    watched = {"Metrics": [{"Id": "e"}, {"MetricStat": {"Metric": metric}}]}
    return {"AlarmName": name, "StateValue": state, **(watched if in_a_formula else metric)}


@pytest.mark.parametrize(
    ("alarms", "mark"),
    [
        ([], Mark.OPEN),
        ([alarm("other", "ALARM", "AWS/SQS", "others")], Mark.OPEN),
        ([alarm("parked", "OK", "CometlyForwarder", "shop")], Mark.GOOD),
        ([alarm("old", "INSUFFICIENT_DATA", "AWS/SQS", "events")], Mark.GOOD),
        ([alarm("sum", "ALARM", "CometlyForwarder", "shop", in_a_formula=True)], Mark.BAD),
    ],
    ids=["none", "of others", "of ours", "without data", "of a formula"],
)
def test_alarms_of_this_stack_alone_are_judged(alarms: list[Any], mark: Mark) -> None:
    cloudwatch = Listing({"describe_alarms": {"MetricAlarms": alarms}})

    assert checks(on=target(cloudwatch=cloudwatch)).alarms().mark is mark


QUEUES = ("EventQueue", "PageQueue", "DeadLetterQueue")


def test_each_alarm_of_the_template_is_one_of_its_stack() -> None:
    on_aws = {
        "Ref.Api": "a1b2c3",
        "Ref.AWS::StackName": "shop",
        "Ref.IngestFunction": "shop-ingest",
        "Ref.DeliverFunction": "shop-deliver",
        "Ref.ReconcileFunction": "shop-reconcile",
        **{
            f"Fn::GetAtt.{it}.QueueName": it
            for it in ("EventQueue", "PageQueue", "DeadLetterQueue")
        },
    }

    def physical(value: dict[str, Any]) -> str:
        [(function, name)] = value.items()
        return on_aws[".".join([function, *([name] if isinstance(name, str) else name)])]

    alarms = [
        {
            **alarm,
            "AlarmName": name,
            "StateValue": "ALARM",
            "Dimensions": [{**it, "Value": physical(it["Value"])} for it in alarm["Dimensions"]],
        }
        for name, alarm in ALARMS.items()
    ]
    stack = target(cloudwatch=Listing({"describe_alarms": {"MetricAlarms": alarms}}))
    outputs = {
        "ApiUrl": "https://a1b2c3.execute-api.eu-central-1.amazonaws.com",
        "IngestFunctionName": "shop-ingest",
        "ReconcileFunctionName": "shop-reconcile",
        "DeliverFunctionName": "shop-deliver",
        **{f"{it}Url": f"https://sqs.example.com/1/{it}" for it in QUEUES},
    }

    ringing = alarms_of(dataclasses.replace(stack, outputs=outputs))

    assert {it["AlarmName"] for it in ringing} == set(ALARMS)


def test_a_version_without_dry_runs_is_named() -> None:
    keys = Listing({"get_secret_value": {"SecretString": '{"current": "k"}'}})
    answers = api(**{"/v1/events?dry_run=true": answered(202, {})})

    assert "the event was queued" in checks(answers, target(secrets=keys)).dry_run().says


# --- Sending ------------------------------------------------------------------------------------


@dataclass
class Ticks:
    """A clock that goes on when somebody waits."""

    time: float = NOW

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.time, self.sleep)


def sending(on: Target | None = None, answers: Api | None = None) -> Sending:
    return Sending(
        on or target(), answers or api(), "contact", within=10, metrics_within=10,
        clock=Ticks().clock(),
    )  # fmt: skip


def sent(door: str = "HTTPS", event_id: str = "evt_1") -> Sent:
    return Sent(door, an_event(door, "contact"), event_id, NOW)


def test_an_event_reaches_no_ad_platform_and_nobody_and_is_no_other() -> None:
    first, second = an_event("HTTPS", "contact"), an_event("HTTPS", "contact")

    assert first["do_not_capi"] is True
    assert first["email"].endswith("@example.com")
    assert first["idempotency_key"] != second["idempotency_key"]


def test_a_page_may_not_send_every_event_and_that_is_no_fault() -> None:
    refusal = answered(422, {"message": "(the parameter BrowserEventNames can admit it)"})
    pages = target({"AllowedOrigins": "https://shop.example.com"})
    answers = api(**{"/collect": refusal, "/v1/events": answered(503, {"message": "later"})})
    send = senders(pages, answers, http_doors(pages, "k"))

    with pytest.raises(Closed, match="--event-name"):
        send["page"](an_event("page", "purchase"))
    with pytest.raises(OpsError, match="503 later"):
        send["HTTPS"](an_event("HTTPS", "purchase"))


def test_what_the_bus_does_not_take_is_a_failure_and_a_partners_bus_is_left_alone() -> None:
    refused = {"Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "later"}]}
    on = target(events=Listing({"put_events": refused}))
    partner = dataclasses.replace(on, outputs={**on.outputs, "EventBusName": "aws.partner/shop"})

    with pytest.raises(OpsError, match="InternalFailure: later"):
        senders(on, api(), [])["bus"](an_event("bus", "contact"))
    with pytest.raises(Closed, match="partner"):
        senders(partner, api(), [])["bus"](an_event("bus", "contact"))


def test_the_bus_gets_an_event_that_the_stacks_rule_takes() -> None:
    events = Listing({"put_events": {"Entries": [{"EventId": "1"}]}})
    on = target({"EventSource": "crm", "EventDetailType": "Lead"}, events=events)

    senders(on, api(), [])["bus"](an_event("bus", "contact"))

    [(_, given)] = events.asked
    [entry] = given["Entries"]
    assert (entry["Source"], entry["DetailType"]) == ("crm", "Lead")


def test_a_fifo_topic_gets_a_group_and_an_id() -> None:
    sns = Listing({"publish": {"MessageId": "1"}})
    on = target(sns=sns)
    fifo = dataclasses.replace(on, outputs={**on.outputs, "TopicArn": TOPIC + ".fifo"})

    for one in (on, fifo):
        senders(one, api(), [])["topic"](an_event("topic", "contact"))

    assert ["MessageGroupId" in given for _, given in sns.asked] == [False, True]


@pytest.mark.parametrize(
    ("error", "is_followed"),
    [(OpsError("no answer"), True), (NotTaken("429"), False), (Closed("not here"), False)],
    ids=["no answer", "refused", "not for this door"],
)
def test_an_event_that_may_have_been_taken_is_followed(
    error: Exception, is_followed: object
) -> None:
    def send(_: object) -> str:
        raise error

    followed, report, event = sending(), Report(lambda _: None), sent()

    report.step("send", lambda: followed._send(send, event))

    assert (event in followed.sent) is is_followed


def ledger(**item: str) -> Listing:
    stored = {name: {"S": value} for name, value in item.items()}
    return Listing({"get_item": {"Item": stored} if stored else {}})


@pytest.mark.parametrize(
    ("item", "mark", "look", "part"),
    [
        pytest.param(
            {
                "state": "delivered",
                "accepted_at": "2027-01-15T08:00:00+00:00",
                "updated_at": str(NOW + 1.25),
                "request_id": "req-1",
            },
            *(Mark.GOOD, None, "1.2 s after it was accepted, Cometly's Request-Id req-1"),
            id="delivered",
        ),
        pytest.param(
            {"state": "parked", "answer": "HTTP 422: no"},
            *(Mark.BAD, Section.PARKED, "HTTP 422: no"),
            id="parked",
        ),
        pytest.param(
            {"state": "waiting", "answer": "HTTP 401: no"},
            *(Mark.BAD, Section.BLOCKED, "still waiting: HTTP 401: no"),
            id="blocked",
        ),
        pytest.param({}, Mark.BAD, Section.FIRST, "has not reached deliver", id="nowhere"),
    ],
)
def test_what_became_of_an_event_is_read_in_the_ledger(
    item: dict[str, str], mark: Mark, look: Section | None, part: str
) -> None:
    followed = sending(target(dynamodb=ledger(**item)))

    finding = followed._delivered(sent(), NOW + 10)

    assert (finding.mark, finding.look) == (mark, look)
    assert part in finding.says


@pytest.mark.parametrize(("count", "mark"), [(0, Mark.GOOD), (3, Mark.OPEN)])
def test_queues_that_others_fill_are_no_fault(count: int, mark: Mark) -> None:
    assert sending(target(sqs=Counting(count)))._drained().mark is mark


@dataclass
class Counting:
    """A queue that holds so many messages."""

    count: int

    def get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.count)}}


@pytest.fixture
def parked() -> Iterator[tuple[Target, Any, str]]:
    """Yield a stack with a dead-letter queue in memory."""
    with mock_aws():
        sqs = boto3.client("sqs", REGION)
        url = sqs.create_queue(QueueName="parked")["QueueUrl"]
        on = target(sqs=sqs)
        yield (
            dataclasses.replace(on, outputs={**on.outputs, "DeadLetterQueueUrl": url}),
            sqs,
            url,
        )


def test_of_the_dead_letters_only_its_own_are_deleted_and_the_others_are_there_at_once(
    parked: tuple[Target, Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto would wait as long.
    monkeypatch.setattr("ops.smoke.sending._WAIT_SECONDS", 0)
    on, sqs, url = parked
    followed = sending(on)
    followed.sent = [sent("HTTPS", "evt_1"), sent("topic", "evt_2"), sent("bus", "evt_3")]
    sealed = json.dumps({"event_id": "evt_1"})
    wrapped = json.dumps({"Message": json.dumps(followed.sent[1].event)})
    for body in [*(f"of another {n}" for n in range(23)), sealed, wrapped]:
        sqs.send_message(QueueUrl=url, MessageBody=body)

    finding = followed._parked([followed.sent[2]])

    assert (finding.mark, finding.says.split()[0]) == (Mark.BAD, "2")
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == "23"
    assert left["ApproximateNumberOfMessagesNotVisible"] == "0"


@dataclass
class Sparse:
    """A queue whose answers may be empty although it holds messages, as SQS's may."""

    answers: list[list[str]]
    asked: list[int] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def receive_message(self, *, WaitTimeSeconds: int, **_: object) -> Any:  # noqa: N803 - boto3's
        self.asked.append(WaitTimeSeconds)
        bodies = self.answers.pop(0)
        return {"Messages": [{"Body": it, "ReceiptHandle": it} for it in bodies]} if bodies else {}

    def delete_message(self, *, ReceiptHandle: str, **_: object) -> None:  # noqa: N803 - boto3's
        self.deleted.append(ReceiptHandle)


def test_the_dead_letters_have_been_seen_after_two_empty_answers_in_a_row() -> None:
    queue = Sparse([[], ["of evt_1"], [], ["evt_1 again"], [], [], ["never asked for"]])
    followed = sending(target(sqs=queue))
    followed.sent = [sent("HTTPS", "evt_1")]

    followed._parked([])

    assert queue.deleted == ["of evt_1", "evt_1 again"]
    assert queue.asked == [5] * 6


def test_where_all_is_delivered_nobody_looks_at_the_dead_letters() -> None:
    followed = sending()
    followed.sent = [sent()]

    assert followed._parked(followed.sent).mark is Mark.GOOD


def log(*lines: Mapping[str, object]) -> Listing:
    text = "\n".join(["START", "[]", *map(json.dumps, lines)])
    events = [{"eventId": "1", "timestamp": NOW * 1000, "message": text}]
    return Listing({"filter_log_events": {"events": events}})


def test_an_event_that_came_by_no_http_has_a_line_of_deliver_alone() -> None:
    lines: list[dict[str, object]] = [
        {"message": "ingest.accepted", "event_id": "evt_1"},
        {"message": "delivery.delivered", "event_ids": ["evt_1", "evt_2"]},
    ]
    followed = sending(target(logs=log(*lines)))
    followed.sent = [sent("HTTPS", "evt_1"), sent("topic", "evt_2")]

    marks = [followed._logged(it, followed.sent, NOW).mark for it in ("ingest", "deliver")]

    assert marks == [Mark.GOOD, Mark.GOOD]


def test_a_line_that_was_found_is_not_looked_for_again() -> None:
    logs = log({"message": "delivery.delivered", "event_id": "evt_1"})
    followed = sending(target(logs=logs))
    followed.sent = [sent("HTTPS", "evt_1"), sent("topic", "evt_2")]

    finding = followed._logged("deliver", followed.sent, NOW)

    patterns = [given["filterPattern"] for _, given in logs.asked]
    assert (finding.mark, "evt_1" in finding.says) == (Mark.BAD, False)
    assert sum("evt_1" in it for it in patterns) == 1 < sum("evt_2" in it for it in patterns)


def test_a_line_that_does_not_come_in_time_is_missed() -> None:
    followed = sending(target(logs=log()))
    followed.sent = [sent()]

    finding = followed._logged("deliver", followed.sent, NOW)

    assert (finding.mark, "evt_1" in finding.says) == (Mark.BAD, True)


@pytest.mark.parametrize(("sums", "mark"), [([1, 1], Mark.GOOD), ([1], Mark.OPEN)])
def test_metrics_that_lag_are_no_fault(sums: list[int], mark: Mark) -> None:
    points = {"Datapoints": [{"Sum": it} for it in sums]}
    followed = sending(target(cloudwatch=Listing({"get_metric_statistics": points})))

    assert followed._counted([sent(), sent()], NOW).mark is mark


def test_metrics_are_waited_for() -> None:
    ticks = Ticks()

    class Later:
        def get_metric_statistics(self, **_: Any) -> Any:
            return {"Datapoints": [{"Sum": 1.0}] if ticks.time > NOW + 5 else []}

    followed = dataclasses.replace(sending(target(cloudwatch=Later())), clock=ticks.clock())

    assert followed._counted([sent()], NOW).mark is Mark.GOOD


def test_the_emulators_metrics_are_not_waited_for() -> None:
    followed = sending(dataclasses.replace(target(), is_local=True))

    assert followed._counted([sent()], NOW).mark is Mark.OPEN


def test_an_event_name_that_is_refused_ends_the_sending_before_it_begins() -> None:
    refused = {"results": [{"status": 422, "message": "event_name is unknown"}]}
    keys = Listing({"get_secret_value": {"SecretString": '{"current": "k"}'}})
    answers = api(**{"/v1/events?dry_run=true": answered(200, refused)})
    lines: list[str] = []
    followed = sending(target(secrets=keys), answers)

    followed.take(Report(lines.append))

    assert "event_name is unknown" in lines[0]
    assert (len(lines), followed.sent, followed.remains()) == (2, [], "Nothing was sent.")


# --- The program --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["shop", "--local"]], ids=["neither", "both"])
def test_it_takes_one_stack(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(arguments)

    assert caught.value.code == 2
    assert "name a stack" in capsys.readouterr().err


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_it_says_so_and_shows_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = program.main(["shop", "--region", REGION])

    assert status == 1
    assert capsys.readouterr().err.startswith("✗ No AWS credentials were found")


def test_an_interruption_says_what_becomes_of_what_was_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "_run", interrupted)

    assert program.main(["shop"]) == program.INTERRUPTED
    assert "delivered all the same" in capsys.readouterr().err


def test_its_marks_are_written_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setattr(program, "_run", lambda _: print("✓ the API answers") or 0)

    assert program.main(["shop"]) == 0
    sys.stdout.flush()
    assert written.getvalue() == b"\\u2713 the API answers\n"
