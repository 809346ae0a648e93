"""Texts as people, templates and programs write them: names, addresses, keys, order ids, booleans.

What reads a value here gives the same for what it gave before: the queue's reader reads once more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import groupby
from typing import Literal

from cometly_forwarder.errors import BadValue

Warn = Callable[[str], None]

# What shows nothing wherever it stands: control characters (but not tab and line breaks), soft
# hyphen, fillers, zero-width space, direction marks, word joiner, byte order mark, annotations.
_INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e"
    "\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a"
)
# What shows nothing itself, and changes what stands beside it: joiners of Persian and Indic names
# and of emoji, selectors of a character's variant, tags of flags.
_JOINERS = "\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e007f\U000e0100-\U000e01ef"
# What may go at both ends: every blank of Unicode, and joiners with nothing to join.
_AT_THE_ENDS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u200c\u200d"
)
_LONGEST_RUN = 30
# Marks are no characters of words. This finds emoji in a row as well, in one pass.
_MAY_BE_A_RUN = r"(?<![^\w\x00-\x7f])[^\w\x00-\x7f]{31,}"
_LARGEST_EXACT = 2**53  # from here on a float no longer holds every integer

_WORDS_FOR_NOTHING = frozenset(
    {
        "undefined",
        "null",
        "nan",
        "nat",
        "none",
        "nil",
        "n/a",
        "n.a.",
        "#n/a",
        "#ref!",
        "#value!",
        "#name?",
        "#null!",
        "#num!",
        "#div/0!",
        "#error!",
        "#spill!",
        "#calc!",
        "loading...",
        "<na>",
        "<nil>",
        "<none>",
        "<null>",
        "<no value>",
        "\\n",
        "(null)",
        "(none)",
        "(nil)",
        "(empty)",
        "(not set)",
        "(not provided)",
        "(unknown)",
        "(undefined)",
        "(blank)",
        "(not available)",
        "(data not available)",
        "optional(nil)",
        "not set",
        "not available",
        "unknown",
        "invalid date",
        "%s",
        "%d",
    }
)
# What they begin with: a text with another first letter or digit is none of them.
_FIRST_OF_WORDS = frozenset(it for word in _WORDS_FOR_NOTHING for it in word[0] + word[0].upper())
_HALVES_FOR_NOTHING = (
    r"(?:undefined|null)+(?:[\s,;:_/|.-]+(?:undefined|null|nan|none))*"
    r"|(?:nan|none)(?:[\s,;:_/|.-]+(?:undefined|null|nan|none))+"
)
# Which tool writes which: {{x}} Liquid, Mustache, tag managers, Klaviyo, HubSpot and the macros of
# Meta, Snap, Reddit, LinkedIn; {{${x}}} Braze; ={{x}} n8n; {%x%} Liquid; %%x%% Marketing Cloud;
# ${x} scripts, Display & Video; #{x} Ruby; @{x} Power Automate; %{x} gettext; {!!x!!} Laravel;
# $(x) shells; %(x)s Python; <%x%> ERB, EJS; <?x?> PHP; <<x>> mail merge; *|x|* Mailchimp;
# [[x]] GetResponse; [%x%] Template Toolkit.
_MARKERS = (
    r"=?\{\{(?:[^{}]|\{[^{}]*\})*\}\}|\{%[^{}]*%\}|%%[^%]*%%|[$#@%]\{[^{}]*\}|\{!![^{}]*!!\}"
    r"|\$\([^()]*\)|%\([^()]*\)[sd]|<%[^<>]*%>|<\?(?:[^?]|\?(?!>))*\?>|<<[^<>]*>>|\*\|[^|*]*\|\*"
    r"|\[\[[^\[\]]*\]\]|\[%[^\[\]]*%\]"
)
# These separate the parts of keys as well, so that they have to be all that there is: ##x##;
# @@x@@; __x__ TikTok.
_UNMISTAKABLE = rf"{_MARKERS}|##[^#]*##|@@[^@]*@@|__[a-z0-9]+(?:_[a-z0-9]+)*__"
# These stand around values too, so a name has to be within: {x} Google, Microsoft; {!x} Salesforce;
# {$x} Smarty; {x:3} Gravity Forms; %x% ActiveCampaign; #x# ClickFunnels; %x! Campaign Manager;
# $x$ Outbrain; ~x~ Keap; [x] VAST; <x> documentation; {x="3"} and [x y="3"] form builders;
# {0} .NET. A name with a number at its end has three letters: {sub1} is one, {PO1} is an order.
_NAME = r"(?:[a-z_][a-z_ .:|-]*|[a-z_]{3,}\d)"
_NAMED = (
    rf"\{{[!=]?{_NAME}\}}|\{{\$[a-z_][^{{}}]*\}}|\{{[a-z][^{{}}:]*:\d{{1,3}}(?:\.\d{{1,2}})?\}}"
    rf"|%{_NAME}%|#{_NAME}#|%[a-z]+!|\${_NAME}\$|~{_NAME}~|\[{_NAME}\]|<{_NAME}>"
    r"|\{[a-z_-]+=[\"'][^{}]*\}|\[[a-z_-]+ [a-z_-]+=[\"'][^\[\]]*\]|\{\d\}|\[object [a-z]*\]"
)
_LONGEST_PLACEHOLDER = 256
# What a proxy makes of an address. Cometly's own example has it, and has to work (decision 9).
_HIDDEN_ADDRESS = "[email protected]"
# What is a value in whatever brackets it stands: a number, an id of letters and digits (ORD-1001),
# a GUID. Zapier and Make begin names with a step's number: {{1.email}}, {{123__email}}.
_VALUE = r"(?!\d+(?:\.|__)[a-z_])\d.+|[a-z]{1,5}[-_# ]?\d{3,}|[a-z]{1,2}\d|(?=.*\d)[0-9a-f-]{8,}"
# Letters in brackets that are a value all the same, such as {deadbeef}.
_HEX = r"[^0-9a-f]?[0-9a-f-]{8,}[^0-9a-f]?"
# Every marker has one of these, or is escaped.
_IN_MARKERS = r"[{(<*%&\[]|[^\x00-\x7f]"
_WORDS_WITHIN = ("undefined", "null", "none", "nan", "nil")
_NO_VALUE_WITHIN = "holds what programs write for a missing value, and would be that of many events"
# 1.23457E+15; but 1e5 is an id in hex.
_BEHIND_ONE_DIGIT = frozenset(".,eE")
_SCIENTIFIC = r"\d(?:[.,](\d+))?[eE]\+?(\d{1,3})"
_LOST_DIGITS = "has lost digits in a spreadsheet, and would be that of many events"

_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"
_EMAIL = "ada@example.com"
_LONGEST_DOMAIN = 255
_LONGEST_EMAIL = 1000  # an address has 254 characters at most; the rest may be around it
_USUAL_EMAIL = r"[a-z0-9][a-z0-9._+-]*@[a-z0-9.-]*[a-z0-9]"
_TWO_HALVES = r"[^\s@,;]+@[^\s@,;]+"
_HASH = r"[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}"
_SCHEME = r"[a-z][a-z-]{1,19}:\s*(?!//)(?=[^\s@]+@)"
_MARKDOWN = r"\[[^\[\]]*\]\((?:mailto:)?([^()\s@]+@[^()\s]+)\)"
_JSON = r"\{\s*\"e-?mail(?:_?address)?\"\s*:\s*\"([^\"\\\s@]+@[^\"\\\s@]+)\"\s*\}"
# Python has IDNA 2003, to which sharp s and final sigma are other letters than to IDNA 2008.
_NEVER_IN_DOMAINS = r"[\u00df\u03c2]|[^a-z0-9.\x80-\U0010ffff-]"
_SHOPIFY_ORDER = r"gid://shopify/order(?:identity)?/(\d+)/?(?:[?#].*)?"
_SHOPIFY_IN_BASE64 = "Z2lkOi8vc2hvcGlmeS9PcmRlc"  # gid://shopify/Order
_AROUND_ORDERS = ('"', "'", "gid%", "GID%", "Gid%", _SHOPIFY_IN_BASE64)
# The numbers 1, 1.0 and true are one key of a dict, as are 0, 0.0 and false.
_BOOLEANS: dict[str | float, bool] = {
    **dict.fromkeys((1, "true", "1", "1.0", "yes", "y", "t", "on"), True),
    **dict.fromkeys((0, "false", "0", "0.0", "no", "n", "f", "off"), False),
}


def is_plain(text: str) -> bool:
    """Say whether a text is ASCII without controls and blanks around it: `clean_text` keeps it."""
    return text.isascii() and text.isprintable() and text[:1] > " " and text[-1] > " "


def clean_text(value: str, warn: Warn, *, keep_joiners: bool = False) -> str:
    """Take out what shows nothing, so that one thing in two spellings is one.

    `keep_joiners` is for what people read, such as names and campaigns: joiners and variants mean
    something there. In what identifies, nobody sees them.
    """
    text = value.strip()
    if text.isascii() and text.isprintable():
        return text
    whole = with_whole_characters(text)
    if whole != text:
        warn("held half of a surrogate pair, which became U+FFFD")
    shown = without_invisible(whole, keep_joiners=keep_joiners)
    if shown != whole:
        warn("held characters that show nothing, which are removed")
    if _has_long_run(shown):
        warn(f"holds more than {_LONGEST_RUN} combining marks in a row; it is sent as it is")
        return shown
    composed = _composed(shown)
    if composed != shown:
        warn("was rewritten in its composed form (Unicode NFC)")
    return composed


def without_invisible(text: str, *, keep_joiners: bool = False) -> str:
    """Remove what shows nothing, and blanks around the rest, without a warning."""
    if text.isascii() and text.isprintable():
        return text.strip()
    hidden = _INVISIBLE if keep_joiners else _INVISIBLE + _JOINERS
    return re.sub(f"[{hidden}]", "", text).strip(_AT_THE_ENDS)


def with_whole_characters(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _composed(text: str, form: Literal["NFC", "NFKC"] = "NFC") -> str:
    if text.isascii() or _has_long_run(text):
        return text
    # A megabyte of tables, which ASCII does not need.
    from unicodedata import normalize  # noqa: PLC0415

    return normalize(form, text)


def _has_long_run(text: str) -> bool:
    """Say whether a text holds marks that `normalize` would sort in quadratic time.

    No language has more than a few on one letter (Unicode's stream-safe text has 30 at most).
    """
    if len(text) <= _LONGEST_RUN or not (runs := re.findall(_MAY_BE_A_RUN, text)):
        return False
    from unicodedata import category  # noqa: PLC0415

    return any(
        sum(1 for _ in marks) > _LONGEST_RUN
        for run in runs
        for are_marks, marks in groupby(run, lambda char: category(char)[0] == "M")
        if are_marks
    )


def read_text(value: object, warn: Warn, *, keep_joiners: bool = False) -> str:
    """Read text, or the number that stands for it: 1001 and 1001.0 are "1001".

    A whole number in a float is read as far as floats hold every integer: beyond, two order
    numbers could be one.
    """
    match value:
        case str():
            return clean_text(value, warn, keep_joiners=keep_joiners)
        case bool():
            raise BadValue("must be text")
        case int():
            return _digits_of(value)
        case float():
            return _text_of(value)
        case _:
            raise BadValue("must be text")


def _digits_of(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # Python writes no integer of more than 4300 digits
        raise BadValue("must be text, or a number with fewer digits") from None


def _text_of(number: float) -> str:
    if not math.isfinite(number):
        raise BadValue("must be text: NaN and Infinity are none")
    if not number.is_integer():
        return repr(number)
    if abs(number) >= _LARGEST_EXACT:
        raise BadValue("must be text: a number as large as this has lost digits")
    return str(int(number))


def is_placeholder(text: str) -> bool:
    """Say whether a text stands for no value: a word such as null, or a template left unfilled.

    For what identifies: a name may be Null. A value in braces, such as a GUID, is no placeholder.
    NA is one in capitals alone, because Na is a name.
    """
    if text[:1].isalnum() and text[0] not in _FIRST_OF_WORDS and text.isascii():
        return False
    bare = text.strip().lower()
    if len(bare) > _LONGEST_PLACEHOLDER:
        return False
    if bare in _WORDS_FOR_NOTHING:
        return True
    if bare[:1].isalnum() and bare.isascii():
        # Most values end here. A word for nothing in two halves begins with one of these letters.
        return bare[0] in "un" and ("NA" in text if bare == "na" else _is_in_halves(bare))
    is_number = bare[1:].isalnum() and bare.isascii()  # #1001
    if is_number or " ".join(bare.split()) == _HIDDEN_ADDRESS:
        return False
    return _stands_for_nothing(bare) or _stands_for_nothing(_unescaped(bare))


def _is_in_halves(bare: str) -> bool:
    return bool(re.fullmatch(_HALVES_FOR_NOTHING, bare))


def _stands_for_nothing(bare: str) -> bool:
    if bare in _WORDS_FOR_NOTHING or (bare.isascii() and not any(map(str.isalnum, bare))):
        return True
    if bare[:1].isalnum():
        return _is_in_halves(bare)
    if re.fullmatch(_NAMED, bare):
        return not re.fullmatch(_HEX, bare)
    found = re.fullmatch(rf"(?:(?:{_UNMISTAKABLE})[\s./|:;,-]*)+", bare)
    return bool(found) and _is_unfilled(bare)


def _is_unfilled(marker: str) -> bool:
    """Tell a name in a template's marks from a value in them."""
    inside = re.sub(r"^[\W_]+|[\W_]+$", "", marker)
    return len(inside) == 1 or not re.fullmatch(_VALUE, inside)


def _unescaped(bare: str) -> str:
    """Undo what a link, a page, a keyboard or a program did to a text: escapes, width, quotes."""
    plain = _composed(bare, "NFKC")
    if "&" in plain:
        from html import unescape  # noqa: PLC0415 - few texts hold it

        plain = unescape(plain)
    if "%" in plain:
        plain = re.sub("%[2-7][0-9a-f]", lambda escape: chr(int(escape[0][1:], 16)), plain)
    return plain.strip(_QUOTES + " ").lower()


def _refuse_no_value_within(text: str) -> None:
    """Refuse a key or an order id that was put together of a missing value, such as ORD-undefined.

    It would make one event of many.
    """
    if text.isalnum() or len(text) > _LONGEST_PLACEHOLDER:
        return
    bare = text.lower()
    is_plain = bare.isascii() and bare.replace("-", "").replace("_", "").isalnum()
    # Every one of these words has an n, and a UUID has none.
    if is_plain and ("n" not in bare or not any(word in bare for word in _WORDS_WITHIN)):
        return
    if is_placeholder(text):
        return  # what is a placeholder as a whole counts as absent
    parts = set(re.split(r"[\s_.:/|,;#-]+", bare))
    has_digit = any(map(str.isdigit, bare))
    if parts & {"undefined", "null"} or (parts & {"nan", "none", "nil"} and not has_digit):
        raise BadValue(_NO_VALUE_WITHIN)
    _refuse_marker_within(bare)


def _refuse_marker_within(bare: str) -> None:
    if not re.search(_IN_MARKERS, bare):
        return
    for spelling in {bare, _unescaped(bare)}:
        found = re.finditer(rf"{_MARKERS}|\[object [a-z]*\]", spelling)
        if any(_is_unfilled(marker[0]) for marker in found):
            raise BadValue(_NO_VALUE_WITHIN)


def read_email(value: object, warn: Warn) -> str:
    """Read an e-mail address out of what surrounds it, in lower case.

    Its form is not checked (decision 9): what has no @ is sent with a warning. A domain in letters
    of other alphabets is written in ASCII, so that it has one form.
    """
    if not isinstance(value, str):
        raise BadValue(f"must be text, such as {_EMAIL}")
    text = _lower(clean_text(value, warn))
    if re.fullmatch(_USUAL_EMAIL, text, re.ASCII):
        return text
    if re.fullmatch(_HASH, text):
        raise BadValue("is a hash, which Cometly cannot match")
    email = _address_in(text)
    if len(email) <= _LONGEST_PLACEHOLDER and not is_placeholder(email):
        _refuse_marker_within(email)
    if email != text:
        several = text.count("@") > 1 and not re.search(f"{_MARKDOWN}|{_JSON}", text)
        warn("holds several; the first is sent" if several else "was read out of what surrounds it")
    address = _with_ascii_domain(email)
    if address != email:
        warn("has a domain that was rewritten in ASCII (IDNA)")
    if not re.fullmatch(_TWO_HALVES, address):
        warn("does not look like an e-mail address; it is sent as it is")
    return address


def _lower(text: str) -> str:
    """Write in small letters; Turkey's dotted capital has the same as I."""
    lower = text.lower()
    return lower if lower.isascii() else _composed(re.sub("i\u0307+", "i", lower))


def _with_ascii_domain(email: str) -> str:
    """Write the domain as names in the DNS are; one that is none stays."""
    name, _, domain = email.rpartition("@")
    if domain.isascii() or not name or len(domain) > _LONGEST_DOMAIN or _has_long_run(email):
        return email
    if re.search(_NEVER_IN_DOMAINS, domain):
        return email
    try:
        address = f"{name}@{domain.encode('idna').decode().lower()}"
    except UnicodeError:
        return email
    return address if _address_in(address) == address else email


def _address_in(text: str) -> str:
    """Read one address; the same again for what this returns."""
    if len(text) > _LONGEST_EMAIL or _has_long_run(text):
        return text
    # An address that was typed with a Japanese keyboard is one of wide letters.
    plain = _composed(text, "NFKC").replace("\u3002", ".")
    if "@" not in plain:
        plain = _decoded(plain)
    if "@" not in plain:
        return text
    if plain.startswith('"') and re.fullmatch(r'"[^"@]*"@[^\s@"]+', plain):
        return plain
    if linked := re.fullmatch(_MARKDOWN, plain) or re.fullmatch(_JSON, plain):
        plain = linked[1]
    if scheme := re.match(_SCHEME, plain):
        plain = plain[scheme.end() :]
    plain = re.sub(r"(@[^\s@?]+)\?.*", r"\1", plain, count=1, flags=re.DOTALL)
    if bracketed := re.search(r"<\s*([^<>\s]+@[^<>\s]+)\s*>", plain):
        plain = bracketed[1]
    plain = re.sub(r"\s*@\s*|(?<=@)([^\s@,;]+)\s+(?=\.)", _without_blanks, plain)
    plain = _bare(_first_of(_bare(plain)))
    return plain if plain == text or "@" not in plain else _address_in(plain)


def _decoded(text: str) -> str:
    """Undo the escapes of links and of pages in an address whose @ is one of them."""
    plain = text
    if "%40" in plain:
        from urllib.parse import unquote  # noqa: PLC0415 - few addresses come so

        plain = unquote(plain)
    elif "&" in plain:
        from html import unescape  # noqa: PLC0415

        plain = unescape(plain)
    return _lower(without_invisible(plain))


def _without_blanks(match: re.Match[str]) -> str:
    return "".join(match[0].split())


def _bare(text: str) -> str:
    if "@[" in text:  # an address literal, whose brackets are a part of it
        return text
    return text.strip(_QUOTES + "<>()[],;: \t\r\n").rstrip(".!")


def _first_of(text: str) -> str:
    """Tell two addresses apart. Words in front of the only one could be a part of it: they stay."""
    pieces = [piece for piece in re.split(r"[,;|]+|\s+", text) if "@" in piece]
    first = _bare(pieces[0]) if pieces else ""
    if len(pieces) == 1 and first.count("@") > 1:
        pieces = [piece for piece in re.split(r"[/&+]", first) if re.fullmatch(_TWO_HALVES, piece)]
        return pieces[0] if len(pieces) > 1 else text
    if not re.fullmatch(_TWO_HALVES, first):
        return text
    if len(pieces) > 1:
        return first
    # The comma of bob,smith@example.com and of ada@example,com may be a dot.
    if "." not in first.partition("@")[2] or re.search(r"[,;|][^\s,;|@]+@", text):
        return text
    certain = re.search("[,;|]", text) or text.startswith((first, *_QUOTES))
    return first if certain else text


def read_key(value: object, warn: Warn) -> str:
    """Read an idempotency key, out of the quotes in which its header's draft has it (RFC 8941).

    Raises BadValue for a text that would be the key of many events.
    """
    text = read_text(value, warn)
    key = _unquoted(text) if text.startswith('"') else text
    if key != text:
        warn("was in quotes, which are no part of it")
    return _of_one_event(key, value)


def _of_one_event(text: str, value: object) -> str:
    if isinstance(value, str):
        _refuse_no_value_within(text)
        if text[1:2] in _BEHIND_ONE_DIGIT and (number := re.fullmatch(_SCIENTIFIC, text, re.ASCII)):
            decimals = number[1] or ""
            if (decimals or "+" in text) and len(decimals) < int(number[2]):
                raise BadValue(_LOST_DIGITS)
    return text


def _unquoted(text: str) -> str:
    while quoted := re.fullmatch(r'"((?:[^"\\]|\\["\\])*)"', text):
        text = re.sub(r"\\(.)", r"\1", quoted[1]).strip()
    return text


def read_order_id(value: object, warn: Warn) -> str:
    """Read an order's id. What is `5001` to Shopify's webhooks has longer forms in its pixel.

    Raises BadValue for a text that would be the order of many events.
    """
    text = read_text(value, warn)
    if ":" in text or not text.isascii() or text.startswith(_AROUND_ORDERS):
        plain = _order_in(text)
        if plain != text:
            warn("was read as the order's id in it")
            text = plain
    return _of_one_event(text, value)


def _order_in(text: str) -> str:
    """Read an order's id out of quotes and longer forms; the same again for what this returns."""
    if text.isascii():
        plain = text
    else:
        plain = re.sub("[\uff01-\uff5e]", lambda wide: chr(ord(wide[0]) - 0xFEE0), text)
        plain = re.sub("[\u2010\u2011]", "-", plain).strip()
    plain = _shopify_order_in(_unquoted(plain))
    if plain.isdecimal():
        return plain
    if quoted := re.fullmatch(r"'([^']*)'|'(\d+)", plain, re.ASCII):
        plain = (quoted[1] or quoted[2] or "").strip()
    return plain if plain == text else _order_in(plain)


def _shopify_order_in(text: str) -> str:
    plain = _from_base64(text) if text.startswith(_SHOPIFY_IN_BASE64) else text
    if plain[:4].lower() == "gid%":
        plain = re.sub("%(3a|2f)", lambda it: chr(int(it[1], 16)), plain, flags=re.IGNORECASE)
    plain = plain.replace("\\/", "/")
    found = re.fullmatch(_SHOPIFY_ORDER, plain, re.ASCII | re.IGNORECASE)
    return found[1] if found else text


def _from_base64(text: str) -> str:
    from binascii import Error, a2b_base64  # noqa: PLC0415 - few orders come in it

    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return a2b_base64(standard + "=" * (-len(standard) % 4)).decode()
    except (Error, ValueError):
        return text


def read_boolean(value: object, _warn: Warn) -> bool:
    """Read true or false in the words of forms and of other languages' programs."""
    word = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(word, str | int | float) or word not in _BOOLEANS:
        raise BadValue("must be true or false")
    return _BOOLEANS[word]
