"""docs/openapi.json holds of the deployed stack: no 5xx, no answer that it does not declare."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.openapi import TARGET
from tests.stack.deployed import Deployed

DOCUMENT = json.loads(TARGET.read_text("utf-8"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PAGE = "https://shop.example.com"
# An operation that takes a body has more to it than one that does not.
EXAMPLES = {"post": 40, "get": 5, "options": 10}

# Nobody sent what is made up here: test_lookup.py finds what was sent.
LOOKUPS = {"/v1/events/{event_id}", "/v1/events/lookup"}

# There is nothing about a GET of ours that could be otherwise than described.
MODES = {
    "post": [GenerationMode.POSITIVE, GenerationMode.NEGATIVE],
    "get": [GenerationMode.POSITIVE],
    # But for its origin; see the last test.
    "options": [GenerationMode.POSITIVE],
}
CASES = [
    pytest.param(path, method, mode, id=f"{method} {path} {mode.value}")
    for path, item in DOCUMENT["paths"].items()
    for method in item
    for mode in MODES[method]
]


def answers_to(
    deployed: Deployed,
    path: str,
    method: str,
    mode: GenerationMode,
    *,
    origin: str = PAGE,
    examples: int | None = None,
) -> Counter[int]:
    """Ask what Schemathesis makes up, hold each answer to the document, and count them."""
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]
    answers: Counter[int] = Counter()

    @seed(20240115)
    @settings(
        max_examples=examples or EXAMPLES[method],
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def post(case: Any) -> None:
        # In place of the origin that was made up: a page's visitor cannot choose it.
        made_up = {
            name: it for name, it in (case.headers or {}).items() if name.lower() != "origin"
        }
        case.headers = {**made_up, "Origin": origin}
        headers = {"Authorization": f"Bearer {deployed.api.key}"}
        response = case.call(base_url=deployed.api.url, headers=headers, timeout=30)
        answers[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    post()
    deployed.queues.until_all_is_settled()
    return answers


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_every_answer_is_one_that_is_declared(
    deployed: Deployed, path: str, method: str, mode: GenerationMode
) -> None:
    answers = answers_to(deployed, path, method, mode)

    assert 403 not in answers
    if mode is GenerationMode.POSITIVE:
        assert any(status < 300 or (status == 404 and path in LOOKUPS) for status in answers)
    elif method == "post":
        assert any(400 <= status < 500 for status in answers)


@pytest.mark.parametrize("method", ["post", "options"])
def test_every_answer_to_another_origin_is_one_that_is_declared(
    deployed: Deployed, method: str
) -> None:
    stranger = "https://evil.example.com"

    answers = answers_to(
        deployed, "/collect", method, GenerationMode.NEGATIVE, origin=stranger, examples=8
    )

    assert set(answers) == {403}
