"""A file of events on its way to the API: checked, cut into arrays, broken off and repeated."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from cometly_forwarder.errors import InvalidEvent
from cometly_forwarder.event.envelope import Source, seal
from cometly_forwarder.event.reading import EventRules, read_event
from ops.cli import app
from ops.commands import send as commands
from ops.commands.send import Run
from ops.errors import OpsError
from ops.eventfile import Entry
from ops.rules import rules_of
from ops.sending import arrays as cutting
from ops.sending.arrays import MOST_BYTES, arrays, digest_of, refuse_unbounded, with_key
from ops.sending.posting import Poster
from ops.sending.record import Sent
from ops.smoke.doors import Answer, Api, Door
from tests.unit.conftest import an_event

URL = "https://api.example.com"
RULES = EventRules("US")
AT = datetime(2026, 7, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Stack:
    """The API with the ledger behind it, until a process dies at one of its calls.

    `answers` stand in for its own, in their order; None: its own.
    """

    key: str = "key-1"
    answers: list[Answer | OpsError | None] = field(default_factory=list)
    dies_at: int = 0
    was_done: bool = False
    calls: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)

    def post(self, door: Door, content: Sequence[Any], *, query: str = "") -> Answer:
        self.calls.append(query)
        self.sizes.append(len(content))
        assert len(content) <= 500
        assert len(json.dumps(content)) <= 1024 * 1024
        is_last = len(self.calls) == self.dies_at
        if is_last and not self.was_done:
            raise Killed
        stands_in = self.answers.pop(0) if self.answers else None
        if isinstance(stands_in, OpsError):
            raise stands_in
        answer = stands_in or self._own(door, content, is_dry=bool(query))
        if is_last:
            raise Killed
        return answer

    def _own(self, door: Door, content: Sequence[Any], *, is_dry: bool) -> Answer:
        if door.headers["Authorization"] != f"Bearer {self.key}":
            return answered(401)
        results = [self._result(it, is_dry=is_dry) for it in content]
        return answered(200 if is_dry else 207, results)

    def _result(self, raw: object, *, is_dry: bool) -> dict[str, Any]:
        try:
            event, warnings = read_event(raw, RULES, AT)
        except InvalidEvent as exc:
            return {"status": 422, "errors": [it.as_json() for it in exc.faults]}
        assert event.idempotency_key or event.order_id
        if not is_dry:
            self.sent[seal(event, Source("http", "fresh", AT)).event_id] += 1
        told = [it.as_json() for it in warnings]
        return {"status": 200 if is_dry else 202, "warnings": told}


def answered(
    status: int, results: list[dict[str, Any]] | None = None, *, retry_after: str = ""
) -> Answer:
    body: dict[str, Any] = {"message": "no"} if results is None else {"results": results}
    return Answer(status, {"retry-after": retry_after}, body, 0.0)


def poster(stack: Stack, slept: list[float] | None = None) -> Poster:
    sleep = (slept if slept is not None else []).append
    return Poster(cast("Api", stack), lambda: stack.key, sleep)


def run(stack: Stack, file: Path, *, is_json: bool = False) -> Run:
    record = file.with_name(file.name + ".sent")
    sent = Sent.read(record, digest_of(file), URL)
    return Run(file, record, poster(stack), RULES, sent, is_json)


def whole(stack: Stack, file: Path) -> Run:
    """Do what the command does."""
    this = run(stack, file)
    if not this.sent.is_complete:
        if not this.sent.is_checked:
            this.check()
        this.send()
    return this


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut arrays of three."""
    monkeypatch.setattr(cutting, "MOST_EVENTS", 3)


def lines_file(folder: Path, events: Sequence[object], name: str = "events.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(it) + "\n" for it in events))
    return file


# --- Identity -----------------------------------------------------------------------------------


def test_an_event_without_identity_gets_a_key_of_its_content_and_line() -> None:
    event = an_event()

    keyed, again, elsewhere, other = (
        with_key(Entry(place, it), RULES).event["idempotency_key"]
        for place, it in ((1, event), (1, dict(event)), (2, event), (1, event | {"amount": 1}))
    )

    assert keyed == again
    assert len({keyed, elsewhere, other}) == 3


@pytest.mark.parametrize(
    "event",
    [
        an_event(idempotency_key="k"),
        an_event(order_id=1042),
        an_event(transaction_id="T-1"),
        an_event(order_name="#1001"),
        {"event_name": "purchased"},
        ["no event"],
        None,
    ],
    ids=[
        "key",
        "order",
        "order in other words",
        "an order by name",
        "invalid",
        "an array",
        "nothing",
    ],
)
def test_what_has_one_or_is_for_the_api_to_judge_stays_as_it_is(event: object) -> None:
    assert with_key(Entry(1, event), RULES).event == event


def test_a_blank_key_is_none() -> None:
    event = with_key(Entry(1, an_event(idempotency_key=" ", order_id="")), RULES).event

    assert event["idempotency_key"].startswith("file-")


# --- Arrays -------------------------------------------------------------------------------------


def test_arrays_hold_500_events_in_the_files_order() -> None:
    cut = list(arrays((Entry(it, an_event(order_id=it)) for it in range(1, 1202)), RULES))

    assert [len(it.entries) for it in cut] == [500, 500, 201]
    places = [entry.place for array in cut for entry in array.entries]
    assert places == list(range(1, 1202))


def test_arrays_keep_below_a_mebibyte() -> None:
    found = (Entry(it, an_event(order_id=it, url="é" * 50_000)) for it in range(1, 12))

    cut = list(arrays(found, RULES))

    assert all(len(json.dumps(it.events)) <= MOST_BYTES for it in cut)
    assert sum(len(it.entries) for it in cut) == 11
    assert len(cut) > 1


def test_one_array_of_a_file_without_end_is_held_at_a_time() -> None:
    read = itertools.count(1)
    pulled: list[int] = []

    def endless() -> Iterator[Entry]:
        for place in read:
            pulled.append(place)
            yield Entry(place, an_event(order_id=place))

    cut = arrays(endless(), RULES)

    next(cut)
    assert len(pulled) == 501
    next(cut)
    assert len(pulled) == 1001


def test_json_that_would_be_read_whole_has_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "MOST_READ_WHOLE", 10)
    array, by_line = (lines_file(tmp_path, [[1] * 10], it) for it in ("a.json", "a.jsonl"))

    refuse_unbounded(by_line)
    with pytest.raises(OpsError, match="JSON Lines"):
        refuse_unbounded(array)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="cannot be read"):
        digest_of(tmp_path / "none.csv")


# --- Answers ------------------------------------------------------------------------------------


def test_only_what_was_unavailable_is_sent_again() -> None:
    events = [an_event(order_id=it) for it in range(3)]
    taken, not_taken = {"status": 202}, {"status": 503}
    first = answered(207, [taken, not_taken, {"status": 422}], retry_after="5")
    stack, slept = Stack(answers=[first]), list[float]()

    results = poster(stack, slept).send(events)

    assert [it["status"] for it in results] == [202, 202, 422]
    assert stack.sizes == [3, 1]
    assert slept == [5.0]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_refusal_of_all_is_waited_for(status: int) -> None:
    asked = answered(status, retry_after="7")
    stack, slept = Stack(answers=[asked, answered(status), None]), list[float]()

    results = poster(stack, slept).send([an_event(order_id=1)])

    assert results[0]["status"] == 202
    assert slept == [7.0, 4.0]


def test_no_answer_is_told_and_tried_again_and_given_up_in_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cut = OpsError("no answer")

    results = poster(Stack(answers=[cut, cut])).send([an_event(order_id=1)])

    assert results[0]["status"] == 202
    assert capsys.readouterr().err == "no answer: trying again, for a few minutes.\n"
    with pytest.raises(OpsError, match="no answer"):
        poster(Stack(answers=[cut] * 20)).send([an_event(order_id=1)])


def test_an_api_that_never_recovers_is_given_up() -> None:
    stack = Stack(answers=[answered(503) for _ in range(20)])

    with pytest.raises(OpsError, match="10 times"):
        poster(stack).send([an_event(order_id=1)])


def test_a_key_that_was_rotated_meanwhile_is_read_again() -> None:
    stack = Stack()
    sender = poster(stack)
    sender.send([an_event(order_id=1)])

    stack.key = "key-2"

    assert sender.send([an_event(order_id=2)])[0]["status"] == 202


def test_a_key_that_is_wrong_ends_it() -> None:
    stack = Stack()
    sender = Poster(cast("Api", stack), lambda: "another", lambda _: None)

    with pytest.raises(OpsError, match="401"):
        sender.send([an_event(order_id=1)])


@pytest.mark.parametrize(
    "answer", [answered(403), answered(202, []), answered(422)], ids=["403", "too few", "all"]
)
def test_an_answer_that_makes_no_sense_ends_it(answer: Answer) -> None:
    with pytest.raises(OpsError, match="the API answered"):
        poster(Stack(answers=[answer])).send([an_event(order_id=1)])


def test_a_stack_without_a_dry_run_is_told_apart() -> None:
    stack = Stack(answers=[answered(202, [{"status": 202}])])

    with pytest.raises(OpsError, match="no dry run"):
        poster(stack).check([an_event(order_id=1)])


# --- Runs ---------------------------------------------------------------------------------------


def test_every_fault_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.jsonl"
    good, bad = json.dumps(an_event()), json.dumps({"event_name": "purchased"})
    file.write_text(f"{good}\n{bad}\n\nno json\n{good}\n")
    stack = Stack()

    this = run(stack, file)
    this.check()
    this.summarise()

    shown = capsys.readouterr().out
    assert (this.checked, this.invalid) == (4, 2)
    assert "line 2: event_name" in shown
    assert "email" in shown
    assert "line 4: no JSON" in shown
    assert "2 valid, 2 not. Nothing was sent." in shown
    assert not stack.sent
    assert not this.record.exists()


def test_faults_are_objects_for_programs_and_the_summary_is_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    this = run(Stack(), lines_file(tmp_path, [{"event_name": "x"}, an_event()]), is_json=True)

    this.check()
    this.summarise()

    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["line"] == 1
    assert {it["field"] for it in first["errors"]} == {"event_name", "email"}
    assert (last["summary"]["lines"], last["summary"]["invalid"]) == (2, 1)


def test_the_cells_of_a_csv_are_fields(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(
        "event_name,email,amount,order_id\n"
        'purchase,ada@example.com,"1.234,56",1\n'
        "purchase,grace@example.com,,\n"
    )
    stack = Stack()

    this = whole(stack, file)

    assert (this.sent.accepted, this.sent.refused) == (2, 0)
    assert sum(stack.sent.values()) == 2


def test_the_valid_ones_are_sent_where_invalid_ones_are_skipped(tmp_path: Path) -> None:
    file = lines_file(tmp_path, [an_event(), {"event_name": "x"}, an_event()])
    stack = Stack()

    this = whole(stack, file)

    assert (this.sent.accepted, this.sent.refused) == (2, 1)
    assert len(stack.sent) == 2


def test_a_file_that_was_sent_is_not_sent_again_and_another_content_is(tmp_path: Path) -> None:
    file, stack = lines_file(tmp_path, [an_event()]), Stack()
    whole(stack, file)
    calls = len(stack.calls)

    whole(stack, file)
    assert len(stack.calls) == calls

    lines_file(tmp_path, [an_event(), an_event(amount=1)])
    whole(stack, file)
    assert len(stack.sent) == 2  # the first line is the event that it was


def test_another_stack_is_sent_all(tmp_path: Path) -> None:
    file = lines_file(tmp_path, [an_event()])
    whole(Stack(), file)

    record = file.with_name("events.jsonl.sent")

    assert Sent.read(record, digest_of(file), URL).is_complete
    assert Sent.read(record, digest_of(file), "https://other.example.com").confirmed == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": 1, "more": 2}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    record = tmp_path / "x.sent"
    record.write_text(text)

    assert Sent.read(record, "d", URL) == Sent("d", URL)


def test_a_record_that_cannot_be_written_says_so_before_anything_is_sent(tmp_path: Path) -> None:
    file, stack = lines_file(tmp_path, [an_event()]), Stack()
    file.with_name("events.jsonl.sent").mkdir()

    with pytest.raises(OpsError, match="cannot be written"):
        whole(stack, file)

    assert not stack.sent


def events_of_each_kind() -> list[object]:
    """Ten lines: with and without an identity, one of them twice, one of them invalid."""
    plain = [an_event(amount=it) for it in range(3)]
    orders = [an_event(order_id=it) for it in range(4)]
    return [*plain, an_event(), an_event(), {"event_name": "x"}, *orders]


# Four arrays of three at the most are checked, and as many sent.
CALLS_OF_A_RUN = range(1, 9)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("was_done", [False, True], ids=["the request", "the answer"])
@pytest.mark.parametrize("number", CALLS_OF_A_RUN)
def test_a_run_that_is_killed_at_any_call_and_repeated_books_each_once(
    tmp_path: Path, number: int, *, was_done: bool
) -> None:
    file = lines_file(tmp_path, events_of_each_kind())
    stack = Stack(dies_at=number, was_done=was_done)

    with pytest.raises(Killed):
        whole(stack, file)
    stack.dies_at = 0
    this = whole(stack, file)

    assert len(stack.sent) == 9  # the ledger books each identity once
    assert sum(stack.sent.values()) <= 9 + 3  # no more than one array was sent twice
    assert (this.sent.accepted, this.sent.refused) == (9, 1)


@pytest.mark.usefixtures("small")
def test_the_table_of_calls_has_them_all(tmp_path: Path) -> None:
    stack = Stack()

    whole(stack, lines_file(tmp_path, events_of_each_kind()))

    assert len(stack.calls) == CALLS_OF_A_RUN[-1]


@pytest.mark.usefixtures("small")
def test_a_run_that_goes_on_checks_nothing_again_and_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lines_file(tmp_path, [an_event(order_id=it) for it in range(9)])
    stack = Stack(answers=[*[None] * 5, *[OpsError("no answer")] * 20])

    with pytest.raises(OpsError):
        whole(stack, file)
    assert "Sent up to line 6" in capsys.readouterr().err
    stack.answers, stack.calls = [], []
    whole(stack, file)

    assert stack.calls == [""]
    assert set(stack.sent.values()) == {1}
    assert "Going on after line 6" in capsys.readouterr().err


def test_warnings_are_counted_and_bounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [an_event(currency="EUR", order_id=it) for it in range(3)]
    this = run(Stack(), lines_file(tmp_path, events))

    this.check()
    this.summarise()

    assert "warning, 3 times: currency" in capsys.readouterr().err


def test_the_rules_are_those_of_the_stack() -> None:
    class Target:
        def __init__(self, **parameters: str) -> None:
            self.parameters = parameters

    found = rules_of(cast("Any", Target(DefaultPhoneRegion="US", PassedOnFields="currency,x_*")))

    assert found == EventRules("US", frozenset({"currency", "x_*"}))
    assert rules_of(cast("Any", Target(DefaultPhoneRegion=""))) == EventRules()


# --- The command --------------------------------------------------------------------------------


@dataclass
class Target:
    """As much of a stack as `send` asks for."""

    api_url: str = URL
    parameters: dict[str, str] = field(default_factory=dict)

    def server_key(self) -> str:
        return "key-1"


@pytest.fixture
def stack() -> Stack:
    return Stack()


@pytest.fixture
def command(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(commands, "target_of", lambda _: Target())
    monkeypatch.setattr(Api, "at", lambda _: stack)
    return lambda *arguments: CliRunner().invoke(app, ["send", *map(str, arguments)])


Command = Callable[..., Result]


def test_a_dry_run_sends_nothing_and_leaves_nothing(
    command: Command, stack: Stack, tmp_path: Path
) -> None:
    done = command(lines_file(tmp_path, [an_event()]), "--dry-run")

    assert (done.exit_code, done.stdout) == (0, "1 valid, 0 not. Nothing was sent.\n")
    assert not stack.sent
    assert [it.name for it in tmp_path.iterdir()] == ["events.jsonl"]


def test_an_invalid_line_keeps_all_from_being_sent(
    command: Command, stack: Stack, tmp_path: Path
) -> None:
    done = command(lines_file(tmp_path, [an_event(), {"event_name": "x"}]))

    assert done.exit_code == 3
    assert "line 2: event_name" in done.stdout
    assert not stack.sent


def test_invalid_lines_are_skipped_when_asked_and_told_once(
    command: Command, stack: Stack, tmp_path: Path
) -> None:
    done = command(lines_file(tmp_path, [an_event(), {"event_name": "x"}]), "--skip-invalid")

    assert done.exit_code == 3
    assert done.stdout.count("line 2:") == 1
    assert "1 accepted, 1 refused." in done.stdout
    assert sum(stack.sent.values()) == 1


def test_a_second_run_says_that_all_was_sent(
    command: Command, stack: Stack, tmp_path: Path
) -> None:
    file = lines_file(tmp_path, [an_event()])

    first, second = command(file), command(file, "--json")

    assert first.stdout == "1 accepted, 0 refused.\n"
    assert "delete events.jsonl.sent" in second.stderr
    assert json.loads(second.stdout)["summary"]["complete"] is True
    assert sum(stack.sent.values()) == 1


def test_an_array_of_json_and_one_event_are_files_too(
    command: Command, stack: Stack, tmp_path: Path
) -> None:
    for name, content in (("a.json", [an_event(), an_event()]), ("b.json", an_event(amount=2))):
        (tmp_path / name).write_text(json.dumps(content, indent=2))
        assert command(tmp_path / name).exit_code == 0

    assert len(stack.sent) == 3


def test_an_empty_file_is_sent_at_once(command: Command, tmp_path: Path) -> None:
    assert command(lines_file(tmp_path, [])).stdout == "0 accepted, 0 refused.\n"


@pytest.mark.usefixtures("small")
def test_an_interrupted_run_says_how_to_go_on(
    command: Command, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(door: Door, content: Sequence[Any], *, query: str = "") -> Answer:
        if len(stack.calls) == 4:
            raise KeyboardInterrupt
        return Stack.post(stack, door, content, query=query)

    file = lines_file(tmp_path, [an_event(order_id=it) for it in range(9)])
    with monkeypatch.context() as patched:
        patched.setattr(stack, "post", interrupted)
        done = command(file)

    assert done.exit_code != 0
    assert "Sent up to line 3; the same command again goes on there." in done.stderr
    assert command(file).exit_code == 0
    assert set(stack.sent.values()) == {1}
