"""Other vocabularies, in Cometly's words: field names and event names.

Read are Cometly's own names in any case, with any separators or none (`orderId`, `Event-Name`), and
those of Meta's, GA4's, Segment's, TikTok's, Pinterest's, Snap's, Klaviyo's and Shopify's events, as
far as they can be one thing only. Not read, because they can be two:

- `id`, `name`, `user_id`, `client_id`, `external_id`, `anonymousId`: whose, and of what?
- `price`, `subtotal`, `amount_total`: of a part, or in cents. `created_at`, `time`: of what?
- `order_number`: the id of an order in one shop, its name in another.
- the events `checkout` (a purchase to Pinterest, the way there to others), `SubmitForm`,
  `PlaceAnOrder` (TikTok knows `CompletePayment` beside it), `PageView`, `Search`.

Nor are UTM parameters Cometly's attribution: that is for its script to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.amounts import read_amount
from cometly_forwarder.event.texts import is_placeholder, without_invisible

Warn = Callable[[str], None]
WarnOf = Callable[[str, str], None]
# Says why a value cannot be a field's, if so.
Unfit = Callable[[str, object], str | None]

# Each field in others' words. Where several are given and differ, the first of a row is taken. A
# word is written with every separator that it may have.
_FIELDS_IN_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "event_name": ("event", "event_type"),
    "amount": (
        *("value", "revenue", "total", "total_price", "order_total", "order_value", "total_value"),
        *("total_amount", "grand_total", "purchase_amount", "conversion_value", "event_value"),
        *("transaction_value", "transaction_total", "transaction_revenue"),
    ),
    "order_id": ("transaction_id",),
    "idempotency_key": (
        *("event_id", "message_id", "insert_id", "client_dedup_id", "deduplication_id"),
        *("deduplication_key", "dedup_id"),
    ),
    "event_time": (
        *("time_stamp", "event_timestamp", "timestamp_micros", "original_timestamp", "occurred_at"),
        *("conversion_time", "conversion_date_time"),
    ),
    "email": ("e_mail_address", "user_email", "customer_email", "contact_email", "mail", "em"),
    "phone": (
        *("phone_number", "telephone", "telephone_number", "phone_no", "mobile_phone"),
        *("mobile_number", "user_phone", "customer_phone", "contact_phone", "tel", "ph"),
    ),
    "first_name": ("given_name", "customer_first_name", "fn"),
    "last_name": ("sur_name", "family_name", "customer_last_name", "ln"),
    "ip": (
        "client_ip_address",
        "ip_address",
        "client_ip",
        "user_ip",
        "user_ip_address",
        "remote_addr",
    ),
    "user_agent": ("client_user_agent", "http_user_agent", "browser_user_agent"),
    "url": ("event_source_url", "page_url", "page_location", "event_url"),
    "fingerprint": ("comet_fingerprint", "cometly_fingerprint"),
}
_ALSO_WRITTEN = {"email": "e_mail", "fingerprint": "finger_print"}
_NAMES = frozenset({"full_name", "first_name", "last_name"})
# Meta's short names are of hashed values, and may be lists.
_SHORT = frozenset({"em", "ph", "fn", "ln"})
_HASHED = frozenset({"email", "phone", "first_name", "last_name"})
_HASH = r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}"
_MOST_VALUES = 16

# Objects around fields: Meta's and Snap's, Segment's, GA4's, TikTok's. In this order, and behind
# all that stands outside of them.
_WRAPPERS = (
    *("custom_data", "user_data", "properties", "params", "ecommerce", "traits", "user", "page"),
    "context",
)
_WITHIN_CONTEXT = ("traits", "user", "page")
_PATHS = (*((name,) for name in _WRAPPERS), *(("context", name) for name in _WITHIN_CONTEXT))
# Forms and spreadsheets have no objects: they write the way to a field into its name.
_FLAT = re.compile(
    rf"(context(?:__|\.)(?:{'|'.join(_WITHIN_CONTEXT)})|{'|'.join(_WRAPPERS)})(?:__|\.)(.+)",
    re.DOTALL,
)
# Objects around one event, which is all that there is.
_AROUND_AN_EVENT = ("data", "event", "payload")

# `fb_mobile_` and `af_` are of apps: Meta's SDK and AppsFlyer's.
_EVENTS_IN_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "purchase": (
        *("complete_payment", "order_completed", "checkout_completed", "placed_order"),
        *("purchase_completed", "make_purchase", "ecommerce_purchase"),
        *("fb_mobile_purchase", "af_purchase"),
    ),
    "lead_generated": ("lead", "generate_lead"),
    "view_content": (
        *("view_item", "product_viewed", "viewed_product", "view_product"),
        *("fb_mobile_content_view", "af_content_view"),
    ),
    "add_to_cart": (
        *("product_added", "product_added_to_cart", "added_to_cart", "add_cart"),
        *("add_to_basket", "add_to_bag", "fb_mobile_add_to_cart", "af_add_to_cart"),
    ),
    "initiate_checkout": (
        *("begin_checkout", "start_checkout", "checkout_started", "started_checkout"),
        *("initiated_checkout", "initiate_purchase"),
        *("fb_mobile_initiated_checkout", "af_initiated_checkout"),
    ),
    "add_payment_info": (
        *("payment_info_entered", "payment_info_submitted", "add_billing"),
        *("fb_mobile_add_payment_info", "af_add_payment_info"),
    ),
    "complete_registration": ("fb_mobile_complete_registration", "af_complete_registration"),
    "sign_up": ("signed_up",),
    "subscribe": ("af_subscribe",),
    "start_trial": ("trial_started", "af_start_trial"),
}
_LONGEST_NAME = 64
_LAST = 99
_SEPARATORS = r"[\s_\-./:]+"


class Translated(dict[str, object]):
    """An event in Cometly's field names.

    `others` tells the name that a field had, if it was another than Cometly's in some spelling.
    """

    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__(fields)
        self.others: dict[str, str] = {}
        self.doubtful = set[str]()


def others_in(event: Mapping[str, object]) -> Mapping[str, str]:
    """Tell which fields of an event came by another name, and by which."""
    return event.others if isinstance(event, Translated) else {}


def _nothing(*_: object) -> None:
    """Stand for a question that nobody asks."""


def translated(
    raw: Mapping[str, object],
    known: Collection[str],
    warn: WarnOf,
    *,
    unfit: Unfit = _nothing,
    keeps: Callable[[str], object] = _nothing,
) -> Mapping[str, object]:
    """Put an event into Cometly's field names, each with a warning of the name that was read.

    A field that is given by its own name stays as it is; another name for it, with another value,
    is left out with a warning. Of several other names the first is taken: Cometly's name in another
    spelling, then others' in the order above, first outside of wrappers. What is `unfit` for its
    field is passed over. `known` are the names that need no translation, as are those that `keeps`
    names. What no name could be read from stays, for others to judge.
    """
    names = frozenset(known)
    if names.issuperset(raw):
        return raw
    raw = _out_of_its_object(raw, names, warn)
    unknown = {
        name: value
        for name, value in raw.items()
        if name not in names and (isinstance(value, Mapping) or not keeps(name))
    }
    found = sorted(_readings(unknown, names), key=lambda reading: reading.order)
    taken = {reading.outermost for reading in found}
    result = Translated({name: value for name, value in raw.items() if name not in taken})
    for reading in found:
        _take(reading, result, warn, unfit)
    for wrapper in _WRAPPERS:
        if wrapper in taken and _holds_more(raw[wrapper], wrapper, found):
            warn(wrapper, "holds more than what was read; the rest is left out")
    return result


def names_an_event(content: Mapping[str, object]) -> bool:
    """Say whether an object tells which event it is, in whatever vocabulary."""
    return _has_ga4_name(content) or any(
        not isinstance(value, Mapping) and _meaning_of(name[: _LONGEST_NAME + 1], _EVENT_NAME)
        for name, value in content.items()
    )


_EVENT_NAME = frozenset({"event_name"})


def _out_of_its_object(
    raw: Mapping[str, object], known: frozenset[str], warn: WarnOf
) -> Mapping[str, object]:
    """Read `{"data": {…}}` as the event in it, with what stands beside where it has nothing."""
    inner = [
        (name, value)
        for name in _AROUND_AN_EVENT
        if name not in known and isinstance(value := raw.get(name), Mapping)
    ]
    if not inner or names_an_event(raw):
        return raw
    events = [(name, value) for name, value in inner if names_an_event(value)]
    if len(events) != 1:
        return raw
    [(around, event)] = events
    warn(around, "was read as the event")
    return {name: value for name, value in raw.items() if name != around} | dict(event)


def _has_ga4_name(content: Mapping[str, object]) -> bool:
    """Say whether a name is an event's: beside GA4's parameters. Elsewhere it is anybody's."""
    return isinstance(content.get("params"), Mapping) and isinstance(content.get("name"), str)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A value that stands for one of Cometly's fields. `order`: what is first outranks the rest."""

    order: tuple[int, int]
    field: str
    value: object
    path: tuple[str, ...]

    @property
    def outermost(self) -> str:
        return self.path[0]

    @property
    def name(self) -> str:
        return ".".join(self.path)[:_LONGEST_NAME]

    @property
    def is_by_another_name(self) -> bool:
        return self.order != (0, 0)


def _readings(unknown: Mapping[str, object], known: frozenset[str]) -> Iterator[_Reading]:
    yield from _within(unknown, known, 0)
    for depth, path in enumerate(_PATHS, start=1):
        if path[0] in unknown:
            yield from _within(_at(path, unknown), known, depth, path)
    for name, value in unknown.items():
        yield from _flat(name, value, known)
    if _has_ga4_name(unknown):
        yield _Reading((0, _LAST), "event_name", unknown["name"], ("name",))


def _flat(name: str, value: object, known: frozenset[str]) -> Iterator[_Reading]:
    """Read `user_data__em` and `custom_data.value` as the way to the field."""
    found = _FLAT.fullmatch(name[: 2 * _LONGEST_NAME])
    if found and not _meaning_of(name[: _LONGEST_NAME + 1], known):
        depth = 1 + _PATHS.index(tuple(found[1].replace("__", ".").split(".")))
        for reading in _within({found[2]: value}, known, depth):
            yield replace(reading, path=(name,))


def _at(path: tuple[str, ...], content: object) -> Mapping[str, object]:
    for name in path:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content if isinstance(content, Mapping) else {}


def _within(
    content: Mapping[str, object], known: frozenset[str], depth: int, path: tuple[str, ...] = ()
) -> Iterator[_Reading]:
    """Find what can be read, each name in its first spelling."""
    seen = set[str]()
    for name, value in content.items():
        meaning = _meaning_of(name[: _LONGEST_NAME + 1], known)
        if meaning is None or meaning[2] in seen:
            continue
        field, rank, word = meaning
        one = _one_of(value, field, word) if isinstance(value, list) else value
        if isinstance(one, str | int | float) or value is None:
            seen.add(word)
            yield _Reading((depth, rank), field, one, (*path, name))


def _one_of(values: list[object], field: str, word: str) -> object:
    """Choose from a list where one may be: of Meta's short names, and of e-mail addresses."""
    if word in _SHORT:
        return first_usable(values) or next(iter(values), None)
    return first_usable(values) if field == "email" and _are_texts(values) else None


def _are_texts(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values[:_MOST_VALUES])


def first_usable(values: list[object]) -> object:
    """Choose from a list of values for one person: the first that is neither a hash nor blank."""
    few = [value for value in values[:_MOST_VALUES] if isinstance(value, str | int | float)]
    return next((value for value in few if _is_given(value) and not _is_hash(value)), None)


def _take(reading: _Reading, result: Translated, warn: WarnOf, unfit: Unfit) -> None:
    field, value, name = reading.field, reading.value, reading.name
    if not _is_given(value, field):
        return
    if field in _HASHED and _is_hash(value):
        warn(name, "is a hash, which Cometly cannot match, and is left out")
    elif reading.is_by_another_name and (why := unfit(field, value)):
        warn(name, f"{why}; it is left out")
    elif field in result.doubtful:
        warn(name, f'is left out: "{field}" is given with other values')
    elif not _is_given(result.get(field), field):
        result[field] = value
        if reading.is_by_another_name:
            result.others[field] = name
        warn(name, f'was read as "{field}"')
    elif result[field] != value:
        _leave_out(reading, result, warn)


def _leave_out(reading: _Reading, result: Translated, warn: WarnOf) -> None:
    """Warn of a second value; where it makes the first one doubtful too, neither is taken."""
    field, first = reading.field, result.others.get(reading.field)
    if field == "amount" and first and _are_in_doubt(result[field], reading.value):
        del result[field], result.others[field]
        result.doubtful.add(field)
        why = "one of them is 0, or 100 times the other"
        warn(field, f'is left out: "{first}" and "{reading.name}" differ, and {why}')
    else:
        warn(reading.name, f'is left out: "{field}" is given with another value')


def _are_in_doubt(one: object, other: object) -> bool:
    """Say whether two amounts differ so that one may be unset, or in cents."""
    try:
        low, high = sorted(Decimal(str(read_amount(it, _nothing))) for it in (one, other))
    except BadValue:
        return False
    return low != high and (0 in {low, high} or high == 100 * low or low == 100 * high)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(_HASH, value.strip().lower()) is not None


def _holds_more(content: object, wrapper: str, found: list[_Reading]) -> bool:
    read = {reading.path[1] for reading in found if reading.outermost == wrapper}
    return isinstance(content, Mapping) and not read.issuperset(content)


def _is_given(value: object, field: str = "") -> bool:
    """Tell a value from a blank and from a placeholder; but there are people called Null."""
    if isinstance(value, str):
        return bool(value.strip()) and (field in _NAMES or not is_placeholder(value))
    return value is not None


@lru_cache(maxsize=1024)
def _meaning_of(name: str, known: frozenset[str]) -> tuple[str, int, str] | None:
    """Look a name up. Cached: the names of a source are always the same."""
    meaning = _meanings(known).get(_folded(name))
    return meaning if meaning and _is_spelled_as(name, meaning[2]) else None


@lru_cache(maxsize=4)
def _meanings(known: frozenset[str]) -> Mapping[str, tuple[str, int, str]]:
    """Map each name, folded, to its field, its rank behind the field's own name, and itself."""
    meanings = {_folded(name): (name, 0, _ALSO_WRITTEN.get(name, name)) for name in known}
    for field, names in _FIELDS_IN_OTHER_WORDS.items():
        for rank, name in enumerate(names, start=1):
            if field in known:
                meanings.setdefault(_folded(name), (field, rank, name))
    return meanings


def read_event_name(text: str, names: Collection[str], warn: Warn) -> str | None:
    """Read an event's name in any case and spelling, or in another vocabulary; None if it is none.

    `names` are Cometly's. There is a warning of all but another case.
    """
    if text in names:
        return text
    shown = without_invisible(text)
    found = _events(frozenset(names)).get(_folded(shown))
    if not found or not _is_spelled_as(shown, found[1]):
        return None
    if text.strip().lower() != found[0]:
        warn(f'was read as "{found[0]}"')
    return found[0]


@lru_cache(maxsize=4)
def _events(names: frozenset[str]) -> Mapping[str, tuple[str, str]]:
    events = {_folded(name): (name, name) for name in names}
    for name, others in _EVENTS_IN_OTHER_WORDS.items():
        for other in others:
            if name in names:
                events.setdefault(_folded(other), (name, other))
    return events


# --- Spelling -----------------------------------------------------------------------------------


def _words(name: str) -> list[str]:
    return re.split(_SEPARATORS, name[: _LONGEST_NAME + 1].lower().lstrip("$").strip(" _-"))


def _folded(name: str) -> str:
    return "".join(_words(name))


def _is_spelled_as(name: str, meant: str) -> bool:
    """Say whether a name has separators only where the one that is meant has some.

    `addtocart` and `AddToCart` are `add_to_cart`; `custom_event_1_1` is not `custom_event_11`.
    """
    return _ends_of(_words(name)) <= _ends_of(_words(meant))


def _ends_of(words: list[str]) -> set[int]:
    return {sum(map(len, words[: place + 1])) for place in range(len(words))}
