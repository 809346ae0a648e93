"""What the judges of the templates see, and what a skip does."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
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


# What is wrong, and the rule that finds it.
WRONG = {
    "a role that may do everything with a queue": (
        role(statement(Action="sqs:*", Resource="arn:aws:sqs:*:*:q")),
        "IAMRoleWildcardActionOnPolicyRule",
    ),
    "a role that may make itself an administrator": (
        role(statement(Action="iam:PutRolePolicy")),
        "PrivilegeEscalationRule",
    ),
    "a role for another account": (role(principal=STRANGER), "CrossAccountTrustRule"),
    "a queue for everybody": (queue_policy(Principal="*"), "SQSQueuePolicyPublicRule"),
    "a permission that there is not": (
        role(statement(Action="sqs:SendMesage", Resource="arn:aws:sqs:*:*:q")),
        "W3037",
    ),
    "a hint": ({"Type": "AWS::Logs::LogGroup"}, "I3011"),
}


def rules_by_resource(
    resources: Mapping[str, Any], folder: Path, **more: Any
) -> Mapping[str, set[str]]:
    path = folder / "template.yaml"
    path.write_text(json.dumps({"Resources": resources, **more}), "utf-8")
    rules: dict[str, set[str]] = defaultdict(set)
    for finding in judges.findings_in(path):
        rules[finding.resource].add(finding.rule)
    return rules


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    """What is held against a template with all of it: the judges take a second for each."""
    resources = {f"It{place}": wrong for place, (wrong, _) in enumerate(WRONG.values())}
    return rules_by_resource(resources, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize(
    ("place", "rule"), [*enumerate(rule for _, rule in WRONG.values())], ids=WRONG
)
def test_what_is_too_wide_or_wrong_is_found(
    found: Mapping[str, set[str]], place: int, rule: str
) -> None:
    assert rule in found[f"It{place}"]


@pytest.fixture(scope="module")
def found_by_sam(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    resources = {
        "Wide": function(statement(Action="*")),
        "Misspelt": function(statement(Action="sqs:SendMesage", Resource="arn:aws:sqs:*:*:q")),
    }
    return rules_by_resource(resources, tmp_path_factory.mktemp("sam"), **SAM)


def test_what_sam_makes_of_a_function_is_judged(found_by_sam: Mapping[str, set[str]]) -> None:
    assert "IAMRolesOverprivilegedRule" in found_by_sam["WideRole"]


def test_a_permission_that_there_is_not_is_found_where_sam_has_a_part(
    found_by_sam: Mapping[str, set[str]],
) -> None:
    assert "W3037" in found_by_sam["MisspeltRole"]


def test_a_skip_is_for_one_rule_and_one_resource() -> None:
    skips = [Skip("W1", ("A", "B"), "so it is")]
    found = [Finding("W1", it, "says") for it in "ABC"] + [Finding("W2", "A", "says")]

    assert judges.held(found, skips) == ["W1 C: says", "W2 A: says"]


def test_a_skip_that_skips_nothing_is_held() -> None:
    skips = [Skip("W1", ("A", "B"), "so it was")]

    lines = judges.held([Finding("W1", "A", "says")], skips)

    assert lines == ["W1 B: skipped in local/judges.py, and not found"]
