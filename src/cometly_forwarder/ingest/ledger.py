"""The ledger, as ingest reads it: one item, for whoever asks where an event is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.errors import Unavailable
from cometly_forwarder.ledger_item import Entry, entry_in, key_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class LedgerReader:
    """Reads items of events. `client` makes the client when the first one is asked for."""

    client: Callable[[], DynamoDBClient]
    table: str

    def find(self, event_id: str) -> Entry | None:
        """Return what is known of an event; raises Unavailable."""
        try:
            answer = self.client().get_item(
                TableName=self.table, Key=key_of(event_id), ConsistentRead=True
            )
        except (ClientError, BotoCoreError) as exc:
            raise Unavailable(f"the ledger did not answer: {type(exc).__name__}") from exc
        return entry_in(answer.get("Item", {}))
