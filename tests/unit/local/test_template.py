from pathlib import Path

import pytest

from local.stack.checkout import Checkout
from local.stack.errors import StepFailed, UsageError
from local.stack.template import only_declared, parameters_of, parse_overrides

KNOWN = frozenset({"CometlyUrl", "DeliverConcurrency"})


def test_the_templates_own_parameters_are_found() -> None:
    assert {"Runtime", "Architecture", "CometlyUrl"} <= parameters_of(Checkout.here().template)


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"no template\.yaml"):
        parameters_of(tmp_path / "template.yaml")


def test_a_broken_template_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "template.yaml"
    broken.write_text("Parameters: [", "utf-8")

    with pytest.raises(StepFailed, match="not valid YAML"):
        parameters_of(broken)


def test_a_value_keeps_its_equals_signs_and_blanks() -> None:
    assert parse_overrides(["CometlyUrl=http://a/?b=c d"], KNOWN) == {
        "CometlyUrl": "http://a/?b=c d"
    }


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as refused:
        parse_overrides(["DeliverConcurency=4"], KNOWN)

    assert "did you mean 'DeliverConcurrency'?" in str(refused.value)
    assert "It has: CometlyUrl, DeliverConcurrency." in str(refused.value)


def test_a_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="write Name=Value"):
        parse_overrides(["CometlyUrl"], KNOWN)


def test_what_the_template_does_not_declare_is_not_passed_on() -> None:
    assert only_declared({"CometlyUrl": "u", "Later": "1", "DeliverConcurrency": None}, KNOWN) == {
        "CometlyUrl": "u"
    }
