"""What the world's numbering plans say of digits, by Google's libphonenumber."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    CountryCodeSource,
    NumberFormat,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    format_number,
    is_valid_number,
    national_significant_number,
    number_type,
    parse,
    region_code_for_country_code,
)

_LONGEST_CODE = 3
_DIALLED_ANYWHERE = "00"
# No customer has one of these; a number that is read in the wrong country often ends up here.
_NOBODYS = frozenset(
    {
        PhoneNumberType.UNKNOWN,
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.PAGER,
        PhoneNumberType.VOICEMAIL,
    }
)


@dataclass(frozen=True, slots=True)
class Known:
    """A valid number: `digits` begin with `country`, its calling code.

    `usual` says of a national number that people of its region write these digits: with the 0 in
    front where one is dialled, and without where none is.
    """

    digits: str
    country: int
    number: PhoneNumber
    usual: bool = True

    def national_gaps(self) -> frozenset[int]:
        """Return the places where people of its country write separators."""
        return _gaps_in(format_number(self.number, PhoneNumberFormat.NATIONAL))

    def international_gaps(self) -> frozenset[int]:
        return _gaps_in(format_number(self.number, PhoneNumberFormat.INTERNATIONAL))


def _gaps_in(text: str) -> frozenset[int]:
    groups = [len(group) for group in re.findall("[0-9]+", text)]
    return frozenset(itertools.accumulate(groups[:-1]))


def calling_code(digits: str) -> str | None:
    """Return the country's calling code that digits begin with. No code begins with another."""
    if digits.startswith("0"):
        return None
    codes = (digits[:length] for length in range(1, min(len(digits), _LONGEST_CODE) + 1))
    return next((code for code in codes if int(code) in COUNTRY_CODE_TO_REGION_CODE), None)


def calling_code_of(region: str | None) -> int | None:
    metadata = PhoneMetadata.metadata_for_region(region) if region else None
    return metadata.country_code if metadata else None


def international(digits: str, *, literally: bool = False) -> Known | None:
    """Read digits that begin with a country's calling code.

    Unless `literally`, it may be followed by what is not dialled from abroad: +49 0151 2345678.
    """
    code = calling_code(digits)
    if code is None or len(digits) == len(code):
        return None
    number = _number(int(code), digits[len(code) :])
    if number_type(number) != PhoneNumberType.UNKNOWN:
        return Known(digits, int(code), number)
    return None if literally else _with_trunk_prefix(digits)


def _number(country: int, significant: str) -> PhoneNumber:
    zeros = len(significant) - len(significant.lstrip("0"))
    return PhoneNumber(
        country_code=country,
        national_number=int(significant),
        italian_leading_zero=True if zeros else None,
        number_of_leading_zeros=zeros if zeros > 1 else None,
    )


def _with_trunk_prefix(digits: str) -> Known | None:
    try:
        number = parse("+" + digits)
    except NumberParseException:
        return None
    known = _known(number) if is_valid_number(number) else None
    # Where there is one area code, the library adds it: Norfolk Island is too small to guess at.
    return known if known and len(known.digits) <= len(digits) else None


def _known(number: PhoneNumber, *, usual: bool = True) -> Known:
    digits = format_number(number, PhoneNumberFormat.E164)[1:]
    return Known(digits, int(number.country_code or 0), number, usual)


def dialled_abroad(digits: str, region: str) -> Known | None:
    """Read a number behind what only the region dials to get abroad, such as 011 in the US.

    Samoa's and Cape Verde's 0 begins the numbers that people write in most of the world: no proof.
    """
    metadata = PhoneMetadata.metadata_for_region(region)
    prefix = metadata.international_prefix if metadata else None
    if prefix == _DIALLED_ANYWHERE or not _begins(digits, prefix, at_least=2):
        return None
    number = _parsed(digits, region, CountryCodeSource.FROM_NUMBER_WITH_IDD)
    return _known(number) if number else None


def _begins(digits: str, pattern: str | None, at_least: int = 1) -> bool:
    found = re.match(pattern, digits) if pattern else None
    return found is not None and found.end() >= at_least


def _parsed(digits: str, region: str, source: int) -> PhoneNumber | None:
    try:
        number = parse(digits, region, keep_raw_input=True)
    except NumberParseException:
        return None
    is_one = number.country_code_source == source and number_type(number) not in _NOBODYS
    return number if is_one else None


def national(digits: str, region: str) -> Known | None:
    """Read digits without a country code as a number of the region."""
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return None
    country = int(metadata.country_code or 0)
    for significant in _candidates(digits, metadata):
        number = _number(country, significant)
        if number_type(number) not in _NOBODYS:
            usual = _is_usual(significant, digits, country)
            return Known(f"{country}{significant}", country, number, usual)
    rule = metadata.national_prefix_for_parsing
    if rule != metadata.national_prefix and _begins(digits, rule):
        return _transformed(digits, region)
    return None


def _candidates(digits: str, metadata: PhoneMetadata) -> list[str]:
    """Return the digits without the region's prefix and with it, where they can be a number.

    North America's prefix is its country code as well: `international` reads that.
    """
    prefix = metadata.national_prefix
    strips = prefix and digits.startswith(prefix) and prefix != str(metadata.country_code)
    both = [digits.removeprefix(prefix), digits] if prefix and strips else [digits]
    lengths = metadata.general_desc.possible_length if metadata.general_desc else ()
    return [each for each in both if len(each) in lengths]


def _transformed(digits: str, region: str) -> Known | None:
    """Read what is written otherwise than dialled from abroad: Argentina's mobile phones."""
    number = _parsed(digits, region, CountryCodeSource.FROM_DEFAULT_COUNTRY)
    if number is None:
        return None
    usual = re.sub("[^0-9]", "", format_number(number, PhoneNumberFormat.NATIONAL))
    return _known(number, usual=digits in (usual, national_significant_number(number)))


@dataclass(frozen=True, slots=True)
class _Form:
    """How the numbers of a plan that fit two patterns are written at home."""

    leading: re.Pattern[str]
    whole: re.Pattern[str]
    prefix: str
    prefix_optional: bool


def may_be_at_home(digits: str, country: int) -> bool:
    """Tell whether people of a country may write these digits as they are: no 0 has to precede."""
    return _is_usual(digits, digits, country)


def _is_usual(significant: str, digits: str, country: int) -> bool:
    for form in _forms(country):
        if form.leading.match(significant) and form.whole.fullmatch(significant):
            is_bare = form.prefix_optional and digits == significant
            return is_bare or digits == form.prefix + significant
    return digits == significant


@functools.cache
def _forms(country: int) -> tuple[_Form, ...]:
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(
        country, region_code_for_country_code(country)
    )
    return tuple(_form(each) for each in metadata.number_format) if metadata else ()


def _form(given: NumberFormat) -> _Form:
    rule = (given.national_prefix_formatting_rule or "").replace(r"\1", "")
    return _Form(
        leading=re.compile((given.leading_digits_pattern or [""])[-1]),
        whole=re.compile(given.pattern or ""),
        prefix=re.sub("[^0-9]", "", rule),
        prefix_optional=bool(given.national_prefix_optional_when_formatting),
    )
