"""The gate's rules: who may post when. Pure functions from one state to the next.

All deliver invocations of a Space share one `GateState`. It paces posts evenly, keeps any 60
seconds within Cometly's limit whether its minute is fixed or slides, learns the true limit from
Cometly's headers, and closes for all when Cometly says so. Times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from cometly_forwarder.quota import Learnt, Quota
from cometly_forwarder.window import MINUTE, WINDOW_SECONDS, Window

# What idle workers and duplicates left unused may be caught up, at twice the even pace.
CATCH_UP_SECONDS = 2.0
_FASTEST = 0.5
# A slot lies at least this far ahead: what threads need, beside what the table takes to answer.
LEAD_SECONDS = 0.1

RETRY_AFTER_CAP_SECONDS = 900.0
PROBE_SECONDS = 30.0
PROBE_WAIT_SECONDS = 2.0
# So many posts in a row without an answer close the gate.
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
class GateState:
    """What all workers share.

    `ideal` is where an even schedule would put the next slot, `last` the latest slot reserved, and
    `failures` how many posts in a row got no answer.
    """

    window: Window = field(default_factory=Window)
    learnt: Learnt = field(default_factory=Learnt)
    ideal: float = 0.0
    last: float = 0.0
    failures: int = 0
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker asks the gate for: up to `count` slots.

    They are to lie between `lead` seconds from `now`, the time that it takes to be ready, and
    `latest`. The `configured` rate, in posts a minute, holds until another was learnt.
    """

    now: float
    count: int
    latest: float
    configured: int
    lead: float = LEAD_SECONDS


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


def admit(state: GateState, wish: Wish) -> tuple[GateState, Admission]:
    """Reserve the slots that a worker wishes for, as far as there are any."""
    if pause := closed(state, wish.now):
        return state, Admission(wait=pause.wait(wish.now), cause=pause.cause)
    if state.pause and state.pause.needs_probe:
        return _admit_probe(state, state.pause, wish)
    if state.pause and _is_over(state.pause, wish.now):
        state = replace(state, pause=None)
    return _reserve(state, wish)


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
    pause = state.pause
    if probe and pause:
        pause = replace(pause, probe_until=0.0)
    interval = _interval(state, now, configured)
    is_end = bool(slots) and state.last <= max(slots)
    return replace(
        state,
        window=state.window.without(slots),
        ideal=state.ideal - len(slots) * interval,
        last=min(slots) - interval if is_end else state.last,
        pause=pause,
    )


def observe(state: GateState, quota: Quota, *, now: float) -> GateState:
    """Learn from the headers of an answer: the limit, and how much of it others use."""
    return replace(state, learnt=state.learnt.observe(quota, state.window, now=now))


def throttled(state: GateState, *, now: float, retry_after: float | None) -> GateState:
    """A 429: close for exactly as long as Cometly says, or for a growing while."""
    if (pause := state.pause) and pause.needs_probe and now < pause.until:
        return state
    step = _next_step(state.pause, Cause.THROTTLED, now)
    wait = step if retry_after is None else min(retry_after, RETRY_AFTER_CAP_SECONDS)
    if (pause := closed(state, now)) and pause.cause is Cause.THROTTLED:
        return replace(state, pause=replace(pause, until=max(pause.until, now + wait)))
    pause = Pause(Cause.THROTTLED, now + wait, step)
    return replace(state, learnt=state.learnt.throttled(now), failures=0, pause=pause)


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
    """An answer: failures are no longer in a row, and a probe that got it opens the gate.

    Not one that a 429 of an earlier post has closed meanwhile: Retry-After holds.
    """
    is_opened = probe and state.pause and state.pause.needs_probe
    return replace(state, failures=0, pause=None if is_opened else state.pause)


def _admit_probe(state: GateState, pause: Pause, wish: Wish) -> tuple[GateState, Admission]:
    after, admission = _reserve(state, replace(wish, count=1))
    if not admission.slots:
        return state, replace(admission, cause=pause.cause)
    out = replace(pause, probe_until=admission.slots[0] + PROBE_SECONDS)
    return replace(after, pause=out), replace(admission, probe=True)


def _reserve(state: GateState, wish: Wish) -> tuple[GateState, Admission]:
    now = wish.now
    most = state.learnt.allowance(now, wish.configured)
    interval = _interval(state, now, wish.configured)
    window = state.window.recent(now)
    ideal, last = max(state.ideal, now - CATCH_UP_SECONDS), state.last
    slots: list[float] = []
    wait = 0.0
    while len(slots) < wish.count:
        wanted = max(now + wish.lead, ideal, last + _FASTEST * interval)
        slot = window.first_room(wanted, most)
        if slot > wish.latest:
            wait = slot - wish.latest
            break
        window = window.with_slot(slot)
        slots.append(slot)
        ideal, last = max(ideal, slot - CATCH_UP_SECONDS) + interval, slot
    after = replace(state, window=window, ideal=ideal, last=last)
    return after, Admission(tuple(slots), wait=wait)


def _interval(state: GateState, now: float, configured: int) -> float:
    """Seconds from slot to slot: the allowance, spread over the window and its margin."""
    return WINDOW_SECONDS / state.learnt.allowance(now, configured)


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
