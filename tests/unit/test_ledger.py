"""The ledger's conditional writes, against DynamoDB's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    AlreadyDone,
    Claim,
    Claimed,
    ClaimResult,
    Duplicate,
    Leased,
    Outcome,
    Waiting,
)
from cometly_forwarder.deliver.ledger import RETENTION_SECONDS, DynamoLedger
from cometly_forwarder.deliver.verdict import Kind, Verdict
from cometly_forwarder.errors import Unavailable
from cometly_forwarder.event.facts import Facts, facts_in
from cometly_forwarder.ledger_item import State, entry_in
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


PARKED = Outcome(State.PARKED, 7, REFUSAL)
TRIED = Outcome(State.WAITING, 3, retry_at=START + 100)
WRONG = Outcome(State.WAITING, 3, retry_at=START + 400 * 86400)
ALONE = Outcome(State.WAITING, 0, blocks=2, blocked_at=START - 60)
ANEW = Claimed(1, 0, last_answer="HTTP 422", request_id="req-1")


@pytest.mark.parametrize(
    ("outcome", "claim", "found"),
    [
        pytest.param(Outcome(State.DELIVERED, 1), CLAIM, AlreadyDone(), id="delivered, itself"),
        pytest.param(Outcome(State.DELIVERED, 1), OTHER, Duplicate(), id="delivered, another"),
        pytest.param(PARKED, CLAIM, AlreadyDone(), id="parked, itself"),
        pytest.param(PARKED, OTHER, ANEW, id="parked, another"),
        pytest.param(PARKED, REDRIVEN, ANEW, id="parked, redriven"),
        pytest.param(Outcome(State.WAITING, 2), REDRIVEN, Claimed(1, 2), id="waiting, redriven"),
        pytest.param(TRIED, CLAIM, Waiting(START + 100), id="backing off, itself"),
        pytest.param(TRIED, TWIN, Waiting(START + 100), id="backing off, a twin"),
        pytest.param(TRIED, OTHER, Claimed(1, 3), id="backing off, another content"),
        pytest.param(WRONG, CLAIM, Claimed(1, 3), id="backing off by a clock that was wrong"),
        pytest.param(
            ALONE, TWIN, Claimed(1, 0, blocks=2, blocked_at=START - 60), id="refused alone, a twin"
        ),
        pytest.param(ALONE, OTHER, Claimed(1, 0), id="refused alone, another content"),
    ],
)
def test_what_a_message_finds_after_an_outcome(
    ledger: DynamoLedger, outcome: Outcome, claim: Claim, found: ClaimResult
) -> None:
    assert ledger.claim(CLAIM) == Claimed(claims=1, attempts=0)
    ledger.settle(CLAIM, outcome)

    assert ledger.claim(claim) == found


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


def test_a_back_off_holds_until_it_is_over(ledger: DynamoLedger, clock: Clock) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, TRIED)
    clock.time = TRIED.retry_at
    assert ledger.claim(CLAIM) == Waiting(TRIED.retry_at)

    clock.time += 0.001
    assert ledger.claim(CLAIM) == Claimed(claims=1, attempts=3)


def test_deaths_are_those_of_one_content(ledger: DynamoLedger, clock: Clock) -> None:
    ledger.claim(CLAIM)
    ledger.begin(CLAIM, 3)
    clock.time = CLAIM.lease + 1
    other = replace(OTHER, lease=clock.time + 65)

    assert ledger.claim(other).deaths == 0  # type: ignore[union-attr]

    clock.time = other.lease + 1
    assert ledger.claim(replace(CLAIM, lease=clock.time + 65)).deaths == 3  # type: ignore[union-attr]


def test_a_claim_whose_lease_is_over_passes_and_its_holder_may_not_begin(
    ledger: DynamoLedger, clock: Clock
) -> None:
    ledger.claim(CLAIM)
    clock.time = CLAIM.lease + 1

    assert ledger.claim(replace(OTHER, lease=clock.time + 65)) == Claimed(claims=2, attempts=0)
    with pytest.raises(Unavailable, match="passed"):
        ledger.begin(CLAIM, 1)


def test_a_lease_by_a_clock_that_was_wrong_holds_nobody_up(ledger: DynamoLedger) -> None:
    wrong = replace(CLAIM, lease=START + 400 * 86400)
    ledger.claim(wrong)

    assert ledger.claim(OTHER) == Claimed(claims=2, attempts=0)


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
    assert ledger.claim(heir) == (AlreadyDone() if heir_of is CLAIM else Duplicate())


def test_what_is_delivered_keeps_nothing_of_its_claims(ledger: DynamoLedger) -> None:
    verdict = Verdict(Kind.DELIVERED, "HTTP 202", 202, request_id="req-1")
    facts = Facts("purchase", int(START), "hash-of-an-order", None, is_keyed=False)
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, replace(ALONE, verdict=REFUSAL))
    ledger.claim(TWIN)
    ledger.begin(TWIN, 1)

    ledger.settle(TWIN, Outcome(State.DELIVERED, 2, verdict, facts=facts))

    assert item(ledger).keys() == {
        *("event_id", "state", "message_id", "content", "attempts", "answer", "request_id"),
        *("accepted_at", "updated_at", "expires_at"),
        *("event_name", "event_time", "order_hash", "is_keyed"),
    }
    told = entry_in(item(ledger))
    assert told
    assert (told.state, told.attempts, told.message_id) == (State.DELIVERED, 2, "message-2")


@pytest.mark.parametrize("state", State)
def test_what_is_delivered_stays_so_whoever_comes_late(
    ledger: DynamoLedger, clock: Clock, state: State
) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.DELIVERED, 1))
    delivered = item(ledger)
    clock.time = CLAIM.lease + 1

    ledger.settle(OTHER, Outcome(state, 9))
    ledger.settle(CLAIM, Outcome(state, 9))
    with pytest.raises(Unavailable, match="passed to another"):
        ledger.begin(CLAIM, 1)
    found = [ledger.claim(replace(it, lease=clock.time + 65)) for it in (CLAIM, REDRIVEN, OTHER)]

    assert found == [AlreadyDone(), Duplicate(), Duplicate()]
    assert item(ledger) == delivered


def test_an_outcome_of_what_was_claimed_by_nobody_is_recorded(ledger: DynamoLedger) -> None:
    """Its item has expired, or was erased: there is nothing to remove."""
    ledger.settle(CLAIM, Outcome(State.DELIVERED, 1))

    assert ledger.claim(OTHER) == Duplicate()


def test_items_expire_and_hold_nothing_personal(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, Outcome(State.PARKED, 1, REFUSAL))

    stored = item(ledger)
    assert int(stored["expires_at"]["N"]) == START + RETENTION_SECONDS
    assert stored["answer"]["S"] == "HTTP 422"
    assert stored["request_id"]["S"] == "req-1"
    assert "ada@example.com" not in str(stored)


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.claim(CLAIM),
        lambda ledger: ledger.begin(CLAIM, 1),
        lambda ledger: ledger.settle(CLAIM, Outcome(State.DELIVERED, 1)),
    ],
    ids=["claim", "begin", "settle"],
)
def test_a_table_that_fails_is_unavailable(
    ledger: DynamoLedger, call: Callable[[DynamoLedger], object]
) -> None:
    with Stubber(ledger.client) as stub:
        stub.add_client_error("update_item", "ThrottlingException")

        with pytest.raises(Unavailable, match="ledger"):
            call(ledger)


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


@pytest.mark.parametrize("is_parked", [False, True], ids=["a first claim", "a replay"])
def test_a_claim_whose_answer_was_lost_is_known_again(
    ledger: DynamoLedger, dynamodb: DynamoDBClient, *, is_parked: bool
) -> None:
    if is_parked:
        ledger.claim(CLAIM)
        ledger.settle(CLAIM, Outcome(State.PARKED, attempts=3))
    forgetful = Forgetful(dynamodb, lost=1)

    found = DynamoLedger(forgetful, "ledger", ledger.now).claim(REDRIVEN)  # type: ignore[arg-type]

    assert found == Claimed(claims=1, attempts=0)
    assert ledger.claim(REDRIVEN) == Leased(CLAIM.lease, is_same=True)


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


def size_of(stored: dict[str, Any]) -> int:
    """Weigh an item as DynamoDB does: names and text in UTF-8, numbers by pairs of digits."""
    sizes = {"S": lambda it: len(it.encode()), "BOOL": lambda _: 1, "N": _number_size}
    return sum(
        len(name) + sizes[kind](value)
        for name, held in stored.items()
        for kind, value in held.items()
    )


def _number_size(text: str) -> int:
    return len(text.strip("-0.").replace(".", "")) // 2 + 3


def test_a_delivered_item_keeps_its_facts_within_one_write_unit(ledger: DynamoLedger) -> None:
    claim = replace(
        CLAIM,
        owner="b" * 32,
        content="c" * 32,
        message_id=str(uuid4()),
        lease=START + 65.123456,
        accepted_at=datetime.fromtimestamp(START + 0.123456, UTC),
    )
    # The longest name, the largest amount, and as much of a Request-Id as `judge` keeps.
    facts = Facts("complete_registration", int(START), "d" * 32, 10**18 - 1, is_keyed=True)
    verdict = Verdict(Kind.DELIVERED, "HTTP 202", 202, request_id="é" * 200)

    ledger.claim(claim)
    ledger.settle(claim, Outcome(State.DELIVERED, 1000, verdict, facts=facts))

    stored = item(ledger)
    assert facts_in(stored) == facts
    # The item of these tests has a short key: an event's has 36 characters.
    assert size_of(stored) + 36 < 1024


def test_what_is_not_delivered_keeps_no_facts(ledger: DynamoLedger) -> None:
    ledger.claim(CLAIM)
    ledger.settle(CLAIM, TRIED)

    assert facts_in(item(ledger)) is None
