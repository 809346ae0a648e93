"""`doctor`: what it looks at beyond the smoke test, over a stack in memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from ops import tokens
from ops.commands import doctor
from ops.diagnosis import _OLD_SECONDS, RUNTIMES_END, Diagnosis
from ops.errors import OpsError
from ops.smoke.checks import Checks
from ops.smoke.report import Finding, Mark, Report, Section, bad, good, undecided
from ops.target import Target
from ops.templates import differences
from tests.unit import cloudformation
from tests.unit.ops.conftest import Run
from tests.unit.ops.stack_in_memory import TOKEN, StackInMemory
from tests.unit.test_alarms import ALARMS

ROOT = Path(__file__).resolve().parents[3]
NOW = 1_800_000_000.0  # 2027-01-15, 08:00


@dataclass
class Cometly:
    """Answers each post as written here."""

    status: int = 422
    body: bytes = b'{"message": "no event"}'
    failure: Exception | None = None
    posted: list[dict[str, Any]] = field(default_factory=list)

    def request(self, method: str, url: str, **given: Any) -> urllib3.HTTPResponse:
        self.posted.append({"method": method, "url": url, **given})
        if self.failure:
            raise self.failure
        return urllib3.HTTPResponse(self.body, status=self.status)


@pytest.fixture
def cometly(monkeypatch: pytest.MonkeyPatch) -> Cometly:
    made = Cometly()
    monkeypatch.setattr(tokens, "pool_for", lambda _: made)
    return made


def diagnosis(stack: StackInMemory, template: Path | None = None) -> Diagnosis:
    return Diagnosis(stack.target, template, now=lambda: NOW)


# --- The token ----------------------------------------------------------------------------------


def test_a_token_is_tried_with_what_can_book_nothing(
    stack: StackInMemory, cometly: Cometly
) -> None:
    finding = diagnosis(stack).token()

    [post] = cometly.posted
    assert finding.mark is Mark.GOOD
    assert post["url"] == "https://cometly.example.com/public-api/v1/events/track"
    assert (post["body"], post["headers"]["Authorization"]) == (b"{}", f"Bearer {TOKEN}")
    assert post["redirect"] is False


@pytest.mark.parametrize(
    ("status", "mark"),
    [(401, Mark.BAD), (403, Mark.BAD), (404, Mark.BAD), (302, Mark.BAD)]
    + [(400, Mark.GOOD), (429, Mark.OPEN), (500, Mark.OPEN), (202, Mark.OPEN)],
)
def test_what_cometly_answers_decides(
    stack: StackInMemory, cometly: Cometly, status: int, mark: Mark
) -> None:
    cometly.status = status

    finding = diagnosis(stack).token()

    assert finding.mark is mark
    assert TOKEN not in finding.says


def test_without_the_network_nothing_is_told_of_a_token(
    stack: StackInMemory, cometly: Cometly
) -> None:
    cometly.failure = urllib3.exceptions.ReadTimeoutError(None, "", "")  # type: ignore[arg-type]

    assert diagnosis(stack).token().mark is Mark.OPEN


def test_a_token_is_sent_over_https_alone(stack: StackInMemory, cometly: Cometly) -> None:
    parameters = {"CometlyUrl": "http://cometly.example.com"}
    stack.target = dataclasses.replace(stack.target, parameters=parameters)

    finding = diagnosis(stack).token()

    assert (finding.mark, cometly.posted) == (Mark.OPEN, [])


def test_no_token_is_not_tried(stack: StackInMemory, cometly: Cometly) -> None:
    stack.secrets.put_secret_value(SecretId="token", SecretString="unset")

    assert diagnosis(stack).token().mark is Mark.OPEN
    assert cometly.posted == []


# --- Alarms, age, clock, runtime ----------------------------------------------------------------


def alarm(*actions: str) -> dict[str, Any]:
    dimensions = [{"Name": "service", "Value": "shop"}]
    metric = {"Namespace": "CometlyForwarder", "Dimensions": dimensions}
    return {"AlarmName": "parked", "AlarmActions": list(actions), **metric}


def subscription(arn: str) -> dict[str, str]:
    return {"SubscriptionArn": arn, "Endpoint": "ops@example.com"}


TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"


@pytest.mark.parametrize(
    ("alarms", "subscriptions", "mark", "says"),
    [
        pytest.param([], [], Mark.OPEN, "no alarm", id="none"),
        pytest.param([alarm()], [], Mark.BAD, "tell nobody", id="no action"),
        pytest.param([alarm(TOPIC)], [], Mark.BAD, "subscribe", id="nobody"),
        pytest.param(
            [alarm(TOPIC)],
            [subscription("PendingConfirmation")],
            Mark.BAD,
            "ops@example.com has not confirmed",
            id="pending",
        ),
        pytest.param(
            [alarm(TOPIC)], [subscription(f"{TOPIC}:1")], Mark.GOOD, "1 alarms", id="told"
        ),
    ],
)
def test_someone_hears_an_alarm(
    stack: StackInMemory,
    alarms: list[dict[str, Any]],
    subscriptions: list[dict[str, str]],
    mark: Mark,
    says: str,
) -> None:
    stack.watch.alarms = alarms
    stack.topics.subscriptions = subscriptions

    finding = diagnosis(stack).alarms()

    assert (finding.mark, says in finding.says) == (mark, True)


def test_an_alarm_of_another_stack_is_not_ours(stack: StackInMemory) -> None:
    other = alarm()
    other["Dimensions"] = [{"Name": "service", "Value": "another"}]
    stack.watch.alarms = [other]

    assert diagnosis(stack).alarms().mark is Mark.OPEN


@pytest.mark.parametrize(
    ("age", "mark"), [(None, Mark.OPEN), (60.0, Mark.GOOD), (3600.0, Mark.BAD)]
)
def test_events_that_wait_for_long_are_a_fault(
    stack: StackInMemory, age: float | None, mark: Mark
) -> None:
    stack.watch.age = age

    assert diagnosis(stack).queue_age().mark is mark


def test_the_doctor_and_the_alarms_call_the_same_wait_long() -> None:
    rings = {
        queue: ALARMS[f"{queue.title()}WaitAlarm"]["Threshold"] for queue in ("events", "pages")
    }

    assert rings == _OLD_SECONDS


@pytest.mark.parametrize(
    ("date", "mark", "says"),
    [
        ("Fri, 15 Jan 2027 08:00:10 GMT", Mark.GOOD, "within 30 s"),
        ("Fri, 15 Jan 2027 08:05:00 GMT", Mark.BAD, "300 s behind"),
        ("Fri, 15 Jan 2027 07:55:00 GMT", Mark.BAD, "300 s ahead of"),
        ("yesterday", Mark.OPEN, "no Date"),
    ],
)
def test_this_machines_clock_is_compared_with_awss(
    stack: StackInMemory, date: str, mark: Mark, says: str
) -> None:
    stack.formation.date = date

    finding = diagnosis(stack).clock()

    assert (finding.mark, says in finding.says) == (mark, True)


@pytest.mark.parametrize(
    ("runtime", "mark"),
    [("python3.13", Mark.GOOD), ("python3.9", Mark.OPEN), ("python3.11", Mark.GOOD)],
)
def test_a_runtime_is_supported(stack: StackInMemory, runtime: str, mark: Mark) -> None:
    stack.functions.runtime = runtime

    assert diagnosis(stack).runtime().mark is mark


def test_a_runtime_whose_support_ends_soon_is_a_fault(stack: StackInMemory) -> None:
    stack.functions.runtime = "python3.11"
    later = Diagnosis(stack.target, None, now=lambda: NOW + 100 * 86400)

    assert "ends on 2027-06-30" in later.runtime().says
    assert later.runtime().mark is Mark.BAD


def test_every_runtime_that_the_template_takes_has_an_end() -> None:
    parameters = cloudformation.read(ROOT / "template.yaml")["Parameters"]

    assert set(parameters["Runtime"]["AllowedValues"]) == set(RUNTIMES_END)


# --- The template -------------------------------------------------------------------------------


def test_a_template_that_sam_packaged_is_the_same(stack: StackInMemory, tmp_path: Path) -> None:
    here = tmp_path / "template.yaml"
    here.write_text(
        "Resources:\n"
        "  Function: {CodeUri: src/, Role: !GetAtt Role.Arn, Timeout: 5, Name: !Sub 'a-${B}'}\n"
        "  Url: !If [Has, !Ref Queue, {A: !Ref AWS::NoValue}]\n",
        "utf-8",
    )
    stack.formation.template = (
        "Resources:\n"
        "  Function:\n"
        "    CodeUri: s3://bucket/1\n"
        "    Metadata: {SamResourceId: Function}\n"
        "    Role: {Fn::GetAtt: [Role, Arn]}\n"
        "    Timeout: '5'\n"
        "    Name: {Fn::Sub: 'a-${B}'}\n"
        "  Url: {Fn::If: [Has, {Ref: Queue}, {A: {Ref: AWS::NoValue}}]}\n"
    )

    assert differences(stack.target, here) == []
    assert diagnosis(stack, here).checkout().mark is Mark.GOOD


def test_what_the_checkout_has_and_the_stack_has_not_is_named(stack: StackInMemory) -> None:
    template = ROOT / "template.yaml"
    stack.formation.template = template.read_text("utf-8").replace("MaxValue: 96", "MaxValue: 95")

    finding = diagnosis(stack, template).checkout()

    assert differences(stack.target, template) == ["Parameters.DeliveryHorizonHours"]
    assert (finding.mark, "sam deploy" in finding.says) == (Mark.OPEN, True)


def test_without_a_checkout_no_template_is_compared(stack: StackInMemory) -> None:
    assert diagnosis(stack).checkout().mark is Mark.OPEN


def test_the_emulators_template_is_not_compared(stack: StackInMemory) -> None:
    stack.target = dataclasses.replace(stack.target, is_local=True)

    assert "not compared" in diagnosis(stack, ROOT / "template.yaml").checkout().says


@pytest.mark.parametrize("text", ["a: [", "- 1"])
def test_what_is_no_template_is_said(stack: StackInMemory, text: str) -> None:
    stack.formation.template = text

    with pytest.raises(OpsError, match="the template"):
        differences(stack.target, ROOT / "template.yaml")


@pytest.mark.usefixtures("cometly")
def test_each_part_is_a_step(stack: StackInMemory) -> None:
    lines: list[str] = []

    diagnosis(stack).take(Report(lines.append))

    assert [line[0] for line in lines] == ["✓", "-", "-", "✓", "✓", "-"]


# --- The command --------------------------------------------------------------------------------


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the steps find."""
    findings: list[Finding] = []

    def examine(_: Target, report: Report) -> None:
        for finding in findings:
            report.step("a part", lambda finding=finding: finding)  # type: ignore[misc]

    monkeypatch.setattr(doctor, "examine", examine)
    return findings


@pytest.mark.usefixtures("stack")
def test_a_stack_without_a_fault_ends_well(run: Run, found: list[Finding]) -> None:
    found += [good("fine"), undecided("unknown")]

    as_text, as_json = run("doctor"), run("doctor", "--json")

    assert (as_text.status, as_json.status) == (0, 0)
    assert "Nothing was booked" in as_text.out
    assert as_json.document == {
        "stack": "shop",
        "ok": True,
        "findings": [
            {"check": "a part", "result": "ok", "says": "fine", "see": None},
            {"check": "a part", "result": "open", "says": "unknown", "see": None},
        ],
    }


@pytest.mark.usefixtures("stack")
def test_a_fault_has_a_status_of_its_own_and_a_section(run: Run, found: list[Finding]) -> None:
    found.append(bad("none is stored", Section.TOKEN))

    ran = run("doctor", "--json")

    assert ran.status == 3
    assert ran.document["findings"][0]["see"] == "docs/operations.md#the-token"
    assert run("doctor", "--send").out.endswith("it would wait for what failed.\n")


@pytest.mark.usefixtures("stack")
def test_a_test_event_is_sent_on_request_alone(
    run: Run, found: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sent:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def take(self, report: Report) -> None:
            report.step("an event goes through", lambda: good("it did"))

        def remains(self) -> str:
            return "What stays: one event"

    monkeypatch.setattr(doctor, "Sending", Sent)
    found.append(good("fine"))

    assert "an event goes through" not in run("doctor").out
    assert "an event goes through" in run("doctor", "--send").out


def test_all_parts_are_examined(stack: StackInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for kind in (Checks, Diagnosis):
        monkeypatch.setattr(kind, "take", lambda it, _: taken.append(type(it).__name__))

    doctor.examine(stack.target, Report(print))

    assert taken == ["Checks", "Diagnosis"]
