"""Events' lives as a state machine, whatever fails: the real batch delivery against a small model.

Messages are received in any order and twice at once, contents of one identity differ, Cometly
answers in any way, AWS fails before or after it has done what was asked, the worker dies between
any two effects, parked events are sent again, and time passes. What must hold is written in the
invariants, in `World.park` and in `Cometly.post`; what is taken for granted, in `world.py`.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from itertools import repeat

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cometly_forwarder.deliver import batch, preparation
from cometly_forwarder.event.envelope import Source, read_envelope, seal
from cometly_forwarder.event.reading import DEFAULT_RULES, read_event
from cometly_forwarder.jsontext import dump
from cometly_forwarder.ledger_item import State
from tests.unit.fakes import InTurn
from tests.unit.world import (
    ANSWERS,
    FALLIBLE,
    MOMENTS,
    RIGHT,
    TYPO,
    Fate,
    Worker,
    World,
    an_event,
)

# Coverage would double the time, and the other tests reach each line.
pytestmark = pytest.mark.no_cover

RATES = (1000, 60, 12, 2)
KINDS = ("order", "key", "neither")
some_numbers = st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=True)
some_urls = st.sampled_from([RIGHT, RIGHT, TYPO])
some_picks = st.lists(st.integers(0, 9), min_size=1, max_size=10)
an_answer = st.sampled_from(["accepted", "refused", *ANSWERS, "accepted", "refused"])
# What changes who is responsible for an event comes more often than the rest.
CRUCIAL = ("ledger.settle", "queue.park", "ledger.claim", "ledger.begin") * 4
some_answers = st.one_of(an_answer.map(lambda name: [name] * 10), st.lists(an_answer, max_size=6))
a_failure = st.tuples(st.sampled_from(CRUCIAL + FALLIBLE), st.integers(1, 2), st.booleans())
a_death = st.tuples(st.sampled_from(CRUCIAL + MOMENTS), st.integers(1, 2), st.booleans())
some_fate = st.one_of(
    st.just(Fate()),
    st.builds(Fate, dying=a_death),
    st.builds(Fate, failing=a_failure),
    st.builds(Fate, failing=a_failure, dying=a_death),
)


class EventHistory(RuleBasedStateMachine):
    """Accepted, claimed, waiting, delivered, parked: any number of times, in any order."""

    world: World

    @initialize(rate=st.sampled_from(RATES))
    def build(self, rate: int) -> None:
        self.world = World(rate)

    @rule(kind=st.sampled_from(KINDS), numbers=some_numbers, url=some_urls)
    def accept(self, kind: str, numbers: list[int], url: str) -> None:
        """Take events in at ingest; the same number is the same order, or the same key."""
        world = self.world
        for number in numbers:
            now = datetime.fromtimestamp(world.clock.time, UTC)
            event, _ = read_event(an_event(kind, number, url), DEFAULT_RULES, now)
            world.send(seal(event, Source("http", f"request-{world.sent}", now)).body())

    @rule(kind=st.sampled_from(KINDS), numbers=some_numbers, url=some_urls)
    def publish(self, kind: str, numbers: list[int], url: str) -> None:
        """Let SNS bring bare events: the same number has the same bytes."""
        for number in numbers:
            self.world.send(dump(an_event(kind, number, url)))

    @precondition(lambda self: self.world.parked)
    @rule(place=st.integers(0, 50))
    def send_again(self, place: int) -> None:
        """The operator sends a parked event once more."""
        self.world.send_again(place % len(self.world.parked))

    @precondition(lambda self: self.world.visible())
    @rule(picks=some_picks, answers=some_answers, fate=some_fate)
    def deliver(self, picks: list[int], answers: list[str], fate: Fate) -> None:
        self.world.answers = iter(answers)
        self.world.deliver(self.world.receive(self._names(picks)), fate)

    @precondition(lambda self: self.world.visible())
    @rule(picks=some_picks, answers=some_answers, fate=some_fate, later=st.sampled_from([0, 9, 70]))
    def deliver_twice_at_once(
        self, picks: list[int], answers: list[str], fate: Fate, later: float
    ) -> None:
        """Another worker gets all of the queue while the first is at its first post."""
        world = self.world
        world.answers = iter(answers)

        def meanwhile(worker: Worker) -> None:
            world.meanwhile = lambda _: None
            world.clock.time += later
            if world.clock.time > worker.deadline:
                world.in_flight.clear()
            world.deliver(world.receive(list(world.queue)[:10]), Fate())

        world.meanwhile = meanwhile
        world.deliver(world.receive(self._names(picks)), fate)
        world.meanwhile = lambda _: None

    @precondition(lambda self: self.world.visible())
    @rule(
        pick=st.integers(0, 9),
        times=st.integers(1, 8),
        answer=an_answer,
        fate=some_fate,
    )
    def deliver_over_and_over(self, pick: int, times: int, answer: str, fate: Fate) -> None:
        """What befalls the worker befalls the next one, with the same message and answer."""
        world = self.world
        world.answers = repeat(answer)
        [name] = self._names([pick])
        for _ in range(times):
            if name in world.queue:
                world.clock.time = max(world.clock.time, world.queue[name].visible_at)
                world.deliver(world.receive([name]), fate)

    @rule(seconds=st.sampled_from([1.0, 20.0, 70.0, 400.0, 4000.0, 100_000.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock.time += seconds

    def _names(self, picks: list[int]) -> list[str]:
        visible = self.world.visible()
        return list(dict.fromkeys(visible[pick % len(visible)] for pick in picks))

    @invariant()
    def what_was_sent_is_booked_or_parked_or_waiting(self) -> None:
        assert not self.world.lost()

    @invariant()
    def nothing_is_booked_twice(self) -> None:
        assert max(self.world.booked.values(), default=0) <= 1

    @invariant()
    def nothing_counts_but_what_came_of_the_event_itself(self) -> None:
        world = self.world
        for event_id, item in world.ledger.items.items():
            assert item["attempts"] <= world.counted[event_id]
            assert item["claims"] <= world.ledger.unresolved[event_id] + 1
            assert item.get("deaths", 0) <= world.ledger.unresolved[event_id] + 1
            assert item.get("blocks", 0) <= world.blocked[event_id]

    @invariant()
    def what_was_delivered_stays_delivered(self) -> None:
        world = self.world
        for event_id, item in world.ledger.items.items():
            assert (event_id in world.delivered) == (item["state"] is State.DELIVERED)
        assert world.delivered <= set(world.booked)

    def teardown(self) -> None:
        """When nothing fails any more, the queue runs empty, and all are at their end."""
        if not hasattr(self, "world"):
            return
        world = self.world
        # At two a minute nearly every refresh finds no slot.
        world.run_empty(5000)
        self.what_was_sent_is_booked_or_parked_or_waiting()
        self.nothing_is_booked_twice()
        parked = {content.event_id for _, content in world.parked}
        for event_id, item in world.ledger.items.items():
            # It was parked while the ledger was away, which then knows of the claim alone.
            is_unrecorded = item["state"] is State.CLAIMED and event_id in parked
            assert is_unrecorded or item["state"] in {State.DELIVERED, State.PARKED}


@pytest.fixture(autouse=True)
def _in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ThreadPoolExecutor", InTurn)
    # Fewer than a batch has messages, so that slots are reserved several times.
    monkeypatch.setattr(batch, "THREADS", 3)
    # A message is read anew each time that it comes back: the same bytes as before.
    monkeypatch.setattr(preparation, "read_envelope", functools.cache(read_envelope))


TestEventHistory = EventHistory.TestCase
TestEventHistory.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
