"""What the stack needs to know of `template.yaml`: its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from local.stack.errors import StepFailed, UsageError


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's `!Ref`, `!Sub` and other tags as None."""


_Loader.add_multi_constructor("!", lambda _loader, _tag, _node: None)


def parameters_of(template: Path) -> frozenset[str]:
    """Return the names of the template's parameters."""
    try:
        content: Any = yaml.load(template.read_text("utf-8"), Loader=_Loader)  # noqa: S506
    except FileNotFoundError as exc:
        raise StepFailed(f"There is no {template.name} in {template.parent}.") from exc
    except yaml.YAMLError as exc:
        raise StepFailed(f"{template.name} is not valid YAML: {exc}") from exc
    return frozenset(content.get("Parameters") or ()) if isinstance(content, dict) else frozenset()


def parse_overrides(pairs: Iterable[str], known: frozenset[str]) -> dict[str, str]:
    """Read `Name=Value` pairs; the last one of a name wins.

    Raises UsageError for a pair without `=`, and for a name that the template does not have.
    """
    return dict(_parse_pair(pair, known) for pair in pairs)


def _parse_pair(pair: str, known: frozenset[str]) -> tuple[str, str]:
    name, separator, value = pair.partition("=")
    if not separator:
        raise UsageError(f"--param {pair}: write Name=Value.")
    if name not in known:
        raise UsageError(
            f"--param {pair}: the template has no parameter {name!r}{_did_you_mean(name, known)} "
            f"It has: {', '.join(sorted(known)) or 'none'}."
        )
    return name, value


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)." if near else "."


def only_declared(values: Mapping[str, str | None], known: frozenset[str]) -> dict[str, str]:
    """Drop what has no value, and what the template does not declare."""
    return {name: value for name, value in values.items() if value is not None and name in known}
