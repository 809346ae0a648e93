"""The gate's rules, by themselves and in a simulated Space."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometly_forwarder.gate import rules
from cometly_forwarder.gate.quota import MAX_LIMIT, MIN_LIMIT, LimitEstimate, RateHeaders
from cometly_forwarder.gate.rules import (
    FAILURES_TO_CLOSE,
    PROBE_SECONDS,
    RETRY_AFTER_CAP_SECONDS,
    Cause,
    GateState,
    Lane,
    Pause,
    Reservation,
    SlotRequest,
    Unused,
)
from cometly_forwarder.gate.window import Window
from tests.unit.simulation import Simulation

NOW = 1_800_000_000.0
# Coverage would double the time of a simulation, and the other tests reach each line with the one
# that is covered: what is learnt of a fixed minute and of other senders takes minutes.
COVERED_WINDOWS = pytest.mark.parametrize("window", ["fixed", "sliding"])
WINDOWS = pytest.mark.parametrize(
    "window", [pytest.param(it, marks=pytest.mark.no_cover) for it in ("fixed", "sliding")]
)


def admit(
    state: GateState,
    *,
    now: float = NOW,
    count: int = 10,
    latest: float = NOW + 1e6,
    rate: int = 1000,
    lane: Lane = Lane.SERVICES,
) -> tuple[GateState, Reservation]:
    return rules.admit(state, SlotRequest(now, count, latest, rate, lane=lane))


def observed(state: GateState, *heard: RateHeaders) -> GateState:
    for headers in heard:
        state = rules.observe(state, headers, now=headers.at, configured=1000)
    return state


def throttled(
    state: GateState,
    *,
    now: float = NOW,
    retry_after: float | None = None,
    lane: Lane = Lane.SERVICES,
) -> GateState:
    return rules.throttled(state, now=now, configured=1000, retry_after=retry_after, lane=lane)


@WINDOWS
@pytest.mark.parametrize(
    ("minutes", "options"),
    [
        (10, {"workers": 2}),
        (10, {"workers": 5}),
        *((5, {"workers": 4, "seed": seed}) for seed in range(5)),
        (5, {"workers": 2, "latency": 0.6}),
        (5, {"workers": 5, "latency": 0.8}),
        (5, {"workers": 3, "duplicates": 0.1}),
        (5, {"workers": 3, "duplicates": 0.5}),
        (5, {"has_headers": False}),
        (5, {"limit": 300}),
    ],
    ids=str,
)
def test_a_limit_is_used_to_99_percent_and_more_without_a_429(
    window: str, minutes: int, options: dict[str, Any]
) -> None:
    simulation = Simulation(window, **options).run(60 * minutes)

    assert simulation.refused == []
    assert simulation.accepted_in(0, 60 * minutes) >= 0.99 * minutes * simulation.limit


@WINDOWS
def test_clocks_that_differ_by_what_the_shared_clock_leaves_do_no_harm(window: str) -> None:
    simulation = Simulation(window, workers=3, skew=0.1).run(300)

    assert simulation.refused_in(60, 300) == 0
    assert simulation.accepted_in(0, 300) >= 4900


@WINDOWS
def test_a_space_raised_to_3000_is_used(window: str) -> None:
    simulation = Simulation(window, workers=5, limits=((100, 3000),)).run(400)

    assert simulation.refused == []
    assert simulation.accepted_in(200, 260) >= 2850


@WINDOWS
@pytest.mark.parametrize("workers", [2, 5])
@pytest.mark.parametrize("at", [100, 113, 127])
def test_a_limit_that_falls_costs_what_is_on_its_way_and_no_more(
    window: str, workers: int, at: int
) -> None:
    simulation = Simulation(window, workers=workers, limits=((at, 300),)).run(400)

    assert len(simulation.refused) <= 3
    assert simulation.refused_in(at + 1, 400) == 0
    assert simulation.accepted_in(240, 360) >= 2 * 290


@WINDOWS
@pytest.mark.parametrize("rate", [100, 400])
def test_another_sender_is_made_room_for_with_few_429s_and_then_none(
    window: str, rate: int
) -> None:
    simulation = Simulation(window, others=((90, 900, rate),)).run(900)

    assert simulation.refused_in(90, 300) <= 20
    assert simulation.refused_in(300, 900) == 0
    assert simulation.accepted_in(300, 900) >= 10 * (1000 - rate) * 0.96


@pytest.mark.no_cover
@pytest.mark.parametrize("window", ["fixed", "sliding", "begun"])
def test_a_sender_of_bursts_is_left_its_part_and_no_more(window: str) -> None:
    simulation = Simulation(window, others=((0, 660, 180),), burst=60).run(660)

    assert len(simulation.refused) <= 8
    assert simulation.accepted_in(60, 660) >= 10 * 820 * 0.95


def posts_of_ours(*, since: float, until: float = NOW) -> Window:
    """Ten posts a second."""
    first, last = round(since * 10), round(until * 10)
    return Window(first, bytes([1]) * (last - first + 1))


def counting(others: int, at: float, ours: Window, *, window_at: float = 0.0) -> RateHeaders:
    """Headers of an answer that count so many of others in their minute."""
    return RateHeaders(1000, 1000 - ours.count(window_at, at) - others, at)


def heard(learnt: LimitEstimate, ours: Window, *headers: RateHeaders) -> LimitEstimate:
    for each in headers:
        learnt = learnt.observe(each, ours, now=each.at)
    return learnt


SLIDING = LimitEstimate(1000, NOW - 10, 300, NOW - 10, others=100.0)
FIXED = LimitEstimate(1000, NOW - 10, 300, NOW - 10, NOW - 20, others=180.0)


def test_others_of_a_sliding_minute_are_believed_at_once() -> None:
    ours = posts_of_ours(since=NOW - 63)

    learnt = heard(SLIDING, ours, counting(160, NOW, ours))

    assert learnt.others == 160


def test_others_that_have_left_a_sliding_minute_are_forgotten_slowly() -> None:
    ours = posts_of_ours(since=NOW - 63)
    bursts = replace(SLIDING, others=180.0)
    crowd = replace(SLIDING, others=500.0)

    assert heard(bursts, ours, counting(120, NOW, ours)).others == pytest.approx(175)
    assert heard(crowd, ours, counting(20, NOW, ours)).others == pytest.approx(460)
    assert heard(bursts, ours, counting(178, NOW, ours)).others == pytest.approx(178)


def test_others_that_have_left_a_sliding_minute_altogether_have_stopped() -> None:
    ours = posts_of_ours(since=NOW - 63)

    assert heard(replace(SLIDING, others=180.0), ours, counting(0, NOW, ours)).others == 120


def test_bursts_early_in_a_fixed_minute_are_not_taken_for_its_pace() -> None:
    ours, window_at = posts_of_ours(since=NOW - 63), FIXED.window_at
    answers = [
        counting(60 if second < 10 else 120, window_at + second, ours, window_at=window_at)
        for second in range(4, 21)
    ]
    learnt = replace(FIXED, remaining=990, quota_at=window_at + 3, others=150.0)

    learnt = heard(learnt, ours, *answers)

    # 120 in 17 s would be 420 in a minute.
    assert 200 <= learnt.others <= 240


def test_others_that_a_fixed_minute_adds_take_the_place_of_those_of_a_minute_ago() -> None:
    ours, window_at = posts_of_ours(since=NOW - 63), NOW - 40
    before = counting(120, NOW - 20, ours, window_at=window_at)
    learnt = replace(
        FIXED, remaining=before.remaining, quota_at=NOW - 20, window_at=window_at, others=180.0
    )

    learnt = heard(learnt, ours, counting(180, NOW, ours, window_at=window_at))

    assert learnt.others == pytest.approx(180 * (1 - 20 / 60) + 60)


def test_an_answer_of_the_minute_before_says_nothing_of_others_in_the_new_one() -> None:
    ours, window_at = posts_of_ours(since=NOW - 63), NOW - 1
    learnt = replace(FIXED, remaining=990, quota_at=NOW - 0.5, window_at=window_at)

    late = heard(learnt, ours, RateHeaders(1000, 10, NOW))

    assert late.others <= learnt.others
    assert late.room(ours, NOW, 1000) >= learnt.room(ours, NOW, 1000)


def test_a_fixed_minute_that_counts_more_of_others_than_usual_leaves_less_room() -> None:
    ours, window_at = posts_of_ours(since=NOW - 63), NOW - 50
    learnt = replace(FIXED, remaining=1, quota_at=NOW - 1, window_at=window_at, others=100.0)
    counted = counting(240, NOW - 1, ours, window_at=window_at)
    crowded = replace(learnt, remaining=counted.remaining)

    usual, less = crowded.allowance(NOW, 1000), crowded.room(ours, NOW, 1000)

    assert (usual, less) == (895, 754)
    # It says nothing of the minute after it.
    assert crowded.room(ours, NOW + 10, 1000) == 895


def test_room_is_kept_for_what_others_send_until_a_header_tells() -> None:
    crowd = replace(SLIDING, others=400.0)

    assert crowd.allowance(NOW, 1000) == 595
    assert crowd.room(Window(), NOW, 1000) == 590
    # Half is all that is believed: what others take beyond it has to be shown by 429s.
    assert replace(SLIDING, others=500.0).room(Window(), NOW, 1000) == 495


def test_others_are_forgotten_with_the_limit_when_headers_no_longer_come() -> None:
    raised = LimitEstimate(3000, NOW - 599, 100, NOW - 599, others=1200.0)

    assert raised.allowance(NOW, 1000) == 1785
    assert raised.allowance(NOW + 2, 1000) == raised.room(Window(), NOW + 2, 1000) == 1000


def test_no_window_holds_more_of_ours_than_there_is_room_for() -> None:
    window = Window(round(NOW * 10) - 590, bytes([1]) * 590)
    state = GateState(window=window, learnt=replace(SLIDING, limit_at=NOW, others=400.0))

    _, reservation = admit(state, latest=NOW + 1.2)

    assert reservation.slots == ()


def test_a_fixed_minute_that_others_began_is_noticed() -> None:
    ours = Window(round(NOW * 10), b"\1")
    learnt = replace(FIXED, remaining=20, quota_at=NOW - 8, window_at=NOW - 66, others=600.0)

    learnt = heard(learnt, ours, RateHeaders(1000, 919, NOW))

    # Eighty of others are eight seconds, but the answer before belongs to the minute before.
    assert learnt.window_at == pytest.approx(NOW - 8, abs=0.2)


def test_an_answer_from_before_a_burst_that_is_heard_after_it_begins_no_minute() -> None:
    ours = posts_of_ours(since=NOW - 63)
    learnt = replace(FIXED, remaining=753, quota_at=NOW - 0.2, window_at=NOW - 11)

    learnt = heard(learnt, ours, RateHeaders(1000, 820, NOW))

    assert learnt.window_at == NOW - 11


def test_a_fixed_minute_begins_after_the_last_answer_of_the_one_before() -> None:
    ours = posts_of_ours(since=NOW - 63)
    learnt = replace(FIXED, remaining=20, quota_at=NOW - 0.1, window_at=NOW - 60)

    learnt = heard(learnt, ours, RateHeaders(1000, 960, NOW))

    assert learnt.window_at >= NOW - 0.3


@COVERED_WINDOWS
def test_the_whole_limit_is_taken_again_when_another_sender_stops(window: str) -> None:
    simulation = Simulation(window, others=((30, 300, 600),)).run(720)

    assert simulation.accepted_in(600, 720) >= 2 * 985


@WINDOWS
@pytest.mark.parametrize("limit", [100, 300, 600, 900])
def test_without_headers_and_retry_after_no_minute_is_left_unused(window: str, limit: int) -> None:
    simulation = Simulation(window, has_headers=False, has_retry_after=False, limit=limit).run(900)

    assert min(simulation.accepted_in(at, at + 60) for at in range(0, 900, 60)) >= 0.6 * limit
    assert len(simulation.refused) <= 15 * 3


@WINDOWS
def test_without_headers_a_rate_configured_too_high_is_slowed_by_its_429s(window: str) -> None:
    simulation = Simulation(window, has_headers=False, limit=500).run(600)

    assert simulation.refused_in(0, 600) <= 40
    assert simulation.accepted_in(0, 600) >= 10 * 350


@WINDOWS
def test_without_headers_the_pace_does_not_sink_over_the_hours(window: str) -> None:
    simulation = Simulation(window, has_headers=False, limit=500).run(3600)

    assert simulation.accepted_in(1800, 3600) >= 30 * 400


def test_without_headers_a_429_a_day_leaves_the_pace_as_it_was() -> None:
    estimate = LimitEstimate()
    for day in range(30):
        estimate = estimate.throttled(NOW + day * 86400, ours=1000, configured=1000)

    assert estimate.allowance(NOW + 29 * 86400, 1000) == 900
    assert estimate.allowance(NOW + 30 * 86400, 1000) == 1000


@WINDOWS
@pytest.mark.parametrize(("stuck_at", "least"), [(0, 990), (1000, 990), (40, 490)])
def test_a_header_of_what_remains_that_is_stuck_costs_half_of_the_quota_at_most(
    window: str, stuck_at: int, least: int
) -> None:
    simulation = Simulation(window, remaining=stuck_at).run(1200)

    assert simulation.refused == []
    assert simulation.accepted_in(600, 1200) >= 10 * least


@WINDOWS
@pytest.mark.parametrize("rate", [600, 700, 800])
def test_other_senders_beyond_half_of_the_limit_are_believed_once_429s_confirm_them(
    window: str, rate: int
) -> None:
    simulation = Simulation(window, others=((90, 1500, rate),)).run(1500)

    assert simulation.refused_in(90, 600) <= 45
    assert simulation.refused_in(900, 1500) <= 6
    ours = simulation.accepted_in(900, 1500) / 10
    assert (1000 - rate) * 0.85 <= ours <= (1000 - rate) * 1.1


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [(0, 0), (-5, 1), (MIN_LIMIT - 1, 1), (MAX_LIMIT + 1, 5), (1000, 1001), (1000, -1)],
    ids=["zero", "negative", "tiny", "huge", "more left than the limit", "less than nothing left"],
)
def test_absurd_headers_are_not_believed(limit: int, remaining: int) -> None:
    state, _ = admit(GateState())

    assert observed(state, RateHeaders(limit, remaining, NOW)) == state


def test_a_learnt_limit_is_forgotten_when_headers_stay_away() -> None:
    state = observed(GateState(), RateHeaders(600, 599, NOW))

    assert state.learnt.allowance(NOW + 60, 1000) == 600
    assert state.learnt.allowance(NOW + 601, 1000) == 1000


def test_slots_are_spread_evenly_and_never_lie_in_the_past() -> None:
    state, first = admit(GateState())
    _, second = admit(state)

    slots = first.slots + second.slots
    gaps = [later - earlier for earlier, later in pairwise(slots)]
    assert slots[0] >= NOW
    assert all(0.03 < gap < 0.07 for gap in gaps)


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.integers(1, 10), st.sampled_from(Lane), st.integers(0, 10)),
        min_size=1,
        max_size=120,
    ),
    st.integers(1, 120),
)
def test_no_window_of_both_lanes_holds_more_slots_than_the_limit(
    batches: list[tuple[float, int, Lane, int]], limit: int
) -> None:
    state, now, used = GateState(), NOW, list[float]()
    for pause, count, lane, needed in batches:
        now += pause
        state, reservation = admit(
            state, now=now, count=count, latest=now + 50, rate=limit, lane=lane
        )
        used += reservation.slots[:needed]
        unused = Unused(reservation.slots[needed:], lane)
        state = rules.give_back(state, unused, now=now, configured=limit)

    for start in used:
        assert sum(start <= slot < start + 60 for slot in used) <= limit


def test_a_slot_that_was_given_back_can_be_used_by_another() -> None:
    state, all_slots = admit(GateState(), count=5, rate=5)
    _, full = admit(state, count=1, latest=NOW + 30, rate=5)
    after = rules.give_back(state, Unused(all_slots.slots[1:]), now=NOW, configured=5)
    _, freed = admit(after, now=all_slots.slots[-1], count=1, latest=NOW + 70, rate=5)

    assert full.slots == ()
    assert len(freed.slots) == 1


def test_what_does_not_fit_before_the_deadline_gets_no_slot() -> None:
    _, reservation = admit(GateState(), latest=NOW + 0.3)

    assert 1 <= len(reservation.slots) < 10
    assert reservation.wait > 0
    assert reservation.cause is None


@pytest.mark.parametrize("of", Lane)
@pytest.mark.parametrize(
    ("said", "lasts"),
    [(42, 42), (86400 * 365, RETRY_AFTER_CAP_SECONDS)],
    ids=["exactly", "capped"],
)
def test_retry_after_is_obeyed_by_both_lanes(of: Lane, said: float, lasts: float) -> None:
    state = throttled(GateState(), retry_after=said, lane=of)

    for lane in Lane:
        assert admit(state, now=NOW + lasts - 0.1, lane=lane)[1].cause is Cause.THROTTLED
        assert len(admit(state, now=NOW + lasts, lane=lane)[1].slots) > 1


def test_several_429s_of_one_moment_are_one_pause_that_lasts_as_long_as_the_longest() -> None:
    state = throttled(GateState(), now=NOW, retry_after=5)
    state = throttled(state, now=NOW + 0.1, retry_after=9)
    state = throttled(state, now=NOW + 0.2, retry_after=2)

    assert state.pause is not None
    assert state.pause.until == pytest.approx(NOW + 9.1)


def test_without_retry_after_the_pause_grows_and_is_forgotten_after_a_quiet_minute() -> None:
    state, waits, now = GateState(), [], NOW
    for _ in range(7):
        state = throttled(state, now=now, retry_after=None)
        assert state.pause is not None
        waits.append(round(state.pause.until - now))
        now = state.pause.until
    later = throttled(state, now=now + 61, retry_after=None)

    assert waits == [2, 4, 8, 10, 10, 10, 10]
    assert later.pause is not None
    assert later.pause.step == 2


def test_probes_of_a_blocked_space_grow_from_a_minute_to_fifteen() -> None:
    state, waits, now = rules.blocked(GateState(), now=NOW), [60.0], NOW + 60
    for _ in range(6):
        state, reservation = admit(state, now=now)
        assert reservation.probe
        assert len(reservation.slots) == 1
        state = rules.blocked(state, now=now)
        assert state.pause is not None
        waits.append(state.pause.until - now)
        now = state.pause.until

    assert waits == [60, 120, 240, 480, 900, 900, 900]


def test_while_a_probe_is_out_all_others_wait() -> None:
    state = rules.blocked(GateState(), now=NOW)
    state, probe = admit(state, now=NOW + 60)
    state, other = admit(state, now=NOW + 61)

    assert probe.probe
    assert other.slots == ()
    assert other.cause is Cause.BLOCKED


def test_a_probe_that_never_reports_is_followed_by_another() -> None:
    state = rules.blocked(GateState(), now=NOW)
    state, _ = admit(state, now=NOW + 60)
    _, next_probe = admit(state, now=NOW + 61 + PROBE_SECONDS)

    assert next_probe.probe


def test_a_probe_that_would_not_fit_before_the_deadline_is_left_to_another() -> None:
    state, _ = admit(GateState(), count=2, rate=1)
    state = rules.blocked(state, now=NOW)

    after, reservation = admit(state, now=NOW + 60, latest=NOW + 60.2, rate=1)

    assert reservation.slots == ()
    assert reservation.wait > 0
    assert after == state


def test_a_success_from_before_the_pause_does_not_open_a_blocked_gate() -> None:
    state = rules.blocked(GateState(), now=NOW)

    assert rules.succeeded(state, probe=False).pause == state.pause
    assert rules.succeeded(state, probe=True).pause is None


def test_a_probe_that_succeeds_does_not_end_a_429_that_came_meanwhile() -> None:
    state, _ = admit(rules.blocked(GateState(), now=NOW), now=NOW + 60)
    state = throttled(state, now=NOW + 61, retry_after=60)

    state = rules.succeeded(state, probe=True)

    assert admit(state, now=NOW + 120)[1].cause is Cause.THROTTLED


def test_a_pause_that_is_long_over_is_not_shown_to_the_operator() -> None:
    state = throttled(GateState(), now=NOW, retry_after=5)

    state, _ = admit(state, now=NOW + 3600)

    assert state.pause is None


def test_ten_401s_at_once_are_one_pause() -> None:
    state = rules.blocked(GateState(), now=NOW)

    for _ in range(9):
        state = rules.blocked(state, now=NOW + 0.1)

    assert state.pause is not None
    assert state.pause.step == 60


@pytest.mark.parametrize("lane", Lane)
def test_a_throttled_probe_ends_the_block(lane: Lane) -> None:
    state = rules.blocked(GateState(), now=NOW, lane=lane)
    state, _ = admit(state, now=NOW + 60, lane=lane)

    state = throttled(state, now=NOW + 61, retry_after=3, lane=lane)

    assert admit(state, now=NOW + 63, lane=lane)[1].cause is Cause.THROTTLED
    assert len(admit(state, now=NOW + 64, lane=lane)[1].slots) > 1


def test_a_429_of_an_earlier_post_does_not_end_a_block() -> None:
    state = rules.blocked(GateState(), now=NOW)

    assert throttled(state, now=NOW + 1, retry_after=3) == state


def _failed_often(
    state: GateState, count: int, *, now: float = NOW, lane: Lane = Lane.SERVICES
) -> GateState:
    for _ in range(count):
        state = rules.failed(state, now=now, lane=lane)
    return state


def test_failures_close_the_gate_only_when_they_are_in_a_row() -> None:
    state = _failed_often(GateState(), FAILURES_TO_CLOSE - 1)
    interrupted = rules.failed(rules.succeeded(state, probe=False), now=NOW)

    assert interrupted.pause is None
    assert rules.failed(state, now=NOW).pause is not None


def test_failures_do_not_shorten_a_block() -> None:
    state = rules.blocked(GateState(), now=NOW)

    after = _failed_often(state, 100, now=NOW + 1)

    assert after.pause == state.pause


def test_a_failed_probe_lengthens_the_pause_up_to_a_minute() -> None:
    state, now, steps = _failed_often(GateState(), FAILURES_TO_CLOSE), NOW, []
    for _ in range(6):
        assert state.pause is not None
        steps.append(state.pause.step)
        now = state.pause.until
        state, reservation = admit(state, now=now)
        assert reservation.probe
        state = rules.failed(state, now=now, probe=True)

    assert steps == [5, 10, 20, 40, 60, 60]


def test_the_state_stays_small_however_long_it_is_used() -> None:
    state, now = GateState(), NOW
    for _ in range(2000):
        state, _ = admit(state, now=now)
        now += 0.7

    assert len(state.window.sent) < 1024


def test_an_idle_day_leaves_nothing_behind() -> None:
    state, _ = admit(GateState())

    state, reservation = admit(state, now=NOW + 86400)

    assert len(state.window.sent) < 32
    assert len(reservation.slots) == 10


@WINDOWS
@pytest.mark.parametrize(("duplicates", "least"), [(0.0, 975), (0.8, 790)])
def test_pages_alone_get_the_whole_limit(window: str, duplicates: float, least: int) -> None:
    simulation = Simulation(window, keyed=(), page_workers=2, page_duplicates=duplicates).run(300)

    assert simulation.refused == []
    assert simulation.accepted_in(60, 300, Lane.PAGES) >= 4 * least


@WINDOWS
@pytest.mark.parametrize("limit", [60, 1000])
def test_pages_get_a_tenth_beside_services_that_never_end(window: str, limit: int) -> None:
    simulation = Simulation(window, page_workers=2, limit=limit, configured=limit).run(600)

    assert simulation.refused == []
    assert simulation.accepted_in(0, 600) >= 10 * limit * 0.975
    pages = simulation.accepted_in(0, 600, Lane.PAGES)
    # Where slots reach to the deadline, pages and services ask for the next one by turns.
    assert 10 * limit * 0.05 <= pages <= 10 * limit * 0.11


@WINDOWS
@pytest.mark.parametrize(("workers", "least", "most"), [(2, 80, 100), (5, 30, 50), (10, 15, 25)])
def test_more_workers_of_services_leave_pages_less_than_a_tenth(
    window: str, workers: int, least: int, most: int
) -> None:
    simulation = Simulation(window, workers=workers, page_workers=2).run(300)

    assert simulation.refused == []
    assert least <= simulation.accepted_in(0, 300, Lane.PAGES) / 5 <= most


@WINDOWS
def test_services_keep_nine_tenths_while_cometly_answers_within_600_ms(window: str) -> None:
    simulation = Simulation(window, latency=0.6, page_workers=2).run(300)

    assert simulation.refused == []
    assert simulation.accepted_in(60, 300, Lane.SERVICES) >= 4 * 895


@WINDOWS
@pytest.mark.parametrize("latency", [0.3, 0.6])
@pytest.mark.parametrize(("share", "least"), [(0.9, 970), (1.0, 990)])
def test_duplicates_of_pages_leave_services_their_pace(
    window: str, latency: float, share: float, least: int
) -> None:
    simulation = Simulation(window, latency=latency, page_workers=2, page_duplicates=share).run(300)

    assert simulation.refused == []
    assert simulation.accepted_in(60, 300, Lane.SERVICES) >= 4 * least


def test_duplicates_of_pages_alone_are_dropped_as_fast_as_workers_read_them() -> None:
    simulation = Simulation("sliding", keyed=(), page_workers=2, page_duplicates=1.0).run(120)

    assert simulation.dropped_in(60, 120, Lane.PAGES) >= 5000


@WINDOWS
def test_services_that_leave_some_of_the_limit_leave_it_to_pages(window: str) -> None:
    # Two workers and answers of 1.5 s: services take half of the limit at most.
    simulation = Simulation(window, latency=1.5, page_workers=2).run(300)

    assert simulation.refused == []
    assert simulation.accepted_in(0, 300) >= 4800
    assert simulation.accepted_in(0, 300, Lane.PAGES) >= 5 * 300


@WINDOWS
@pytest.mark.parametrize("limit", [60, 300, 1000])
def test_a_burst_of_services_in_a_flood_of_pages_gets_nine_tenths_at_once(
    window: str, limit: int
) -> None:
    flood = Simulation(
        window, page_workers=2, limit=limit, configured=limit, keyed=[90.0] * 2 * limit
    ).run(150)

    assert flood.refused == []
    assert flood.accepted_in(90, 150, Lane.SERVICES) >= 0.88 * limit
    assert flood.accepted_in(92, 122, Lane.SERVICES) >= 0.84 * limit / 2


@WINDOWS
@pytest.mark.parametrize("limit", [10, 60, 300, 1000])
@pytest.mark.parametrize(("share", "duplicates"), [(0.02, 0), (0.1, 0), (0.5, 0), (0.1, 1)])
def test_a_keyed_event_in_a_flood_of_pages_waits_for_little_more_than_the_next_slot(
    window: str, limit: int, share: float, duplicates: float
) -> None:
    keyed = [70 + at * 60 / (limit * share) for at in range(int(500 / 60 * limit * share))]
    simulation = Simulation(
        window,
        page_workers=2,
        limit=limit,
        configured=limit,
        keyed=keyed,
        page_duplicates=duplicates,
    ).run(600)

    assert simulation.refused == []
    assert len(simulation.delays) == len(keyed) > 0
    # The next slot, and what threads and the network take; a thread that stalls (three in a
    # thousand) comes back within 2 s here.
    usual = sorted(simulation.delays)[: max(1, int(len(keyed) * 0.98))]
    assert usual[-1] <= 60.4 / limit + 0.5
    assert max(simulation.delays) <= 60.4 / limit + 3.5


@WINDOWS
def test_a_trickle_of_services_costs_pages_no_more_than_it_takes(window: str) -> None:
    keyed = [70 + at / 2 for at in range(460)]

    simulation = Simulation(window, page_workers=2, keyed=keyed).run(300)

    assert simulation.accepted_in(60, 300) >= 4 * 975


def test_pages_reserve_no_more_than_a_moment_ahead() -> None:
    state = GateState()
    for _ in range(5):
        state, _ = admit(state, lane=Lane.PAGES)

    assert NOW < state.pages_last <= NOW + rules.LEAD_SECONDS + rules.PAGES_AHEAD_SECONDS


def test_a_slot_between_others_fills_the_windows_of_those_behind_it() -> None:
    window = Window().recent(NOW).with_slot(NOW).with_slot(NOW + 30)

    assert window.first_room(NOW + 10, 3) == NOW + 10
    assert window.first_room(NOW + 10, 2) - NOW == pytest.approx(60.4)


def test_services_take_slots_between_those_that_pages_hold() -> None:
    state, pages = admit(GateState(), lane=Lane.PAGES)

    _, services = admit(state)

    assert services.slots[0] == pages.slots[0]
    assert services.slots[-1] == pages.slots[-1]


def test_pages_leave_unused_what_services_may_still_catch_up() -> None:
    state, _ = admit(GateState(), count=40)

    _, pages = admit(state, now=NOW + 1.2, lane=Lane.PAGES)

    assert pages.slots[1] >= state.ideal + rules.PAGES_SPARE_SECONDS


def test_pages_that_get_no_slot_are_told_when_the_next_is_theirs() -> None:
    state, _ = admit(GateState(), count=200)
    state, first = admit(state, lane=Lane.PAGES)

    after, none = admit(state, lane=Lane.PAGES)

    assert len(first.slots) == 1
    assert none.slots == ()
    assert none.cause is None
    assert 0.3 <= none.wait <= 0.6
    assert after == state


def test_pages_whose_share_is_beyond_their_deadline_are_told_so() -> None:
    state, _ = admit(GateState(), count=30, rate=60, latest=NOW + 50)

    _, none = admit(state, lane=Lane.PAGES, rate=60, latest=NOW + 21)

    assert none.slots == ()
    assert 1 <= none.wait <= 30


def test_a_page_slot_of_the_share_that_was_given_back_is_not_the_pages_again_at_once() -> None:
    state, _ = admit(GateState(), count=200)
    state, first = admit(state, lane=Lane.PAGES)

    unused = Unused(first.slots, Lane.PAGES)
    state = rules.give_back(state, unused, now=NOW, configured=1000)
    _, soon = admit(state, lane=Lane.PAGES)
    state, _ = admit(state, count=10)
    _, later = admit(state, lane=Lane.PAGES)

    assert soon.slots == ()
    assert len(later.slots) == 1


def test_page_slots_of_an_idle_gate_that_were_given_back_are_the_pages_again() -> None:
    state, first = admit(GateState(), lane=Lane.PAGES)

    unused = Unused(first.slots, Lane.PAGES)
    state = rules.give_back(state, unused, now=NOW, configured=1000)

    assert admit(state, lane=Lane.PAGES)[1].slots == first.slots


@pytest.mark.parametrize("rate", [1, 10, 60])
def test_pages_go_on_at_the_lowest_limits(rate: int) -> None:
    _, reservation = admit(GateState(), lane=Lane.PAGES, rate=rate)

    assert 1 <= len(reservation.slots) <= 2


@pytest.mark.parametrize(("limit", "confirmed"), [(52, 49.4), (1000, 1e9)])
def test_pages_go_on_though_others_nearly_filled_the_minute(limit: int, confirmed: float) -> None:
    learnt = LimitEstimate(limit, NOW, 3, NOW, NOW - 10, confirmed=confirmed)

    state = GateState(learnt=learnt, pages_last=NOW)
    _, reservation = admit(state, latest=NOW + 18, lane=Lane.PAGES)

    assert len(reservation.slots) == 1
    assert 0 < reservation.wait <= 60.4


def _bad(state: GateState, news: Cause, now: float, lane: Lane) -> GateState:
    if news is Cause.BLOCKED:
        return rules.blocked(state, now=now, lane=lane)
    return _failed_often(state, FAILURES_TO_CLOSE, now=now, lane=lane)


PROBED = pytest.mark.parametrize("news", [Cause.BLOCKED, Cause.FAILING])


@PROBED
def test_bad_news_of_a_page_close_the_gate_for_pages_only(news: Cause) -> None:
    state = _bad(GateState(), news, NOW, Lane.PAGES)

    assert admit(state, lane=Lane.PAGES)[1].cause is news
    assert len(admit(state)[1].slots) == 10
    assert state.failures == 0


@PROBED
def test_bad_news_of_a_service_close_both_lanes_and_each_probes(news: Cause) -> None:
    state = _bad(GateState(), news, NOW, Lane.SERVICES)
    assert state.pause is not None
    until = state.pause.until

    assert admit(state, now=NOW + 1)[1].cause is news
    assert admit(state, now=NOW + 1, lane=Lane.PAGES)[1].cause is news
    state, page = admit(state, now=until, lane=Lane.PAGES)
    state, other_page = admit(state, now=until, lane=Lane.PAGES)
    state, service = admit(state, now=until)

    assert page.probe
    assert len(page.slots) == 1
    assert other_page.slots == ()
    assert service.probe


def test_a_service_that_probes_keeps_no_page_from_probing() -> None:
    state = rules.blocked(GateState(), now=NOW)
    state, service = admit(state, now=NOW + 60)

    _, page = admit(state, now=NOW + 60, lane=Lane.PAGES)

    assert service.probe
    assert page.probe


@PROBED
def test_a_page_that_probes_well_opens_the_gate_for_all(news: Cause) -> None:
    state = _bad(GateState(), news, NOW, Lane.SERVICES)
    state, _ = admit(state, now=NOW + 60, lane=Lane.PAGES)

    state = rules.succeeded(state, probe=True, lane=Lane.PAGES)

    assert len(admit(state, now=NOW + 61)[1].slots) == 10
    assert len(admit(state, now=NOW + 61, lane=Lane.PAGES)[1].slots) > 1
    assert state.failures == 0


@PROBED
def test_a_page_that_probes_badly_is_no_news_for_services(news: Cause) -> None:
    state = _bad(GateState(), news, NOW, Lane.SERVICES)
    before = state.pause
    state, _ = admit(state, now=NOW + 60, lane=Lane.PAGES)

    if news is Cause.BLOCKED:
        state = rules.blocked(state, now=NOW + 61, lane=Lane.PAGES)
    else:
        state = rules.failed(state, now=NOW + 61, probe=True, lane=Lane.PAGES)

    assert state.pause == before
    assert state.pages_pause is not None
    assert before is not None
    assert state.pages_pause.step == 2 * before.step
    assert admit(state, now=NOW + 62)[1].probe
    assert admit(state, now=NOW + 62, lane=Lane.PAGES)[1].cause is news


def test_a_service_that_probes_well_leaves_the_pages_to_their_own_probe() -> None:
    state = rules.blocked(GateState(), now=NOW, lane=Lane.PAGES)
    state = rules.blocked(state, now=NOW + 10)
    state, _ = admit(state, now=NOW + 70)

    state = rules.succeeded(state, probe=True)

    assert len(admit(state, now=NOW + 71)[1].slots) == 10
    assert admit(state, now=NOW + 71, lane=Lane.PAGES)[1].probe


def test_pages_obey_a_pause_of_services_that_is_longer_than_their_own() -> None:
    state = rules.blocked(GateState(), now=NOW, lane=Lane.PAGES)
    state = rules.blocked(state, now=NOW + 30)

    _, reservation = admit(state, now=NOW + 70, lane=Lane.PAGES)

    assert reservation.cause is Cause.BLOCKED
    assert reservation.wait == pytest.approx(20)


def test_a_pause_of_pages_outlasts_a_429() -> None:
    state = rules.blocked(GateState(), now=NOW, lane=Lane.PAGES)
    state = throttled(state, now=NOW + 1, retry_after=90)

    assert admit(state, now=NOW + 92)[1].probe is False
    assert admit(state, now=NOW + 92, lane=Lane.PAGES)[1].probe


def test_failures_in_a_row_are_counted_by_lane() -> None:
    state = _failed_often(GateState(), FAILURES_TO_CLOSE - 1)
    state = _failed_often(state, FAILURES_TO_CLOSE - 1, lane=Lane.PAGES)
    state = rules.succeeded(state, probe=False, lane=Lane.PAGES)

    assert rules.failed(state, now=NOW, lane=Lane.PAGES).pages_pause is None
    assert rules.failed(state, now=NOW).pause is not None


def test_a_probe_of_a_page_that_was_not_posted_is_the_next_pages() -> None:
    state = rules.blocked(GateState(), now=NOW, lane=Lane.PAGES)
    state, probe = admit(state, now=NOW + 60, lane=Lane.PAGES)

    unused = Unused(probe.slots, Lane.PAGES, probe=True)
    state = rules.give_back(state, unused, now=NOW + 60, configured=1000)

    assert admit(state, now=NOW + 60, lane=Lane.PAGES)[1].probe


def _busy_minute() -> GateState:
    state, now, used = GateState(), NOW - 60, 0
    while now < NOW:
        state, reservation = admit(state, now=now)
        used += len(reservation.slots)
        now = reservation.slots[-1]
        state = observed(state, RateHeaders(1000, 1000 - used, now))
    return state


@pytest.mark.parametrize("limit", [10, 60, 499])
def test_one_odd_limit_in_a_header_changes_nothing(limit: int) -> None:
    state = observed(_busy_minute(), RateHeaders(limit, limit - 1, NOW + 1))

    again = observed(state, RateHeaders(1000, 500, NOW + 2), RateHeaders(limit, limit - 1, NOW + 3))

    assert state.learnt.allowance(NOW + 1, 1000) > 900
    assert again.learnt.allowance(NOW + 3, 1000) > 900
    assert len(admit(again, now=NOW + 3)[1].slots) == 10


def test_an_odd_limit_is_believed_when_three_answers_in_a_row_name_it() -> None:
    odd = [RateHeaders(100, 99, NOW + at) for at in (1, 1, 2, 3)]

    twice = observed(_busy_minute(), *odd[:3])
    thrice = observed(twice, odd[3])

    assert twice.learnt.allowance(NOW + 2, 1000) > 900
    assert thrice.learnt.allowance(NOW + 3, 1000) == 100


def test_different_odd_limits_do_not_confirm_each_other() -> None:
    odd = [RateHeaders(limit, 1, NOW + limit) for limit in (10, 20, 30, 40)]

    assert observed(_busy_minute(), *odd).learnt.allowance(NOW + 40, 1000) > 900


@pytest.mark.parametrize("is_first", [True, False], ids=["before the 429", "after the 429"])
def test_an_odd_limit_is_believed_with_a_429(is_first: bool) -> None:  # noqa: FBT001
    state, odd = _busy_minute(), RateHeaders(100, 0, NOW + 1)

    state = observed(state, odd) if is_first else state
    state = throttled(state, now=NOW + 1.1, retry_after=1)
    state = state if is_first else observed(state, odd)

    assert 90 <= state.learnt.allowance(NOW + 2, 1000) <= 100


def test_a_limit_that_falls_by_less_than_half_is_believed_at_once() -> None:
    state = observed(_busy_minute(), RateHeaders(600, 599, NOW + 1))

    assert state.learnt.allowance(NOW + 1, 1000) == 600


def test_slots_that_were_reserved_under_a_higher_limit_are_void() -> None:
    state = _busy_minute()
    fallen = observed(state, *[RateHeaders(300, 0, NOW + at) for at in (1, 2, 3)])
    lower = observed(state, RateHeaders(900, 100, NOW + 1))

    assert rules.holds(state, NOW, 1000)
    assert rules.holds(lower, NOW, 1000)
    assert not rules.holds(fallen, NOW, 1000)


def test_a_closed_gate_makes_slots_void() -> None:
    state = rules.blocked(GateState(), now=NOW, lane=Lane.PAGES)

    assert rules.holds(state, NOW, 1000)
    assert not rules.holds(state, NOW, 1000, Lane.PAGES)


HOUR = 3600.0


@pytest.mark.parametrize(
    "absurd",
    [
        {"last": NOW + HOUR},
        {"ideal": NOW + HOUR},
        {"pages_last": NOW + HOUR, "last": NOW + 19, "ideal": NOW + 19},
        {"pause": Pause(Cause.THROTTLED, NOW + HOUR, 2.0)},
        {"pages_pause": Pause(Cause.BLOCKED, NOW + HOUR, 60.0)},
        {"pause": Pause(Cause.BLOCKED, NOW - 1, 60.0, probe_until=NOW + HOUR)},
        {"learnt": LimitEstimate(limit=10, limit_at=NOW + HOUR, quota_at=NOW + HOUR)},
        {"learnt": LimitEstimate(squeeze=0.05, squeezed_at=NOW + HOUR)},
        {"window": Window(int((NOW + HOUR) * 10), b"\xff" * 600)},
        {"window": Window(int(NOW * 10) - 604, b"\xff" * 4096)},
    ],
    ids=" ".join,
)
def test_what_a_clock_that_was_wrong_left_stops_nobody(absurd: dict[str, Any]) -> None:
    state = replace(GateState(), **absurd)

    _, service = admit(state, latest=NOW + 21)
    _, page = admit(state, latest=NOW + 21, lane=Lane.PAGES)

    assert service.slots
    assert page.slots


def test_a_limit_is_learnt_anew_after_headers_from_the_future() -> None:
    future = LimitEstimate(limit=10, limit_at=NOW + HOUR, quota_at=NOW + HOUR)
    state, _ = admit(GateState(learnt=future))

    state = observed(state, RateHeaders(600, 599, NOW + 1))

    assert state.learnt.allowance(NOW + 1, 1000) == 600


def test_a_time_of_the_last_answer_that_lies_in_the_future_is_forgotten() -> None:
    state, _ = admit(GateState(taken_at=NOW + HOUR))
    right, _ = admit(GateState(taken_at=NOW - 5))

    assert state.taken_at == 0.0
    assert right.taken_at == NOW - 5


def test_the_longest_pauses_and_reservations_are_believed() -> None:
    longest = Pause(Cause.THROTTLED, NOW + RETRY_AFTER_CAP_SECONDS, 2.0)
    state = GateState(pause=longest)
    reserved, _ = admit(GateState(), count=20, rate=20, latest=NOW + 60)

    assert admit(state)[1].cause is Cause.THROTTLED
    assert admit(reserved, count=1, rate=20, latest=NOW + 21)[1].slots == ()


@WINDOWS
@pytest.mark.parametrize("seed", range(3))
def test_bursts_and_trickles_that_post_at_once_meet_no_429(window: str, seed: int) -> None:
    rng = random.Random(seed)
    at, moments = 0.0, list[float]()
    while at < 500:
        moments += [at] * rng.choice([1, 1, 1, 10, 100, 700])
        at += rng.uniform(0, 30)

    simulation = Simulation(window, keyed=tuple(moments), workers=3, seed=seed, poll=0.2).run(600)

    assert simulation.refused == []
    assert simulation.accepted_in(0, 600) >= 0.99 * len(moments)


@pytest.mark.parametrize(("taken", "is_early"), [(489, True), (491, False)])
def test_posts_go_out_before_their_slots_while_half_of_the_limit_is_free(
    taken: int, *, is_early: bool
) -> None:
    sent = bytes([1, 1]) * (taken // 2) + bytes([taken % 2])
    state = GateState(window=Window(round(NOW * 10) - len(sent), sent))

    _, reservation = admit(state)

    assert (reservation.early > 0) is is_early


def test_where_other_senders_take_half_of_the_limit_posts_wait_for_their_slots() -> None:
    learnt = LimitEstimate(limit=1000, limit_at=NOW, others=500)

    _, reservation = admit(GateState(learnt=learnt))

    assert reservation.slots
    assert reservation.early == 0


@given(st.data())
def test_no_minute_holds_more_than_the_limit_though_posts_go_out_before_their_slots(
    data: st.DataObject,
) -> None:
    rate = data.draw(st.sampled_from([10, 30, 60]))
    state, now, posts = GateState(), NOW, list[float]()
    for _ in range(data.draw(st.integers(1, 40))):
        now += data.draw(st.sampled_from([0.0, 0.1, 1.0, 7.0, 31.0, 60.0]))
        state, found = admit(state, now=now, latest=now + 18, rate=rate)
        for slot in found.slots:
            begins = max(now, slot - found.early)
            # At once, at its slot, or as late as a thread and the network may make it.
            posts.append(data.draw(st.sampled_from([begins, max(begins, slot), slot + 0.3])))

    posts.sort()
    # Of a minute that ends with a post, and begins with the one that is `rate` places before.
    assert all(late - early > 60 for early, late in zip(posts, posts[rate:], strict=False))


@pytest.mark.parametrize("seed", range(60))
def test_no_minute_holds_more_though_lanes_mix_tables_are_slow_and_slots_come_back(
    seed: int,
) -> None:
    dice = random.Random(seed)
    rate, pauses = dice.choice([10, 30, 60]), dice.choice([[0.0, 0.1, 7.0], [0.0, 1.0, 31.0]])
    state, now, posts = GateState(), NOW, list[float]()
    unused: list[tuple[float, Unused]] = []
    for _ in range(60):
        now += dice.choice(pauses)
        for moment, slots in [each for each in unused if each[0] <= now]:
            unused.remove((moment, slots))
            state = rules.give_back(state, slots, now=now, configured=rate)
        lane, lead = dice.choice(list(Lane)), dice.choice([0.1, 0.3, 4.1])
        asked = SlotRequest(now, dice.choice([1, 10]), now + 18.5, rate, lead, lane)
        state, found = rules.admit(state, asked)
        for slot in found.slots:
            begins = max(now, slot - found.early)
            if dice.random() < 0.2:
                unused.append((dice.choice([now, slot + 0.3]), Unused((slot,), lane)))
            else:
                posts.append(dice.choice([begins, max(begins, slot), slot + 0.3]))

    posts.sort()
    assert all(late - early > 60 for early, late in zip(posts, posts[rate:], strict=False))
