"""What the emulator takes otherwise than AWS does, put right in the template that it is given.

The template for AWS stays as it is; this changes the copy that `sam build` made for the emulator.
"""

from collections.abc import Mapping
from string import punctuation
from typing import Any

Node = Any
"""A template or a part of one: what JSON can hold."""


def adapted(template: Mapping[str, Node], parameters: Mapping[str, str]) -> dict[str, Node]:
    """Return the template as the emulator needs it, when deployed with these parameters."""
    resources = {
        name: _adapted_resource(resource, _values(template, parameters))
        for name, resource in template["Resources"].items()
    }
    secrets = {
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::SecretsManager::Secret"
    }
    changed: dict[str, Node] = _with_batch_actions(
        _arns_for_names({**template, "Resources": resources}, secrets)
    )
    return changed


def _values(template: Mapping[str, Node], parameters: Mapping[str, str]) -> dict[str, Node]:
    """Return what each parameter will be: as given, or its default."""
    declared = template.get("Parameters", {})
    return {name: parameters.get(name, it.get("Default")) for name, it in declared.items()}


def _with_batch_actions(node: Node) -> Node:
    """The emulator asks for `sqs:SendMessageBatch`, which AWS counts as `sqs:SendMessage`.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
    """
    if isinstance(node, list):
        return [_with_batch_actions(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _and_batch(part) if name == "Action" else _with_batch_actions(part)
        for name, part in node.items()
    }


def _and_batch(actions: str | list[str]) -> str | list[str]:
    given = [actions] if isinstance(actions, str) else actions
    more = [f"{action}Batch" for action in given if action in _BATCHED]
    return [*given, *more] if more else actions


_BATCHED = {"sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}


def _adapted_resource(resource: dict[str, Node], values: Mapping[str, Node]) -> dict[str, Node]:
    if resource["Type"] == "AWS::ApiGatewayV2::Api":
        return _with_property(resource, "CorsConfiguration", _in_the_apis_spelling)
    if resource["Type"] == "AWS::SecretsManager::Secret":
        return _with_property(resource, "GenerateSecretString", _without_punctuation)
    if resource["Type"] in {"AWS::Serverless::Function", "AWS::Lambda::EventSourceMapping"}:
        concurrency: dict[str, Node] = _with_numeric_concurrency(resource, values)
        return concurrency
    return resource


def _with_property(resource: dict[str, Node], name: str, change: Any) -> dict[str, Node]:
    properties = resource.get("Properties", {})
    if name not in properties:
        return resource
    return {**resource, "Properties": {**properties, name: change(properties[name])}}


def _in_the_apis_spelling(cors: Mapping[str, Node]) -> dict[str, Node]:
    """The emulator stores CloudFormation's `AllowOrigins` and looks for the API's `allowOrigins`.

    https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis-apiid.html
    """
    return {name[:1].lower() + name[1:]: value for name, value in cors.items()}


def _without_punctuation(generate: Mapping[str, Node]) -> Mapping[str, Node]:
    """The emulator knows `ExcludeCharacters` and not `ExcludePunctuation`."""
    if not generate.get("ExcludePunctuation"):
        return generate
    return {**generate, "ExcludeCharacters": generate.get("ExcludeCharacters", "") + punctuation}


def _with_numeric_concurrency(node: Node, values: Mapping[str, Node]) -> Node:
    """A parameter's value is a string, with which the emulator's poller cannot compare."""
    if isinstance(node, list):
        return [_with_numeric_concurrency(part, values) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        name: int(values[part["Ref"]])
        if name == "MaximumConcurrency" and isinstance(part, dict) and "Ref" in part
        else _with_numeric_concurrency(part, values)
        for name, part in node.items()
    }


def _arns_for_names(node: Node, secrets: set[str]) -> Node:
    """A `Ref` to a secret is its ARN on AWS, and its name in the emulator."""
    if isinstance(node, list):
        return [_arns_for_names(part, secrets) for part in node]
    if isinstance(node, dict):
        if set(node) == {"Ref"} and node["Ref"] in secrets:
            return {"Fn::GetAtt": [node["Ref"], "Id"]}
        return {name: _arns_for_names(part, secrets) for name, part in node.items()}
    if isinstance(node, str):
        for secret in secrets:
            node = node.replace(f"${{{secret}}}", f"${{{secret}.Id}}")
    return node
