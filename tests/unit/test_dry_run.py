"""`POST /v1/events?dry_run=true`: what would become of events, with nothing queued."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from cometly_forwarder.event.envelope import MAX_BODY_BYTES
from tests.unit.conftest import FakeAws, an_event, answer_to, http_request, lines_in, metrics_in

PURCHASE = an_event(order_id="T-1", amount=49.9)


def dry_run(
    body: object,
    flag: str | None = "true",
    path: str = "/v1/events",
    name: str = "dry_run",
    **given: Any,
) -> dict[str, Any]:
    request = http_request(body, path=path, **given)
    if flag is None:
        return {**request, "queryStringParameters": None}
    return {
        **request,
        "rawQueryString": f"{name}={flag}",
        "queryStringParameters": {name: flag},
    }


def test_a_valid_event_is_answered_with_what_would_be_sent(
    fake: FakeAws, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"event_name": "Purchase", "email": "ada@example.com", "value": 49.9}
    event |= {"transaction_id": "T-1", "event_time": 1705314600, "currency": "EUR", "emial": "x"}

    answer = answer_to(dry_run(event))

    assert (fake.bodies, log.getvalue(), metrics_in(capsys.readouterr().out)) == ([], "", {})
    warnings = [warning["field"] for warning in answer.body.pop("warnings")]
    assert sorted(warnings) == ["emial", "transaction_id", "value"]
    answer_to(http_request(event))
    assert answer.status == 200
    assert answer.body == {
        "message": "The event is valid. Nothing was queued.",
        "event_id": json.loads(fake.bodies[0])["event_id"],
        "identity": {
            "event_name": "purchase",
            "order_id": "T-1",
            "customer": "ada@example.com",
        },
        "event": fake.events[0],
        "errors": [],
    }
    assert answer.body["event"]["event_time"] == "2024-01-15T10:30:00Z"
    assert answer.body["event"]["currency"] == "EUR"


def test_an_invalid_event_is_answered_with_every_fault_and_warning(
    fake: FakeAws, log: io.StringIO
) -> None:
    body = {"event_name": "bought", "amount": "1,234", "email": "a@example.com", "emial": "x"}

    tried, posted = answer_to(dry_run(body)), answer_to(http_request(body))

    assert (tried.status, tried.body) == (422, posted.body)
    assert sorted(error["field"] for error in tried.body["errors"]) == ["amount", "event_name"]
    assert [warning["field"] for warning in tried.body["warnings"]] == ["emial"]
    assert [line["message"] for line in lines_in(log)] == ["ingest.rejected"]
    assert fake.bodies == []


def test_an_array_is_answered_200_with_a_status_for_each(
    fake: FakeAws, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    large = an_event(url="x" * MAX_BODY_BYTES)

    answer = answer_to(dry_run([PURCHASE, {}, large, "x"]))

    assert (answer.status, answer.body["status"]) == (200, 200)
    assert answer.body["message"] == "1 of 4 events are valid. Nothing was queued."
    results = answer.body["results"]
    assert [result["status"] for result in results] == [200, 422, 413, 422]
    assert results[0]["event"]["order_id"] == "T-1"
    assert (fake.bodies, log.getvalue(), metrics_in(capsys.readouterr().out)) == ([], "", {})


def test_an_event_too_large_to_travel_is_answered_413(fake: FakeAws) -> None:
    answer = answer_to(dry_run(an_event(url="x" * MAX_BODY_BYTES)))

    assert answer.status == 413
    assert answer.body["errors"] == [{"field": "", "message": "an event must not exceed 768 KiB"}]
    assert fake.bodies == []


UPSELL = an_event(order_id="5001", amount=97, is_upsell=True)
ORDER = {"event_name": "purchase", "order_id": "5001", "customer": "grace@example.com"}


@pytest.mark.parametrize(
    ("event", "header", "identity"),
    [
        pytest.param(an_event(idempotency_key="k-1"), None, {"idempotency_key": "k-1"}, id="a key"),
        pytest.param(PURCHASE, '"k-1"', {"idempotency_key": "k-1"}, id="the header's key"),
        pytest.param(an_event(order_id="gid://shopify/Order/5001"), None, ORDER, id="an order"),
        pytest.param(UPSELL, None, {**ORDER, "amount": "97.0", "order_name": ""}, id="an upsell"),
        pytest.param(an_event(), None, {}, id="neither: its own each time"),
        pytest.param(an_event(order_name="#1001"), None, {}, id="an order's name alone"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_the_identity_is_shown_with_what_it_is_made_of(
    event: object, header: str | None, identity: dict[str, str]
) -> None:
    headers = {"Idempotency-Key": header} if header else {}

    answer = answer_to(dry_run(event, headers=headers))

    assert answer.status == 200
    assert answer.body["identity"] == identity


@pytest.mark.parametrize("body", [[PURCHASE], {"data": [PURCHASE]}], ids=["bare", "wrapped"])
def test_a_header_with_an_array_is_refused_as_without_dry_run(body: object, fake: FakeAws) -> None:
    answer = answer_to(dry_run(body, headers={"Idempotency-Key": "k-1"}))

    assert (answer.status, list(answer.body)) == (422, ["message"])
    assert fake.bodies == []


@pytest.mark.parametrize(
    ("flag", "status"),
    [
        *((flag, 200) for flag in ("true", "TRUE", " true ", "1", "")),
        *((flag, 202) for flag in ("false", "False", "0", None)),
        *((flag, 422) for flag in ("yes", "no", "2", "tru", "true,false", "null")),
    ],
)
def test_the_flag_is_true_or_false_and_nothing_else_is_guessed(
    flag: str | None, status: int, fake: FakeAws
) -> None:
    answer = answer_to(dry_run(PURCHASE, flag))

    assert answer.status == status
    assert len(fake.bodies) == (1 if status == 202 else 0)
    assert "dry_run must be true or false" in answer.body["message"] or status != 422


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_dry_run_needs_the_key(key: str | None, fake: FakeAws) -> None:
    answer = answer_to(dry_run(PURCHASE, key=key))

    assert (answer.status, list(answer.body)) == (401, ["message"])
    assert fake.bodies == []


def test_a_dry_run_needs_no_queue(fake: FakeAws) -> None:
    fake.sqs_is_away = ConnectionError()

    assert answer_to(dry_run(PURCHASE)).status == 200


@pytest.mark.parametrize("name", ["dryRun", "dry-run", "DRY_RUN", "Dry.Run", "dryrun"])
def test_the_flag_is_read_in_any_spelling(name: str, fake: FakeAws) -> None:
    answer = answer_to(dry_run(PURCHASE, name=name))

    assert (answer.status, fake.bodies) == (200, [])
    assert answer_to(dry_run(PURCHASE, "perhaps", name=name)).status == 422


@pytest.mark.parametrize("name", ["dry_run", "dryRun"])
def test_the_drop_in_says_that_it_has_no_dry_run(name: str, fake: FakeAws) -> None:
    path = "/public-api/v1/events/track"

    answer = answer_to(dry_run(PURCHASE, path=path, name=name))

    assert (answer.status, fake.bodies) == (422, [])
    assert "only post /v1/events has a dry run" in answer.body["message"].lower()
    assert answer_to(dry_run(PURCHASE, "false", path, name)).status == 202
