"""Phone numbers, from what people type to what Cometly matches on: digits with country code.

A phone is never a stranger's: without a warning, no number is sent that is another country's than
the one written (decision 19).
"""

from __future__ import annotations

from collections.abc import Callable

from cometly_forwarder.errors import BadValue


def read_phone(value: object, region: str | None, warn: Callable[[str], None]) -> str | None:
    """Return the digits to send, such as 16505551212, or None where the number is left out.

    `region` (ISO 3166) is where numbers without a country code belong. `warn` gets the end of a
    sentence that begins with "phone", for whatever is not a number that is read with its country
    for certain. No value raises.
    """
    # The library is 40 ms to import, and many events carry no phone.
    from cometly_forwarder.event.phone_rules import read_number  # noqa: PLC0415

    try:
        reading = read_number(value, region)
    except BadValue as exc:
        warn(str(exc))
        return None
    for warning in reading.warnings:
        warn(warning)
    return reading.digits


def is_region(code: str) -> bool:
    """Say whether a code of ISO 3166 names a country that has phone numbers."""
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415

    return code in SUPPORTED_REGIONS
