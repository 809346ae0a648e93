"""Parked events: looked at, edited, sent again and thrown away, and killed at every call of it."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError
from moto.sqs.models import sqs_backends
from typer.testing import CliRunner, Result

from cometly_forwarder.event.envelope import Source, read_envelope, seal
from cometly_forwarder.event.reading import EventRules, read_event
from ops.cli import app, main
from ops.commands import parked as commands
from ops.deadletters import shelf as shelves
from ops.deadletters import stack as stacks
from ops.deadletters.bodies import name_in
from ops.deadletters.edits import Edits, NotSent, body_to_send
from ops.deadletters.export import export_to
from ops.deadletters.replay import Pace, Replay, Replayed
from ops.deadletters.shelf import DeadLetter, Shelf
from ops.deadletters.wanted import Wanted
from ops.errors import OpsError
from ops.gates import Gate as OpenGate
from ops.gates import GatePause
from ops.target import Clients, Target
from tests.unit.conftest import REGION, Aws, an_event

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Coverage is that of src, and would double the time of what runs beside it.
pytestmark = pytest.mark.no_cover

RULES = EventRules("US", frozenset({"currency"}))
ACCEPTED = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)
NOW = (ACCEPTED + timedelta(days=1)).timestamp()
LATER = (ACCEPTED + timedelta(days=8)).timestamp()
HOW_LOST = {"the request": False, "the answer": True}


class Killed(BaseException):
    """The process ends here: no line of it runs any more."""


@dataclass
class Mortal:
    """SQS, until a process dies at one of its calls: that call's request or answer is lost."""

    sqs: Any
    dies_at: int = 0
    was_done: bool = False
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.calls.append(name)
            if not self.dies_at or len(self.calls) < self.dies_at:
                return getattr(self.sqs, name)(**arguments)
            if len(self.calls) == self.dies_at and self.was_done:
                getattr(self.sqs, name)(**arguments)
            raise Killed

        return call


def sealed(fields: Mapping[str, object], at: datetime = ACCEPTED) -> str:
    event, _ = read_event(fields, RULES, at)
    return seal(event, Source("http", "request-1", at)).body()


def letter(
    body: str, accepted_at: datetime = ACCEPTED, id_: str = "m-1", **attributes: str
) -> DeadLetter:
    known = {"accepted_at": accepted_at.isoformat(), **attributes}
    return DeadLetter(id_, "receipt", body, known, accepted_at.timestamp())


def event_in(body: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(body)["event"])


def id_of(body: str) -> str:
    """Say who deliver takes a message for."""
    found = read_envelope(body, Source("sqs", "another-message", ACCEPTED), RULES)
    assert not found.faults
    return found.event_id


def put(aws: Aws, body: str, **attributes: str) -> None:
    aws.sqs.send_message(
        QueueUrl=aws.dead_letter_url,
        MessageBody=body,
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    )


def on(aws: Aws, url: str) -> list[str]:
    """Take what is on a queue, in view or not."""
    come_back(url)
    found: list[str] = []
    while messages := aws.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=900
    ).get("Messages"):
        found += [it["Body"] for it in messages]
    come_back(url)
    return found


def come_back(url: str) -> None:
    """Let the time pass for which messages are hidden."""
    [backend] = [it[REGION] for it in sqs_backends.values() if REGION in it]
    for message in backend.queues[url.rpartition("/")[2]]._messages:
        message.visible_at = 0


def hidden(aws: Aws) -> int:
    answer = aws.sqs.get_queue_attributes(QueueUrl=aws.dead_letter_url, AttributeNames=["All"])
    return int(answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"])


def shelf(aws: Aws, sqs: object = None, told: list[str] | None = None) -> Shelf:
    tell = (told if told is not None else []).append
    return Shelf(cast("SQSClient", sqs or aws.sqs), aws.dead_letter_url, tell, wait_seconds=0)


def pace(per_minute: int = 1000) -> Pace:
    return Pace(per_minute, lambda: "", lambda: 0.0, lambda _: None, print)


def replay(
    aws: Aws,
    sqs: object = None,
    edits: Edits | None = None,
    wanted: Wanted | None = None,
    at: Pace | None = None,
) -> list[Replayed]:
    client = cast("SQSClient", sqs or aws.sqs)
    urls = {"events": aws.queue_url, "pages": aws.page_queue_url}

    def send(queue: str, body: str) -> None:
        client.send_message(QueueUrl=urls[queue], MessageBody=body)

    with shelf(aws, client) as held:
        run = Replay(held, send, at or pace(), RULES, edits or Edits(), lambda: NOW)
        return list(run.run(wanted or Wanted()))


# --- Looking ------------------------------------------------------------------------------------


def test_all_are_seen_once_and_put_back_at_once(aws_stack: Aws) -> None:
    for number in range(25):
        put(aws_stack, sealed(an_event(order_id=number)), event_id=f"evt_{number}")

    with shelf(aws_stack) as held:
        seen = [it.event_id for it in held.letters()]
        assert hidden(aws_stack) == 25

    assert sorted(seen) == sorted(f"evt_{number}" for number in range(25))
    assert hidden(aws_stack) == 0
    assert len(on(aws_stack, aws_stack.dead_letter_url)) == 25


def test_what_comes_again_while_it_is_held_is_not_seen_twice(aws_stack: Aws) -> None:
    for number in range(15):
        put(aws_stack, sealed(an_event(order_id=number)), event_id=f"evt_{number}")

    with shelf(aws_stack) as held:
        seen = []
        for each in held.letters():
            seen.append(each.event_id)
            come_back(aws_stack.dead_letter_url)

    assert sorted(seen) == sorted(f"evt_{number}" for number in range(15))


def test_a_look_that_is_broken_off_puts_back_what_it_took(aws_stack: Aws) -> None:
    for number in range(15):
        put(aws_stack, sealed(an_event(order_id=number)))

    def look_and_stop() -> None:
        with shelf(aws_stack) as held:
            next(held.letters())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look_and_stop()

    assert hidden(aws_stack) == 0


def test_no_more_are_held_than_sqs_allows(aws_stack: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MOST_HELD", 20)
    for number in range(45):
        put(aws_stack, sealed(an_event(order_id=number)))
    told: list[str] = []

    with shelf(aws_stack, told=told) as held:
        seen = sum(1 for _ in held.letters())

    assert seen == 20
    assert "20 that stay" in told[0]


def test_a_letter_is_forgotten_once_it_was_yielded(aws_stack: Aws) -> None:
    """What is kept of each is its id and receipt: no body."""
    for number in range(30):
        put(aws_stack, sealed(an_event(order_id=number)))

    with shelf(aws_stack) as held:
        for _ in held.letters():
            assert all("cometly" not in it for pair in held._held.items() for it in pair)


def test_messages_that_cannot_be_put_back_are_told_and_break_nothing(aws_stack: Aws) -> None:
    put(aws_stack, sealed(an_event()))
    told: list[str] = []

    class Cut:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            if name == "change_message_visibility_batch":
                raise EndpointConnectionError(endpoint_url="https://sqs.example.com")
            return cast("Callable[..., Any]", getattr(aws_stack.sqs, name))

    with shelf(aws_stack, Cut(), told) as held:
        list(held.letters())

    assert "within 300 s" in told[0]


WANTED = {
    "a part of the reason": (Wanted(reason="422"), ["a"]),
    "the name": (Wanted(name="lead_generated"), ["b"]),
    "older": (Wanted(before=NOW), ["a", "b"]),
    "newer": (Wanted(after=NOW), ["c"]),
    "of an age between two": (Wanted(before=NOW + 9 * 86400, after=NOW), ["c"]),
    "of an age that none can have": (Wanted(before=NOW, after=NOW), []),
    "no more than": (Wanted(limit=2), ["a", "b"]),
    "no more than so many of those that fit": (Wanted(name="lead_generated", limit=1), ["b"]),
    "the event's id": (Wanted(id="b"), ["b"]),
    "its message's": (Wanted(id="m-2"), ["c"]),
    "a customer's address, in any case": (Wanted(text="GRACE@example.com"), ["a", "b"]),
    "a name that JSON escapes": (Wanted(text="züleyha"), ["c"]),
    "a text that is nowhere": (Wanted(text="eve@example.com"), []),
    "all at once": (Wanted("403", "lead_generated", "", "", NOW, NOW - 9 * 86400, 5), ["b"]),
    "nothing fits": (Wanted(reason="poison", name="purchase"), []),
}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"email": "z\\u00fcleyha@example.com"}', id="JSON"),
        pytest.param(
            '{"people": [{"email": "Z\\u00dcLEYHA\\u0040example.com"}]}', id="all escaped"
        ),
        pytest.param(
            json.dumps(
                {
                    "Type": "Notification",
                    "MessageId": "m-1",
                    "Message": json.dumps({"email": "züleyha@example.com"}),
                }
            ),
            id="JSON within JSON",
        ),
        pytest.param("no JSON: züleyha@example.com", id="no JSON"),
    ],
)
def test_an_address_is_found_however_it_is_written(body: str) -> None:
    assert Wanted(text="züleyha@example.com")(letter(body))
    assert not Wanted(text="zuleyha@example.com")(letter(body))


@pytest.mark.parametrize(("wanted", "ids"), WANTED.values(), ids=WANTED)
def test_filters(wanted: Wanted, ids: list[str]) -> None:
    lead = an_event(event_name="lead_generated")
    letters = [
        letter(sealed(an_event()), event_id="a", reason="HTTP 422"),
        letter(sealed(lead), event_id="b", reason="HTTP 403, again and again: x"),
        letter(
            json.dumps({"event_name": "sale", "first_name": "Züleyha"}),
            ACCEPTED + timedelta(9),
            id_="m-2",
            event_id="c",
        ),
    ]

    assert [it.event_id for it in wanted.among(letters)] == ids


def test_reasons_are_counted_without_their_details() -> None:
    reasons = ["HTTP 403: x", "HTTP 403: y", "expired"]
    letters = [letter(sealed(an_event()), reason=it) for it in reasons] + [letter("{}")]

    counted = Wanted().counted(letters)

    assert counted == {"HTTP 403": 2, "expired": 1, "(none)": 1}


BARE = an_event(event_name="contact")
BODIES = {
    "sealed": sealed(BARE),
    "bare": json.dumps(BARE),
    "on the topic": json.dumps(
        {"Type": "Notification", "MessageId": "n-1", "Message": json.dumps(BARE)}
    ),
    "on the bus": json.dumps({"detail-type": "x", "id": "e-1", "detail": BARE}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_name_is_read_wherever_the_event_is(body: str) -> None:
    assert name_in(body) == "contact"


@pytest.mark.parametrize("body", ["", "{", "[1]", '{"Type": "Notification"}', "17"])
def test_what_is_no_event_has_no_name(body: str) -> None:
    assert name_in(body) == ""


# --- Edits --------------------------------------------------------------------------------------


def test_what_is_not_edited_goes_again_byte_for_byte() -> None:
    body = sealed(an_event(order_id="1", phone="+1 650 555 1212"))

    assert body_to_send(letter(body), Edits(), RULES, NOW) == body


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_field_is_set_by_the_events_own_rules_and_it_stays_the_same_event(body: str) -> None:
    before = read_envelope(body, letter(body).source, RULES)

    edits = Edits({"phone": "(650) 555-1212"})
    sent = body_to_send(letter(body), edits, RULES, NOW)

    assert event_in(sent) == {**before.event, "phone": "16505551212"}
    assert id_of(sent) == before.event_id
    assert json.loads(sent)["accepted_at"] == ACCEPTED.isoformat()


def test_a_country_goes_with_the_number() -> None:
    edits = Edits({"phone": "030 901820", "phone_region": "DE"})

    sent = body_to_send(letter(sealed(BARE)), edits, RULES, NOW)

    assert event_in(sent)["phone"] == "4930901820"
    assert "phone_region" not in event_in(sent)


def test_a_field_that_is_set_to_nothing_is_left_out() -> None:
    body = sealed(an_event(phone="16505551212", idempotency_key="k"))

    sent = body_to_send(letter(body), Edits({"phone": ""}), RULES, NOW)

    assert "phone" not in event_in(sent)


ORDER = an_event(order_id="1042", amount=20)
UPSELL = ORDER | {"is_upsell": True}
OTHERS = {
    "its key": (an_event(idempotency_key="k-1"), {"idempotency_key": "k-2"}),
    "a key for an order": (ORDER, {"idempotency_key": "k-2"}),
    "its order": (ORDER, {"order_id": "1043"}),
    "its name": (ORDER, {"event_name": "subscribe"}),
    "its customer": (ORDER, {"email": "ada@example.com"}),
    "no order": (ORDER, {"order_id": ""}),
    "an upsell's amount": (UPSELL, {"amount": "21"}),
    "an upsell of an order": (ORDER, {"is_upsell": "true"}),
}


@pytest.mark.parametrize(("fields", "edit"), OTHERS.values(), ids=OTHERS)
def test_what_would_be_another_event_is_not_sent(
    fields: dict[str, object], edit: dict[str, str]
) -> None:
    with pytest.raises(NotSent, match="another event"):
        body_to_send(letter(sealed(fields)), Edits(edit), RULES, NOW)


def test_the_amount_of_an_order_may_be_corrected() -> None:
    body = sealed(ORDER)

    sent = body_to_send(letter(body), Edits({"amount": "21,50"}), RULES, NOW)

    assert event_in(sent)["amount"] == 21.5
    assert id_of(sent) == id_of(body)


NOT_SENT = {
    "still not valid": (json.dumps({"event_name": "purchased"}), {}, "not valid"),
    "no JSON": ("{", {"phone": "1"}, "cannot be edited"),
    "an edit that is not valid": (sealed(ORDER), {"amount": "a lot"}, "amount"),
    "an edit that would be left out": (sealed(ORDER), {"phone": "call me"}, "phone"),
    "half of a pair": (sealed(ORDER), {"ip": "192.0.2.1"}, "ip"),
}


@pytest.mark.parametrize(("body", "edit", "words"), NOT_SENT.values(), ids=NOT_SENT)
def test_an_event_stays_with_a_reason(body: str, edit: dict[str, str], words: str) -> None:
    with pytest.raises(NotSent, match=words):
        body_to_send(letter(body), Edits(edit), RULES, NOW)


def test_an_invalid_one_is_mended_and_is_one_event_however_often_it_is_sent() -> None:
    body = json.dumps({"event_name": "purchased", "email": "grace@example.com"})
    edits = Edits({"event_name": "purchase"})

    sent = [body_to_send(letter(body), edits, RULES, NOW) for _ in range(2)]

    assert len({id_of(it) for it in sent}) == 1
    assert event_in(sent[0])["event_time"] == "2026-07-01T12:00:00Z"


def test_two_invalid_ones_of_the_same_words_stay_two_events() -> None:
    body = json.dumps({"event_name": "purchased", "email": "grace@example.com"})
    edits = Edits({"event_name": "purchase"})

    ids = [id_of(body_to_send(letter(body, id_=it), edits, RULES, NOW)) for it in ("m-1", "m-2")]

    assert len(set(ids)) == 2


AGES = {
    "seven days": (ACCEPTED + timedelta(days=7), None, False),
    "a second more": (ACCEPTED + timedelta(days=7, seconds=1), None, True),
    "an event of long ago": (ACCEPTED, "2026-06-01T00:00:00Z", True),
}


@pytest.mark.parametrize(("now", "event_time", "is_kept"), AGES.values(), ids=AGES)
def test_old_events_are_kept_from_ad_platforms(
    now: datetime, event_time: str | None, *, is_kept: bool
) -> None:
    body = sealed(an_event(event_time=event_time))

    sent = body_to_send(letter(body), Edits(no_capi=True), RULES, now.timestamp())

    assert event_in(sent).get("do_not_capi", False) is is_kept
    assert id_of(sent) == id_of(body)


@pytest.mark.parametrize(
    ("event_time", "is_kept"),
    [("2026-06-01", True), ("2026-07-01T11:00:00Z", False), ("", False)],
    ids=["moved back", "moved on", "taken away"],
)
def test_the_age_for_ad_platforms_is_that_of_the_time_that_is_set(
    event_time: str, *, is_kept: bool
) -> None:
    body = sealed(an_event(event_time="2026-06-15T00:00:00Z"))

    edits = Edits({"event_time": event_time}, no_capi=True)
    sent = body_to_send(letter(body), edits, RULES, NOW)

    assert event_in(sent).get("do_not_capi", False) is is_kept
    assert id_of(sent) == id_of(body)


def test_nothing_is_kept_from_ad_platforms_unasked() -> None:
    sent = body_to_send(letter(sealed(an_event())), Edits(), RULES, LATER)

    assert "do_not_capi" not in event_in(sent)


@pytest.mark.parametrize("text", ["phone", "phon=1", "cometly_forwarder=1"])
def test_what_cannot_be_set_is_refused_before_anything_is_done(text: str) -> None:
    with pytest.raises(OpsError, match="--set"):
        Edits.of([text], RULES)


def test_fields_that_are_passed_on_may_be_set() -> None:
    edits = Edits.of(["currency=EUR", "url=https://example.com/?a=b"], RULES)

    sent = body_to_send(letter(sealed(ORDER)), edits, RULES, NOW)

    assert event_in(sent)["currency"] == "EUR"
    assert event_in(sent)["url"] == "https://example.com/?a=b"


# --- Replay -------------------------------------------------------------------------------------


def parked_of_each_kind(aws: Aws) -> set[str]:
    """Park one of each kind; return who they are."""
    put(aws, sealed(ORDER), queue="events", reason="HTTP 422")
    put(aws, sealed(an_event(idempotency_key="k")), queue="pages", reason="HTTP 422")
    put(aws, sealed(an_event(order_name="#1001")), queue="events", reason="expired")
    put(aws, json.dumps(an_event(email="ada@example.com")))  # as SQS itself moves one
    with shelf(aws) as held:
        return {read_envelope(it.body, it.source, RULES).event_id for it in held.letters()}


def test_each_goes_to_its_queue_and_is_gone_from_here(aws_stack: Aws) -> None:
    ids = parked_of_each_kind(aws_stack)

    replayed = replay(aws_stack)

    events, pages = (on(aws_stack, it) for it in (aws_stack.queue_url, aws_stack.page_queue_url))
    assert (len(events), len(pages)) == (3, 1)
    assert {id_of(it) for it in events + pages} == ids
    assert on(aws_stack, aws_stack.dead_letter_url) == []
    assert [it.refusal for it in replayed] == [""] * 4


CALLS_OF_A_REPLAY = range(1, 12)


@pytest.mark.parametrize("was_done", HOW_LOST.values(), ids=HOW_LOST)
@pytest.mark.parametrize("number", CALLS_OF_A_REPLAY)
def test_a_replay_that_is_killed_at_any_call_and_repeated_loses_none_and_makes_no_other(
    aws_stack: Aws, number: int, *, was_done: bool
) -> None:
    ids = parked_of_each_kind(aws_stack)
    mortal = Mortal(aws_stack.sqs, number, was_done)

    with pytest.raises(Killed):
        replay(aws_stack, mortal)
    come_back(aws_stack.dead_letter_url)
    replay(aws_stack)

    sent = on(aws_stack, aws_stack.queue_url) + on(aws_stack, aws_stack.page_queue_url)
    assert {id_of(it) for it in sent} == ids  # the ledger books each once
    assert len(sent) <= len(ids) + 1  # at most one is there twice
    assert on(aws_stack, aws_stack.dead_letter_url) == []


def test_the_table_of_calls_has_them_all(aws_stack: Aws) -> None:
    parked_of_each_kind(aws_stack)
    mortal = Mortal(aws_stack.sqs)

    replay(aws_stack, mortal)

    assert len(mortal.calls) == CALLS_OF_A_REPLAY[-1]


@pytest.mark.parametrize("number", CALLS_OF_A_REPLAY)
def test_a_replay_killed_again_and_again_ends_in_the_same(aws_stack: Aws, number: int) -> None:
    ids = parked_of_each_kind(aws_stack)

    for _ in range(20):
        try:
            replay(aws_stack, Mortal(aws_stack.sqs, number + 2, was_done=True))
        except Killed:
            come_back(aws_stack.dead_letter_url)
    replay(aws_stack)

    sent = on(aws_stack, aws_stack.queue_url) + on(aws_stack, aws_stack.page_queue_url)
    assert {id_of(it) for it in sent} == ids


def test_what_is_refused_or_not_meant_stays(aws_stack: Aws) -> None:
    put(aws_stack, "{", event_id="evt_broken", reason="invalid")
    put(aws_stack, sealed(ORDER), event_id="evt_other", reason="expired")

    [refused] = replay(aws_stack, wanted=Wanted(reason="invalid"))

    assert refused.record()["replayed"] is False
    assert "not valid" in refused.refusal
    assert len(on(aws_stack, aws_stack.dead_letter_url)) == 2
    assert hidden(aws_stack) == 0


def test_what_is_parked_again_during_a_replay_is_not_replayed_again(
    aws_stack: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(aws_stack, sealed(ORDER))
    monkeypatch.setattr(Shelf, "now", lambda _: NOW - 10 * 365 * 86400)

    assert replay(aws_stack) == []
    assert len(on(aws_stack, aws_stack.dead_letter_url)) == 1


def test_two_operators_at_once_share_what_is_parked(aws_stack: Aws) -> None:
    ids = parked_of_each_kind(aws_stack)
    for number in range(20):
        put(aws_stack, sealed(an_event(order_id=number)))

    def urls(queue: str) -> str:
        return {"events": aws_stack.queue_url, "pages": aws_stack.page_queue_url}[queue]

    def send(queue: str, body: str) -> None:
        aws_stack.sqs.send_message(QueueUrl=urls(queue), MessageBody=body)

    with shelf(aws_stack) as ours, shelf(aws_stack) as theirs:
        runs = [
            Replay(it, send, pace(), RULES, Edits(), lambda: NOW).run(Wanted())
            for it in (ours, theirs)
        ]
        for _ in zip_longest(*runs):
            pass

    sent = on(aws_stack, aws_stack.queue_url) + on(aws_stack, aws_stack.page_queue_url)
    assert len(sent) == len({id_of(it) for it in sent}) == len(ids) + 20
    assert on(aws_stack, aws_stack.dead_letter_url) == []


def test_a_second_operator_who_gets_what_the_first_holds_for_too_long_makes_no_other_event(
    aws_stack: Aws,
) -> None:
    ids = parked_of_each_kind(aws_stack)

    def slowly(_: float) -> None:
        come_back(aws_stack.dead_letter_url)
        replay(aws_stack)

    clock = Clock()
    first = paced(clock, 1, iter(()), [])
    replay(aws_stack, at=replace(first, sleep=slowly))

    sent = on(aws_stack, aws_stack.queue_url) + on(aws_stack, aws_stack.page_queue_url)
    assert {id_of(it) for it in sent} == ids
    assert on(aws_stack, aws_stack.dead_letter_url) == []


def test_an_event_that_was_parked_twice_and_is_mended_is_one(aws_stack: Aws) -> None:
    """Deliver, killed after it parked a message, parks it once more: as two messages."""
    invalid = json.dumps({"event_name": "purchased", "email": "grace@example.com"})
    for event_id in ("evt_a", "evt_a", "evt_b"):
        put(aws_stack, invalid, event_id=event_id, accepted_at=ACCEPTED.isoformat())

    replay(aws_stack, edits=Edits({"event_name": "purchase"}))

    ids = [id_of(it) for it in on(aws_stack, aws_stack.queue_url)]
    assert (len(ids), len(set(ids))) == (3, 2)


# --- Pace ---------------------------------------------------------------------------------------


@dataclass
class Clock:
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def paced(clock: Clock, per_minute: int, busy: Iterator[str], told: list[str]) -> Pace:
    return Pace(per_minute, lambda: next(busy, ""), lambda: clock.now, clock.sleep, told.append)


@pytest.mark.parametrize("per_minute", [1, 7, 30, 500])
def test_no_more_than_so_many_a_minute_are_sent(aws_stack: Aws, per_minute: int) -> None:
    for number in range(31):
        put(aws_stack, sealed(an_event(order_id=number)))
    clock = Clock()

    replay(aws_stack, at=paced(clock, per_minute, iter(()), []))

    batch = min(10, per_minute)
    assert clock.now >= (31 - batch) * 60 / per_minute - 1e-6


def test_live_events_come_first(aws_stack: Aws) -> None:
    put(aws_stack, sealed(ORDER))
    clock, told = Clock(), list[str]()
    busy = iter(["more than 50 events wait"] * 3)

    replay(aws_stack, at=paced(clock, 500, busy, told))

    assert told == ["Waiting: more than 50 events wait."]
    assert clock.slept[:3] == [5.0] * 3
    assert len(on(aws_stack, aws_stack.queue_url)) == 1


# --- Export and discard -------------------------------------------------------------------------


def test_an_export_holds_all_of_it_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    file, parked = tmp_path / "parked.jsonl", letter(sealed(ORDER), reason="HTTP 422")

    with export_to(file) as export:
        export.write(parked)
        export.write(parked)

    lines = [json.loads(it) for it in file.read_text().splitlines()]
    assert lines == [parked.record()] * 2
    assert lines[0]["attributes"]["reason"] == "HTTP 422"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_export_takes_no_others_place(tmp_path: Path) -> None:
    file = tmp_path / "parked.jsonl"
    file.write_text("mine")

    with pytest.raises(OpsError, match="already"), export_to(file):
        pass

    assert file.read_text() == "mine"


def test_an_export_into_no_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="cannot be written"), export_to(tmp_path / "a" / "b"):
        pass


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_disk_that_is_full_is_said_and_nothing_is_deleted_for_it(
    command: Command, two: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "gone.jsonl"
    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(os, "fdopen", lambda *_, **__: FullFile(full))

    done = command("discard", "--yes", "--export", str(file))

    assert str(done.exception) == f"{file} cannot be written: No space left on device."
    assert done.stdout == "0 deleted.\n"
    assert len(on(two, two.dead_letter_url)) == 2


@dataclass(frozen=True)
class FullFile:
    """A file on a full disk, which does not even close."""

    write: Callable[..., int]

    def close(self) -> None:
        self.write()


def test_an_export_that_is_broken_off_says_that_it_is_not_complete(
    command: Command, two: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_only(self: Shelf, *_: object) -> Iterator[DeadLetter]:
        yield self._received(1)[0]
        raise EndpointConnectionError(endpoint_url="https://sqs.example.com")

    monkeypatch.setattr(Shelf, "letters", first_only)

    done = command("export", str(tmp_path / "a.jsonl"))

    assert "a.jsonl is not complete" in done.stderr
    assert isinstance(done.exception, EndpointConnectionError)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
    assert len(on(two, two.dead_letter_url)) == 2


# --- The network is cut --------------------------------------------------------------------------


CALLS_OF_A_COMMAND = range(1, 17)


@pytest.mark.parametrize("was_done", HOW_LOST.values(), ids=HOW_LOST)
@pytest.mark.parametrize("number", CALLS_OF_A_COMMAND)
def test_a_replay_whose_network_is_cut_at_any_call_says_so_and_a_repeat_completes_it(
    aws_stack: Aws,
    cable: Cable,
    capsys: pytest.CaptureFixture[str],
    number: int,
    *,
    was_done: bool,
) -> None:
    ids = parked_of_each_kind(aws_stack)
    cable.cut_at, cable.was_done = number, was_done

    status = status_of("parked", "replay", "--yes")

    *_, last = capsys.readouterr().err.splitlines()
    assert status == 1
    assert last == f"cometly-forwarder: AWS cannot be reached: {UNREACHABLE}"
    cable.cut_at = 0
    come_back(aws_stack.dead_letter_url)
    assert status_of("parked", "replay", "--yes") == 0
    sent = on(aws_stack, aws_stack.queue_url) + on(aws_stack, aws_stack.page_queue_url)
    assert {id_of(it) for it in sent} == ids
    assert len(sent) <= len(ids) + 1
    assert on(aws_stack, aws_stack.dead_letter_url) == []


def test_the_table_of_a_commands_calls_has_them_all(aws_stack: Aws, cable: Cable) -> None:
    parked_of_each_kind(aws_stack)

    assert status_of("parked", "replay", "--yes") == 0

    assert cable.calls == CALLS_OF_A_COMMAND[-1]


def test_a_replay_that_is_cut_off_says_how_far_it_came_and_how_to_go_on(
    aws_stack: Aws, cable: Cable, capsys: pytest.CaptureFixture[str]
) -> None:
    parked_of_each_kind(aws_stack)
    cable.cut_at = 10

    status_of("parked", "replay", "--yes", "--json")

    shown = capsys.readouterr()
    assert "Broken off: the same command again goes on with the rest." in shown.err
    last = json.loads(shown.out.splitlines()[-1])
    assert last == {"summary": {"replayed": 2, "refused": 0}}


@pytest.mark.parametrize("number", range(1, 8))
def test_a_discard_whose_network_is_cut_has_written_down_what_it_deleted(
    two: Aws, cable: Cable, tmp_path: Path, number: int
) -> None:
    cable.cut_at, cable.was_done = number, True

    first = status_of("parked", "discard", "--yes", "--export", str(tmp_path / "a"))
    cable.cut_at = 0
    come_back(two.dead_letter_url)
    again = status_of("parked", "discard", "--yes", "--export", str(tmp_path / "b"))

    assert (first in {0, 1}, again) == (True, 0)
    files = [it for it in (tmp_path / "a", tmp_path / "b") if it.exists()]
    written = {json.loads(it)["message_id"] for f in files for it in f.read_text().splitlines()}
    assert len(written) == 2
    assert on(two, two.dead_letter_url) == []


UNREACHABLE = 'Could not connect to the endpoint URL: "https://aws.example.com"'


@pytest.fixture(autouse=True)
def _commands_do_not_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    stand_in = SimpleNamespace(time=time.time, monotonic=lambda: clock.now, sleep=clock.sleep)
    monkeypatch.setattr(stacks, "time", stand_in)


@dataclass
class Cable:
    """The network: cut at one call, whose answer is lost or which is never made, and from then."""

    cut_at: int = 0
    was_done: bool = False
    calls: int = 0

    def through(self, client: object) -> Any:
        return OnCable(self, client)


@dataclass(frozen=True)
class OnCable:
    """A client of AWS behind the cable."""

    cable: Cable
    client: Any

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            cable = self.cable
            cable.calls += 1
            is_cut = cable.cut_at and cable.calls >= cable.cut_at
            if not is_cut or (cable.calls == cable.cut_at and cable.was_done):
                answer = getattr(self.client, name)(**arguments)
            if is_cut:
                raise EndpointConnectionError(endpoint_url="https://aws.example.com")
            return answer

        return call


@pytest.fixture
def cable(aws_stack: Aws, monkeypatch: pytest.MonkeyPatch) -> Cable:
    """Lay a cable between the command and queues in memory."""
    made, known = Cable(), target(aws_stack)
    sqs, dynamodb = made.through(aws_stack.sqs), made.through(known.clients.dynamodb)
    behind = replace(known, clients=replace(known.clients, sqs=sqs, dynamodb=dynamodb))

    def found(_: object) -> Target:
        made.calls = 0
        return behind

    monkeypatch.setattr(commands, "target_of", found)
    monkeypatch.setattr(shelves, "WAIT_SECONDS", 0)
    return made


def status_of(*arguments: str) -> int:
    """Run the program; return what it ends with."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


# --- The commands -------------------------------------------------------------------------------


@dataclass
class Gate:
    """DynamoDB with nothing but the gate's item, or none."""

    item: dict[str, Any] = field(default_factory=dict)

    def get_item(self, **_: object) -> dict[str, Any]:
        return {"Item": self.item} if self.item else {}


def target(aws: Aws, **parameters: str) -> Target:
    services: dict[str, Any] = {it.name: None for it in fields(Clients)}
    return Target(
        clients=Clients(**{**services, "sqs": aws.sqs, "dynamodb": Gate()}),
        name="shop",
        status="CREATE_COMPLETE",
        api_url="https://api.example.com",
        outputs={
            "EventQueueUrl": aws.queue_url,
            "PageQueueUrl": aws.page_queue_url,
            "DeadLetterQueueUrl": aws.dead_letter_url,
            "TableName": "table",
        },
        parameters={"DefaultPhoneRegion": "US", **parameters},
    )


@pytest.fixture
def command(aws_stack: Aws, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `parked` with arguments against queues in memory."""
    monkeypatch.setattr(commands, "target_of", lambda _: target(aws_stack))
    monkeypatch.setattr(
        commands,
        "shelf_of",
        lambda it: Shelf(it.clients.sqs, it.outputs["DeadLetterQueueUrl"], print, 0),
    )
    return lambda *arguments: CliRunner().invoke(app, ["parked", *arguments])


@pytest.fixture
def two(aws_stack: Aws) -> Aws:
    """A refused order and a broken message."""
    at = {"accepted_at": ACCEPTED.isoformat(), "queue": "events"}
    put(
        aws_stack,
        sealed(ORDER),
        event_id="evt_order",
        reason="HTTP 422",
        message="No\x0a[b]!",
        **at,
    )
    put(aws_stack, "{", event_id="evt_broken", reason="invalid", **at)
    return aws_stack


Command = Callable[..., Result]


@pytest.mark.usefixtures("two")
def test_list_shows_a_line_of_each_and_counts_reasons_without_naming_anybody(
    command: Command,
) -> None:
    shown = command("list").stdout

    assert "evt_order purchase events HTTP 422 No [b]!" in shown
    assert "2 parked: HTTP 422 1, invalid 1." in shown or "invalid 1, HTTP 422 1." in shown
    assert "grace" not in shown


@pytest.mark.usefixtures("two")
def test_list_is_an_object_a_line_for_programs(command: Command) -> None:
    *events, last = map(json.loads, command("list", "--json").stdout.splitlines())

    assert {it["event_id"] for it in events} == {"evt_order", "evt_broken"}
    assert last == {"summary": {"parked": 2, "by_reason": {"HTTP 422": 1, "invalid": 1}}}


def test_list_of_none(command: Command) -> None:
    assert command("list").stdout == "0 parked.\n"


@pytest.mark.usefixtures("two")
def test_show_has_all_of_one(command: Command) -> None:
    shown, record = command("show", "evt_order"), command("show", "evt_order", "--json")

    assert '"email": "grace@example.com"' in shown.stdout
    assert json.loads(record.stdout)["attributes"]["reason"] == "HTTP 422"
    assert "{" in command("show", "evt_broken").stdout
    assert command("show", "evt_other").exit_code == 3


def test_export_takes_nothing_away(command: Command, two: Aws, tmp_path: Path) -> None:
    file = tmp_path / "parked.jsonl"

    done = command("export", str(file), "--reason", "invalid")

    assert "personal data" in done.stdout
    [line] = file.read_text().splitlines()
    assert json.loads(line)["body"] == "{"
    assert len(on(two, two.dead_letter_url)) == 2
    assert command("export", str(tmp_path / "b"), "--json").stdout.count('"exported": 2') == 1


def test_discard_deletes_what_it_exported(command: Command, two: Aws, tmp_path: Path) -> None:
    file = tmp_path / "gone.jsonl"

    done = command("discard", "--yes", "--reason", "invalid", "--export", str(file))

    assert done.stdout == "1 deleted.\n"
    assert len(file.read_text().splitlines()) == 1
    assert on(two, two.dead_letter_url) == [sealed(ORDER)]
    assert json.loads(command("discard", "--yes", "--json").stdout)["discarded"] == 1
    assert on(two, two.dead_letter_url) == []


def test_the_question_names_what_would_be_set_in_each(
    command: Command, two: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(commands, "ask", lambda text, **_: asked.append(text))

    command("replay", "--set", "phone=6505551212", "--set", "amount=5", "--limit", "1")
    command("replay")

    assert asked[0].endswith("Set phone, amount in each of them, and send them again?")
    assert asked[1].endswith("1 parked: invalid 1. Send them again?")
    assert len(on(two, two.dead_letter_url)) == 1


def test_a_person_is_erased_and_nobody_else(command: Command, aws_stack: Aws) -> None:
    for number in range(25):
        put(aws_stack, sealed(an_event(email=f"customer-{number}@example.com")))
    put(aws_stack, sealed(an_event(email="ada@example.com")))
    put(aws_stack, json.dumps({"Message": json.dumps(an_event(email="Ada@example.com"))}))

    done = command("discard", "--yes", "--containing", "ada@example.com")

    assert done.stdout == "2 deleted.\n"
    with shelf(aws_stack) as held:
        left = [it.body for it in held.letters()]
    assert len(left) == 25
    assert not any("ada@" in it.lower() for it in left)


@pytest.mark.parametrize("name", ["discard", "replay"])
def test_without_anybody_to_ask_nothing_is_done(command: Command, two: Aws, name: str) -> None:
    done = command(name)

    assert done.exit_code == 2
    assert len(on(two, two.dead_letter_url)) == 2
    assert on(two, two.queue_url) == []


def test_replay_says_what_stays(command: Command, two: Aws) -> None:
    done = command("replay", "--yes")

    assert done.exit_code == 3
    assert "evt_broken stays: it is not valid" in done.stdout
    assert "1 sent again, 1 stay." in done.stdout
    assert on(two, two.queue_url) == [sealed(ORDER)]
    assert on(two, two.dead_letter_url) == ["{"]


def test_replay_has_an_object_for_each_and_a_summary(command: Command, two: Aws) -> None:
    shown = command("replay", "--yes", "--json", "--reason", "422", "--set", "amount=3").stdout

    first, last = map(json.loads, shown.splitlines())
    assert (first["event_id"], first["replayed"]) == ("evt_order", True)
    assert last == {"summary": {"replayed": 1, "refused": 0}}
    assert [event_in(it)["amount"] for it in on(two, two.queue_url)] == [3]


def test_filters_of_age_count_from_now(command: Command, two: Aws) -> None:
    assert "0 parked." in command("list", "--newer-than", "1s").stdout
    assert "2 parked" in command("list", "--older-than", "1s").stdout
    assert command("list", "--older-than", "soon").exit_code == 2
    assert hidden(two) == 0


def test_half_of_the_limit_is_left_to_live_events(aws_stack: Aws) -> None:
    stack = target(aws_stack, CometlyRequestsPerMinute="600")

    assert stacks.pace_of(stack, None).per_minute == 300
    assert stacks.pace_of(stack, 7).per_minute == 7
    assert stacks.pace_of(target(aws_stack, CometlyRequestsPerMinute="1"), None).per_minute == 1


def test_a_deep_event_queue_is_waited_for(aws_stack: Aws) -> None:
    for _ in range(10):
        aws_stack.sqs.send_message(QueueUrl=aws_stack.queue_url, MessageBody="{}")
    assert stacks.busy(target(aws_stack), 60) == ""

    aws_stack.sqs.send_message(QueueUrl=aws_stack.queue_url, MessageBody="{}")

    assert stacks.busy(target(aws_stack), 60) == "more than 10 events wait on the event queue"
    assert stacks.busy(target(aws_stack), 600) == ""


def test_a_paused_gate_is_waited_for(aws_stack: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = [GatePause("pages", "throttled", 0, is_probing=False)]
    monkeypatch.setattr(stacks, "gate_of", lambda *_: OpenGate(tuple(pauses), 0, 1000, 0))
    assert stacks.busy(target(aws_stack), 60) == ""

    pauses.append(GatePause("events", "blocked", 0, is_probing=False))

    assert stacks.busy(target(aws_stack), 60) == "delivery is paused (blocked)"


def test_a_page_queue_that_is_no_more_is_the_event_queue(aws_stack: Aws) -> None:
    stack = target(aws_stack)
    without = {name: it for name, it in stack.outputs.items() if name != "PageQueueUrl"}

    stacks.sender_of(replace(stack, outputs=without))("pages", "{}")

    assert on(aws_stack, aws_stack.queue_url) == ["{}"]
