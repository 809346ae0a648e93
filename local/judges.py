"""What cfn-lint, with all its rules, and cfripper say of the templates; part of `make lint`.

python -m local.judges

Each finding is mended, or skipped here with its reason. A skip that no finding needs any more is a
finding itself. Which other judges were weighed: docs/decisions/0025.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pycfmodel
from cfnlint import api
from cfnlint.config import ManualArgs
from cfnlint.helpers import REGIONS
from cfripper.config.config import Config
from cfripper.model.utils import convert_json_or_yaml_to_dict
from cfripper.rule_processor import RuleProcessor
from cfripper.rules import DEFAULT_RULES
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local.stack.environment import REGION

_ROOT = Path(__file__).resolve().parents[1]
_ACCOUNT = "123456789012"
# cfripper judges one choice of the conditions at a time, so it sees the template in each of these.
_CHOICES: tuple[Mapping[str, str], ...] = (
    {},
    {
        "AllowedOrigins": "https://shop.example.com",
        "EventSource": "shop",
        "ReconcileSchedule": "cron(30 12 * * ? *)",
    },
    {
        "SnsTopicArn": f"arn:aws:sns:us-east-1:{_ACCOUNT}:orders",
        "EventBusName": "default",
        "PointInTimeRecovery": "true",
    },
)


@dataclass(frozen=True, slots=True)
class Skip:
    """A rule that is not held against some resources."""

    rule: str
    resources: tuple[str, ...]
    reason: str


SKIPPED = (
    Skip(
        "I3011",
        ("ApiLog", "IngestLog", "DeliverLog", "ReconcileLog"),
        "A log goes with its stack: its name is fixed, and one that is kept stops the next stack.",
    ),
    Skip(
        "E3006",
        ("Distribution",),
        "GovCloud has no CloudFront. The recipe is for the other Regions.",
    ),
    Skip(
        "WildcardResourceRule",
        ("SourcesMaySend",),
        "A queue's policy is about that queue alone, and one document serves two queues.",
    ),
    Skip(
        "PartialWildcardPrincipalRule",
        ("TopicPolicy",),
        "The account's own IAM says who of it may publish, as where a topic has no policy.",
    ),
    Skip(
        "GenericResourcePartialWildcardPrincipalRule",
        ("TopicPolicy",),
        "The same, by another rule of cfripper's.",
    ),
)


class Finding(NamedTuple):
    """What a judge says of one resource, or of a template where it names none."""

    rule: str
    resource: str
    says: str

    def __str__(self) -> str:
        return f"{self.rule} {self.resource}: {self.says}"


def findings_in(path: Path) -> set[Finding]:
    """Return what both judges say of the template at `path`, and of what SAM makes of it.

    cfn-lint leaves rules out where SAM has a part, among them that for names of permissions:
    https://github.com/aws/serverless-application-model/issues/3633
    """
    written = path.read_text("utf-8")
    template = convert_json_or_yaml_to_dict(written)
    plain = _translated(template)
    texts = [written] if plain is template else [written, json.dumps(plain)]
    linted = {finding for text in texts for finding in _cfn_lint(text, path.name)}
    return {*linted, *_cfripper(plain)}


def held(findings: Iterable[Finding], skips: Sequence[Skip] = SKIPPED) -> list[str]:
    """Return what is not skipped, and the skips that skip nothing, a line each."""
    open_skips = {(skip.rule, resource) for skip in skips for resource in skip.resources}
    found = sorted(findings)
    used = open_skips & {(it.rule, it.resource) for it in found}
    return [str(it) for it in found if (it.rule, it.resource) not in open_skips] + [
        f"{rule} {resource}: skipped in local/judges.py, and not found"
        for rule, resource in sorted(open_skips - used)
    ]


def _cfn_lint(text: str, name: str) -> Iterator[Finding]:
    rules = ManualArgs(include_checks=["I"], include_experimental=True, regions=list(REGIONS))
    for match in api.lint(text, config=rules):
        place = [str(part) for part in match.path or ()]
        resource = place[1] if place[:1] == ["Resources"] else name
        yield Finding(match.rule.id, resource, match.message)


def _cfripper(template: dict[str, Any]) -> Iterator[Finding]:
    parsed = pycfmodel.parse(template)
    config = Config(aws_account_id=_ACCOUNT)
    judge = RuleProcessor(*(rule(config) for rule in DEFAULT_RULES.values()))
    parameters = template.get("Parameters", {})
    for choice in _CHOICES:
        known = {name: value for name, value in choice.items() if name in parameters}
        result = judge.process_cf_template(parsed.resolve(known), config)
        if result.exceptions:
            raise result.exceptions[0]
        for failure in result.failures:
            for resource in failure.resource_ids or ("",):
                yield Finding(failure.rule, resource, failure.reason)


def _translated(template: dict[str, Any]) -> dict[str, Any]:
    """Return plain CloudFormation, by the translator that AWS runs."""
    if "Transform" not in template:
        return template
    # What a function is made of is not judged, but SAM wants it on S3.
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    session = boto3.session.Session(region_name=REGION)
    plain: dict[str, Any] = Translator({}, Parser(), boto_session=session).translate(template, {})
    return plain


def main() -> int:
    """Print what is held against the templates; return the exit status."""
    # cfripper's parser warns of each Ref and GetAtt whose value only AWS knows.
    logging.disable(logging.WARNING)
    paths = [_ROOT / "template.yaml", *sorted((_ROOT / "docs").glob("*/*.yaml"))]
    lines = held(finding for path in paths for finding in findings_in(path))
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
