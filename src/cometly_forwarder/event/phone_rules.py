"""Whose number it is that somebody wrote. Import this when there is one: it costs 40 ms."""

from __future__ import annotations

from dataclasses import dataclass

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.phone_plans import (
    Known,
    calling_code,
    calling_code_of,
    dialled_abroad,
    international,
    may_be_at_home,
    national,
)
from cometly_forwarder.event.phone_text import (
    LONGEST_NUMBER,
    SHORTEST_NUMBER,
    WRITE,
    Written,
    written_in,
)
from cometly_forwarder.event.phone_words import STATES, Beside

_STRANGERS = "cannot be read with its country and is left out: its digits are also another's number"
_BARE = "cannot be read with its country; its bare digits are sent"
_TOO_LONG = "has more digits than a phone number and is left out"
_NOT_ONE = "is no phone number and is left out"
_FIRST = "holds more than one number; the first is sent"
_FIRST_UNREAD = "holds more than one number, of which the first cannot be read, and is left out"
_EITHER = "may be a number of another country; it is read as one of the region"
_LOST_ZERO = "lacks what people of the region write in front; it is read as a number of the region"
_MAY_BE_OWN = "may be a number of the region without its 0; it is read with a country code"
_NO_PLUS = "has no + and may be without its country code; it is read with one"
_BESIDE = "stands beside a word that may name its country; the word is not read"
_NOT_THERE = "is no number of the country that is written beside it and is left out"
_NO_CODE = "has a + and no country code; it is read as a number of the region"

# What people dial before a country code wherever they are, and the fewest digits behind it. 011 and
# 0011 also begin numbers at home: Delhi's is 011 with eight digits.
_ABROAD = {"00": SHORTEST_NUMBER, "0011": 10, "011": 10}
# The same for what only one region dials: 010 is Japan's way out and begins Korea's mobile phones.
_SHORTEST_ABROAD = 10
# Nobody writes twelve digits for a number of their own country, unless with a 0 in front.
_LONGER_THAN_NATIONAL = 12
_NORTH_AMERICA = 1
_NORTH_AMERICAN_GAPS = frozenset({3, 6})
_GLUED_TO_ONE = (frozenset({4}), frozenset({4, 7}))  # 1650-555-1212


@dataclass(frozen=True, slots=True)
class Reading:
    """The digits to send, and what has to be said of how they were read."""

    digits: str
    warnings: tuple[str, ...] = ()


def read_number(value: object, region: str | None) -> Reading:
    """Read a phone; `region` (ISO 3166) is where numbers without a country code belong.

    Raises BadValue where nothing may be sent.
    """
    written = written_in(value)
    region = region.upper() if region else None
    if written.beside:
        reading = _read_beside(written, written.beside, region)
    else:
        reading = _read(written, region)
    if reading is None:
        return Reading(_bare(written, region), (_BARE + WRITE,))
    known, warning = reading
    # Some countries have longer numbers in their plans than E.164 lets be dialled from abroad.
    if len(known.digits) > LONGEST_NUMBER:
        raise BadValue(_TOO_LONG + WRITE)
    warnings = (warning, _FIRST if written.more else None)
    return Reading(known.digits, tuple(each + WRITE for each in warnings if each))


def _bare(written: Written, region: str | None) -> str:
    """Return digits that are no valid number, of another country or of the region."""
    bare = written.digits.lstrip("0")
    if written.more:
        raise BadValue(_FIRST_UNREAD + WRITE)
    if written.few:
        raise BadValue(_NOT_ONE + WRITE)
    if len(bare) > LONGEST_NUMBER:
        raise BadValue(_TOO_LONG + WRITE)
    if len(set(bare)) <= 1:
        raise BadValue(_NOT_ONE + WRITE)
    if international(bare) or (region and national(bare, region)):
        raise BadValue(_STRANGERS + WRITE)
    return bare


# A number, and what is uncertain about it; none at all where its country is not known.
_Found = tuple[Known, str | None] | None


def _read_beside(written: Written, words: Beside, region: str | None) -> _Found:
    """Read a number by the country that is written beside it, in whatever form that is."""
    if written.plus:
        return _read(written, region)
    codes = words.flags | words.codes - _also_states(written, words, region)
    if {calling_code_of(code) for code in codes} - {calling_code_of(region)}:
        return _read_there(written, codes, region)
    found = _read(written, region)
    if found and found[0] == _from_abroad(written, region):
        return found
    home, states = calling_code_of(region), words.codes - codes
    perhaps = (code for code in words.perhaps | states if calling_code_of(code) != home)
    if any(_there(written, code, region) for code in perhaps):
        raise BadValue(_STRANGERS + WRITE)
    if found and (words.unknown or states):
        return _doubted(written, found)
    return found


def _also_states(written: Written, words: Beside, region: str | None) -> frozenset[str]:
    """Return codes that may be a state: "CO 303 555 1212" is Colorado's as well as Colombia's."""
    if calling_code_of(region) not in {None, _NORTH_AMERICA}:
        return frozenset()
    states = frozenset(
        code for code in words.codes & STATES if calling_code_of(code) != _NORTH_AMERICA
    )
    if not states:
        return states
    found = _read(written, "US")
    return states if found and found[0].country == _NORTH_AMERICA else frozenset()


def _read_there(written: Written, codes: frozenset[str], region: str | None) -> _Found:
    readings = [_there(written, code, region) for code in sorted(codes)]
    found = readings[0]
    if found and all(other and other[0].digits == found[0].digits for other in readings):
        return found
    raise BadValue(_NOT_THERE + WRITE)


def _there(written: Written, code: str, region: str | None) -> _Found:
    """Read a number of the country of a code, or one that names its country itself."""
    found = _read(written, code)
    if found is None or found[0].country == calling_code_of(code):
        return found
    return found if found[0] == _from_abroad(written, region) else None


def _doubted(written: Written, found: tuple[Known, str | None]) -> _Found:
    """Doubt a number beside an unknown word; leave it out where it may be a stranger's."""
    known, warning = found
    foreign = international(written.digits.lstrip("0"))
    if foreign and foreign.digits != known.digits:
        raise BadValue(_STRANGERS + WRITE)
    return known, warning or _BESIDE


def _read(written: Written, region: str | None) -> _Found:
    if len(written.digits) > LONGEST_NUMBER + len("0011"):
        return None
    known = _international(written) if written.plus else None
    known = known or _from_abroad(written, region)
    if known:
        return known, None
    if written.plus:
        return _with_needless_plus(written, region)
    return _without_code(written, region)


def _international(written: Written, *, literally: bool = False) -> Known | None:
    if written.without_zero and (known := international(written.without_zero)):
        return known
    return international(written.digits, literally=literally)


def _from_abroad(written: Written, region: str | None) -> Known | None:
    """Read what is dialled from abroad: 00, North America's 011, or the region's own way out.

    Nigeria's 009 1 650 555 1212 would be a number of India behind 00. What has two ways is not
    read, unless one leads home.
    """
    anywhere = _behind_any(written, region)
    own_way = dialled_abroad(written.digits, region) if region else None
    if own_way is None or len(own_way.digits) < _SHORTEST_ABROAD:
        return anywhere
    if international(written.digits):  # North Korea's way out is 99, Georgia's code 995
        return None
    if anywhere is None or anywhere.digits == own_way.digits:
        return own_way
    return anywhere if anywhere.country == calling_code_of(region) else None


def _behind_any(written: Written, region: str | None) -> Known | None:
    for prefix, shortest in _ABROAD.items():
        if written.digits.startswith(prefix) and (known := _behind(prefix, shortest, written)):
            own = national(written.digits, region) if region and prefix != "00" else None
            return None if own and own.usual else known
    return None


def _behind(prefix: str, shortest: int, written: Written) -> Known | None:
    rest = written.digits.removeprefix(prefix)
    without_zero = (written.without_zero or "").removeprefix(prefix)
    if len(rest) < shortest:
        return None
    return _international(Written(rest, without_zero=without_zero or None))


def _with_needless_plus(written: Written, region: str | None) -> _Found:
    """Read +0151 23456789: no country code begins with 0, so the + is wrong."""
    begins_with_zero = region and written.digits.startswith("0")
    own = national(written.digits, region) if region and begins_with_zero else None
    return (own, _NO_CODE) if own and own.usual else None


def _without_code(written: Written, region: str | None) -> _Found:
    home = calling_code_of(region)
    if home and written.alone and (known := _from_home(written.digits, home)):
        return known, None
    own = national(written.digits, region) if region else None
    if own and own.usual:
        return _as_own(written, own)
    foreign = _as_international(written, home)
    if own is None or (foreign and (written.gaps or foreign.country == home)):
        return (foreign, _doubt_of(written, foreign, home)) if foreign else None
    if written.gaps or written.digits.startswith("0"):
        return None
    return (foreign, _MAY_BE_OWN) if foreign else (own, _LOST_ZERO)


def _from_home(digits: str, home: int) -> Known | None:
    """Read the region's own number in Cometly's form: the commonest gets the shortest way."""
    if not digits.startswith(str(home)) or may_be_at_home(digits, home):
        return None
    return international(digits, literally=True)


def _doubt_of(written: Written, foreign: Known, home: int | None) -> str | None:
    """Doubt "4792731000 cell": people, not programs, write words, and they leave the code away."""
    is_sure = written.alone or bool(written.gaps) or foreign.country == home
    return None if is_sure or len(written.digits) >= _LONGER_THAN_NATIONAL else _NO_PLUS


def _as_own(written: Written, own: Known) -> _Found:
    """Read what people of the region write, with a warning where it is another country's, too."""
    if own.country == _NORTH_AMERICA and not written.gaps <= _NORTH_AMERICAN_GAPS:
        return None
    foreign = _as_international(written, own.country, loosely=True)
    if foreign is None or foreign.digits == own.digits:
        return own, None
    if written.gaps and written.gaps <= own.national_gaps():
        return own, None
    if written.gaps and written.gaps == foreign.international_gaps():
        return None
    return own, _EITHER


def _as_international(written: Written, home: int | None, *, loosely: bool = False) -> Known | None:
    """Read digits without a + as Cometly asks for them: with a country code.

    Where they have separators, one has to follow the code, or all stand where they do behind a +,
    and unless `loosely`, there have to be more digits than people write at home: (49) 99123-4567 is
    Brazil's and could be Germany's.
    """
    code = calling_code(written.digits)
    if code is None or len(written.digits) < SHORTEST_NUMBER:
        return None
    if not written.gaps:
        return _international(written, literally=loosely)
    follows = len(code) in written.gaps or (code == "1" and written.gaps in _GLUED_TO_ONE)
    is_sure = int(code) == home or len(written.digits) >= _LONGER_THAN_NATIONAL
    is_told = loosely or (len(code) == 1 and not written.slashed)
    if not (is_sure or (follows and is_told)):
        return None
    known = _international(written, literally=loosely)
    return known if known and (follows or written.gaps <= known.international_gaps()) else None
