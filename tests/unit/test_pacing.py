"""The gate's rules, by themselves and in a simulated Space."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometly_forwarder import pacing
from cometly_forwarder.pacing import (
    FAILURES_TO_CLOSE,
    PROBE_SECONDS,
    RETRY_AFTER_CAP_SECONDS,
    Admission,
    Cause,
    GateState,
    Wish,
)
from cometly_forwarder.quota import MAX_LIMIT, MIN_LIMIT, Learnt, Quota
from tests.unit.simulation import World

NOW = 1_800_000_000.0
WINDOWS = pytest.mark.parametrize("window", ["fixed", "sliding"])


def admit(
    state: GateState,
    *,
    now: float = NOW,
    count: int = 10,
    latest: float = NOW + 1e6,
    rate: int = 1000,
) -> tuple[GateState, Admission]:
    return pacing.admit(state, Wish(now, count, latest, rate))


@WINDOWS
@pytest.mark.parametrize("workers", [2, 5])
def test_a_limit_of_1000_is_used_to_990_and_more_without_a_429(window: str, workers: int) -> None:
    world = World(window, workers=workers).run(600)

    assert world.refused == []
    assert world.accepted_in(0, 600) >= 9900


@WINDOWS
@pytest.mark.parametrize(("latency", "workers"), [(0.4, 2), (0.8, 5)])
def test_a_slow_cometly_changes_nothing(window: str, latency: float, workers: int) -> None:
    world = World(window, workers=workers, latency=latency).run(300)

    assert world.refused == []
    assert world.accepted_in(0, 300) >= 4950


@WINDOWS
def test_two_workers_are_enough_while_cometly_answers_within_600_ms(window: str) -> None:
    world = World(window, workers=2, latency=0.6).run(300)

    assert world.refused == []
    assert world.accepted_in(0, 300) >= 4950


@WINDOWS
@pytest.mark.parametrize("seed", range(5))
def test_any_60_seconds_stay_within_the_limit_however_threads_take_turns(
    window: str, seed: int
) -> None:
    world = World(window, workers=4, seed=seed).run(300)

    assert world.refused == []


@WINDOWS
def test_clocks_that_differ_by_what_the_shared_clock_leaves_do_no_harm(window: str) -> None:
    world = World(window, workers=3, skew=0.1).run(300)

    assert world.refused_in(60, 300) == 0
    assert world.accepted_in(0, 300) >= 4900


@WINDOWS
def test_a_space_with_300_a_minute_is_paced_to_300(window: str) -> None:
    world = World(window, limit=300).run(300)

    assert world.refused == []
    assert world.accepted_in(0, 300) >= 5 * 297


@WINDOWS
def test_a_space_raised_to_3000_is_used(window: str) -> None:
    world = World(window, workers=5, limits=((100, 3000),)).run(400)

    assert world.refused == []
    assert world.accepted_in(200, 260) >= 2850


@WINDOWS
def test_a_limit_that_falls_ends_with_no_429s(window: str) -> None:
    world = World(window, limits=((100, 300),)).run(400)

    assert world.refused_in(100, 200) <= 20
    assert world.refused_in(200, 400) == 0
    assert world.accepted_in(240, 360) >= 2 * 290


@WINDOWS
@pytest.mark.parametrize("rate", [100, 400])
def test_another_sender_is_made_room_for_with_few_429s_and_then_none(
    window: str, rate: int
) -> None:
    world = World(window, others=((90, 900, rate),)).run(900)

    assert world.refused_in(90, 300) <= 20
    assert world.refused_in(300, 900) == 0
    assert world.accepted_in(300, 900) >= 10 * (1000 - rate) * 0.97


@WINDOWS
def test_the_whole_limit_is_taken_again_when_another_sender_stops(window: str) -> None:
    world = World(window, others=((30, 300, 600),)).run(720)

    assert world.accepted_in(600, 720) >= 2 * 985


@WINDOWS
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_duplicates_leave_their_slots_to_others(window: str, share: float) -> None:
    world = World(window, workers=3, duplicates=share).run(300)

    assert world.refused == []
    assert world.accepted_in(0, 300) >= 4950


@WINDOWS
def test_without_headers_the_configured_rate_holds(window: str) -> None:
    world = World(window, has_headers=False).run(300)

    assert world.refused == []
    assert world.accepted_in(0, 300) >= 4950


@WINDOWS
def test_without_headers_a_rate_configured_too_high_is_slowed_by_its_429s(window: str) -> None:
    world = World(window, has_headers=False, limit=500).run(600)

    assert world.refused_in(0, 600) <= 40
    assert world.accepted_in(0, 600) >= 10 * 350


@WINDOWS
def test_without_headers_the_pace_does_not_sink_over_the_hours(window: str) -> None:
    world = World(window, has_headers=False, limit=500).run(3600)

    assert world.accepted_in(1800, 3600) >= 30 * 400


def test_without_headers_a_429_a_day_leaves_the_pace_as_it_was() -> None:
    learnt = Learnt()
    for day in range(30):
        learnt = learnt.throttled(NOW + day * 86400)

    assert learnt.allowance(NOW + 29 * 86400, 1000) == 900
    assert learnt.allowance(NOW + 30 * 86400, 1000) == 1000


@WINDOWS
@pytest.mark.parametrize(("stuck_at", "least"), [(0, 990), (1000, 990), (40, 490)])
def test_a_header_of_what_remains_that_is_stuck_costs_half_of_the_quota_at_most(
    window: str, stuck_at: int, least: int
) -> None:
    world = World(window, remaining=stuck_at).run(1200)

    assert world.refused == []
    assert world.accepted_in(600, 1200) >= 10 * least


@WINDOWS
@pytest.mark.parametrize("rate", [600, 700, 800])
def test_other_senders_beyond_half_of_the_limit_are_believed_once_429s_confirm_them(
    window: str, rate: int
) -> None:
    world = World(window, others=((90, 1500, rate),)).run(1500)

    assert world.refused_in(90, 600) <= 45
    assert world.refused_in(900, 1500) <= 4
    ours = world.accepted_in(900, 1500) / 10
    assert (1000 - rate) * 0.9 <= ours <= (1000 - rate) * 1.1


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [(0, 0), (-5, 1), (MIN_LIMIT - 1, 1), (MAX_LIMIT + 1, 5), (1000, 1001), (1000, -1)],
    ids=["zero", "negative", "tiny", "huge", "more left than the limit", "less than nothing left"],
)
def test_absurd_headers_are_not_believed(limit: int, remaining: int) -> None:
    state, _ = admit(GateState())

    assert pacing.observe(state, Quota(limit, remaining, NOW), now=NOW) == state


def test_a_learnt_limit_is_forgotten_when_headers_stay_away() -> None:
    state = pacing.observe(GateState(), Quota(300, 299, NOW), now=NOW)

    assert state.learnt.allowance(NOW + 60, 1000) == 300
    assert state.learnt.allowance(NOW + 601, 1000) == 1000


def test_slots_are_spread_evenly_and_never_lie_in_the_past() -> None:
    state, first = admit(GateState())
    _, second = admit(state)

    slots = first.slots + second.slots
    gaps = [later - earlier for earlier, later in pairwise(slots)]
    assert slots[0] >= NOW
    assert all(0.03 < gap < 0.07 for gap in gaps)


@given(
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 10)), min_size=1, max_size=120),
    st.integers(1, 120),
)
def test_no_window_ever_holds_more_slots_than_the_limit(
    batches: list[tuple[float, int]], limit: int
) -> None:
    state, now, slots = GateState(), NOW, []
    for pause, count in batches:
        now += pause
        state, admission = admit(state, now=now, count=count, latest=now + 200, rate=limit)
        slots += admission.slots

    assert slots == sorted(slots)
    for start in slots:
        assert sum(start <= slot < start + 60 for slot in slots) <= limit


def test_a_slot_that_was_given_back_can_be_used_by_another() -> None:
    state, all_slots = admit(GateState(), count=5, rate=5)
    _, full = admit(state, count=1, latest=NOW + 30, rate=5)
    after = pacing.give_back(state, all_slots.slots[1:], now=NOW, configured=5)
    _, freed = admit(after, now=all_slots.slots[-1], count=1, latest=NOW + 70, rate=5)

    assert full.slots == ()
    assert len(freed.slots) == 1


def test_what_does_not_fit_before_the_deadline_gets_no_slot() -> None:
    _, admission = admit(GateState(), latest=NOW + 0.3)

    assert 1 <= len(admission.slots) < 10
    assert admission.wait > 0
    assert admission.cause is None


def test_retry_after_is_obeyed_exactly() -> None:
    state = pacing.throttled(GateState(), now=NOW, retry_after=42)

    assert admit(state, now=NOW + 41.9)[1].cause is Cause.THROTTLED
    assert len(admit(state, now=NOW + 42)[1].slots) == 10


def test_an_absurd_retry_after_is_capped() -> None:
    state = pacing.throttled(GateState(), now=NOW, retry_after=86400 * 365)

    assert state.pause is not None
    assert state.pause.until == NOW + RETRY_AFTER_CAP_SECONDS


def test_several_429s_of_one_moment_are_one_pause_that_lasts_as_long_as_the_longest() -> None:
    state = pacing.throttled(GateState(), now=NOW, retry_after=5)
    state = pacing.throttled(state, now=NOW + 0.1, retry_after=9)
    state = pacing.throttled(state, now=NOW + 0.2, retry_after=2)

    assert state.pause is not None
    assert state.pause.until == pytest.approx(NOW + 9.1)


def test_without_retry_after_the_pause_grows_and_is_forgotten_after_a_quiet_minute() -> None:
    state, waits, now = GateState(), [], NOW
    for _ in range(7):
        state = pacing.throttled(state, now=now, retry_after=None)
        assert state.pause is not None
        waits.append(round(state.pause.until - now))
        now = state.pause.until
    later = pacing.throttled(state, now=now + 61, retry_after=None)

    assert waits == [2, 4, 8, 16, 32, 60, 60]
    assert later.pause is not None
    assert later.pause.step == 2


def test_probes_of_a_blocked_space_grow_from_a_minute_to_fifteen() -> None:
    state, waits, now = pacing.blocked(GateState(), now=NOW), [60.0], NOW + 60
    for _ in range(6):
        state, admission = admit(state, now=now)
        assert admission.probe
        assert len(admission.slots) == 1
        state = pacing.blocked(state, now=now)
        assert state.pause is not None
        waits.append(state.pause.until - now)
        now = state.pause.until

    assert waits == [60, 120, 240, 480, 900, 900, 900]


def test_while_a_probe_is_out_all_others_wait() -> None:
    state = pacing.blocked(GateState(), now=NOW)
    state, probe = admit(state, now=NOW + 60)
    state, other = admit(state, now=NOW + 61)

    assert probe.probe
    assert other.slots == ()
    assert other.cause is Cause.BLOCKED


def test_a_probe_that_never_reports_is_followed_by_another() -> None:
    state = pacing.blocked(GateState(), now=NOW)
    state, _ = admit(state, now=NOW + 60)
    _, next_probe = admit(state, now=NOW + 61 + PROBE_SECONDS)

    assert next_probe.probe


def test_a_probe_that_would_not_fit_before_the_deadline_is_left_to_another() -> None:
    state, _ = admit(GateState(), rate=1)
    state = pacing.blocked(state, now=NOW)

    after, admission = admit(state, now=NOW + 60, latest=NOW + 60.2, rate=1)

    assert admission.slots == ()
    assert admission.wait > 0
    assert after == state


def test_a_success_from_before_the_pause_does_not_open_a_blocked_gate() -> None:
    state = pacing.blocked(GateState(), now=NOW)

    assert pacing.succeeded(state, probe=False).pause == state.pause
    assert pacing.succeeded(state, probe=True).pause is None


def test_a_probe_that_succeeds_does_not_end_a_429_that_came_meanwhile() -> None:
    state, _ = admit(pacing.blocked(GateState(), now=NOW), now=NOW + 60)
    state = pacing.throttled(state, now=NOW + 61, retry_after=60)

    state = pacing.succeeded(state, probe=True)

    assert admit(state, now=NOW + 120)[1].cause is Cause.THROTTLED


def test_a_pause_that_is_long_over_is_not_shown_to_the_operator() -> None:
    state = pacing.throttled(GateState(), now=NOW, retry_after=5)

    state, _ = admit(state, now=NOW + 3600)

    assert state.pause is None


def test_ten_401s_at_once_are_one_pause() -> None:
    state = pacing.blocked(GateState(), now=NOW)

    for _ in range(9):
        state = pacing.blocked(state, now=NOW + 0.1)

    assert state.pause is not None
    assert state.pause.step == 60


def test_a_throttled_probe_ends_the_block() -> None:
    state, _ = admit(pacing.blocked(GateState(), now=NOW), now=NOW + 60)

    state = pacing.throttled(state, now=NOW + 61, retry_after=3)

    assert state.pause is not None
    assert state.pause.cause is Cause.THROTTLED


def test_a_429_of_an_earlier_post_does_not_end_a_block() -> None:
    state = pacing.blocked(GateState(), now=NOW)

    assert pacing.throttled(state, now=NOW + 1, retry_after=3) == state


def test_failures_close_the_gate_only_when_they_are_in_a_row() -> None:
    state = pacing.failed(GateState(), now=NOW, count=FAILURES_TO_CLOSE - 1)
    interrupted = pacing.failed(pacing.succeeded(state, probe=False), now=NOW)

    assert interrupted.pause is None
    assert pacing.failed(state, now=NOW).pause is not None


def test_failures_do_not_shorten_a_block() -> None:
    state = pacing.blocked(GateState(), now=NOW)

    after = pacing.failed(state, now=NOW + 1, count=100)

    assert after.pause == state.pause


def test_a_failed_probe_lengthens_the_pause_up_to_a_minute() -> None:
    state, now, steps = pacing.failed(GateState(), now=NOW, count=FAILURES_TO_CLOSE), NOW, []
    for _ in range(6):
        assert state.pause is not None
        steps.append(state.pause.step)
        now = state.pause.until
        state, admission = admit(state, now=now)
        assert admission.probe
        state = pacing.failed(state, now=now, probe=True)

    assert steps == [5, 10, 20, 40, 60, 60]


def test_the_state_stays_small_however_long_it_is_used() -> None:
    state, now = GateState(), NOW
    for _ in range(2000):
        state, _ = admit(state, now=now)
        now += 0.7

    assert len(state.window.sent) < 1024


def test_an_idle_day_leaves_nothing_behind() -> None:
    state, _ = admit(GateState())

    state, admission = admit(state, now=NOW + 86400)

    assert len(state.window.sent) < 32
    assert len(admission.slots) == 10
