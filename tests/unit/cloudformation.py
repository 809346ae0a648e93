"""Reads CloudFormation templates, with YAML's short forms, such as !Ref, as the long ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Node = Any


class _Loader(yaml.SafeLoader):
    pass


def _long_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Node]:
    if isinstance(node, yaml.ScalarNode):
        value: Node = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {name if name in {"Ref", "Condition"} else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _long_form)


def read(path: Path) -> dict[str, Node]:
    template: dict[str, Node] = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - safe
    return template
