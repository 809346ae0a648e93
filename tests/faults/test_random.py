"""All faults mixed, by plans that can be repeated (`python -m tests.faults.soak` runs more)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import mayhem
from tests.faults.rig import AwsClients


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_fails_nothing_is_lost_and_nothing_is_booked_twice(
    aws: AwsClients,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    seed: int,
) -> None:
    tally = mayhem.run(aws, tmp_path, seed=seed, events=120)

    record_property("tally", str(tally))
    assert tally.accepted == tally.delivered + tally.parked
    assert tally.killed >= mayhem.WAVES
    assert tally.posts.total() > tally.accepted
