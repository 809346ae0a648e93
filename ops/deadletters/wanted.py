"""Which parked events a command is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from ops.deadletters.bodies import texts_in
from ops.deadletters.shelf import DeadLetter


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters; an empty text admits all. Times are Unix time; age counts since acceptance."""

    reason: str = ""
    name: str = ""
    id: str = ""
    text: str = ""
    before: float | None = None
    after: float | None = None
    limit: int | None = None

    def __call__(self, letter: DeadLetter) -> bool:
        """Say whether it is meant."""
        return (
            self.reason.lower() in letter.reason.lower()
            and self.name in {"", letter.name}
            and self.id in {"", letter.event_id, letter.id}
            and self._is_in(letter.body)
            and (self.before is None or letter.accepted_at < self.before)
            and (self.after is None or letter.accepted_at > self.after)
        )

    def _is_in(self, body: str) -> bool:
        """Look for the text in the body as it is, and in the event's texts without JSON's escapes.

        A body of SNS holds an event as JSON within JSON, escaped twice.
        """
        sought = self.text.casefold()
        return sought in body.casefold() or sought in texts_in(body).casefold()

    def among(self, letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """Yield those that are meant, up to the limit."""
        return islice(filter(self, letters), self.limit)

    def counted(self, letters: Iterable[DeadLetter]) -> Counter[str]:
        """Count those that are meant by reason, without what stands behind a colon."""
        return Counter(short(it.reason) for it in self.among(letters))


def short(reason: str) -> str:
    return reason.partition(":")[0]
