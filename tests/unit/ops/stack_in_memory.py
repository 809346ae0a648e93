"""A stack whose queues, table and secrets are moto's, and whose other services are written here.

It takes for granted that CloudWatch Logs filters by `$.event_id` and `$.message` alone, that a
mapping changes at once, and that CloudWatch knows what a test says it knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import boto3
from botocore.exceptions import ClientError

from ops.target import Clients, Target

REGION = "eu-central-1"
TOKEN, KEY = "the-token-of-a-space", "the-key-of-the-shop"


@dataclass
class Pages:
    """A paginator that has its pages already."""

    pages: list[dict[str, Any]]

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return self.pages


@dataclass
class FakeFunctions:
    """Lambda: mappings, and the functions' runtime."""

    mappings: list[dict[str, Any]] = field(default_factory=list)
    runtime: str = "python3.13"

    def get_paginator(self, _: str) -> Pages:
        return Pages([{"EventSourceMappings": self.mappings}])

    def update_event_source_mapping(self, **given: Any) -> None:
        [mapping] = [it for it in self.mappings if it["UUID"] == given["UUID"]]
        mapping["State"] = "Enabled" if given["Enabled"] else "Disabled"

    def get_function_configuration(self, **_: Any) -> dict[str, Any]:
        return {"Runtime": self.runtime}

    def states(self) -> list[str]:
        return [it["State"] for it in self.mappings]


@dataclass
class FakeLogs:
    """CloudWatch Logs: the lines of each function."""

    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def write(self, function: str, at: float, message: str, **fields: Any) -> None:
        text = json.dumps({"message": message, "service": "shop", **fields})
        entries = self.entries.setdefault(f"/aws/lambda/shop-{function}", [])
        entry_id = f"{function}-{len(entries)}"
        entries.append({"eventId": entry_id, "timestamp": int(at * 1000), "message": text})

    def get_paginator(self, _: str) -> FakeLogs:
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(asked)
        if asked["logGroupName"] not in self.entries:
            error = {"Error": {"Code": "ResourceNotFoundException", "Message": "no group"}}
            raise ClientError(cast("Any", error), "FilterLogEvents")
        pattern = asked.get("filterPattern", "")
        wanted = re.search(r'\$\.(\w+) = "([^"]*)"', pattern)
        for entry in self.entries[asked["logGroupName"]]:
            text = entry["message"]
            fields = json.loads(text) if text.startswith("{") else {}
            is_wanted = fields.get(wanted[1]) == wanted[2] if wanted else pattern.strip('"') in text
            end = asked.get("endTime", entry["timestamp"])
            if is_wanted and asked["startTime"] <= entry["timestamp"] <= end:
                yield {"events": [entry]}


@dataclass
class FakeWatch:
    """CloudWatch: one age, what deliver measured and when, alarms, and sums by metric."""

    age: float | None = None
    waited: list[tuple[float, float]] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)

    def get_metric_statistics(self, **asked: Any) -> dict[str, Any]:
        if asked["MetricName"] == "Waited":
            measured = [(datetime.fromtimestamp(at, UTC), value) for at, value in self.waited]
            return {"Datapoints": [{"Timestamp": at, "Maximum": it} for at, it in measured]}
        points = [] if self.age is None else [{"Timestamp": 1, "Maximum": self.age}]
        return {"Datapoints": points}

    def get_paginator(self, name: str) -> FakeWatch | Pages:
        return self if name == "get_metric_data" else Pages([{"MetricAlarms": self.alarms}])

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        results = [
            {"Id": it["Id"], "Values": [self.sums.get(it["MetricStat"]["Metric"]["MetricName"], 0)]}
            for it in asked["MetricDataQueries"]
        ]
        return [{"MetricDataResults": results}]


@dataclass
class FakeFormation:
    """CloudFormation: the template that was deployed, and a clock."""

    template: str = "Resources: {}"
    date: str = "Fri, 15 Jan 2027 08:00:00 GMT"

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        return {"ResponseMetadata": {"HTTPHeaders": {"date": self.date}}}

    def get_template(self, **_: Any) -> dict[str, Any]:
        return {"TemplateBody": self.template}


@dataclass
class FakeTopics:
    """SNS: who has subscribed."""

    subscriptions: list[dict[str, str]] = field(default_factory=list)

    def get_paginator(self, _: str) -> Pages:
        return Pages([{"Subscriptions": self.subscriptions}])


@dataclass
class StackInMemory:
    """All of it."""

    target: Target
    sqs: Any
    dynamodb: Any
    secrets: Any
    functions: FakeFunctions
    logs: FakeLogs
    watch: FakeWatch
    formation: FakeFormation
    topics: FakeTopics

    @classmethod
    def make(cls) -> StackInMemory:
        """Make one, within `mock_aws`: with a token and a key, and without a page queue."""

        def client(name: Any) -> Any:
            return boto3.client(name, region_name=REGION)

        sqs, dynamodb, secrets = client("sqs"), client("dynamodb"), client("secretsmanager")
        events, parked = (sqs.create_queue(QueueName=it)["QueueUrl"] for it in ("events", "parked"))
        dynamodb.create_table(
            TableName="table",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
        )
        keys = json.dumps({"current": KEY, "previous": "an-older-key"})
        for name, value in (("keys", keys), ("token", TOKEN)):
            secrets.create_secret(Name=name, SecretString=value)
        functions, logs, watch = FakeFunctions(), FakeLogs(), FakeWatch()
        formation, topics = FakeFormation(), FakeTopics()
        target = Target(
            clients=Clients(
                cloudformation=cast("Any", formation),
                cloudwatch=watch,
                dynamodb=dynamodb,
                events=cast("Any", None),
                functions=cast("Any", functions),
                logs=cast("Any", logs),
                secrets=secrets,
                sns=cast("Any", topics),
                sqs=sqs,
            ),
            name="shop",
            status="CREATE_COMPLETE",
            api_url="https://api.example.com",
            outputs={
                "EventQueueUrl": events,
                "DeadLetterQueueUrl": parked,
                "TableName": "table",
                "ServerKeySecretArn": "keys",
                "CometlyTokenSecretArn": "token",
                "IngestFunctionName": "shop-ingest",
                "DeliverFunctionName": "shop-deliver",
            },
            parameters={
                "CometlyRequestsPerMinute": "500",
                "DeliveryHorizonHours": "72",
                "CometlyUrl": "https://cometly.example.com",
            },
        )
        arn = target.queue_arn(events)
        functions.mappings.append({"UUID": "1", "EventSourceArn": arn, "State": "Enabled"})
        return cls(target, sqs, dynamodb, secrets, functions, logs, watch, formation, topics)

    def secret(self, name: str) -> str:
        return str(self.secrets.get_secret_value(SecretId=name)["SecretString"])

    def park(self, reason: str | None) -> None:
        """Put a message on the dead-letter queue, as deliver does, or as SQS itself does."""
        attribute = {"DataType": "String", "StringValue": reason}
        self.sqs.send_message(
            QueueUrl=self.target.outputs["DeadLetterQueueUrl"],
            MessageBody="{}",
            MessageAttributes={"reason": attribute} if reason else {},
        )

    def put(self, event_id: str, **attributes: Any) -> None:
        """Put an item into the table."""
        self.dynamodb.put_item(TableName="table", Item={"event_id": {"S": event_id}, **attributes})
