"""Phone numbers, from what people type to what Cometly matches on: digits with country code."""

from __future__ import annotations

from dataclasses import dataclass

# Numbers are short; what is longer is not worth a parser's time.
_LONGEST_INPUT = 64
_LONGEST_NUMBER = 32


@dataclass(frozen=True, slots=True)
class Phone:
    """`digits` as they are sent; `recognised` when they are known to carry a country code."""

    digits: str
    recognised: bool


def normalise_phone(text: str, region: str | None) -> Phone:
    """Read a phone number; `region` (ISO 3166) is where numbers without a country code belong.

    Digits alone may be a number of the region or an international one, the form that Cometly asks
    for. Where numbers are dialled with a 0 in front, digits without it are taken for international
    first; elsewhere, as in the US, for the region's.
    """
    # The library is 40 ms to import, and many events carry no phone.
    from phonenumbers import normalize_digits_only  # noqa: PLC0415

    text = text[:_LONGEST_INPUT]
    bare = normalize_digits_only(text)
    digits = bare.lstrip("0")
    first, second = (text, region), ("+" + bare if text == bare else "", None)
    if _dials_with_zero(region):
        first, second = second, first
    for candidate, origin in (first, second, ("+" + digits, None), (digits, region)):
        if found := _valid_number(candidate, origin):
            return Phone(found, recognised=True)
    return Phone(digits[:_LONGEST_NUMBER], recognised=False)


def _dials_with_zero(region: str | None) -> bool:
    from phonenumbers import PhoneMetadata  # noqa: PLC0415

    metadata = PhoneMetadata.metadata_for_region(region) if region else None
    return metadata is not None and metadata.national_prefix == "0"


def _valid_number(text: str, region: str | None) -> str | None:
    from phonenumbers import (  # noqa: PLC0415
        NumberParseException,
        PhoneNumberFormat,
        format_number,
        is_valid_number,
        parse,
    )

    try:
        number = parse(text, region)
    except NumberParseException:
        return None
    return format_number(number, PhoneNumberFormat.E164)[1:] if is_valid_number(number) else None
