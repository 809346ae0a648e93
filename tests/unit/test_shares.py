"""A visitor's share of what pages may send: by the minute, by address, within bounded memory."""

from __future__ import annotations

import pytest

from cometly_forwarder.ingest import shares
from cometly_forwarder.ingest.shares import Shares
from tests.unit.fakes import Clock

ADA, GRACE = "203.0.113.7", "203.0.113.8"


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)  # a stopwatch counts from its start, not from 1970


def test_a_visitor_may_send_a_share_at_once_and_no_more(clock: Clock) -> None:
    visitors = Shares(300, clock.now)

    waits = [visitors.take(ADA, 1) for _ in range(301)]

    assert waits[:300] == [0.0] * 300
    assert waits[300] == pytest.approx(0.2)


def test_a_share_grows_again_by_the_minute(clock: Clock) -> None:
    visitors = Shares(60, clock.now)
    taken = 0

    for _ in range(10 * 60):
        taken += visitors.take(ADA, 1) == 0
        taken += visitors.take(ADA, 1) == 0
        clock.time += 1

    assert taken == 60 + 10 * 60 - 1


def test_who_waits_as_long_as_it_is_told_is_admitted(clock: Clock) -> None:
    visitors = Shares(300, clock.now)
    while not (wait := visitors.take(ADA, 20)):
        pass

    clock.time += wait

    assert visitors.take(ADA, 20) == 0


def test_what_was_turned_away_does_not_count(clock: Clock) -> None:
    visitors = Shares(10, clock.now)
    visitors.take(ADA, 10)

    waits = {visitors.take(ADA, 5) for _ in range(100)}

    assert waits == {30.0}


@pytest.mark.parametrize("per_minute", [1, 19])
def test_an_array_larger_than_a_share_takes_a_whole_one(clock: Clock, per_minute: int) -> None:
    visitors = Shares(per_minute, clock.now)

    assert visitors.take(ADA, 20) == 0
    assert visitors.take(ADA, 20) == 60
    clock.time += 60
    assert visitors.take(ADA, 20) == 0


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        pytest.param(ADA, GRACE, False, id="two addresses"),
        pytest.param("2001:db8::1", "2001:db8::2", True, id="one household of IPv6"),
        pytest.param("2001:db8::1", "2001:db8:0:0:ffff::1", True, id="its other half"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="two households"),
        pytest.param("unknown", "unknown", True, id="no address, twice"),
    ],
)
def test_a_share_is_an_address_or_a_network_of_ipv6(
    clock: Clock, one: str, other: str, *, are_one: bool
) -> None:
    visitors = Shares(5, clock.now)
    visitors.take(one, 5)

    assert (visitors.take(other, 1) > 0) is are_one


def test_without_a_bound_nothing_is_counted(clock: Clock) -> None:
    visitors = Shares(0, clock.now)

    assert {visitors.take(ADA, 20) for _ in range(1_000)} == {0.0}
    assert visitors._whole_at == {}


def test_a_flood_of_addresses_is_bounded_and_who_goes_on_sending_is_not_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "MOST_VISITORS", 100)
    visitors = Shares(20, clock.now)

    for number in range(1_000):
        visitors.take(f"10.0.{number // 250}.{number % 250}", 1)
        if number % 50 == 0:
            visitors.take(ADA, 1)

    assert len(visitors._whole_at) == 100
    assert visitors.take(ADA, 1) > 0
