"""One test for all cases of a table.

Each test costs some milliseconds beside what it does: it is collected by every process, handed out,
set up and reported. For a table of cases that need nothing of their own, this is most of the time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest

Test = Callable[..., None]
_PARAM = type(pytest.param())


def in_one_test(test: Test) -> Callable[[], None]:
    """Try all cases of the `pytest.mark.parametrize` below in one test.

    Every case is tried; those that fail are raised together, each with its arguments.
    """
    marks: list[pytest.Mark] = test.__dict__.pop("pytestmark")

    def all_cases() -> None:
        failed = list[BaseException]()
        count = 0
        for count, case in enumerate(_cases(marks), 1):  # noqa: B007 - the last is how many
            try:
                test(**case)
            except (Exception, pytest.fail.Exception) as exc:  # noqa: BLE001 - the others are tried
                exc.add_note(", ".join(f"{name}={value!r:.300}" for name, value in case.items()))
                failed.append(exc)
        assert count, "no cases"
        if failed:
            raise BaseExceptionGroup(f"{len(failed)} of {count} cases", failed)

    all_cases.__name__, all_cases.__doc__ = test.__name__, test.__doc__
    all_cases.__module__, all_cases.__qualname__ = test.__module__, test.__qualname__
    return all_cases


def _cases(marks: list[pytest.Mark]) -> Iterator[dict[str, Any]]:
    for parts in itertools.product(*map(_arguments, reversed(marks))):
        yield {name: value for part in parts for name, value in part.items()}


def _arguments(mark: pytest.Mark) -> list[dict[str, Any]]:
    assert mark.name == "parametrize", mark.name
    given, values = mark.args
    names = [it.strip() for it in given.split(",")] if isinstance(given, str) else [*given]
    return [dict(zip(names, _row(it, len(names)), strict=True)) for it in values]


def _row(given: Any, length: int) -> Sequence[Any]:
    if isinstance(given, _PARAM):
        assert not given.marks
        return given.values
    return cast("Sequence[Any]", given) if length > 1 else (given,)
