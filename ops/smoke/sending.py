"""One event by each door, and what becomes of it: ledger, queues, logs, metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from cometly_forwarder.journal import NAMESPACE
from ops.logs import outcomes, quoted
from ops.smoke.doors import (
    HTTPS,
    PAGE,
    Api,
    Closed,
    Door,
    Fields,
    NotTaken,
    Send,
    an_event,
    http_doors,
    names_of,
    senders,
)
from ops.smoke.report import Finding, Mark, Report, Section, bad, good, undecided
from ops.target import Target

T = TypeVar("T")

# CloudWatch takes some seconds to show a log line.
LOGS_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 1.0
# Parked messages are looked through by tens, so many times at the most.
_MOST_ROUNDS = 100
_HIDDEN_SECONDS = 30
# SQS asks all its servers only if a receive waits, and may answer nothing even then.
_WAIT_SECONDS = 5
_EMPTY_ANSWERS = 2


@dataclass(frozen=True, slots=True)
class Clock:
    """Unix time in seconds, and a way to wait."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Sent:
    """An event on its way: `event_id` is what the stack calls it, `at` Unix time in seconds."""

    door: str
    event: Fields
    event_id: str
    at: float


@dataclass
class Sending:
    """The steps that book something. `within` and `metrics_within` are in seconds."""

    target: Target
    api: Api
    event_name: str
    within: float
    metrics_within: float
    clock: Clock = field(default_factory=Clock)
    sent: list[Sent] = field(default_factory=list)

    def take(self, report: Report) -> None:
        """Send, and follow what was sent."""
        doors = http_doors(self.target, self.target.server_key())
        began = self.clock.now()
        events = {name: an_event(name, self.event_name) for name in names_of(doors)}
        ids: dict[str, str] = {}
        named = report.step("the events are valid", lambda: self._name(doors, events, ids))
        if named.mark is Mark.BAD:
            return
        for name, send in senders(self.target, self.api, doors).items():
            event = Sent(name, events[name], ids[name], self.clock.now())
            report.step(f"{name}: a valid event is taken", partial(self._send, send, event))
        delivered = self._follow(report)
        report.step("the queues drain", self._drained)
        report.step("none of these events is parked", lambda: self._parked(delivered))
        for function in ("ingest", "deliver"):
            title = f"the log of {function} has its lines"
            report.step(title, partial(self._logged, function, delivered, began))
        report.step("the metrics are there", lambda: self._counted(delivered, began))

    def remains(self) -> str:
        """Say what the events leave behind."""
        if not self.sent:
            return "Nothing was sent."
        emails = ", ".join(str(sent.event["email"]) for sent in self.sent)
        return (
            f"What stays of {len(self.sent)} events {self.event_name}: what Cometly took of them "
            f"({emails}; its Events Log may lag by 15 minutes), and items in the ledger and lines "
            "in the logs for 30 days. It cost under a cent."
        )

    def _name(
        self, doors: list[Door], events: Mapping[str, Fields], ids: dict[str, str]
    ) -> Finding:
        """Learn from a dry run what each event will be called: its key alone decides that."""
        [door] = [it for it in doors if it.name == HTTPS]
        answer = self.api.post(door, list(events.values()), query="?dry_run=true")
        results = answer.body.get("results", ()) if isinstance(answer.body, dict) else ()
        if wrong := next((it for it in results if it["status"] != 200), None):
            return bad(f"{self.event_name}: {wrong['message']}")
        if answer.status != 200 or len(results) != len(events):
            return bad(f"the dry run should be answered 200; it was {answer.message}")
        ids.update({name: it["event_id"] for name, it in zip(events, results, strict=True)})
        return good(f"{len(ids)} events {self.event_name}, each with do_not_capi and its own key")

    def _send(self, send: Send, event: Sent) -> Finding:
        """Send an event. One that was not answered may have been taken: it is followed too."""
        self.sent.append(event)
        try:
            says = send(event.event)
        except Closed as exc:
            self.sent.pop()
            return undecided(str(exc))
        except NotTaken:
            self.sent.pop()
            raise
        return good(f"{says}, {event.event_id}")

    # --- What becomes of them ---

    def _follow(self, report: Report) -> list[Sent]:
        """Wait for each event in turn, all within the same time; return those delivered."""
        began = self.clock.now()
        delivered = []
        for sent in self.sent:
            deadline = began + self.within + (self._page_delay() if sent.door == PAGE else 0)
            step = report.step(
                f"{sent.door}: Cometly takes the event",
                partial(self._delivered, sent, deadline),
            )
            if step.mark is Mark.GOOD:
                delivered.append(sent)
        return delivered

    def _page_delay(self) -> float:
        return float(self.target.parameters.get("PageDelaySeconds") or 0)

    def _delivered(self, sent: Sent, deadline: float) -> Finding:
        item = self._until(
            lambda: self._item(sent.event_id),
            lambda item: item.get("state") in {"delivered", "parked"},
            deadline,
        )
        state, answer = item.get("state", ""), item.get("answer", "")
        request = f", Cometly's Request-Id {item['request_id']}" if item.get("request_id") else ""
        if state == "delivered":
            took = float(item["updated_at"]) - _accepted_at(item, sent)
            return good(f"delivered {max(took, 0):.1f} s after it was accepted{request}")
        if state == "parked":
            return bad(f"parked: {answer}{request}", Section.PARKED)
        if not item:
            return bad(f"not in the ledger: it has not reached deliver ({sent.event_id})")
        look = Section.BLOCKED if answer.startswith(("HTTP 4", "HTTP 3")) else Section.FIRST
        return bad(f"still {state}: {answer or 'no answer yet'}; it is not given up", look)

    def _item(self, event_id: str) -> dict[str, str]:
        item = self.target.clients.dynamodb.get_item(
            TableName=self.target.outputs["TableName"],
            Key={"event_id": {"S": event_id}},
            ConsistentRead=True,
        ).get("Item", {})
        return {name: str(next(iter(value.values()))) for name, value in item.items()}

    def _drained(self) -> Finding:
        """Wait for empty queues. Those of a stack in use may never be: that is no fault."""
        deadline = self.clock.now() + self.within
        urls = self.target.queue_urls
        count = self._until(lambda: sum(map(self.target.count, urls)), lambda it: it == 0, deadline)
        if count:
            return undecided(
                f"{count} messages are there still: other events, or a count that lags"
            )
        return good("nothing waits")

    # --- Cleaning up ---

    def _parked(self, delivered: list[Sent]) -> Finding:
        """Take what was parked of these events away; of what was delivered nothing can be."""
        others = [sent for sent in self.sent if sent not in delivered]
        if not others:
            return good("each is delivered")
        gone = self._take_parked(others)
        if gone:
            return bad(f"{gone} were, and are deleted from the dead-letter queue", Section.PARKED)
        return good(f"of {len(others)} that were not delivered, none lies on the dead-letter queue")

    def _take_parked(self, events: list[Sent]) -> int:
        """Delete what these events left on the dead-letter queue; put the rest back at once."""
        sqs, url = self.target.clients.sqs, self.target.outputs["DeadLetterQueueUrl"]
        marks = [mark for sent in events for mark in (sent.event_id, sent.event["idempotency_key"])]
        others, gone, empty = [], 0, 0
        for _ in range(_MOST_ROUNDS):
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=_WAIT_SECONDS,
            )
            messages = answer.get("Messages", [])
            empty = 0 if messages else empty + 1
            if empty == _EMPTY_ANSWERS:
                break
            for message in messages:
                if any(mark in message["Body"] for mark in marks):
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    gone += 1
                else:
                    others.append(message["ReceiptHandle"])
        for handle in others:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        return gone

    # --- What was written down ---

    def _logged(self, function: str, delivered: list[Sent], began: float) -> Finding:
        """Look for the line that an event of each door has: by SNS and EventBridge not ingest's."""
        name = "ingest.accepted" if function == "ingest" else "delivery.delivered"
        by_http = {door.name for door in http_doors(self.target, "")}
        events = self.sent if function == "ingest" else delivered
        wanted = {it.event_id for it in events if function == "deliver" or it.door in by_http}
        if not wanted:
            return undecided("no event should have one")
        # What was found is not looked for again: CloudWatch takes five looks a second.
        missing = set(wanted)

        def look() -> bool:
            missing.difference_update(self._ids_in_log(function, name, missing, began))
            return not missing

        if not self._until(look, bool, self.clock.now() + LOGS_WITHIN_SECONDS):
            return bad(f"no line {name} of {', '.join(sorted(missing))}")
        return good(f"{len(wanted)} lines {name}")

    def _ids_in_log(self, function: str, name: str, ids: set[str], began: float) -> set[str]:
        # The clock of this machine need not be AWS's.
        look = partial(outcomes, self.target, began - 300, functions=(function,))
        return {
            event_id
            for event_id in ids
            for line in look(where=quoted(event_id))
            if (line.event_id, line.outcome) == (event_id, name)
        }

    def _counted(self, delivered: list[Sent], began: float) -> Finding:
        if self.target.is_local:
            return undecided("not looked at: the emulator makes no metrics of the log lines")
        wanted = len(delivered)
        if not wanted:
            return undecided("no event was delivered")
        deadline = self.clock.now() + self.metrics_within
        count = self._until(
            lambda: self._sum_of("Delivered", began), lambda it: it >= wanted, deadline
        )
        if count < wanted:
            return undecided(
                f"not yet: Delivered is {count:.0f} of {wanted}; they may lag by minutes"
            )
        return good(f"Delivered is {count:.0f}, at least the {wanted} of this test")

    def _sum_of(self, metric: str, began: float) -> float:
        answer = self.target.clients.cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=metric,
            Dimensions=[{"Name": "service", "Value": self.target.name}],
            StartTime=datetime.fromtimestamp(began // 60 * 60, UTC),
            EndTime=datetime.fromtimestamp(self.clock.now() + 60, UTC),
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))

    def _until(self, look: Callable[[], T], holds: Callable[[T], object], deadline: float) -> T:
        while not holds(seen := look()) and self.clock.now() < deadline:
            self.clock.sleep(_POLL_SECONDS)
        return seen


def _accepted_at(item: Mapping[str, str], sent: Sent) -> float:
    try:
        return datetime.fromisoformat(item["accepted_at"]).timestamp()
    except (KeyError, ValueError):
        return sent.at
