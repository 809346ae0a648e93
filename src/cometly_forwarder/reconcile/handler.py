"""The nightly comparison: the last day that is over, beside what Cometly recorded of it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cometly_forwarder import loading

# isort: split
import urllib3

from cometly_forwarder import aws
from cometly_forwarder.observability import Journal, make_logger, make_metrics
from cometly_forwarder.reconcile.asking import Asker, Pace
from cometly_forwarder.reconcile.book import Book
from cometly_forwarder.reconcile.days import day_of, last_settled_day, zone_named
from cometly_forwarder.reconcile.exports import (
    CHECKS_PER_MINUTE,
    CREATES_PER_MINUTE,
    CometlyExports,
)
from cometly_forwarder.reconcile.ledger import LedgerScan
from cometly_forwarder.reconcile.listing import REQUESTS_PER_MINUTE, CometlyList
from cometly_forwarder.reconcile.nightly import write_down
from cometly_forwarder.reconcile.run import Comparison
from cometly_forwarder.reconcile.settings import ReconcileSettings
from cometly_forwarder.secrets import CometlyToken, Secret
from cometly_forwarder.stopwatch import Stopwatch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

journal = Journal(make_logger(), make_metrics())


def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, object]:
    """Compare the last day; returns its counts. What fails is raised: Lambda tries twice more."""
    journal.begin(context.aws_request_id)
    try:
        return _compared(ReconcileSettings.read(os.environ))
    finally:
        journal.flush()


def _compared(settings: ReconcileSettings) -> dict[str, object]:
    now = time.time()
    zone = zone_named(settings.space_time_zone)
    day = day_of(last_settled_day(now, zone), zone)
    secret = Secret(aws.client("secretsmanager"), settings.cometly_token_secret_arn, Stopwatch())
    asker = Asker(urllib3.PoolManager(), settings.cometly_url, CometlyToken(secret).current)
    # A try that follows in the same environment goes on where this one broke off.
    file = Path(tempfile.gettempdir()) / "reconcile.sqlite"
    book = Book.open(file, f"{day.date} {zone.key}", now)
    try:
        comparison = Comparison(
            days=[day],
            listing=CometlyList(asker, zone, Pace(REQUESTS_PER_MINUTE)),
            exports=CometlyExports(asker, Pace(CREATES_PER_MINUTE), Pace(CHECKS_PER_MINUTE)),
            ledger=LedgerScan(aws.client("dynamodb"), settings.table_name),
            book=book,
        )
        counts = write_down(journal, day, comparison.run(), book)
    except BaseException:
        book.close()
        raise
    book.remove()
    return counts


loading.done()
