"""What holds for every event, not for the ones that somebody thought of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given, reject, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Fault, InvalidEvent, Unreadable
from cometly_forwarder.event.envelope import Envelope, Source, read_envelope, seal
from cometly_forwarder.event.model import EVENT_NAMES, FIELDS, Event, read_event
from cometly_forwarder.event.phones import read_phone
from local.openapi import document
from local.sandbox import contract
from tests.unit.conftest import an_event
from tests.unit.test_model import IDENTIFIERS, TEXT_FIELDS
from tests.unit.test_phones import NUMBERS

PUBLISHED = Draft202012Validator({**document(), "$ref": "#/components/schemas/Event"})
REGIONS = [None, "US", "DE", "GB", "SG"]
NOON = datetime(2024, 1, 15, 12, 0, 0, tzinfo=UTC)
ORIGIN = Source("http", "request-1", NOON)
QUEUE = Source("queue", "message-1", NOON)

# --- What callers send ------------------------------------------------------------------------

blanks = st.sampled_from(["", " ", "\t\n", "\u00a0", "\u2003"])


def in_blanks(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda before, text, after: before + text + after, blanks, texts, blanks)


words = in_blanks(st.text(max_size=20))
identifiers = words | st.integers(-(10**18) + 1, 10**18 - 1)
emails = in_blanks(st.emails() | st.from_regex(r"[A-Z]{1,8}@Example\.COM", fullmatch=True)) | words
digits = st.text("0123456789", min_size=1, max_size=20)
# Numbers that exist, as their owners would write them, and what looks like numbers.
phones = (
    st.sampled_from([str(each.values[0]) for each in NUMBERS])
    | st.builds("+{}{}".format, st.sampled_from(["1", "44", "49", "65", "39", "47", "590"]), digits)
    | st.text("0123456789+()-./ x#*", max_size=30)
    | digits
    | st.integers(0, 10**18 - 1)
    | words
)
moments = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 - the zones come next
    datetime(2100, 1, 1),  # noqa: DTZ001 - the zones come next
    timezones=st.builds(timezone, st.integers(-1439, 1439).map(lambda n: timedelta(minutes=n))),
)
times = (
    moments.map(datetime.isoformat)
    | st.datetimes().map(str)
    | st.dates().map(str)
    | st.integers(0, 10**13 - 1)
    | st.integers(0, 10**13 - 1).map(str)
    | st.floats(0, 1e13, exclude_max=True)
)
# Fifteen digits at the most: each of these is a JSON number to the last of them.
decimals = st.decimals(Decimal(-(10**11)), Decimal(10**11), places=4).map(
    lambda number: number.quantize(Decimal("0.0001"))
)
amounts = (
    st.integers(-(10**15), 10**15)
    | st.floats(-1e15, 1e15)
    | in_blanks(decimals.map(str))
    | in_blanks(st.integers(-(10**15), 10**15).map(str))
)
booleans = st.booleans() | st.sampled_from(["true", "FALSE", " 1", "0", 1, 0])

STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "email": emails,
    "phone": phones,
    "event_time": times,
    "amount": amounts,
    "is_upsell": booleans,
    "do_not_capi": booleans,
    **dict.fromkeys(["fingerprint", "ip", *TEXT_FIELDS], words),
    **dict.fromkeys(IDENTIFIERS, identifiers),
}
fields = st.fixed_dictionaries(
    {"event_name": in_blanks(st.sampled_from(sorted(EVENT_NAMES)))},
    optional={name: values | st.none() | blanks for name, values in STRATEGIES.items()},
)
regions = st.sampled_from(REGIONS)


@st.composite
def posted_events(draw: st.DrawFn) -> dict[str, object]:
    """Draw what a caller may send: the customer is known in one of the three ways."""
    customer = draw(
        st.fixed_dictionaries({"email": st.emails()})
        | st.fixed_dictionaries({"comet_token": st.just("ct_1")})
        | st.just({"fingerprint": "fp_1", "ip": "203.0.113.7"})
    )
    event = draw(fields) | customer
    if not str(event.get("ip") or "").strip() or not str(event.get("fingerprint") or "").strip():
        event.pop("ip", None)
        event.pop("fingerprint", None)
    return event


def json_of(value: object) -> str:
    """Write it with its types, so that 1 and 1.0 and True are three things."""
    return json.dumps(value, sort_keys=True)


def outcome_of(raw: object, region: str | None) -> tuple[Event | None, tuple[Fault, ...]]:
    """Return the event if it is one, and what its caller is told."""
    try:
        return read_event(raw, region)
    except InvalidEvent as exc:
        assert exc.faults  # noqa: PT017 - what is raised is not the question here
        return None, exc.faults + exc.warnings


def test_every_field_has_a_strategy() -> None:
    assert {"event_name", *STRATEGIES} == set(FIELDS)


# --- 1. Cometly accepts what we accept --------------------------------------------------------


@given(raw=posted_events(), region=regions)
def test_what_is_accepted_cometlys_rules_accept(raw: dict[str, object], region: str | None) -> None:
    envelope = read_envelope(json.dumps(raw), QUEUE, region)

    sent = contract.read_fields(jsontext.dump(envelope.event).encode())

    assert envelope.faults == ()
    assert contract.problems(sent) == []
    assert contract.unknown_fields(sent) == []


@given(raw=posted_events(), region=regions)
def test_what_is_accepted_the_published_schema_accepts(
    raw: dict[str, object], region: str | None
) -> None:
    read_event(raw, region)

    assert [error.message for error in PUBLISHED.iter_errors(raw)] == []


# --- 2. Normal is normal ----------------------------------------------------------------------


def may_be_local(digits: str | None, region: str | None) -> bool:
    """Tell the foreign numbers whose digits a region without a 0 in front would call its own.

    +47 92731000 is a number of Norway, 4792731000 one of Arkansas: in a US stack digits alone are
    read as the shop's customers write them (docs/decisions has the figures).
    """
    own = {"US": "1", "SG": "65"}.get(region or "")
    return own is not None and digits is not None and not digits.startswith(own)


@given(raw=posted_events(), region=regions)
def test_normalising_twice_changes_nothing(raw: dict[str, object], region: str | None) -> None:
    once, _ = read_event(raw, region)

    fields = {} if may_be_local(once.phone, region) else {"phone": once.phone}
    twice, _ = read_event(once.fields() | {"phone": None} | fields, region)

    expected = once if fields else once.model_copy(update={"phone": None})
    assert json_of(twice.fields()) == json_of(expected.fields())


@given(raw=posted_events(), region=regions)
def test_what_others_sealed_is_read_in_the_normal_form(
    raw: dict[str, object], region: str | None
) -> None:
    normal = seal(read_event({**raw, "phone": None}, region)[0], ORIGIN)
    by_hand = {**raw, "phone": None, "idempotency_key": normal.event.get("idempotency_key")}
    body = json.dumps({**json.loads(normal.body()), "event": by_hand})

    read = read_envelope(body, QUEUE, region)

    assert read.faults == ()
    assert read.event_id == normal.event_id
    assert json_of(read.event) == json_of(normal.event)


@pytest.mark.parametrize("region", REGIONS)
@given(phone=phones.map(str))
def test_a_phone_number_in_its_normal_form_stays(region: str | None, phone: str) -> None:
    warned: list[str] = []
    once = read_phone(phone, region, warned.append)

    again = read_phone(once, region, warned.append) if once else None

    assert again == once or may_be_local(once, region)


# --- 3. Nothing breaks it ---------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | times
    | phones
    | amounts
    | st.sampled_from(
        [10**400, -(10**400), math.nan, math.inf, "9" * 5_000, "1e-9999999999", "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
any_event = st.dictionaries(st.sampled_from(FIELDS) | any_text, any_json, max_size=8)


def nested(depth: int) -> object:
    value: object = "core"
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


@given(raw=any_event | any_json, region=regions)
@example(raw=dict.fromkeys(FIELDS, 10**4_000), region="US")
@example(raw=dict.fromkeys(FIELDS, math.nan), region="US")
@example(raw=dict.fromkeys(FIELDS, "\ud800"), region="US")
@example(raw={1: 2, None: 3, ("a",): 4}, region=None)
def test_any_input_is_an_event_or_an_invalid_one(raw: object, region: str | None) -> None:
    event, told = outcome_of(raw, region)

    assert event or told
    assert all(fault.message for fault in told)


@pytest.mark.parametrize("region", [None, "US"])
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(nested(50_000), id="deep"),
        pytest.param(dict.fromkeys([*FIELDS, "items"], nested(50_000)), id="deep in every field"),
        # A pattern that backtracks would not come back from these in minutes.
        pytest.param(dict.fromkeys(FIELDS, "1" * 200_000 + "x"), id="digits, then a letter"),
        pytest.param(dict.fromkeys(FIELDS, "1." + "1" * 200_000 + "x"), id="decimals, a letter"),
        pytest.param(dict.fromkeys(FIELDS, "(" * 200_000), id="brackets"),
        pytest.param(dict.fromkeys(FIELDS, "x" * 1_000_000), id="a megabyte in every field"),
        pytest.param(dict.fromkeys(map(str, range(100_000))), id="many unknown fields"),
        pytest.param([{}] * 100_000, id="many events where one is due"),
    ],
)
def test_no_size_of_input_breaks_the_rules(raw: object, region: str | None) -> None:
    with pytest.raises(InvalidEvent):
        read_event(raw, region)


_PIECES = [
    *'{}[],:"\\- é\n\x00\ufeff\ud800',
    "\\u",
    "d800",
    "null",
    "NaN",
    "1e",
    "9" * 4_400,
    '"a"',
]
json_pieces = st.lists(st.sampled_from([*_PIECES, '{"a":1,"a":2}'])).map("".join)


@given(text=st.text(st.characters(exclude_categories=())) | json_pieces | st.binary())
@example(text="[" * 200_000)
@example(text=b'{"a":' * 200_000)
@example(text=b"\xff\xfe")
@example(text="9" * 5_000)
def test_any_text_is_json_or_unreadable(text: str | bytes) -> None:
    try:
        value, reason = jsontext.parse(text), ""
    except Unreadable as exc:
        value, reason = None, str(exc)

    assert reason or json_of(jsontext.parse(jsontext.dump(value))) == json_of(value)


# As often a sound event as anything else, or nothing would get past the first rule.
any_content = st.booleans().flatmap(
    lambda sound: posted_events() if sound else any_event | any_json
)
ends_of_time = st.sampled_from(
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01",
        "2024-01-15T11:00:00Z",
        "",
    ]
)
any_time = st.booleans().flatmap(lambda is_time: ends_of_time if is_time else any_json)
messages = st.one_of(
    st.text(st.characters(exclude_categories=())),
    json_pieces,
    any_json.map(json.dumps),
    st.fixed_dictionaries(
        {
            "Type": st.just("Notification"),
            "MessageId": any_text,
            "Message": any_text | any_content.map(json.dumps),
            "Timestamp": any_time,
        }
    ).map(json.dumps),
    st.fixed_dictionaries(
        {
            "detail-type": any_text,
            "id": any_text,
            "detail": any_content,
            "time": any_time,
        }
    ).map(json.dumps),
    st.fixed_dictionaries(
        {
            "cometly_forwarder": st.just(1) | any_json,
            "event_id": any_text | any_json,
            "event": any_event | any_json,
            "accepted_at": any_time,
        }
    ).map(json.dumps),
)


@given(body=messages)
def test_any_message_is_an_envelope(body: str) -> None:
    envelope = read_envelope(body, QUEUE, "US")

    assert isinstance(envelope, Envelope)
    assert envelope.event_id
    assert envelope.accepted_at.tzinfo


# --- 4. Amounts -------------------------------------------------------------------------------


@given(
    number=decimals,
    write=st.sampled_from(["{}", "+{}", "{}0", "0{}", "{}e0", "{}E+2", "{}e-3", " {} "]),
)
def test_a_numeric_string_becomes_exactly_that_number(number: Decimal, write: str) -> None:
    assume(number >= 0 or write not in {"+{}", "0{}"})
    text = write.format(number)

    event, _ = read_event(an_event(amount=text))

    assert Decimal(repr(event.amount)) == Decimal(text)


@given(
    text=st.from_regex(
        r"[+-]?([0-9]{1,11}\.?[0-9]{0,3}|\.[0-9]{1,14})([eE][+-]?[0-3])?", fullmatch=True
    )
)
@example(text="1e-99999999999999999999")
@example(text="0e99999999999999999999")
def test_no_numeric_string_becomes_another_number(text: str) -> None:
    event, _ = outcome_of(an_event(amount=text), None)
    if event is None:
        reject()

    # Where the exponent is beyond what Decimal holds, only zero is what it says.
    mantissa, _, exponent = text.lower().partition("e")
    expected = Decimal(0) if not Decimal(mantissa) else Decimal(f"{mantissa}e{exponent or 0}")
    assert Decimal(repr(event.amount)) == expected


# --- 5. Identity ------------------------------------------------------------------------------


def id_of(raw: object, source: str = "request-1", at: datetime = NOON) -> str:
    event, _ = read_event(raw)
    return seal(event, Source("http", source, at)).event_id


names = st.sampled_from(sorted(EVENT_NAMES))
keys = st.text(min_size=1, max_size=10).filter(lambda text: bool(text.strip()))


@settings(max_examples=50)  # two events an example
@given(one=posted_events(), other=posted_events(), key=keys, source=st.uuids().map(str))
def test_the_same_key_is_the_same_event_whatever_else_differs(
    one: dict[str, object], other: dict[str, object], key: str, source: str
) -> None:
    first = id_of(one | {"idempotency_key": key})

    second = id_of(other | {"idempotency_key": key}, source, NOON + timedelta(days=1))

    assert first == second


@settings(max_examples=50)  # two events an example
@given(
    one=posted_events(), other=posted_events(), name=names, order=keys, source=st.uuids().map(str)
)
def test_the_same_order_is_the_same_event_whatever_else_differs(
    one: dict[str, object], other: dict[str, object], name: str, order: str, source: str
) -> None:
    identity = {
        "event_name": name,
        "order_id": order,
        "email": "grace@example.com",
        "idempotency_key": None,
    }

    assert id_of(one | identity) == id_of(other | identity, source, NOON + timedelta(days=1))


@given(
    one=st.tuples(names, keys, st.sampled_from(["email", "comet_token"]), keys),
    other=st.tuples(names, keys, st.sampled_from(["email", "comet_token"]), keys),
)
@example(one=("purchase", "1", "comet_token", "ab"), other=("purchase", "1a", "comet_token", "b"))
@example(
    one=("purchase", '1","x', "comet_token", "y"), other=("purchase", "1", "comet_token", 'x","y')
)
def test_another_name_order_or_customer_is_another_event(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    def written(parts: tuple[str, str, str, str]) -> tuple[dict[str, object], tuple[str, ...]]:
        name, order, kind, customer = parts
        raw: dict[str, object] = {"event_name": name, "order_id": order, kind: customer}
        event, _ = read_event(raw)
        return raw, (event.event_name, event.order_id or "", event.customer or "")

    (first, first_parts), (second, second_parts) = written(one), written(other)

    assert (id_of(first) == id_of(second)) == (first_parts == second_parts)


@given(one=keys, other=keys)
def test_another_key_is_another_event_even_with_the_same_order(one: str, other: str) -> None:
    first, second = (id_of(an_event(order_id="1", idempotency_key=key)) for key in (one, other))

    assert (first == second) == (one.strip() == other.strip())


@given(
    raw=posted_events(), sources=st.lists(st.text(max_size=5), min_size=2, max_size=2, unique=True)
)
def test_without_key_and_order_every_request_is_its_own(
    raw: dict[str, object], sources: list[str]
) -> None:
    anonymous = raw | {"idempotency_key": None, "order_id": None}

    assert id_of(anonymous, sources[0]) != id_of(anonymous, sources[1])
    assert id_of(anonymous, sources[0]) == id_of(anonymous, sources[0], NOON + timedelta(days=1))


# --- 6. The queue -----------------------------------------------------------------------------


@given(raw=posted_events(), region=regions, at=moments)
def test_a_sealed_envelope_is_read_back_as_it_was(
    raw: dict[str, object], region: str | None, at: datetime
) -> None:
    event, _ = read_event(raw, region)
    envelope = seal(event, Source("http", "request-1", at))

    body = envelope.body()

    assert body.isascii()
    # Not normalised twice either, whatever region the reader has.
    for reader in (None, region, "US", "DE"):
        assert read_envelope(body, QUEUE, reader) == envelope
        assert json_of(read_envelope(body, QUEUE, reader).event) == json_of(envelope.event)


# --- 7. Time ----------------------------------------------------------------------------------

ISO_FORMS: dict[str, Callable[[datetime], str]] = {
    "isoformat": datetime.isoformat,
    "blank": lambda moment: moment.isoformat(" "),
    "lower case": lambda moment: moment.isoformat().lower(),
    "milliseconds": lambda moment: moment.isoformat(timespec="milliseconds"),
    "comma": lambda moment: moment.isoformat(timespec="microseconds").replace(".", ","),
    "basic": lambda moment: moment.strftime("%Y%m%dT%H%M%S%z"),
    "half basic": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S%z"),
    "Zulu": lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "no offset, in UTC": lambda moment: moment.astimezone(UTC).replace(tzinfo=None).isoformat(),
    "week date": lambda moment: (
        "{}-W{:02}-{}".format(*moment.isocalendar()) + moment.strftime("T%H:%M:%S%z")
    ),
}
UNIX_FORMS: dict[str, Callable[[datetime], object]] = {
    "seconds": lambda moment: int(moment.timestamp()),
    "seconds as text": lambda moment: str(int(moment.timestamp())),
    "seconds and a part": lambda moment: moment.timestamp(),
    "seconds and a part as text": lambda moment: f"{moment.timestamp():.6f}",
}


def utc_form(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    "write", [*ISO_FORMS.values(), *UNIX_FORMS.values()], ids=[*ISO_FORMS, *UNIX_FORMS]
)
@given(moment=moments)
def test_a_moment_comes_to_one_form_however_it_is_written(
    write: Callable[[datetime], object], moment: datetime
) -> None:
    event, warnings = read_event(an_event(event_time=write(moment)))

    assert event.event_time == utc_form(moment)
    assert warnings == ()


@given(moment=st.datetimes(datetime(1973, 3, 4), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_milliseconds_come_to_the_same_form(moment: datetime) -> None:
    milliseconds = int(moment.timestamp()) * 1000 + 999

    event, warnings = read_event(an_event(event_time=milliseconds))

    assert event.event_time == utc_form(moment)
    assert [warning.field for warning in warnings] == ["event_time"]
