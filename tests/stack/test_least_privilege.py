"""Each function may do what it does and nothing else; without that it fails in the open."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from tests.stack.deployed import DROP_IN, EVENTS, Deployed, eventually, listed

EVENT = {"event_name": "lead_generated", "email": "ada@example.com"}

SOURCES = ("the event queue", "the page queue")
TAKING = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes")
ALLOWED = {
    "ingest": {
        ("sqs:SendMessage", "the event queue"),
        ("sqs:SendMessage", "the page queue"),
        ("secretsmanager:GetSecretValue", "the callers' keys"),
        ("dynamodb:GetItem", "the table"),
        ("logs:CreateLogStream", "the log of ingest"),
        ("logs:PutLogEvents", "the log of ingest"),
    },
    "deliver": {
        *((f"sqs:{action}", queue) for queue in SOURCES for action in TAKING),
        ("sqs:SendMessage", "the dead-letter queue"),
        ("dynamodb:GetItem", "the table"),
        ("dynamodb:UpdateItem", "the table"),
        ("secretsmanager:GetSecretValue", "Cometly's token"),
        ("logs:CreateLogStream", "the log of deliver"),
        ("logs:PutLogEvents", "the log of deliver"),
    },
    "reconcile": {
        ("dynamodb:Scan", "the table"),
        ("secretsmanager:GetSecretValue", "Cometly's token"),
        ("logs:CreateLogStream", "the log of reconcile"),
        ("logs:PutLogEvents", "the log of reconcile"),
    },
}


@pytest.mark.parametrize("function", ALLOWED)
def test_a_functions_role_allows_exactly_what_it_needs(deployed: Deployed, function: str) -> None:
    names = resources_of(deployed)

    statements = [
        statement
        for policy in deployed.functions.policies(function).values()
        for statement in policy["Statement"]
    ]

    assert {statement["Effect"] for statement in statements} == {"Allow"}
    assert {
        # The emulator asks for batch actions of their own (local/stack/gaps.py).
        (action.removesuffix("Batch"), names.get(resource, resource))
        for statement in statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    } == ALLOWED[function]


def resources_of(deployed: Deployed) -> Mapping[str, str]:
    """Name the resources of the stack by their ARNs."""
    functions, queues = deployed.functions, deployed.queues
    logs = {
        group["arn"].removesuffix(":*") + ":*": f"the log of {function}"
        for function in ALLOWED
        for group in functions.logs.describe_log_groups(
            logGroupNamePrefix=functions.log_group(function)
        )["logGroups"]
    }
    assert queues.pages_url
    table = deployed.table.dynamodb.describe_table(TableName=deployed.table.name)["Table"]
    return logs | {
        queues.arn(queues.events_url): "the event queue",
        queues.arn(queues.pages_url): "the page queue",
        queues.arn(queues.dead_letters_url): "the dead-letter queue",
        table["TableArn"]: "the table",
        functions.variable("ingest", "SERVER_KEYS_SECRET_ARN"): "the callers' keys",
        functions.variable("deliver", "COMETLY_TOKEN_SECRET_ARN"): "Cometly's token",
    }


@pytest.mark.parametrize("action", ["sqs:SendMessage", "secretsmanager:GetSecretValue"])
def test_without_a_permission_ingest_answers_503_and_takes_nothing(
    deployed: Deployed, action: str
) -> None:
    with deployed.functions.without("ingest", action):
        # A worker that has read the keys would go on with them.
        deployed.functions.restart("ingest")
        for content, path in [(EVENT, EVENTS), ([EVENT, EVENT], EVENTS), (EVENT, DROP_IN)]:
            answer = deployed.api.post(content, path=path)
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "message" in answer.body
    assert deployed.queues.waiting() == 0
    # A failure to read the keys is remembered for a second.
    eventually(lambda: deployed.api.post(EVENT).status, lambda status: status == 202)
    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.requests()) == 1


def reasons_to_wait(deployed: Deployed, known: int) -> list[str]:
    """Return why deliver waited for AWS, after so many reasons that are known."""
    return [line["reason"] for line in deployed.logged("delivery.unavailable")[known:]]


def tells_of(away: str, reasons: list[str]) -> bool:
    return any(reason.startswith(away) for reason in reasons)


def test_without_a_permission_deliver_keeps_events_until_it_has_it_again(
    deployed: Deployed,
) -> None:
    """Each permission is missed by an event of its own; their waits afterwards pass together."""
    missing = {
        "dynamodb:UpdateItem": ("the gate", "ada@example.com"),
        "secretsmanager:GetSecretValue": ("Secrets Manager", "grace@example.com"),
    }
    for action, (away, email) in missing.items():
        before = len(deployed.logged("delivery.unavailable"))
        with deployed.functions.without("deliver", action):
            # A worker that has read the token would go on with it.
            deployed.functions.restart("deliver")
            assert deployed.api.post({**EVENT, "email": email}).status == 202
            eventually(partial(reasons_to_wait, deployed, before), partial(tells_of, away))
            assert (email, 202) not in posted(deployed)

    deployed.queues.until_all_is_settled()
    assert sorted(posted(deployed)) == [("ada@example.com", 202), ("grace@example.com", 202)]


def posted(deployed: Deployed) -> list[tuple[str, int]]:
    return [(request["email"], request["status"]) for request in deployed.sandbox.requests()]
