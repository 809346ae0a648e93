"""Ages by two clocks, of which either may be wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from cometly_forwarder.stopwatch import Stopwatch
from tests.unit.fakes import Clock

HOUR = 3600.0


def test_it_counts_what_went_by() -> None:
    wall, monotonic = Clock(), Clock(0.0)
    stopwatch = Stopwatch(wall.now, monotonic.now)

    wall.time += 5
    monotonic.time += 5

    assert stopwatch() == 5
    assert stopwatch() == 5


def test_a_freeze_counts_although_the_monotonic_clock_stood_still() -> None:
    wall, monotonic = Clock(), Clock(0.0)
    stopwatch = Stopwatch(wall.now, monotonic.now)

    wall.time += HOUR

    assert stopwatch() == HOUR


def test_a_wall_clock_that_is_put_back_takes_nothing_away() -> None:
    wall, monotonic = Clock(), Clock(0.0)
    stopwatch = Stopwatch(wall.now, monotonic.now)
    monotonic.time += 5
    wall.time += 5 - HOUR
    before = stopwatch()

    monotonic.time += 5
    wall.time += 5

    assert (before, stopwatch()) == (5, 10)


@given(steps=st.lists(st.tuples(st.integers(-5000, 5000), st.integers(0, 5000)), max_size=20))
def test_it_never_counts_less_than_either_clock_and_never_goes_back(
    steps: list[tuple[int, int]],
) -> None:
    wall, monotonic = Clock(0.0), Clock(0.0)
    stopwatch = Stopwatch(wall.now, monotonic.now)
    readings = [stopwatch()]

    for by_wall, by_monotonic in steps:
        wall.time += by_wall
        monotonic.time += by_monotonic
        readings.append(stopwatch())

    assert readings == sorted(readings)
    assert readings[-1] >= max(wall.time, monotonic.time)


def test_threads_that_look_at_it_together_count_a_second_once() -> None:
    wall = Clock()
    stopwatch = Stopwatch(wall.now, Clock(0.0).now)
    wall.time += 1

    with ThreadPoolExecutor(8) as threads:
        readings = set(threads.map(lambda _: stopwatch(), range(200)))

    assert readings == {1}
