"""The gate's item in DynamoDB, shared by several workers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from cometly_forwarder.errors import Unavailable
from cometly_forwarder.gate import KEY, DynamoGate, SharedClock
from cometly_forwarder.pacing import Cause
from cometly_forwarder.quota import Quota
from tests.unit.fakes import START, Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "ledger"


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
        )
        yield client


class StillClock(SharedClock):
    """A clock that hears nothing of moto's real dates."""

    def hear(self, date: str | None, asked_at: float) -> None:
        pass


def gate(client: DynamoDBClient, clock: Clock) -> DynamoGate:
    return DynamoGate(client, TABLE, 1000, StillClock(clock.now))


def item(client: DynamoDBClient) -> dict[str, Any]:
    return client.get_item(TableName=TABLE, Key={"event_id": {"S": KEY}})["Item"]


def test_two_workers_never_get_the_same_slot(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    one, other = gate(dynamodb, clock), gate(dynamodb, clock)

    slots = [
        slot
        for _ in range(5)
        for worker in (one, other)
        for slot in worker.admit(10, START + 60).slots
    ]

    assert len(set(slots)) == 100
    assert max(slots) - min(slots) > 99 * 0.03


def test_workers_that_all_know_an_old_state_get_slots_of_their_own(
    dynamodb: DynamoDBClient,
) -> None:
    clock = Clock()
    gates = [gate(dynamodb, clock) for _ in range(5)]

    slots = [slot for worker in gates for slot in worker.admit(10, START + 60).slots]

    assert len(set(slots)) == 50
    assert item(dynamodb)["version"]["N"] == "5"


def test_a_batch_costs_one_write_of_one_unit(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    worker = gate(dynamodb, clock)
    for _ in range(120):
        worker.admit(10, START + 1000)
        clock.sleep(0.6)

    before = int(item(dynamodb)["version"]["N"])
    worker.admit(10, START + 1000)

    stored = item(dynamodb)
    assert int(stored["version"]["N"]) == before + 1
    assert len(stored["state"]["S"]) + len(stored["sent"]["B"]) < 900


def test_a_pause_is_obeyed_by_the_other_worker(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    one, other = gate(dynamodb, clock), gate(dynamodb, clock)
    other.admit(10, START + 60)
    one.admit(10, START + 60)

    one.throttled(30)
    clock.sleep(0.3)

    assert not other.is_open()
    assert other.admit(10, START + 60).cause is Cause.THROTTLED


def test_a_worker_that_believes_in_an_old_pause_looks_again(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    one, other = gate(dynamodb, clock), gate(dynamodb, clock)
    one.blocked()
    assert other.admit(1, START + 60).slots == ()
    clock.sleep(60)
    assert one.admit(1, clock.now() + 60).probe
    one.succeeded(probe=True)

    assert len(other.admit(5, clock.now() + 60).slots) == 5


def test_a_closed_gate_is_read_and_not_written(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    worker = gate(dynamodb, clock)
    worker.throttled(30)
    before = item(dynamodb)["version"]["N"]

    for _ in range(5):
        worker.admit(10, START + 60)

    assert item(dynamodb)["version"]["N"] == before


def test_headers_reach_the_next_admission(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    worker = gate(dynamodb, clock)
    [first, *_] = worker.admit(10, START + 60).slots
    worker.note(Quota(300, 299, first))

    worker.admit(10, START + 60)
    [early, late] = worker.admit(2, START + 60).slots

    assert late - early == pytest.approx(0.5 * 60.4 / 300, rel=0.01)


def test_the_state_survives_its_worker(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    first = gate(dynamodb, clock)
    first.admit(10, START + 60)
    first.blocked()

    heir = gate(dynamodb, clock)

    assert not heir.is_open()
    assert heir.wait() == pytest.approx(60)


@pytest.mark.parametrize(
    "state",
    ['{"base": 1, "ideal": 0.0, "pause": null}', '{"pause": {"cause": "tired"}}', "[]", "not JSON"],
    ids=["an older version's", "an unknown pause", "no object", "no JSON"],
)
def test_a_state_that_cannot_be_read_is_begun_anew(dynamodb: DynamoDBClient, state: str) -> None:
    gate(dynamodb, Clock()).admit(1, START + 60)
    dynamodb.update_item(
        TableName=TABLE,
        Key={"event_id": {"S": KEY}},
        UpdateExpression="SET #state = :state, version = :version",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":state": {"S": state}, ":version": {"N": "7"}},
    )

    slots = gate(dynamodb, Clock()).admit(3, START + 60).slots

    assert len(slots) == 3
    assert item(dynamodb)["version"]["N"] == "8"


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "InternalServerError", "AccessDenied"]
)
def test_a_table_that_does_not_answer_is_unavailable(dynamodb: DynamoDBClient, code: str) -> None:
    worker = gate(dynamodb, Clock())

    with Stubber(dynamodb) as stub:
        stub.add_client_error("update_item", code)
        with pytest.raises(Unavailable, match="gate"):
            worker.admit(1, START + 60)
    assert len(worker.admit(1, START + 60).slots) == 1


def test_a_gate_that_changes_at_every_try_is_unavailable_rather_than_endless(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = gate(dynamodb, Clock())

    def lost(**_: object) -> None:
        raise dynamodb.exceptions.ConditionalCheckFailedException(
            {"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem"
        )

    monkeypatch.setattr(dynamodb, "update_item", lost)

    with pytest.raises(Unavailable, match="contended"):
        worker.admit(1, START + 60)


def _date(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(moment), UTC), usegmt=True)


@pytest.mark.parametrize("skew", [-2.0, -0.9, 0.0, 1.3, 2.0])
def test_a_clock_that_is_off_is_corrected_by_dynamodbs(skew: float) -> None:
    local = Clock(START + skew)
    shared = SharedClock(local.now)

    for _ in range(40):
        asked = local.now()
        local.sleep(0.005)
        shared.hear(_date(local.now() - skew), asked)
        local.sleep(0.337)

    assert shared.now() == pytest.approx(local.now() - skew, abs=0.05 if skew else 1e-9)


def test_a_clock_without_dates_to_hear_is_left_alone() -> None:
    shared = SharedClock(Clock().now)

    shared.hear(None, START)
    shared.hear("yesterday", START)

    assert shared.now() == START


def test_slots_are_told_by_the_workers_own_clock(dynamodb: DynamoDBClient) -> None:
    right, fast = Clock(), Clock(START + 2)
    one = gate(dynamodb, right)
    other = DynamoGate(dynamodb, TABLE, 1000, StillClock(fast.now, most=-2.0))

    slots = one.admit(10, START + 60).slots
    theirs = other.admit(10, START + 62).slots

    assert theirs[0] - 2 > slots[-1]
    assert theirs[0] - 2 < slots[-1] + 0.1


def test_errors_of_botocore_do_not_leak(dynamodb: DynamoDBClient) -> None:
    with Stubber(dynamodb) as stub:
        stub.add_client_error("get_item", "ThrottlingException")
        with pytest.raises(Unavailable) as caught:
            gate(dynamodb, Clock()).is_open()

    assert isinstance(caught.value.__cause__, ClientError)
