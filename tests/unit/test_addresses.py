"""IP addresses in the forms in which servers, proxies and people write them."""

from __future__ import annotations

import pytest

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.addresses import read_ip
from tests.unit.cases import in_one_test


def quiet(message: str) -> None:
    pytest.fail(f"nothing was changed, and yet: {message}")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7\n", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8::A1", "2001:db8::a1"),
        ("8.8.8.8", "8.8.8.8"),
        ("100.128.0.1", "100.128.0.1"),
        ("172.32.0.1", "172.32.0.1"),
        ("64:ff9b::cb00:7107", "64:ff9b::cb00:7107"),
    ],
)
def test_an_address_stays(given: str, address: str) -> None:
    assert read_ip(given, quiet) == address


@in_one_test
@pytest.mark.parametrize(
    ("given", "address"),
    [
        pytest.param("203.0.113.7, 10.0.0.5", "203.0.113.7", id="a list"),
        pytest.param("203.0.113.7,198.51.100.1,10.0.0.5", "203.0.113.7", id="three"),
        pytest.param("203.0.113.7 10.0.0.5", "203.0.113.7", id="blanks"),
        pytest.param("203.0.113.7;10.0.0.5", "203.0.113.7", id="semicolons"),
        pytest.param("203.0.113.7,", "203.0.113.7", id="a comma behind"),
        pytest.param("203.0.113.7, unknown", "203.0.113.7", id="a proxy that hides itself"),
        pytest.param("10.0.0.5, 203.0.113.7", "203.0.113.7", id="a private one in front"),
        pytest.param("fd00::1, 2001:db8::1", "2001:db8::1", id="a private IPv6 in front"),
        pytest.param("127.0.0.1, 203.0.113.7", "203.0.113.7", id="loopback in front"),
        pytest.param("100.64.0.9, 203.0.113.7", "203.0.113.7", id="a carrier's in front"),
        pytest.param("203.0.113.7:54321", "203.0.113.7", id="a port"),
        pytest.param("203.0.113.7:54321, 10.0.0.5:80", "203.0.113.7", id="ports in a list"),
        pytest.param("[2001:db8::1]:443", "2001:db8::1", id="IPv6 with a port"),
        pytest.param("[2001:db8::1]", "2001:db8::1", id="IPv6 in brackets"),
        pytest.param("::ffff:203.0.113.7", "203.0.113.7", id="IPv4 in IPv6"),
        pytest.param("::FFFF:cb00:7107", "203.0.113.7", id="IPv4 in IPv6, in hex"),
        pytest.param("[::ffff:203.0.113.7]:443", "203.0.113.7", id="the same with a port"),
        pytest.param("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1", id="IPv6 in full"),
        pytest.param("2001:db8:0:0::1", "2001:db8::1", id="IPv6 half in full"),
        pytest.param('"203.0.113.7"', "203.0.113.7", id="quotes"),
        pytest.param("'2001:db8::1'", "2001:db8::1", id="single quotes"),
        pytest.param("203.0.113.7/32", "203.0.113.7", id="a network of one"),
        pytest.param("2001:db8::1/128", "2001:db8::1", id="an IPv6 network of one"),
        pytest.param("for=203.0.113.7;proto=https;by=198.51.100.1", "203.0.113.7", id="RFC 7239"),
        pytest.param('For="[2001:db8::1]:4711"', "2001:db8::1", id="RFC 7239, IPv6"),
        pytest.param(
            "by=198.51.100.1; for=203.0.113.7, for=10.0.0.5", "203.0.113.7", id="two hops"
        ),
        pytest.param("203.0.113.7," + " 10.0.0.5," * 1000, "203.0.113.7", id="a thousand proxies"),
    ],
)
def test_an_address_is_read_with_a_warning_from(given: str, address: str) -> None:
    warnings: list[str] = []

    assert read_ip(given, warnings.append) == address
    assert warnings == ["was read as one IP address, in its canonical form"]
    assert read_ip(address, quiet) == address


@in_one_test
@pytest.mark.parametrize(
    "given",
    [
        *("unknown", "localhost", "hidden", "null", "", "_gazonk", "-", "n/a", "example.com"),
        *(
            "203.0.113",
            "203.0.113.256",
            "203.0.113.07",
            "0203.0.113.7",
            "203.0.113.7.9",
            "3405803783",
        ),
        *(
            "0xcb007107",
            "٢٠٣.0.113.7",
            "203.0.113.0/24",
            "2001:db8::/32",
            "203.0.113.x",
            "203.0.113.***",
        ),
        *("fe80::1%eth0", "fe80::1%25eth0", "[fe80::1%eth0]:80", "2001:db8::1%1", "2001:db8:::1"),
        *(
            "2001:db8::1]",
            "g::1",
            "0.0.0.0",  # noqa: S104
            "::",
            "::ffff:0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
        ),
        *("ff02::1", "unknown, 203.0.113.7", "for=unknown, for=203.0.113.7", "for=_hidden"),
        *("203.0.113.7:x", "203.0.113.7:123456", "https://203.0.113.7", "1" * 100_000, "," * 5000),
        "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90",
    ],
    ids=lambda text: text[:24],
)
def test_what_is_no_address_is_left_out_with_a_warning(given: str) -> None:
    warnings: list[str] = []

    assert read_ip(given, warnings.append) is None
    assert warnings == ["is no IP address, such as 203.0.113.7, and is left out"]


@pytest.mark.parametrize(
    "given",
    [
        *("127.0.0.1", "::1", "10.0.0.5", "172.16.0.1", "172.31.255.255", "192.168.1.20"),
        *("169.254.1.1", "100.64.0.1", "fd00::1", "fc00::1", "fe80::1"),
    ],
)
def test_an_address_of_no_public_network_is_sent_with_a_warning(given: str) -> None:
    warnings: list[str] = []

    assert read_ip(given, warnings.append) == given
    assert warnings == [
        "is an address of a private network or of the machine itself; it is sent as it is"
    ]


def test_of_private_addresses_alone_it_is_the_first() -> None:
    assert read_ip("192.168.1.20, 10.0.0.5", lambda _: None) == "192.168.1.20"


@pytest.mark.parametrize(
    "value", [None, True, 3405803783, 203.0, ["203.0.113.7"], {"ip": "x"}], ids=repr
)
def test_an_address_must_be_text(value: object) -> None:
    with pytest.raises(BadValue, match="must be an IP address"):
        read_ip(value, quiet)
