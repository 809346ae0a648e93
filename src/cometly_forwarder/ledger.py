"""The ledger in DynamoDB: one item an identity, written by conditional updates alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.claims import (
    Claimed,
    Duplicate,
    Leased,
    Outcome,
    Settled,
    State,
    Ticket,
)
from cometly_forwarder.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.literals import ReturnValueType

RETENTION_SECONDS = 30 * 24 * 3600

# An identity is free when nobody has it, or when its owner comes back and no other copy of it is at
# work.
_FREE = (
    "attribute_not_exists(event_id)"
    " OR (#state = :waiting AND #owner = :owner)"
    " OR (#state = :claimed AND #owner = :owner AND lease < :now)"
)
# So is one that is parked, for another message than the one that was: a replay.
_PARKED = "#state = :parked AND message_id <> :message_id"
_TAKE = (
    "SET #state = :claimed, #owner = :owner, message_id = :message_id, mark = :mark,"
    " lease = :lease, accepted_at = :accepted_at,"
    " updated_at = :now, expires_at = :expires_at"
)
_CLAIM = f"{_TAKE} ADD claims :one"
_REPLAY = f"{_TAKE}, claims = :one, attempts = :none"
_SETTLE = (
    "SET #state = :state, attempts = :attempts, claims = :claims, updated_at = :now,"
    " expires_at = :expires_at"
)
_NAMES = {"#state": "state", "#owner": "owner"}
_Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DynamoLedger:
    """Claims and settles identities in one table, whose key is `event_id`."""

    client: DynamoDBClient
    table: str
    now: Callable[[], float]
    new_mark: Callable[[], str] = lambda: uuid.uuid4().hex[:12]

    def claim(self, ticket: Ticket) -> Claimed | Settled | Duplicate | Leased:
        """Claim an identity, if it is free.

        botocore sends a request again whose answer was lost; the claim that then stands in its way
        is known by its mark.
        """
        mark = self.new_mark()
        values = {
            **_states(State.CLAIMED),
            **self._values(ticket),
            ":message_id": {"S": ticket.message_id},
            ":mark": {"S": mark},
            ":accepted_at": {"S": ticket.accepted_at.isoformat()},
            ":lease": _number(ticket.lease),
            ":one": _number(1),
        }
        try:
            free = values | _states(State.WAITING)
            return _claim_in(self._update(ticket, _CLAIM, _FREE, free, "ALL_NEW"))
        except _Refused as refused:
            if not _is_parked_for(refused.item, ticket):
                return _held(refused.item, ticket, mark)
        try:
            parked = values | _states(State.PARKED) | {":none": _number(0)}
            return _claim_in(self._update(ticket, _REPLAY, _PARKED, parked, "ALL_NEW"))
        except _Refused as refused:
            return _held(refused.item, ticket, mark)

    def settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """Record an outcome. A claim that has passed to somebody else is left alone.

        That an event was delivered is recorded even then: it is true whoever holds the claim.
        """
        values = {
            **self._values(ticket),
            ":state": {"S": outcome.state.value},
            ":attempts": _number(outcome.attempts),
            ":claims": _number(outcome.claims),
        }
        update, condition = _SETTLE, "#owner = :owner"
        if outcome.state is not State.DELIVERED:
            condition += " AND #state = :claimed AND lease = :lease"
            values |= {**_states(State.CLAIMED), ":lease": _number(ticket.lease)}
        if outcome.verdict:
            update += ", answer = :answer, request_id = :request_id"
            values |= {
                ":answer": {"S": outcome.verdict.reason},
                ":request_id": {"S": outcome.verdict.request_id or ""},
            }
        try:
            self._update(ticket, update, condition, values, "NONE")
        except _Refused:
            return

    def _values(self, ticket: Ticket) -> dict[str, Any]:
        return {
            ":owner": {"S": ticket.owner},
            ":now": _number(self.now()),
            ":expires_at": _number(int(self.now() + RETENTION_SECONDS)),
        }

    def _update(
        self,
        ticket: Ticket,
        update: str,
        condition: str,
        values: Mapping[str, Any],
        returned: ReturnValueType,
    ) -> _Item:
        try:
            answer = self.client.update_item(
                TableName=self.table,
                Key={"event_id": {"S": ticket.event_id}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames=_NAMES,
                ExpressionAttributeValues=values,
                ReturnValues=returned,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise _Refused(cast("_Item", exc.response.get("Item", {}))) from exc
        except (ClientError, BotoCoreError) as exc:
            raise Unavailable(f"the ledger did not answer: {type(exc).__name__}") from exc
        return answer.get("Attributes", {})


class _Refused(Exception):
    """The condition did not hold; carries the item that stood in the way."""

    def __init__(self, item: _Item) -> None:
        super().__init__()
        self.item = item


def _states(*states: State) -> dict[str, dict[str, str]]:
    return {f":{state.value}": {"S": state.value} for state in states}


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def _integer(item: _Item, name: str) -> int:
    return int(item[name]["N"]) if name in item else 0


def _claim_in(item: _Item) -> Claimed:
    """Read a claim from the item that holds it."""
    return Claimed(
        _integer(item, "claims"),
        _integer(item, "attempts"),
        item.get("answer", {}).get("S", ""),
        item.get("request_id", {}).get("S", ""),
    )


def _is_parked_for(item: _Item, ticket: Ticket) -> bool:
    return (
        item.get("state") == {"S": State.PARKED.value}
        and item["message_id"]["S"] != ticket.message_id
    )


def _held(item: _Item, ticket: Ticket, mark: str) -> Claimed | Settled | Duplicate | Leased:
    if "owner" not in item:
        # Whose it is was not said: to call it a duplicate would drop the message unheard.
        raise Unavailable("the ledger refused a claim without saying who holds it")
    if item["owner"]["S"] != ticket.owner:
        return Duplicate()
    if item["state"]["S"] == State.CLAIMED.value:
        is_ours = item.get("mark") == {"S": mark}
        return _claim_in(item) if is_ours else Leased(float(item["lease"]["N"]))
    return Settled() if item["message_id"]["S"] == ticket.message_id else Duplicate()
