"""What a page may send, and what the connection says instead of it."""

from __future__ import annotations

import pytest

from cometly_forwarder.errors import InvalidEvent
from cometly_forwarder.event.model import CUSTOM_NAMES, EVENT_NAMES, STANDARD_NAMES
from cometly_forwarder.ingest.browser import (
    MONEY_NAMES,
    PAGE_NAMES,
    BrowserRules,
    Visitor,
    event_names_in,
    visitor_of,
)

SOURCE = "203.0.113.7"
VISITOR = Visitor(SOURCE, "Agent/1.0", "https://shop.example.com/thanks")
RULES = BrowserRules(frozenset({"https://shop.example.com"}))


def forwarded(*addresses: str) -> dict[str, str]:
    return {"x-forwarded-for": ", ".join(addresses)}


# --- Who the visitor is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "hops", "ip"),
    [
        pytest.param([], 0, SOURCE, id="no header"),
        pytest.param([], 2, SOURCE, id="no header where proxies should be"),
        pytest.param([SOURCE], 0, SOURCE, id="no proxy"),
        pytest.param(["198.51.100.1", SOURCE], 0, SOURCE, id="a forged entry, no proxy of ours"),
        pytest.param(["198.51.100.1", SOURCE], 1, "198.51.100.1", id="one proxy"),
        pytest.param(["198.51.100.1"], 1, "198.51.100.1", id="one proxy that is not in the header"),
        pytest.param(
            ["192.0.2.66", "198.51.100.1", SOURCE], 1, "198.51.100.1", id="forged before one proxy"
        ),
        pytest.param(
            ["192.0.2.66", "198.51.100.1", "198.51.100.9", SOURCE],
            2,
            "198.51.100.1",
            id="forged before two proxies",
        ),
        pytest.param(["198.51.100.1", SOURCE], 5, SOURCE, id="more proxies than entries"),
        pytest.param(["<script>", SOURCE], 1, SOURCE, id="no address"),
        pytest.param(["", SOURCE], 1, SOURCE, id="nothing"),
        pytest.param(["unknown", SOURCE], 1, SOURCE, id="unknown"),
        pytest.param(["198.51.100.1:4711", SOURCE], 1, "198.51.100.1", id="with a port"),
        pytest.param(["2001:DB8::1", SOURCE], 1, "2001:db8::1", id="IPv6"),
        pytest.param(["[2001:db8::1]", SOURCE], 1, "2001:db8::1", id="IPv6 in brackets"),
        pytest.param(["[2001:db8::1]:443", SOURCE], 1, "2001:db8::1", id="IPv6 with a port"),
        pytest.param(["::ffff:198.51.100.1", SOURCE], 1, "198.51.100.1", id="IPv4 within IPv6"),
        pytest.param(["fe80::1%<script>", SOURCE], 1, SOURCE, id="IPv6 with a zone"),
    ],
)
def test_the_visitor_is_whom_our_own_proxies_heard_from(
    chain: list[str], hops: int, ip: str
) -> None:
    headers = forwarded(*chain) if chain else {}

    assert visitor_of(SOURCE, headers, hops).ip == ip


def test_agent_and_page_are_taken_from_the_headers() -> None:
    headers = {"user-agent": "Agent/1.0", "referer": "https://shop.example.com/thanks"}

    assert visitor_of(SOURCE, headers, 0) == VISITOR


# --- What becomes of an event -----------------------------------------------------------------


PAGE = "https://shop.example.com/thanks"


@pytest.mark.parametrize(
    ("raw", "visitor", "event"),
    [
        pytest.param(
            {"fingerprint": "fp", "ip": "192.0.2.66", "user_agent": "Forged/9"},
            VISITOR,
            {"fingerprint": "fp", "ip": SOURCE, "user_agent": "Agent/1.0", "url": PAGE},
            id="what it says of its connection",
        ),
        # Cometly refuses an address without a fingerprint.
        *(
            pytest.param(
                {"fingerprint": blank, "ip": "192.0.2.66"},
                Visitor(SOURCE),
                {"fingerprint": blank},
                id=f"an address, and {blank!r} for a fingerprint",
            )
            for blank in (None, "", "  ")
        ),
        pytest.param({"user_agent": "Forged/9"}, Visitor(SOURCE), {}, id="no agent"),
        pytest.param(
            {}, Visitor(SOURCE, "A" * 9_000), {"user_agent": "A" * 1024}, id="an endless agent"
        ),
        pytest.param(
            {"url": PAGE + "/more"},
            Visitor(SOURCE, url=PAGE),
            {"url": PAGE + "/more"},
            id="a url of its own",
        ),
        pytest.param(None, VISITOR, None, id="no object: null"),
        pytest.param("purchase", VISITOR, "purchase", id="no object: text"),
        pytest.param([], VISITOR, [], id="no object: an array"),
    ],
)
def test_the_connection_is_put_in_place_of_what_a_page_claims(
    raw: object, visitor: Visitor, event: object
) -> None:
    assert RULES.event_from(raw, visitor) == event


@pytest.mark.parametrize("name", ["purchase", " purchase\t", "contact"], ids=repr)
def test_an_event_name_that_is_not_taken_from_pages_is_refused(name: str) -> None:
    rules = BrowserRules(RULES.origins, frozenset({"view_content", "add_to_cart"}))

    with pytest.raises(InvalidEvent, match="parameter BrowserEventNames can admit it"):
        rules.event_from({"event_name": name}, VISITOR)


@pytest.mark.parametrize("name", ["purchase", "subscribe", "start_trial"])
def test_what_carries_money_is_not_taken_from_pages_unless_it_is_named(name: str) -> None:
    with pytest.raises(InvalidEvent, match="not taken from browsers"):
        RULES.event_from({"event_name": name}, VISITOR)

    named = BrowserRules(RULES.origins, event_names_in(name))
    assert named.event_from({"event_name": name}, Visitor(SOURCE)) == {"event_name": name}


@pytest.mark.parametrize("name", sorted({*STANDARD_NAMES, *CUSTOM_NAMES} - MONEY_NAMES))
def test_every_other_name_is_taken_from_pages(name: str) -> None:
    assert RULES.event_from({"event_name": name}, Visitor(SOURCE)) == {"event_name": name}


@pytest.mark.parametrize(
    "name",
    ["view_content", " add_to_cart ", "Purchase", "purchases", "purchase\u200b", "", None, 5],
    ids=repr,
)
def test_an_event_name_that_is_taken_or_no_name_passes_on_to_the_validation(name: object) -> None:
    rules = BrowserRules(RULES.origins, frozenset({"view_content", "add_to_cart"}))

    event = rules.event_from({"event_name": name}, VISITOR)

    assert isinstance(event, dict)
    assert event["event_name"] == name


# --- Small parts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("", PAGE_NAMES, id="nothing: all without money"),
        pytest.param(" , ", PAGE_NAMES, id="blanks are nothing"),
        pytest.param("purchase, contact", {"purchase", "contact"}, id="a list: these alone"),
        pytest.param("*", EVENT_NAMES, id="a star: all"),
        pytest.param("contact,*", EVENT_NAMES, id="a star in a list: all"),
    ],
)
def test_names_that_pages_may_send_are_read_from_the_parameter(
    text: str, names: frozenset[str]
) -> None:
    assert event_names_in(text) == names
