"""Writes docs/openapi.json: the HTTP API, out of openapi.yaml and the code that serves it.

    python -m local.openapi            write it
    python -m local.openapi --check    fail if it is not what would be written

The schema of an event is that of what is *accepted*: wider than what is sent on to Cometly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic.json_schema import GenerateJsonSchema

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from cometly_forwarder.errors import Fault  # noqa: E402
from cometly_forwarder.event.model import Event  # noqa: E402
from cometly_forwarder.event.reading import REGION_FIELD, EventRules  # noqa: E402
from cometly_forwarder.ingest import browser  # noqa: E402
from cometly_forwarder.ingest.accept import Intake, Preview, Receipt, Status, preview  # noqa: E402
from cometly_forwarder.ingest.lookup import Sought, response_to  # noqa: E402
from cometly_forwarder.ingest.responses import (  # noqa: E402
    ACCEPTED_MESSAGE,
    RETRY_AFTER_SECONDS,
    UNAVAILABLE_MESSAGE,
    response_as_cometly,
    response_to_many,
    response_to_one,
    response_to_preview,
    response_to_previews,
)
from cometly_forwarder.ingest.routes import MAX_BODY_BYTES, MAX_EVENTS  # noqa: E402
from cometly_forwarder.ledger_item import Entry, State, entry_in  # noqa: E402

SKELETON = Path(__file__).with_suffix(".yaml")
TARGET = ROOT / "docs" / "openapi.json"

Json = dict[str, Any]

ACCEPTED_AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
EVENT_ID = "evt_73b74b2960d0c5745839aa18de8292fd"
MISSPELLED = Fault(
    "frist_name", 'is not a field that Cometly knows and is left out; did you mean "first_name"?'
)
FAULTS = (
    Fault("amount", "must be a number, such as 99.99"),
    Fault("email", "or comet_token, or fingerprint with ip, must identify the customer"),
)


def document() -> Json:
    """Build the whole document: the skeleton, with each value in its place."""
    values = _limits() | _replies() | _schema_of_an_event()

    class Loader(yaml.SafeLoader):
        """Fills in `!value NAME`, and `{NAME}` in a `!text`."""

    Loader.add_constructor("!value", lambda _, node: values[node.value])
    Loader.add_constructor("!text", lambda _, node: node.value.format_map(values))
    return cast("Json", yaml.load(SKELETON.read_text("utf-8"), Loader=Loader))  # noqa: S506


def _limits() -> Json:
    return {
        "MAX_EVENTS": MAX_EVENTS,
        "MAX_BYTES": MAX_BODY_BYTES,
        "PAGE_MAX_EVENTS": browser.MAX_EVENTS,
        "PAGE_MAX_BYTES": browser.MAX_BODY_BYTES,
        "MONEY_NAMES": ", ".join(sorted(browser.MONEY_NAMES)),
        "RETRY_AFTER_SECONDS": RETRY_AFTER_SECONDS,
    }


class _NoQueue:
    """What a dry run sends nothing to."""

    def send(self, bodies: Sequence[str]) -> frozenset[int]:
        raise NotImplementedError


def _previews() -> list[Preview]:
    """Preview an event in Meta's words, and one that is not valid."""
    intake = Intake(_NoQueue(), lambda: ACCEPTED_AT, lambda: "request-1", EventRules())
    meta = {"event_name": "Purchase", "email": "ada.byron@example.com"}
    return preview([{**meta, "value": 49.9, "transaction_id": "T-1"}, {"amount": "1,234"}], intake)


def _entry(state: State, answer: str, attempts: int = 1) -> Entry:
    """What the ledger knows of an event that was tried a minute after it was accepted."""
    tried_at = ACCEPTED_AT.timestamp() + 60
    item = {
        "state": {"S": state.value},
        "attempts": {"N": str(attempts)},
        "answer": {"S": answer},
        "request_id": {"S": "req_7f3a"},
        "accepted_at": {"S": ACCEPTED_AT.isoformat()},
        "updated_at": {"N": str(tried_at)},
        "retry_at": {"N": str(tried_at + 30)},
    }
    return cast("Entry", entry_in(item))


def _replies() -> Json:
    """Return what is answered, as the service itself words it."""
    accepted = Receipt(Status.ACCEPTED, EVENT_ID, warnings=(MISSPELLED,))
    invalid = Receipt(Status.INVALID, faults=FAULTS)
    unavailable = Receipt(Status.UNAVAILABLE)
    sought = Sought(EVENT_ID)
    replies = {
        "one_accepted": response_to_one(accepted),
        "one_invalid": response_to_one(invalid),
        "one_unavailable": response_to_one(unavailable),
        "many_accepted": response_to_many([accepted]),
        "many_invalid": response_to_many([invalid, invalid]),
        "many_unavailable": response_to_many([unavailable]),
        "many_of_each_kind": response_to_many([accepted, invalid, unavailable]),
        "dry_valid": response_to_preview(_previews()[0]),
        "dry_invalid": response_to_preview(_previews()[1]),
        "dry_many": response_to_previews(_previews()),
        "found_nothing": response_to(sought, None, ACCEPTED_AT),
        "found_waiting": response_to(sought, _entry(State.WAITING, "HTTP 500", 2), ACCEPTED_AT),
        "found_delivered": response_to(sought, _entry(State.DELIVERED, "HTTP 202"), ACCEPTED_AT),
        "found_duplicate": response_to(
            Sought(EVENT_ID, "another"), _entry(State.DELIVERED, "HTTP 202"), ACCEPTED_AT
        ),
        "found_parked": response_to(sought, _entry(State.PARKED, "HTTP 422"), ACCEPTED_AT),
        "cometly_accepted": response_as_cometly(accepted),
        "cometly_invalid": response_as_cometly(invalid),
        "cometly_unavailable": response_as_cometly(unavailable),
    }
    return {name: response.body for name, response in replies.items()} | {
        "EVENT_ID": EVENT_ID,
        "ACCEPTED_MESSAGE": ACCEPTED_MESSAGE,
        "UNAVAILABLE_MESSAGE": UNAVAILABLE_MESSAGE,
    }


class _InOrder(GenerateJsonSchema):
    """Leaves keys in the order in which the model has them."""

    def sort(self, value: Any, parent_key: str | None = None) -> Any:  # noqa: ARG002 - the base's shape
        return value


def _schema_of_an_event() -> Json:
    schema = Event.model_json_schema(
        schema_generator=_InOrder, mode="validation", union_format="primitive_type_array"
    )
    properties = {name: _property(part) for name, part in schema["properties"].items()}
    properties[REGION_FIELD] = {
        "description": "ISO 3166: the country of a phone number that names none. It is not sent.",
        "type": ["string", "null"],
        "examples": ["DE"],
    }
    ignored = {"description": "Ignored: the connection says it."}
    return {
        "required": schema["required"],
        "properties": properties,
        "page_properties": properties | {"ip": ignored, "user_agent": ignored},
    }


def _property(part: Json) -> Json:
    """Return a field's schema, its description first, without what its name says already."""
    described = {"description": part["description"]} if "description" in part else {}
    left_out = {"title", "default"}
    return described | {name: value for name, value in part.items() if name not in left_out}


def rendered() -> str:
    """Write the document as it is stored."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local.openapi", description="docs/openapi.json"
    )
    parser.add_argument("--check", action="store_true", help="fail if the file is not current")
    check = parser.parse_args(arguments).check
    text = rendered()
    if not check:
        TARGET.write_text(text, encoding="utf-8")
        print(f"wrote {TARGET.relative_to(ROOT)}")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print("docs/openapi.json is not current: run python -m local.openapi", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
