"""What the Events Log is made of: its files, the stream, and what it asks of a forwarder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3

import local.sandbox
from local.sandbox.book import RECENT
from local.sandbox.errors import ForwarderAway
from local.sandbox.sandbox import Sandbox, read_request
from local.sandbox.server import running
from local.sandbox.stream import Watcher
from local.sandbox.timeline import SPANS, Timeline
from tests.sandbox.client import EVENT, HEADERS, Client, Json

PAGES = sorted(Path(local.sandbox.__file__).with_name("pages").iterdir())
GOOD = {name.lower(): value for name, value in HEADERS.items()}


def messages(text: str) -> Iterator[tuple[str, str, Json]]:
    """Read server-sent events: name, id, data."""
    for block in text.split("\n\n"):
        lines = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "event" in lines:
            yield lines["event"], lines["id"], json.loads(lines["data"])


def seen(watcher: Watcher) -> dict[str, Json]:
    return {name: data for name, _, data in messages("".join(watcher.look()))}


def send(sandbox: Sandbox, body: object = EVENT, at: float = 0.0, **headers: str) -> None:
    raw = json.dumps(body).encode()
    sandbox.process(read_request("POST", GOOD | headers, raw, at))


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(clock=lambda: 0.0)


def test_each_file_of_the_page_is_served_and_nothing_beside_it(client: Client) -> None:
    def get(path: str) -> urllib3.BaseHTTPResponse:
        return client.pool.request("GET", client.server.url + path, retries=False)

    assert get("/").headers["Content-Type"].startswith("text/html")
    assert get("/events-log.css").headers["Content-Type"].startswith("text/css")
    assert "javascript" in get("/events-log.js").headers["Content-Type"]
    assert get("/page.html").status == 404
    assert get("/../app.py").status == 404
    assert "default-src 'none'" in get("/").headers["Content-Security-Policy"]


@pytest.mark.parametrize("file", PAGES, ids=lambda it: it.name)
def test_the_page_needs_nothing_from_elsewhere_and_parses_no_text(file: Path) -> None:
    text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")

    assert not re.search(r"https?://|//[a-z]+\.|innerHTML|insertAdjacentHTML|document\.write", text)


def test_the_stream_sends_what_was_there_and_then_what_comes(client: Client) -> None:
    client.send({**EVENT, "order_id": "1"})
    answer = client.pool.request(
        "GET", f"{client.server.url}/_sandbox/stream", preload_content=False, timeout=30
    )
    text, is_sent = "", False
    with answer:
        for chunk in answer.stream():
            text += chunk.decode()
            if not is_sent and "event: arrivals" in text:
                client.send({**EVENT, "order_id": "2"})
                is_sent = True
            if text.count("event: arrivals") == 2 and text.endswith("\n\n"):
                break

    orders = [
        it["order_id"] for name, _, data in messages(text) if name == "arrivals" for it in data
    ]
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert orders == ["1", "2"]
    assert text.startswith("retry: ")


def test_a_watcher_gets_each_request_once(sandbox: Sandbox) -> None:
    watcher = Watcher(sandbox)
    send(sandbox)

    first, second = seen(watcher), seen(watcher)

    assert [it["outcome"] for it in first["arrivals"]] == ["booked"]
    assert first["state"]["stats"]["booked"] == 1
    assert second == {}


def test_a_reconnect_goes_on_where_it_was(sandbox: Sandbox) -> None:
    send(sandbox)
    [*_, (_, last, _)] = messages("".join(Watcher(sandbox).look()))
    send(sandbox, {**EVENT, "order_id": "later"})

    again = seen(Watcher.resuming(sandbox, last))

    assert "reset" not in again
    assert [it["order_id"] for it in again["arrivals"]] == ["later"]


@pytest.mark.parametrize("last", [None, "", "nonsense", "0badcafe-7", "-", "0badcafe-"], ids=repr)
def test_an_id_of_another_sandbox_begins_anew(sandbox: Sandbox, last: str | None) -> None:
    send(sandbox)

    again = seen(Watcher.resuming(sandbox, last))

    assert again["reset"] == {}
    assert len(again["arrivals"]) == 1


def test_a_reset_empties_the_page(sandbox: Sandbox) -> None:
    watcher = Watcher(sandbox)
    send(sandbox)
    seen(watcher)

    sandbox.forget()

    assert seen(watcher)["reset"] == {}


def test_of_a_flood_the_newest_are_sent_and_kept(sandbox: Sandbox) -> None:
    sandbox.change({"requests_per_minute": 10_000})
    watcher = Watcher(sandbox)
    for number in range(RECENT + 20):
        send(sandbox, {**EVENT, "order_id": str(number)})

    arrivals = seen(watcher)["arrivals"]

    assert len(arrivals) == RECENT
    assert arrivals[-1]["order_id"] == str(RECENT + 19)
    assert sandbox.book.find(arrivals[0]["request_id"])
    assert sandbox.book.find("req_unknown") is None


def test_a_refused_request_keeps_what_was_sent_and_no_secret(sandbox: Sandbox) -> None:
    send(sandbox, authorization="Bearer not-the-token", cookie="session=1")

    [arrival] = seen(Watcher(sandbox))["arrivals"]

    assert (arrival["outcome"], arrival["status"]) == ("refused", 401)
    assert arrival["fields"] == EVENT
    assert arrival["headers"]["authorization"] == "Bearer ••••••••"
    assert arrival["headers"]["cookie"] == "••••••••"
    assert "not-the-token" not in json.dumps(arrival)


def test_a_duplicate_names_the_first_and_the_rule(sandbox: Sandbox) -> None:
    for _ in range(2):
        send(sandbox, {**EVENT, "order_id": "1"})

    [first, second] = seen(Watcher(sandbox))["arrivals"]

    assert (second["outcome"], second["duplicate_of"]) == ("duplicate", first["event_id"])
    assert second["duplicate_rule"] == "order_id"


def test_the_state_says_how_much_of_the_limit_is_taken(sandbox: Sandbox) -> None:
    for _ in range(3):
        send(sandbox)
    sandbox.change({"requests_per_minute": 2})

    state = seen(Watcher(sandbox))["state"]

    assert state["quota"] == {"used": 3, "limit": 2, "window": "sliding"}
    assert state["settings"]["tokens"] is None


def test_the_timeline_counts_outcomes_in_spans_and_forgets_the_oldest() -> None:
    timeline = Timeline()
    timeline.count("booked", at=5)
    timeline.count("refused", at=9)
    timeline.count("booked", at=10)
    timeline.count("booked", at=3)

    assert timeline.as_json() == [
        {"at": 0, "booked": 1, "refused": 1},
        {"at": 10, "booked": 2},
    ]
    for span in range(2, SPANS + 3):
        timeline.count("booked", at=span * 10)
    assert len(timeline.as_json()) == SPANS


def test_a_fault_with_a_label_is_taken_back_alone(client: Client) -> None:
    client.faults({"kind": "status", "status": 503, "label": "503"}, {"kind": "html_200"})

    left = client.control("DELETE", "faults?label=503")

    assert [rule["kind"] for rule in left] == ["html_200"]
    assert "label" not in left[0]


class FakeForwarder:
    def state(self) -> dict[str, Any]:
        return {"waiting": 1}

    def parked(self) -> list[dict[str, Any]]:
        raise ForwarderAway("It did not answer.")

    def story(self, request_id: str, fields: Mapping[str, object]) -> dict[str, Any]:
        return {"request_id": request_id, "fields": fields}


def test_a_forwarder_beside_it_is_asked_about_an_event() -> None:
    with running(forwarder=FakeForwarder()) as server, urllib3.PoolManager() as pool:
        client = Client(server, pool)
        request_id = client.send().headers["Request-Id"]

        assert client.control("GET", "forwarder") == {"waiting": 1}
        assert client.control("GET", "forwarder/parked") == {"away": "It did not answer."}
        assert client.control("GET", f"forwarder/story/{request_id}") == {
            "request_id": request_id,
            "fields": EVENT,
        }
        assert "not among" in client.control("GET", "forwarder/story/req_0")["message"]


def test_a_sandbox_alone_says_so(client: Client) -> None:
    assert "runs alone" in client.control("GET", "forwarder")["away"]
