"""Writes docs/openapi.json: the HTTP API, out of the models and constants that serve it.

    python -m local.openapi            write it
    python -m local.openapi --check    fail if it is not what would be written

The schema of an event is that of what is *accepted*: wider than what is sent on to Cometly.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from cometly_forwarder import browser  # noqa: E402
from cometly_forwarder.answers import (  # noqa: E402
    ACCEPTED_MESSAGE,
    RETRY_AFTER_SECONDS,
    UNAVAILABLE_MESSAGE,
    Reply,
    reply_as_cometly,
    reply_to_many,
    reply_to_one,
)
from cometly_forwarder.doors import MAX_BODY_BYTES, MAX_EVENTS  # noqa: E402
from cometly_forwarder.errors import Fault  # noqa: E402
from cometly_forwarder.events import (  # noqa: E402
    CUSTOM_NAMES,
    STANDARD_NAMES,
    Boolean,
    Event,
    Identifier,
)
from cometly_forwarder.ingestion import Receipt, Status  # noqa: E402

TARGET = ROOT / "docs" / "openapi.json"

Json = dict[str, Any]

_BLANK = "Blank text and null count as absent."
_GIVEN = {"type": "string", "pattern": r"\S"}
_NUMERIC = r"^\s*([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$"
_TRUTH = r"^\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|0|1)?\s*$"

_PURCHASE = {
    "event_name": "purchase",
    "email": "ada.byron@example.com",
    "amount": 99.99,
    "order_id": "ORD-12345",
    "url": "https://shop.example.com/thank-you",
    "event_time": "2024-01-15T10:30:00Z",
}
_LEAD = {
    "event_name": "lead_generated",
    "email": " Katherine.J@Example.com ",
    "phone": "+1 (650) 555-1212",
    "event_time": 1705314600,
    "amount": "12.50",
    "do_not_capi": "true",
}
_VIEW = {"event_name": "view_content", "fingerprint": "fp_3c9d20aa", "ip": "198.51.100.24"}
_PAGE_VIEW = {"event_name": "view_content", "fingerprint": "fp_3c9d20aa"}
_CART = {"event_name": "add_to_cart", "email": "ada.byron@example.com", "amount": 99.99}
_MISSPELLED = _PURCHASE | {"frist_name": "Ada"}

_EVENT_ID = "evt_73b74b2960d0c5745839aa18de8292fd"
_WARNING = Fault(
    "frist_name", 'is not a field that Cometly knows and is left out; did you mean "first_name"?'
)
_FAULTS = (
    Fault("amount", "must be a number, such as 99.99"),
    Fault("email", "or comet_token, or fingerprint with ip, must identify the customer"),
)
_ACCEPTED = Receipt(Status.ACCEPTED, _EVENT_ID, warnings=(_WARNING,))
_INVALID = Receipt(Status.INVALID, faults=_FAULTS)
_UNAVAILABLE = Receipt(Status.UNAVAILABLE)


def document() -> Json:
    """Build the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cometly Forwarder",
            "version": "1",
            "description": (
                "Takes conversion events, answers at once, and delivers each to Cometly once. "
                f"A request holds at most {MAX_EVENTS} events and {MAX_BODY_BYTES} bytes. "
                "Any other path is answered 404 (`NotFound`)."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {
                "url": "https://{host}",
                "variables": {
                    "host": {
                        "default": "api.example.com",
                        "description": "Of the stack's output ApiUrl",
                    }
                },
            }
        ],
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": {
            "/v1/events": {"post": _post_events()},
            "/public-api/v1/events/track": {"post": _post_as_to_cometly()},
            "/collect": {"post": _post_from_page(), "options": _ask_to_post()},
            "/client.js": {"get": _get_client()},
            "/health": {"get": _get_health()},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A server key."},
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "The same server key, for callers that cannot send the other.",
                },
            },
            "parameters": {"IdempotencyKey": _idempotency_key(), "Origin": _origin()},
            "headers": {"RetryAfter": _retry_after(), **_CORS_HEADERS},
            "responses": _shared_responses(),
            "schemas": _schemas(),
        },
    }


# --- Operations -------------------------------------------------------------------------------


def _post_events() -> Json:
    return {
        "operationId": "postEvents",
        "summary": "Post one event, or many",
        "parameters": [_ref("parameters", "IdempotencyKey")],
        "requestBody": _request(
            {"oneOf": [_schema("Event"), _schema("Events")]},
            {
                "purchase": _PURCHASE,
                "a lead, as people type it": _LEAD,
                "a page view": _VIEW,
                "many": [_LEAD, _VIEW],
            },
        ),
        "responses": {
            "202": _response(
                "Accepted: the event, or each of the array, is on the queue.",
                {"oneOf": [_schema("Accepted"), _schema("Results")]},
                {"one": reply_to_one(_ACCEPTED), "many": reply_to_many([_ACCEPTED])},
            ),
            "207": _response(
                "Some events of the array were accepted; each result has its own status.",
                _schema("Results"),
                {"some": reply_to_many([_ACCEPTED, _INVALID, _UNAVAILABLE])},
            ),
            "422": _response(
                "No event was valid; every fault of each is named.",
                {"anyOf": [_schema("Invalid"), _schema("Results"), _schema("Message")]},
                {"one": reply_to_one(_INVALID), "many": reply_to_many([_INVALID, _INVALID])},
            ),
            "503": _response(
                "Nothing was accepted, and trying again helps.",
                {"anyOf": [_schema("Message"), _schema("Results")]},
                {"one": reply_to_one(_UNAVAILABLE), "many": reply_to_many([_UNAVAILABLE])},
                {"Retry-After": _ref("headers", "RetryAfter")},
            ),
            **_refusals("BadRequest", "Unauthorized", "MethodNotAllowed", "TooLarge"),
            **_refusals("Throttled", "Crashed"),
        },
    }


def _post_as_to_cometly() -> Json:
    request_id = {
        "description": "The event's id.",
        "schema": {"type": "string", "examples": [_EVENT_ID]},
    }
    return {
        "operationId": "track",
        "summary": "Post one event the way Cometly takes it",
        "description": "The path, the body and the answers are Cometly's own.",
        "parameters": [_ref("parameters", "IdempotencyKey")],
        "requestBody": _request(_schema("Event"), {"purchase": _PURCHASE}),
        "responses": {
            "202": _response(
                "Accepted: the event is on the queue.",
                _schema("CometlyAccepted"),
                {"accepted": reply_as_cometly(_ACCEPTED)},
                {"Request-Id": request_id},
            ),
            "422": _response(
                "The event is not valid.",
                _schema("Message"),
                {"invalid": reply_as_cometly(_INVALID)},
            ),
            "503": _response(
                "The event was not accepted, and trying again helps.",
                _schema("Message"),
                {"unavailable": reply_as_cometly(_UNAVAILABLE)},
                {"Retry-After": _ref("headers", "RetryAfter")},
            ),
            **_refusals("BadRequest", "Unauthorized", "MethodNotAllowed", "TooLarge"),
            **_refusals("Throttled", "Crashed"),
        },
    }


def _post_from_page() -> Json:
    """Describe the browser's door: that of the services, smaller, and without a key."""
    responses = _post_events()["responses"]
    readable = {
        status: responses[status] | {"headers": responses[status].get("headers", {}) | _CORS}
        for status in ("202", "207", "422", "503")
    }
    events = f"one event, or an array of up to {browser.MAX_EVENTS}"
    return {
        "operationId": "collect",
        "summary": "Post events from a page of an allowed origin",
        "description": (
            f"Takes {events}, as JSON whatever the content type says: text/plain needs no "
            "preflight. ip and user_agent are those of the connection, never of the body; url, "
            "where it is absent, is the Referer. AllowedOrigins names the origins, "
            "BrowserEventNames the events that are taken: unless it names them, those that carry "
            f"money are not ({', '.join(sorted(browser.MONEY_NAMES))})."
        ),
        "security": [],
        "parameters": [_ref("parameters", "Origin")],
        "requestBody": _request(
            {"oneOf": [_schema("PageEvent"), _schema("PageEvents")]},
            {"a cart": _CART, "a page view": _PAGE_VIEW, "many": [_CART, _PAGE_VIEW]},
            kinds=("application/json", "text/plain"),
            most_bytes=browser.MAX_BODY_BYTES,
        ),
        "responses": {
            **readable,
            **_refusals("PageBadRequest", "Forbidden", "MethodNotAllowed", "PageTooLarge"),
            **_refusals("PageThrottled", "PageCrashed"),
        },
    }


def _ask_to_post() -> Json:
    asked = {
        name: {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in {
            "Access-Control-Allow-Methods": "What the path takes.",
            "Access-Control-Allow-Headers": "What a page may add.",
            "Access-Control-Max-Age": "Seconds for which the answer holds.",
        }.items()
    }
    return {
        "operationId": "preflight",
        "summary": "Ask whether a page may post application/json",
        "security": [],
        "parameters": [_ref("parameters", "Origin")],
        "responses": {
            "204": {"description": "It may.", "headers": {**_CORS, **asked}},
            **_refusals("Forbidden", "Throttled", "PageCrashed"),
        },
    }


def _get_client() -> Json:
    return {
        "operationId": "client",
        "summary": "Load the script for pages",
        "security": [],
        "responses": {
            "200": {
                "description": "The script.",
                "content": {"text/javascript": {"schema": {"type": "string"}}},
                "headers": {
                    "Cache-Control": {"required": True, "schema": {"type": "string"}},
                    "Access-Control-Allow-Origin": {"required": True, "schema": {"const": "*"}},
                    "Cross-Origin-Resource-Policy": {
                        "required": True,
                        "schema": {"const": "cross-origin"},
                    },
                },
            },
            **_refusals("MethodNotAllowed", "Throttled", "Crashed"),
        },
    }


def _get_health() -> Json:
    body = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": "ok"}},
    }
    return {
        "operationId": "health",
        "summary": "Ask whether the API answers",
        "description": "Needs no key and touches nothing behind the API.",
        "security": [],
        "responses": {
            "200": _response("It does.", body, {"ok": Reply(200, {"status": "ok"})}),
            **_refusals("MethodNotAllowed", "Throttled", "Crashed"),
        },
    }


# --- Answers that operations share ------------------------------------------------------------

_REFUSALS = {
    "BadRequest": ("400", "The body is not JSON."),
    "Unauthorized": ("401", "The key is missing or wrong."),
    "NotFound": ("404", "There is nothing at this path."),
    "MethodNotAllowed": ("405", "The path takes another method."),
    "PageBadRequest": ("400", "The body is not JSON."),
    "Forbidden": ("403", "The origin is not allowed, or none is."),
    "PageTooLarge": (
        "413",
        f"More than {browser.MAX_EVENTS} events, or more than {browser.MAX_BODY_BYTES} bytes.",
    ),
    "Throttled": (
        "429",
        "Too many requests a second, says API Gateway; a page cannot read it. Send it again.",
    ),
    "PageThrottled": (
        "429",
        (
            "Too many events a minute from one address, with Retry-After, for the page to read; or "
            "too many requests a second, says API Gateway, which a page cannot read. Send it again."
        ),
    ),
    "Crashed": ("500", "A defect of ours; send it again."),
    "PageCrashed": ("500", "A defect of ours; send it again."),
    "TooLarge": ("413", f"More than {MAX_EVENTS} events, or more than {MAX_BODY_BYTES} bytes."),
}
_CORS_HEADERS: Json = {
    "AllowOrigin": {
        "description": "The page's origin.",
        "required": True,
        "schema": {"type": "string"},
    },
    "VaryOrigin": {"required": True, "schema": {"const": "Origin"}},
}
_CORS: Json = {
    "Access-Control-Allow-Origin": {"$ref": "#/components/headers/AllowOrigin"},
    "Vary": {"$ref": "#/components/headers/VaryOrigin"},
}
_HEADERS: dict[str, Json] = {
    "PageBadRequest": _CORS,
    "PageTooLarge": _CORS,
    "PageCrashed": _CORS,
    "PageThrottled": {
        "Retry-After": {
            "description": "Seconds until the address may send again.",
            "schema": {"type": "string", "pattern": "^[0-9]+$"},
        },
        "Access-Control-Allow-Origin": {
            "description": "The page's origin, unless API Gateway answers.",
            "schema": {"type": "string"},
        },
    },
    "Unauthorized": {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    "MethodNotAllowed": {
        "Allow": {
            "description": "The method that the path takes.",
            "schema": {"type": "string", "enum": ["GET", "POST"]},
        }
    },
}


def _shared_responses() -> Json:
    return {
        name: _response(text, _schema("Message"), headers=_HEADERS.get(name))
        for name, (_, text) in _REFUSALS.items()
    }


def _refusals(*names: str) -> Json:
    return {_REFUSALS[name][0]: _ref("responses", name) for name in names}


# --- Schemas ----------------------------------------------------------------------------------


def _schemas() -> Json:
    """Describe every body by its name."""
    warnings = {
        "type": "array",
        "items": _schema("Fault"),
        "description": "What was noticed, such as a field that Cometly does not know.",
    }
    message = {"type": "string", "description": "In one sentence."}
    accepted = {
        "status": {"const": int(Status.ACCEPTED)},
        "message": {"type": "string", "examples": [ACCEPTED_MESSAGE]},
        "event_id": {
            "type": "string",
            "pattern": "^evt_[0-9a-f]{32}$",
            "description": "The same event posted again has the same id.",
        },
        "warnings": warnings,
    }
    errors = {"type": "array", "minItems": 1, "items": _schema("Fault")}
    invalid = {"message": message, "errors": errors, "warnings": warnings}
    unavailable = {"message": {"type": "string", "examples": [UNAVAILABLE_MESSAGE]}}
    return {
        "Event": _event(),
        "Events": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_EVENTS,
            "items": _schema("Event"),
            "description": "Each is judged by itself; one that is not valid keeps none back.",
        },
        "PageEvent": _page_event(),
        "PageEvents": {
            "type": "array",
            "minItems": 1,
            "maxItems": browser.MAX_EVENTS,
            "items": _schema("PageEvent"),
        },
        "Accepted": _object(accepted),
        "CometlyAccepted": _object({name: accepted[name] for name in ("status", "message")}),
        "Invalid": _object(invalid),
        "Message": _object({"message": message}),
        "Results": _object(
            {
                "status": {"type": "integer", "enum": [202, 207, 422, 503]},
                "message": {"type": "string", "examples": ["2 of 3 events accepted."]},
                "results": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_EVENTS,
                    "items": _schema("Result"),
                    "description": "One for each event, in order.",
                },
            }
        ),
        "Result": {
            "oneOf": [
                _object(accepted),
                _object({"status": {"const": int(Status.INVALID)}, **invalid}),
                _object({"status": {"const": int(Status.UNAVAILABLE)}, **unavailable}),
            ]
        },
        "Fault": _object(
            {
                "field": {"type": "string", "description": "Empty when it is the whole event."},
                "message": {"type": "string", "description": "What would be right."},
            }
        ),
    }


def _event() -> Json:
    """Describe what is accepted; `read_event` has the last word."""
    return {
        "type": "object",
        "description": (
            "One conversion event. It needs an event_name, and a customer: an email, a "
            f"comet_token, or a fingerprint with an ip. {_BLANK} A field that is not listed is "
            "left out, with a warning that names it."
        ),
        "required": ["event_name"],
        "properties": {name: _property(name) for name in Event.model_fields},
        "additionalProperties": True,
        "anyOf": [_has("email"), _has("comet_token"), _has("fingerprint", "ip")],
        "allOf": [
            {"if": _has("fingerprint"), "then": _has("ip")},
            {"if": _has("ip"), "then": _has("fingerprint")},
        ],
        "examples": [_PURCHASE, _LEAD, _VIEW, _MISSPELLED],
    }


def _page_event() -> Json:
    """Describe what a page may send: an event whose ip and user_agent count for nothing."""
    event = {name: part for name, part in _event().items() if name != "allOf"}
    own = {"description": "Ignored: the connection says it."}
    return event | {
        "description": (
            "One conversion event of a page. It needs an event_name, and a customer: an email, a "
            f"comet_token, or a fingerprint. {_BLANK}"
        ),
        "properties": event["properties"] | {"ip": own, "user_agent": own},
        "anyOf": [_has("email"), _has("comet_token"), _has("fingerprint")],
        "examples": [_PURCHASE, _PAGE_VIEW],
    }


def _has(*names: str) -> Json:
    return {"required": list(names), "properties": dict.fromkeys(names, _GIVEN)}


def _property(name: str) -> Json:
    field = Event.model_fields[name]
    described = {"description": field.description} if field.description else {}
    return described | _ACCEPTED_FORMS.get(name, _form_of(field.annotation))


def _form_of(annotation: object) -> Json:
    kinds = get_args(annotation)
    if Identifier in kinds:
        return {
            "type": ["string", "integer", "null"],
            "exclusiveMinimum": -(10**18),
            "exclusiveMaximum": 10**18,
        }
    if Boolean in kinds:
        return {
            "anyOf": [
                {"type": "boolean"},
                {"enum": [0, 1]},
                {"type": "string", "pattern": _TRUTH},
                {"type": "null"},
            ],
            "examples": [True, "false", 1],
        }
    return {"type": ["string", "null"]}


_NAMES = [*STANDARD_NAMES, *CUSTOM_NAMES]
_ACCEPTED_FORMS: dict[str, Json] = {
    "event_name": {
        "type": "string",
        "pattern": rf"^\s*({'|'.join(_NAMES)})\s*$",
        "examples": ["purchase", "custom_event_1"],
    },
    "phone": {
        "type": ["string", "integer", "null"],
        "exclusiveMinimum": -(10**18),
        "exclusiveMaximum": 10**18,
        "examples": ["+1 (650) 555-1212", "16505551212"],
    },
    "event_time": {
        "type": ["string", "number", "null"],
        "minimum": 0,
        "exclusiveMaximum": 10**13,
        "examples": ["2024-01-15T10:30:00Z", "2024-01-15T11:30:00+01:00", 1705314600, "1705314600"],
    },
    "amount": {
        "anyOf": [
            {"type": "number", "minimum": -(10**15), "maximum": 10**15},
            {"type": "string", "pattern": _NUMERIC},
            {"type": "null"},
        ],
        "examples": [99.99, "99.99"],
    },
}


# --- Small parts ------------------------------------------------------------------------------


def _idempotency_key() -> Json:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "The event's idempotency_key, for one event that has none in its body. "
            "With an array it is refused. A key must not be guessable, or others can send it "
            "first: a UUID, made once and stored with the record."
        ),
        "schema": {"type": "string"},
        "example": "0b8f3c1e-6d0c-4a53-9d6e-5a1f2e7c9b40",
    }


def _origin() -> Json:
    return {
        "name": "Origin",
        "in": "header",
        "description": "The page's origin; browsers add it.",
        "required": True,
        "schema": {"type": "string"},
        "example": "https://shop.example.com",
    }


def _retry_after() -> Json:
    return {
        "description": "Seconds to wait before the same request is sent again.",
        "required": True,
        "schema": {"type": "integer", "const": RETRY_AFTER_SECONDS},
    }


def _request(
    schema: Json,
    examples: dict[str, object],
    *,
    kinds: tuple[str, ...] = ("application/json",),
    most_bytes: int = MAX_BODY_BYTES,
) -> Json:
    media = {
        "schema": schema,
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    return {
        "required": True,
        "description": (
            f"JSON in UTF-8, {most_bytes} bytes at the most. Bytes that are not UTF-8 are refused, "
            "or arrive as U+FFFD with a warning: API Gateway may replace them."
        ),
        "content": dict.fromkeys(kinds, media),
    }


def _response(
    description: str,
    schema: Json,
    examples: dict[str, Reply] | None = None,
    headers: Json | None = None,
) -> Json:
    content: Json = {"schema": schema}
    if examples:
        content["examples"] = {name: {"value": reply.body} for name, reply in examples.items()}
    described = {"description": description, "content": {"application/json": content}}
    return described | ({"headers": headers} if headers else {})


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _schema(name: str) -> Json:
    return _ref("schemas", name)


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


# --- The command ------------------------------------------------------------------------------


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
