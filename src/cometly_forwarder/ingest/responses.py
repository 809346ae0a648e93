"""Receipts, in the HTTP bodies that callers get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cometly_forwarder.errors import Fault, summary_of
from cometly_forwarder.ingest.accept import Preview, Receipt, Status

RETRY_AFTER_SECONDS = 5
ACCEPTED_MESSAGE = "Event accepted and queued for processing."
CRASHED_MESSAGE = "Something went wrong here; please try again."
UNAVAILABLE_MESSAGE = "The event could not be queued; please send it again."
_MULTI_STATUS = 207
# What the parts of an identity are. One without parts is an event of its own each time it is sent.
_ORDER = ("event_name", "order_id", "customer")
_IDENTITIES: dict[str, tuple[str, ...]] = {
    "key": ("idempotency_key",),
    "order": _ORDER,
    "upsell": (*_ORDER, "amount", "order_name"),
    "source": (),
}


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer before it is written as JSON."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, message: str, **headers: str) -> Response:
    """Answer with nothing but a message; header names are written with underscores."""
    return Response(
        status, {"message": message}, {k.replace("_", "-"): v for k, v in headers.items()}
    )


def response_to_one(receipt: Receipt) -> Response:
    return Response(receipt.status, _body_of(receipt), _retry_header(receipt.status))


def response_as_cometly(receipt: Receipt) -> Response:
    """Answer with what Cometly itself would say, and no more than that."""
    response = response_to_one(receipt)
    kept = {key: value for key, value in response.body.items() if key in {"status", "message"}}
    named = {"Request-Id": receipt.event_id} if receipt.event_id else {}
    return Response(response.status, kept, {**response.headers, **named})


def response_to_many(receipts: Sequence[Receipt]) -> Response:
    """202 when all were accepted, 207 when some were, else 422, or 503 if trying again helps."""
    counts = Counter(receipt.status for receipt in receipts)
    status = _joint_status(counts)
    results = [{**_body_of(receipt), "status": int(receipt.status)} for receipt in receipts]
    message = f"{counts[Status.ACCEPTED]} of {len(receipts)} events accepted."
    body = {"status": status, "message": message, "results": results}
    return Response(status, body, _retry_header(status))


def response_to_preview(found: Preview) -> Response:
    """Say what would be posted to Cometly, who the event is, and what was noticed: 200, or 422."""
    return Response(_preview_status(found), _preview_body(found))


def response_to_previews(found: Sequence[Preview]) -> Response:
    """Say the same for each event of an array."""
    valid = sum(one.envelope is not None for one in found)
    results = [{"status": _preview_status(one), **_preview_body(one)} for one in found]
    message = f"{valid} of {len(found)} events are valid. Nothing was queued."
    return Response(200, {"status": 200, "message": message, "results": results})


def _preview_status(found: Preview) -> int:
    if found.envelope:
        return 200
    return Status.TOO_LARGE if found.is_too_large else Status.INVALID


def _preview_body(found: Preview) -> dict[str, Any]:
    warnings = _listed(found.warnings)
    if found.envelope is None:
        errors = _listed(found.faults)
        return {"message": summary_of(found.faults), "errors": errors, "warnings": warnings}
    kind, *parts = found.identity
    return {
        "message": "The event is valid. Nothing was queued.",
        "event_id": found.envelope.event_id,
        "identity": dict(zip(_IDENTITIES[kind], parts, strict=False)),
        "event": dict(found.envelope.event),
        "errors": [],
        "warnings": warnings,
    }


def _joint_status(counts: Counter[Status]) -> int:
    if len(counts) == 1:  # all met the same end, too large among them
        return next(iter(counts))
    if counts[Status.ACCEPTED]:
        return _MULTI_STATUS
    return Status.UNAVAILABLE if counts[Status.UNAVAILABLE] else Status.INVALID


def _body_of(receipt: Receipt) -> dict[str, Any]:
    warnings = _listed(receipt.warnings)
    match receipt.status:
        case Status.ACCEPTED:
            body = {"status": int(Status.ACCEPTED), "message": ACCEPTED_MESSAGE}
            return body | {"event_id": receipt.event_id, "warnings": warnings}
        case Status.INVALID | Status.TOO_LARGE:
            errors = _listed(receipt.faults)
            return {"message": summary_of(receipt.faults), "errors": errors, "warnings": warnings}
        case Status.UNAVAILABLE:
            return {"message": UNAVAILABLE_MESSAGE}


def _listed(faults: Sequence[Fault]) -> list[dict[str, str]]:
    return [fault.as_json() for fault in faults]


def _retry_header(status: int) -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == Status.UNAVAILABLE else {}
