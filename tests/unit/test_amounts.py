"""Amounts in the forms in which programs, shops and people write them."""

from __future__ import annotations

import json
import math

import pytest

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.amounts import read_amount
from tests.unit.cases import in_one_test


def quiet(message: str) -> None:
    pytest.fail(f"nothing was changed, and yet: {message}")


def read(value: object) -> tuple[int | float, list[str]]:
    warnings: list[str] = []
    return read_amount(value, warnings.append), warnings


@in_one_test
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (99.99, "99.99"),
        (100, "100"),
        (0, "0"),
        (-12.5, "-12.5"),
        (10**15, "1000000000000000"),
        ("99.99", "99.99"),
        (" 99.99\n", "99.99"),
        ("100", "100"),
        ("100.00", "100.0"),
        ("99.", "99.0"),
        (".5", "0.5"),
        ("+5", "5"),
        ("-5", "-5"),
        ("-0", "0"),
        ("007", "7"),
        ("0.999", "0.999"),
        ("0.500", "0.5"),
        ("1234.567", "1234.567"),
        ("012.345", "12.345"),
        ("1.2345", "1.2345"),
        (1.234, "1.234"),
        ("1e3", "1000.0"),
        ("1.5E-2", "0.015"),
        ("999999999999999.9", "999999999999999.9"),
        ("0" * 5000 + "7", "7"),
        ("1." + "0" * 5000, "1.0"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_number_is_read_to_the_last_digit(value: object, sent: str) -> None:
    assert json.dumps(read_amount(value, quiet)) == sent


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        *(("1.234", 1.234), ("50.000", 50.0), ("100.000", 100.0), ("-12.345", -12.345)),
        *(("+1.000", 1.0), (" 18.600 ", 18.6)),
    ],
)
def test_three_decimals_in_text_could_be_thousands_and_are_warned_of(
    text: str, amount: float
) -> None:
    assert read(text) == (
        amount,
        ["was read with three decimals; send a JSON number, such as 1234.5, to be certain"],
    )


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("33.33333333333333333333333333", 33.333333333333336),
        ("0.1234567890123456789", 0.12345678901234568),
        ("19.990000000000000000000001", 19.99),
        ("0." + "3" * 5000, 0.3333333333333333),
        ("1e-400", 0.0),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_digits_that_no_number_of_json_carries_are_rounded(text: str, nearest: float) -> None:
    amount, warnings = read(text)

    assert amount == nearest
    assert warnings == ["has more digits than a JSON number carries; the nearest is sent"]


@in_one_test
@pytest.mark.parametrize(
    ("text", "amount"),
    [
        pytest.param("89,00", 89, id="decimal comma"),
        pytest.param("0,99", 0.99, id="less than one"),
        pytest.param("1234,5", 1234.5, id="one decimal"),
        pytest.param(",5", 0.5, id="no zero"),
        pytest.param("0,999", 0.999, id="zero and three decimals"),
        pytest.param("1234,567", 1234.567, id="four digits are no group"),
        pytest.param("12,3456", 12.3456, id="four decimals"),
        pytest.param("1.234,56", 1234.56, id="German"),
        pytest.param("1.234,5", 1234.5, id="German, one decimal"),
        pytest.param("1.234.567,89", 1234567.89, id="German millions"),
        pytest.param("1.234.567", 1234567, id="German millions, no decimals"),
        pytest.param("1,234.56", 1234.56, id="English"),
        pytest.param("1,234,567", 1234567, id="English millions"),
        pytest.param("1,234.567", 1234.567, id="English, three decimals"),
        pytest.param("1,23,456.78", 123456.78, id="Indian"),
        pytest.param("12,34,567", 1234567, id="Indian, no decimals"),
        pytest.param("1 234,56", 1234.56, id="French"),
        pytest.param("1\u00a0234,56", 1234.56, id="no-break space"),
        pytest.param("1\u202f234,56", 1234.56, id="narrow no-break space"),
        pytest.param("1\u2009234.56", 1234.56, id="thin space"),
        pytest.param("1 234", 1234, id="a blank groups"),
        pytest.param("1 234 567,8", 1234567.8, id="French millions"),
        pytest.param("1'234.56", 1234.56, id="Swiss"),
        pytest.param("1\u2019234.50", 1234.5, id="Swiss, typographic"),
        pytest.param("1'234", 1234, id="Swiss thousand"),
        pytest.param("$1,234.56", 1234.56, id="dollars"),
        pytest.param("$ 49.90", 49.9, id="a blank behind the sign"),
        pytest.param("$.50", 0.5, id="cents in dollars"),
        pytest.param("-$49.90", -49.9, id="minus before the sign"),
        pytest.param("$-49.90", -49.9, id="minus behind the sign"),
        pytest.param("- 49,90 €", -49.9, id="minus and a blank"),
        pytest.param("\N{MINUS SIGN}49.90 €", -49.9, id="a true minus sign"),
        pytest.param("\N{MINUS SIGN}12.50", -12.5, id="a true minus sign alone"),
        pytest.param("+49,90", 49.9, id="plus"),
        pytest.param("49.90 USD", 49.9, id="code behind"),
        pytest.param("49.90USD", 49.9, id="code close behind"),
        pytest.param("USD 49.90", 49.9, id="code before"),
        pytest.param("usd49.90", 49.9, id="small code"),
        pytest.param("$49.90 USD", 49.9, id="sign and code"),
        pytest.param("USD $49.90", 49.9, id="code and sign"),
        pytest.param("US$49.90", 49.9, id="US$"),
        pytest.param("CA$ 49.90", 49.9, id="CA$"),
        pytest.param("A$49.90", 49.9, id="A$"),
        pytest.param("HK$1,234.50", 1234.5, id="HK$"),
        pytest.param("R$ 1.234,56", 1234.56, id="Brazil"),
        pytest.param("S/ 49.90", 49.9, id="Peru"),
        pytest.param("S/.49.90", 49.9, id="Peru, with a dot"),
        pytest.param("1 000,00 FCFA", 1000, id="West Africa"),
        pytest.param("12.500 Ft", 12500, id="Hungary, dots"),
        pytest.param("R 1 234,56", 1234.56, id="South Africa"),
        pytest.param("€49", 49, id="euro before"),
        pytest.param("49,90 €", 49.9, id="euro behind"),
        pytest.param("49,90\u00a0€", 49.9, id="euro, no-break space"),
        pytest.param("1.234,56 EUR", 1234.56, id="euro's code"),
        pytest.param("49 Euro", 49, id="euro's name"),
        pytest.param("£1,234.50", 1234.5, id="pound"),
        pytest.param("kr 1 234,50", 1234.5, id="Norway"),
        pytest.param("1.234,50 kr.", 1234.5, id="Denmark"),
        pytest.param("kr. 99", 99, id="Denmark, before"),
        pytest.param("1 234,50 zł", 1234.5, id="Poland"),
        pytest.param("1 234,50 Kč", 1234.5, id="Czechia"),
        pytest.param("12 345 Ft", 12345, id="Hungary"),
        pytest.param("1.234,50 ₺", 1234.5, id="Turkey"),
        pytest.param("1.234,50 TL", 1234.5, id="Turkey, letters"),
        pytest.param("1 234,50 ₽", 1234.5, id="Russia"),
        pytest.param("1 234,50 руб.", 1234.5, id="Russia, letters"),
        pytest.param("1 234,50 грн", 1234.5, id="Ukraine"),
        pytest.param("Rs.500", 500, id="Rs."),
        pytest.param("Rs. 1,23,456.50", 123456.5, id="Rs. and groups"),
        pytest.param("₹1,23,456.78", 123456.78, id="rupee"),
        pytest.param("RM49.90", 49.9, id="Malaysia"),
        pytest.param("฿1,234.50", 1234.5, id="Thailand"),
        pytest.param("₪49.90", 49.9, id="Israel"),
        pytest.param("\u200f49.90 \u200f₪", 49.9, id="Israel, with direction marks"),
        pytest.param("AED 49.90", 49.9, id="Emirates"),
        pytest.param("د.إ 49.90", 49.9, id="Emirates, letters"),
        pytest.param("1,234.567 KWD", 1234.567, id="three decimals"),
        pytest.param("¥5000", 5000, id="yen"),
        pytest.param("￥5,000", 5000, id="wide yen, thousands"),
        pytest.param("5,000円", 5000, id="yen, letters"),
        pytest.param("1,234 JPY", 1234, id="JPY has no decimals"),
        pytest.param("₩50,000", 50000, id="won"),
        pytest.param("50,000원", 50000, id="won, letters"),
        pytest.param("150.000 ₫", 150000, id="dong"),
        pytest.param("Rp 150.000", 150000, id="rupiah"),
        pytest.param("Rp150.000,00", 150000, id="rupiah with decimals"),
        pytest.param("CLP 12.990", 12990, id="Chile"),
        pytest.param("CN¥1,234.50", 1234.5, id="yuan"),
        pytest.param("49,-", 49, id="no cents"),
        pytest.param("€ 49,-", 49, id="no cents, Dutch"),
        pytest.param("1.234,- €", 1234, id="no cents, German"),
        pytest.param("49,\N{EN DASH} €", 49, id="no cents, a dash"),
        pytest.param("Fr. 1'234.-", 1234, id="no cents, Swiss"),
        pytest.param("CHF 49.--", 49, id="no cents, two dashes"),
        pytest.param("1 234:-", 1234, id="no cents, Swedish"),
        pytest.param("٤٩٫٩٠", 49.9, id="Arabic"),
        pytest.param("١٬٢٣٤٫٥٦", 1234.56, id="Arabic thousands"),
        pytest.param("١٬٢٣٤", 1234, id="Arabic thousands alone"),
        pytest.param("١٫٢٣٤", 1.234, id="Arabic decimals, three"),
        pytest.param("۴۹٫۹", 49.9, id="Persian"),
        pytest.param("४९.९०", 49.9, id="Devanagari"),
        pytest.param("４９．９０", 49.9, id="wide"),
        pytest.param("１，２３４．５０", 1234.5, id="wide thousands"),
        pytest.param("&#36;49.90", 49.9, id="WooCommerce"),
        pytest.param("49,90&nbsp;&euro;", 49.9, id="WooCommerce, euro"),
        pytest.param('"49.90"', 49.9, id="JSON in JSON"),
        pytest.param("49.90\u200b", 49.9, id="what shows nothing"),
    ],
)
def test_an_amount_is_read_with_a_warning_from(text: str, amount: float) -> None:
    number, warnings = read(text)

    assert number == amount
    assert warnings == ["was text that is more than a number; send a JSON number, such as 1234.56"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1,234",
            "12,345",
            "999,999",
            "-1,234",
            "$1,234",
            "$1.234",
            "1.234 €",
            "€1.234",
            "1,234 EUR",
        ),
        *("1.234 KWD", "¥1.234", "1.234 R$", "１，２３４", "1,234 kr"),
    ],
)
def test_what_could_be_decimals_or_thousands_is_refused_and_says_so(text: str) -> None:
    with pytest.raises(BadValue, match="the last three digits"):
        read(text)


@pytest.mark.parametrize(
    "text", ["(12.50)", "($12.50)", "(1.234,56 €)", "12.50-", "49 -", "1.234,56-"]
)
def test_what_could_be_negative_is_refused_and_says_so(text: str) -> None:
    with pytest.raises(BadValue, match="with a minus sign in front"):
        read(text)


@pytest.mark.parametrize(
    "value", ["NaN", "nan", "Infinity", "-inf", "+INF", math.nan, math.inf, -math.inf]
)
def test_what_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(BadValue, match="must be a finite number"):
        read(value)


@pytest.mark.parametrize(
    "value",
    [
        10**15 + 1,
        -(10**15) - 1,
        1e16,
        "1e400",
        "-1e400",
        "1e16",
        10**4000,
        "9" * 5000,
        "-" + "9" * 65,
        "9" * 20 + ",00 €",
    ],
    ids=lambda value: "huge" if value == 10**4000 else repr(value)[:24],
)
def test_what_is_too_much_is_refused(value: object) -> None:
    with pytest.raises(BadValue, match="must lie between"):
        read(value)


@in_one_test
@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "a lot",
            "free",
            "gratis",
            "-",
            ".",
            ",",
            "$",
            "USD",
            "e5",
            "1e",
            "1,5e3",
            "0x10",
            "--5",
        ),
        *(
            "1_000",
            "15%",
            "15 %",
            "99¢",
            "1.5k",
            "1.5K",
            "2M",
            "2 mio",
            "49.90 59.90",
            "49,90/59,90",
        ),
        *(
            "49.90 USD / 45.00 EUR",
            "49.90-59.90",
            "10-20",
            "49 pcs",
            "5 L",
            "3 kg",
            "about 49",
            "49.90!",
        ),
        *("49.90 + VAT", "49€90", "49:90", "1,2345,678", "1,234,56", "12 50"),
        *("1.234.56", "1,234,567.89.0", "1.234,567,890", "1'234'56", "1 234'567", "1'234 567,8"),
        *("1,234.567,89", "١٬٢٣", "1\ufdd05", "$ $ $ 5", "5 EUR USD", "XYZ 49.90", "49.90 EURX"),
        *("#1001", "2024-01-15", "12:30", "v1.2.3", "$49.90 for Ada", "{{total}}", "1" * 64 + ",5"),
        *("1" * 5000 + "x", "1." + "1" * 5000 + "x", " " * 5000 + "x", "(" * 5000, "1 " * 5000),
        *(None, True, False, [], [1], {"value": 1}),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_amount_is_refused(value: object) -> None:
    with pytest.raises(BadValue, match="must be a number"):
        read(value)


@in_one_test
@pytest.mark.parametrize("whole", [1, 12, 123, 1234, 12345, 123456, 1234567, 12345678])
@pytest.mark.parametrize(
    ("group", "point"), [(",", "."), (".", ","), (" ", ","), ("'", "."), (" ", ".")]
)
def test_groups_and_decimals_are_told_apart_at_every_length(
    whole: int, group: str, point: str
) -> None:
    text = f"{whole:,}".replace(",", group) + f"{point}50"

    assert read(text)[0] == whole + 0.5


def test_a_refusal_never_quotes_the_value() -> None:
    for value in ("4711 apples", "4,711", "(47.11)"):
        with pytest.raises(BadValue) as refusal:
            read(value)
        assert "47" not in str(refusal.value)
