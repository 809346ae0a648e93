"""Event: what Cometly takes, by its reference for `POST /public-api/v1/events/track`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

STANDARD_NAMES = (
    "lead_generated",
    "view_content",
    "schedule",
    "purchase",
    "subscribe",
    "add_to_cart",
    "contact",
    "initiate_checkout",
    "add_payment_info",
    "complete_registration",
    "start_trial",
    "sign_up",
    "submit_application",
    "webinar_registration",
)
CUSTOM_NAMES = tuple(f"custom_event_{number}" for number in range(1, 51))
EVENT_NAMES = frozenset(STANDARD_NAMES + CUSTOM_NAMES)

# What is read without being left out; docs/openapi.json shows it. The same as types
# (`json_schema_input_type`) would add 2 ms to each cold start.
_TEXT_OR_NUMBER = WithJsonSchema({"type": ["string", "number", "null"]})
_BOOLEAN_OR_WORD = WithJsonSchema(
    {"type": ["boolean", "string", "number", "null"], "examples": [True, "false", 1, "yes"]}
)

Text = Annotated[str | None, _TEXT_OR_NUMBER]
Number = Annotated[int | float | None, _TEXT_OR_NUMBER]
Boolean = Annotated[bool | None, _BOOLEAN_OR_WORD]


class Event(BaseModel):
    """One conversion event in Cometly's terms, and what is passed on beside them.

    A field that is None is absent. What is sent to us comes in other forms as well: `reading` makes
    this of it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    event_name: str = Field(
        description=(
            "One of the 14 standard names, or custom_event_1 to custom_event_50, in any case; or "
            "the name that Meta, GA4, Segment, TikTok, Pinterest, Snap or Shopify has for it."
        ),
        examples=["purchase", "custom_event_1", "AddToCart"],
    )
    email: str | None = Field(
        None, description="Identifies the customer alone. Sent trimmed and in lower case."
    )
    comet_token: Text = Field(
        None, description="Identifies the customer alone; cometToken() of the page's pixel."
    )
    fingerprint: Text = Field(
        None, description="Identifies together with ip; cometFingerprint() of the page's pixel."
    )
    ip: str | None = Field(None, description="Identifies together with fingerprint.")
    tracking_id: Text = Field(None, description="Events with the same value belong to one contact.")
    full_name: Text = None
    first_name: Text = None
    last_name: Text = None
    phone: Text = Field(
        None,
        description=(
            "Sent as digits with country code, such as 16505551212. Left out where its country is "
            "not known and it could be a stranger's."
        ),
        examples=["+1 (650) 555-1212", "16505551212"],
    )
    user_agent: Text = None
    event_time: Text = Field(
        None,
        description="ISO 8601 (UTC without an offset) or Unix seconds; absent: time of acceptance.",
        examples=["2024-01-15T10:30:00Z", "2024-01-15T11:30:00+01:00", 1705314600, "1705314600"],
    )
    url: Text = None
    amount: Number = Field(
        None,
        description="A finite number, or text that spells one.",
        examples=[99.99, "99.99", "1.234,56 €"],
    )
    order_id: Text = None
    order_name: Text = None
    checkout_token: Text = None
    is_upsell: Boolean = None
    upsell_common_id: Text = None
    comet_source: Text = None
    comet_network: Text = None
    comet_campaign: Text = None
    comet_ad_group: Text = None
    comet_ad_id: Text = None
    comet_keyword: Text = None
    comet_type: Text = None
    idempotency_key: Text = Field(
        None, description="The same key is the same event. Without one the order decides."
    )
    do_not_capi: Boolean = Field(
        None, description="Keeps the event from the ad platforms' Conversions APIs."
    )

    @property
    def customer(self) -> str | None:
        """What identifies the customer: the first given of e-mail, token and fingerprint.

        A text without an @ is not the customer where a token or a fingerprint is.
        """
        other = self.comet_token or self.fingerprint
        is_address = self.email is not None and "@" in self.email
        return self.email if is_address or not other else other

    def fields(self) -> dict[str, Any]:
        """The fields that are given, ready for JSON."""
        given = self.__dict__ | (self.__pydantic_extra__ or {})
        return {name: value for name, value in given.items() if value is not None}


FIELDS = tuple(Event.model_fields)


def iso_time(moment: datetime) -> str:
    """Write a moment in the one form that is sent: ISO 8601, UTC, whole seconds, with a Z."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat()[:19] + "Z"
