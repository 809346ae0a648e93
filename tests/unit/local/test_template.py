import re
from pathlib import Path

import pytest

from local.stack.checkout import Checkout
from local.stack.errors import StepFailed, UsageError
from local.stack.template import only_declared, parameters_of, parse_overrides

KNOWN = frozenset({"CometlyUrl", "DeliverConcurrency"})


def test_the_templates_own_parameters_are_found() -> None:
    assert {"Runtime", "Architecture", "CometlyUrl"} <= parameters_of(Checkout.here().template)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, r"no template\.yaml"), ("Parameters: [", "not valid YAML")]
)
def test_a_template_that_cannot_be_read_is_named(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    file = tmp_path / "template.yaml"
    if content is not None:
        file.write_text(content, "utf-8")

    with pytest.raises(StepFailed, match=reason):
        parameters_of(file)


def test_a_value_keeps_its_equals_signs_and_blanks() -> None:
    assert parse_overrides(["CometlyUrl=http://a/?b=c d"], KNOWN) == {
        "CometlyUrl": "http://a/?b=c d"
    }


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("DeliverConcurency=4", "did you mean 'DeliverConcurrency'?"),
        ("Nothing=4", "It has: CometlyUrl, DeliverConcurrency."),
        ("CometlyUrl", "write Name=Value"),
    ],
)
def test_an_override_that_sets_no_parameter_is_refused(override: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse_overrides([override], KNOWN)


def test_what_the_template_does_not_declare_is_not_passed_on() -> None:
    assert only_declared({"CometlyUrl": "u", "Later": "1", "DeliverConcurrency": None}, KNOWN) == {
        "CometlyUrl": "u"
    }
