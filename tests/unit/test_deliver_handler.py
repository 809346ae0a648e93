"""Which batch delivery takes a batch: that of the queue it came from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from cometly_forwarder.deliver import handler as deliver
from cometly_forwarder.deliver.cometly import CometlyClient
from cometly_forwarder.deliver.handler import BatchDeliveries
from cometly_forwarder.gate.rules import Lane
from cometly_forwarder.observability import PageJournal
from tests.unit.conftest import Aws, FakeLambdaContext, logged_by, metrics_in, outcomes_in

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from cometly_forwarder.deliver.queue import SqsQueue
    from cometly_forwarder.gate.gate import LaneGate

EVENTS_ARN, PAGES_ARN = "arn:aws:sqs:eu-central-1:1:events", "arn:aws:sqs:eu-central-1:1:pages"


@pytest.fixture(autouse=True)
def _environment(aws_stack: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "EVENT_QUEUE_URL": aws_stack.queue_url,
        "DEAD_LETTER_QUEUE_URL": aws_stack.dead_letter_url,
        "TABLE_NAME": "ledger",
        "COMETLY_TOKEN_SECRET_ARN": "token",
        "COMETLY_URL": "https://cometly.example.com",
        "COMETLY_REQUESTS_PER_MINUTE": "1000",
        "DELIVERY_HORIZON_HOURS": "72",
    }.items():
        monkeypatch.setenv(name, value)
    deliver.batch_deliveries.cache_clear()
    yield
    deliver.batch_deliveries.cache_clear()


@pytest.fixture
def with_pages(aws_stack: Aws, monkeypatch: pytest.MonkeyPatch) -> BatchDeliveries:
    monkeypatch.setenv("PAGE_QUEUE_URL", aws_stack.page_queue_url)
    monkeypatch.setenv("PAGE_QUEUE_ARN", PAGES_ARN)
    return deliver.batch_deliveries()


@pytest.mark.parametrize("arn", [PAGES_ARN, EVENTS_ARN, "", None])
def test_a_batch_is_released_to_the_queue_it_came_from_and_parked_as_of_that(
    with_pages: BatchDeliveries, aws_stack: Aws, arn: str | None
) -> None:
    is_page = arn == PAGES_ARN
    delivery = with_pages.of(arn)
    queue = cast("SqsQueue", delivery.queue)

    assert queue.url == (aws_stack.page_queue_url if is_page else aws_stack.queue_url)
    assert queue.name == ("pages" if is_page else "events")
    assert queue.dead_letter_url == aws_stack.dead_letter_url
    assert isinstance(delivery.journal, PageJournal) == is_page


def test_without_a_page_queue_every_batch_is_one_of_the_event_queue() -> None:
    batch_deliveries = deliver.batch_deliveries()

    assert all(
        batch_deliveries.of(arn) is batch_deliveries.events for arn in (EVENTS_ARN, "", None)
    )


def test_both_batch_deliveries_share_their_clients(with_pages: BatchDeliveries) -> None:
    """A second set of connections would lengthen a cold start."""
    events, pages = with_pages.events, with_pages.pages

    assert pages.posting.cometly is events.posting.cometly
    assert pages.preparation.ledger is events.preparation.ledger
    assert cast("SqsQueue", pages.queue).client is cast("SqsQueue", events.queue).client


def test_each_batch_delivery_has_its_lane_of_one_gate(with_pages: BatchDeliveries) -> None:
    events = cast("LaneGate", with_pages.events.gate)
    pages = cast("LaneGate", with_pages.pages.gate)

    assert (events.of, pages.of) == (Lane.SERVICES, Lane.PAGES)
    assert pages.gate is events.gate


def test_the_token_is_read_before_the_first_slot_is_reserved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[CometlyClient] = []

    def make_ready(client: CometlyClient) -> None:
        read.append(client)

    monkeypatch.setattr(CometlyClient, "make_ready", make_ready)

    deliveries = deliver.batch_deliveries()

    assert read == [deliveries.events.posting.cometly]


@dataclass(frozen=True)
class Keeping:
    """A delivery that keeps these messages on their queue."""

    kept: tuple[str, ...]

    def deliver(self, _: Sequence[object], __: float) -> list[str]:
        return list(self.kept)


def record(id_: str, age: int = 0) -> dict[str, object]:
    """Return a message as Lambda hands it over, sent `age` seconds before a fixed time."""
    return {
        "messageId": id_,
        "body": "{}",
        "receiptHandle": id_,
        "attributes": {
            "SentTimestamp": str(1_800_000_000_000 - age * 1000),
            "ApproximateReceiveCount": "1",
        },
    }


@pytest.mark.parametrize(
    ("kept", "waited"),
    [
        pytest.param(("young", "old"), 3600, id="the oldest counts"),
        pytest.param(("young",), 60, id="of those that go back"),
        pytest.param(("early",), 0, id="a clock that is behind"),
        pytest.param((), None, id="none goes back"),
    ],
)
def test_how_long_what_goes_back_has_waited_is_measured(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kept: tuple[str, ...],
    waited: int | None,
) -> None:
    monkeypatch.setattr(BatchDeliveries, "of", lambda *_: Keeping(kept))
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    ages = {"young": 60, "old": 3600, "early": -5, "done": 9000}
    records = [record(id_, age) for id_, age in ages.items()]

    answer = deliver.handler(
        {"Records": records}, cast("LambdaContext", FakeLambdaContext(function_name="deliver"))
    )

    assert [it["itemIdentifier"] for it in answer["batchItemFailures"]] == list(kept)
    measured = metrics_in(capsys.readouterr().out)
    assert measured == ({} if waited is None else {"Waited": waited})
    assert ("Waited" in measured) is (waited is not None)


def test_what_was_delivered_is_logged_though_the_batch_ends_in_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dying:
        def deliver(self, _: Sequence[object], __: float) -> list[str]:
            for number in (1, 2):
                name, event_id = "delivery.delivered", f"evt_{number}"
                deliver.journal.record(name, event_id=event_id, latency=0.5)
            raise MemoryError

    log = logged_by(deliver.journal.logger, monkeypatch)
    monkeypatch.setattr(BatchDeliveries, "of", lambda *_: Dying())

    with pytest.raises(MemoryError):
        deliver.handler(
            {"Records": [record("m-1")]},
            cast("LambdaContext", FakeLambdaContext(function_name="deliver")),
        )

    assert [it["event_id"] for it in outcomes_in(log)] == ["evt_1", "evt_2"]
    assert metrics_in(log.getvalue())["Delivered"] == 2
