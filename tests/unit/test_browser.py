"""What a page may send, and what the connection says instead of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cometly_forwarder.event.model import EVENT_NAMES
from cometly_forwarder.ingest.browser import (
    PAGE_NAMES,
    AllowedOrigins,
    BrowserRules,
    Visitor,
    cors_headers,
    event_names_in,
    preflight_headers,
    visitor_of,
)
from tests.unit.cases import in_one_test

SOURCE = "203.0.113.7"
VISITOR = Visitor(SOURCE, "Agent/1.0", "https://shop.example.com/thanks")
RULES = BrowserRules()
NOON = datetime(2024, 1, 15, 12, 0, 0, tzinfo=UTC)


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
    ],
)
def test_the_connection_is_put_in_place_of_what_a_page_claims(
    raw: dict[str, object], visitor: Visitor, event: dict[str, object]
) -> None:
    assert RULES.amended(raw, visitor, NOON) == event


@pytest.mark.parametrize("referer", [None, "https://shop.example.com/thanks"])
def test_a_frame_without_an_address_of_its_own_has_that_of_its_page(referer: str | None) -> None:
    event = RULES.amended({"url": "about:srcdoc"}, Visitor(SOURCE, url=referer), NOON)

    assert event.get("url") == referer


EARLIER = "2024-01-15T10:00:00Z"
TIMES = [
    pytest.param({"seconds_ago": 0}, "2024-01-15T12:00:00Z", id="just now"),
    pytest.param({"seconds_ago": 7200}, EARLIER, id="two hours"),
    pytest.param({"seconds_ago": 7199.9}, EARLIER, id="a fraction, cut to whole seconds"),
    pytest.param({"seconds_ago": 4 * 86400}, "2024-01-11T12:00:00Z", id="four days"),
    pytest.param({"seconds_ago": 4 * 86400 + 1}, None, id="more than a page keeps an event"),
    pytest.param({"seconds_ago": 10**400}, None, id="an endless number"),
    pytest.param({"seconds_ago": -1}, None, id="in the future"),
    pytest.param({"seconds_ago": float("nan")}, None, id="NaN"),
    pytest.param({"seconds_ago": float("inf")}, None, id="for ever"),
    pytest.param({"seconds_ago": "7200"}, None, id="text"),
    pytest.param({"seconds_ago": True}, None, id="true"),
    pytest.param({"seconds_ago": [7200]}, None, id="a list"),
    pytest.param({"seconds_ago": None}, None, id="null"),
    pytest.param({}, None, id="absent"),
    pytest.param({"seconds_ago": 60, "event_time": EARLIER}, EARLIER, id="beside a time"),
    pytest.param({"seconds_ago": 7200, "event_time": " "}, EARLIER, id="beside a blank time"),
    pytest.param({"seconds_ago": 7200, "event_time": None}, EARLIER, id="beside null"),
]


@pytest.mark.parametrize(("raw", "event_time"), TIMES)
def test_what_a_page_says_is_so_long_ago_is_taken_off_our_own_time(
    raw: dict[str, object], event_time: str | None
) -> None:
    event = RULES.amended(raw, Visitor(SOURCE), NOON)

    assert "seconds_ago" not in event
    assert event.get("event_time") == event_time


# --- Whose pages may send ---------------------------------------------------------------------

WIDE = AllowedOrigins.of(
    {
        "https://*.shop.example.com",
        "http://*.local.example:8080",
        "https://www.example.org",
        "null",
    }
)


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.shop.example.com",
        "https://de-2.eu.shop.example.com",
        "https://xn--bcher-kva.shop.example.com",
        "http://a.local.example:8080",
        "https://www.example.org",
        "null",
    ],
)
def test_pages_of_subdomains_and_those_that_are_named_may_send(origin: str) -> None:
    assert origin in WIDE


@in_one_test
@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example.com",
        "https://.shop.example.com",
        "https://a..shop.example.com",
        "https://.a.shop.example.com",
        "https://-evil-shop.example.com",
        "https://evil-shop.example.com",
        "https://a.shop.example.com.evil.example",
        "https://evil.example/.shop.example.com",
        "https://evil.example#.shop.example.com",
        "https://evil.example:80@.shop.example.com",
        "https://user@a.shop.example.com",
        "https://*.shop.example.com",
        "https://A.shop.example.com",
        "https://a.SHOP.example.com",
        "https://\u0430.shop.example.com",
        "https://a\n.shop.example.com",
        "https://a.shop.example.com\n",
        "https://a.shop.example.com.",
        "https://a.shop.example.com:8443",
        "https://a.shop.example.com:443",
        "http://a.shop.example.com",
        "http://a.local.example",
        "http://a.local.example:80",
        "http://a.local.example:8080:8080",
        "https://a.www.example.org",
        "https://null",
        "NULL",
        "",
    ],
    ids=repr,
)
def test_no_other_page_may_send(origin: str) -> None:
    assert origin not in WIDE


def test_without_an_origin_the_door_is_shut() -> None:
    assert not AllowedOrigins()
    assert AllowedOrigins.of({"https://*.shop.example.com"})
    assert AllowedOrigins.of({"null"})
    assert "null" not in AllowedOrigins.of({"https://shop.example.com"})


@pytest.mark.parametrize("origin", ["https://shop.example.com", "null"])
def test_an_answer_with_credentials_names_the_one_origin(origin: str) -> None:
    for headers in (cors_headers(origin), preflight_headers(origin)):
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert headers["Access-Control-Allow-Origin"] == origin
        # With credentials a browser takes a star for the name of a method or header.
        assert not [value for value in headers.values() if "*" in value]
        assert headers["Vary"] == "Origin"


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


def test_what_carries_money_is_not_among_the_names_of_pages() -> None:
    assert {"purchase", "subscribe", "start_trial"} == EVENT_NAMES - PAGE_NAMES
