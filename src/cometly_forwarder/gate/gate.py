"""The gate in DynamoDB: one item that all deliver invocations share.

The rules are in `pacing`; here a new state replaces the old one only if nobody else has changed it
meanwhile (a version number as the condition), so the rules hold without a lock.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate import rules as pacing
from cometly_forwarder.gate.clock import SharedClock
from cometly_forwarder.gate.item import Item, Value, attributes_of, following, state_in
from cometly_forwarder.gate.quota import Quota
from cometly_forwarder.gate.rules import Admission, GateState, Lane, Pause, Unused, Wish
from cometly_forwarder.stopwatch import Stopwatch

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
# Pages that got no slot wait in the function for the next one, but not for longer: in a flood each
# batch that goes back at once is followed by another, ten times a second.
PATIENCE_SECONDS = 2.0
# With two to five workers two tries are enough; with many more they still are, nearly always.
TRIES = 12

T = TypeVar("T")
_Report = Callable[[GateState], GateState]


@dataclass(slots=True, eq=False)
class _Exchange:
    """A thread's wish for another slot, and what came of it."""

    slot: float
    outcome: Admission | Unavailable | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """What a worker asks for, by its own clock; `unused` are slots that it hands in for others."""

    count: int
    latest: float
    lane: Lane
    unused: tuple[float, ...] = ()


@dataclass(slots=True)
class DynamoGate:
    """Paces posts to `configured` a minute until Cometly's headers say otherwise.

    Safe to share between threads. Times that go in and out are by this worker's clock; how long
    something took is by `stopwatch`. `admit`, `give_back` and the reports raise Unavailable.
    """

    client: DynamoDBClient
    table: str
    configured: int
    clock: SharedClock
    sleep: Callable[[float], None] = time.sleep
    stopwatch: Callable[[], float] = field(default_factory=Stopwatch)
    new_mark: Callable[[], str] = lambda: uuid.uuid4().hex[:12]
    _state: GateState = field(default_factory=GateState)
    _version: Value | None = None
    _taken_at: float = 0.0
    _refusals: Counter[Lane] = field(default_factory=Counter)
    _looked_at: float = -math.inf
    _blind_until: float = -math.inf
    _trips: deque[float] = field(
        default_factory=lambda: deque([_FIRST_TRIP_SECONDS], maxlen=_TRIPS_KEPT)
    )
    _exchanges: dict[Lane, deque[_Exchange]] = field(
        default_factory=lambda: {lane: deque() for lane in Lane}
    )
    _quotas: list[Quota] = field(default_factory=list)
    _reports: list[_Report] = field(default_factory=list)
    _lock: RLock = field(default_factory=RLock)

    def lane(self, lane: Lane) -> LaneGate:
        """Return the gate as the events of one lane see it."""
        return LaneGate(self, lane)

    def admit(self, count: int, latest: float, lane: Lane = Lane.SERVICES) -> Admission:
        """Reserve up to `count` slots before `latest`: one write."""
        admission = self._admit_at_once(count, latest, lane)
        if lane is Lane.SERVICES or admission.slots:
            return admission
        self.sleep(min(admission.wait, PATIENCE_SECONDS))
        return self._admit_at_once(count, latest, lane)

    def exchange(self, slot: float, latest: float, lane: Lane = Lane.SERVICES) -> Admission:
        """Take back a slot that was missed, for a later one. Threads that wait share a write."""
        mine = _Exchange(slot)
        self._exchanges[lane].append(mine)
        with self._lock:
            if mine.outcome is None:
                self._serve_exchanges(latest, lane)
        if isinstance(mine.outcome, Admission):
            return mine.outcome
        raise mine.outcome or Unavailable("the gate did not answer")

    def look_ahead(self) -> float:
        """Seconds before its slot at which a thread should ask whether the gate is open."""
        return _TRIPS_TO_LOOK * self._trip()

    def is_open(self, lane: Lane = Lane.SERVICES) -> bool:
        """Say whether a slot that was reserved still holds; looks at most every quarter second."""
        with self._lock:
            if self._is_stale():
                self._look()
            return pacing.holds(self._present(), self.clock.now(), self.configured, lane)

    def note(self, quota: Quota) -> None:
        """Keep what an answer's headers said for the next admission."""
        with self._lock:
            self._quotas.append(dataclasses.replace(quota, at=quota.at + self.clock.offset))

    def wait(self, lane: Lane = Lane.SERVICES) -> float:
        """Seconds until the gate opens, as far as this worker knows."""
        pause = self._closed(lane)
        return pause.wait(self.clock.now()) if pause else 0.0

    def last_taken(self) -> float:
        """When Cometly last answered about an event, to any worker, as far as this one knows.

        0.0 if it never did. Other workers hear of it with what is written anyway.
        """
        taken_at = max(self._taken_at, self._state.taken_at)
        is_plausible = 0 < taken_at <= self.clock.now() + pacing.FARTHEST_SLOT_SECONDS
        return taken_at - self.clock.offset if is_plausible else 0.0

    def give_back(
        self, slots: tuple[float, ...], *, probe: bool, lane: Lane = Lane.SERVICES
    ) -> None:
        """Take back slots in which nothing was posted; a probe's is for the next event."""
        shared = tuple(slot + self.clock.offset for slot in slots)
        unused = Unused(shared, lane, probe=probe)
        self._report(lambda state: self._with_back(state, unused))

    def throttled(self, retry_after: float | None, lane: Lane = Lane.SERVICES) -> None:
        """Report a 429, with what headers said: others hold slots that the limit may not allow."""
        now, quotas = self.clock.now(), self._quotas[:]
        self._report(
            lambda state: pacing.throttled(
                self._observed(state, quotas, now),
                now=now,
                configured=self.configured,
                retry_after=retry_after,
                lane=lane,
            )
        )

    def blocked(self, *, is_sure: bool, lane: Lane = Lane.SERVICES) -> None:
        """Report that the Space is blocked. Where that is not sure, several in a row say so."""
        now = self.clock.now()
        self._refusals[lane] += 1
        taken_at = max(self._taken_at, self._state.taken_at)
        if not is_sure and pacing.is_doubtful(self._refusals[lane], taken_at, now):
            return
        self._report(lambda state: pacing.blocked(state, now=now, lane=lane))

    def failed(self, *, probe: bool, lane: Lane = Lane.SERVICES) -> None:
        now = self.clock.now()
        self._report(lambda state: pacing.failed(state, now=now, probe=probe, lane=lane))

    def succeeded(self, *, probe: bool, is_taken: bool = True, lane: Lane = Lane.SERVICES) -> None:
        """Report an answer; costs nothing while there was no trouble to end."""
        self._taken_at = self.clock.now()
        self._refusals.clear()
        if probe or pacing.failures_of(self._present(), lane):
            self._report(
                lambda state: pacing.succeeded(state, probe=probe, is_taken=is_taken, lane=lane)
            )

    def _admit_at_once(self, count: int, latest: float, lane: Lane) -> Admission:
        with self._lock:
            return self._reserve(_Request(count, latest, lane))

    def _reserve(self, request: _Request) -> Admission:
        """Look at the item before news that keeps posts back: they may be old."""
        if self._closed(request.lane):
            self._look()
        admission = self._change(lambda state: self._admit(state, request))
        if not admission.slots and self._is_stale():
            self._look()
            admission = self._change(lambda state: self._admit(state, request))
        self._quotas.clear()
        return admission

    def _serve_exchanges(self, latest: float, lane: Lane) -> None:
        waiting = self._exchanges[lane]
        asked = [waiting.popleft() for _ in range(len(waiting))]
        request = _Request(len(asked), latest, lane, tuple(each.slot for each in asked))
        try:
            admission = self._reserve(request)
        except Unavailable as exc:
            for each in asked:
                each.outcome = exc
            return
        none = dataclasses.replace(admission, slots=(), probe=False)
        for each, slot in itertools.zip_longest(asked, admission.slots):
            each.outcome = dataclasses.replace(admission, slots=(slot,)) if slot else none

    def _admit(self, state: GateState, request: _Request) -> tuple[GateState, Admission]:
        """Admit by the shared clock, and answer by this worker's."""
        offset = self.clock.offset
        now = self.clock.local() + offset
        if request.unused:
            shared = tuple(slot + offset for slot in request.unused)
            state = self._with_back(state, Unused(shared, request.lane, exchanged=True))
        state = self._observed(state, self._quotas, now)
        lead = pacing.LEAD_SECONDS + _TRIPS_TO_SLOT * self._trip()
        latest = request.latest + offset
        wish = Wish(now, request.count, latest, self.configured, lead, request.lane)
        after, admission = pacing.admit(state, wish)
        slots = tuple(slot - offset for slot in admission.slots)
        return after, dataclasses.replace(admission, slots=slots)

    def _observed(self, state: GateState, quotas: list[Quota], now: float) -> GateState:
        for quota in sorted(quotas, key=lambda quota: quota.at):
            state = pacing.observe(state, quota, now=now, configured=self.configured)
        return state

    def _with_back(self, state: GateState, unused: Unused) -> GateState:
        return pacing.give_back(state, unused, now=self.clock.now(), configured=self.configured)

    def _is_stale(self) -> bool:
        return self.stopwatch() - self._looked_at > LOOK_SECONDS

    def _closed(self, lane: Lane) -> Pause | None:
        return pacing.closed(self._present(), self.clock.now(), lane)

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
        after = dataclasses.replace(after, taken_at=max(after.taken_at, self._taken_at))
        version = following(self._version)
        asked_at = self._ask()
        try:
            answer = self.client.update_item(
                TableName=self.table,
                Key={"event_id": {"S": KEY}},
                UpdateExpression="SET #state = :state, sent = :sent, version = :next, mark = :mark",
                ConditionExpression="version = :version"
                if self._version
                else "attribute_not_exists(version)",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    **{f":{name}": value for name, value in attributes_of(after).items()},
                    ":next": version,
                    ":mark": {"S": mark},
                    **({":version": self._version} if self._version else {}),
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            self._measure(asked_at)
            item = cast("Item", exc.response.get("Item", {}))
            self._remember(item)
            return bool(item) and item.get("mark") == {"S": mark}
        except (ClientError, BotoCoreError) as exc:
            raise self._blinded(exc, asked_at) from exc
        self._state, self._version, self._looked_at = after, version, self.stopwatch()
        self._hear(answer["ResponseMetadata"], asked_at)
        return True

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

    def _remember(self, item: Item) -> None:
        """Take over the item as it is, also one whose version is not a number."""
        self._state, self._version = state_in(item), item.get("version")
        self._looked_at = self.stopwatch()

    def _ask(self) -> float:
        """Return when a request begins, unless the last one has just failed."""
        asked_at = self.stopwatch()
        if asked_at < self._blind_until:
            raise Unavailable("the gate did not answer a moment ago")
        return asked_at

    def _blinded(self, exc: Exception, asked_at: float) -> Unavailable:
        now = self.stopwatch()
        self._blind_until = now + min(now - asked_at, BLIND_SECONDS)
        return Unavailable(f"the gate did not answer: {type(exc).__name__}")

    def _measure(self, asked_at: float) -> float:
        took = self.stopwatch() - asked_at
        self._trips.append(took)
        return took

    def _trip(self) -> float:
        return min(sorted(self._trips)[-2:])

    def _hear(self, metadata: ResponseMetadataTypeDef, asked_at: float) -> None:
        took = self._measure(asked_at)
        self.clock.hear(metadata["HTTPHeaders"].get("date"), took)


@dataclass(frozen=True, slots=True)
class LaneGate:
    """The gate as the events of one lane see it (the Gate of `delivery`)."""

    gate: DynamoGate
    of: Lane

    def admit(self, count: int, latest: float) -> Admission:
        return self.gate.admit(count, latest, self.of)

    def exchange(self, slot: float, latest: float) -> Admission:
        return self.gate.exchange(slot, latest, self.of)

    def look_ahead(self) -> float:
        return self.gate.look_ahead()

    def is_open(self) -> bool:
        return self.gate.is_open(self.of)

    def wait(self) -> float:
        return self.gate.wait(self.of)

    def last_taken(self) -> float:
        return self.gate.last_taken()

    def give_back(self, slots: tuple[float, ...], *, probe: bool) -> None:
        self.gate.give_back(slots, probe=probe, lane=self.of)

    def note(self, quota: Quota) -> None:
        self.gate.note(quota)

    def throttled(self, retry_after: float | None) -> None:
        self.gate.throttled(retry_after, self.of)

    def blocked(self, *, is_sure: bool) -> None:
        self.gate.blocked(is_sure=is_sure, lane=self.of)

    def failed(self, *, probe: bool) -> None:
        self.gate.failed(probe=probe, lane=self.of)

    def succeeded(self, *, probe: bool, is_taken: bool) -> None:
        self.gate.succeeded(probe=probe, is_taken=is_taken, lane=self.of)
