"""docs/questions.md: each situation made again, each command run again, its key lines found."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cometly_forwarder.event.envelope import Source, seal
from cometly_forwarder.event.reading import DEFAULT_RULES, read_event
from tests.stack.deployed import Deployed, Fields, eventually
from tests.stack.test_command_line import ROOT, CommandLine

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

PAGE = (ROOT / "docs" / "questions.md").read_text("utf-8")
CUT = "…"
# What is another in each run: ids of events and requests, times, numbers, blanks between columns.
_VARIES = (
    (re.compile(r"\b(evt|req)_[0-9a-f]{32}"), r"\1_"),
    (re.compile(r"\d+(\.\d+)?"), "N"),
    (re.compile(r" +"), " "),
)
PARKED = 30
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """A command of the page, and what it printed there."""

    command: str
    lines: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        program, *arguments = shlex.split(self.command)
        assert program == "cometly-forwarder"
        # Nobody can be asked here.
        return [*arguments, *(["--yes"] if arguments[:2] == ["parked", "replay"] else [])]

    @property
    def shown(self) -> list[str]:
        return [line for line in self.lines if line != CUT and "[y/N]" not in line]

    @property
    def is_broken_off(self) -> bool:
        return any("^C" in line for line in self.lines)


def steps(heading: str) -> list[Step]:
    """Read the commands of a section, in order."""
    [section] = re.findall(
        rf"^{re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    blocks = "".join(re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    return [
        Step(first, tuple(lines))
        for part in re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]
        for first, *lines in [part.splitlines()]
    ]


def alike(line: str) -> str:
    for what, sign in _VARIES:
        line = what.sub(sign, line)
    return line.strip()


def missing(expected: list[str], printed: str) -> list[str]:
    """Return from the first line on that is not among what was printed, in this order."""
    left = iter([alike(it) for it in printed.splitlines()])
    for place, line in enumerate(expected):
        beginning = alike(line.removesuffix(CUT))
        is_cut = line.endswith(CUT)
        if not any(it.startswith(beginning) if is_cut else it == beginning for it in left):
            return expected[place:]
    return []


def holds(run: CommandLine, step: Step, given: str = "") -> None:
    ran = run(*step.arguments, given=given)

    printed = ran.out + ran.err
    assert missing(step.shown, printed) == [], f"$ {step.command}\n{printed}"


@pytest.fixture
def command(deployed: Deployed) -> CommandLine:
    return CommandLine(deployed)


@pytest.fixture
def situation(deployed: Deployed) -> Iterator[Deployed]:
    """A stack that may be left with what waits and what is parked."""
    yield deployed
    deployed.sandbox.recover()
    deployed.queues.purge()
    deployed.table.forget_the_gate()


@pytest.fixture
def token(deployed: Deployed) -> Iterator[str]:
    """The Space's token, which is stored again at the end."""
    arn = deployed.functions.variable("deliver", "COMETLY_TOKEN_SECRET_ARN")
    stored = deployed.secrets.get_secret_value(SecretId=arn)["SecretString"]
    yield stored
    deployed.secrets.put_secret_value(SecretId=arn, SecretString=stored)
    deployed.functions.restart("deliver")


def post(deployed: Deployed, order_id: str, person: str) -> str:
    """Post a purchase of which no earlier test left anything in the ledger."""
    event = an_order(order_id, f"{person}@example.com")
    event_id = sealed(event, datetime.now(UTC))[0]
    deployed.table.dynamodb.delete_item(
        TableName=deployed.table.name, Key={"event_id": {"S": event_id}}
    )
    answer = deployed.api.post(event)
    assert (answer.status, answer.body["event_id"]) == (202, event_id)
    return event_id


def an_order(order_id: str, email: str) -> Fields:
    return {"event_name": "purchase", "order_id": order_id, "email": email, "amount": 49.9}


def sealed(event: Fields, at: datetime) -> tuple[str, str]:
    """Return an event's id, and the body by which it travels."""
    envelope = seal(read_event(event, DEFAULT_RULES, at)[0], Source("http", "any", at))
    return envelope.event_id, envelope.body()


def test_the_page_has_a_transcript_for_each_question() -> None:
    headings = re.findall(r"^##+ .+$", PAGE, re.MULTILINE)

    assert [len(steps(it)) for it in headings] == [5, 0, 5, 2, 1, 10]


def test_where_is_order_1042(situation: Deployed, command: CommandLine) -> None:
    refused, failing = {"email": "edsger@example.com"}, {"email": "barbara@example.com"}
    situation.sandbox.fail(kind="status", status=422, times="always", match=refused)
    situation.sandbox.fail(kind="status", status=503, times="always", match=failing)
    post(situation, "1042", "ada")
    post(situation, "1044", "edsger")
    waiting = post(situation, "1046", "barbara")
    eventually(lambda: situation.table.entry(waiting).get("attempts", "0"), lambda it: it >= "2")
    eventually(situation.queues.parked, lambda count: count == 1)
    eventually(situation.sandbox.events, len)

    for step in steps("## Where is order 1042?"):
        holds(command, step)


def test_purchases_are_missing_because_they_wait(
    situation: Deployed, command: CommandLine, token: str
) -> None:
    assert command("token", "set", given="a-token-that-was-revoked\n").status == 0
    situation.functions.restart("deliver")
    for number in range(12):
        post(situation, str(2000 + number), f"customer-{number}")
    eventually(situation.table.pause, bool)

    for step in steps("### They wait"):
        holds(command, step, given=f"{token}\n")
        if step.arguments == ["token", "set"]:
            # The next probe is up to a minute ahead.
            situation.functions.restart("deliver")
            situation.table.forget_the_gate()
            situation.queues.until_all_is_settled(within=90)

    assert len(situation.sandbox.events()) == 12


def test_purchases_are_missing_because_they_are_parked(
    situation: Deployed,
    command: CommandLine,
) -> None:
    purchases = {"event_name": "purchase"}
    situation.sandbox.fail(kind="status", status=422, times="always", match=purchases)
    for number in range(3):
        post(situation, str(3000 + number), f"customer-{number}")
    eventually(situation.queues.parked, lambda count: count == 3)
    situation.queues.until_all_is_settled()

    for step in steps("### They are parked"):
        holds(command, step)


def test_purchases_are_missing_because_they_do_not_come_in(
    situation: Deployed,
    command: CommandLine,
) -> None:
    event = an_order("5100", "ada@example.com") | {"event_name": "order_paid_v2"}
    assert situation.api.post(event).status == 422

    for step in steps("### They do not come in"):
        holds(command, step)


def test_3000_parked_ones_are_sent_again(
    situation: Deployed,
    command: CommandLine,
) -> None:
    begun = datetime.now(UTC) - 11 * DAY
    park_expired(situation, [begun + 8 * DAY * number / PARKED for number in range(PARKED)])

    for step in steps("## May I send these 3,000 parked ones again?"):
        if not step.is_broken_off:
            holds(command, step)
            situation.queues.until_all_is_settled()

    booked = {it["fields"]["order_id"]: it["fields"] for it in situation.sandbox.events()}
    assert len(situation.sandbox.events()) == len(booked) == PARKED
    old = sorted(name for name, fields in booked.items() if fields.get("do_not_capi"))
    # Of eleven to three days, those of more than seven.
    assert old == [str(4000 + number) for number in range(PARKED // 2 + 1)]


def park_expired(deployed: Deployed, moments: list[datetime]) -> None:
    """Put events on the dead-letter queue as deliver parks what is older than the horizon."""
    queues = deployed.queues
    entries: list[SendMessageBatchRequestEntryTypeDef] = []
    for number, at in enumerate(moments):
        order_id = str(4000 + number)
        event_id, body = sealed(an_order(order_id, f"customer-{order_id}@example.com"), at)
        attributes = {
            "reason": "expired",
            "last_answer": "HTTP 401: the token is missing or wrong",
            "attempts": "0",
            "event_id": event_id,
            "accepted_at": at.isoformat(),
            "parked_at": (at + 3 * DAY).isoformat(),
            "queue": "events",
        }
        entries.append(
            {
                "Id": order_id,
                "MessageBody": body,
                "MessageAttributes": {
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                },
            }
        )
    for ten in range(0, len(entries), 10):
        queues.sqs.send_message_batch(
            QueueUrl=queues.dead_letters_url, Entries=entries[ten : ten + 10]
        )
