"""Whether a stack was deployed from the template of this checkout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ops.errors import OpsError
from ops.target import Target

_SECTIONS = ("Parameters", "Mappings", "Conditions", "Globals", "Resources", "Outputs")
# `sam deploy` writes other words there: where the code lies, and what it was built from.
_OF_SAM = frozenset({"CodeUri", "Metadata"})


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms, `!Ref` and the like, as their long ones."""


def _long_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in {"Ref", "Condition"} else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _long_form)


def differences(target: Target, template: Path) -> list[str]:
    """Name what differs between the deployed template and a file, as `Resources.Topic`."""
    body: Any = target.clients.cloudformation.get_template(
        StackName=target.name, TemplateStage="Original"
    )["TemplateBody"]
    deployed = read(body) if isinstance(body, str) else _plain(body)
    here = read(template.read_text("utf-8"))
    return [
        f"{section}.{name}"
        for section in _SECTIONS
        for name in sorted({*deployed.get(section, {}), *here.get(section, {})})
        if deployed.get(section, {}).get(name) != here.get(section, {}).get(name)
    ]


def read(text: str) -> dict[str, Any]:
    """Read a template, without what `sam deploy` rewrites."""
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, with short forms
    except yaml.YAMLError as exc:
        raise OpsError(f"the template cannot be read: {exc}") from exc
    if not isinstance(content, dict):
        raise OpsError("the template is no object")
    return dict(_plain(content))


def _plain(content: Any) -> Any:
    """Write values as text, so that 5 is "5", and leave out what is SAM's."""
    if isinstance(content, Mapping):
        return {str(key): _plain(it) for key, it in content.items() if key not in _OF_SAM}
    if isinstance(content, list):
        return [_plain(it) for it in content]
    return content if isinstance(content, str) else json.dumps(content, default=str)
