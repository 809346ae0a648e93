"""JSON as it comes from strangers: read strictly, refused without quoting it."""

from __future__ import annotations

import json
from typing import Any

from cometly_forwarder.errors import Unreadable


def parse(text: str | bytes) -> Any:  # noqa: ANN401 - JSON can be anything
    """Parse UTF-8 JSON in which no object names a key twice; raises Unreadable.

    NaN and Infinity pass, as they do in Python's json: the event's own rules refuse them, each
    with the name of its field.
    """
    try:
        # RFC 8259 lets a reader ignore a byte order mark, which some callers put in front.
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_unique)
    except UnicodeDecodeError as exc:
        raise Unreadable("it is not UTF-8") from exc
    except RecursionError as exc:
        raise Unreadable("it is nested too deeply") from exc
    except json.JSONDecodeError as exc:
        raise Unreadable(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from None
    except ValueError as exc:
        raise Unreadable("it holds a number with too many digits") from exc


def dump(value: object) -> str:
    """Write compact JSON in ASCII, so that no transport refuses a character of it."""
    return json.dumps(value, separators=(",", ":"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("an object names the same key twice")
    return members
