"""The gate, as its item in the table says: pauses, posts of the last minute, the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cometly_forwarder.gate.item import state_in
from cometly_forwarder.gate.rules import GateState, Pause
from cometly_forwarder.gate.window import MINUTE
from ops.logs import iso
from ops.smoke.report import RUNBOOK, Section
from ops.target import Target

_WHY = {
    "throttled": "Cometly's rate limit was met; it opens by itself",
    "blocked": f"Cometly refuses the token or the endpoint ({RUNBOOK}#{Section.BLOCKED})",
    "failing": f"Cometly does not answer properly ({RUNBOOK}#{Section.DOWN})",
}


@dataclass(frozen=True, slots=True)
class GatePause:
    """A pause that Cometly's answers led to. `until` is Unix time in seconds."""

    lane: str
    cause: str
    until: float
    is_probing: bool
    """The time is over, and one event finds out whether the cause is."""

    @property
    def says(self) -> str:
        when = "one event probes next" if self.is_probing else f"until {iso(self.until)}"
        whose = "events of pages: " if self.lane == "pages" else ""
        return f"{whose}{self.cause}, {when}"

    @property
    def why(self) -> str:
        return _WHY[self.cause]

    def record(self) -> dict[str, Any]:
        return {
            "by": "gate",
            "queue": self.lane,
            "cause": self.cause,
            "until": iso(self.until),
            "probing": self.is_probing,
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """What all workers share, at a time."""

    pauses: tuple[GatePause, ...]
    posted_per_minute: int
    limit_per_minute: int
    others_per_minute: int


def gate_of(target: Target, now: float) -> Gate:
    """Read the gate's item: one read, consistent."""
    found = target.clients.dynamodb.get_item(
        TableName=target.outputs["TableName"], Key={"event_id": {"S": "gate"}}, ConsistentRead=True
    )
    state = state_in(found.get("Item", {}))
    configured = int(target.parameters.get("CometlyRequestsPerMinute") or 1000)
    return Gate(
        pauses=pauses_in(state, now),
        posted_per_minute=state.window.count(now - MINUTE, now),
        limit_per_minute=state.learnt.limit_at_present(now, configured),
        others_per_minute=int(state.learnt.others),
    )


def pauses_in(state: GateState, now: float) -> tuple[GatePause, ...]:
    """Return the pauses that hold at a time: of all events, and of those of pages alone."""
    lanes = (("events", state.pause), ("pages", state.pages_pause))
    return tuple(it for lane, pause in lanes if (it := _paused(lane, pause, now)))


def _paused(lane: str, pause: Pause | None, now: float) -> GatePause | None:
    if not pause or (pause.until <= now and not pause.needs_probe):
        return None
    return GatePause(lane, pause.cause.value, pause.until, is_probing=pause.until <= now)
