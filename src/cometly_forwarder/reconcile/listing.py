"""Cometly's list of recorded events: pages of 4000 by a cursor, 7 requests a minute and Space.

https://docs.cometly.com/api-reference/endpoint/list-events
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from cometly_forwarder.errors import ListUnread
from cometly_forwarder.reconcile.asking import Asker, Pace
from cometly_forwarder.reconcile.days import MARGIN_SECONDS, Day, wall_time
from cometly_forwarder.reconcile.rows import Page

PATH = "/public-api/v1/events"
REQUESTS_PER_MINUTE = 7
PER_PAGE = 4000
FIELDS = ("id", "event_time_utc", "event_name", "amount", "order_id", "order_name")


@dataclass(frozen=True, slots=True)
class CometlyList:
    """Reads what Cometly recorded, as `zone` counts its days. Raises ListUnread."""

    asker: Asker
    zone: ZoneInfo
    pace: Pace

    def page(self, day: Day, cursor: str | None) -> Page:
        """Read a page of a day, with an hour on each side of it, from a cursor on."""
        query = [
            ("start_date", wall_time(day.start - MARGIN_SECONDS, self.zone)),
            ("end_date", wall_time(day.end + MARGIN_SECONDS, self.zone)),
            *(("fields[]", name) for name in FIELDS),
            ("per_page", str(PER_PAGE)),
            *([("cursor", cursor)] if cursor else []),
        ]
        content = self.asker.ask(self.pace, "GET", f"{PATH}?{urlencode(query)}")
        rows, following = content.get("data"), content.get("next_cursor")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ListUnread("Cometly's list has no rows in it: its form is not the one we know")
        if following is not None and (not isinstance(following, str) or following == cursor):
            raise ListUnread("Cometly's list has a cursor that leads nowhere")
        return Page(rows, following or None)
