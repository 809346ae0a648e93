import pytest

from local.stack.errors import UsageError
from local.stack.options import Options, parse


def test_up_without_options_asks_for_a_sandbox_and_free_ports() -> None:
    assert parse(["up"]) == ("up", Options())


def test_template_parameters_may_be_given_several_times() -> None:
    _, options = parse(["run", "--param", "A=1", "--param", "B=x=y"])

    assert options.param == ("A=1", "B=x=y")


def test_template_parameters_are_no_reason_to_start_afresh() -> None:
    _, plain = parse(["up", "--port", "4566"])
    _, with_parameter = parse(["up", "--port", "4566", "--param", "A=1"])

    assert plain.record() == with_parameter.record()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(["--cometly-url", "app.cometly.com", "--token", "t"], "http://", id="scheme"),
        pytest.param(
            ["--cometly-url", "http://a", "--token", "t", "--window", "fixed"],
            "replaces",
            id="window of no sandbox",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse(["up", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--port", "0"], id="port 0"),
        pytest.param(["--port", "65536"], id="port too high"),
        pytest.param(["--requests-per-minute", "0"], id="no requests"),
        pytest.param(["--window", "tumbling"], id="unknown window"),
    ],
)
def test_a_number_out_of_range_ends_with_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["up", *arguments])

    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
