"""The bench's own sums: batches, prices, readings, tables and plots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import meter, prices, processor_share, report, svg
from bench.batching import Rules, batches
from bench.parts import cost, days
from bench.report import Table

TEMPLATE = Path("template.yaml")
SVG = "{http://www.w3.org/2000/svg}"


# --- Batches ----------------------------------------------------------------------------------


def test_without_a_window_single_messages_are_batches_of_one() -> None:
    made = batches([0.0, 1.0, 2.0], Rules())

    assert (made.sizes, made.polls) == ((1, 1, 1), 3)


def test_a_queue_that_is_not_deep_hands_over_one_two_or_three() -> None:
    made = batches([0.0] * 10, Rules())

    assert (made.sizes, made.polls) == ((1, 2, 3, 1, 2, 1), 6)


def test_a_deep_queue_hands_over_ten() -> None:
    made = batches([0.0] * 100, Rules())

    assert made.sizes[0] == 10
    assert sum(made.sizes) == 100


def test_a_window_gathers_from_the_first_message_on() -> None:
    made = batches([float(second) for second in range(12)], Rules(window=5))

    assert (made.sizes, made.polls) == ((6, 6), 12)


def test_a_window_ends_with_a_full_batch() -> None:
    made = batches([0.0] * 10 + [1.0], Rules(batch_size=10, window=60))

    assert made.sizes == (10, 1)


def test_each_poller_gathers_a_batch_of_its_own() -> None:
    made = batches([float(second) for second in range(6)], Rules(window=5, pollers=2))

    assert sorted(made.sizes) == [3, 3]


@pytest.mark.parametrize("pollers", [1, 2, 5])
@pytest.mark.parametrize("window", [0, 5, 20])
def test_every_message_is_handed_over_once(window: float, pollers: int) -> None:
    arrivals = [place // 7 * 3.0 for place in range(200)]

    made = batches(arrivals, Rules(window=window, pollers=pollers))

    assert sum(made.sizes) == len(arrivals)
    assert max(made.sizes) <= 10


# --- Prices -----------------------------------------------------------------------------------


def test_an_api_destination_behind_an_api_costs_what_its_three_parts_cost() -> None:
    units = {"api_requests": 1.0, "bus_events": 1.0, "destination_calls": 1.0}

    costs = prices.dollars(prices.a_million(units, 1))

    assert sum(costs.values()) == pytest.approx(2.20)


def test_units_of_one_component_are_added() -> None:
    costs = prices.dollars({"reads": 1_000_000, "writes": 1_000_000})

    assert costs == {"DynamoDB": pytest.approx(0.75)}


def test_a_unit_without_a_price_is_an_error() -> None:
    with pytest.raises(KeyError):
        prices.dollars({"carrier_pigeons": 1.0})


def test_counts_are_added_by_unit() -> None:
    assert prices.total([{"reads": 1.0}, {"reads": 2.0, "writes": 3.0}]) == {
        "reads": 3.0,
        "writes": 3.0,
    }


def test_lambda_bills_whole_milliseconds_of_the_memory() -> None:
    assert cost.billed_gb_seconds(100.2, 512) == pytest.approx(0.101 / 2)


def test_the_share_of_a_small_function_makes_its_processor_time_longer() -> None:
    run = meter.Invocation(0.0, "deliver", 1, False, False, 100.0, 10.0, 0, 0, 0, 0)  # noqa: FBT003

    seconds = cost.billed(run, 512) / 512 * 1024

    assert seconds == pytest.approx((90 + 10 * 1769 / 512) / 1000, abs=0.001)


def test_a_function_with_more_than_a_processor_is_no_faster_than_measured() -> None:
    run = meter.Invocation(0.0, "deliver", 1, False, False, 100.0, 10.0, 0, 0, 0, 0)  # noqa: FBT003

    assert cost.billed(run, 3008) == pytest.approx(0.1 * 3008 / 1024)


def test_the_mapping_is_read_from_the_template_with_its_defaults() -> None:
    rules = cost.rules_of(TEMPLATE)

    assert (rules.batch_size, rules.window) == (40, 5)
    assert days.memory_of(TEMPLATE) in range(128, 10_241)


# --- A day ------------------------------------------------------------------------------------


def test_a_blocked_day_is_a_few_probes_and_parks_nothing() -> None:
    day = days.Blocked()

    day.run(20)

    assert len(day.pipe.cometly.posted) in range(90, 130)
    assert day.pipe.queue.parked == []
    assert len(day.waiting) == 20
    assert day.units(512)["invocations"] == day.batches


# --- Readings ---------------------------------------------------------------------------------

CALL = {
    "kind": "call",
    "at": 1.0,
    "function": "deliver",
    "service": "sqs",
    "action": "SendMessage",
    "status": 200,
    "bytes": 70_000,
    "units": 0,
}


def test_a_reading_leaves_out_the_line_that_is_still_being_written() -> None:
    lines = [json.dumps(CALL) + "\n", '{"kind": "ca']

    assert len(meter.read(lines).calls) == 1


def test_a_reading_of_some_functions_has_nothing_of_others() -> None:
    reading = meter.read([json.dumps(CALL) + "\n", json.dumps(CALL | {"function": "x"}) + "\n"])

    assert [call.function for call in reading.of({"deliver"}).calls] == ["deliver"]


def test_sqs_bills_each_64_kb_of_a_call() -> None:
    [call] = meter.read([json.dumps(CALL) + "\n"]).calls

    assert call.sqs_requests == 2


# --- Tables and plots -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("ours", "ours"),
        (0, "0"),
        (0.0, "0"),
        (7, "7"),
        (12345, "12,345"),
        (3.14159, "3.14"),
        (31.4159, "31.4"),
        (314.159, "314"),
        (0.0314159, "0.0314"),
        (1234.5, "1,234"),
    ],
)
def test_a_number_has_three_figures_that_count(cell: report.Cell, text: str) -> None:
    assert report.text_of(cell) == text


def test_a_table_as_markdown_has_a_heading_and_its_rows() -> None:
    table = Table("Pace", ("system", "429s"), (("ours", 0), ("minimal", 12)))

    assert report.markdown(table).splitlines() == [
        "| system | 429s |",
        "| --- | --- |",
        "| ours | 0 |",
        "| minimal | 12 |",
    ]


def test_what_is_kept_names_date_command_and_machine_and_no_folder(tmp_path: Path) -> None:
    table = Table("Pace", ("system", "429s"), (("ours", 0),))

    report.keep(tmp_path, "pace", "python -m bench", report.Result((table,), {"pace": BARS}))

    text = (tmp_path / "pace.json").read_text("utf-8")
    content = json.loads(text)
    assert {"part", "date", "command", "machine", "tables"} == content.keys()
    assert str(Path.cwd()) not in text
    assert (tmp_path / "pace.svg").read_text("utf-8").startswith("<svg ")


BARS = svg.Bars(
    "Delivered <events>",
    "a second",
    ["burst", "trickle"],
    ["ours", "minimal"],
    [[100.0, 50.0], [10.0, None]],
    mark=("floor", 120.0),
)


def test_a_plot_is_well_formed_and_its_bars_are_to_scale() -> None:
    document = ET.fromstring(svg.draw(BARS, "2026-11-28"))  # noqa: S314 - our own

    bars = [
        float(bar.attrib["width"])
        for bar in document.iter(f"{SVG}rect")
        if bar.attrib["height"] != "11"
    ]
    assert bars == [
        pytest.approx(2 * bars[1], abs=0.2),
        bars[1],
        pytest.approx(bars[1] / 5, abs=0.2),
    ]
    assert "Delivered &lt;events&gt;" in svg.draw(BARS)


def test_parts_of_a_stack_follow_each_other() -> None:
    stacked = svg.Bars("Cost", "$", ["ours"], ["API", "Lambda"], [[1.0, 2.0]], is_stacked=True)

    document = ET.fromstring(svg.draw(stacked))  # noqa: S314 - our own

    first, second = (bar for bar in document.iter(f"{SVG}rect") if bar.attrib["height"] != "11")
    end = float(first.attrib["x"]) + float(first.attrib["width"])
    assert float(second.attrib["x"]) == pytest.approx(end, abs=0.2)


def test_a_plot_of_zeros_is_drawn() -> None:
    svg.draw(svg.Bars("None", "", ["ours"], ["429s"], [[0.0]]))


def test_a_plot_has_colours_for_a_dark_page() -> None:
    assert "prefers-color-scheme:dark" in svg.draw(BARS)


# --- A share of a processor -------------------------------------------------------------------


def test_a_function_with_1769_mb_has_a_whole_processor() -> None:
    assert processor_share.share_of(1769) == 1


def test_without_control_groups_a_process_is_stopped_in_turns_and_goes_on_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor_share, "_ROOT", tmp_path / "none")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with processor_share.limited([process.pid], 0.5) as means:
            pass

        process.communicate(b"\n")

    assert means == processor_share.DUTY_CYCLE
    assert process.returncode == 0


def test_a_process_that_has_ended_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor_share, "_ROOT", tmp_path / "none")
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()

    with processor_share.limited([process.pid], 0.5) as means:
        assert means == processor_share.DUTY_CYCLE
