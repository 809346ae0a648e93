"""What pages send: on a queue of its own, after the services' events, and within bounds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.stack.deployed import Answer, Deployed, Fields, eventually

PAGE = "https://shop.example.com"
VIEW = {"event_name": "view_content", "email": "ada@example.com"}


def post_from_page(deployed: Deployed, content: object, origin: str = PAGE) -> Answer:
    return deployed.api.with_key(None).post(content, path="/collect", Origin=origin)


def a_purchase(**fields: object) -> Fields:
    return {"event_name": "purchase", "email": "ada@example.com", **fields}


def lines_about(deployed: Deployed, name: str, event_id: str) -> list[Fields]:
    return [line for line in deployed.logged(name) if line.get("event_id") == event_id]


def test_an_event_of_a_page_is_delivered_from_the_page_queue(deployed: Deployed) -> None:
    event_id = post_from_page(deployed, VIEW).body["event_id"]

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"]["email"] == VIEW["email"]
    deployed.queues.until_all_is_settled()
    [line] = eventually(lambda: lines_about(deployed, "delivery.delivered", event_id), bool)
    assert line["queue"] == "pages"


def test_a_service_passes_the_pages_that_wait(deployed: Deployed) -> None:
    post_from_page(deployed, [{**VIEW, "email": f"{n}@example.com"} for n in range(20)])
    deployed.api.post({**VIEW, "email": "grace@example.com"})

    events = eventually(deployed.sandbox.events, lambda events: len(events) == 21)
    assert events[0]["fields"]["email"] == "grace@example.com"


def test_a_page_may_not_send_a_purchase_by_default(deployed: Deployed) -> None:
    answer = post_from_page(deployed, a_purchase(order_id="ORD-7", amount=0.01))

    assert answer.status == 422
    assert "BrowserEventNames" in answer.body["message"]
    assert deployed.queues.waiting() == 0


def test_of_an_order_that_a_page_claims_first_the_back_ends_copy_is_booked(
    deployed: Deployed,
) -> None:
    order = str(uuid.uuid4())

    with deployed.functions.with_variable("ingest", "BROWSER_EVENT_NAMES", "*"):
        by_page = post_from_page(deployed, a_purchase(order_id=order, amount=0.01))
        by_back_end = deployed.api.post(a_purchase(order_id=order, amount=249))

    assert (by_page.status, by_back_end.status) == (202, 202)
    assert by_page.body["event_id"] == by_back_end.body["event_id"]
    deployed.queues.until_all_is_settled()
    assert [event["fields"]["amount"] for event in deployed.sandbox.events()] == [249]
    [line] = eventually(
        lambda: lines_about(deployed, "delivery.duplicate", by_page.body["event_id"]), bool
    )
    assert line["queue"] == "pages"


def test_a_parked_event_of_a_page_says_so_is_counted_apart_and_can_be_sent_again(
    deployed: Deployed,
) -> None:
    deployed.sandbox.fail(kind="status", status=422, times="always")
    before = deployed.metrics()

    by_page = post_from_page(deployed, VIEW)
    by_service = deployed.api.post({**VIEW, "email": "grace@example.com"})

    parked = {it.attributes["event_id"]: it for it in deployed.queues.take_dead_letters(2)}
    page = parked[by_page.body["event_id"]]
    assert page.attributes["queue"] == "pages"
    assert parked[by_service.body["event_id"]].attributes["queue"] == "events"
    counted = eventually(
        lambda: deployed.metrics() - before, lambda counted: counted["Parked"] == 2
    )
    assert counted["PagesParked"] == 1

    deployed.sandbox.recover()
    deployed.queues.send(page.body, to=deployed.queues.pages_url)

    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"]["email"] == VIEW["email"]


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://berlin.shops.example.com", True),
        ("https://shops.example.com", False),
        ("https://berlin.shops.example.com.evil.example", False),
        ("null", False),
    ],
)
def test_pages_of_every_subdomain_may_be_allowed(
    deployed: Deployed, origin: str, *, is_allowed: bool
) -> None:
    asked = deployed.api.with_key(None).request("OPTIONS", "/collect", Origin=origin)
    posted = post_from_page(deployed, {}, origin)

    assert (asked.status, posted.status) == ((204, 422) if is_allowed else (403, 403))
    for answer in (asked, posted):
        assert answer.headers.get("access-control-allow-origin") == (origin if is_allowed else None)
        allowed = answer.headers.get("access-control-allow-credentials")
        assert allowed == ("true" if is_allowed else None)


def test_what_is_odd_about_an_event_of_a_page_is_logged_once_by_field_name(
    deployed: Deployed,
) -> None:
    before = deployed.metrics()

    answer = post_from_page(deployed, {"event": "ViewContent", "email": "ada@example.com"})

    deployed.queues.until_all_is_settled()
    event_id = answer.body["event_id"]
    [line] = eventually(lambda: lines_about(deployed, "ingest.warned", event_id), bool)
    assert line["fields"] == ["(other)", "event_name"]
    counted = eventually(lambda: deployed.metrics() - before, lambda it: it["Delivered"] == 1)
    assert counted["Warned"] == 1


def test_an_event_of_a_page_was_as_long_ago_as_the_page_says(deployed: Deployed) -> None:
    before = datetime.now(UTC)

    post_from_page(deployed, {**VIEW, "seconds_ago": 7200})

    after = datetime.now(UTC)
    [event] = eventually(deployed.sandbox.events, bool)
    time = datetime.fromisoformat(event["fields"]["event_time"])
    assert before - timedelta(seconds=7201) < time <= after - timedelta(seconds=7200)
    assert event["unknown_fields"] == []
