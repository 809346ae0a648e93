"""A table of cases in one test: none is left out, and each that fails is named."""

from __future__ import annotations

import pytest

from tests.unit.cases import in_one_test

TRIED: list[tuple[int, object]] = []


@in_one_test
@pytest.mark.parametrize("number", [1, pytest.param(2, id="two")])
@pytest.mark.parametrize(("value", "expected"), [({"a": 1}, 1), ("b", 2)])
def _is_expected(number: int, value: object, expected: int) -> None:
    TRIED.append((number, value))
    if number != expected:
        pytest.fail("another")


def test_every_case_is_tried_and_those_that_fail_are_raised_with_their_arguments() -> None:
    TRIED.clear()

    with pytest.raises(BaseExceptionGroup, match=r"2 of 4 cases") as caught:
        _is_expected()

    assert TRIED == [(1, {"a": 1}), (1, "b"), (2, {"a": 1}), (2, "b")]
    assert [it.__notes__ for it in caught.value.exceptions] == [
        ["number=1, value='b', expected=2"],
        ["number=2, value={'a': 1}, expected=1"],
    ]
