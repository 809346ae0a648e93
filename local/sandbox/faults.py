"""What is to go wrong with the next requests: the rules, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Literal, cast

from local.sandbox.errors import ControlError
from local.sandbox.settings import is_amount, is_count, is_one_of

Kind = Literal[
    "status",
    "html_200",
    "redirect",
    "hang",
    "drip",
    "process_then_cut",
    "process_then_hang",
    "cut_before",
    "forget",
    "other_amount",
    "record_twice",
    "export_fails",
]
# Where a rule strikes: a request that brings an event, one that reads, what Cometly records of an
# event that it has accepted, or an export.
Place = Literal["track", "reads", "record", "export"]

# What each kind may say beside kind, times, probability, match and label.
_OPTIONS: dict[Kind, frozenset[str]] = {
    "status": frozenset({"status", "retry_after", "on"}),
    "html_200": frozenset({"on"}),
    "redirect": frozenset({"status", "location", "on"}),
    "hang": frozenset({"seconds", "on"}),
    "drip": frozenset({"seconds_per_byte"}),
    "process_then_cut": frozenset(),
    "process_then_hang": frozenset({"seconds"}),
    "cut_before": frozenset({"on"}),
    "forget": frozenset(),
    "other_amount": frozenset({"more"}),
    "record_twice": frozenset(),
    "export_fails": frozenset(),
}
_PLACES: dict[Kind, Place] = {
    "forget": "record",
    "other_amount": "record",
    "record_twice": "record",
    "export_fails": "export",
}
_ALWAYS_ALLOWED = frozenset({"kind", "times", "probability", "match", "label"})
_PROCESSED: frozenset[Kind] = frozenset({"drip", "process_then_cut", "process_then_hang"})
_UNANSWERED: frozenset[Kind] = frozenset(
    {"hang", "process_then_cut", "process_then_hang", "cut_before"},
)
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(slots=True, kw_only=True)
class FaultRule:
    """One fault, how often it strikes, and which events it strikes.

    `match` names body fields (of a request that reads: of its query) and the values that they must
    all have. By its `label` a rule can be taken back alone. `on` is "reads" for what strikes
    requests that read; `more` is what is added to a recorded amount.
    """

    kind: Kind
    times: int | Literal["always"] = 1
    probability: float = 1.0
    match: dict[str, object] = field(default_factory=dict)
    status: int = 303
    retry_after: int | None = None
    location: str = "/"
    seconds: float = 30.0
    seconds_per_byte: float = 1.0
    on: Literal["track", "reads"] = "track"
    more: float = 1.0
    label: str = ""
    applied: int = 0

    @property
    def place(self) -> Place:
        """Where it strikes."""
        return _PLACES.get(self.kind, self.on)

    @property
    def processes(self) -> bool:
        """Whether the request reaches the API before things go wrong."""
        return self.kind in _PROCESSED

    @property
    def answers(self) -> bool:
        """Whether the sender gets any answer at all."""
        return self.kind not in _UNANSWERED

    @property
    def status_sent(self) -> int | None:
        """The status of a fault that stands in front of the API; None for no answer."""
        if not self.answers:
            return None
        return 200 if self.kind == "html_200" else self.status

    def strikes(self, event: Mapping[str, object], dice: Random) -> bool:
        """Tell whether this request is one to fail; dice are thrown only where it counts."""
        if self.times != "always" and self.applied >= self.times:
            return False
        if any(event.get(name) != value for name, value in self.match.items()):
            return False
        return self.probability >= 1 or dice.random() < self.probability

    def as_json(self) -> dict[str, object]:
        """Return the rule as it would be posted, and how often it has struck."""
        shown = _ALWAYS_ALLOWED | _OPTIONS[self.kind] | {"applied"}
        if not self.label:
            shown -= {"label"}
        if self.on == "track":
            shown -= {"on"}
        return {name: value for name, value in asdict(self).items() if name in shown}


class FaultPlan:
    """The rules in the order they were given; the first that strikes is the one."""

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []

    def add(self, rules: list[FaultRule]) -> None:
        """Put rules behind those that are there."""
        self._rules.extend(rules)

    def clear(self, label: str | None = None) -> None:
        """Forget the rules with a label, or every rule."""
        self._rules = [it for it in self._rules if label is not None and it.label != label]

    def pick(
        self, event: Mapping[str, object], dice: Random, place: Place = "track"
    ) -> FaultRule | None:
        """Return the rule for what happens at this place, if any, and count it as applied."""
        for rule in self._rules:
            if rule.place == place and rule.strikes(event, dice):
                rule.applied += 1
                return rule
        return None

    def as_json(self) -> list[dict[str, object]]:
        """Return all rules, spent ones too."""
        return [rule.as_json() for rule in self._rules]


def read_rules(value: object) -> list[FaultRule]:
    """Return the rules of a posted list, or raise `ControlError`."""
    if not isinstance(value, list):
        raise ControlError("Faults come as a list of rules.")
    return [_read_rule(item) for item in value]


def _read_rule(value: object) -> FaultRule:
    if not isinstance(value, dict):
        raise ControlError("Each fault is an object with a kind.")
    for problem in _rule_problems(value):
        raise ControlError(problem)
    return FaultRule(**value)


def _rule_problems(value: Mapping[str, Any]) -> Iterator[str]:
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _OPTIONS:
        yield f"kind must be one of {', '.join(_OPTIONS)}."
        return
    allowed = _ALWAYS_ALLOWED | _OPTIONS[kind]
    yield from (f"{kind} has no option {name}." for name in value if name not in allowed)
    yield from (
        f"{name} must be {expected}."
        for name, (holds, expected) in _CHECKS.items()
        if name in value and not holds(value[name])
    )
    yield from _status_problems(kind, value)


def _status_problems(kind: str, value: Mapping[str, Any]) -> Iterator[str]:
    if kind == "status" and "status" not in value:
        yield "status needs a status."
    if kind == "redirect" and value.get("status", _REDIRECTS[0]) not in _REDIRECTS:
        yield "status of a redirect must be 301, 302, 303, 307 or 308."


def _is_status(value: object) -> bool:
    lowest, highest = 200, 599
    return isinstance(value, int) and lowest <= value <= highest


def _is_times(value: object) -> bool:
    return value == "always" or is_count(value)


def _is_share(value: object) -> bool:
    return is_amount(value) and cast("float", value) <= 1


def _is_number(value: object) -> bool:
    return is_amount(abs(value)) if isinstance(value, int | float) else False


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and is_amount(value)


_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "kind": (is_one_of(*_OPTIONS), "a kind of fault"),
    "times": (_is_times, 'a whole number above zero or "always"'),
    "probability": (_is_share, "a number from 0 to 1"),
    "match": (lambda value: isinstance(value, dict), "an object"),
    "status": (_is_status, "a status from 200 to 599"),
    "retry_after": (_is_whole, "a whole number of seconds"),
    "label": (lambda value: isinstance(value, str), "a string"),
    "location": (lambda value: isinstance(value, str), "a string"),
    "seconds": (is_amount, "a number, zero or more"),
    "seconds_per_byte": (is_amount, "a number, zero or more"),
    "on": (is_one_of("track", "reads"), '"track" or "reads"'),
    "more": (_is_number, "a number"),
}
