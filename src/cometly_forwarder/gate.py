"""The gate in DynamoDB: one item that all deliver invocations share.

The rules are in `pacing`; here a new state replaces the old one only if nobody else has changed it
meanwhile (a version number as the condition), so the rules hold without a lock.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import random
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder import pacing
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.pacing import Admission, Cause, GateState, Pause, Wish
from cometly_forwarder.quota import Learnt, Quota
from cometly_forwarder.window import Window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import ResponseMetadataTypeDef

# The key of the gate's item; event ids begin with evt_.
KEY = "gate"
# A worker that is about to post looks at the shared pause if its last look is older than this.
LOOK_SECONDS = 0.25
# After a call that failed, the other threads of a worker need not find out for themselves: for as
# long as it took, but not for longer than this.
BLIND_SECONDS = 1.0
# What a call to the table takes, before any was made. Later it is the second slowest of the last
# few, so that a single one that was slow says nothing.
_FIRST_TRIP_SECONDS = 0.05
_TRIPS_KEPT = 5
# Between the admission and a slot lie its own write, the claim, and a look: one that another
# thread is at, and an own one.
_TRIPS_TO_LOOK, _TRIPS_TO_SLOT = 2, 4
# With two to five workers two tries are enough; with many more they still are, nearly always.
TRIES = 12

T = TypeVar("T")
_Item = Mapping[str, Any]
_Report = Callable[[GateState], GateState]


@dataclass(slots=True)
class SharedClock:
    """The time of DynamoDB, which all workers share, from the Date header of its answers.

    A header is cut to whole seconds, so each answer only bounds how far this worker's clock is off;
    the bounds of many answers meet. A clock that may be right is left alone.
    """

    local: Callable[[], float]
    least: float = -math.inf
    most: float = math.inf

    @property
    def offset(self) -> float:
        """Seconds to add to this worker's clock: as few as the answers so far allow."""
        return min(max(0.0, self.least), self.most)

    def now(self) -> float:
        return self.local() + self.offset

    def hear(self, date: str | None, asked_at: float) -> None:
        """Learn from an answer to a request that left at `asked_at`, by this worker's clock."""
        try:
            second = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        least, most = second - self.local(), second + 1 - asked_at
        self.least, self.most = max(self.least, least), min(self.most, most)
        if self.least > self.most:
            self.least, self.most = least, most


@dataclass(slots=True, eq=False)
class _Exchange:
    """A thread's wish for another slot, and what came of it."""

    slot: float
    outcome: Admission | Unavailable | None = None


@dataclass(slots=True)
class DynamoGate:
    """Paces posts to `configured` a minute until Cometly's headers say otherwise.

    Safe to share between threads. Times that go in and out are by this worker's clock. `admit`,
    `give_back` and the reports raise Unavailable.
    """

    client: DynamoDBClient
    table: str
    configured: int
    clock: SharedClock
    sleep: Callable[[float], None] = time.sleep
    new_mark: Callable[[], str] = lambda: uuid.uuid4().hex[:12]
    _state: GateState = field(default_factory=GateState)
    _version: int = 0
    _looked_at: float = 0.0
    _blind_until: float = -math.inf
    _trips: deque[float] = field(
        default_factory=lambda: deque([_FIRST_TRIP_SECONDS], maxlen=_TRIPS_KEPT)
    )
    _exchanges: deque[_Exchange] = field(default_factory=deque)
    _quotas: list[Quota] = field(default_factory=list)
    _reports: list[_Report] = field(default_factory=list)
    _lock: RLock = field(default_factory=RLock)

    def admit(self, count: int, latest: float) -> Admission:
        """Reserve up to `count` slots before `latest`: one write."""
        with self._lock:
            return self._reserve(count, latest, ())

    def exchange(self, slot: float, latest: float) -> Admission:
        """Take back a slot that was missed, for a later one. Threads that wait share a write."""
        mine = _Exchange(slot)
        self._exchanges.append(mine)
        with self._lock:
            if mine.outcome is None:
                self._serve_exchanges(latest)
        if isinstance(mine.outcome, Admission):
            return mine.outcome
        raise mine.outcome or Unavailable("the gate did not answer")

    def look_ahead(self) -> float:
        """Seconds before its slot at which a thread should ask whether the gate is open."""
        return _TRIPS_TO_LOOK * self._trip()

    def is_open(self) -> bool:
        """Say whether a slot that was reserved still holds; looks at most every quarter second."""
        with self._lock:
            if self.clock.now() - self._looked_at > LOOK_SECONDS:
                self._look()
            return self._closed() is None

    def note(self, quota: Quota) -> None:
        """Keep what an answer's headers said for the next admission."""
        with self._lock:
            self._quotas.append(dataclasses.replace(quota, at=quota.at + self.clock.offset))

    def wait(self) -> float:
        """Seconds until the gate opens, as far as this worker knows."""
        pause = self._closed()
        return pause.wait(self.clock.now()) if pause else 0.0

    def give_back(self, slots: tuple[float, ...], *, probe: bool) -> None:
        """Take back slots in which nothing was posted; a probe's is for the next event."""
        shared = tuple(slot + self.clock.offset for slot in slots)
        self._report(
            lambda state: pacing.give_back(
                state, shared, now=self.clock.now(), configured=self.configured, probe=probe
            )
        )

    def throttled(self, retry_after: float | None) -> None:
        now = self.clock.now()
        self._report(lambda state: pacing.throttled(state, now=now, retry_after=retry_after))

    def blocked(self) -> None:
        now = self.clock.now()
        self._report(lambda state: pacing.blocked(state, now=now))

    def failed(self, *, probe: bool) -> None:
        now = self.clock.now()
        self._report(lambda state: pacing.failed(state, now=now, probe=probe))

    def succeeded(self, *, probe: bool) -> None:
        """Report an answer; costs nothing while there was no trouble to end."""
        if probe or self._present().failures:
            self._report(lambda state: pacing.succeeded(state, probe=probe))

    def _reserve(self, count: int, latest: float, unused: tuple[float, ...]) -> Admission:
        if self._closed():
            self._look()
        returned = tuple(slot + self.clock.offset for slot in unused)
        admission = self._change(lambda state: self._admit(state, count, latest, returned))
        self._quotas.clear()
        return dataclasses.replace(
            admission, slots=tuple(slot - self.clock.offset for slot in admission.slots)
        )

    def _serve_exchanges(self, latest: float) -> None:
        asked = [self._exchanges.popleft() for _ in range(len(self._exchanges))]
        try:
            admission = self._reserve(len(asked), latest, tuple(each.slot for each in asked))
        except Unavailable as exc:
            for each in asked:
                each.outcome = exc
            return
        none = dataclasses.replace(admission, slots=(), probe=False)
        for each, slot in itertools.zip_longest(asked, admission.slots):
            each.outcome = dataclasses.replace(admission, slots=(slot,)) if slot else none

    def _admit(
        self, state: GateState, count: int, latest: float, returned: tuple[float, ...]
    ) -> tuple[GateState, Admission]:
        now = self.clock.now()
        if returned:
            state = pacing.give_back(state, returned, now=now, configured=self.configured)
        for quota in sorted(self._quotas, key=lambda quota: quota.at):
            state = pacing.observe(state, quota, now=now)
        lead = pacing.LEAD_SECONDS + _TRIPS_TO_SLOT * self._trip()
        wish = Wish(now, count, latest + self.clock.offset, self.configured, lead)
        return pacing.admit(state, wish)

    def _closed(self) -> Pause | None:
        return pacing.closed(self._present(), self.clock.now())

    def _present(self) -> GateState:
        """The state, with the reports of this worker that are still to be written."""
        return self._with(self._reports[:])

    def _with(self, reports: list[_Report]) -> GateState:
        return functools.reduce(lambda state, report: report(state), reports, self._state)

    def _report(self, report: _Report) -> None:
        """Write a report. Threads that wait share a write; what fails goes with the next one."""
        self._reports.append(report)
        with self._lock:
            if report in self._reports:
                self._change(lambda state: (state, None))

    def _change(self, change: Callable[[GateState], tuple[GateState, T]]) -> T:
        for attempt in range(TRIES):
            reports = self._reports[:]
            after, result = change(self._with(reports))
            if after == self._state or self._replace(after):
                del self._reports[: len(reports)]
                return result
            # Whoever was quicker is at it again soon: spread, or all lose to each other.
            self.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 4)))  # noqa: S311
        raise Unavailable("the gate is contended")

    def _replace(self, after: GateState) -> bool:
        """Store the next state; False, with the present one read, if somebody was quicker.

        botocore sends a request again whose answer was lost: a write that stands in its own way by
        then is known by its mark.
        """
        mark = self.new_mark()
        asked_at = self._ask()
        try:
            answer = self.client.update_item(
                TableName=self.table,
                Key={"event_id": {"S": KEY}},
                UpdateExpression="SET #state = :state, sent = :sent, version = :next, mark = :mark",
                ConditionExpression="attribute_not_exists(version) OR version = :version"
                if self._version == 0
                else "version = :version",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=self._values(after) | {":mark": {"S": mark}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            self._measure(asked_at)
            item = cast("_Item", exc.response.get("Item", {}))
            self._remember(item)
            return bool(item) and item.get("mark") == {"S": mark}
        except (ClientError, BotoCoreError) as exc:
            raise self._blinded(exc, asked_at) from exc
        self._state, self._version, self._looked_at = after, self._version + 1, self.clock.now()
        self._hear(answer["ResponseMetadata"], asked_at)
        return True

    def _values(self, after: GateState) -> dict[str, Any]:
        return {
            ":state": {"S": _written(after)},
            ":sent": {"B": zlib.compress(after.window.sent)},
            ":version": {"N": str(self._version)},
            ":next": {"N": str(self._version + 1)},
        }

    def _look(self) -> None:
        asked_at = self._ask()
        try:
            answer = self.client.get_item(
                TableName=self.table, Key={"event_id": {"S": KEY}}, ConsistentRead=True
            )
        except (ClientError, BotoCoreError) as exc:
            raise self._blinded(exc, asked_at) from exc
        self._remember(answer.get("Item", {}))
        self._hear(answer["ResponseMetadata"], asked_at)

    def _remember(self, item: _Item) -> None:
        self._state = _read(item) if item else GateState()
        self._version = int(item["version"]["N"]) if item else 0
        self._looked_at = self.clock.now()

    def _ask(self) -> float:
        """Return the time of a request, unless the last one has just failed."""
        asked_at = self.clock.local()
        if asked_at < self._blind_until:
            raise Unavailable("the gate did not answer a moment ago")
        return asked_at

    def _blinded(self, exc: Exception, asked_at: float) -> Unavailable:
        now = self.clock.local()
        self._blind_until = now + min(now - asked_at, BLIND_SECONDS)
        return Unavailable(f"the gate did not answer: {type(exc).__name__}")

    def _measure(self, asked_at: float) -> None:
        self._trips.append(max(self.clock.local() - asked_at, 0.0))

    def _trip(self) -> float:
        return min(sorted(self._trips)[-2:])

    def _hear(self, metadata: ResponseMetadataTypeDef, asked_at: float) -> None:
        self._measure(asked_at)
        self.clock.hear(metadata["HTTPHeaders"].get("date"), asked_at)


def _written(state: GateState) -> str:
    """Write a state, without its counts, as JSON that an operator can read in the console."""
    fields = dataclasses.asdict(state)
    del fields["window"]["sent"]
    if state.pause:
        fields["pause"]["cause"] = state.pause.cause.value
    return json.dumps(_rounded(fields))


def _rounded(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Round to milliseconds: a write unit of DynamoDB holds 1 KB."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def _read(item: _Item) -> GateState:
    """Read a state. What another version of the forwarder wrote otherwise is begun anew.

    Little is lost by that: the pace stays even, and the next answers teach the rest again.
    """
    try:
        fields = dict(json.loads(item["state"]["S"]))
    except (TypeError, ValueError):
        fields = {}
    sent = zlib.decompress(item["sent"]["B"])
    return GateState(
        window=_or_new(Window, lambda: Window(**fields["window"], sent=sent)),
        learnt=_or_new(Learnt, lambda: Learnt(**fields["learnt"])),
        pause=_or_new(lambda: None, lambda: _pause_in(fields["pause"])),
        ideal=float(fields.get("ideal", 0.0)),
        last=float(fields.get("last", 0.0)),
        failures=int(fields.get("failures", 0)),
    )


def _pause_in(fields: Mapping[str, Any] | None) -> Pause | None:
    return Pause(**{**fields, "cause": Cause(fields["cause"])}) if fields else None


def _or_new(new: Callable[[], T], read: Callable[[], T]) -> T:
    try:
        return read()
    except (KeyError, TypeError, ValueError):
        return new()
