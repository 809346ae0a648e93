"""What the judges of the templates see, and what a skip does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local import judges
from local.judges import Finding, Skip

STRANGER = {"AWS": "arn:aws:iam::999999999999:root"}
SAM = {"Transform": "AWS::Serverless-2016-10-31", "Globals": {"Function": {}}}


def statement(**more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*", **more}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def role(*statements: dict[str, Any], principal: Any = None) -> dict[str, Any]:
    trusted = principal or {"Service": "lambda.amazonaws.com"}
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    allowed = {"PolicyName": "all", "PolicyDocument": policy(*statements)}
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": policy(trust),
            **({"Policies": [allowed]} if statements else {}),
        },
    }


def queue_policy(**more: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {
            "Queues": ["https://example.com"],
            "PolicyDocument": policy(statement(**more)),
        },
    }


def function(*statements: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": "AWS::Serverless::Function",
        "Properties": {
            "Handler": "it.handler",
            "Runtime": "python3.13",
            "Policies": [policy(*statements)],
        },
    }


def rules_against(resource: dict[str, Any], folder: Path, **more: Any) -> set[str]:
    path = folder / "template.yaml"
    path.write_text(json.dumps({"Resources": {"It": resource}, **more}), "utf-8")
    return {finding.rule for finding in judges.findings_in(path)}


@pytest.mark.parametrize(
    ("resource", "rule"),
    [
        pytest.param(
            role(statement(Action="sqs:*", Resource="arn:aws:sqs:*:*:q")),
            "IAMRoleWildcardActionOnPolicyRule",
            id="a role that may do everything with a queue",
        ),
        pytest.param(
            role(statement(Action="iam:PutRolePolicy")),
            "PrivilegeEscalationRule",
            id="a role that may make itself an administrator",
        ),
        pytest.param(
            role(principal=STRANGER),
            "CrossAccountTrustRule",
            id="a role for another account",
        ),
        pytest.param(
            queue_policy(Principal="*"),
            "SQSQueuePolicyPublicRule",
            id="a queue for everybody",
        ),
        pytest.param(
            role(statement(Action="sqs:SendMesage", Resource="arn:aws:sqs:*:*:q")),
            "W3037",
            id="a permission that there is not",
        ),
        pytest.param(
            {"Type": "AWS::Logs::LogGroup"},
            "I3011",
            id="a hint",
        ),
    ],
)
def test_what_is_too_wide_or_wrong_is_found(
    resource: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    assert rule in rules_against(resource, tmp_path)


def test_what_sam_makes_of_a_function_is_judged(tmp_path: Path) -> None:
    too_wide = function(statement(Action="*"))

    assert "IAMRolesOverprivilegedRule" in rules_against(too_wide, tmp_path, **SAM)


def test_a_permission_that_there_is_not_is_found_where_sam_has_a_part(tmp_path: Path) -> None:
    misspelt = function(statement(Action="sqs:SendMesage", Resource="arn:aws:sqs:*:*:q"))

    assert "W3037" in rules_against(misspelt, tmp_path, **SAM)


def test_a_skip_is_for_one_rule_and_one_resource() -> None:
    skips = [Skip("W1", ("A", "B"), "so it is")]
    found = [Finding("W1", it, "says") for it in "ABC"] + [Finding("W2", "A", "says")]

    assert judges.held(found, skips) == ["W1 C: says", "W2 A: says"]


def test_a_skip_that_skips_nothing_is_held() -> None:
    skips = [Skip("W1", ("A", "B"), "so it was")]

    lines = judges.held([Finding("W1", "A", "says")], skips)

    assert lines == ["W1 B: skipped in local/judges.py, and not found"]
