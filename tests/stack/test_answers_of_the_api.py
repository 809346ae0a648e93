"""What a caller is told, through the real API; a refused event goes no further."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from tests.stack.deployed import DROP_IN, EVENTS, Answer, Api, Deployed

EVENT = {"event_name": "lead_generated", "email": "ada@example.com"}
MEBIBYTE = 1024 * 1024
PACKED = gzip.compress(json.dumps(EVENT).encode())
FORM, OCTETS = "application/x-www-form-urlencoded", "application/octet-stream"


@pytest.mark.parametrize("path", [EVENTS, DROP_IN])
@pytest.mark.parametrize("key", [None, "not-a-key"], ids=["no key", "a wrong key"])
def test_without_a_valid_key_nothing_is_taken(
    deployed: Deployed, path: str, key: str | None
) -> None:
    answer = deployed.api.with_key(key).post(EVENT, path=path)

    assert (answer.status, set(answer.body)) == (401, {"message"})
    assert deployed.queues.waiting() == 0
    assert deployed.sandbox.requests() == []


REFUSED: list[tuple[str, Callable[[Api], Answer], int]] = [
    ("an unknown path", lambda api: api.post(EVENT, path="/v2/events"), 404),
    ("another method on events", lambda api: api.request("GET", EVENTS), 405),
    ("another method on the drop-in path", lambda api: api.request("PUT", DROP_IN, b"{}"), 405),
    ("a post to health", lambda api: api.post(EVENT, path="/health"), 405),
    ("501 events", lambda api: api.post([EVENT] * 501), 413),
    ("more than a mebibyte", lambda api: api.post(b" " * (MEBIBYTE + 1)), 413),
    ("half a JSON object", lambda api: api.post(b'{"event_name": "purch'), 400),
    ("half a JSON object to the drop-in path", lambda api: api.post(b"{", path=DROP_IN), 400),
    ("no event", lambda api: api.post([]), 422),
    ("a bad event", lambda api: api.post({"event_name": "purchased"}), 422),
    ("a bad event to the drop-in path", lambda api: api.post({}, path=DROP_IN), 422),
    ("an array to the drop-in path", lambda api: api.post([EVENT], path=DROP_IN), 422),
    ("a form", lambda api: api.post(b"email=ada%40example.com", Content_Type=FORM), 415),
    ("brotli", lambda api: api.post(PACKED, Content_Encoding="br", Content_Type=OCTETS), 415),
    ("gzip that the API took for text", lambda api: api.post(PACKED, Content_Encoding="gzip"), 415),
]


@pytest.mark.parametrize(
    ("ask", "status"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_is_no_event_is_refused_with_a_message(
    deployed: Deployed, ask: Callable[[Api], Answer], status: int
) -> None:
    answer = ask(deployed.api)

    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.body["message"], str)
    assert deployed.queues.waiting() == 0


def test_of_an_array_the_good_events_are_taken_and_each_is_answered_in_order(
    deployed: Deployed,
) -> None:
    answer = deployed.api.post([EVENT, {"event_name": "lead_generated"}, EVENT])

    assert answer.status == 207
    assert [result["status"] for result in answer.body["results"]] == [202, 422, 202]
    deployed.queues.until_all_is_settled()
    assert {event["fields"]["idempotency_key"] for event in deployed.sandbox.events()} == {
        answer.body["results"][place]["event_id"] for place in (0, 2)
    }


def test_an_event_is_normalised_and_a_misspelled_field_left_out_with_a_warning(
    deployed: Deployed,
) -> None:
    answer = deployed.api.post({**EVENT, "phone": "(650)555-1212", "emial": "ada@example.com"})

    assert answer.status == 202
    [warning] = answer.body["warnings"]
    assert warning["field"] == "emial"
    assert 'did you mean "email"?' in warning["message"]
    deployed.queues.until_all_is_settled()
    [event] = deployed.sandbox.events()
    assert event["fields"]["phone"] == "16505551212"
    assert event["unknown_fields"] == []


def test_the_key_may_come_as_x_api_key(deployed: Deployed) -> None:
    answer = deployed.api.with_key(None).post({}, x_api_key=str(deployed.api.key))

    assert answer.status == 422


INVALID_UTF_8 = (
    b'{"event_name": "lead_generated", "email": "ada@example.com", "full_name": "M\xfcller"}'
)


def test_bytes_that_are_not_utf_8_are_refused_where_they_come_through(deployed: Deployed) -> None:
    answer = deployed.api.post(INVALID_UTF_8, Content_Type="application/octet-stream")

    assert (answer.status, deployed.queues.waiting()) == (400, 0)


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_bytes_that_the_api_replaced_are_taken_with_a_warning(
    deployed: Deployed, kind: str
) -> None:
    """So does the emulator; of AWS it is not known (decision 12)."""
    answer = deployed.api.post(INVALID_UTF_8, Content_Type=kind)

    assert answer.status == 202
    assert [warning["field"] for warning in answer.body["warnings"]] == ["full_name"]
    deployed.queues.until_all_is_settled()
    [event] = deployed.sandbox.events()
    assert event["fields"]["full_name"] == "M\N{REPLACEMENT CHARACTER}ller"


# --- What real callers send -------------------------------------------------------------------

PASSED_ON = {"currency": "EUR", "profile_field_1": "gold", "profile_field_30": True}


def test_a_gzipped_array_is_taken(deployed: Deployed) -> None:
    packed = gzip.compress(json.dumps({"batch": [EVENT, EVENT]}).encode())

    answer = deployed.api.post(packed, Content_Encoding="gzip", Content_Type=OCTETS)

    assert (answer.status, len(answer.body["results"])) == (202, 2)
    deployed.queues.until_all_is_settled()
    assert len(deployed.sandbox.events()) == 2


@pytest.mark.parametrize("path", [EVENTS + "/", DROP_IN + "/"])
def test_a_path_with_a_slash_at_its_end_is_the_one_without(deployed: Deployed, path: str) -> None:
    assert deployed.api.post({}, path=path).status == 422
    assert deployed.api.with_key(None).post({}, path=path).status == 401


@pytest.mark.parametrize("path", ["/health", "/health/", "/client.js"])
def test_monitors_may_ask_by_head(deployed: Deployed, path: str) -> None:
    answer = deployed.api.with_key(None).request("HEAD", path)

    assert (answer.status, answer.body) == (200, None)
    assert answer.headers["content-type"]


@pytest.mark.parametrize("path", [EVENTS, DROP_IN])
def test_fields_beside_cometlys_own_are_passed_on(deployed: Deployed, path: str) -> None:
    assert deployed.api.post({**EVENT, **PASSED_ON}, path=path).status == 202

    deployed.queues.until_all_is_settled()
    [event] = deployed.sandbox.events()
    assert event["fields"].items() >= PASSED_ON.items()


def test_a_dry_run_tells_what_would_be_sent_and_sends_nothing(deployed: Deployed) -> None:
    event = {"event_name": "Purchase", "email": "ada@example.com", "value": 49.9}
    event |= {"transaction_id": "T-1", "timestamp": 1705314600}

    tried = deployed.api.post([event, {}], path=EVENTS + "?dry_run=true")

    assert [result["status"] for result in tried.body["results"]] == [200, 422]
    assert (deployed.queues.waiting(), deployed.sandbox.requests()) == (0, [])
    posted = deployed.api.post(event)
    deployed.queues.until_all_is_settled()
    [sent] = deployed.sandbox.events()
    assert tried.body["results"][0]["event_id"] == posted.body["event_id"]
    assert tried.body["results"][0]["event"] == sent["fields"]
    assert deployed.api.with_key(None).post(event, path=EVENTS + "?dry_run=true").status == 401
