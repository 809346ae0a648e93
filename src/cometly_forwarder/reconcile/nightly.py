"""What a comparison writes down that nobody watches: a line a missing event, and the counts."""

from __future__ import annotations

from cometly_forwarder.journal import Journal
from cometly_forwarder.reconcile.book import Book
from cometly_forwarder.reconcile.days import Day
from cometly_forwarder.reconcile.matching import Kind
from cometly_forwarder.reconcile.run import Report

# Of a day that is missing altogether the lines would say no more, and logs cost.
MOST_LINES = 1000


def write_down(journal: Journal, day: Day, report: Report, book: Book) -> dict[str, object]:
    """Log what is missing, event by event, then the counts of the day; returns those."""
    for finding in book.findings(Kind.MISSING, MOST_LINES):
        sent = finding.delivered
        journal.record(
            "reconcile.missing",
            event_id=sent.event_id if sent else None,
            event_name=finding.name,
            request_id=sent.request_id if sent else None,
        )
    if (left := report.missing - MOST_LINES) > 0:
        journal.record("reconcile.missing", count=left)
    total = report.total
    journal.record(
        "reconcile.compared",
        count=total.recorded,
        day=str(day.date),
        delivered=total.delivered,
        missing=total.of[Kind.MISSING],
        different_amount=total.of[Kind.AMOUNT],
        repeated=total.of[Kind.REPEATED],
        not_from_here=total.of[Kind.OTHER],
        unjudged=report.unjudged,
    )
    return {"day": str(day.date), **total.record(), "unjudged": report.unjudged}
