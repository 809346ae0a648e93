"""What a forwarder of this machine knows of an event: its ledger, its log, its dead letters.

For the page of the sandbox, which runs beside that forwarder. Nothing here changes anything, save
that a look at the dead letters hides them for a moment.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.sandbox.errors import ForwarderAway

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cometly_forwarder.event.envelope import Source, read_envelope
from cometly_forwarder.gate.table import KEY as GATE
from cometly_forwarder.journal import each_outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# The end of the log: some 30,000 lines.
LOG_BYTES = 8 * 1024 * 1024
PARKED_SHOWN = 50
_HIDDEN_S = 5
_BATCH = 10
_NUMBERS = ("attempts", "claims", "deaths", "blocks", "blocked_at", "retry_at", "lease")
_TEXTS = ("state", "answer", "request_id", "accepted_at")
# Keys of a log line that say the same in every line.
_SAME = frozenset({"level", "message", "timestamp", "service", "event_id"})
_IMPATIENT = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class LocalForwarder:
    """The forwarder that a stack file describes; the stack may come later, and again."""

    stack_file: Path

    def state(self) -> dict[str, Any]:
        """Count what waits, is in flight and is parked; say why delivery is paused."""
        with self._stack() as stack:
            queues = [stack.count(url) for url in stack.sources]
            parked = stack.count(stack.names["dead_letter_queue_url"])
            return {
                "waiting": sum(it["waiting"] for it in queues),
                "in_flight": sum(it["in_flight"] for it in queues),
                "parked": sum(parked.values()),
                **stack.pauses(),
            }

    def parked(self) -> list[dict[str, Any]]:
        """Return parked events, 50 at most: what was sent, and why it is there."""
        with self._stack() as stack:
            return [_parked(it) for it in stack.dead_letters()]

    def story(self, request_id: str, fields: Mapping[str, object]) -> dict[str, Any]:
        """Return the event's id, its item in the ledger, and its log lines, oldest first.

        The line that names the request knows the id for sure. An answer that never came leaves no
        such line: then the fields tell, by the forwarder's own rules.
        """
        with self._stack() as stack:
            log = tail(Path(stack.names["log"]))
            named = {str(it["event_id"]) for it in outcomes(log, request_id)}
            for event_id in (*named, *ids_of(fields)):
                entry = stack.entry(event_id)
                told = [_told(it) for it in outcomes(log, event_id)]
                if entry or told:
                    return {"event_id": event_id, "ledger": entry, "lines": told}
        return {"event_id": None, "ledger": {}, "lines": []}

    @contextlib.contextmanager
    def _stack(self) -> Iterator[_Stack]:
        try:
            stack = _connected(self.stack_file.read_text("utf-8"))
        except (FileNotFoundError, ValueError) as exc:
            raise ForwarderAway("The forwarder is not ready yet.") from exc
        try:
            yield stack
        except (ClientError, BotoCoreError) as exc:
            raise ForwarderAway(f"The forwarder did not answer: {type(exc).__name__}.") from exc


@dataclass(frozen=True, slots=True)
class _Stack:
    """A running stack, and clients for it."""

    names: Mapping[str, Any]
    dynamodb: DynamoDBClient
    sqs: SQSClient

    @property
    def sources(self) -> list[str]:
        queues = (self.names["event_queue_url"], self.names.get("page_queue_url"))
        return [url for url in queues if url]

    def count(self, url: str) -> dict[str, int]:
        """Count a queue's messages; those that are put off wait as well."""
        counts = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        waiting = int(counts["ApproximateNumberOfMessages"])
        return {
            "waiting": waiting + int(counts.get("ApproximateNumberOfMessagesDelayed", 0)),
            "in_flight": int(counts.get("ApproximateNumberOfMessagesNotVisible", 0)),
        }

    def pauses(self) -> dict[str, Any]:
        """Return why the gate is closed for services and for pages, and until when."""
        try:
            state = json.loads(self._item(GATE)["state"]["S"])
            return {name: state.get(name) for name in ("pause", "pages_pause")}
        except (KeyError, ValueError):
            return {"pause": None, "pages_pause": None}

    def entry(self, event_id: str) -> dict[str, Any]:
        """Return an event's item, without what identifies its claim; empty where there is none."""
        item = self._item(event_id)
        texts = {name: item[name].get("S", "") for name in _TEXTS if name in item}
        return texts | {name: float(item[name].get("N", 0)) for name in _NUMBERS if name in item}

    def dead_letters(self) -> list[MessageTypeDef]:
        """Look at the dead letters and put them back at once."""
        url, found = self.names["dead_letter_queue_url"], list[Any]()
        while len(found) < PARKED_SHOWN:
            batch = self.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=_BATCH,
                VisibilityTimeout=_HIDDEN_S,
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            found += batch
            if not batch:
                break
        for message in found:
            with contextlib.suppress(ClientError):
                self.sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )
        return found

    def _item(self, event_id: str) -> Mapping[str, Any]:
        answer = self.dynamodb.get_item(
            TableName=self.names["table_name"],
            Key={"event_id": {"S": event_id}},
            ConsistentRead=True,
        )
        return answer.get("Item", {})


@functools.lru_cache(maxsize=1)
def _connected(text: str) -> _Stack:
    """Make the clients of a stack once: a page asks every few seconds."""
    names = json.loads(text)
    session = boto3.session.Session(
        aws_access_key_id=names["aws_access_key_id"],
        aws_secret_access_key=names["aws_secret_access_key"],
        region_name=names["region"],
    )
    endpoint = names["aws_endpoint_url"]
    return _Stack(
        names,
        session.client("dynamodb", endpoint_url=endpoint, config=_IMPATIENT),
        session.client("sqs", endpoint_url=endpoint, config=_IMPATIENT),
    )


def ids_of(fields: Mapping[str, object]) -> list[str]:
    """Return the event ids that fields as they were posted can have, the likeliest first.

    An event with no identity of its own carries its id as idempotency key.
    """
    key = fields.get("idempotency_key")
    source = Source("sandbox", "", datetime.now(UTC))
    sealed = read_envelope(json.dumps(dict(fields)), source).event_id
    return [key, sealed] if isinstance(key, str) and key.startswith("evt_") else [sealed]


def tail(log: Path) -> list[bytes]:
    """Return the lines at the end of a log, oldest first; the first may be cut."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - LOG_BYTES))
        return file.readlines()
    return []


def outcomes(lines: Iterable[bytes], named: str) -> Iterator[dict[str, Any]]:
    """Return the outcomes of an event or a request; what is no line of ours is left out.

    A busy log has thousands of lines, so only those that have the id in them are parsed.
    """
    needle = named.encode()
    for line in (_read(line) for line in lines if needle in line):
        for outcome in each_outcome(line):
            if named in {outcome.get("event_id"), outcome.get("request_id")}:
                yield outcome


def _read(line: bytes) -> dict[str, Any]:
    """Read a line of the log; empty for one that is not JSON, such as the platform's own."""
    with contextlib.suppress(ValueError):
        outcome = json.loads(line)
        return outcome if isinstance(outcome, dict) else {}
    return {}


def _told(line: Mapping[str, Any]) -> dict[str, Any]:
    keys = {name: value for name, value in line.items() if name not in _SAME}
    return {"at": line.get("timestamp"), "name": line.get("message"), "keys": keys}


def _parked(message: MessageTypeDef) -> dict[str, Any]:
    """Return a parked event: its attributes, and its fields where the body is JSON."""
    given = message.get("MessageAttributes", {})
    attributes = {name: it.get("StringValue", "") for name, it in given.items()}
    fields: Any = {}
    with contextlib.suppress(ValueError, AttributeError):
        content = json.loads(message["Body"])
        fields = content.get("event", content)
    named = fields if isinstance(fields, dict) else {}
    shown = {name: named.get(name) for name in ("event_name", "order_id", "email")}
    return {"id": message["MessageId"], **shown, **attributes}
