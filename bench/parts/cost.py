"""What an event costs: each unit that AWS bills, counted over a run, by list prices.

The assumptions:

* The clock is compressed. Events arrive one a second (arrays of ten every ten seconds), and
  `bench.batching` says of which of them Lambda makes a batch; then they are posted and handed to
  deliver as fast as that goes, up to EVENTS_A_SECOND, which is half of Cometly's limit, so that no
  event waits for the schedule that would not wait at one a second. Arrays of 500 come at once, and
  wait for the schedule in real time.
* Cometly answers after 150 ms. AWS's calls take what the emulator takes, a few ms, as AWS does.
* Lambda gives a function MB / 1769 of a processor, so the processor time of a handler takes that
  much longer than here: billed = measured + processor time x (1769 / MB - 1), in whole ms. Cold
  starts are left out.
* Lambda's own lines of an invocation and the access log of the API are not in the emulator: they
  are counted by their length.
* Fixed costs of a month (secrets, metrics, empty polls) are not in a million: see the days.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import prices, svg
from bench.batching import Batches, Rules, batches
from bench.ingest_worker import CLEAN, event
from bench.meter import Invocation, Reading
from bench.metered_emulator import SQS_BATCH
from bench.processor_share import share_of
from bench.report import Result, Table
from bench.stage import LIMIT, OURS, Stage, System
from local.stack.console import step
from tests.unit import cloudformation

LATENCY_MS = 150
EVENTS_A_SECOND = 8.0
LOG_EVENT_BYTES = 26  # https://aws.amazon.com/cloudwatch/pricing/: added to each line
# START, END and REPORT, each as long as it is for our names; in JSON, platform.start and .report.
_TEXT_LINES = (66 + 14, 51, 130 + 48)
_JSON_LINES = (230, 420)
_LEDGER_DAYS = {OURS: 30, "textbook": 1}
_ITEM_OVERHEAD = 100
_WARM_UPS = 3
# What another part has posted in the last minute takes of the limit: posts would wait for slots.
_MINUTE_AND_MORE = 61.0
# Of how many pollers AWS lets gather in a window: the best case and the worst (bench.batching).
POLLERS = (1, 5)
DESTINATION = {"api_requests": 1.0, "bus_events": 1.0, "destination_calls": 1.0}


@dataclass(frozen=True, slots=True)
class Shape:
    """How events come: arrays of `size`, every `seconds`; `by` is the door."""

    name: str
    size: int
    seconds: float
    by: str = "http"

    def arrivals(self, events: int) -> list[float]:
        return [place // self.size * self.seconds for place in range(events)]


SINGLES = Shape("single posts", 1, 1.0)
TENS = Shape("arrays of 10", 10, 10.0)
FIVE_HUNDREDS = Shape("arrays of 500", 500, 0.0)
SNS = Shape("SNS", 1, 1.0, by="sns")
SHAPES = (SINGLES, TENS, FIVE_HUNDREDS, SNS)


@dataclass(frozen=True, slots=True)
class Count:
    """What so many events needed."""

    system: str
    shape: str
    events: int
    batches: int
    units: Mapping[str, float]
    reading: Reading

    @property
    def dollars(self) -> dict[str, float]:
        """A million events, by component."""
        return prices.dollars(prices.a_million(self.units, self.events))


def measure(stage: Stage, *, events: int, rules: Rules | None = None) -> Result:
    """Count each shape for each system, in turns."""
    rules = rules or rules_of(stage.bench.template)
    with step("cost: a minute without posts"):
        time.sleep(_MINUTE_AND_MORE)
    stage.begin(latency_ms=LATENCY_MS, requests_per_minute=LIMIT)
    counts = [
        count for shape in SHAPES for count in _counts(stage, shape, max(events, shape.size), rules)
    ]
    return Result((_units_table(counts), _dollars_table(counts, rules)), {"cost": _plot(counts)})


def rules_of(template: Path) -> Rules:
    """Read the mapping of deliver, with the template's defaults."""
    content = cloudformation.read(template)
    parameters = content["Parameters"]

    def value(node: Any, default: float) -> float:
        if isinstance(node, dict) and "Fn::If" in node:
            condition, then, otherwise = node["Fn::If"]
            holds = _holds(content["Conditions"][condition], parameters)
            return value(then if holds else otherwise, default)
        if isinstance(node, dict):
            node = parameters[node["Ref"]]["Default"]
        return default if node is None else float(node)

    events = content["Resources"]["DeliverFunction"]["Properties"]["Events"]
    mapping = events["Queue"]["Properties"]
    return Rules(
        batch_size=int(value(mapping.get("BatchSize"), 10)),
        window=value(mapping.get("MaximumBatchingWindowInSeconds"), 0),
    )


def _holds(condition: Any, parameters: Any) -> bool:
    """Evaluate a condition that a parameter has not a certain value, with the default."""
    [[reference, value]] = [it["Fn::Equals"] for it in condition["Fn::Not"]]
    return str(parameters[reference["Ref"]]["Default"]) != str(value)


# --- Driving ----------------------------------------------------------------------------------


def _counts(stage: Stage, shape: Shape, events: int, rules: Rules) -> Iterator[Count]:
    for system, its_rules in _subjects(stage, shape, rules):
        made = batches(shape.arrivals(events), its_rules)
        with step(f"cost: {shape.name}, {system.name}, {events} events, {len(made.sizes)} batches"):
            yield replace(
                _count(stage, system, shape, events, made), shape=_title(shape, its_rules)
            )


def _subjects(stage: Stage, shape: Shape, rules: Rules) -> Iterator[tuple[System, Rules]]:
    """Say what is counted: ours with a window in its best and in its worst case."""
    for system in stage.systems:
        if shape.by == "sns" and not system.topic_arn:
            continue
        if system.name != OURS:
            yield system, Rules(rules.batch_size)
        elif rules.window and shape.seconds:
            yield from ((system, replace(rules, pollers=pollers)) for pollers in POLLERS)
        else:
            yield system, rules


def _title(shape: Shape, rules: Rules) -> str:
    if not rules.window or not shape.seconds:
        return shape.name
    return f"{shape.name}, {rules.window:g} s, {rules.pollers} poller(s)"


def _count(stage: Stage, system: System, shape: Shape, events: int, made: Batches) -> Count:
    driver = _Driver(stage, system, shape)
    stage.poll(system, workers=None)
    driver.warm_up()
    stage.sandbox("POST", "reset")
    mark = stage.meter.mark()
    if shape.seconds:
        driver.trickle(events, made)
    else:
        driver.burst(events)
    reading = stage.reading(system, mark)
    if (booked := stage.booked()) != events:
        raise RuntimeError(f"{system.name}, {shape.name}: {booked} of {events} were booked")
    handed_over = [it.messages for it in reading.invocations if it.function == system.deliver]
    in_tens = sum(math.ceil(messages / SQS_BATCH) for messages in handed_over)
    polls = made.polls + driver.polls_again if shape.seconds else in_tens
    units = _units_of(stage, system, reading, driver.posts)
    units["stored_gb_months"] = _stored(stage, system, events)
    units["sqs_requests"] += polls + in_tens + (events if shape.by == "sns" else 0)
    if shape.by == "sns":
        units |= {"sns_requests": events, "api_requests": 0}
    return Count(system.name, shape.name, events, len(handed_over), units, reading)


class _Driver:
    """Callers, and Lambda's poller, for one system and shape."""

    def __init__(self, stage: Stage, system: System, shape: Shape) -> None:
        self._stage = stage
        self._system = system
        self._shape = shape
        self._run = f"{time.time():.0f}-{system.name}-{shape.name}"
        self._next = 0
        self.posts = 0
        self.polls_again = 0

    def warm_up(self) -> None:
        """Let both functions have an environment, with everything cached."""
        for _ in range(_WARM_UPS):
            self._post(1)
            self._hand_over(self._take(1))
        self._run, self._next = f"{self._run}-counted", 0
        self.posts = self.polls_again = 0

    def trickle(self, events: int, made: Batches) -> None:
        """Post what a batch is of, and hand it over, batch by batch."""
        waiting = 0
        for size in made.sizes:
            began = time.monotonic()
            while waiting < size:
                waiting += self._post(min(self._shape.size, events - self._next))
            self._hand_over(self._take(size))
            waiting -= size
            time.sleep(max(began + size / EVENTS_A_SECOND - time.monotonic(), 0))
        while kept := self._stage.waiting(self._system):
            self.polls_again += 1
            self._hand_over(self._take(min(kept, SQS_BATCH)))

    def burst(self, events: int) -> None:
        """Post all, and let the emulator's own mapping take it: two environments for ours."""
        while self._next < events:
            self._post(min(self._shape.size, events - self._next))
        is_ours = self._system.name == OURS
        self._stage.poll(self._system, workers=2 if is_ours else 5)
        while self._stage.waiting(self._system):
            time.sleep(0.2)
        self._stage.poll(self._system, workers=None)

    def _post(self, size: int) -> int:
        contents = [self._event() for _ in range(size)]
        if self._shape.by == "sns":
            arn = self._system.topic_arn or ""
            for content in contents:
                self._stage.sns.publish(TopicArn=arn, Message=json.dumps(content))
        else:
            answer = self._system.api.post(contents if self._shape.size > 1 else contents[0])
            if answer.status != 202:
                raise RuntimeError(f"{self._system.name} answered {answer.status}: {answer.body}")
        self.posts += 1
        return size

    def _event(self) -> dict[str, Any]:
        self._next += 1
        name = f"{self._run}-{self._next}"
        return event("short", self._next) | CLEAN | {"order_id": name, "idempotency_key": name}

    def _take(self, size: int) -> list[dict[str, Any]]:
        """Receive so many messages; how many polls that took is the model's business."""
        taken: list[Any] = []
        until = time.monotonic() + 120
        while len(taken) < size:
            answer = self._stage.sqs.receive_message(
                QueueUrl=self._system.queue_url,
                MaxNumberOfMessages=min(size - len(taken), SQS_BATCH),
                WaitTimeSeconds=1,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            taken += answer.get("Messages", [])
            if time.monotonic() > until:
                raise RuntimeError(f"{self._system.name}: {len(taken)} of {size} messages came")
        return taken

    def _hand_over(self, messages: Sequence[dict[str, Any]]) -> None:
        arn = next(iter(self._system.mappings))
        records = [
            {
                "messageId": it["MessageId"],
                "receiptHandle": it["ReceiptHandle"],
                "body": it["Body"],
                "attributes": it["Attributes"],
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": "us-east-1",
            }
            for it in messages
        ]
        answer = self._stage.invoke(self._system.deliver, {"Records": records}) or {}
        kept = {it["itemIdentifier"] for it in answer.get("batchItemFailures", ())}
        gone = [it for it in messages if it["MessageId"] not in kept]
        if gone and "errorMessage" not in answer:
            for start in range(0, len(gone), SQS_BATCH):
                self._stage.sqs.delete_message_batch(
                    QueueUrl=self._system.queue_url,
                    Entries=[
                        {"Id": str(place), "ReceiptHandle": it["ReceiptHandle"]}
                        for place, it in enumerate(gone[start : start + SQS_BATCH])
                    ],
                )


# --- Counting ---------------------------------------------------------------------------------


def _units_of(stage: Stage, system: System, reading: Reading, posts: int) -> dict[str, float]:
    """Return the units of what the functions did, without those of the queue's poller."""
    calls, runs = reading.calls, reading.invocations
    dynamodb = [it for it in calls if it.service == "dynamodb"]
    platform = {name: _platform_bytes(stage, name) for name in system.functions}
    return {
        "api_requests": posts,
        "invocations": len(runs),
        "gb_seconds": sum(billed(it, system.memory[it.function]) for it in runs),
        "sqs_requests": sum(it.sqs_requests for it in calls),
        "writes": sum(it.units for it in dynamodb if not it.is_read),
        "reads": sum(it.units for it in dynamodb if it.is_read),
        "log_bytes": sum(
            it.log_bytes + LOG_EVENT_BYTES * it.log_lines + platform[it.function] for it in runs
        )
        + posts * (_access_log_bytes(stage.bench.template) if system.name == OURS else 0),
    }


def billed(run: Invocation, megabytes: int) -> float:
    """Return the GB seconds that Lambda bills for an invocation."""
    share = min(share_of(megabytes), 1.0)
    return billed_gb_seconds(run.ms + run.cpu_ms * (1 / share - 1), megabytes)


def billed_gb_seconds(ms: float, megabytes: int) -> float:
    """Return what Lambda bills: whole milliseconds, times the memory."""
    return math.ceil(ms) / 1000 * megabytes / 1024


def _stored(stage: Stage, system: System, events: int) -> float:
    """Return the GB months of the ledger's items of so many events."""
    if not system.table:
        return 0.0
    pages = stage.dynamodb.get_paginator("scan").paginate(TableName=system.table)
    sizes = [_size_of(item) for page in pages for item in page["Items"]]
    mean = sum(sizes) / len(sizes) + _ITEM_OVERHEAD if sizes else 0.0
    return events * mean * _LEDGER_DAYS[system.name] / 30 / prices.GIGABYTE


def _size_of(item: Mapping[str, Any]) -> int:
    """Return about what DynamoDB counts: names, and values as text."""
    return sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())


def _platform_bytes(stage: Stage, function: str) -> int:
    """Return what Lambda itself logs of an invocation."""
    configuration = stage.functions.get_function_configuration(FunctionName=function)
    logging = configuration.get("LoggingConfig", {})
    if logging.get("LogFormat") != "JSON":
        lines: tuple[int, ...] = _TEXT_LINES
    elif logging.get("SystemLogLevel", "INFO") == "WARN":
        return 0
    else:
        lines = _JSON_LINES
    return sum(lines) + LOG_EVENT_BYTES * len(lines)


def _access_log_bytes(template: Path) -> int:
    """Return what the API logs of a request, with values as long as they are as a rule."""
    stage = cloudformation.read(template)["Resources"]["ApiStage"]["Properties"]
    text: str = stage.get("AccessLogSettings", {}).get("Format", "")
    for name, example in _EXAMPLES.items():
        text = text.replace(f"$context.{name}", example)
    return len(text) + LOG_EVENT_BYTES if text else 0


_EXAMPLES = {
    "requestId": "JKJaXmPLvHcESHA=",
    "routeKey": "POST /v1/events",
    "status": "202",
    "responseLatency": "23",
    "error.message": "-",
    "integrationErrorMessage": "-",
}


# --- Tables -----------------------------------------------------------------------------------


def _units_table(counts: Sequence[Count]) -> Table:
    def calls(count: Count, service: str) -> float:
        return sum(it.service == service for it in count.reading.calls) / count.events

    def ms(count: Count, function: str, what: Callable[[Invocation], float]) -> float:
        runs = [it for it in count.reading.invocations if function in it.function.lower()]
        return sum(map(what, runs)) / count.events

    return Table(
        "Cost: units an event",
        ("shape", "system", "events", "batches", "invocations", "ingest, ms", "deliver, ms")
        + (
            "ingest, CPU ms",
            "deliver, CPU ms",
            "GB s",
            "SQS requests",
            "DynamoDB calls",
            "write units",
        )
        + ("read units", "log bytes"),
        tuple(
            (
                count.shape,
                count.system,
                count.events,
                count.batches,
                count.units["invocations"] / count.events,
                ms(count, "ingest", lambda it: it.ms),
                ms(count, "deliver", lambda it: it.ms),
                ms(count, "ingest", lambda it: it.cpu_ms),
                ms(count, "deliver", lambda it: it.cpu_ms),
                count.units["gb_seconds"] / count.events,
                count.units["sqs_requests"] / count.events,
                calls(count, "dynamodb"),
                count.units["writes"] / count.events,
                count.units["reads"] / count.events,
                count.units["log_bytes"] / count.events,
            )
            for count in counts
        ),
        "ms are of the handler here; GB s as Lambda bills them for the memory that each has.",
    )


COMPONENTS = (
    "API Gateway",
    "SNS",
    "EventBridge",
    "API destination",
    "Lambda requests",
    "Lambda time",
) + ("SQS", "DynamoDB", "DynamoDB storage", "Logs")


def _rows_of_dollars(counts: Sequence[Count]) -> list[tuple[str, dict[str, float]]]:
    rows = [(f"{count.shape}, {count.system}", count.dollars) for count in counts]
    destination = prices.dollars(prices.a_million(DESTINATION, 1))
    return [*rows, ("API destination", destination)]


def _dollars_table(counts: Sequence[Count], rules: Rules) -> Table:
    return Table(
        "Cost: dollars a million events",
        ("events and system", "in all", *COMPONENTS),
        tuple(
            (name, sum(row.values()), *[row.get(component, 0.0) for component in COMPONENTS])
            for name, row in _rows_of_dollars(counts)
        ),
        f"List prices of {prices.REGION}, {prices.PRICED_ON}. Ours: batches of up to"
        f" {rules.batch_size}, a window of {rules.window:g} s.",
    )


def _plot(counts: Sequence[Count]) -> svg.Bars:
    rows = _rows_of_dollars(counts)
    return svg.Bars(
        "Cost of a million events",
        "dollars, list prices",
        [name for name, _ in rows],
        COMPONENTS,
        [[row.get(component, 0.0) for component in COMPONENTS] for _, row in rows],
        is_stacked=True,
    )
