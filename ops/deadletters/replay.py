"""Sends parked events again, slowly enough for live ones, and loses none when it is killed.

An event is put on its queue first and deleted here afterwards. Killed in between, it is in both
places; the next run sends it once more, and the ledger knows it by its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cometly_forwarder.aws import SQS_BATCH
from cometly_forwarder.event.reading import EventRules
from ops.deadletters.edits import Edits, NotSent, body_to_send
from ops.deadletters.shelf import DeadLetter, Shelf
from ops.deadletters.wanted import Wanted

_LOOK_AGAIN_SECONDS = 5.0


@dataclass(slots=True)
class Pace:
    """Leaves room for live events: so many a minute, and none while `busy` says why."""

    per_minute: int
    busy: Callable[[], str]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    tell: Callable[[str], None]
    _next_at: float = 0.0

    def room(self) -> int:
        """Wait until events may be sent; return how many at once."""
        if (ahead := self._next_at - self.clock()) > 0:
            self.sleep(ahead)
        told = ""
        while reason := self.busy():
            if reason != told:
                self.tell(f"Waiting: {reason}.")
                told = reason
            self.sleep(_LOOK_AGAIN_SECONDS)
        return min(SQS_BATCH, self.per_minute)

    def sent(self) -> None:
        """Count one."""
        self._next_at = max(self._next_at, self.clock()) + 60 / self.per_minute


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one: sent again, or why it stays."""

    letter: DeadLetter
    refusal: str = ""

    def record(self) -> dict[str, object]:
        known = {"event_id": self.letter.event_id, "message_id": self.letter.id}
        return {**known, "replayed": not self.refusal, "refusal": self.refusal}


@dataclass(frozen=True, slots=True)
class Replay:
    """One run. `send` puts a body on the queue of that name."""

    shelf: Shelf
    send: Callable[[str, str], object]
    pace: Pace
    rules: EventRules
    edits: Edits
    now: Callable[[], float]

    def run(self, wanted: Wanted) -> Iterator[Replayed]:
        """Replay what was parked before the run; what is parked again meanwhile stays."""
        # The queue tells its time without the fraction of the second.
        until = self.shelf.now() + 1
        letters = (it for it in self.shelf.letters(self.pace.room) if it.sent_at < until)
        for letter in wanted.among(letters):
            yield self._replayed(letter)

    def _replayed(self, letter: DeadLetter) -> Replayed:
        try:
            body = body_to_send(letter, self.edits, self.rules, self.now())
        except NotSent as exc:
            return Replayed(letter, str(exc))
        self.send(letter.attributes.get("queue", "events"), body)
        self.pace.sent()
        self.shelf.delete(letter)
        return Replayed(letter)
