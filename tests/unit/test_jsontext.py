"""What strangers' JSON becomes, and what is refused of it."""

from __future__ import annotations

import json
import math

import pytest

from cometly_forwarder import jsontext
from cometly_forwarder.errors import Unreadable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}, id="object"),
        pytest.param(' \n\t"x"\r\n', "x", id="blanks around"),
        pytest.param('"\\u00e9\\ud83d\\ude00"', "é😀", id="escapes"),
        pytest.param('{"a": {"k": 1}, "b": {"k": 2}}', {"a": {"k": 1}, "b": {"k": 2}}, id="nested"),
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["text", "bytes"])
def test_json_is_read_from_text_and_from_utf_8(text: str, value: object, *, as_bytes: bool) -> None:
    assert jsontext.parse(text.encode() if as_bytes else text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "line 1, column 1", id="nothing"),
        pytest.param('{"a": 1}\n]', "line 2, column 1", id="something after it"),
        pytest.param('"a\nb"', "line 1, column 3", id="bare line break in a string"),
        pytest.param(b"\xff\xfe{\x00}\x00", "not UTF-8", id="UTF-16"),
        pytest.param(b'"\xed\xa0\x80"', "not UTF-8", id="a surrogate in UTF-8"),
        pytest.param("\ufeff{}", "BOM", id="byte order mark"),
        pytest.param('{"a": 1, "a": 2}', "same key twice", id="a key twice"),
        pytest.param('{"a": 1, "\\u0061": 1}', "same key twice", id="a key twice in disguise"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep arrays"),
        pytest.param("1" * 5_000, "too many digits", id="a number of 5000 digits"),
    ],
)
def test_what_is_not_json_is_refused_with_the_reason(text: str | bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        jsontext.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"email": "grace@example.com" x}', id="bad punctuation"),
        pytest.param('{"grace@example.com": 1, "grace@example.com": 2}', id="a key twice"),
        pytest.param(b'"grace@example.com\xff"', id="not UTF-8"),
    ],
)
def test_a_refusal_never_quotes_the_text(text: str | bytes) -> None:
    with pytest.raises(Unreadable) as refusal:
        jsontext.parse(text)

    assert "grace" not in str(refusal.value)
    # What is chained shows in a traceback, and so in a log.
    assert not isinstance(refusal.value.__cause__, json.JSONDecodeError)


def test_a_byte_order_mark_before_utf_8_is_passed_over() -> None:
    assert jsontext.parse(b"\xef\xbb\xbf{}") == {}


def test_not_a_number_is_left_to_the_rules_of_the_field() -> None:
    value = jsontext.parse('{"a": NaN, "b": -Infinity, "c": 1e999}')

    assert math.isnan(value["a"])
    assert value["b"] == -math.inf
    assert value["c"] == math.inf


def test_json_is_written_compact_and_in_ascii_half_a_surrogate_pair_too() -> None:
    value = {"a": ["é", "😀", "\ud800"], "b": 1.5}

    text = jsontext.dump(value)

    assert text == '{"a":["\\u00e9","\\ud83d\\ude00","\\ud800"],"b":1.5}'
    assert jsontext.parse(text) == value


# --- What names a key twice, told apart -------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        pytest.param('{"a": 1, "b": 2, "a": 3}', "a", id="a key twice"),
        pytest.param('{"a": 1, "\\u0061": 1}', "a", id="in disguise"),
        pytest.param('{"b": 1, "a": 1, "a": 1, "b": 1}', "b", id="two keys: the first"),
        pytest.param('{"": 1, "": 2}', "", id="an empty key"),
        pytest.param('{"x": {"a": 1, "a": 2}}', "x.a", id="within an object"),
        pytest.param('{"x": {"y": {"a": 1, "a": 2}}, "z": 1}', "x.y.a", id="deeper"),
        pytest.param('{"x": {"a": 1, "a": 2}, "b": 1, "b": 2}', "b", id="here and within"),
        pytest.param('{"K": 1, "K": 2}'.replace("K", "k" * 99), "k" * 64, id="a long key"),
    ],
)
def test_an_object_that_names_a_key_twice_is_told_by_the_key(text: str, repeated: str) -> None:
    spoilt = jsontext.parse_each(text)

    assert isinstance(spoilt, jsontext.Ambiguous)
    assert spoilt.repeated == repeated


def test_what_an_object_names_twice_spoils_that_object_alone() -> None:
    content = jsontext.parse_each('[{"a": 1}, {"a": 1, "a": 2}, {"x": [{"a": 1, "a": 2}]}, 5]')

    assert [type(it) for it in content] == [dict, jsontext.Ambiguous, dict, int]
    # A list has members without a name: what spoils one of them stays there.
    assert type(content[2]["x"][0]) is jsontext.Ambiguous


def test_a_way_of_any_depth_is_told_in_a_bounded_name() -> None:
    inner = '{"K": 1, "K": 2}'.replace("K", "k" * 10_000)
    deep = '{"x":' * 300 + inner + "}" * 300

    assert jsontext.parse_each(deep).repeated == "x." * 32


@pytest.mark.parametrize(
    "text", ["", "{", '"\ud800', "[" * 100_000, b"\xff"], ids=lambda it: repr(it[:9])
)
def test_it_refuses_what_parsing_refuses(text: str | bytes) -> None:
    with pytest.raises(Unreadable) as strict:
        jsontext.parse(text)
    with pytest.raises(Unreadable) as lenient:
        jsontext.parse_each(text)

    assert str(lenient.value) == str(strict.value)


@pytest.mark.parametrize(("sign", "value"), [("", math.inf), ("-", -math.inf)])
def test_a_number_with_too_many_digits_spoils_itself_alone(sign: str, value: float) -> None:
    text = '[{"a": SIGN, "b": 7}, 123456789012345678901234567890]'.replace(
        "SIGN", sign + "9" * 5000
    )

    assert jsontext.parse_each(text) == [{"a": value, "b": 7}, 123456789012345678901234567890]


def test_what_is_refused_is_so_beside_a_number_with_too_many_digits() -> None:
    with pytest.raises(Unreadable, match="line 1"):
        jsontext.parse_each("[" + "9" * 5000 + "}")
