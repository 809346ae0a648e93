"""Where the emulator reads a template differently from AWS.

Only the copy that `sam build` made for the emulator is changed, never the template for AWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import punctuation
from typing import Any

Node = Any
"""A template or a part of one: what JSON can hold."""


def adapted(template: Mapping[str, Node], parameters: Mapping[str, str]) -> dict[str, Node]:
    """Return the template as the emulator needs it, when deployed with these parameters."""
    declared, resources = template["Parameters"], template["Resources"].items()
    gaps = _Gaps(
        values={name: parameters.get(name, it.get("Default")) for name, it in declared.items()},
        secrets={name for name, it in resources if it["Type"] == "AWS::SecretsManager::Secret"},
    )
    return {name: gaps.closed(part) for name, part in template.items()}


@dataclass(frozen=True, slots=True)
class _Gaps:
    values: Mapping[str, Node]
    """What each parameter will be: as given, or its default."""
    secrets: set[str]

    def closed(self, node: Node) -> Node:
        if isinstance(node, list):
            return [self.closed(part) for part in node if not _asks_for_tls(part)]
        if not isinstance(node, dict):
            return node
        if node.get("Ref") in self.secrets:
            # A `Ref` to a secret is its ARN on AWS, and its name in the emulator.
            return {"Fn::GetAtt": [node["Ref"], "Id"]}
        return {name: self._closed_property(name, part) for name, part in node.items()}

    def _closed_property(self, name: str, part: Node) -> Node:
        if name == "Action":
            return _with_batch_actions(part)
        if name == "GenerateSecretString":
            # The emulator knows `ExcludeCharacters` and not `ExcludePunctuation`.
            return part | {"ExcludeCharacters": punctuation}
        if name == "MaximumConcurrency" and isinstance(part, dict):
            # A parameter's value is a string, with which the emulator's poller cannot compare.
            return int(self.values[part["Ref"]])
        return self.closed(part)


def _asks_for_tls(node: Node) -> bool:
    """Tell a statement of a policy that denies what comes without TLS: the emulator has none."""
    condition = node.get("Condition") if isinstance(node, dict) else None
    return condition == {"Bool": {"aws:SecureTransport": "false"}}


def _with_batch_actions(actions: str | list[str]) -> str | list[str]:
    """The emulator asks for `sqs:SendMessageBatch`, which AWS counts as `sqs:SendMessage`.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
    """
    given = [actions] if isinstance(actions, str) else actions
    more = [f"{action}Batch" for action in given if action in _BATCHED]
    return given + more if more else actions


_BATCHED = {"sqs:SendMessage", "sqs:ChangeMessageVisibility"}
