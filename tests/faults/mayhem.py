"""Everything at once: a plan made of one seed, with faults of each kind, and what it must leave.

The plan is the same for the same seed: the events, what Cometly and AWS do to calls, who is killed
at which moment, and when the token changes. How the threads take turns is not.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import aws_proxy
from tests.faults.aws_proxy import AwsProxy, Call, through
from tests.faults.rig import BRISK, AwsClients, Crew, Rig, an_order, opened
from tests.faults.worker import Death

WORKERS = 4
WAVES = 5
# One in so many events is refused by Cometly, comes twice, comes with a typo besides that Cometly
# refuses, has a worker killed.
REFUSED, TWICE, MISTYPED, KILLED = 30, 8, 12, 25
TYPO = {"url": "https://shop.example.com/typo"}
# How often Cometly does what.
CHANCES: list[tuple[float, dict[str, object]]] = [
    (0.04, {"kind": "process_then_cut"}),
    (0.01, {"kind": "process_then_hang", "seconds": 30}),
    (0.03, {"kind": "cut_before"}),
    (0.01, {"kind": "hang", "seconds": 30}),
    (0.01, {"kind": "drip", "seconds_per_byte": 0.2}),
    (0.02, {"kind": "html_200"}),
    (0.03, {"kind": "status", "status": 500}),
    (0.02, {"kind": "status", "status": 502}),
    (0.02, {"kind": "status", "status": 503}),
    (0.01, {"kind": "status", "status": 408}),
    (0.01, {"kind": "status", "status": 429, "retry_after": 1}),
]
# What is wrong with an event stays wrong: Cometly refuses it, or what stands before it does.
LARGE = {"do_not_capi": True, "full_name": "Too Long"}
FOR_GOOD: list[dict[str, object]] = [
    {"kind": "status", "status": 413, "times": "always", "match": LARGE},
    {"kind": "status", "status": 422, "times": "always", "match": {"do_not_capi": True}},
    {"kind": "status", "status": 422, "times": "always", "match": TYPO},
]
AWS_CHANCE = 0.02
MOMENTS = (
    "after gate.admit",
    "before ledger.claim",
    "after ledger.claim",
    "before cometly.post",
    "after cometly.post",
    "after ledger.settle",
    "before queue.park",
    "after queue.park",
    "before queue.release",
    "after queue.release",
    "before delete",
)
TIMES: dict[str, Any] = {
    "invocation": 3.0,
    "aws_seconds": 0.4,
    "constants": {**BRISK, "UNAVAILABLE_SECONDS": 1.0},
}

# By seed: fewer messages than a worker has threads, and many more.
BATCHES = (40, 5)


@dataclass
class Tally:
    """What came of it."""

    seed: int
    accepted: int
    delivered: int
    parked: int
    posts: Counter[str]
    killed: int
    spoilt: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.accepted} identities accepted, {self.delivered} delivered, "
            f"{self.parked} parked, {self.posts.total()} posts ({dict(self.posts)}), "
            f"{self.killed} workers killed, {self.spoilt} AWS calls spoilt, {self.seconds:.0f} s"
        )


@dataclass
class Mayhem:
    """One run."""

    rig: Rig
    proxy: AwsProxy
    seed: int
    events: int
    refused: set[str] = field(default_factory=set)

    def run(self) -> Tally:
        began = time.monotonic()
        dice = Random(self.seed)
        waves = self._waves(dice)
        self._spoil_cometly()
        rule = self.proxy.spoil(_Dice(self.seed, AWS_CHANCE).strikes, "cut")
        lost = self.proxy.spoil(_Dice(self.seed + 1, AWS_CHANCE).strikes, "answer lost")
        slow = self.proxy.spoil(_Dice(self.seed + 2, AWS_CHANCE / 4).strikes, "silent")
        deaths = self._deaths(dice)
        endpoints = through(self.proxy)
        batch = BATCHES[self.seed % len(BATCHES)]
        told = {"batch": batch, "deaths": deaths, "endpoints": endpoints, **TIMES}
        with self.rig.working(WORKERS, **told) as crew:
            for number, wave in enumerate(waves):
                self._take(wave)
                self._until_half_is_done(crew, dice)
                self._change_token(number, crew)
            spoilt = int(rule.spoilt + lost.spoilt + slow.spoilt)
            self._calm()
            self.rig.drain(crew)
        return self._tally(crew, spoilt, time.monotonic() - began)

    def _waves(self, dice: Random) -> list[list[dict[str, object]]]:
        """Make the events, some twice, in an order that is not theirs."""
        events = [self._event(number, dice) for number in range(self.events)]
        twice = dice.sample(events, self.events // TWICE)
        events += twice + [
            {**each, **TYPO} for each in dice.sample(events, self.events // MISTYPED)
        ]
        dice.shuffle(events)
        size = -(-len(events) // WAVES)
        return [events[start : start + size] for start in range(0, len(events), size)]

    def _event(self, number: int, dice: Random) -> dict[str, object]:
        event = an_order(number, do_not_capi=dice.randrange(REFUSED) == 0)
        if event["do_not_capi"] and dice.randrange(2):
            event |= LARGE
        match dice.randrange(3):
            case 0:
                event["idempotency_key"] = f"key-{self.seed}-{number}"
            case 1:
                del event["order_id"]
                # Who sends such an event twice sends two events: it needs a key to be one.
                event["idempotency_key"] = f"sole-{self.seed}-{number}"
        return event

    def _take(self, wave: list[dict[str, object]]) -> None:
        for event, event_id in zip(wave, self.rig.accept(*wave), strict=True):
            if event["do_not_capi"]:
                self.refused.add(event_id)
        # SQS delivers at least once, SNS as well: some messages come twice as they are.
        for message in self.rig.waiting()[:: 4 * TWICE]:
            self.rig.aws.sqs.send_message(QueueUrl=self.rig.queue_url, MessageBody=message["Body"])

    def _spoil_cometly(self) -> None:
        by_chance = [{**rule, "times": "always", "probability": it} for it, rule in CHANCES]
        self.rig.spoil(*FOR_GOOD, *by_chance)

    def _deaths(self, dice: Random) -> list[Death]:
        return [
            Death(dice.choice(MOMENTS), nth=dice.randint(1, 12))
            for _ in range(self.events // KILLED)
        ]

    def _until_half_is_done(self, crew: Crew, dice: Random) -> None:
        """Let the workers work, and kill one of them in the middle of whatever it does."""
        before = len(self.rig.posts())
        enough = self.events // WAVES // 2
        self.rig.until(lambda: len(self.rig.posts()) >= before + enough, crew)
        crew.kill(dice.randrange(len(crew.processes)))
        crew.tend()

    def _change_token(self, number: int, crew: Crew) -> None:
        """Replace the token at Cometly, and some time later in the secret."""
        token = f"token-{number}"
        self.rig.sandbox.change({"tokens": [token]})
        seen = len(self.rig.posts())
        self.rig.until(lambda: len(self.rig.posts()) > seen or self.rig.is_drained(), crew)
        self.rig.store_token(token)

    def _calm(self) -> None:
        """Nothing more goes wrong, but what Cometly refuses it refuses for ever."""
        self.proxy.heal()
        self.rig.sandbox.faults.clear()
        self.rig.spoil(*FOR_GOOD)

    def _tally(self, crew: Crew, spoilt: int, seconds: float) -> Tally:
        account = self.rig.account()
        account.check()
        assert account.waiting == frozenset()
        parked = {content.event_id for content in account.parked if content.url != TYPO["url"]}
        assert parked == self.refused, "only what Cometly refuses is parked"
        right = {content.event_id for content in account.accepted} - self.refused
        assert account.identities().keys() == right, "a correction is booked, whatever it corrects"
        reasons = {parked["reason"].partition(":")[0] for parked in self.rig.parked()}
        assert reasons <= {"HTTP 422", "HTTP 413"}
        return Tally(
            self.seed,
            len({content.event_id for content in account.accepted}),
            len(account.booked),
            len(parked),
            Counter(str(post.status) for post in self.rig.posts()),
            crew.deaths,
            spoilt,
            seconds,
        )


class _Dice:
    """Chooses calls at random, the same ones for the same seed, as far as calls are the same."""

    def __init__(self, seed: int, chance: float) -> None:
        self._dice = Random(seed)
        self._chance = chance

    def strikes(self, call: Call) -> bool:
        return call.action != "" and self._dice.random() < self._chance


def run(aws: AwsClients, folder: Path, *, seed: int, events: int) -> Tally:
    with opened(aws, folder) as rig, aws_proxy.running(aws.url) as proxy:
        rig.sandbox.change({"seed": seed})
        # Messages come back while an invocation that is slow still has them in hand.
        rig.hide_for(2)
        return Mayhem(rig, proxy, seed, events).run()
