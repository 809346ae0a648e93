"""Sending, hiding and parking on SQS, and what SQS refuses."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from cometly_forwarder.aws import SQS_BATCH as BATCH
from cometly_forwarder.deliver.queue import SqsQueue
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.ingest.queue import BATCH_BYTES, SqsEventQueue, chunks
from tests.unit.conftest import Aws
from tests.unit.fakes import Lines

URL, DEAD = "https://sqs.example.com/1/events", "https://sqs.example.com/1/dead"


@dataclass
class FakeSqs:
    """Records the calls; refuses the bodies in `refuses`, breaks down on those in `breaks`."""

    refuses: frozenset[str] = frozenset()
    breaks: frozenset[str] = frozenset()
    batches: list[list[str]] = field(default_factory=list)
    hidden: list[dict[str, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        assert QueueUrl == URL
        assert len(Entries) <= BATCH
        bodies = [entry["MessageBody"] for entry in Entries]
        with self._lock:
            self.batches.append(bodies)
        if self.breaks & set(bodies):
            raise EndpointConnectionError(endpoint_url=URL)
        refused = [entry["Id"] for entry in Entries if entry["MessageBody"] in self.refuses]
        taken = [entry["Id"] for entry in Entries if entry["MessageBody"] not in self.refuses]
        answer = {
            "Successful": [{"Id": id_, "MessageId": "m", "MD5OfMessageBody": "x"} for id_ in taken],
            "Failed": [
                {"Id": id_, "SenderFault": False, "Code": "InternalError"} for id_ in refused
            ],
        }
        return {name: entries for name, entries in answer.items() if entries}

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        assert QueueUrl == URL
        assert len({entry["Id"] for entry in Entries}) == len(Entries) <= BATCH
        self.hidden.append({e["ReceiptHandle"]: e["VisibilityTimeout"] for e in Entries})
        return {}


def an_event_queue(sqs: object, journal: Lines | None = None) -> SqsEventQueue:
    return SqsEventQueue(sqs, URL, journal or Lines(), time.monotonic)  # type: ignore[arg-type]


def a_queue(sqs: object, journal: Lines | None = None) -> SqsQueue:
    return SqsQueue(sqs, URL, DEAD, journal or Lines())  # type: ignore[arg-type]


def queue_of(stack: Aws) -> SqsQueue:
    return SqsQueue(stack.sqs, stack.queue_url, stack.dead_letter_url, Lines())


@pytest.fixture
def stubber() -> Stubber:
    client = boto3.client(
        "sqs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    stubber = Stubber(client)
    stubber.activate()
    return stubber


# --- Sending ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 25])
def test_every_body_arrives_on_the_queue(count: int, aws_stack: Aws) -> None:
    bodies = [f"body {number}" for number in range(count)]

    refused = SqsEventQueue(aws_stack.sqs, aws_stack.queue_url, Lines(), time.monotonic).send(
        bodies
    )

    assert refused == frozenset()
    assert sorted(message["Body"] for message in aws_stack.queued()) == sorted(bodies)


def test_a_batch_stays_within_what_sqs_takes() -> None:
    sqs = FakeSqs()
    large = "x" * (BATCH_BYTES // 2)

    an_event_queue(sqs).send([large, large, "x", large])

    assert sorted(sum(map(len, batch)) for batch in sqs.batches) == [len(large) + 1, BATCH_BYTES]


def test_what_sqs_refuses_is_told_by_its_position() -> None:
    bodies = [f"body {number}" for number in range(25)]

    refused = an_event_queue(FakeSqs(refuses=frozenset({"body 3", "body 24"}))).send(bodies)

    assert refused == {3, 24}


def test_a_batch_that_fails_is_refused_and_the_others_are_not() -> None:
    bodies = [f"body {number}" for number in range(25)]

    refused = an_event_queue(FakeSqs(breaks=frozenset({"body 13"}))).send(bodies)

    assert refused == set(range(10, 20))


def test_an_error_of_sqs_refuses_the_batch(stubber: Stubber) -> None:
    stubber.add_client_error("send_message_batch", "AccessDenied")

    assert an_event_queue(stubber.client).send(["a", "b"]) == {0, 1}


def test_what_sqs_says_nothing_about_is_not_taken_for_sent(stubber: Stubber) -> None:
    taken = {"Id": "1", "MessageId": "m", "MD5OfMessageBody": "x"}
    stubber.add_response("send_message_batch", {"Successful": [taken], "Failed": []})

    assert an_event_queue(stubber.client).send(["a", "b", "c"]) == {0, 2}


def test_the_log_of_a_failure_holds_its_reason_and_no_body() -> None:
    journal = Lines()
    sqs = FakeSqs(breaks=frozenset({"grace@example.com"}))

    an_event_queue(sqs, journal).send(["grace@example.com"])

    (line,) = journal.lines
    assert (line["name"], line["reason"]) == ("queue.unavailable", "EndpointConnectionError")
    assert "grace" not in str(line)


def test_batches_that_fail_together_leave_one_line() -> None:
    bodies = [str(number) for number in range(3 * BATCH)]
    sqs, journal = FakeSqs(breaks=frozenset({bodies[0], bodies[-1]})), Lines()

    refused = an_event_queue(sqs, journal).send(bodies)

    [line] = journal.lines
    assert (line["name"], line["batches"]) == ("queue.unavailable", 2)
    assert len(refused) == 2 * BATCH


# --- Cutting into batches ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1], [range(1)], id="one"),
        pytest.param([1, 1, 1], [range(3)], id="as many as fit"),
        pytest.param([1, 1, 1, 1], [range(3), range(3, 4)], id="one too many"),
        pytest.param([6, 4], [range(2)], id="as heavy as fits"),
        pytest.param([6, 5], [range(1), range(1, 2)], id="too heavy together"),
        pytest.param([99, 1], [range(1), range(1, 2)], id="too heavy alone goes alone"),
        pytest.param([1, 99, 1], [range(1), range(1, 2), range(2, 3)], id="in the middle"),
    ],
)
def test_positions_are_cut_into_runs(sizes: list[int], runs: list[range]) -> None:
    assert list(chunks(sizes, most=3, most_bytes=10)) == runs


@given(sizes=st.lists(st.integers(0, 30)), most=st.integers(1, 5), most_bytes=st.integers(1, 40))
def test_runs_are_whole_and_within_bounds(sizes: list[int], most: int, most_bytes: int) -> None:
    runs = list(chunks(sizes, most=most, most_bytes=most_bytes))

    assert [position for run in runs for position in run] == list(range(len(sizes)))
    for run in runs:
        assert 1 <= len(run) <= most
        assert len(run) == 1 or sum(sizes[position] for position in run) <= most_bytes


# --- Handing back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "hidden"),
    [
        pytest.param(90.0, 90, id="as asked"),
        pytest.param(0.2, 1, id="never less than asked"),
        pytest.param(0.0, 0, id="at once"),
        pytest.param(-5.0, 0, id="never negative"),
        pytest.param(1e9, 43_200, id="twelve hours at the most"),
    ],
)
def test_a_message_is_hidden_for_so_many_seconds(seconds: float, hidden: int) -> None:
    sqs = FakeSqs()

    a_queue(sqs).release({"receipt": seconds})

    assert sqs.hidden == [{"receipt": hidden}]


def test_more_than_ten_messages_are_hidden_in_several_calls() -> None:
    sqs = FakeSqs()

    a_queue(sqs).release({f"receipt {number}": float(number) for number in range(25)})

    assert [len(call) for call in sqs.hidden] == [10, 10, 5]
    assert {k: v for call in sqs.hidden for k, v in call.items()} == {
        f"receipt {number}": number for number in range(25)
    }


def test_a_message_that_cannot_be_hidden_is_left_to_the_queue(stubber: Stubber) -> None:
    journal = Lines()
    refused = {"Id": "1", "SenderFault": True, "Code": "MessageNotInflight"}
    stubber.add_response(
        "change_message_visibility_batch",
        {"Successful": [{"Id": "0"}, {"Id": "2"}], "Failed": [refused]},
    )
    stubber.add_client_error("change_message_visibility_batch", "ServiceUnavailable")

    for _ in range(2):
        a_queue(stubber.client, journal).release({"a": 5.0, "b": 5.0, "c": 5.0})

    assert [line["name"] for line in journal.lines] == ["queue.visibility_unchanged"] * 2
    assert [line["reason"] for line in journal.lines] == ["MessageNotInflight", "ClientError"]


@pytest.mark.parametrize(
    ("failure", "calls"),
    [
        pytest.param(ReadTimeoutError(endpoint_url="https://sqs.example.com"), 1, id="no answer"),
        pytest.param(ClientError({}, "ChangeMessageVisibilityBatch"), 3, id="an error"),
    ],
)
def test_a_batch_waits_no_more_than_once_for_a_queue_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, calls: int
) -> None:
    journal, sqs = Lines(), FakeSqs()

    def failing(**_: object) -> None:
        raise failure

    monkeypatch.setattr(sqs, "change_message_visibility_batch", failing)

    a_queue(sqs, journal).release({f"receipt {number}": 1.0 for number in range(25)})

    assert journal.names() == ["queue.visibility_unchanged"] * calls


def test_a_hidden_message_is_not_received_meanwhile(aws_stack: Aws) -> None:
    aws_stack.sqs.send_message(QueueUrl=aws_stack.queue_url, MessageBody="x")
    (message,) = aws_stack.sqs.receive_message(QueueUrl=aws_stack.queue_url, VisibilityTimeout=0)[
        "Messages"
    ]
    queue = queue_of(aws_stack)

    queue.release({message["ReceiptHandle"]: 600})

    assert aws_stack.queued() == []


# --- Parking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["events", "pages"])
def test_a_parked_message_keeps_its_body_and_says_why_and_whence(aws_stack: Aws, name: str) -> None:
    body = json.dumps({"event": {"email": "grace@example.com"}})

    replace(queue_of(aws_stack), name=name).park(body, {"reason": "HTTP 422", "event_id": "evt_1"})

    (parked,) = aws_stack.queued(aws_stack.dead_letter_url)
    attributes = parked["MessageAttributes"]
    assert parked["Body"] == body
    assert {name: value["StringValue"] for name, value in attributes.items()} == {
        "reason": "HTTP 422",
        "event_id": "evt_1",
        "queue": name,
    }


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param("Zoë 😀\t\n", "Zoë 😀\t\n", id="what XML can carry"),
        pytest.param("a\x00b\x0bc\x1f", "a?b?c?", id="control characters"),
        pytest.param("a\ud800b\ufffe\uffff", "a?b??", id="no characters"),
        pytest.param("", "?", id="empty, which SQS refuses"),
        pytest.param("x" * 5_000, "x" * 2_000, id="too long"),
    ],
)
def test_a_reason_is_made_fit_for_an_attribute(value: str, sent: str, stubber: Stubber) -> None:
    stubber.add_response(
        "send_message",
        {"MessageId": "m"},
        {
            "QueueUrl": DEAD,
            "MessageBody": "{}",
            "MessageAttributes": {
                "reason": {"DataType": "String", "StringValue": sent},
                "queue": {"DataType": "String", "StringValue": "events"},
            },
        },
    )

    a_queue(stubber.client).park("{}", {"reason": value})

    stubber.assert_no_pending_responses()


def test_a_dead_letter_queue_that_refuses_is_unavailable(stubber: Stubber) -> None:
    stubber.add_client_error("send_message", "AccessDenied", "grace@example.com is not allowed")

    with pytest.raises(Unavailable) as failure:
        a_queue(stubber.client).park("{}", {"reason": "HTTP 422"})

    assert "grace" not in str(failure.value)
    assert isinstance(failure.value.__cause__, ClientError)
