"""Every schedule of two messages of one identity, two steps deep, and then to the end.

A step delivers one message or both in one batch, with each of Cometly's answers, and with one call
that fails, or at which the worker dies, or at which another worker delivers what is on the queue;
or it sends a parked event again. From each state that is reached the queue is then run empty. What
must hold all the way: each content is booked as its identity, or parked, or waiting; nothing is
booked twice. What is taken for granted stands in `world.py`; besides, a step begins as soon as its
message is visible, and two workers meet at one call, where the second runs to its end.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from cometly_forwarder.deliver import batch, preparation
from cometly_forwarder.event.envelope import Source, read_envelope, seal
from cometly_forwarder.event.reading import DEFAULT_RULES, read_event
from cometly_forwarder.jsontext import dump
from tests.unit.fakes import InTurn
from tests.unit.world import RIGHT, TYPO, Fate, Worker, World, an_event

# Coverage would double the time, and the other tests reach each line.
pytestmark = pytest.mark.no_cover

DEPTH = 2
SAID = ("accepted", "refused", "broken", "throttled")
CALLS = ("ledger.claim", "ledger.begin", "ledger.settle", "queue.park")
EFFECTS = (*CALLS, "cometly.post", "queue.release", "queue.delete")


@dataclass(frozen=True)
class Step:
    """What one step does: `picks` are places on the queue; none sends a parked event again."""

    picks: tuple[int, ...]
    said: str = "accepted"
    fate: Fate = field(default_factory=Fate)
    then: str = "accepted"

    def run(self, world: World) -> int:
        """Take it; return how many answers Cometly was asked for."""
        if not self.picks:
            world.send_again(0)
            return 0
        names = [list(world.queue)[place] for place in self.picks]
        visible_at = max(world.queue[name].visible_at for name in names)
        world.clock.time = max(world.clock.time, visible_at)
        answers = [self.said, self.then, self.then]
        world.answers = iter(answers)
        world.meanwhile = self._meet
        world.deliver(world.receive(names), self.fate)
        world.meanwhile = lambda _: None
        world.in_flight.clear()
        return len(answers) - len(list(world.answers))

    def _meet(self, worker: Worker) -> None:
        """Let another worker take all of the queue, the message that is in progress included."""
        world = worker.world
        world.meanwhile = lambda _: None
        while world.parked:
            world.send_again(0)
        world.deliver(world.receive(list(world.queue)), Fate())


def fates(called: frozenset[str]) -> Iterator[Fate]:
    """What can befall a step that makes these calls."""
    for after in (False, True):
        for name in called.intersection(CALLS):
            yield Fate(failing=(name, 1, after))
        for name in called.intersection(EFFECTS):
            yield Fate(dying=(name, 1, after))
            yield Fate(meeting=(name, 1, after))


def outcomes(world: World) -> Iterator[tuple[Step, World]]:
    """Take every step that this state allows, each in a world of its own.

    Where Cometly was not asked, or not a second time, another answer would change nothing.
    """
    places = tuple(range(len(world.queue)))
    picks = [(place,) for place in places] + ([places] if len(places) > 1 else [])
    for each in picks:
        called, unasked = frozenset[str](), set[Fate]()
        for said in SAID:
            plain = Step(each, said)
            if plain.fate not in unasked:
                after, asked = _taken(plain, world)
                yield plain, after
                called = after.called
                unasked |= set() if asked else {plain.fate}
            for fate in [it for it in fates(called) if it not in unasked]:
                for then in ("accepted", "broken") if fate.meeting else ("accepted",):
                    step = Step(each, said, fate, then)
                    after, asked = _taken(step, world)
                    yield step, after
                    unasked |= set() if asked else {fate}
                    if asked < 2:
                        break
    if world.parked:
        yield Step(()), _taken(Step(()), world)[0]


def _taken(step: Step, world: World) -> tuple[World, int]:
    after = world.copy()
    return after, step.run(after)


def key_of(world: World) -> object:
    """Tell states apart by what can make a difference; times count from now on."""
    now = world.clock.time
    items = [
        {
            name: round(value - now) if name in {"lease", "retry_at", "blocked_at"} else value
            for name, value in item.items()
        }
        for item in world.ledger.items.values()
    ]
    queue = [(each.content, round(each.visible_at - now)) for each in world.queue.values()]
    pause = world.gate.state.pause
    booked = sorted(world.booked.items())
    parked = [content for _, content in world.parked]
    return repr((items, queue, pause and round(pause.until - now), booked, parked))


def accepted(kind: str, urls: tuple[str, str]) -> World:
    world = World(rate=1000)
    for url in urls:
        event = an_event("order", 1, url)
        now = datetime.fromtimestamp(world.clock.time, UTC)
        read, _ = read_event(event, DEFAULT_RULES, now)
        sealed = seal(read, Source("http", f"request-{world.sent}", now))
        world.send(sealed.body() if kind == "sealed" else dump(event))
    return world


def check(world: World, path: tuple[Step, ...]) -> None:
    assert not world.lost(), path
    assert max(world.booked.values(), default=0) <= 1, path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ThreadPoolExecutor", InTurn)
    monkeypatch.setattr(preparation, "read_envelope", functools.cache(read_envelope))


@pytest.mark.parametrize(
    ("kind", "urls"),
    [("sealed", (TYPO, RIGHT)), ("bare", (RIGHT, TYPO)), ("bare", (RIGHT, RIGHT))],
    ids=["typo first", "typo last, bare", "twins, bare"],
)
def test_what_was_sent_is_booked_or_parked_or_waiting(kind: str, urls: tuple[str, str]) -> None:
    states: dict[object, tuple[World, tuple[Step, ...]]] = {}
    frontier: list[tuple[World, tuple[Step, ...]]] = [(accepted(kind, urls), ())]

    for _ in range(DEPTH):
        reached: dict[object, tuple[World, tuple[Step, ...]]] = {}
        for world, path in frontier:
            for step, after in outcomes(world):
                check(after, (*path, step))
                reached.setdefault(key_of(after), (after, (*path, step)))
        frontier = [reached[key] for key in reached.keys() - states.keys()]
        states |= reached

    for world, path in states.values():
        world.run_empty(200)
        check(world, path)
