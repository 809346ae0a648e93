"""The stages of delivery, put together over their ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cometly_forwarder.deliver import batch
from cometly_forwarder.deliver.batch import BatchDelivery
from cometly_forwarder.deliver.claims import Ledger
from cometly_forwarder.deliver.failures import Failures
from cometly_forwarder.deliver.outcomes import DeadLetterQueue, Outcomes
from cometly_forwarder.deliver.posting import Cometly, Posting
from cometly_forwarder.deliver.preparation import Preparation
from cometly_forwarder.deliver.settlement import Settlement
from cometly_forwarder.deliver.slots import Gate
from cometly_forwarder.event.reading import DEFAULT_RULES, EventRules
from cometly_forwarder.journal import Journal


class Queue(batch.Queue, DeadLetterQueue, Protocol):
    """The event queue and its dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What delivery reaches outside of itself, and its settings.

    `horizon_seconds` is how long an event may wait before it is parked.
    """

    ledger: Ledger
    gate: Gate
    cometly: Cometly
    queue: Queue
    journal: Journal
    now: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]
    horizon_seconds: float
    rules: EventRules = DEFAULT_RULES


def assemble(ports: Ports) -> BatchDelivery:
    """Make a batch delivery. The stages keep nothing, so that several can share their ports."""
    failures = Failures(ports.journal, ports.now, ports.random)
    outcomes = Outcomes(ports.ledger, ports.queue, ports.journal, failures, ports.now)
    return BatchDelivery(
        gate=ports.gate,
        queue=ports.queue,
        preparation=Preparation(
            ledger=ports.ledger,
            outcomes=outcomes,
            journal=ports.journal,
            failures=failures,
            now=ports.now,
            horizon_seconds=ports.horizon_seconds,
            rules=ports.rules,
        ),
        posting=Posting(
            ledger=ports.ledger,
            gate=ports.gate,
            cometly=ports.cometly,
            outcomes=outcomes,
            settlement=Settlement(ports.gate, outcomes, failures, ports.random),
            journal=ports.journal,
            failures=failures,
            now=ports.now,
            sleep=ports.sleep,
            random=ports.random,
        ),
        journal=ports.journal,
        failures=failures,
        now=ports.now,
        random=ports.random,
    )
