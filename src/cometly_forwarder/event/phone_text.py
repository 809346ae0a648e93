"""The phone number in what people type: its digits, and where they put separators."""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.phone_words import GLUED, Beside, beside

# The longest that E.164 allows, and the shortest that somebody's whole number may be.
LONGEST_NUMBER = 15
SHORTEST_NUMBER = 7
# A number with its label, its extension and a second number; more is not worth a parser's time.
_LONGEST_TEXT = 200
_LONGEST_EXTENSION = 8
# 030/234/5678 is one number; 030/1234567/68 is one and the last digits of a second.
_SHORTEST_PART = 3
# From here on digits followed by a word are a number with a label; below, 1-800-FLOWERS.
_LONGER_THAN_VANITY = 10

# A spreadsheet's ways to keep a number text: '+1 650 555 1212 and ="+1 650 555 1212".
_QUOTES = " \t\r\n'\"`=\N{RIGHT SINGLE QUOTATION MARK}"

WRITE = "; write one number with + and its country code, such as +16505551212"
_NO_DIGIT = "holds no digit and is left out"
_NO_NUMBER = "holds no phone number and is left out" + WRITE
_DIGITS_LOST = "lost digits, as in a spreadsheet, and is left out; send it as text, with + in front"
_MASKED = "is masked or cut off and is left out; send all digits"
_CODE_BEHIND = "ends in what may be its country code and is left out" + WRITE
_HASHED = "looks like a hash and is left out; send the number itself"
_VANITY = "holds letters for digits and is left out; write the digits"

_PLAIN = re.compile(r"(\(?\+)?[ (]*[0-9](?:[ \t().\-]*[0-9])*[ .)]*", re.ASCII)
_CHUNK = re.compile(r"(\+[ (\[]*)?([0-9](?:[ \t().\-\[\]_~•·‧]*[0-9])*)", re.ASCII)
_OPTIONAL_ZERO = re.compile(r"(?<=[0-9])[ \t.\-)]*[(\[] ?0 ?[)\]]", re.ASCII)
_ENDS_IN_CODE = re.compile(r"[^+]*[0-9][ .,;\-]*(?:\(\+?[0-9]{1,5}\)|\+[0-9]{1,3})[ .]*", re.ASCII)
_WHOLE_FLOAT = re.compile(r"(\+?[0-9]{5,15})[.,]0{1,2}", re.ASCII)
_SCIENTIFIC = re.compile(r"([0-9])(?:[.,]([0-9]+))?[eE]\+?([0-9]{1,3})", re.ASCII)
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){2,}", re.ASCII)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}([-/.])[01]?[0-9]\1[0-3]?[0-9](?:[T ,].*)?"
    r"|[0-3]?[0-9]([-/.])[0-3]?[0-9]\2(?:19|20)[0-9]{2}(?:[T ,].*)?",
    re.ASCII | re.DOTALL,
)
_HASH = re.compile(r"[a-z0-9]{0,7}:?[0-9a-f]{32,}", re.ASCII | re.IGNORECASE)
_MASK = re.compile(
    r"[*█■]|[•●∙_?#]{2,}|[0-9][ \-]*\.{2,}|(?<![a-z])x{2,}(?![a-z])", re.ASCII | re.IGNORECASE
)
_MESSENGER = re.compile(r"https?://(?:wa\.me/|(?:api|web)\.whatsapp\.com/)", re.IGNORECASE)
_MESSENGER_USER = re.compile(r"@(?:c\.us|s\.whatsapp\.net)$", re.IGNORECASE)
_EXTENSION = re.compile(
    r"[\s,;.\-(/]*(?:;?ext(?:ension|n)?|x|#|доб(?:авочный)?|вн|\N{CYRILLIC SMALL LETTER HA}|poste"
    r"|durchwahl|dw|app|int(?:erno)?|anexo|ramal|内線|內線|내선|转|轉|,+)[\s.:=)\-]*",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r";phone-context=(\+[0-9().\-]+)", re.ASCII | re.IGNORECASE)
_FIRST_DIGIT = re.compile("[(]?[0-9]", re.ASCII)
_ONLY_SEPARATORS = re.compile(r"[\s,;:/|\\().\-]*")
_WORD_BEFORE = re.compile(r"([A-Za-z]+)$")
_WORD_AFTER = re.compile(r"([A-Za-z]+)")
_VANITY_WORD = re.compile(r"[ \-]?[A-Z]{3,}|-[A-Za-z]{2,}")


@dataclass(frozen=True, slots=True)
class Written:
    """One number as it is written.

    `gaps` are the places between its digits where a separator stands. `without_zero` are its digits
    without the (0) of "+49 (0) 151", where there is one. `alone` says that the text is these digits
    and nothing else, `more` that it holds other digits, too, `few` that it holds words and not more
    digits than a date or a room has: they are a number only where somebody's is that short.
    `slashed` says that a slash parts its digits, which people write at home alone. `beside` is what
    the words around it say of its country.
    """

    digits: str
    plus: bool = False
    gaps: frozenset[int] = frozenset()
    without_zero: str | None = None
    alone: bool = False
    more: bool = False
    few: bool = False
    slashed: bool = False
    beside: Beside | None = None


@dataclass(slots=True)
class _Chunk:
    """Digits with nothing but separators between them, and where they stand in the text."""

    start: int
    end: int
    plus: bool
    digits: str
    gaps: frozenset[int]
    slashed: bool = False

    def joined(self, other: _Chunk, separator: str) -> _Chunk:
        slashed = self.slashed or "/" in separator
        shift = len(self.digits)
        gaps = self.gaps | {shift} | {shift + gap for gap in other.gaps}
        digits = self.digits + other.digits
        return _Chunk(self.start, other.end, self.plus, digits, gaps, slashed)


def written_in(value: object) -> Written:
    """Find the number in a text, or in the JSON number that stands for its digits.

    Raises BadValue where there is none, where its digits are not all there, or where it is a part
    of something else.
    """
    if isinstance(value, str):
        return _written_in_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue("must be text and is left out" + WRITE)
    if not 0 < value < 10**LONGEST_NUMBER or value != int(value):
        raise BadValue(_NO_NUMBER)
    return Written(str(int(value)), alone=True)


def _written_in_text(text: str) -> Written:
    if len(text) > _LONGEST_TEXT:
        raise BadValue(_NO_NUMBER)
    text = text.strip(_QUOTES)
    if not text.isascii():
        text = _in_ascii(text)
    may_end_in_code = text.endswith(")") or "+" in text[-4:]
    if may_end_in_code and _ENDS_IN_CODE.fullmatch(text):
        raise BadValue(_CODE_BEHIND)
    if _PLAIN.fullmatch(text) and ".." not in text and not _DATE.fullmatch(text):
        return _plainly_written(text)
    text = _in_context(_unescaped(text))
    _refuse_what_is_no_number(text)
    chunks = _joined(_chunks_of(text), text)
    if not chunks:
        raise BadValue(_NO_DIGIT)
    return _first_of(chunks, text)


def _in_ascii(text: str) -> str:
    """Write digits, dashes and spaces of other alphabets in ASCII; drop what nobody sees."""
    return "".join(_as_ascii(char) for char in unicodedata.normalize("NFKC", text)).strip()


def _as_ascii(char: str) -> str:
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    match unicodedata.category(char):
        case "Pd":
            return "-"
        case "Zl" | "Zp":
            return "\n"
        case "Cf" | "Mn" | "Me":
            return ""
    return "-" if char == "\N{MINUS SIGN}" else char


def _unescaped(text: str) -> str:
    for escape, char in (("%2B", "+"), ("%2b", "+"), ("%20", " "), ("&#43;", "+"), ("&plus;", "+")):
        text = text.replace(escape, char)
    if whole := _WHOLE_FLOAT.fullmatch(text):
        return whole[1]
    if (parts := _SCIENTIFIC.fullmatch(text)) and len(parts[2] or "") == int(parts[3]):
        return parts[1] + (parts[2] or "")
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def _in_context(text: str) -> str:
    """Put the context of RFC 3966 in front: tel:863-1234;phone-context=+1-914-555.

    A domain is none, and is left to be a word that may mean any country.
    """
    context = _CONTEXT.search(text)
    if context is None:
        return text
    number = text[: context.start()] + text[context.end() :]
    return number if "+" in number else _FIRST_DIGIT.sub(rf"{context[1]}-\g<0>", number, count=1)


def _refuse_what_is_no_number(text: str) -> None:
    if _SCIENTIFIC.fullmatch(text):
        raise BadValue(_DIGITS_LOST)
    if _HASH.fullmatch(text):
        raise BadValue(_HASHED)
    if _MASK.search(text):
        raise BadValue(_MASKED)
    is_elsewhere = "@" in text or "http" in text.lower()
    if (is_elsewhere and not _is_messenger(text)) or _DATE.fullmatch(text):
        raise BadValue(_NO_NUMBER)


def _is_messenger(text: str) -> bool:
    return bool(_MESSENGER.match(text) or _MESSENGER_USER.search(text))


def _plainly_written(text: str) -> Written:
    if whole := _WHOLE_FLOAT.fullmatch(text):
        text = whole[1]
    if text.isdigit():
        return Written(text, alone=True)
    (chunk,) = _chunks_of(text)
    return _written(chunk, text)


def _chunks_of(text: str) -> list[_Chunk]:
    return [_chunk(match) for match in _CHUNK.finditer(text)]


def _chunk(match: re.Match[str]) -> _Chunk:
    groups = [len(group) for group in re.findall("[0-9]+", match[2])]
    digits = re.sub("[^0-9]", "", match[2])
    gaps = frozenset(itertools.accumulate(groups[:-1]))
    return _Chunk(match.start(), match.end(), bool(match[1]), digits, gaps)


def _written(
    chunk: _Chunk,
    text: str,
    *,
    more: bool = False,
    few: bool = False,
    said: Beside | None = None,
) -> Written:
    without_zero, alone = _without_zero(chunk, text), chunk.digits == text
    return Written(
        chunk.digits, chunk.plus, chunk.gaps, without_zero, alone, more, few, chunk.slashed, said
    )


def _without_zero(chunk: _Chunk, text: str) -> str | None:
    part = text[chunk.start : chunk.end]
    without, found = _OPTIONAL_ZERO.subn(" ", part, count=1)
    return re.sub("[^0-9]", "", without) if found else None


def _joined(chunks: list[_Chunk], text: str) -> list[_Chunk]:
    """Put together what a slash or a comma parts before there is a whole number: 030/1234567."""
    joined: list[_Chunk] = []
    separator = None
    for chunk in chunks:
        gap = text[joined[-1].end : chunk.start].strip() if joined else None
        if gap is not None and not chunk.plus and _belongs(joined[-1], gap, chunk, separator):
            joined[-1], separator = joined[-1].joined(chunk, gap), gap
        else:
            joined.append(chunk)
    return joined


def _belongs(number: _Chunk, gap: str, part: _Chunk, separator: str | None) -> bool:
    if not _ONLY_SEPARATORS.fullmatch(gap) or ",," in gap:
        return False
    goes_on = gap == separator and _SHORTEST_PART <= len(part.digits) < SHORTEST_NUMBER
    return goes_on or len(number.digits) < SHORTEST_NUMBER


def _first_of(chunks: list[_Chunk], text: str) -> Written:
    more = False
    while len(chunks) > 1 and chunks[1].plus and len(chunks[0].digits) < SHORTEST_NUMBER:
        chunks, more = chunks[1:], True  # "Phone 2: +1 650 555 1212"
    first, *others = chunks
    gaps = _gaps_between(chunks, text)
    before, after = text[: first.start], text[chunks[-1].end :]
    extensions = [_is_extension(gap, other) for gap, other in zip(gaps, others, strict=True)]
    _refuse_a_part(first, before, "" if extensions[:1] == [True] else text[first.end :])
    words = before + "".join(gaps) + after
    few = len(first.digits) < SHORTEST_NUMBER and any(char.isalpha() for char in words)
    between = (gap for gap, is_one in zip(gaps, extensions, strict=True) if not is_one)
    said = None if _is_messenger(text) else beside(" ".join((before, *between, after)))
    return _written(first, text, more=more or not all(extensions), few=few, said=said)


def _gaps_between(chunks: list[_Chunk], text: str) -> list[str]:
    return [text[one.end : other.start] for one, other in itertools.pairwise(chunks)]


def _is_extension(gap: str, chunk: _Chunk) -> bool:
    short = not chunk.plus and len(chunk.digits) <= _LONGEST_EXTENSION
    return short and _EXTENSION.fullmatch(gap) is not None


def _refuse_a_part(chunk: _Chunk, before: str, after: str) -> None:
    """Refuse digits that touch letters: those of an id, of 1-800-FLOWERS, of 650-555-121X."""
    if len(chunk.digits) < _LONGER_THAN_VANITY and _VANITY_WORD.match(after):
        raise BadValue(_VANITY)
    touching = None if chunk.plus else _WORD_BEFORE.search(before)
    for word in (touching, _WORD_AFTER.match(after)):
        if word and word[1].lower() not in GLUED:
            raise BadValue(_NO_NUMBER)
