"""What a request leaves in the log: one line, however many events it brought.

Of an array the line is `ingest.array`: `outcomes` counts its events by the names that each would
have alone, `event_ids` has the id of each in its place (null: it was not taken), and `warnings`,
`faults` and `fields` have what was said of an event under its place, counted from 0. Who reads the
log has a line of each event all the same: `journal.each_outcome`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cometly_forwarder.event.reading import faulty_fields, warned_fields
from cometly_forwarder.ingest.accept import Receipt, Status
from cometly_forwarder.journal import ACCEPTED, ARRAY, REJECTED, UNAVAILABLE, WARNED, Journal

_NAMES = {
    Status.ACCEPTED: ACCEPTED,
    Status.INVALID: REJECTED,
    Status.TOO_LARGE: REJECTED,
    Status.UNAVAILABLE: UNAVAILABLE,
}


def record_one(journal: Journal, receipt: Receipt, *, is_heard: bool = True) -> None:
    """Record what became of an event; where nobody hears its warnings, the operator does."""
    name, fields = _NAMES[receipt.status], _unheard(receipt, is_heard=is_heard)
    journal.record(
        name,
        event_id=receipt.event_id,
        warnings=len(receipt.warnings),
        faults=faulty_fields(receipt.faults),
        **({"fields": fields, "outcomes": {name: 1, WARNED: 1}} if fields else {}),
    )


def record_array(journal: Journal, receipts: Sequence[Receipt], *, is_heard: bool = True) -> None:
    """Record the same of each event of an array."""
    outcomes = Counter(_NAMES[receipt.status] for receipt in receipts)
    told: dict[str, Any] = {"warnings": {}, "faults": {}, "fields": {}}
    for place, receipt in enumerate(receipts):
        if receipt.warnings:
            told["warnings"][place] = len(receipt.warnings)
            if fields := _unheard(receipt, is_heard=is_heard):
                told["fields"][place] = fields
        if receipt.faults:
            told["faults"][place] = faulty_fields(receipt.faults)
    if told["fields"]:
        outcomes[WARNED] = len(told["fields"])
    journal.record(
        ARRAY,
        outcomes=outcomes,
        event_ids=[receipt.event_id for receipt in receipts],
        **{name: it for name, it in told.items() if it},
    )


def _unheard(receipt: Receipt, *, is_heard: bool) -> list[str]:
    return [] if is_heard else warned_fields(receipt.warnings)
