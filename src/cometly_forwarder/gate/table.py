"""The gate's item in DynamoDB: read, and replaced if nobody else was quicker.

A new state replaces the old one only under its version number as the condition (compare-and-swap),
so the rules hold between workers without a lock.
"""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate.clock import SharedClock
from cometly_forwarder.gate.item import Item, Value, attributes_of, following, state_in
from cometly_forwarder.gate.rules import GateState
from cometly_forwarder.stopwatch import Stopwatch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import ResponseMetadataTypeDef

# The key of the gate's item; event ids begin with evt_.
KEY = "gate"
# After a failed call, other threads fail fast for as long as that call took, 1 s at most.
FAIL_FAST_SECONDS = 1.0
# How long a call takes, before the first one. Later it is the second longest of the last few, so
# that a single slow call changes nothing.
_FIRST_ROUND_TRIP_SECONDS = 0.05
_ROUND_TRIPS_KEPT = 5


@dataclass(slots=True)
class GateTable:
    """A worker's copy of the shared state. Not safe between threads: the gate has the lock.

    `refresh` and `replace` raise Unavailable. Durations are by `stopwatch`.
    """

    client: DynamoDBClient
    name: str
    clock: SharedClock
    stopwatch: Callable[[], float] = field(default_factory=Stopwatch)
    new_write_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12]
    state: GateState = field(init=False, default_factory=GateState)
    _version: Value | None = field(init=False, default=None)
    _refreshed_at: float = field(init=False, default=-math.inf)
    _fail_fast_until: float = field(init=False, default=-math.inf)
    _round_trips: deque[float] = field(
        init=False,
        default_factory=lambda: deque([_FIRST_ROUND_TRIP_SECONDS], maxlen=_ROUND_TRIPS_KEPT),
    )

    @property
    def age(self) -> float:
        """Seconds since the state was read or written."""
        return self.stopwatch() - self._refreshed_at

    @property
    def is_known(self) -> bool:
        """Whether the state was read or written before."""
        return self._refreshed_at > -math.inf

    @property
    def round_trip(self) -> float:
        """Seconds that a call takes as a rule."""
        return min(sorted(self._round_trips)[-2:])

    def replace(self, after: GateState) -> bool:
        """Store the next state; False, with the present one read, if somebody was quicker.

        botocore sends a request again whose answer was lost: a write that stands in its own way by
        then is known by its id.
        """
        write_id = self.new_write_id()
        version = following(self._version)
        asked_at = self._begin_call()
        try:
            answer = self.client.update_item(
                TableName=self.name,
                Key={"event_id": {"S": KEY}},
                UpdateExpression="SET #state = :state, sent = :sent, version = :next, mark = :mark",
                ConditionExpression="version = :version"
                if self._version
                else "attribute_not_exists(version)",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    **{f":{name}": value for name, value in attributes_of(after).items()},
                    ":next": version,
                    ":mark": {"S": write_id},
                    **({":version": self._version} if self._version else {}),
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            self._measure(asked_at)
            item = cast("Item", exc.response.get("Item", {}))
            self._remember(item)
            return bool(item) and item.get("mark") == {"S": write_id}
        except (ClientError, BotoCoreError) as exc:
            raise self._fail_fast(exc, asked_at) from exc
        self.state, self._version, self._refreshed_at = after, version, self.stopwatch()
        self._learn_time(answer["ResponseMetadata"], asked_at)
        return True

    def refresh(self) -> None:
        asked_at = self._begin_call()
        try:
            answer = self.client.get_item(
                TableName=self.name, Key={"event_id": {"S": KEY}}, ConsistentRead=True
            )
        except (ClientError, BotoCoreError) as exc:
            raise self._fail_fast(exc, asked_at) from exc
        self._remember(answer.get("Item", {}))
        self._learn_time(answer["ResponseMetadata"], asked_at)

    def _remember(self, item: Item) -> None:
        """Take over the item as it is, also one whose version is not a number."""
        self.state, self._version = state_in(item), item.get("version")
        self._refreshed_at = self.stopwatch()

    def _begin_call(self) -> float:
        """Return when a request begins, unless the last one has just failed."""
        asked_at = self.stopwatch()
        if asked_at < self._fail_fast_until:
            raise Unavailable("the gate did not answer a moment ago")
        return asked_at

    def _fail_fast(self, exc: Exception, asked_at: float) -> Unavailable:
        now = self.stopwatch()
        self._fail_fast_until = now + min(now - asked_at, FAIL_FAST_SECONDS)
        return Unavailable(f"the gate did not answer: {type(exc).__name__}")

    def _measure(self, asked_at: float) -> float:
        took = self.stopwatch() - asked_at
        self._round_trips.append(took)
        return took

    def _learn_time(self, metadata: ResponseMetadataTypeDef, asked_at: float) -> None:
        took = self._measure(asked_at)
        self.clock.learn(metadata["HTTPHeaders"].get("date"), took)
