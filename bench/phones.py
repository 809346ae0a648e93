"""Whose number a phone becomes: random valid numbers of 40 countries, in every form and region.

    python -m bench.phones [--numbers N] [--seed N]

Prints, for each form and each region that the stack may have, the share that is sent right, the
share that is left out or sent as bare digits (with a warning), and the shares that are sent as
somebody else's. Exits with 1 if a stranger's number is sent without a warning in any cell, or if
fewer than 99.5 % are right in the right region (a country's name is a word that nobody reads).

"320 456 7890" is a mobile phone in Italy and one in Minnesota, "4792731000" is one in Arkansas and,
with its country code, one in Norway. Nobody can tell from the text, so it is the number that the
stack's region says, or without one, Cometly's own form. The column "same text" counts those that
were meant otherwise. It is no refuge: the text has to have the digits of the number that was sent
as people of the region write it (libphonenumber's national format, or with the region's own code),
or its digits with country code and nothing else. Where the text says its country in words, a code
or a flag, there is no such refuge: every other country's number is a stranger's.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from cometly_forwarder.event.phones import read_phone

COUNTRIES = (
    *("US", "CA", "MX", "BR", "AR", "CO", "CL", "PE", "GB", "IE", "DE", "AT", "CH", "FR", "NL"),
    *("IT", "ES", "PT", "PL", "CZ", "HU", "RO", "SE", "NO", "DK", "GR", "TR", "RU", "UA", "IL"),
    *("SA", "IN", "PK", "ID", "PH", "JP", "CN", "AU", "NG", "ZA"),
)
KINDS = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
LEAST_RIGHT = 0.995
TRIES = 2_000
LABELS_BEFORE = ("Tel.: ", "WhatsApp ", "p:", "Handy ", "Телефон: ", "phone ", "tel:", "M ")
LABELS_AFTER = (" cell", " (home)", " mobile", " - office", " дом.", " WhatsApp")
NAMES = (
    *("USA", "Canada", "México", "Brasil", "Argentina", "Colombia", "Chile", "Perú"),
    *("Great Britain", "Ireland", "Deutschland", "Österreich", "Schweiz", "France", "Nederland"),
    *("Italia", "España", "Portugal", "Polska", "Česko", "Magyarország", "România", "Sverige"),
    *("Norge", "Danmark", "Ελλάδα", "Türkiye", "Россия", "Україна", "ישראל"),
    *("السعودية", "India", "Pakistan", "Indonesia", "Philippines", "日本", "中国", "Australia"),
    *("Nigeria", "South Africa"),
)
EXTENSIONS = (" x123", " ext. 12", " #34", " доб. 12", ";ext=12", " extension 1234", ",,12")


class Outcome(Enum):
    """What became of a phone; the value heads its column."""

    RIGHT = "right"
    RIGHT_WARNED = "right, warned"
    LEFT_OUT = "out or bare"
    GARBLED = "another of its country"
    WARNED = "stranger's, warned"
    SAME_TEXT = "same text"
    SILENT = "stranger's, silent"


@dataclass(frozen=True)
class Sample:
    """A number, and the country it belongs to."""

    country: str
    number: PhoneNumber

    @property
    def digits(self) -> str:
        return phonenumbers.format_number(self.number, PhoneNumberFormat.E164)[1:]

    @property
    def international(self) -> str:
        return phonenumbers.format_number(self.number, PhoneNumberFormat.INTERNATIONAL)

    @property
    def national(self) -> str:
        return phonenumbers.format_number(self.number, PhoneNumberFormat.NATIONAL)


def samples(country: str, count: int, chance: random.Random) -> Iterator[Sample]:
    """Yield valid numbers of a country: an example of its plan with other digits at the end."""
    for kind in KINDS:
        example = phonenumbers.example_number_for_type(country, kind)
        if example is None:
            raise LookupError(country)
        for _ in range(count):
            yield Sample(country, _like(example, kind, chance))


def _like(example: PhoneNumber, kind: int, chance: random.Random) -> PhoneNumber:
    pattern, code = phonenumbers.national_significant_number(example), example.country_code
    wanted = {kind, PhoneNumberType.FIXED_LINE_OR_MOBILE}
    for _ in range(TRIES):
        kept = chance.randrange(len(pattern) - 3)
        rest = "".join(chance.choice("0123456789") for _ in pattern[kept:])
        number = phonenumbers.parse(f"+{code}{pattern[:kept]}{rest}")
        if phonenumbers.number_type(number) in wanted:
            return number
    raise LookupError(pattern)


def _digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)


def _regrouped(text: str, chance: random.Random) -> str:
    """Write other separators, the same all over."""
    separator = chance.choice([" ", ".", "-", "\u00a0", "\u2011"])
    return separator.join(re.findall("[0-9]+", text))


def _labelled(text: str, chance: random.Random) -> str:
    if chance.random() < 0.5:
        return chance.choice(LABELS_BEFORE) + text
    return text + chance.choice(LABELS_AFTER)


def _extended(text: str, chance: random.Random) -> str:
    return text + chance.choice(EXTENSIONS)


def _with_optional_zero(sample: Sample) -> str:
    code, rest = sample.international.split(" ", 1)
    return f"{code} (0) {rest}"


def _beside(name: str, sample: Sample, chance: random.Random) -> str:
    text = chance.choice([sample.national, _digits(sample.national)])
    pattern = chance.choice(["{0} {1}", "{0}: {1}", "{1} {0}", "{1} ({0})", "{0} mobile {1}"])
    return pattern.format(name, text)


def _with_code(sample: Sample, chance: random.Random) -> str:
    code = "UK" if sample.country == "GB" and chance.random() < 0.5 else sample.country
    return _beside(chance.choice([code, code.lower()]), sample, chance)


def _with_flag(sample: Sample, chance: random.Random) -> str:
    first = ord("\N{REGIONAL INDICATOR SYMBOL LETTER A}") - ord("A")
    flag = "".join(chr(first + ord(letter)) for letter in sample.country)
    return _beside(flag, sample, chance)


def _in_words(sample: Sample, chance: random.Random) -> str:
    return _beside(NAMES[COUNTRIES.index(sample.country)], sample, chance)


def _in_context(sample: Sample, _: random.Random) -> str:
    return f"tel:{_digits(sample.national)};phone-context=+{sample.number.country_code}"


Form = Callable[[Sample, random.Random], str]
# What is written for the country itself; the rest names it.
NATIONAL: dict[str, Form] = {
    "national": lambda sample, _: sample.national,
    "national, other separators": lambda sample, chance: _regrouped(sample.national, chance),
    "national, digits alone": lambda sample, _: _digits(sample.national),
    "national, with words": lambda sample, chance: _labelled(sample.national, chance),
    "national, with extension": lambda sample, chance: _extended(sample.national, chance),
}
INTERNATIONAL: dict[str, Form] = {
    "international": lambda sample, _: sample.international,
    "international, (0)": lambda sample, _: _with_optional_zero(sample),
    "international, with words": lambda sample, chance: _labelled(sample.international, chance),
    "international, with extension": lambda sample, chance: _extended(sample.international, chance),
    "00": lambda sample, _: "00" + sample.digits,
    "00, grouped": lambda sample, _: "00" + sample.international[1:],
    "digits": lambda sample, _: sample.digits,
    "digits, with words": lambda sample, chance: _labelled(sample.digits, chance),
    "grouped, without +": lambda sample, chance: _regrouped(sample.international, chance),
}
IN_WORDS = "national, country's name beside"
BESIDE: dict[str, Form] = {
    "national, country's code beside": _with_code,
    "national, country's flag beside": _with_flag,
    "national, phone-context": _in_context,
    IN_WORDS: _in_words,
}
FORMS = NATIONAL | INTERNATIONAL | BESIDE
REGIONS = ("no region", "the right region", "another region", "the US")


def outcome_of(
    sample: Sample, text: str, region: str | None, *, says_country: bool = False
) -> Outcome:
    warnings: list[str] = []
    sent = read_phone(text, region, warnings.append)
    if sent == sample.digits:
        return Outcome.RIGHT_WARNED if warnings else Outcome.RIGHT
    number = _valid(sent) if sent else None
    if number is None:
        return Outcome.LEFT_OUT if warnings else Outcome.SILENT
    if number.country_code == sample.number.country_code:
        return Outcome.GARBLED
    if warnings:
        return Outcome.WARNED
    is_same = not says_country and _is_written_so(number, text, region)
    return Outcome.SAME_TEXT if is_same else Outcome.SILENT


def _valid(digits: str) -> PhoneNumber | None:
    try:
        number = phonenumbers.parse("+" + digits)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def _is_written_so(number: PhoneNumber, text: str, region: str | None) -> bool:
    if phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:] == text:
        return True
    at_home = region and phonenumbers.country_code_for_region(region) == number.country_code
    if not at_home or "+" in text:
        return False
    usual = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    significant = phonenumbers.national_significant_number(number)
    with_code = f"{number.country_code}{significant}"
    return _digits(text).startswith((_digits(usual), significant, with_code))


def regions_for(country: str, kind: str, chance: random.Random) -> str | None:
    match kind:
        case "no region":
            return None
        case "the right region":
            return country
        case "the US":
            return "US" if country not in {"US", "CA"} else "DE"
    code = phonenumbers.country_code_for_region(country)
    others = [each for each in COUNTRIES if phonenumbers.country_code_for_region(each) != code]
    return chance.choice(others)


Cell = tuple[str, str]


def measure(
    numbers: int, seed: int, countries: Iterable[str] = COUNTRIES
) -> tuple[dict[Cell, Counter[Outcome]], list[str]]:
    """Count outcomes by form and region; returns them with each silent stranger's number."""
    chance = random.Random(seed)  # noqa: S311 - data, not secrets
    counts: dict[Cell, Counter[Outcome]] = {}
    silent: list[str] = []
    for country in countries:
        for sample in samples(country, numbers, chance):
            for form, write in FORMS.items():
                text = write(sample, chance)
                for kind in REGIONS:
                    region = regions_for(country, kind, chance)
                    outcome = outcome_of(sample, text, region, says_country=form in BESIDE)
                    counts.setdefault((form, kind), Counter())[outcome] += 1
                    if outcome is Outcome.SILENT:
                        silent.append(f"{form}, {country} in {region}: {text!r}")
    return counts, silent


def is_kept(counts: dict[Cell, Counter[Outcome]]) -> bool:
    """Tell whether the promise holds in every cell."""
    return all(
        not cell[Outcome.SILENT]
        and (
            kind != "the right region"
            or form == IN_WORDS
            or _right_in(cell) >= LEAST_RIGHT * cell.total()
        )
        for (form, kind), cell in counts.items()
    )


def _right_in(cell: Counter[Outcome]) -> int:
    return cell[Outcome.RIGHT] + cell[Outcome.RIGHT_WARNED]


def _print(counts: dict[Cell, Counter[Outcome]]) -> None:
    for kind in REGIONS:
        print(f"\n| {kind} | " + " | ".join(outcome.value for outcome in Outcome) + " |")
        print("| --- |" + " --- |" * len(Outcome))
        for form in FORMS:
            cell = counts[form, kind]
            shares = [f"{100 * cell[outcome] / cell.total():.2f} %" for outcome in Outcome]
            print(f"| {form} | " + " | ".join(shares) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description="Whose number a phone becomes.")
    parser.add_argument("--numbers", type=int, default=100, help="of each country and kind")
    parser.add_argument("--seed", type=int, default=10)
    options = parser.parse_args()
    counts, silent = measure(options.numbers, options.seed)
    _print(counts)
    for line in silent[:20]:
        print(line)
    return 0 if is_kept(counts) else 1


if __name__ == "__main__":
    sys.exit(main())
