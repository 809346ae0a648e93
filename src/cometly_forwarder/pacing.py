"""The gate's rules: who may post when. Pure functions from one state to the next.

All deliver invocations of a Space share one `GateState`. It paces posts evenly, keeps any 60
seconds within Cometly's limit whether its minute is fixed or slides, learns the true limit from
Cometly's headers, and closes for all when Cometly says so. Times are Unix seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

# Cometly's limit counts requests in a minute.
MINUTE = 60.0
# How much later than its slot a request may reach Cometly: a late thread, a new connection.
JITTER_SECONDS = 0.3
# Slots are counted in buckets of this length, one byte each, so that the item stays under 1 KB,
# which is one write unit of DynamoDB.
BUCKET_SECONDS = 0.1
WINDOW_BUCKETS = math.ceil((MINUTE + JITTER_SECONDS) / BUCKET_SECONDS) + 1
_WINDOW_SECONDS = WINDOW_BUCKETS * BUCKET_SECONDS
# Counts are kept this much longer, for workers whose clocks are behind.
_SKEW_BUCKETS = 30
# What idle workers and duplicates left unused may be caught up, at twice the even pace.
CATCH_UP_SECONDS = 2.0
_FASTEST = 0.5
# A slot lies at least this far ahead: the time that claiming takes.
LEAD_SECONDS = 0.1

# Limits outside of these are not believed. A bucket's byte holds 60,000 a minute.
MAX_LIMIT = 60_000
# Without a word of it for this long, a limit that headers gave is forgotten.
LIMIT_MEMORY_SECONDS = 600.0
# What the headers count beyond our own posts belongs to other senders. It is averaged over some
# seconds, and believed from this share of the limit on, which the window's own margin covers.
_NOISE = 0.005
_RISING_SECONDS, _FALLING_SECONDS = 5.0, 40.0
# At the limit itself the headers hide how far beyond it others would go: each 429 adds this share.
_SURPRISE = 0.03
# How far back a fixed minute's start is looked for.
_RECENT_SECONDS = 5.0
# So early in a fixed minute its count says too little of the whole.
_EARLY_SECONDS = 15.0
# Without headers, each 429 takes this off the pace, and each quiet minute gives it back.
_SQUEEZE, _LEAST_SQUEEZE = 0.9, 0.05

RETRY_AFTER_CAP_SECONDS = 900.0
PROBE_SECONDS = 30.0
PROBE_WAIT_SECONDS = 2.0
# So many posts in a row without an answer, over different events, close the gate.
FAILURES_TO_CLOSE = 10


class Cause(Enum):
    """Why the gate is closed."""

    THROTTLED = "throttled"
    BLOCKED = "blocked"
    FAILING = "failing"


# First and longest pause by cause. A throttled Space needs no probe: the pause is Cometly's own.
_STEPS = {Cause.THROTTLED: (2.0, 60.0), Cause.BLOCKED: (60.0, 900.0), Cause.FAILING: (5.0, 60.0)}


@dataclass(frozen=True, slots=True)
class Pause:
    """Closed until a time. After that, where the cause wants it, one event probes first.

    `probe_until` is set while a probe is out.
    """

    cause: Cause
    until: float
    step: float
    probe_until: float = 0.0

    @property
    def ends_at(self) -> float:
        """When posts go on: after the pause, or after a probe at the latest."""
        return max(self.until, self.probe_until)

    def wait(self, now: float) -> float:
        """Seconds after which asking again makes sense. A probe's answer is soon there."""
        return self.until - now if now < self.until else min(self.ends_at - now, PROBE_WAIT_SECONDS)

    @property
    def needs_probe(self) -> bool:
        return self.cause is not Cause.THROTTLED


@dataclass(frozen=True, slots=True)
class Quota:
    """What Cometly's headers said in an answer to the post of slot `at`."""

    limit: int
    remaining: int
    at: float


@dataclass(frozen=True, slots=True)
class GateState:
    """What all workers share. `sent` counts slots a bucket, from bucket `base` on."""

    base: int = 0
    sent: bytes = b""
    ideal: float = 0.0
    last: float = 0.0
    limit: int = 0
    limit_at: float = 0.0
    remaining: int = 0
    quota_at: float = 0.0
    window_at: float = 0.0
    others: float = 0.0
    squeeze: float = 1.0
    squeezed_at: float = 0.0
    failures: int = 0
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Slots for posts, in order; `probe` marks the single slot of a probe.

    With fewer slots than asked for, `wait` says in how many seconds asking again makes sense, and
    `cause` why the gate is closed, if it is.
    """

    slots: tuple[float, ...] = ()
    wait: float = 0.0
    cause: Cause | None = None
    probe: bool = False


def admit(
    state: GateState, *, now: float, count: int, latest: float, configured: int
) -> tuple[GateState, Admission]:
    """Reserve up to `count` slots that lie before `latest`, at the configured or learnt rate."""
    if pause := closed(state, now):
        return state, Admission(wait=pause.wait(now), cause=pause.cause)
    if state.pause and state.pause.needs_probe:
        return _admit_probe(state, state.pause, now, latest, configured)
    return _reserve(state, now, count, latest, configured)


def closed(state: GateState, now: float) -> Pause | None:
    """Return the pause that keeps posts back now, if there is one."""
    pause = state.pause
    return pause if pause and now < pause.ends_at else None


def give_back(
    state: GateState,
    slots: tuple[float, ...],
    *,
    now: float,
    configured: int,
    probe: bool = False,
) -> GateState:
    """Take back slots in which nothing was posted; if one was a probe, the next event probes.

    The schedule moves up by as many places, so that duplicates take nothing from the others.
    """
    counts = bytearray(state.sent)
    for place in (_bucket(slot) - state.base for slot in slots):
        if 0 <= place < len(counts) and counts[place]:
            counts[place] -= 1
    pause = state.pause
    if probe and pause:
        pause = replace(pause, probe_until=0.0)
    interval = _WINDOW_SECONDS / allowance(state, now, configured)
    is_end = bool(slots) and state.last <= max(slots)
    return replace(
        state,
        sent=bytes(counts),
        ideal=state.ideal - len(slots) * interval,
        last=min(slots) - interval if is_end else state.last,
        pause=pause,
    )


def allowance(state: GateState, now: float, configured: int) -> int:
    """How many posts a minute are ours: the limit, less what other senders take of it."""
    limit = _limit(state, now, configured)
    others = state.others + limit * _NOISE if state.others > limit * _NOISE else 0.0
    squeeze = min(1.0, state.squeeze + (now - state.squeezed_at) / MINUTE * (1 - _SQUEEZE))
    return max(1, int(min(limit - others, limit * squeeze)))


def observe(state: GateState, quota: Quota, *, now: float) -> GateState:
    """Learn from the headers of an answer: the limit, and how much of it others use.

    Answers are heard of in any order; one that is older than the last is left out.
    """
    if not (0 < quota.limit <= MAX_LIMIT and 0 <= quota.remaining <= quota.limit):
        return state
    if quota.at <= state.quota_at:
        return state
    if quota.limit != state.limit:
        return replace(
            state,
            limit=quota.limit,
            limit_at=now,
            remaining=quota.remaining,
            quota_at=quota.at,
            others=0.0,
        )
    state = _with_window(state, quota)
    others = _others_in(state, quota)
    return replace(state, limit_at=now, remaining=quota.remaining, quota_at=quota.at, others=others)


def throttled(state: GateState, *, now: float, retry_after: float | None) -> GateState:
    """A 429: close for exactly as long as Cometly says, or for a growing while."""
    if (pause := state.pause) and pause.needs_probe and now < pause.until:
        return state
    step = _next_step(state.pause, Cause.THROTTLED, now)
    wait = step if retry_after is None else min(retry_after, RETRY_AFTER_CAP_SECONDS)
    if (pause := closed(state, now)) and pause.cause is Cause.THROTTLED:
        return replace(state, pause=replace(pause, until=max(pause.until, now + wait)))
    slower = _surprised(state) if now - state.limit_at < MINUTE else _squeezed(state, now)
    return replace(slower, failures=0, pause=Pause(Cause.THROTTLED, now + wait, step))


def blocked(state: GateState, *, now: float) -> GateState:
    """A 401 or 403: close, for longer each time a probe finds the Space still blocked."""
    return _close(state, Cause.BLOCKED, now)


def failed(state: GateState, *, now: float, count: int = 1, probe: bool = False) -> GateState:
    """No answer worth the name, `count` times in a row; many in a row close the gate."""
    state = replace(state, failures=min(state.failures + count, 10 * FAILURES_TO_CLOSE))
    if not probe and closed(state, now):
        return state
    many = state.failures >= FAILURES_TO_CLOSE
    return _close(state, Cause.FAILING, now) if probe or many else state


def succeeded(state: GateState, *, probe: bool) -> GateState:
    """An answer: failures are no longer in a row, and a probe that got it opens the gate."""
    return replace(state, failures=0, pause=None if probe else state.pause)


def _admit_probe(
    state: GateState, pause: Pause, now: float, latest: float, configured: int
) -> tuple[GateState, Admission]:
    after, admission = _reserve(state, now, 1, latest, configured)
    if not admission.slots:
        return state, replace(admission, cause=pause.cause)
    out = replace(pause, probe_until=admission.slots[0] + PROBE_SECONDS)
    return replace(after, pause=out), replace(admission, probe=True)


def _reserve(
    state: GateState, now: float, count: int, latest: float, configured: int
) -> tuple[GateState, Admission]:
    most = allowance(state, now, configured)
    interval = _WINDOW_SECONDS / most
    counts = _Counts.recent(state, now)
    ideal, last = max(state.ideal, now - CATCH_UP_SECONDS), state.last
    slots: list[float] = []
    while len(slots) < count:
        wanted = max(now + LEAD_SECONDS, ideal, last + _FASTEST * interval)
        slot = counts.first_room(wanted, most)
        if slot > latest:
            return _taken(state, counts, ideal, last), Admission(tuple(slots), wait=slot - latest)
        counts.add(slot)
        slots.append(slot)
        ideal, last = max(ideal, slot - CATCH_UP_SECONDS) + interval, slot
    return _taken(state, counts, ideal, last), Admission(tuple(slots))


def _taken(state: GateState, counts: _Counts, ideal: float, last: float) -> GateState:
    return replace(state, base=counts.base, sent=bytes(counts.sent), ideal=ideal, last=last)


class _Counts:
    """Slots a bucket, over the window and what is reserved ahead."""

    def __init__(self, base: int, sent: bytearray) -> None:
        self.base = base
        self.sent = sent

    @classmethod
    def recent(cls, state: GateState, now: float) -> _Counts:
        """Copy the counts, without those that no window reaches any more."""
        oldest = _bucket(now) - WINDOW_BUCKETS - _SKEW_BUCKETS
        drop = max(0, oldest - state.base)
        kept = bytearray(state.sent[drop:])
        return cls(state.base + drop if kept else _bucket(now), kept)

    def first_room(self, wanted: float, most: int) -> float:
        """Find the first time from `wanted` on whose window holds fewer than `most` slots."""
        bucket = _bucket(wanted)
        while self._in_window(bucket) >= most:
            bucket += 1
        return max(wanted, bucket * BUCKET_SECONDS)

    def add(self, slot: float) -> None:
        place = max(0, _bucket(slot) - self.base)
        self.sent.extend(bytes(max(0, place + 1 - len(self.sent))))
        self.sent[place] = min(self.sent[place] + 1, 255)

    def _in_window(self, bucket: int) -> int:
        end = bucket + 1 - self.base
        return sum(self.sent[max(0, end - WINDOW_BUCKETS) : max(0, end)])


def _bucket(moment: float) -> int:
    # The small addition keeps a time that is a bucket's very start in that bucket.
    return math.floor(moment / BUCKET_SECONDS + 1e-6)


def _ours_since(state: GateState, start: float, end: float) -> int:
    """Count our slots of the last minute before `end`, and not before `start`."""
    first = _bucket(max(start, end - MINUTE)) - state.base
    return sum(state.sent[max(0, first) : max(0, _bucket(end) + 1 - state.base)])


def _limit(state: GateState, now: float, configured: int) -> int:
    is_known = state.limit and now - state.limit_at < LIMIT_MEMORY_SECONDS
    return state.limit if is_known else configured


def _with_window(state: GateState, quota: Quota) -> GateState:
    """Notice that a fixed minute has begun: what remains jumps to nearly all of the limit.

    Answers are heard of late, so its start is told from what it has used: as many of ours back.
    """
    jumped = quota.remaining > state.remaining + max(20, quota.limit // 20)
    used = quota.limit - quota.remaining
    recent = _ours_since(state, quota.at - _RECENT_SECONDS, quota.at)
    if not jumped or used > recent + quota.limit // 20:
        return state
    start, end = quota.at, quota.at - _RECENT_SECONDS
    while start > end and _ours_since(state, start, quota.at) < used:
        start -= BUCKET_SECONDS
    return replace(state, window_at=start)


def _others_in(state: GateState, quota: Quota) -> float:
    """Average what others send a minute. A fixed minute's count is projected onto its whole."""
    age = quota.at - state.window_at
    if age < _EARLY_SECONDS:
        return state.others
    used = quota.limit - quota.remaining
    beyond = (used - _ours_since(state, state.window_at, quota.at)) * max(MINUTE / age, 1.0)
    pace = _RISING_SECONDS if beyond > state.others else _FALLING_SECONDS
    weight = min(1.0, (quota.at - state.quota_at) / pace)
    return max(0.0, state.others + (beyond - state.others) * weight) if state.quota_at else 0.0


def _surprised(state: GateState) -> GateState:
    most = state.limit * (1 - _LEAST_SQUEEZE)
    return replace(state, others=min(state.others + state.limit * _SURPRISE, most))


def _squeezed(state: GateState, now: float) -> GateState:
    return replace(state, squeeze=max(_LEAST_SQUEEZE, state.squeeze * _SQUEEZE), squeezed_at=now)


def _close(state: GateState, cause: Cause, now: float) -> GateState:
    if (pause := state.pause) and pause.cause is cause and now < pause.until:
        return state
    step = _next_step(state.pause, cause, now)
    return replace(state, pause=Pause(cause, now + step, step))


def _next_step(pause: Pause | None, cause: Cause, now: float) -> float:
    first, longest = _STEPS[cause]
    if not pause or pause.cause is not cause or _is_over(pause, now):
        return first
    return min(pause.step * 2, longest)


def _is_over(pause: Pause, now: float) -> bool:
    """A pause for throttling is history a minute after its end; the others end by a probe."""
    return not pause.needs_probe and now > pause.until + MINUTE
