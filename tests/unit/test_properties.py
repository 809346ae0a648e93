"""What holds for every event, not for the ones that somebody thought of.

Events are drawn by Cometly's own field names: what other vocabularies' names are read as is in the
tables of test_real_callers.py. How single values are read is in the readers' own tests.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Fault, InvalidEvent, Unreadable
from cometly_forwarder.event.envelope import Envelope, Source, read_envelope, seal
from cometly_forwarder.event.model import EVENT_NAMES, FIELDS, Event
from cometly_forwarder.event.reading import EventRules, read_event
from cometly_forwarder.event.texts import is_placeholder
from local.openapi import document
from local.sandbox import contract
from tests.unit.conftest import PASSED_ON, READ_AT, an_event, read
from tests.unit.test_model import BOOLEANS, IDENTIFIERS, TEXT_FIELDS

# Coverage would double the time, and the other tests reach each line.
pytestmark = pytest.mark.no_cover

PUBLISHED = Draft202012Validator({**document(), "$ref": "#/components/schemas/Event"})
REGIONS = [None, "US", "DE", "GB", "SG"]
ORIGIN = Source("http", "request-1", READ_AT)
QUEUE = Source("queue", "message-1", READ_AT)

# --- What callers send ------------------------------------------------------------------------

blanks = st.sampled_from(["", " ", "\t\n", "\u00a0", "\u2003"])
# What shows nothing, and what stands for nothing.
hidden = st.sampled_from(["\u200b", "\ufeff", "\u2060", "\u202a", "\u00ad", "\u200d", "\x00"])
for_nothing = st.sampled_from(["null", "undefined", "(not set)", "{{email}}", "NaN", "${x}", "-"])


def in_blanks(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda before, text, after: before + text + after, blanks, texts, blanks)


any_text = st.text(st.characters(exclude_categories=()), max_size=20)
words = (
    in_blanks(st.text(max_size=20))
    | any_text
    | st.builds("{}{}{}".format, for_nothing, hidden, blanks)
    | for_nothing
)
numbers = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
texts = words | numbers
orders = texts | st.sampled_from(["gid://shopify/Order/5001", '"null"', '"k"', '" "', "\u200b"])
emails = (
    in_blanks(st.emails() | st.from_regex(r"[A-Z]{1,8}@Example\.COM", fullmatch=True))
    | st.builds("{} <{}>".format, st.text(max_size=8), st.emails())
    | words
)
digits = st.text("0123456789", min_size=1, max_size=20)
# Numbers that exist, as their owners would write them, and what looks like numbers.
phones = (
    st.sampled_from(
        [
            "(650)555-1212",
            "0151 23456789",
            "+44 (0)20 7946 0958",
            "9123 4567",
            "4792731000",
            "+65 1",
        ]
    )
    | st.builds("+{}{}".format, st.sampled_from(["1", "44", "49", "65", "39", "47", "590"]), digits)
    | st.text("0123456789+()-./ x#*", max_size=30)
    | digits
    | st.integers(0, 10**18 - 1)
    | words
)
moments = st.datetimes(
    datetime(2010, 1, 2),  # noqa: DTZ001 - the zones come next
    datetime(2026, 6, 30),  # noqa: DTZ001 - the zones come next
    timezones=st.builds(timezone, st.integers(-1439, 1439).map(lambda n: timedelta(minutes=n))),
)
times = (
    moments.map(datetime.isoformat)
    | st.datetimes().map(str)
    | st.dates().map(str)
    | st.integers(0, 10**18)
    | st.integers(0, 10**13 - 1).map(str)
    | st.floats(0, 1e13)
)
amounts = (
    st.integers(-(10**15), 10**15)
    | st.floats(-1e15, 1e15)
    | in_blanks(st.integers(-(10**15), 10**15).map(str))
    | st.decimals(-(10**11), 10**11, places=4).map(str)
    | st.sampled_from(["89,00", "1.234,56 \u20ac", "$1,234.56", "1 234,5"])
)
booleans = st.booleans() | st.sampled_from(["true", "FALSE", " 1", "0", 1, 0, "yes", "off", "?", 2])

STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "email": emails,
    "phone": phones,
    "event_time": times,
    "amount": amounts,
    **dict.fromkeys(BOOLEANS, booleans),
    **dict.fromkeys(["comet_token", "fingerprint", "ip", *TEXT_FIELDS], texts),
    **dict.fromkeys(IDENTIFIERS, orders),
    "ip": texts | st.ip_addresses().map(str),
}
fields = st.fixed_dictionaries(
    {"event_name": in_blanks(st.sampled_from(sorted(EVENT_NAMES)))},
    optional={name: values | st.none() | blanks for name, values in STRATEGIES.items()}
    | {"currency": words | booleans, "profile_field_1": texts, "phone_region": words},
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
    return draw(fields) | customer


def rules_of(region: str | None) -> EventRules:
    return EventRules(region, PASSED_ON)


def json_of(value: object) -> str:
    """Write it with its types, so that 1 and 1.0 and True are three things."""
    return json.dumps(value, sort_keys=True)


def outcome_of(raw: object, region: str | None = None) -> tuple[Event | None, tuple[Fault, ...]]:
    """Return the event if it is one, and what its caller is told."""
    try:
        return read(raw, region)
    except InvalidEvent as exc:
        assert exc.faults  # noqa: PT017 - what is raised is not the question here
        return None, exc.faults + exc.warnings


def test_every_field_has_a_strategy() -> None:
    assert {"event_name", *STRATEGIES} == set(FIELDS)


# --- 1. Cometly accepts what we accept --------------------------------------------------------


@given(raw=posted_events(), region=regions)
def test_what_is_accepted_cometlys_rules_accept(raw: dict[str, object], region: str | None) -> None:
    envelope = read_envelope(json.dumps(raw), QUEUE, rules_of(region))

    sent = contract.read_fields(jsontext.dump(envelope.event).encode())

    assert envelope.faults == ()
    assert contract.problems(sent) == []
    assert set(contract.unknown_fields(sent)) <= {"currency", "profile_field_1"}


@given(raw=posted_events(), region=regions)
def test_what_is_read_and_not_left_out_the_published_schema_accepts(
    raw: dict[str, object], region: str | None
) -> None:
    event, warnings = read(raw, region)

    left_out = {it.field for it in warnings if it.field not in event.fields()}
    kept = {name: value for name, value in raw.items() if name not in left_out}
    assert [error.message for error in PUBLISHED.iter_errors(kept)] == []


# --- 2. Only four things refuse an event -------------------------------------------------------

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
SOUND = {"event_name": "purchase", "email": "ada@example.com", "comet_token": "ct_1"}
MAY_REFUSE = {"event_name", "amount", "event_time"}


@given(raw=st.dictionaries(st.sampled_from(FIELDS), any_json, max_size=8), region=regions)
@example(raw=dict.fromkeys(FIELDS, 10**4_000), region="US")
@example(raw=dict.fromkeys(FIELDS, math.nan), region="US")
@example(raw=dict.fromkeys(FIELDS, "\ud800"), region="US")
@example(raw={name: {"a": [1]} for name in FIELDS}, region=None)
@example(raw=dict.fromkeys(FIELDS, "undefined"), region=None)
def test_no_value_but_of_the_four_kinds_refuses_an_event(
    raw: dict[str, object], region: str | None
) -> None:
    event, told = outcome_of(raw, region)

    refused = set() if event else {fault.field for fault in faults_among(raw, region)}
    lists = {it for it in ("order_id", "idempotency_key") if isinstance(raw.get(it), list | dict)}
    assert event or told
    assert refused <= MAY_REFUSE | lists | {"email", "ip", "fingerprint"}
    assert all(fault.message for fault in told)
    # With a name and a customer of which nothing is wrong, nobody is missing.
    sound = SOUND | {name: value for name, value in raw.items() if name not in MAY_REFUSE}
    sound |= {"comet_token": "ct_1"} | dict.fromkeys(lists)
    assert outcome_of(sound, region)[0]


def faults_among(raw: object, region: str | None) -> tuple[Fault, ...]:
    with pytest.raises(InvalidEvent) as refusal:
        read(raw, region)
    return refusal.value.faults


@pytest.mark.parametrize("name", FIELDS)
@given(value=any_json)
@settings(max_examples=30)  # times 28 fields
def test_a_field_is_refused_by_its_own_name_or_not_at_all(name: str, value: object) -> None:
    event, told = outcome_of(SOUND | {name: value})

    is_many = name in {"order_id", "idempotency_key"} and isinstance(value, list | dict)
    may_refuse = name in MAY_REFUSE or is_many
    assert event or may_refuse
    assert event or [fault.field for fault in told][:1] == [name]


# --- 3. Nothing is changed in silence ----------------------------------------------------------


def is_as_given(name: str, value: Any, posted: Any) -> bool:
    """Say whether nothing but blanks, case, or the form of a number was changed."""
    if value == posted:
        return True
    if isinstance(value, str) and isinstance(posted, str):
        text = value.strip()
        return posted == (text.lower() if name in {"email", "event_name", "ip"} else text)
    if isinstance(posted, bool):
        return True
    if isinstance(value, str):
        return Decimal(value.strip()) == Decimal(repr(posted))
    return float(value) == float(posted)


@given(raw=posted_events(), region=regions)
def test_every_change_beyond_trimming_and_case_has_a_warning(
    raw: dict[str, object], region: str | None
) -> None:
    event, warnings = read(raw, region)

    posted, warned = event.fields(), {warning.field for warning in warnings}
    # What the form of a phone and of a time may be is in their readers' tests.
    named = {name for name in raw if name not in {"phone", "event_time", "phone_region"} | warned}
    given_ones = {name for name in named if raw[name] is not None and str(raw[name]).strip()}
    assert given_ones <= posted.keys()
    assert [it for it in given_ones if not is_as_given(it, raw[it], posted[it])] == []
    for name in {"phone", "event_time"} - warned:
        assert (name in posted) == bool(str(raw.get(name) or "").strip() or raw.get(name) == 0)


SECRET = "qzjxw"
_FORMS = (
    *("{}", "{}@example.com", "{} <{}@x>", "1{}", "{{{{{}}}}}", "[{}]", '"{}"', "\u200b{}", "$ {}"),
    *(
        "+49 151 {}",
        "gid://shopify/Order/{}",
        "2024-01-15 {}",
        "{}:80",
        "http://{}.example",
        "{}\ud83d",
    ),
)
secrets = st.sampled_from(_FORMS).map(lambda form: form.replace("{}", SECRET))
secret_json = secrets | st.lists(secrets, max_size=2) | st.builds(lambda it: {"a": it}, secrets)
secret_names = st.sampled_from(
    [
        *FIELDS,
        "value",
        "transaction_id",
        "eventID",
        "properties",
        "em",
        "phone_region",
        "currency",
        "x",
    ]
)


@given(raw=st.dictionaries(secret_names, secret_json, max_size=8), region=regions)
@example(raw=dict.fromkeys(FIELDS, SECRET), region="US")
@example(raw={name: {"a": SECRET} for name in FIELDS}, region="US")
@example(raw={"properties": {"order_id": SECRET, "email": [SECRET]}}, region=None)
def test_nothing_that_is_told_quotes_a_value(raw: dict[str, object], region: str | None) -> None:
    for each in (raw, raw | SOUND, SOUND | raw):
        told = outcome_of(each, region)[1]

        assert SECRET not in " ".join(map(str, told)).lower()


# --- 4. Normal is normal ----------------------------------------------------------------------


@given(raw=posted_events(), region=regions)
def test_normalising_twice_changes_nothing(raw: dict[str, object], region: str | None) -> None:
    once, _ = read({**raw, "phone": None}, region)

    twice, warnings = read(once.fields(), region)

    assert json_of(twice.fields()) == json_of(once.fields())
    # What it can still say is that there is no e-mail, amount or UTF-8.
    assert [it for it in warnings if "read" in it.message or "left out" in it.message] == []


@given(raw=posted_events(), region=regions)
def test_what_others_sealed_is_read_in_the_normal_form(
    raw: dict[str, object], region: str | None
) -> None:
    normal = seal(read({**raw, "phone": None}, region)[0], ORIGIN)
    by_hand = {**raw, "phone": None, "idempotency_key": normal.event.get("idempotency_key")}
    body = json.dumps({**json.loads(normal.body()), "event": by_hand})

    read_back = read_envelope(body, QUEUE, rules_of(region))

    assert read_back.faults == ()
    assert read_back.event_id == normal.event_id
    assert json_of(read_back.event) == json_of(normal.event)


# --- 5. Nothing breaks it ---------------------------------------------------------------------


def nested(depth: int) -> object:
    value: object = "core"
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


@given(raw=any_event | any_json, region=regions)
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
        read(raw, region)


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
    envelope = read_envelope(body, QUEUE, rules_of("US"))

    assert isinstance(envelope, Envelope)
    assert envelope.event_id
    assert envelope.accepted_at.tzinfo


# --- 6. Identity ------------------------------------------------------------------------------


def id_of(raw: object, source: str = "request-1", at: datetime = READ_AT) -> str:
    event, _ = read(raw)
    return seal(event, Source("http", source, at)).event_id


names = st.sampled_from(sorted(EVENT_NAMES))
keys = st.text("abcXYZ019-_#. \u00e9\u4e00", min_size=1, max_size=10).filter(
    lambda text: any(map(str.isalnum, text)) and not is_placeholder(text)  # as __A__ is
)


@settings(max_examples=50)  # two events an example
@given(one=posted_events(), other=posted_events(), key=keys, source=st.uuids().map(str))
def test_the_same_key_is_the_same_event_whatever_else_differs(
    one: dict[str, object], other: dict[str, object], key: str, source: str
) -> None:
    first = id_of(one | {"idempotency_key": key})

    second = id_of(other | {"idempotency_key": key}, source, READ_AT + timedelta(days=1))

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
        "is_upsell": None,
    }

    assert id_of(one | identity) == id_of(other | identity, source, READ_AT + timedelta(days=1))


def as_it_is(text: str) -> object:
    return text


def in_pieces(text: str) -> object:
    return unicodedata.normalize("NFD", text)


def with_hidden(text: str) -> object:
    return "\ufeff" + text[:1] + "\u200b" + text[1:] + "\u202c"


def in_spaces(text: str) -> object:
    return f"\t{text}\u00a0"


def in_quotes(text: str) -> object:
    return f'"{text.strip()}"'


def in_capitals(text: str) -> object:
    return text.upper()


def as_gid(text: str) -> object:
    return f"gid://shopify/OrderIdentity/{text}"


SPELLINGS = (as_it_is, in_pieces, with_hidden, in_spaces)
NUMBER_SPELLINGS = (*SPELLINGS, int, float, as_gid)
numerals = st.integers(1, 2**53 - 1).map(str)
addresses = st.sampled_from(["ada@example.com", "jos\u00e9@example.com", "a.b+c@shop.example"])


@given(key=keys, write=st.sampled_from((*SPELLINGS, in_quotes)))
def test_two_spellings_of_a_key_are_one_event(key: str, write: Any) -> None:
    one, other = an_event(idempotency_key=key), an_event(idempotency_key=write(key))

    assert id_of(one) == id_of(other, "request-2")


@given(
    order=numerals,
    number=st.sampled_from(NUMBER_SPELLINGS),
    email=addresses,
    type_=st.sampled_from((*SPELLINGS, in_capitals)),
)
def test_two_spellings_of_an_order_and_its_customer_are_one_event(
    order: str, number: Any, email: str, type_: Any
) -> None:
    one = an_event(order_id=order, email=email)
    other = an_event(order_id=number(order), email=type_(email))

    assert id_of(one) == id_of(other, "request-2")


@given(order=keys.map(str.strip), write=st.sampled_from(SPELLINGS))
def test_an_order_of_letters_is_one_in_two_spellings(order: str, write: Any) -> None:
    assert id_of(an_event(order_id=order)) == id_of(an_event(order_id=write(order)), "request-2")


@given(
    one=st.tuples(names, keys, st.sampled_from(["email", "comet_token"]), keys),
    other=st.tuples(names, keys, st.sampled_from(["email", "comet_token"]), keys),
    upsells=st.tuples(st.booleans(), st.booleans()),
)
@example(
    one=("purchase", "1", "comet_token", "ab"),
    other=("purchase", "1a", "comet_token", "b"),
    upsells=(False, False),
)
@example(
    one=("purchase", '1","x', "comet_token", "y"),
    other=("purchase", "1", "comet_token", 'x","y'),
    upsells=(False, False),
)
def test_another_name_order_customer_or_upsell_is_another_event(
    one: tuple[str, str, str, str],
    other: tuple[str, str, str, str],
    upsells: tuple[bool, bool],
) -> None:
    def written(parts: tuple[str, str, str, str], *, upsell: bool) -> tuple[object, object]:
        name, order, kind, customer = parts
        raw = {"event_name": name, "order_id": order, kind: customer, "is_upsell": upsell}
        event, _ = read(raw)
        return raw, (event.event_name, event.order_id, event.customer, upsell)

    first, first_parts = written(one, upsell=upsells[0])
    second, second_parts = written(other, upsell=upsells[1])

    assert (id_of(first) == id_of(second)) == (first_parts == second_parts)


@given(
    raw=posted_events(), sources=st.lists(st.text(max_size=5), min_size=2, max_size=2, unique=True)
)
def test_without_key_and_order_every_request_is_its_own(
    raw: dict[str, object], sources: list[str]
) -> None:
    anonymous = raw | {"idempotency_key": None, "order_id": None}

    assert id_of(anonymous, sources[0]) != id_of(anonymous, sources[1])
    later = READ_AT + timedelta(days=1)
    assert id_of(anonymous, sources[0]) == id_of(anonymous, sources[0], later)


# --- 7. The queue -----------------------------------------------------------------------------


@given(raw=posted_events(), region=regions, at=moments)
def test_a_sealed_envelope_is_read_back_as_it_was(
    raw: dict[str, object], region: str | None, at: datetime
) -> None:
    event, _ = read(raw, region, at=at)
    envelope = seal(event, Source("http", "request-1", at))

    body = envelope.body()

    assert body.isascii()
    # Not normalised twice either, whatever region the reader has.
    for reader in (None, region, "US", "DE"):
        read_back = read_envelope(body, QUEUE, rules_of(reader))
        assert read_back == envelope
        assert json_of(read_back.event) == json_of(envelope.event)


@given(
    raw=posted_events(),
    more=st.dictionaries(
        st.sampled_from(["value", "em", "user_id", "x", "total*"]), texts | booleans
    ),
    region=regions,
    passed_on=st.sets(st.sampled_from(["x", "value", "total*", "em", "currency", "user_*"])),
    other=st.sets(st.sampled_from(["value", "currency", "em*"])),
)
def test_other_settings_change_nothing_of_what_is_sealed(
    raw: dict[str, object],
    more: dict[str, object],
    region: str | None,
    passed_on: set[str],
    other: set[str],
) -> None:
    event, _ = read_event(raw | more, EventRules(region, frozenset(passed_on)), READ_AT)
    envelope = seal(event, ORIGIN)

    for reader in REGIONS:
        rules = EventRules(reader, frozenset(other))
        assert json_of(read_envelope(envelope.body(), QUEUE, rules).event) == json_of(
            envelope.event
        )


@given(
    raw=st.dictionaries(
        st.sampled_from(["value", "total", "timestamp", "event_timestamp", "custom_data.amount"]),
        any_json,
    )
)
def test_no_amount_and_no_time_by_another_name_refuses_an_event(raw: dict[str, object]) -> None:
    assert read(an_event(order_id="1") | raw)[0].order_id == "1"


def by_the_old_rules(fields: Mapping[str, Any]) -> str:
    """Work out an event's id as versions before 1.0 did, which took each field as it was."""
    customer = fields.get("email") or fields.get("comet_token") or fields.get("fingerprint")
    identity = ["order", fields["event_name"], fields["order_id"], customer]
    if key := fields.get("idempotency_key"):
        identity = ["key", key]
    digest = hashlib.sha256(json.dumps(identity, separators=(",", ":")).encode()).hexdigest()
    return "evt_" + digest[:32]


written = st.text(min_size=1, max_size=12).map(str.strip).filter(bool)


@given(
    event=st.fixed_dictionaries(
        {"event_name": names, "order_id": written | for_nothing},
        optional={
            "email": st.emails().map(str.lower) | written,
            "fingerprint": written,
            "idempotency_key": written,
            "is_upsell": st.booleans(),
            "amount": st.integers(0, 100),
        },
    ),
    other=written,
)
def test_what_an_earlier_version_sealed_is_delivered_and_a_forged_id_is_not(
    event: dict[str, Any], other: str
) -> None:
    fields = {"comet_token": "ct_1", **event, "ip": "203.0.113.7"}
    forged = {**fields, "idempotency_key": None, "order_id": fields["order_id"] + other}
    sealed = {"cometly_forwarder": 1, "accepted_at": READ_AT.isoformat(), "event": fields}

    told = [
        read_envelope(json.dumps({**sealed, "event_id": by_the_old_rules(its)}), QUEUE).faults
        for its in (fields, forged)
    ]

    assert [len(faults) for faults in told] == [0, 1]
