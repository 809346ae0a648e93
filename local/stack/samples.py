"""Post the samples of `events/http/`, and see what comes of each at the sandbox."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3

from local.stack import cometly
from local.stack.errors import StepFailed

ARRIVES_WITHIN = 20.0
_WIDTH = 58
HEADING = ("posted", "answer", "Cometly received", "after")


@dataclass(frozen=True, slots=True)
class Sample:
    """An API request."""

    name: str
    method: str
    path: str
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Sample:
        """Read a sample; raise StepFailed where it is none."""
        try:
            content = json.loads(file.read_text("utf-8"))
            return cls(
                name=content.get("name", file.stem),
                method=content["method"],
                path=content["path"],
                body=content.get("body"),
                headers=content.get("headers", {}),
            )
        except (ValueError, KeyError, AttributeError) as exc:
            raise StepFailed(f"{file} is no sample of an API request: {exc!r}") from exc


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: Any

    @property
    def event_ids(self) -> set[str]:
        """Return the ids of the events that were accepted."""
        return set(_event_ids(self.body))

    @property
    def unnamed(self) -> int:
        """Return 1 for an event that was accepted the way Cometly does it: with no id."""
        return int(self.status == HTTPStatus.ACCEPTED and not self.event_ids)

    @property
    def text(self) -> str:
        message = self.body.get("message") if isinstance(self.body, dict) else None
        return _shortened(f"{self.status} {message or ''}".strip())


def read_all(folder: Path) -> list[Sample]:
    return [Sample.read(file) for file in sorted(folder.glob("*.json"))]


def send(sample: Sample, api_url: str, server_key: str) -> Response:
    """Post a sample with the key; a key of the sample's own goes before it."""
    own_key = {name.lower() for name in sample.headers} & {"authorization", "x-api-key"}
    key = {} if own_key else {"Authorization": f"Bearer {server_key}"}
    response = urllib3.request(
        sample.method,
        f"{api_url}{sample.path}",
        body=None if sample.body is None else json.dumps(sample.body),
        headers={"Content-Type": "application/json", **key, **sample.headers},
        timeout=60.0,
        retries=False,
    )
    return Response(response.status, _json_or_text(response.data))


def rows(
    samples: list[Sample], *, api_url: str, server_key: str, sandbox_url: str | None
) -> Iterator[tuple[str, str, str, str]]:
    """Send each sample and yield its row of the table."""
    known: set[str] = set()
    for sample in samples:
        last = last_event(sandbox_url)
        began = time.time()
        response = send(sample, api_url, server_key)
        new = response.event_ids - known
        known |= new
        received, after = _outcome(sandbox_url, last, len(new) or response.unnamed, began)
        yield f"{sample.name}", response.text, received, after


def _outcome(sandbox_url: str | None, last: int, expected: int, began: float) -> tuple[str, str]:
    if not expected:
        return "nothing", ""
    if sandbox_url is None:
        return "on its way", ""
    events = _wait_for(sandbox_url, last, expected)
    if len(events) < expected:
        return f"{len(events)} of {expected} within {ARRIVES_WITHIN:.0f} s", ""
    return describe(events), f"{max(event['received_at'] for event in events) - began:.2f} s"


def describe(events: list[dict[str, Any]]) -> str:
    """Return, for one or a few events, their names and whose they are."""
    return _shortened(", ".join(_describe_one(event) for event in events))


def _describe_one(event: dict[str, Any]) -> str:
    fields = event["fields"]
    whose = next((name for name in ("email", "comet_token", "fingerprint") if name in fields), None)
    text = f"{fields.get('event_name')}"
    if event.get("duplicate_of") is not None:
        text += " (a duplicate)"
    return f"{text} by {whose}" if whose else text


def _wait_for(sandbox_url: str, last: int, expected: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + ARRIVES_WITHIN
    while len(events := cometly.events_since(sandbox_url, last)) < expected:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return events


def last_event(sandbox_url: str | None) -> int:
    """Return the number of the newest event that the sandbox has."""
    events = cometly.events_since(sandbox_url, 0) if sandbox_url else []
    return int(events[-1]["id"]) if events else 0


def _event_ids(body: object) -> Iterator[str]:
    if isinstance(body, dict):
        if isinstance(body.get("event_id"), str):
            yield body["event_id"]
        body = list(body.values())
    if isinstance(body, list):
        for part in body:
            yield from _event_ids(part)


def _json_or_text(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return {"message": data.decode("utf-8", "replace")}


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
