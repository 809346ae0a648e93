"""What both functions read from their environment: how events are to be read."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from cometly_forwarder.errors import SettingsError
from cometly_forwarder.event.model import FIELDS
from cometly_forwarder.event.reading import EventRules

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?", re.ASCII)


def _field_names(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in sorted(names):
        if not _NAME.fullmatch(name) or name in FIELDS:
            raise SettingsError(
                "PASSED_ON_FIELDS must name fields that Cometly's reference does not list,"
                f" such as currency,profile_field_*: not {name!r}"
            )
    return names


class EventSettings(BaseModel, frozen=True):
    """The part of the environment that says how events are read."""

    default_phone_region: str | None = None
    passed_on_fields: Annotated[frozenset[str], BeforeValidator(_field_names)] = frozenset()

    @property
    def event_rules(self) -> EventRules:
        return EventRules(self.default_phone_region, self.passed_on_fields)
