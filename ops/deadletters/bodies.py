"""The body of a parked event: sealed by ingest, wrapped by SNS or EventBridge, or bare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Unreadable

Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def name_in(body: str) -> str:
    """Return the name of the event in a body; empty where none can be read."""
    names: list[str] = []

    def look(event: Mapping[str, Any]) -> Mapping[str, Any]:
        names.append(str(event.get("event_name", "")))
        return event

    try:
        changed(body, look)
    except Unreadable:
        return ""
    return names[0]


def texts_in(body: str) -> str:
    """Return all names and values of the event in a body, a line each; empty where none is read."""
    texts: list[str] = []

    def look(event: Mapping[str, Any]) -> Mapping[str, Any]:
        texts.extend(_texts_of(event))
        return event

    with suppress(Unreadable):
        changed(body, look)
    return "\n".join(texts)


def _texts_of(content: object) -> Iterator[str]:
    match content:
        case dict():
            for name, value in content.items():
                yield str(name)
                yield from _texts_of(value)
        case list():
            for value in content:
                yield from _texts_of(value)
        case _:
            yield str(content)


def is_sealed(body: str) -> bool:
    """Say whether ingest's envelope is around an event: its id and time travel with it."""
    try:
        content = jsontext.parse(body)
    except Unreadable:
        return False
    return isinstance(content, dict) and content.get("cometly_forwarder") == 1


def changed(body: str, change: Change) -> str:
    """Return the body with another event in it, whatever is around it; raises Unreadable."""
    return jsontext.dump(_changed(jsontext.parse(body), change))


def _changed(content: object, change: Change) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise Unreadable("it is no JSON object")
    match content:
        case {"cometly_forwarder": 1, "event": dict(event)}:
            return {**content, "event": change(event)}
        case {"Type": "Notification", "MessageId": str(), "Message": str(text)}:
            inner = _changed(jsontext.parse(text), change)
            return {**content, "Message": jsontext.dump(inner)}
        case {"detail-type": str(), "id": str(), "detail": inner}:
            return {**content, "detail": _changed(inner, change)}
    return change(content)
