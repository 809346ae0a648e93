"""Phone numbers as people write them: a phone is never a stranger's."""

from __future__ import annotations

import math
import re
from collections import Counter

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.phones import IN_WORDS, REGIONS, Cell, Outcome, is_kept, measure
from cometly_forwarder.event.phones import read_phone
from tests.unit.cases import in_one_test

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def reading_of(value: object, region: str | None) -> tuple[str | None, list[str]]:
    warnings: list[str] = []
    return read_phone(value, region, warnings.append), warnings


# --- Read for certain -------------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    ("text", "region", "digits"),
    [
        pytest.param("(650)555-1212", "US", "16505551212", id="the example of Cometly's reference"),
        pytest.param("(650)555-1212", "us", "16505551212", id="a region in lower case"),
        pytest.param("650.555.1212", "US", "16505551212", id="dots"),
        pytest.param("650_555_1212", "US", "16505551212", id="underscores"),
        pytest.param("650/555-1212", "US", "16505551212", id="a slash behind the area code"),
        pytest.param("650 5551212", "US", "16505551212", id="one gap"),
        pytest.param("6505551212", "US", "16505551212", id="bare national digits"),
        pytest.param("1-650-555-1212", "US", "16505551212", id="with the trunk code"),
        pytest.param("1650-555-1212", "US", "16505551212", id="with the trunk code glued on"),
        pytest.param("1-650-555-1212", None, "16505551212", id="nobody else begins with 1 alone"),
        pytest.param("7 (495) 123-45-67", None, "74951234567", id="nobody else begins with 7"),
        pytest.param("16505551212", None, "16505551212", id="Cometly's form"),
        pytest.param("16505551212", "GB", "16505551212", id="Cometly's form in another region"),
        pytest.param("491622897306", "DE", "491622897306", id="Cometly's form in its own region"),
        pytest.param("491622897306", "US", "491622897306", id="twelve digits are no US number"),
        pytest.param("030 1234567", "DE", "49301234567", id="German landline"),
        pytest.param("030/1234567", "DE", "49301234567", id="German slash"),
        pytest.param("030/234/5678", "DE", "49302345678", id="two slashes"),
        pytest.param("0151 12345678", "DE", "4915112345678", id="German mobile"),
        pytest.param("020 7946 0958", "GB", "442079460958", id="British"),
        pytest.param("06 12 34 56 78", "FR", "33612345678", id="French"),
        pytest.param("9123 4567", "SG", "6591234567", id="Singapore"),
        pytest.param("612 345 678", "ES", "34612345678", id="grouped another way than usual"),
        pytest.param("98765 43210", "IN", "919876543210", id="India writes no 0"),
        pytest.param("098765 43210", "IN", "919876543210", id="India's 0"),
        pytest.param("8 (912) 345-67-89", "RU", "79123456789", id="Russia's 8"),
        pytest.param("912 345-67-89", "RU", "79123456789", id="Russia without its 8"),
        pytest.param("06 30 123 4567", "HU", "36301234567", id="Hungary's 06"),
        pytest.param("011 15-2345-6789", "AR", "5491123456789", id="Argentina's 15"),
        pytest.param("(51) 99123-4567", "BR", "5551991234567", id="Brazil's 51 is Peru's code"),
        pytest.param("151 2345 6789", "CN", "8615123456789", id="China begins with 1"),
        pytest.param("011 2345 6789", "IN", "911123456789", id="Delhi's 011 dials nobody abroad"),
        pytest.param("06 698 12345", "IT", "390669812345", id="an Italian zero at home"),
        pytest.param(1.6505551212e10, "US", "16505551212", id="a whole float"),
        pytest.param(16505551212, None, "16505551212", id="an integer"),
        pytest.param(6505551212, "US", "16505551212", id="a national integer"),
        pytest.param("16505551212.0", None, "16505551212", id="a float as text"),
        pytest.param("16505551212,0", None, "16505551212", id="a float with a comma"),
        pytest.param("1.6505551212E10", None, "16505551212", id="scientific, with every digit"),
        pytest.param("1,650,555,1212", "US", "16505551212", id="commas"),
        pytest.param("phone 74.51.16", "NC", "687745116", id="six digits with a word"),
        pytest.param("74.51.16,,12", "NC", "687745116", id="six digits with an extension"),
        pytest.param("16,505,551,212", None, "16505551212", id="thousands"),
    ],
)
def test_a_number_gets_its_country_code(text: object, region: str | None, digits: str) -> None:
    assert reading_of(text, region) == (digits, [])


@in_one_test
@pytest.mark.parametrize("region", [None, "US", "DE", "JP", "XX"])
@pytest.mark.parametrize(
    ("text", "digits"),
    [
        pytest.param("+1 (650) 555-1212", "16505551212", id="a plus outranks the region"),
        pytest.param("(+49) 162 2897306", "491622897306", id="plus in brackets"),
        pytest.param("+ 49 162 2897306", "491622897306", id="a gap behind the plus"),
        pytest.param("++49 162 2897306", "491622897306", id="two of them"),
        pytest.param("+47 92731000", "4792731000", id="Norwegian"),
        pytest.param("+44 (0)20 7946 0958", "442079460958", id="optional zero"),
        pytest.param("+49 (0) 151 23456789", "4915123456789", id="optional zero with gaps"),
        pytest.param("+49 0151 23456789", "4915123456789", id="the zero left in"),
        pytest.param(
            "+34 (0) 612 34 56 78", "34612345678", id="optional zero where none is dialled"
        ),
        pytest.param("+39 06 698 12345", "390669812345", id="an Italian zero stays"),
        pytest.param("+39 (0)6 698 12345", "390669812345", id="an Italian zero in brackets stays"),
        pytest.param("0016505551212", "16505551212", id="double zero"),
        pytest.param("0049 (0)151 23456789", "4915123456789", id="double zero, optional zero"),
        pytest.param("00 44 20 7946 0958", "442079460958", id="double zero, grouped"),
        pytest.param("+00 44 20 7946 0958", "442079460958", id="plus and double zero"),
        pytest.param("011 44 20 7946 0958", "442079460958", id="dialled abroad from the US"),
        pytest.param("0011 44 20 7946 0958", "442079460958", id="dialled abroad from Australia"),
        pytest.param("49 162 2897306", "491622897306", id="the plus lost"),
        pytest.param(" 49 162 2897306", "491622897306", id="the plus decoded to a space"),
        pytest.param("49-162-2897306", "491622897306", id="the plus lost, dashes"),
        pytest.param("(49) 162 2897306", "491622897306", id="the code in brackets"),
        pytest.param("49162 2897306", "491622897306", id="the plus lost, the code glued on"),
        pytest.param("49/1622897306", "491622897306", id="the plus lost, a slash"),
        pytest.param("49 (0)151 23456789", "4915123456789", id="the plus lost, optional zero"),
        pytest.param("%2B491622897306", "491622897306", id="the plus still encoded"),
        pytest.param("%2B49%20162%202897306", "491622897306", id="the gaps still encoded"),
        pytest.param("&#43;491622897306", "491622897306", id="the plus as HTML"),
        pytest.param("'+491622897306", "491622897306", id="a spreadsheet's quote"),
        pytest.param('="+491622897306"', "491622897306", id="a spreadsheet's formula"),
        pytest.param("+491622897306.0", "491622897306", id="a data frame's float"),
        pytest.param("p:+491622897306", "491622897306", id="Meta's lead ads"),
        pytest.param("tel:+1-650-555-1212", "16505551212", id="a link"),
        pytest.param("whatsapp:+491622897306", "491622897306", id="Twilio's WhatsApp"),
        pytest.param("WhatsApp +49 162 2897306", "491622897306", id="a word before"),
        pytest.param("+49 162 2897306 (Handy)", "491622897306", id="a word behind"),
        pytest.param("Телефон: +7 912 345-67-89", "79123456789", id="a Cyrillic word"),
        pytest.param("電話:+81 90-1234-5678", "819012345678", id="a Japanese word"),
        pytest.param("https://wa.me/491622897306", "491622897306", id="a link to a chat"),
        pytest.param("491622897306@c.us", "491622897306", id="a chat's user"),
        pytest.param("+1 650 555 1212 ext. 34", "16505551212", id="extension"),
        pytest.param("+1 650 555 1212 x34", "16505551212", id="extension, x"),
        pytest.param("+1 650 555 1212x34", "16505551212", id="extension, x glued on"),
        pytest.param("+1 650 555 1212 #34", "16505551212", id="extension, hash"),
        pytest.param("tel:+1-650-555-1212;ext=34", "16505551212", id="extension of RFC 3966"),
        pytest.param("+7 495 123-45-67 доб. 12", "74951234567", id="extension in Russian"),
        pytest.param("+16505551212,,123#", "16505551212", id="extension behind pauses"),
        pytest.param("+١ ٦٥٠ ٥٥٥ ١٢١٢", "16505551212", id="Arabic digits"),
        pytest.param("+966 ٥٠ ١٢٣ ٤٥٦٧", "966501234567", id="some of them Arabic"),
        pytest.param("\uff0b１（６５０）５５５\uff0d１２１２", "16505551212", id="full-width"),
        pytest.param(
            "\u202a+1\u00a0650\u2011555\u20111212\u202c", "16505551212", id="from a phone book"
        ),
        pytest.param("+1\u2212650\u2212555\u22121212", "16505551212", id="minus signs"),
    ],
)
def test_a_number_that_names_its_country_needs_no_region(
    text: str, region: str | None, digits: str
) -> None:
    assert reading_of(text, region) == (digits, [])


@pytest.mark.parametrize(
    ("text", "region"),
    [("010 1 650 555 1212", "JP"), ("8~10 1 650 555 1212", "RU"), ("0014 1 650 555 1212", "BR")],
)
def test_a_region_has_its_own_way_abroad(text: str, region: str) -> None:
    assert reading_of(text, region) == ("16505551212", [])


# --- With its country beside ------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize("region", [None, "DE", "US", "FR", "GB"])
@pytest.mark.parametrize(
    ("text", "digits"),
    [
        pytest.param("UK 07911 123456", "447911123456", id="UK is no code of ISO 3166"),
        pytest.param("07911 123456 (UK)", "447911123456", id="behind"),
        pytest.param("UK: 0207 946 0958", "442079460958", id="with a colon"),
        pytest.param("uk mobile 07911 123456", "447911123456", id="with a label"),
        pytest.param("GB UK 07911 123456", "447911123456", id="twice"),
        pytest.param("UK 447911123456", "447911123456", id="and its calling code"),
        pytest.param("GB 0044 7911 123456", "447911123456", id="and dialled from abroad"),
        pytest.param("🇬🇧 07911 123456", "447911123456", id="a flag"),
        pytest.param("🇫🇷06 11 26 46 44", "33611264644", id="a flag glued on"),
        pytest.param("FR:0611264644", "33611264644", id="FR"),
        pytest.param("0611264644 FR", "33611264644", id="FR behind"),
        pytest.param("fr:06.11.26.46.44", "33611264644", id="small letters"),
        pytest.param("FR 06 11 26 46 44 ext. 12", "33611264644", id="with an extension"),
        pytest.param("FR 0049 162 2897306", "491622897306", id="00 outranks a code"),
        pytest.param("FR +49 162 2897306", "491622897306", id="a plus outranks a code"),
        pytest.param("France +49 162 2897306", "491622897306", id="a plus outranks a name"),
        pytest.param("France 0033611264644", "33611264644", id="00 and a name"),
        pytest.param("SA 051 232 1887", "966512321887", id="Saudi Arabia"),
        pytest.param("DE 0151 23456789", "4915123456789", id="Germany, not Delaware"),
        pytest.param("US/CA 650 555 1212", "16505551212", id="two of one plan"),
        pytest.param("CA 650 555 1212", "16505551212", id="California or Canada, all the same"),
        pytest.param("tel:0611264644;phone-context=+33", "33611264644", id="RFC 3966"),
        pytest.param("tel:611264644;phone-context=+33", "33611264644", id="RFC 3966 without the 0"),
        pytest.param("tel:555-1212;Phone-Context=+1-650", "16505551212", id="with the area code"),
        pytest.param("tel:+33611264644;phone-context=+1", "33611264644", id="context of a plus"),
    ],
)
def test_the_country_beside_a_number_outranks_the_region(
    text: str, region: str | None, digits: str
) -> None:
    assert reading_of(text, region) == (digits, [])


@pytest.mark.parametrize(
    ("text", "region"),
    [
        pytest.param("(UK) 0171 2345678", "DE", id="none of that country"),
        pytest.param("UK 491622897306", "DE", id="another country's, with its code"),
        pytest.param("UK/FR 07911 123456", "DE", id="two countries"),
        pytest.param("CO 303 555 1212", "US", id="Colorado, or Colombia"),
        pytest.param("CO 303 555 1212", None, id="Colorado, or Colombia, without a region"),
        pytest.param("PH 0917 823 4567", "DE", id="a label, or the Philippines"),
        pytest.param("🇪🇺 0151 23456789", "DE", id="the flag of no country"),
        pytest.param("Deutschland 0151 23456789", "DE", id="a word, and bare digits of Texas"),
        pytest.param("Mexico 479 273 1000", "US", id="a word, and bare digits of Norway"),
        pytest.param("1312/3455085", None, id="Chicago, or 01312 3455085"),
        pytest.param("1312/3455085", "DE", id="the same where a 0 is written"),
        pytest.param("1/312/3455085", None, id="a slash behind the 1"),
        pytest.param("Fr. 030 1234567", "DE", id="Frau, or France"),
        pytest.param("FR MEIER 030 1234567", "DE", id="the same in capitals"),
        pytest.param("UK London 07911 123456", "DE", id="a code among unknown words"),
        pytest.param("0611264644 (33)", "DE", id="a calling code behind"),
        pytest.param("0611264644 (+33)", "DE", id="a calling code with a plus behind"),
        pytest.param("0611264644 +33", "DE", id="the same without brackets"),
    ],
)
def test_a_number_that_may_be_another_countrys_is_left_out(text: str, region: str | None) -> None:
    sent, warnings = reading_of(text, region)

    assert sent is None
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("text", "region", "digits"),
    [
        pytest.param("France 06 11 26 46 44", "DE", "49611264644", id="a country's name"),
        pytest.param("Schweiz 079 167 42 84", "DE", "49791674284", id="a German name"),
        pytest.param("Ada 030 1234567", "DE", "49301234567", id="a person's name"),
        pytest.param("日本 030 1234567", "DE", "49301234567", id="another alphabet"),
        pytest.param("D 030 1234567", "DE", "49301234567", id="a letter"),
        pytest.param("🏴 030 1234567", "DE", "49301234567", id="England's flag"),
        pytest.param("DE 302 555 1212", "US", "13025551212", id="Delaware"),
        pytest.param("Ada 49 162 2897306", "US", "491622897306", id="a code without a plus"),
        pytest.param(
            "tel:030-1234567;phone-context=example.com", "DE", "49301234567", id="a domain"
        ),
    ],
)
def test_a_word_that_is_no_label_makes_a_number_uncertain(
    text: str, region: str, digits: str
) -> None:
    sent, warnings = reading_of(text, region)

    assert sent == digits
    assert [warning.partition(";")[0] for warning in warnings] == [
        "stands beside a word that may name its country"
    ]


@in_one_test
@pytest.mark.parametrize(
    "label",
    [
        *("Tel.", "Phone:", "cell", "Mobile", "MOBILE PHONE", "my cell", "Work phone #", "No."),
        *("Handy", "Tel. privat:", "Geschäft", "Rufnummer", "Büro", "Festnetz", "Mobiltelefon"),
        *("Téléphone :", "Tél.", "portable", "fixe", "domicile", "Tel. du bureau", "N° de tél."),
        *("Teléfono", "móvil", "celular", "Tel. de casa", "Nº de teléfono", "trabajo", "fijo"),
        *("Telemóvel", "telefone", "TELEFONE DE CASA", "celular do trabalho", "residencial"),
        *("Cellulare", "cell.", "ufficio", "casa", "fisso", "numero", "Tel. lavoro"),
        *("Telefoon", "mobiel", "gsm", "thuis", "werk", "vast", "Telefoonnummer"),
        *("Cep telefonu", "CEP", "İŞ", "ev", "numara", "Tel. no", "sabit"),
        *("Telefon komórkowy", "kom.", "domowy", "służbowy", "praca", "numer", "Tel. kom."),
        *("Телефон", "моб.", "тел.", "Дом.", "рабочий", "мобильный", "сот."),
        *("電話", "携帯電話", "自宅", "会社", "電話番号", "携帯", "手机", "휴대폰", "전화번호"),
        *("هاتف", "جوال", "טלפון", "נייד", "WhatsApp", "whats", "SMS:", "callto:", "Fax"),
    ],
)
def test_a_label_goes_without_a_warning(label: str) -> None:
    assert reading_of(f"{label} 030 1234567", "DE") == ("49301234567", [])
    assert reading_of(f"030 1234567 ({label})", "DE") == ("49301234567", [])


# --- Sent with a warning ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "region", "digits"),
    [
        pytest.param("4792731000", "US", "14792731000", id="Arkansas or Norway"),
        pytest.param("4792731000 cell", "US", "14792731000", id="the same with a word"),
        pytest.param("4792731000 cell", None, "4792731000", id="people leave the code away"),
        pytest.param("15123456789", "DE", "15123456789", id="Texas, or German without its 0"),
        pytest.param("15123456789", "CN", "8615123456789", id="China or Texas"),
        pytest.param("7911123456", "GB", "447911123456", id="a spreadsheet took the 0"),
        pytest.param(612345678, "FR", "33612345678", id="a number has no 0 in front"),
        pytest.param("(51) 9 9123-4567", "BR", "5551991234567", id="Brazil or Peru"),
        pytest.param("+0151 23456789", "DE", "4915123456789", id="a plus before a national number"),
        pytest.param("650-555-1212 / 415-555-1212", "US", "16505551212", id="two: slash"),
        pytest.param("650-555-1212, 415-555-1212", "US", "16505551212", id="two: comma"),
        pytest.param("650-555-1212; 415-555-1212", "US", "16505551212", id="two: semicolon"),
        pytest.param("650-555-1212\n415-555-1212", "US", "16505551212", id="two: lines"),
        pytest.param("650-555-1212\u2028415-555-1212", "US", "16505551212", id="two: separator"),
        pytest.param("650-555-1212 or 415-555-1212", "US", "16505551212", id="two: or"),
        pytest.param("+16505551212+14155551212", None, "16505551212", id="two: plus"),
        pytest.param("030 1234567/68", "DE", "49301234567", id="a second ending"),
        pytest.param("650-555-1212 until 8", "US", "16505551212", id="another digit"),
        pytest.param("Phone 2: +16505551212", None, "16505551212", id="a number in the label"),
    ],
)
def test_what_could_be_two_things_is_sent_with_a_warning(
    text: object, region: str | None, digits: str
) -> None:
    sent, warnings = reading_of(text, region)

    assert sent == digits
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("text", "region", "digits"),
    [
        pytest.param("650-555-1212", None, "6505551212", id="national without a region"),
        pytest.param("6505551212", "XX", "6505551212", id="a region that does not exist"),
        pytest.param("555-1212", "US", "5551212", id="too short"),
        pytest.param("67210510", None, "67210510", id="Latvia, or Norfolk Island cut short"),
        pytest.param("000-123", "US", "123", id="leading zeros go"),
        pytest.param("+44 20 7946 09", None, "4420794609", id="a digit is missing"),
        pytest.param("+6505551212", None, "6505551212", id="a plus and no country code"),
        pytest.param("+52 1 55 1234 5678", None, "5215512345678", id="Mexico's old mobile 1"),
        pytest.param("0300 1234567", "US", "3001234567", id="Pakistan in the US"),
        pytest.param(
            "010-4930-1234", "JP", "1049301234", id="Korea in Japan, whose way out is 010"
        ),
        pytest.param("8 (812) 123-45-67", None, "88121234567", id="a Russian 8 without a region"),
    ],
)
def test_digits_that_are_nobodys_number_are_sent_bare_with_a_warning(
    text: str, region: str | None, digits: str
) -> None:
    sent, warnings = reading_of(text, region)

    assert sent == digits
    assert [warning.partition(";")[0] for warning in warnings] == [
        "cannot be read with its country"
    ]


# --- Left out with a warning ------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    ("text", "region"),
    [
        pytest.param("0151 23456789", None, id="Germany, or Texas"),
        pytest.param("015123456789", None, id="Germany's digits, or Texas"),
        pytest.param("+0151 23456789", None, id="Germany with a plus, or Texas"),
        pytest.param("0812-3456-7890", None, id="Indonesia, or Japan"),
        pytest.param("479-273-1000 (home)", None, id="Arkansas, or Norway"),
        pytest.param("(49) 99123-4567", None, id="Brazil, or Germany"),
        pytest.param("(501) 612-3456", None, id="Arkansas, or Belize"),
        pytest.param("020 7946 0958", "US", id="Britain in the US"),
        pytest.param("090-1234-5678", "US", id="Japan in the US"),
        pytest.param("0803 456 7890", "US", id="Nigeria in the US"),
        pytest.param("0917 823 4567", "US", id="the Philippines in the US"),
        pytest.param("+6505551212", "US", id="a plus, and the US without its code"),
        pytest.param("009 1 212 555 1212", "NG", id="009 1, or 00 91"),
        pytest.param("0081 90 1234 5678", "KR", id="00 81, or 008 1"),
        pytest.param("0532 123 45 67", "US", id="Turkey in the US"),
        pytest.param("151 2345 6789", "US", id="China in the US"),
        pytest.param("55 1234 5678", "US", id="Mexico in the US"),
        pytest.param("47 927 31 000", "US", id="Norway in the US"),
        pytest.param("47 92 73 10 00", "US", id="Norway in the US by twos"),
        pytest.param("(207) 946-0958", "GB", id="the US in Britain"),
        pytest.param("51 991 234 567", "BR", id="Peru in Brazil"),
        pytest.param("0151 2345 6789", "CN", id="a 0 that nobody dials in China"),
        pytest.param("650-555-1212 / 415-555-1212", None, id="of two, the first has no country"),
    ],
)
def test_a_strangers_number_is_left_out(text: str, region: str | None) -> None:
    sent, warnings = reading_of(text, region)

    assert sent is None
    assert len(warnings) == 1


@in_one_test
@pytest.mark.parametrize("region", [None, "US", "DE"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(SHA256, id="SHA-256"),
        pytest.param(SHA256.upper(), id="SHA-256 in capitals"),
        pytest.param(f"sha256:{SHA256}", id="SHA-256 that says so"),
        pytest.param(SHA256[:40], id="SHA-1"),
        pytest.param("098f6bcd4621d373cade4e832627b4f6", id="MD5"),
        pytest.param("n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", id="SHA-256 in Base64"),
        pytest.param("550e8400-e29b-41d4-a716-446655440000", id="UUID"),
        pytest.param("1.65055512E+10", id="scientific"),
        pytest.param("4,91623E+11", id="scientific, with a comma"),
        pytest.param("1E+11", id="scientific, one digit"),
        pytest.param("650-555-****", id="masked with asterisks"),
        pytest.param("650-555-XXXX", id="masked with letters"),
        pytest.param("650-555-121X", id="masked with one letter"),
        pytest.param("650-555-12__", id="masked with lines"),
        pytest.param("•••• 5551212", id="masked with bullets"),
        pytest.param("+49 162 289…", id="cut off"),
        pytest.param("1-800-FLOWERS", id="vanity"),
        pytest.param("+1-800-FLOWERS", id="vanity with a plus"),
        pytest.param("1 888 555 TALK", id="vanity with gaps"),
        pytest.param("2024-01-15", id="a date"),
        pytest.param("15.01.2024", id="a German date"),
        pytest.param("2024-01-15T10:30:00Z", id="a time"),
        pytest.param("15 Jan 2024", id="a date with a word"),
        pytest.param("12 ask for Grace 34", id="words and a few digits"),
        pytest.param("call 112", id="a word and a few digits"),
        pytest.param("A4792731000", id="a part of an id"),
        pytest.param("4792731000abc", id="a part of another id"),
        pytest.param("ada4792731000@example.com", id="an address"),
        pytest.param("https://example.com/4792731000", id="a link"),
        pytest.param("{{contact.phone1}}", id="placeholder with a digit"),
        pytest.param("{{phone}}", id="placeholder"),
        pytest.param("n/a", id="not available"),
        pytest.param("", id="nothing"),
        pytest.param("+", id="a plus"),
        pytest.param("()-", id="separators"),
        pytest.param("000", id="zeros"),
        pytest.param("1111111111", id="one digit over and over"),
        pytest.param("9" * 16, id="sixteen digits"),
        pytest.param("650 555 1212 415 555 1212", id="twenty digits"),
        pytest.param("9" * 40, id="far too long"),
        pytest.param("9" * 1_000_000, id="a megabyte"),
        pytest.param("\ud800", id="half a surrogate pair"),
        pytest.param(None, id="null"),
        pytest.param(True, id="true"),
        pytest.param(["+16505551212"], id="a list"),
        pytest.param({"number": "+16505551212"}, id="an object"),
        pytest.param(math.nan, id="NaN"),
        pytest.param(math.inf, id="infinity"),
        pytest.param(1.5, id="a fraction"),
        pytest.param(-16505551212, id="a negative number"),
        pytest.param(0, id="zero"),
        pytest.param(10**400, id="a huge number"),
        pytest.param(1e300, id="a huge float"),
    ],
)
def test_what_is_no_number_is_left_out(value: object, region: str | None) -> None:
    sent, warnings = reading_of(value, region)

    assert sent is None
    assert len(warnings) == 1
    assert "left out" in warnings[0]


# --- For any input ----------------------------------------------------------------------------

regions = st.sampled_from([None, "", "US", "DE", "IN", "BR", "IT", "JP", "AG", "XX"])
like_numbers = st.text("0123456789+()-./ x#*,;~_\n٣５", max_size=40)
values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=30)
    | like_numbers
    | st.lists(st.integers(), max_size=2)
)


@example(value="20100000000000", region="DE")
@given(value=values, region=regions)
def test_what_is_sent_are_digits_and_what_is_not_has_a_warning(
    value: object, region: str | None
) -> None:
    sent, warnings = reading_of(value, region)

    assert warnings if sent is None else re.fullmatch("[1-9][0-9]{0,14}", sent)


@given(value=values, region=regions)
def test_without_a_warning_a_valid_number_is_sent(value: object, region: str | None) -> None:
    sent, warnings = reading_of(value, region)

    assert warnings or phonenumbers.is_valid_number(phonenumbers.parse(f"+{sent}"))


@given(text=st.from_regex("[0-9 ]{9,20}", fullmatch=True), region=regions)
def test_a_warning_never_quotes_the_number(text: str, region: str | None) -> None:
    _, warnings = reading_of(text, region)

    assert all(text.strip() not in warning for warning in warnings)


@given(value=like_numbers, region=regions)
def test_a_plus_settles_whose_number_it_is(value: str, region: str | None) -> None:
    sent, warnings = reading_of(value, region)

    if sent and not warnings:
        assert reading_of(f"+{sent}", region) == (sent, [])


# --- The promise, measured --------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> tuple[dict[Cell, Counter[Outcome]], list[str]]:
    return measure(2, seed=10, countries=["US", "DE", "BR", "JP", "IT", "NO", "IN", "RU"])


def test_no_number_is_a_strangers_in_silence(
    measured: tuple[dict[Cell, Counter[Outcome]], list[str]],
) -> None:
    counts, silent = measured

    assert silent == []
    assert is_kept(counts)
    assert {kind for _, kind in counts} == set(REGIONS)
    assert all(cell.total() == 32 for cell in counts.values())


def test_in_the_right_region_every_form_is_read(
    measured: tuple[dict[Cell, Counter[Outcome]], list[str]],
) -> None:
    counts, _ = measured
    right = [
        cell
        for (form, kind), cell in counts.items()
        if kind == "the right region" and form != IN_WORDS
    ]

    assert all(cell.keys() <= {Outcome.RIGHT, Outcome.RIGHT_WARNED} for cell in right)


@pytest.mark.parametrize(
    ("text", "region", "digits"),
    [("01512 3452289", "WS", None), ("995322125053", "KP", "995322125053")],
)
def test_what_only_looks_dialled_abroad_is_not(text: str, region: str, digits: str | None) -> None:
    assert reading_of(text, region)[0] == digits


def test_a_broken_promise_shows() -> None:
    silent = {("national", "no region"): Counter({Outcome.RIGHT: 999, Outcome.SILENT: 1})}
    wrong = {("national", "the right region"): Counter({Outcome.RIGHT: 9, Outcome.LEFT_OUT: 1})}

    assert not is_kept(silent)
    assert not is_kept(wrong)
