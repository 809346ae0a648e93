"""How Lambda's event source mapping for SQS makes batches of what arrives: a model.

The emulator hands over what lies on the queue at that moment, so it shows neither what a batching
window gathers nor how a queue that is not deep hands over less than is asked for. The assumptions:

* A long poll ends as soon as a message is there. A queue keeps its messages on several hosts, and a
  poll gets those of some of them: one, two, three messages in turn, unless the queue is deep.
  https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
* Without a window each poll is a batch. With a window a poller keeps what it gets, from its first
  message on, until the window is over or the batch is full.
  https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
* Pollers take turns, and each has a batch of its own. AWS does not say how many gather into one
  batch: one is the best case. Five is the worst, for Lambda keeps five batches at a time at low
  traffic, and does not go down to two where a mapping has a maximum concurrency.
* There is always an environment that is free.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# So many messages lie on every host of a queue.
_DEEP = 100
_SHALLOW_POLLS = (1, 2, 3)
_MOST_A_POLL = 10


@dataclass(frozen=True, slots=True)
class Rules:
    """A mapping's settings. `window` is in seconds."""

    batch_size: int = 10
    window: float = 0.0
    pollers: int = 1


@dataclass(frozen=True, slots=True)
class Batches:
    """The sizes of the batches, in the order in which they are handed over, and the polls for them.

    Each poll is a request to SQS.
    """

    sizes: tuple[int, ...]
    polls: int


def batches(arrivals: Sequence[float], rules: Rules) -> Batches:
    """Return what becomes of messages that arrive at these times, in seconds, in order."""
    polls = list(_polls(arrivals))
    if not rules.window:
        return Batches(tuple(size for _, size in polls), len(polls))
    made: list[tuple[float, int]] = []
    for poller in range(rules.pollers):
        made += _gathered(polls[poller :: rules.pollers], rules)
    return Batches(tuple(size for _, size in sorted(made)), len(polls))


def _polls(arrivals: Sequence[float]) -> Iterator[tuple[float, int]]:
    """Return when a poll ended, and with how many messages."""
    shallow = itertools.cycle(_SHALLOW_POLLS)
    for at, together in itertools.groupby(arrivals):
        left = sum(1 for _ in together)
        while left:
            size = min(left, _MOST_A_POLL if left >= _DEEP else next(shallow))
            yield at, size
            left -= size


def _gathered(polls: Sequence[tuple[float, int]], rules: Rules) -> Iterator[tuple[float, int]]:
    """Return when a poller hands a batch over, and of how many messages."""
    began, size = 0.0, 0
    for at, more in polls:
        if size and at > began + rules.window:
            yield began + rules.window, size
            size = 0
        began = began if size else at
        size += more
        while size >= rules.batch_size:
            yield at, rules.batch_size
            began, size = at, size - rules.batch_size
    if size:
        yield began + rules.window, size
