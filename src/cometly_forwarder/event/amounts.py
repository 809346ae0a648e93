"""Amounts of money as programs, shops and people write them, as numbers of JSON.

A text is read in the number formats of the world's languages: with a decimal point or comma (also
the Arabic ones), with groups of three digits (India: of two before the last three) between commas,
dots, apostrophes or blanks, with a currency's code or sign before or behind it. What could be two
amounts is refused and says so:

- `1,234` has decimals, or thousands. `1.234` alone is as JSON writes a number, and is read as one
  with a warning; beside a currency it could be either as well. In a currency without decimals, such
  as JPY, both are thousands.
- `(12.50)` and `12.50-` are negative to book-keepers, and amounts with a mark to everybody else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.texts import without_invisible

Warn = Callable[[str], None]

_LIMIT = 10**15  # up to here a JSON number keeps every integer and most cents
_LONGEST_FORMATTED = 64

_FORMS = "must be a number, such as 99.99"
_TWO_AMOUNTS = f"{_FORMS}: the last three digits of this could be decimals or a part of thousands"
_MAYBE_NEGATIVE = f"{_FORMS}: this could be negative; write it with a minus sign in front"

_NUMERAL = r"[+-]?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"
# Thousands to half of the world. 0.999 and 1234.567 are in no groups.
_MAYBE_THOUSANDS = r"[+-]?[1-9]\d{0,2}\.\d{3}"
_INTEGER = r"[+-]?\d+"
_NOT_FINITE = frozenset({"nan", "inf", "infinity"})

# A decimal mark that has no other meaning, such as the Arabic one. No character of Unicode.
_POINT = "\ufdd0"
_SAME = str.maketrans(
    {
        **dict.fromkeys("\N{MINUS SIGN}\ufe63\uff0d\u207b", "-"),
        **dict.fromkeys("\u2019\u2032\u02bc\uff07\u00b4`\N{ARABIC THOUSANDS SEPARATOR}", "'"),
        **dict.fromkeys("\uff0c\N{ARABIC COMMA}", ","),
        "\N{ARABIC DECIMAL SEPARATOR}": _POINT,
        _POINT: "?",
        "\uff0b": "+",
        "\uff0e": ".",
        "\uff04": "$",
        "\uffe5": "\u00a5",
        "\uffe1": "\u00a3",
        "\uffe6": "\u20a9",
    }
)
# `49,-` and Sweden's `49:-` have no cents.
_NO_CENTS = r"([.,:])[-\u2010-\u2015]{1,2}"

# The cent is none of them: 99¢ is another number of the currency.
_SIGN = r"[\u20a0-\u20cf$\u00a3-\u00a5\u058f\u060b\u09f2\u09f3\u0af1\u0bf9\u0e3f\u17db\ufdfc]"
_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
CAD CDF CHF CLF CLP CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW
KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN
NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RMB RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP
SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND
VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""
_WORDS = """
EURO EUROS DOLLAR DOLLARS POUND POUNDS YEN YUAN RUPEES KR KR. ZŁ KČ FT LEI ЛВ ЛВ. РУБ РУБ. Р. ГРН
ГРН. RS RS. RP RP. RM FR FR. SFR SFR. TL Đ VNĐ DIN DIN. ДИН ДИН. KM DHS NT KSH TSH USH BS BS. BR
CFA FCFA
元 円 圓 원 บาท रु ש״ח ש"ח د.إ ر.س ر.ق ج.م د.ك د.ت د.ج د.م. د.ب ر.ع. د.ا د.ع ل.ل ريال درهم دينار جنيه
"""  # noqa: RUF001
# Behind an amount these would be litres, quarts and the like.
_ONLY_BEFORE = frozenset({"R", "Q", "L", "S/", "S/.", "B/."})
_BESIDE_A_SIGN = """
A AR AU B BD BZ C CA CDN CN E EC EG FJ GB HK J JA JP MX N NA NT NZ R RD RMB S SG TT U US
"""
# By law or by habit these have no decimals: three digits behind a mark are thousands.
_WITHOUT_DECIMALS = """
BIF CLP COP DJF GNF HUF IDR ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF CFA FCFA FT RP RP. YEN
Đ VNĐ 円 원 ₩ ₫ ₲
"""


def read_amount(value: object, warn: Warn) -> int | float:
    """Read an amount; raises BadValue for what is none, and for what could be two.

    There is a warning for a text that is more than a numeral, for one with three decimals that
    could be thousands, and for one with more digits than a JSON number carries, which becomes the
    nearest.
    """
    number = _number_in(value.strip(), warn) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BadValue(_FORMS)
    if isinstance(number, float) and not math.isfinite(number):
        raise BadValue("must be a finite number: NaN and Infinity are refused")
    if abs(number) > _LIMIT:
        raise BadValue("must lie between -1e15 and 1e15")
    return number


def _number_in(text: str, warn: Warn) -> int | float:
    if re.fullmatch(_NUMERAL, text, re.ASCII):
        if text[-4:-3] == "." and re.fullmatch(_MAYBE_THOUSANDS, text, re.ASCII):
            warn("was read with three decimals; send a JSON number, such as 1234.5, to be certain")
        return _numeral(text, warn)
    if text.lower().lstrip("+-") in _NOT_FINITE:
        return math.nan
    if len(text) > _LONGEST_FORMATTED:
        raise BadValue(_FORMS)
    number = _formatted(_plain(text))
    warn("was text that is more than a number; send a JSON number, such as 1234.56")
    return number


def _numeral(text: str, warn: Warn) -> int | float:
    """Turn a numeral into the number that it spells, or into the nearest that JSON can carry."""
    nearest = float(text)
    if not math.isfinite(nearest) or abs(nearest) > _LIMIT:
        return math.copysign(2 * _LIMIT, nearest)
    if re.fullmatch(_INTEGER, text, re.ASCII):
        sign, digits = text[: text[0] in "+-"], text.lstrip("+-0")
        return int(sign + (digits or "0"))  # Python reads no more than 4300 digits
    if Decimal(repr(nearest)) != Decimal(text):
        warn("has more digits than a JSON number carries; the nearest is sent")
    return nearest


def _plain(text: str) -> str:
    """Put a text into one script and single blanks, out of quotes around it."""
    if re.search("&[#a-z]", text):  # WooCommerce writes a currency's sign so: &#36;49.90
        from html import unescape  # noqa: PLC0415

        text = unescape(text)
    shown = without_invisible(text).translate(_SAME)
    digits = "".join(str(int(char)) if char.isdecimal() else char for char in shown)
    return " ".join(digits.strip("\"'").split())


def _formatted(text: str) -> int | float:
    found = re.fullmatch(r"(\D*)(\d(?:.*\d)?)(\D*)", text, re.ASCII)
    if not found:
        raise BadValue(_FORMS)
    before, core, behind = found.groups()
    if (before.strip()[:1] == "(" and behind.strip()[-1:] == ")") or behind.strip() == "-":
        raise BadValue(_MAYBE_NEGATIVE)
    sign = "-" if "-" in before else "+"
    before = re.sub(r"^[-+] ?|(?<=.)[-+]$| [-+] ?$", "", before.rstrip(" "), count=1).strip()
    if before[-1:] in {".", ",", _POINT} and not _may_stand_before(before):
        before, core = before[:-1], before[-1:] + core
    if no_cents := re.match(_NO_CENTS, behind):
        core += (_POINT if no_cents[1] == ":" else no_cents[1]) + "00"
        behind = behind[no_cents.end() :]
    before, behind = before.strip(), behind.strip()
    if not (_may_stand_before(before) and _is_currency(behind)):
        raise BadValue(_FORMS)
    currencies = {before.upper(), behind.upper()}
    number = _number_of(core, has_decimals=not _lacks_decimals(currencies, core))
    return -number if sign == "-" else number


def _may_stand_before(text: str) -> bool:
    return text in _ONLY_BEFORE or _is_currency(text)


def _is_currency(text: str) -> bool:
    """Say whether a text is a currency, or nothing."""
    name = re.sub(_SIGN, "", text, count=1).strip().upper()
    if not name or name in _names_in(_CODES + _WORDS):
        return True
    return len(name) < len(text) and name in _names_in(_BESIDE_A_SIGN)


@cache
def _names_in(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _lacks_decimals(currencies: set[str], core: str) -> bool:
    # China's yuan has decimals, and no comma in front of them.
    return bool(currencies & _names_in(_WITHOUT_DECIMALS)) or (
        "," in core and not {"\u00a5", "CN\u00a5", "JP\u00a5"}.isdisjoint(currencies)
    )


def _number_of(core: str, *, has_decimals: bool) -> int | float:
    """Tell decimals from groups in what stands between the first digit and the last."""
    marks = re.sub(r"\d", "", core)
    if not marks:
        return int(core)
    last, kinds = marks[-1], set(marks)
    if not kinds <= {".", ",", "'", " ", _POINT}:
        raise BadValue(_FORMS)
    if last in {"'", " "} or marks.count(last) > 1:
        return int(_ungrouped(core, kinds))
    whole, _, decimals = core.rpartition(last)
    if last != _POINT and len(decimals) == 3 and re.fullmatch(r"[1-9]\d{0,2}", whole):  # noqa: PLR2004
        if has_decimals:
            raise BadValue(_TWO_AMOUNTS)
        return int(whole + decimals)
    return float(f"{_ungrouped(whole, kinds - {last})}.{decimals}")


def _ungrouped(whole: str, marks: set[str]) -> str:
    """Take the marks out from between thousands; raises BadValue where they stand elsewhere."""
    if not marks:
        return whole or "0"
    mark = re.escape(next(iter(marks)))
    grouped = rf"\d{{1,3}}(?:{mark}\d{{3}})+|\d{{1,2}}(?:,\d\d)+,\d{{3}}"
    if len(marks) > 1 or _POINT in marks or not re.fullmatch(grouped, whole, re.ASCII):
        raise BadValue(_FORMS)
    return re.sub(r"\D", "", whole)
