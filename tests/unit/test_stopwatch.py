"""Ages by two clocks, of which either may be wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometly_forwarder.stopwatch import Stopwatch
from tests.unit.fakes import Clock

HOUR = 3600.0


@pytest.mark.parametrize(
    ("steps", "readings"),
    [
        pytest.param([(5, 5), (0, 0)], [5, 5], id="both clocks right"),
        pytest.param([(HOUR, 0)], [HOUR], id="frozen: the monotonic clock stood still"),
        pytest.param([(5 - HOUR, 5), (5, 5)], [5, 10], id="the wall clock put back"),
    ],
)
def test_it_counts_by_the_clock_that_went_further(
    steps: list[tuple[float, float]], readings: list[float]
) -> None:
    wall, monotonic = Clock(), Clock(0.0)
    stopwatch = Stopwatch(wall.now, monotonic.now)

    counted = []
    for by_wall, by_monotonic in steps:
        wall.time += by_wall
        monotonic.time += by_monotonic
        counted.append(stopwatch())

    assert counted == readings


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
