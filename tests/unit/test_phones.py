"""Phone numbers as people write them, and the digits that Cometly matches on."""

from __future__ import annotations

import pytest

from cometly_forwarder.event.phones import Phone, normalise_phone

NUMBERS = [
    pytest.param("(650)555-1212", "US", "16505551212", id="the example of Cometly's reference"),
    pytest.param("6505551212", "US", "16505551212", id="bare national digits"),
    pytest.param("1-650-555-1212", "US", "16505551212", id="with the trunk code"),
    pytest.param("+1 (650) 555-1212", None, "16505551212", id="a plus needs no region"),
    pytest.param("+1 (650) 555-1212", "DE", "16505551212", id="a plus outranks the region"),
    pytest.param("+1 650 555 1212 ext. 34", None, "16505551212", id="extension left out"),
    pytest.param("011 44 20 7946 0958", "US", "442079460958", id="dialled abroad from the US"),
    pytest.param("00 1 650 555 1212", "DE", "16505551212", id="dialled abroad from Germany"),
    pytest.param("0016505551212", None, "16505551212", id="double zero without a region"),
    pytest.param("16505551212", None, "16505551212", id="ready without a region"),
    pytest.param("030 1234567", "DE", "49301234567", id="German landline"),
    pytest.param("0151 12345678", "DE", "4915112345678", id="German mobile"),
    pytest.param("+44 (0)20 7946 0958", None, "442079460958", id="optional zero"),
    pytest.param("020 7946 0958", "GB", "442079460958", id="British"),
    pytest.param("9123 4567", "SG", "6591234567", id="Singapore"),
    pytest.param("+39 06 698 12345", None, "390669812345", id="an Italian zero stays"),
    pytest.param("６５０-５５５-１２１２", "US", "16505551212", id="full-width digits"),
    pytest.param("+٩٦٦ ٥٠ ١٢٣ ٤٥٦٧", None, "966501234567", id="Arabic digits"),
    pytest.param("tel:+1-650-555-1212", None, "16505551212", id="a link"),
    pytest.param("479 273 1000", "US", "14792731000", id="American, Norwegian after a plus"),
    pytest.param("4792731000", "US", "14792731000", id="the same, bare"),
    pytest.param("+47 92731000", "US", "4792731000", id="Norwegian"),
]


@pytest.mark.parametrize(("text", "region", "digits"), NUMBERS)
def test_a_number_gets_its_country_code(text: str, region: str | None, digits: str) -> None:
    assert normalise_phone(text, region) == Phone(digits, recognised=True)


@pytest.mark.parametrize(
    ("text", "region", "digits"),
    [
        pytest.param("650-555-1212", None, "6505551212", id="national without a region"),
        pytest.param("555-1212", "US", "5551212", id="too short"),
        pytest.param("000-123", None, "123", id="leading zeros go"),
        pytest.param("000", "US", "", id="zeros alone"),
        pytest.param("n/a", "US", "", id="no digit"),
        pytest.param("12 ask for Grace 34", "US", "1234", id="words between"),
        pytest.param("6505551212", "XX", "6505551212", id="a region that does not exist"),
        pytest.param("9" * 1_000_000, None, "9" * 32, id="a megabyte"),
    ],
)
def test_a_number_that_cannot_be_read_becomes_bare_digits(
    text: str, region: str | None, digits: str
) -> None:
    assert normalise_phone(text, region) == Phone(digits, recognised=False)
