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

    Digits alone that form a full international number are taken as one, for that is the form
    Cometly asks for; so what comes out of here goes through here unchanged.
    """
    # The library is 40 ms to import, and many events carry no phone.
    from phonenumbers import normalize_digits_only  # noqa: PLC0415

    bare = normalize_digits_only(text[:_LONGEST_INPUT])
    digits = bare.lstrip("0")
    candidates = (
        ("+" + bare if text == bare else "", None),
        (text[:_LONGEST_INPUT], region),
        ("+" + digits, None),
        (digits, region),
    )
    for candidate, origin in candidates:
        if found := _valid_number(candidate, origin):
            return Phone(found, recognised=True)
    return Phone(digits[:_LONGEST_NUMBER], recognised=False)


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
