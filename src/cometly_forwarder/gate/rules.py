"""The gate's rules: who may post when. Pure functions from one state to the next.

All deliver invocations of a Space share one `GateState`. It paces posts evenly, keeps any 60
seconds within Cometly's limit whether its minute is fixed or slides, learns the true limit from
Cometly's headers, and closes for all when Cometly says so. Times are Unix seconds.

There are two lanes. Whoever needs no key must not hold up who has one, so the pages' lane gets what
the services' lane leaves. While services take all that they can, that is up to a tenth of the pace,
and less the more workers they have. Services do not queue behind slots that pages hold. What the
events of pages make Cometly answer closes the gate for pages only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from cometly_forwarder.gate.quota import Doubt, LimitEstimate, RateHeaders
from cometly_forwarder.gate.window import MINUTE, WINDOW_SECONDS, Window

# What idle workers and duplicates left unused may be caught up, by a lane at twice the even pace.
CATCH_UP_SECONDS = 2.0
_FASTEST = 0.5
# Pages reserve no farther ahead than this: ten slots at 1000 a minute, a batch.
PAGES_AHEAD_SECONDS = 0.6
# Pages leave the pace of so many seconds unused, for services that come. With less, two workers of
# services whose answers take 0.6 s would lose to pages what they cannot ask for in time.
PAGES_SPARE_SECONDS = 1.2
# What pages get at the most while services take all that they can.
PAGES_SHARE = 0.1
# A slot lies at least this far ahead: what threads need, beside what the table takes to answer.
LEAD_SECONDS = 0.1
# While no more than this share of the limit is taken, by others too, nothing is scarce: a post need
# not wait for its slot, if that is at most so far behind the first that there could be: ten slots
# at 1000 a minute, where what was left idle is caught up.
SPARSE_SHARE = 0.5
EARLY_SECONDS = 0.3

# Slots that were reserved under a higher limit are void where the last minute took so many times
# what the new one allows.
_OVERDRAWN = 1.2

RETRY_AFTER_CAP_SECONDS = 900.0
# No slot lies farther ahead: deliver's time-out is 60 s, the slowest pace one post a minute. What
# does was written by a clock that was wrong.
FARTHEST_SLOT_SECONDS = 2 * WINDOW_SECONDS
PROBE_SECONDS = 30.0
PROBE_WAIT_SECONDS = 2.0
# So many posts in a row without an answer close the gate.
FAILURES_TO_CLOSE = 10
# While Cometly takes events, a refusal as if the Space were blocked may be about its own event: so
# many in a row close the gate.
REFUSALS_TO_CLOSE = 3
TAKEN_LATELY_SECONDS = 60.0


class Lane(Enum):
    """Who an event comes from: services with a key, topics and rules; or pages, which need none."""

    SERVICES = "services"
    PAGES = "pages"


class Cause(Enum):
    """Why the gate is closed."""

    THROTTLED = "throttled"
    BLOCKED = "blocked"
    FAILING = "failing"


# First and longest pause by cause. A throttled Space needs no probe: the pause is Cometly's own, or
# short, for its minute may be over soon.
_STEPS = {Cause.THROTTLED: (2.0, 10.0), Cause.BLOCKED: (60.0, 900.0), Cause.FAILING: (5.0, 60.0)}


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

    `ideal` is where an even schedule would put the next slot, `last` the latest slot reserved by
    the services' lane, `pages_last` by the pages' lane. `failures` is how many posts in a row got
    no answer; it and `pause` are by the services' lane, which both obey, `pages_failures` and
    `pages_pause` by the pages' lane. `taken_at` is when Cometly last answered about an event.
    """

    window: Window = field(default_factory=Window)
    learnt: LimitEstimate = field(default_factory=LimitEstimate)
    doubt: Doubt = field(default_factory=Doubt)
    ideal: float = 0.0
    last: float = 0.0
    failures: int = 0
    pause: Pause | None = None
    pages_last: float = 0.0
    pages_failures: int = 0
    pages_pause: Pause | None = None
    taken_at: float = 0.0


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """What a worker asks the gate for: up to `count` slots.

    They are to lie between `lead` seconds from `now`, the time that it takes to be ready, and
    `latest`. The `configured` rate, in posts a minute, holds until another was learnt.
    """

    now: float
    count: int
    latest: float
    configured: int
    lead: float = LEAD_SECONDS
    lane: Lane = Lane.SERVICES


@dataclass(frozen=True, slots=True)
class Reservation:
    """Slots for posts, in order; `probe` marks the single slot of a probe.

    A post may go out up to `early` seconds before its slot. With fewer slots than asked for, `wait`
    says in how many seconds asking again makes sense, and `cause` why the gate is closed, if it is.
    """

    slots: tuple[float, ...] = ()
    early: float = 0.0
    wait: float = 0.0
    cause: Cause | None = None
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Unused:
    """Slots in which nothing was posted; `probe` when one was a probe's."""

    slots: tuple[float, ...]
    lane: Lane = Lane.SERVICES
    probe: bool = False


def admit(state: GateState, request: SlotRequest) -> tuple[GateState, Reservation]:
    """Reserve the slots that a worker wishes for, as far as there are any."""
    state = _plausible(state, request.now)
    if pause := closed(state, request.now, request.lane):
        return state, Reservation(wait=pause.wait(request.now), cause=pause.cause)
    if pause := _pause_to_probe(state, request.lane):
        return _admit_probe(state, pause, request)
    if state.pause and _is_over(state.pause, request.now):
        state = replace(state, pause=None)
    return _reserve(state, request)


def closed(state: GateState, now: float, lane: Lane = Lane.SERVICES) -> Pause | None:
    """Return the pause that keeps a lane's posts back now, the longest if there are two."""
    active = (pause for pause in _pauses(state, lane) if now < pause.ends_at)
    return max(active, key=lambda pause: pause.ends_at, default=None)


def holds(state: GateState, now: float, configured: int, lane: Lane = Lane.SERVICES) -> bool:
    """Say whether a slot that was reserved for now can be used.

    The gate may have closed since, or the limit fallen far under what the last minute took.
    """
    if closed(state, now, lane):
        return False
    taken = state.window.count(now - MINUTE, now)
    return taken <= _OVERDRAWN * state.learnt.allowance(now, configured)


def give_back(state: GateState, unused: Unused, *, now: float, configured: int) -> GateState:
    """Take back slots in which nothing was posted; if one was a probe, the next event probes.

    The schedule moves up by as many places, so that duplicates take nothing from the others. The
    pages' tenth counts as used: or a flood of duplicates, which needs no slot, would ask for one
    without end.
    """
    slots, lane = unused.slots, unused.lane
    if unused.probe and (pause := _own_pause(state, lane)):
        state = _with_pause(state, replace(pause, probe_until=0.0), lane)
    if not slots:
        return state
    interval = WINDOW_SECONDS / state.learnt.allowance(now, configured)
    if _last(state, lane) <= max(slots):
        state = _with_last(state, min(slots) - interval, lane)
    ideal = state.ideal - len(slots) * interval
    return replace(state, window=state.window.without(slots), ideal=ideal)


def observe(state: GateState, headers: RateHeaders, *, now: float, configured: int) -> GateState:
    """Learn from the headers of an answer: the limit, and how much of it others use."""
    is_throttled = state.pause is not None and state.pause.cause is Cause.THROTTLED
    doubt = Doubt()
    if not is_throttled and state.learnt.is_odd(headers, now, configured):
        doubt = state.doubt.again(headers)
        if not doubt.is_confirmed:
            return replace(state, doubt=doubt)
    learnt = state.learnt.observe(headers, state.window, now=now)
    return replace(state, learnt=learnt, doubt=doubt) if learnt != state.learnt else state


def throttled(
    state: GateState,
    *,
    now: float,
    configured: int,
    retry_after: float | None,
    lane: Lane = Lane.SERVICES,
) -> GateState:
    """A 429: close both lanes for as long as Cometly says, at most 15 minutes.

    Where it says nothing they close for 2, 4, 8, then 10 s.
    """
    # A page's probe that meets a 429 has its answer: the pages' own pause is over.
    if lane is Lane.PAGES and state.pages_pause and now >= state.pages_pause.until:
        state = replace(state, pages_pause=None)
    # The post went out before the gate closed; a pause that ends with a probe stands above it.
    if (pause := state.pause) and pause.needs_probe and now < pause.until:
        return state
    step = _next_step(state.pause, Cause.THROTTLED, now)
    wait = step if retry_after is None else min(retry_after, RETRY_AFTER_CAP_SECONDS)
    # Another 429 of the same moment: the later end holds, and the limit is learnt from it once.
    if (pause := state.pause) and pause.cause is Cause.THROTTLED and now < pause.until:
        return replace(state, pause=replace(pause, until=max(pause.until, now + wait)))
    # A limit that was doubted until now is believed, for a 429 came with it.
    learnt = state.learnt.told(state.doubt.limit, now) if state.doubt.limit else state.learnt
    ours = state.window.count(now - MINUTE, now)
    learnt = learnt.throttled(now, ours=ours, configured=configured)
    pause = Pause(Cause.THROTTLED, now + wait, step)
    return replace(_with_failures(state, 0, lane), learnt=learnt, doubt=Doubt(), pause=pause)


def blocked(state: GateState, *, now: float, lane: Lane = Lane.SERVICES) -> GateState:
    """A 401 or 403: close, for longer each time a probe finds the Space still blocked."""
    return _close(state, Cause.BLOCKED, now, lane)


def is_doubtful(refusals: int, taken_at: float, now: float) -> bool:
    """Say whether so many refusals in a row may be about their events, not about the Space."""
    return refusals < REFUSALS_TO_CLOSE and now - taken_at < TAKEN_LATELY_SECONDS


def failed(
    state: GateState,
    *,
    now: float,
    probe: bool = False,
    lane: Lane = Lane.SERVICES,
) -> GateState:
    """No answer worth the name; many in a row close the gate, and a probe's closes it again."""
    failures = min(failures_of(state, lane) + 1, 10 * FAILURES_TO_CLOSE)
    state = _with_failures(state, failures, lane)
    if not probe and closed(state, now, lane):
        return state
    many = failures >= FAILURES_TO_CLOSE
    return _close(state, Cause.FAILING, now, lane) if probe or many else state


def succeeded(
    state: GateState, *, probe: bool, is_booked: bool = True, lane: Lane = Lane.SERVICES
) -> GateState:
    """An event was taken: failures are no longer in a row, and a probe opens the gate.

    A page's probe that is booked opens it for both lanes, for Cometly books; one that is refused
    for its own sake opens it for pages alone. A gate that a 429 of an earlier post has closed in
    the meantime stays closed: Retry-After holds.
    """
    state = _with_failures(state, 0, lane)
    if not probe:
        return state
    if lane is Lane.PAGES:
        state = replace(state, pages_pause=None)
        if not is_booked:
            return state
    is_opened = state.pause and state.pause.needs_probe
    return replace(state, pause=None, failures=0) if is_opened else state


def failures_of(state: GateState, lane: Lane) -> int:
    """How many posts in a row of a lane got no answer."""
    return state.failures if lane is Lane.SERVICES else state.pages_failures


def _with_failures(state: GateState, failures: int, lane: Lane) -> GateState:
    if lane is Lane.SERVICES:
        return replace(state, failures=failures)
    return replace(state, pages_failures=failures)


def _own_pause(state: GateState, lane: Lane) -> Pause | None:
    return state.pause if lane is Lane.SERVICES else state.pages_pause


def _with_pause(state: GateState, pause: Pause, lane: Lane) -> GateState:
    if lane is Lane.SERVICES:
        return replace(state, pause=pause)
    return replace(state, pages_pause=pause)


def _pauses(state: GateState, lane: Lane) -> list[Pause]:
    """The pauses that a lane obeys. Pages probe for themselves, whoever caused a pause."""
    if lane is Lane.SERVICES:
        return [state.pause] if state.pause else []
    own = [state.pages_pause] if state.pages_pause else []
    return [*own, replace(state.pause, probe_until=0.0)] if state.pause else own


def _pause_to_probe(state: GateState, lane: Lane) -> Pause | None:
    """Return the pause that only a probe ends, the one that ended last if there are two."""
    probed = (pause for pause in _pauses(state, lane) if pause.needs_probe)
    return max(probed, key=lambda pause: pause.until, default=None)


def _plausible(state: GateState, now: float) -> GateState:
    """Leave out what no clock that was right has written, so that it stops nobody."""
    farthest = now + FARTHEST_SLOT_SECONDS
    is_late = max(state.ideal, state.last, state.pages_last) > farthest
    if is_late:
        state = replace(state, ideal=0.0, last=0.0, pages_last=0.0)
    if state.window.end > farthest:
        state = replace(state, window=Window())
    if state.learnt.heard_at > farthest or state.doubt.at > farthest:
        state = replace(state, learnt=LimitEstimate(), doubt=Doubt())
    return replace(
        state,
        pause=_plausible_pause(state.pause, now),
        pages_pause=_plausible_pause(state.pages_pause, now),
        taken_at=state.taken_at if state.taken_at <= farthest else 0.0,
    )


def _plausible_pause(pause: Pause | None, now: float) -> Pause | None:
    """Take a pause that would last longer than any for one that is over."""
    if not pause or pause.ends_at <= now + RETRY_AFTER_CAP_SECONDS + FARTHEST_SLOT_SECONDS:
        return pause
    return replace(pause, until=min(pause.until, now), probe_until=0.0)


def _admit_probe(
    state: GateState, pause: Pause, request: SlotRequest
) -> tuple[GateState, Reservation]:
    after, reservation = _reserve(state, replace(request, count=1))
    if not reservation.slots:
        return state, replace(reservation, cause=pause.cause)
    out = replace(pause, probe_until=reservation.slots[0] + PROBE_SECONDS)
    return _with_pause(after, out, request.lane), replace(reservation, probe=True)


def _reserve(state: GateState, request: SlotRequest) -> tuple[GateState, Reservation]:
    """Give slot after slot, until there is none in time. Without any the state stays as it was."""
    most = state.learnt.allowance(request.now, request.configured)
    ideal = max(state.ideal, request.now - CATCH_UP_SECONDS)
    after = replace(state, window=state.window.recent(request.now), ideal=ideal)
    slots: list[float] = []
    wait = 0.0
    while len(slots) < request.count:
        slot, wait = _next_slot(after, request, most)
        if wait > 0:
            break
        after = _with_slot(after, slot, most, request.lane)
        slots.append(slot)
    if not slots:
        return state, Reservation(wait=wait)
    return after, Reservation(tuple(slots), _early(after, request, most), wait)


def _early(state: GateState, request: SlotRequest, most: int) -> float:
    """Say how much sooner than its slot a post may go out.

    The window that ends now, with all that is reserved ahead, has room for it. No later window has
    it that does not count its slot, and what is reserved later counts that as well. So any minute
    still holds no more than the limit.
    """
    limit = state.learnt.limit_at_present(request.now, request.configured)
    taken = state.window.taken(request.now) + limit - most
    return request.lead + EARLY_SECONDS if taken <= limit * SPARSE_SHARE else 0.0


def _next_slot(state: GateState, request: SlotRequest, most: int) -> tuple[float, float]:
    """Find a lane's next slot, and in how many seconds it can be had: 0 if it can be now."""
    if request.lane is Lane.PAGES:
        return _next_slot_of_pages(state, request, most)
    slot = _slot_behind(state, request, most, 0.0)
    return slot, max(0.0, slot - request.latest)


def _next_slot_of_pages(state: GateState, request: SlotRequest, most: int) -> tuple[float, float]:
    """Find the next slot if pages' tenth allows it, or else one of what services leave.

    The reasons are in docs/decisions/0013-two-lanes-through-one-gate.md.
    """
    slot = _slot_behind(state, request, most, 0.0)
    share_at = state.pages_last + WINDOW_SECONDS / most / PAGES_SHARE
    until_share = max(share_at - slot, slot - request.latest)
    if until_share <= 0:
        return slot, 0.0
    slot = _slot_behind(state, request, most, PAGES_SPARE_SECONDS)
    until_rest = slot - min(request.latest, request.now + request.lead + PAGES_AHEAD_SECONDS)
    return slot, max(0.0, min(until_share, until_rest))


def _slot_behind(state: GateState, request: SlotRequest, most: int, seconds: float) -> float:
    """Find the first slot that leaves the pace of so many seconds unused.

    It lies behind all others, but a service's may lie between those of pages: they may come back.
    """
    interval = WINDOW_SECONDS / most
    last = state.last if request.lane is Lane.SERVICES else max(state.last, state.pages_last)
    earliest = max(request.now + request.lead, last + _FASTEST * interval)
    room = min(most, state.learnt.room(state.window, request.now, request.configured))
    # A minute that others nearly fill has room for fewer, and none would be looked for forever.
    most_of_ours = max(1, room - int(seconds / interval))
    return state.window.first_room(max(earliest, state.ideal + seconds), most_of_ours)


def _with_slot(state: GateState, slot: float, most: int, lane: Lane) -> GateState:
    return replace(
        _with_last(state, slot, lane),
        window=state.window.with_slot(slot),
        ideal=max(state.ideal, slot - CATCH_UP_SECONDS) + WINDOW_SECONDS / most,
    )


def _last(state: GateState, lane: Lane) -> float:
    return state.last if lane is Lane.SERVICES else state.pages_last


def _with_last(state: GateState, slot: float, lane: Lane) -> GateState:
    if lane is Lane.SERVICES:
        return replace(state, last=slot)
    return replace(state, pages_last=slot)


def _close(state: GateState, cause: Cause, now: float, lane: Lane) -> GateState:
    pauses = [pause for pause in _pauses(state, lane) if pause.cause is cause]
    before = max(pauses, key=lambda pause: pause.until, default=None)
    if before and now < before.until:
        return state
    step = _next_step(before, cause, now)
    return _with_pause(state, Pause(cause, now + step, step), lane)


def _next_step(pause: Pause | None, cause: Cause, now: float) -> float:
    first, longest = _STEPS[cause]
    if not pause or pause.cause is not cause or _is_over(pause, now):
        return first
    return min(max(pause.step * 2, first), longest)


def _is_over(pause: Pause, now: float) -> bool:
    """A pause for throttling is history a minute after its end; the others end by a probe."""
    return not pause.needs_probe and now > pause.until + MINUTE
