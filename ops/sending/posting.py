"""Posts arrays until each event has an answer that trying again would not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.errors import OpsError
from ops.output import note
from ops.smoke.doors import EVENTS, HTTPS, Answer, Api, Door

_TRIES = 10
_LONGEST_WAIT_SECONDS = 60.0
# What an API asks for beyond this is not waited for at once, but again.
_LONGEST_ASKED_SECONDS = 900.0
_AGAIN = {429, 500, 502, 503, 504}
Result = dict[str, Any]


@dataclass(slots=True)
class Poster:
    """The API of a stack, with the key as it is: one that was rotated meanwhile is read again."""

    api: Api
    read_key: Callable[[], str]
    sleep: Callable[[float], None]
    tell: Callable[[str], object] = note
    _key: str = field(default="", repr=False)

    def check(self, events: Sequence[Any]) -> list[Result]:
        """Return the dry run's result of each event; nothing is queued. Raises OpsError."""
        return self._settled(events, "?dry_run=true")

    def send(self, events: Sequence[Any]) -> list[Result]:
        """Return the result of each event, none of them 503; raises OpsError."""
        return self._settled(events, "")

    def _settled(self, events: Sequence[Any], query: str) -> list[Result]:
        results: dict[int, Result] = {}
        tries = 0
        while missing := [place for place in range(len(events)) if place not in results]:
            answer = self._posted([events[place] for place in missing], query)
            fresh = _results_in(answer, len(missing))
            if query and answer.status == 202:
                raise OpsError("This version of the stack knows no dry run: events were queued.")
            settled = {
                place: result
                for place, result in zip(missing, fresh, strict=False)
                if result.get("status") not in _AGAIN
            }
            results |= settled
            tries = 0 if settled else tries + 1
            if len(settled) < len(missing):
                self._wait(answer, tries)
        return [results[place] for place in range(len(events))]

    def _posted(self, events: list[Any], query: str) -> Answer:
        """Post; a refused key is read anew, and a broken connection is tried again."""
        for number in range(1, _TRIES + 1):
            self._key = self._key or self.read_key()
            door = Door(HTTPS, EVENTS, {"Authorization": f"Bearer {self._key}"})
            try:
                answer = self.api.post(door, events, query=query)
            except OpsError as exc:
                if number == _TRIES:
                    raise
                if number == 1:
                    self.tell(f"{exc}: trying again, for a few minutes.")
                self.sleep(_back_off(number))
                continue
            if answer.status != 401:
                return answer
            refused, self._key = self._key, self.read_key()
            if self._key == refused:
                break
        raise OpsError("the API refuses the key that the stack's secret holds (401).")

    def _wait(self, answer: Answer, tries: int) -> None:
        if tries >= _TRIES:
            raise OpsError(f"the API answered {answer.message} {tries} times in a row.")
        self.sleep(_asked(answer) or _back_off(max(tries, 1)))


def _results_in(answer: Answer, count: int) -> list[Result]:
    """Return the results; none where all is to be tried again."""
    body = answer.body if isinstance(answer.body, dict) else {}
    results = body.get("results")
    if isinstance(results, list) and len(results) == count:
        return results
    if answer.status in _AGAIN:
        return []
    raise OpsError(f"the API answered {answer.message}")


def _asked(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), _LONGEST_ASKED_SECONDS) if text.isascii() and text.isdigit() else 0.0


def _back_off(number: int) -> float:
    return float(min(2**number, _LONGEST_WAIT_SECONDS))
