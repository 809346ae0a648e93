"""The doors of a stack: three over HTTP, the topic, the bus. And the events that go through."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from ops.errors import OpsError
from ops.target import Target

EVENTS, DROP_IN, COLLECT = "/v1/events", "/public-api/v1/events/track", "/collect"
HTTPS, DROPIN, PAGE, TOPIC, BUS = "HTTPS", "drop-in", "page", "topic", "bus"
# API Gateway waits for 30 s at most.
_TIMEOUT_SECONDS = 35.0

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered, and after how many seconds."""

    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float

    @property
    def message(self) -> str:
        text = self.body.get("message", "") if isinstance(self.body, dict) else self.body
        return f"{self.status} {text or ''}".strip()[:200]


@dataclass(frozen=True, slots=True)
class Door:
    """A path of the API, and what a caller of it brings along."""

    name: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Api:
    """The API of a stack, as its callers reach it: by the proxy of this machine, if it has one."""

    url: str
    pool: urllib3.PoolManager

    @classmethod
    def at(cls, url: str) -> Api:
        return cls(url, pool_for(url))

    def get(self, path: str) -> Answer:
        return self._request("GET", path, None, {})

    def post(self, door: Door, content: object, *, query: str = "") -> Answer:
        headers = {"Content-Type": "application/json", **door.headers}
        return self._request("POST", door.path + query, json.dumps(content).encode(), headers)

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        began = time.monotonic()
        try:
            answer = self.pool.request(
                method,
                self.url + path,
                body=body,
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as exc:
            raise OpsError(f"no answer from {self.url} ({type(exc).__name__})") from exc
        seen = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, seen, _json_or_text(answer.data), time.monotonic() - began)


def pool_for(url: str) -> urllib3.PoolManager:
    """Return connections to a URL: by the proxy of this machine, if it has one for it."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        return _by(proxy if "://" in proxy else f"http://{proxy}")
    return urllib3.PoolManager()


def _by(proxy: str) -> urllib3.ProxyManager:
    """Go by a proxy, with the name and password in its URL; raises OpsError."""
    try:
        auth = urllib3.util.parse_url(proxy).auth
        headers = urllib3.util.make_headers(proxy_basic_auth=unquote(auth)) if auth else None
        return urllib3.ProxyManager(proxy, proxy_headers=headers)
    except urllib3.exceptions.HTTPError as exc:
        raise OpsError("the proxy of this machine is no http:// or https:// address") from exc


def http_doors(target: Target, key: str) -> list[Door]:
    """Return the doors of the API that are open: that of pages where an origin may enter."""
    bearer = {"Authorization": f"Bearer {key}"}
    doors = [Door(HTTPS, EVENTS, bearer), Door(DROPIN, DROP_IN, bearer)]
    if origin := target.page_origin:
        doors.append(Door(PAGE, COLLECT, {"Origin": origin}))
    return doors


def names_of(doors: list[Door]) -> list[str]:
    """Return the names of all doors, those of the API first."""
    return [*(door.name for door in doors), TOPIC, BUS]


def an_event(door: str, event_name: str) -> Fields:
    """Return an event that no ad platform gets, of nobody, with a key of its own."""
    return {
        "event_name": event_name,
        "email": f"smoke-{door.lower()}@example.com",
        "do_not_capi": True,
        "idempotency_key": str(uuid.uuid4()),
    }


Send = Callable[[Fields], str]
"""Sends an event and says how it was taken; raises OpsError, or Closed, where it was not."""


class Closed(Exception):
    """This door does not take such an event, and that is as it was set up."""


class NotTaken(OpsError):
    """The event was refused: it is nowhere."""


def senders(target: Target, api: Api, doors: list[Door]) -> dict[str, Send]:
    """Return, by door, what sends an event there."""
    by_http = {door.name: _http_sender(api, door) for door in doors}
    return {**by_http, TOPIC: _to_topic(target), BUS: _to_bus(target)}


def _http_sender(api: Api, door: Door) -> Send:
    def send(event: Fields) -> str:
        answer = api.post(door, event)
        if door.name == PAGE and "BrowserEventNames" in answer.message:
            raise Closed(
                f"BrowserEventNames does not admit {event['event_name']}; --event-name names "
                "another event"
            )
        if answer.status != 202:
            failure = OpsError if answer.status >= 500 else NotTaken
            raise failure(f"the answer should be 202; it was {answer.message}")
        return f"answered 202 in {answer.seconds:.2f} s"

    return send


def _to_topic(target: Target) -> Send:
    arn = target.outputs["TopicArn"]

    def send(event: Fields) -> str:
        key = event["idempotency_key"]
        # A FIFO topic asks for a group, and for an id unless it makes one of the content.
        fifo = {"MessageGroupId": key, "MessageDeduplicationId": key}
        more: Any = fifo if arn.endswith(".fifo") else {}
        target.clients.sns.publish(TopicArn=arn, Message=json.dumps(event), **more)
        return f"published to {arn.rpartition(':')[2]}"

    return send


def _to_bus(target: Target) -> Send:
    name = target.outputs["EventBusName"]

    def send(event: Fields) -> str:
        if name.startswith("aws.partner/"):
            raise Closed("a partner's bus takes the partner's events alone")
        entry = target.clients.events.put_events(
            Entries=[
                {
                    "EventBusName": name,
                    "Source": target.parameters.get("EventSource") or "smoke",
                    "DetailType": target.parameters.get("EventDetailType", "ConversionEvent"),
                    "Detail": json.dumps(event),
                }
            ]
        )["Entries"][0]
        if code := entry.get("ErrorCode"):
            raise NotTaken(f"the bus did not take it: {code}: {entry.get('ErrorMessage', '')}")
        return f"put on {name}"

    return send


def _json_or_text(data: bytes) -> Any:
    try:
        return json.loads(data or b"null")
    except ValueError:
        return data.decode("utf-8", "replace")
