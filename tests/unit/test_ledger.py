"""The ledger's conditional writes, against DynamoDB's rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from cometly_forwarder.deliver.claims import (
    Claim,
    Claimed,
    ClaimResult,
    Duplicate,
    Leased,
    Outcome,
    Settled,
    State,
    Waiting,
)
from cometly_forwarder.deliver.ledger import RETENTION_SECONDS, DynamoLedger
from cometly_forwarder.deliver.verdict import Kind, Verdict
from cometly_forwarder.errors import Unavailable
from tests.unit.fakes import START, Clock, MemoryLedger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CLAIM = Claim(
    "evt_1", "body-1", "content-1", "message-1", START + 65, datetime.fromtimestamp(START, UTC)
)
OTHER = replace(CLAIM, owner="body-2", content="content-2", message_id="message-2")
TWIN = replace(OTHER, content="content-1")
REDRIVEN = replace(CLAIM, message_id="message-3")
REFUSAL = Verdict(Kind.PERMANENT, "HTTP 422", 422, "ada@example.com is odd", "req-1")


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
        )
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(dynamodb: DynamoDBClient, clock: Clock) -> DynamoLedger:
    return DynamoLedger(dynamodb, "ledger", clock.now)


def item(ledger: DynamoLedger) -> dict[str, Any]:
    return ledger.client.get_item(TableName="ledger", Key={"event_id": {"S": "evt_1"}})["Item"]


def test_a_new_identity_is_claimed(ledger: DynamoLedger) -> None:
    assert ledger.claim(CLAIM) == Claimed(claims=1, attempts=0)


@pytest.mark.parametrize("other", [CLAIM, REDRIVEN, OTHER], ids=["copy", "redriven", "another"])
def test_who_comes_while_a_claim_is_in_progress_waits_for_its_outcome(
    ledger: DynamoLedger, clock: Clock, other: Claim
) -> None:
    ledger.claim(CLAIM)
    clock.time = CLAIM.lease

    assert ledger.claim(other) == Leased(CLAIM.lease, is_same=other is CLAIM)


def test_the_same_message_claims_again_when_its_lease_is_over(
    ledger: DynamoLedger, clock: Clock
) -> None:
    ledger.claim(CLAIM)
    clock.time = CLAIM.lease + 0.001

    assert ledger.claim(replace(CLAIM, lease=CLAIM.lease + 65)) == Claimed(claims=2, attempts=0)


def test_claims_without_an_outcome_add_up_and_an_outcome_forgives_them(
    ledger: DynamoLedger, clock: Clock
) -> None:
    claim = CLAIM
    for _ in range(3):
        ledger.claim(claim)
        clock.time = claim.lease + 1
        claim = replace(claim, lease=clock.time + 65)
    ledger.claim(claim)
    ledger.settle(claim, Outcome(State.WAITING, 1))

    assert ledger.claim(replace(claim, lease=claim.lease + 1)) == Claimed(claims=1, attempts=1)


@pytest.mark.parametrize("state", [State.DELIVERED, State.PARKED])
def test_a_settled_message_that_comes_back_is_settled(ledger: DynamoLedger, state: State) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(state, 1))

    assert ledger.claim(CLAIM) == Settled()


def test_only_what_is_delivered_makes_a_duplicate(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.DELIVERED, 1))

    assert ledger.claim(OTHER) == Duplicate()


def test_a_back_off_does_not_hold_for_another_content(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 3, retry_at=START + 100))

    assert ledger.claim(OTHER) == Claimed(claims=1, attempts=3)


@pytest.mark.parametrize("other", [CLAIM, TWIN], ids=["itself", "a twin"])
def test_a_back_off_holds_for_every_message_of_its_content(
    ledger: DynamoLedger, clock: Clock, other: Claim
) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 3, retry_at=START + 100))

    assert ledger.claim(other) == Waiting(START + 100)

    clock.time = START + 101
    assert ledger.claim(other) == Claimed(claims=1, attempts=3)


def test_a_claim_whose_lease_is_over_passes_to_another_message(
    ledger: DynamoLedger, clock: Clock
) -> None:
    ledger.claim(CLAIM)
    clock.time = CLAIM.lease + 1

    assert ledger.claim(replace(OTHER, lease=clock.time + 65)) == Claimed(claims=2, attempts=0)


def test_deaths_are_those_of_one_content(ledger: DynamoLedger, clock: Clock) -> None:
    ledger.claim(CLAIM)
    ledger.begin(CLAIM, 3)
    clock.time = CLAIM.lease + 1
    other = replace(OTHER, lease=clock.time + 65)

    assert ledger.claim(other).deaths == 0  # type: ignore[union-attr]

    clock.time = other.lease + 1
    assert ledger.claim(replace(CLAIM, lease=clock.time + 65)).deaths == 3  # type: ignore[union-attr]


def test_a_post_begins_only_under_a_claim_of_its_own(ledger: DynamoLedger, clock: Clock) -> None:
    ledger.claim(CLAIM)
    clock.time = CLAIM.lease + 1
    ledger.claim(replace(OTHER, lease=clock.time + 65))

    with pytest.raises(Unavailable, match="passed"):
        ledger.begin(CLAIM, 1)


def test_who_was_refused_alone_is_remembered(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 0, blocks=2, blocked_at=START - 60))

    assert ledger.claim(TWIN) == Claimed(1, 0, blocks=2, blocked_at=START - 60)


def test_who_was_refused_alone_is_one_content(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 0, blocks=4, blocked_at=START - 60))

    assert ledger.claim(OTHER) == Claimed(1, 0)


def test_a_lease_by_a_clock_that_was_wrong_holds_nobody_up(ledger: DynamoLedger) -> None:
    wrong = replace(CLAIM, lease=START + 400 * 86400)
    ledger.claim(wrong)

    assert ledger.claim(OTHER) == Claimed(claims=2, attempts=0)


def test_a_back_off_by_a_clock_that_was_wrong_holds_nobody_up(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 3, retry_at=START + 400 * 86400))

    assert ledger.claim(CLAIM) == Claimed(claims=1, attempts=3)


def test_a_replay_claims_a_parked_identity_with_a_clean_slate(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.PARKED, 7, REFUSAL))

    assert ledger.claim(OTHER) == Claimed(1, 0, last_answer="HTTP 422", request_id="req-1")
    assert ledger.claim(replace(OTHER, owner="body-3")) == Leased(OTHER.lease, is_same=True)


def test_a_parked_message_that_is_redriven_claims_again(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.PARKED, 1, REFUSAL))

    assert ledger.claim(REDRIVEN) == Claimed(1, 0, last_answer="HTTP 422", request_id="req-1")


def test_a_waiting_message_that_came_through_the_last_net_is_no_duplicate(
    ledger: DynamoLedger,
) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 2))

    assert ledger.claim(REDRIVEN) == Claimed(claims=1, attempts=2)


def test_a_redriven_copy_of_what_was_delivered_is_a_duplicate(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.DELIVERED, 1))

    assert ledger.claim(REDRIVEN) == Duplicate()


def test_the_last_answer_is_remembered_for_the_next_claim(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 1, Verdict(Kind.TRANSIENT, "HTTP 503")))
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.WAITING, 1))

    assert ledger.claim(CLAIM) == Claimed(1, 1, last_answer="HTTP 503")


def test_a_late_worker_does_not_overwrite_who_claimed_after_it(
    ledger: DynamoLedger, clock: Clock
) -> None:
    ledger.claim(CLAIM)
    clock.time = CLAIM.lease + 1
    heir = replace(CLAIM, lease=CLAIM.lease + 65)
    ledger.claim(heir)

    ledger.settle(CLAIM, Outcome(State.WAITING, 5))

    assert item(ledger)["state"]["S"] == "claimed"
    assert float(item(ledger)["lease"]["N"]) == heir.lease


@pytest.mark.parametrize("heir_of", [CLAIM, OTHER], ids=["the same message", "another"])
def test_a_late_worker_that_delivered_is_believed(
    ledger: DynamoLedger, clock: Clock, heir_of: Claim
) -> None:
    ledger.claim(CLAIM)
    clock.time = CLAIM.lease + 1
    heir = replace(heir_of, lease=CLAIM.lease + 65)
    ledger.claim(heir)

    ledger.settle(CLAIM, Outcome(State.DELIVERED, 1))
    ledger.settle(heir, Outcome(State.WAITING, 1))

    assert item(ledger)["state"]["S"] == "delivered"
    assert ledger.claim(heir) == (Settled() if heir_of is CLAIM else Duplicate())


def test_items_expire_and_hold_nothing_personal(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.PARKED, 1, REFUSAL))

    stored = item(ledger)
    assert int(stored["expires_at"]["N"]) == START + RETENTION_SECONDS
    assert stored["answer"]["S"] == "HTTP 422"
    assert stored["request_id"]["S"] == "req-1"
    assert "ada@example.com" not in str(stored)


@pytest.mark.parametrize(
    "code",
    ["ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"],
)
def test_a_table_that_fails_is_unavailable(ledger: DynamoLedger, code: str) -> None:
    with Stubber(ledger.client) as stub:
        stub.add_client_error("update_item", code)
        with pytest.raises(Unavailable, match="ledger"):
            ledger.claim(CLAIM)
        stub.add_client_error("update_item", code)
        with pytest.raises(Unavailable, match="ledger"):
            ledger.begin(CLAIM, 1)
        stub.add_client_error("update_item", code)
        with pytest.raises(Unavailable, match="ledger"):
            ledger.settle(CLAIM, Outcome(State.DELIVERED, 1))


def test_a_refusal_that_names_no_holder_is_not_taken_for_a_duplicate(
    ledger: DynamoLedger,
) -> None:
    with Stubber(ledger.client) as stub:
        stub.add_client_error("update_item", "ConditionalCheckFailedException")

        with pytest.raises(Unavailable, match="holds it"):
            ledger.claim(CLAIM)


def test_a_replay_whose_worker_died_has_not_the_attempts_of_before(
    ledger: DynamoLedger, clock: Clock
) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.PARKED, attempts=12))
    ledger.claim(REDRIVEN)
    clock.sleep(100)

    again = ledger.claim(replace(REDRIVEN, lease=START + 200))

    assert again == Claimed(claims=2, attempts=0)


class Forgetful:
    """A client that loses its first answers to updates, so that botocore asks again."""

    def __init__(self, client: DynamoDBClient, lost: int) -> None:
        self.client, self.lost = client, lost
        self.exceptions = client.exceptions

    def update_item(self, **request: Any) -> Any:
        if self.lost:
            self.lost -= 1
            self.client.update_item(**request)
        return self.client.update_item(**request)


def test_a_claim_whose_answer_was_lost_is_known_again(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    forgetful = Forgetful(dynamodb, lost=1)
    ledger = DynamoLedger(forgetful, "ledger", clock.now)  # type: ignore[arg-type]

    first = ledger.claim(CLAIM)
    second = ledger.claim(CLAIM)

    assert first == Claimed(claims=1, attempts=0)
    assert second == Leased(CLAIM.lease, is_same=True)


def test_a_replay_whose_answer_was_lost_is_known_again(
    ledger: DynamoLedger, dynamodb: DynamoDBClient
) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.PARKED, attempts=3))
    forgetful = Forgetful(dynamodb, lost=1)

    claim = DynamoLedger(forgetful, "ledger", ledger.now).claim(REDRIVEN)  # type: ignore[arg-type]

    assert claim == Claimed(claims=1, attempts=0)


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("waiting", Claimed(claims=1, attempts=2)),
        ("claimed", Claimed(claims=4, attempts=2)),
        ("parked", Claimed(claims=1, attempts=2)),
        ("delivered", Duplicate()),
    ],
)
def test_an_item_of_the_version_before_is_understood(
    ledger: DynamoLedger, dynamodb: DynamoDBClient, state: str, found: ClaimResult
) -> None:
    """Version 0.1.0 before retry_at: what it left is what an upgraded stack finds."""
    dynamodb.put_item(
        TableName="ledger",
        Item={
            "event_id": {"S": "evt_1"},
            "state": {"S": state},
            "owner": {"S": "body-1"},
            "message_id": {"S": "message-1"},
            "mark": {"S": "0123456789ab"},
            "lease": {"N": str(START - 1)},
            "claims": {"N": "3" if state == "claimed" else "0"},
            "attempts": {"N": "2"},
        },
    )

    assert ledger.claim(OTHER) == found


MESSAGES = [
    replace(
        CLAIM,
        owner=f"body-{owner}",
        content=f"content-{owner}",
        message_id=f"message-{owner}-{copy}",
    )
    for owner in range(2)
    for copy in range(2)
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, 3)),
        st.tuples(
            st.just("settle"),
            st.integers(0, 5),
            st.sampled_from([*State, State.DELIVERED]),
            st.sampled_from([0.0, 30.0, 1e6]),
        ),
        st.tuples(st.just("begin"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 70.0])),
    ),
    max_size=14,
)


def _begins(ledger: DynamoLedger | MemoryLedger, claim: Claim, deaths: int) -> bool:
    try:
        ledger.begin(claim, deaths)
    except Unavailable:
        return False
    return True


@given(STEPS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ledger_of_the_tests_keeps_the_rules_of_the_real_one(
    dynamodb: DynamoDBClient, steps: list[tuple[Any, ...]]
) -> None:
    """Whatever is done to both, both answer the same."""
    clock = Clock()
    identity = f"evt_{uuid4()}"
    real, model = DynamoLedger(dynamodb, "ledger", clock.now), MemoryLedger(clock)
    claims: list[Claim] = []

    for step in steps:
        match step:
            case "claim", message:
                lease = clock.time + 65
                claim = replace(MESSAGES[message], event_id=identity, lease=lease)
                answer = real.claim(claim)
                assert answer == model.claim(claim)
                claims += [claim] if isinstance(answer, Claimed) else []
            case "settle", place, state, delay:
                if state is not State.CLAIMED and claims:
                    outcome = Outcome(
                        state,
                        attempts=place,
                        verdict=REFUSAL,
                        deaths=place % 2,
                        blocks=place,
                        blocked_at=clock.time,
                        retry_at=clock.time + delay,
                    )
                    for each in (real, model):
                        each.settle(claims[place % len(claims)], outcome)
            case "begin", place:
                if claims:
                    claim = claims[place % len(claims)]
                    assert _begins(real, claim, place) == _begins(model, claim, place)
            case _, seconds:
                clock.sleep(seconds)
