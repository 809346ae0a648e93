"""How a stack reads events, by its parameters."""

from __future__ import annotations

from cometly_forwarder.event.reading import EventRules
from cometly_forwarder.event.settings import EventSettings
from ops.target import Target


def rules_of(target: Target) -> EventRules:
    """Return the rules that both functions of this stack have."""
    settings = EventSettings.model_validate(
        {
            "default_phone_region": target.parameters.get("DefaultPhoneRegion") or None,
            "passed_on_fields": target.parameters.get("PassedOnFields", ""),
        }
    )
    return settings.event_rules
