"""Reading the environment of a function; what each of them reads is in its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cometly_forwarder.errors import SettingsError


def optional(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def required(environ: Mapping[str, str], name: str) -> str:
    if not (value := optional(environ, name)):
        raise SettingsError(f"the environment variable {name} is not set")
    return value


def whole_number(environ: Mapping[str, str], name: str) -> int:
    text = required(environ, name)
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) == 0:
        raise SettingsError(f"the environment variable {name} must be a whole number from 1 on")
    return int(text)


def count(environ: Mapping[str, str], name: str, *, most: int) -> int:
    text = optional(environ, name) or "0"
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) > most:
        raise SettingsError(
            f"the environment variable {name} must be a whole number from 0 to {most}"
        )
    return int(text)
