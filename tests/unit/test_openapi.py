"""docs/openapi.json: current, valid, and true to what the service accepts and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cometly_forwarder.errors import InvalidEvent
from cometly_forwarder.event.model import EVENT_NAMES, FIELDS
from cometly_forwarder.event.reading import REGION_FIELD
from cometly_forwarder.ingest.browser import BrowserRules, Visitor
from local import openapi
from tests.unit.cases import in_one_test
from tests.unit.conftest import READ_AT, an_event, read

DOCUMENT = json.loads(openapi.TARGET.read_text(encoding="utf-8"))
PATHS = DOCUMENT["paths"]
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}")
    for path, item in PATHS.items()
    for method in item
]


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document, if it is one."""
    found: Any = part
    if "$ref" in part:
        found = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
    return dict(found)


def validator_of(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


EVENT = validator_of({"$ref": "#/components/schemas/Event"})


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every request and response by its name, with its schema and its examples."""
    for path, item in PATHS.items():
        for method, operation in item.items():
            parts = {"request": operation["requestBody"]} if "requestBody" in operation else {}
            for name, part in (parts | operation["responses"]).items():
                for kind, media in resolved(part).get("content", {}).items():
                    yield f"{method} {path} {name} {kind}", media


SCHEMAS = {json.dumps(media["schema"]): media["schema"] for _, media in bodies()}
EXAMPLES = [
    pytest.param(media["schema"], example["value"], id=f"{body} {name}")
    for body, media in bodies()
    for name, example in media.get("examples", {}).items()
]


# --- The document -----------------------------------------------------------------------------


def test_the_document_is_current() -> None:
    assert openapi.TARGET.read_text(encoding="utf-8") == openapi.rendered()
    assert openapi.main(["--check"]) == 0


def test_a_document_that_is_not_current_is_noticed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(openapi, "TARGET", tmp_path / "openapi.json")

    absent = openapi.main(["--check"])
    (tmp_path / "openapi.json").write_text("{}")
    other = openapi.main(["--check"])

    assert (absent, other) == (1, 1)
    assert "python -m local.openapi" in capsys.readouterr().err


def test_the_document_is_valid_openapi() -> None:
    # Half a second to import, which no other test should wait for.
    from openapi_spec_validator import validate  # noqa: PLC0415

    validate(DOCUMENT)


@in_one_test
@pytest.mark.parametrize(("schema", "example"), EXAMPLES)
def test_each_example_is_what_its_schema_says(schema: dict[str, Any], example: object) -> None:
    assert [error.message for error in validator_of(schema).iter_errors(example)] == []


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_no_schema_takes_everything(schema: dict[str, Any]) -> None:
    assert not validator_of(schema).is_valid({"anything": "else"})


# --- Answers ----------------------------------------------------------------------------------

# API Gateway's throttle, and a defect of ours.
ANYWHERE = {"429", "500"}


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        pytest.param(
            "/v1/events",
            "post",
            {"200", "202", "207", "400", "401", "405", "413", "415", "422", "503"} | ANYWHERE,
            id="events",
        ),
        pytest.param(
            "/v1/events/{event_id}", "get", {"200", "401", "404", "405", "503"} | ANYWHERE, id="one"
        ),
        pytest.param(
            "/v1/events/lookup",
            "post",
            {"200", "400", "401", "404", "405", "413", "415", "422", "503"} | ANYWHERE,
            id="lookup",
        ),
        pytest.param(
            "/public-api/v1/events/track",
            "post",
            {"202", "400", "401", "405", "413", "415", "422", "503"} | ANYWHERE,
            id="drop-in",
        ),
        pytest.param(
            "/collect",
            "post",
            {"202", "207", "400", "403", "405", "413", "415", "422", "503"} | ANYWHERE,
            id="collect",
        ),
        pytest.param("/collect", "options", {"204", "403"} | ANYWHERE, id="preflight"),
        pytest.param("/client.js", "get", {"200", "405"} | ANYWHERE, id="the script"),
        pytest.param("/health", "get", {"200", "405"} | ANYWHERE, id="health"),
    ],
)
def test_every_answer_is_declared(path: str, method: str, statuses: set[str]) -> None:
    assert set(PATHS[path][method]["responses"]) == statuses


@pytest.mark.parametrize(
    ("path", "status", "header"),
    [
        ("/v1/events", "503", "Retry-After"),
        ("/public-api/v1/events/track", "503", "Retry-After"),
        ("/public-api/v1/events/track", "202", "Request-Id"),
        ("/v1/events", "401", "WWW-Authenticate"),
        ("/v1/events", "405", "Allow"),
        ("/collect", "202", "Access-Control-Allow-Origin"),
        ("/collect", "400", "Access-Control-Allow-Origin"),
        ("/collect", "413", "Vary"),
        ("/collect", "415", "Access-Control-Allow-Credentials"),
        ("/collect", "503", "Retry-After"),
        ("/collect", "500", "Access-Control-Allow-Origin"),
    ],
)
def test_an_answers_headers_are_declared(path: str, status: str, header: str) -> None:
    assert header in resolved(PATHS[path]["post"]["responses"][status])["headers"]


def test_an_unknown_path_is_described_though_no_path_has_it() -> None:
    assert "404" in DOCUMENT["info"]["description"]
    assert "NotFound" in DOCUMENT["components"]["responses"]


def test_the_limits_are_stated() -> None:
    assert "1048576 bytes" in PATHS["/v1/events"]["post"]["requestBody"]["description"]
    assert DOCUMENT["components"]["schemas"]["PageEvents"]["maxItems"] == 20
    assert "65536 bytes" in PATHS["/collect"]["post"]["requestBody"]["description"]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_only_what_pages_and_monitors_ask_for_needs_no_key(path: str, method: str) -> None:
    security = PATHS[path][method].get("security", DOCUMENT["security"])
    is_open = path in {"/collect", "/client.js", "/health"}

    assert security == ([] if is_open else [{"bearer": []}, {"apiKey": []}])


# --- Events -----------------------------------------------------------------------------------


def test_all_fields_are_described_and_others_are_allowed() -> None:
    schema = DOCUMENT["components"]["schemas"]["Event"]

    assert list(schema["properties"]) == [*FIELDS, REGION_FIELD]
    assert schema["additionalProperties"] is True


@in_one_test
@pytest.mark.parametrize("name", sorted(EVENT_NAMES))
def test_each_name_is_accepted_by_the_schema(name: str) -> None:
    assert EVENT.is_valid(an_event(event_name=name))
    assert read(an_event(event_name=name))


@pytest.mark.parametrize(
    "example", DOCUMENT["components"]["schemas"]["Event"]["examples"], ids=repr
)
def test_an_example_of_an_event_is_accepted_by_schema_and_service(example: dict[str, Any]) -> None:
    read(example)

    assert EVENT.is_valid(example)


READ = [
    {},
    {"amount": 5},
    {"amount": "1.234,56 €"},
    {"amount": ""},
    {"amount": None},
    {"is_upsell": True},
    {"is_upsell": " TRUE "},
    {"is_upsell": 0},
    {"is_upsell": "yes"},
    {"event_time": 1705314600},
    {"event_time": 1.5},
    {"event_time": "2024-01-15"},
    {"event_time": " "},
    {"order_id": 1001.0},
    {"order_id": 10**18},
    {"order_id": None},
    {"phone": 16505551212},
    {"phone": "0151 23456789", "phone_region": "DE"},
    {"comet_keyword": 2024},
    {"url": " "},
    {"currency": "EUR", "profile_field_1": 5, "profile_field_2": True},
    {"event_name": "AddToCart"},
    {"ip": " ", "fingerprint": None},
    {"email": None, "comet_token": "ct"},
    {"email": "", "fingerprint": "fp", "ip": "203.0.113.7"},
]
LEFT_OUT = [
    {"is_upsell": [True]},
    {"order_name": True},
    {"url": ["https://shop.example.com"]},
    {"comet_token": {"a": 1}},
    {"ip": "203.0.113.7"},
    {"fingerprint": "fp"},
    {"phone": True},
    {"full_name": ["Grace"]},
    {"phone_region": 49},
]
REFUSED = [
    {"amount": True},
    {"amount": [5]},
    {"event_time": True},
    {"event_time": []},
    {"order_id": ["1"]},
    {"idempotency_key": {"a": 1}},
    {"event_name": None},
    {"event_name": 5},
    {"email": 5},
    {"email": None},
    {"email": "  "},
    {"email": None, "ip": "203.0.113.7"},
]


@in_one_test
@pytest.mark.parametrize("fields", READ, ids=repr)
def test_what_the_service_reads_the_schema_accepts(fields: dict[str, object]) -> None:
    raw = an_event(**fields)

    _, warnings = read(raw)

    assert [it for it in warnings if "left out" in it.message] == []
    assert [error.message for error in EVENT.iter_errors(raw)] == []


@pytest.mark.parametrize("fields", LEFT_OUT, ids=repr)
def test_what_the_service_leaves_out_the_schema_does_not_accept(fields: dict[str, object]) -> None:
    raw = an_event(**fields)

    _, warnings = read(raw)

    assert {it.field for it in warnings if "left out" in it.message} == set(fields)
    assert not EVENT.is_valid(raw)


@pytest.mark.parametrize("fields", REFUSED, ids=repr)
def test_schema_and_service_refuse_the_same(fields: dict[str, object]) -> None:
    raw = an_event(**fields)

    with pytest.raises(InvalidEvent):
        read(raw)

    assert not EVENT.is_valid(raw)


@pytest.mark.parametrize("raw", [None, [], "purchase", 5], ids=repr)
def test_what_is_no_object_is_no_event(raw: object) -> None:
    assert not EVENT.is_valid(raw)


PAGE_EVENT = validator_of({"$ref": "#/components/schemas/PageEvent"})


@pytest.mark.parametrize(
    ("fields", "is_valid"),
    [
        pytest.param({}, True, id="an email"),
        pytest.param({"email": None, "fingerprint": "fp"}, True, id="a fingerprint without an ip"),
        pytest.param({"ip": 5, "user_agent": ["x"]}, True, id="what is ignored"),
        pytest.param({"email": None, "ip": "203.0.113.7"}, False, id="an ip alone"),
        pytest.param({"amount": []}, False, id="no number"),
    ],
)
def test_schema_and_route_of_pages_accept_the_same(
    fields: dict[str, object], *, is_valid: bool
) -> None:
    raw = an_event(**fields)
    prepared = BrowserRules().amended(raw, Visitor("203.0.113.7"), READ_AT)

    with nullcontext() if is_valid else pytest.raises(InvalidEvent):
        read(prepared)

    assert PAGE_EVENT.is_valid(raw) is is_valid


def test_an_array_holds_from_one_to_500_events() -> None:
    events = validator_of({"$ref": "#/components/schemas/Events"})

    assert [events.is_valid([an_event()] * count) for count in (0, 1, 500, 501)] == [
        False,
        True,
        True,
        False,
    ]
