"""The ledger in DynamoDB: one item an identity, written by conditional updates alone."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.deliver.claims import (
    AlreadyDone,
    Claim,
    Claimed,
    ClaimResult,
    Duplicate,
    Leased,
    Outcome,
    Waiting,
)
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.ledger_item import Entry, Item, State, entry_in, key_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.literals import ReturnValueType

RETENTION_SECONDS = 30 * 24 * 3600
# No lease and no `retry_at` lies farther ahead: the longest wait is an hour, a back-off.
FARTHEST_SECONDS = 2 * 3600

# An identity is free when no message has it, when what it waited for is over, or when the worker
# that had it left no outcome. The wait is that of the content which was tried: a correction need
# not wait for it. What is parked is free for another message than the one that was.
# An item of a version before retry_at waits for nothing.
_FREE = (
    "attribute_not_exists(event_id)"
    " OR (#state = :waiting AND (attribute_not_exists(retry_at) OR retry_at < :now"
    " OR #content <> :content))"
    " OR (#state = :claimed AND lease < :now)"
    " OR (#state = :parked AND message_id <> :message_id)"
)
_CLAIM = (
    "SET #state = :claimed, #owner = :owner, message_id = :message_id, mark = :mark,"
    " lease = :lease, accepted_at = :accepted_at,"
    " updated_at = :now, expires_at = :expires_at"
    " ADD claims :one"
)
# A claim is settled by its holder alone, save that an event was delivered: that is true whoever
# holds the claim by then.
_IS_HOLDER = "#owner = :owner AND #state = :claimed AND lease = :lease"
_NOT_DELIVERED = "attribute_not_exists(event_id) OR #state <> :delivered"
_BEGIN = "SET deaths = :deaths, #content = :content, updated_at = :now, expires_at = :expires_at"
_SETTLE = (
    "SET #state = :state, #content = :content, message_id = :message_id, attempts = :attempts,"
    " updated_at = :now, expires_at = :expires_at"
)
_OWN = (
    ", #owner = :owner, claims = :claims, deaths = :deaths, blocks = :blocks,"
    " blocked_at = :blocked_at, retry_at = :retry_at"
)
# Nothing claims what is delivered: what a claim needs is not stored for 30 days with it. The state
# alone refuses late holders, and the message's id tells its copies from duplicates.
_NO_MORE_CLAIMS = " REMOVE #owner, mark, lease, claims, deaths, blocks, blocked_at, retry_at"
_STATES = {f":{state.value}": {"S": state.value} for state in State}
_NAMES = {"#state": "state", "#owner": "owner", "#content": "content"}
T = TypeVar("T")
_NOTHING: Item = {}


@dataclass(frozen=True, slots=True)
class DynamoLedger:
    """Claims and settles identities in one table, whose key is `event_id`."""

    client: DynamoDBClient
    table: str
    now: Callable[[], float]
    new_write_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12]

    def claim(self, claim: Claim) -> ClaimResult:
        """Claim an identity, if it is free: one write.

        A time that is too far ahead was written by a clock that was wrong, and holds nobody up.
        """
        found = self._claim(claim, _FREE)
        if not isinstance(found, Leased | Waiting) or found.until < self.now() + FARTHEST_SECONDS:
            return found
        wrong = "lease" if isinstance(found, Leased) else "retry_at"
        return self._claim(claim, f"{wrong} = :wrong", {":wrong": _number(found.until)})

    def _claim(self, claim: Claim, condition: str, extra: Item = _NOTHING) -> ClaimResult:
        """Claim under a condition, or say what stands in the way.

        botocore sends a request again whose answer was lost; the claim that then stands in its way
        is known by its id.
        """
        write_id = self.new_write_id()
        values = {
            **_STATES,
            **self._values(claim),
            **extra,
            ":mark": {"S": write_id},
            ":accepted_at": {"S": claim.accepted_at.isoformat()},
            ":lease": _number(claim.lease),
            ":one": _number(1),
        }
        try:
            item = self._update(claim, _CLAIM, condition, values, "ALL_NEW")
        except _Refused as refused:
            return _obstacle(refused.item, claim, write_id)
        return _claim_in(cast("Entry", entry_in(item)), claim)

    def begin(self, claim: Claim, deaths: int) -> None:
        """Count a post of a suspect before it begins."""
        values = {
            **_STATES,
            **self._values(claim),
            ":lease": _number(claim.lease),
            ":deaths": _number(deaths),
        }
        try:
            self._update(claim, _BEGIN, _IS_HOLDER, values, "NONE")
        except _Refused as refused:
            raise Unavailable("the claim has passed to another message") from refused

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Record an outcome. A claim that has passed to another message is left alone.

        A parked identity begins anew, so it keeps no attempts; the parked message names them.
        """
        is_parked = outcome.state is State.PARKED
        values = {
            **_STATES,
            **self._values(claim),
            ":state": {"S": outcome.state.value},
            ":lease": _number(claim.lease),
            ":attempts": _number(0 if is_parked else outcome.attempts),
            ":claims": _number(outcome.claims),
            ":deaths": _number(outcome.deaths),
            ":blocks": _number(outcome.blocks),
            ":blocked_at": _number(outcome.blocked_at),
            ":retry_at": _number(outcome.retry_at),
        }
        is_delivered = outcome.state is State.DELIVERED
        update = _SETTLE if is_delivered else _SETTLE + _OWN
        condition = _NOT_DELIVERED if is_delivered else _IS_HOLDER
        if outcome.verdict:
            update += ", answer = :answer, request_id = :request_id"
            values |= {
                ":answer": {"S": outcome.verdict.reason},
                ":request_id": {"S": outcome.verdict.request_id or ""},
            }
        for name, value in (outcome.facts.attributes() if outcome.facts else {}).items():
            update += f", {name} = :{name}"
            values[f":{name}"] = value
        if is_delivered:
            update += _NO_MORE_CLAIMS
        with contextlib.suppress(_Refused):
            self._update(claim, update, condition, values, "NONE")

    def _values(self, claim: Claim) -> dict[str, Any]:
        return {
            ":owner": {"S": claim.owner},
            ":content": {"S": claim.content},
            ":message_id": {"S": claim.message_id},
            ":now": _number(self.now()),
            ":expires_at": _number(int(self.now() + RETENTION_SECONDS)),
        }

    def _update(
        self,
        claim: Claim,
        update: str,
        condition: str,
        values: Mapping[str, Any],
        returned: ReturnValueType,
    ) -> Item:
        text = f"{update} {condition}"
        try:
            answer = self.client.update_item(
                TableName=self.table,
                Key=key_of(claim.event_id),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames=_used(_NAMES, text),
                ExpressionAttributeValues=_used(values, text),
                ReturnValues=returned,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise _Refused(cast("Item", exc.response.get("Item", {}))) from exc
        except (ClientError, BotoCoreError) as exc:
            raise Unavailable(f"the ledger did not answer: {type(exc).__name__}") from exc
        return answer.get("Attributes", {})


class _Refused(Exception):
    """The condition did not hold; carries the item that stood in the way."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


def _used(given: Mapping[str, T], text: str) -> dict[str, T]:
    """Leave out what an expression does not name: DynamoDB refuses that."""
    named = _names_in(text)
    return {name: value for name, value in given.items() if name in named}


@cache
def _names_in(text: str) -> frozenset[str]:
    """Find the names in an expression. There are few: an outcome's facts are named in one order."""
    return frozenset(re.findall(r"[#:]\w+", text))


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def _claim_in(entry: Entry, claim: Claim) -> Claimed:
    """Read a claim from the entry that holds it. What another content did is not this one's."""
    is_own = entry.content == claim.content
    return Claimed(
        claims=entry.claims,
        attempts=entry.attempts,
        deaths=entry.deaths if is_own else 0,
        blocks=entry.blocks if is_own else 0,
        blocked_at=entry.blocked_at if is_own else 0.0,
        last_answer=entry.answer,
        request_id=entry.request_id,
    )


def _obstacle(item: Item, claim: Claim, write_id: str) -> ClaimResult:
    """Tell what stands in the way of a claim that was refused."""
    entry = entry_in(item)
    if entry is None:
        # Whose it is was not said: to call it a duplicate would drop the message unheard.
        raise Unavailable("the ledger refused a claim without saying who holds it")
    is_same = entry.message_id == claim.message_id
    match entry.state:
        case State.CLAIMED if item.get("mark") == {"S": write_id}:
            return _claim_in(entry, claim)
        case State.CLAIMED:
            return Leased(entry.lease, is_same)
        case State.WAITING:
            return Waiting(entry.retry_at)
        case State.PARKED:
            return AlreadyDone()
        case State.DELIVERED:
            return AlreadyDone() if is_same else Duplicate()
