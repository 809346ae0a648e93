"""`explain`: events of a file, and what the dry run says of each."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import OpsError
from ops.eventfile import Entry, entries
from ops.smoke.doors import Answer, Api, Door
from tests.unit.ops.conftest import Run
from tests.unit.ops.stack_in_memory import KEY

EVENT = {"event_name": "purchase", "email": "ada@example.com"}


def read(tmp_path: Path, name: str, text: str) -> list[Entry]:
    file = tmp_path / name
    file.write_text(text, "utf-8")
    return list(entries(file))


# --- The file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "places"),
    [
        pytest.param("a.json", '{"a": 1}', [1], id="one"),
        pytest.param("a.json", '[{"a": 1}, {"a": 1}]', [1, 2], id="array"),
        pytest.param("a.json", '{"a": 1}\n\n{"a": 1}', [1, 3], id="lines called json"),
        pytest.param("a.jsonl", '{"a": 1}\n\n{"a": 1}\n', [1, 3], id="lines"),
        pytest.param("a.ndjson", '{"a": 1}', [1], id="lines, the other name"),
        pytest.param("a.json", " \n", [], id="empty"),
    ],
)
def test_json_is_read(tmp_path: Path, name: str, text: str, places: list[int]) -> None:
    assert read(tmp_path, name, text) == [Entry(place, {"a": 1}) for place in places]


def test_csv_is_read_with_its_header(tmp_path: Path) -> None:
    text = "\ufeffevent_name,email,amount\npurchase,ada@example.com,\npurchase,,5\n1,2,3,4\n"

    assert read(tmp_path, "a.csv", text) == [
        Entry(2, EVENT),
        Entry(3, {"event_name": "purchase", "amount": "5"}),
        Entry(4, None, "more cells than the header has"),
    ]


LEAD = {"event_name": "lead_generated", "first_name": "Ada", "amount": "1.234,56"}
LEADS = {
    "semicolons": "event_name;first_name;amount\r\nlead_generated;Ada;1.234,56\r\n",
    "tabs": "event_name\tfirst_name\tamount\nlead_generated\tAda\t1.234,56\n",
    "commas": 'event_name,first_name,amount\nlead_generated,Ada,"1.234,56"\n',
    "quoted names": '"event_name";"first_name";"amount"\n"lead_generated";"Ada";"1.234,56"\n',
    "a comma in a name": '"event_name";"a,b,c,d";first_name;amount\nlead_generated;;Ada;1.234,56\n',
    "told to Excel": "sep=;\r\nevent_name;first_name;amount\r\nlead_generated;Ada;1.234,56\r\n",
    "a tab told": "sep=\t\nevent_name\tfirst_name\tamount\nlead_generated\tAda\t1.234,56\n",
    "another sign told": "sep=|\nevent_name|first_name|amount\nlead_generated|Ada|1.234,56\n",
    "an old Mac's lines": "event_name;first_name;amount\rlead_generated;Ada;1.234,56\r",
    "no line end": "event_name;first_name;amount\nlead_generated;Ada;1.234,56",
    "empty columns": "event_name;first_name;amount;;\nlead_generated;Ada;1.234,56;;\n",
    "cells behind the last column": "event_name;first_name;amount\nlead_generated;Ada;1.234,56;;\n",
    "blanks around names": "event_name; first_name ;amount\nlead_generated;Ada;1.234,56\n",
}


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["bare", "with a byte order mark"])
@pytest.mark.parametrize("text", LEADS.values(), ids=LEADS)
def test_csv_of_spreadsheets_is_read(tmp_path: Path, text: str, mark: str) -> None:
    (tmp_path / "a.csv").write_bytes((mark + text).encode())

    [entry] = entries(tmp_path / "a.csv")

    assert entry == Entry(3 if text.startswith("sep=") else 2, LEAD)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5)


@given(rows=ROWS, delimiter=st.sampled_from(",;\t"), quoting=st.sampled_from([0, 1]))
def test_whatever_stands_in_its_cells_a_csv_is_read_as_it_was_written(
    rows: list[list[str]], delimiter: str, quoting: Literal[0, 1]
) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter, quoting=quoting).writerows([list("abc"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.csv"
        file.write_bytes(written.getvalue().encode())

        found = list(entries(file))

    meant = [dict(zip("abc", row, strict=True)) for row in rows if any(map(str.strip, row))]
    events = [{name: cell for name, cell in row.items() if cell} for row in meant]
    assert [it.event for it in found] == events


def test_a_row_has_the_line_on_which_it_begins(tmp_path: Path) -> None:
    text = '\n \nc;"a\nb"\n\n"2\n\n2";1\n ;\n;;\n"4\r\n";3\n;5\n'

    assert read(tmp_path, "a.csv", text) == [
        Entry(6, {"a\nb": "1", "c": "2\n\n2"}),
        Entry(11, {"a\nb": "3", "c": "4\r\n"}),
        Entry(13, {"a\nb": "5"}),
    ]


def test_cells_that_a_row_leaves_out_at_its_end_are_empty(tmp_path: Path) -> None:
    """As Excel does with some rows whose last cells are empty."""
    text = "event_name,email,amount\npurchase,ada@example.com\n"

    assert read(tmp_path, "a.csv", text) == [Entry(2, EVENT)]


FAULTY = {
    "cut off": ("event_name,email,amount\npurchase,ada@exam", "cut off"),
    "too many": ("event_name,email\npurchase,ada@example.com,5\n", "more cells"),
    "under no name": ("event_name,,email\npurchase,5,ada@example.com\n", "no name"),
}


@pytest.mark.parametrize(("text", "words"), FAULTY.values(), ids=FAULTY)
def test_a_row_that_does_not_fit_its_header_is_a_fault_of_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    [entry] = read(tmp_path, "a.csv", text)

    assert (entry.place, entry.event) == (2, None)
    assert words in entry.fault


NO_CSV = {
    "a quote without end": ('a,b\n1,2\n3,"4\n5,6\n', "begins at line 3"),
    "a sign after a quote": ('a,b\n1,2\n\n3,"4"4\n', "begins at line 4"),
    "two columns of a name": ("email,amount,email\n1,2,3\n", "names email twice"),
    "a delimiter of two signs": ("sep=||\na||b\n", "no CSV"),
}


@pytest.mark.parametrize(("text", "words"), NO_CSV.values(), ids=NO_CSV)
def test_what_is_no_csv_is_said_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(OpsError, match=words):
        read(tmp_path, "a.csv", text)


def test_a_csv_of_another_encoding_is_said_with_its_line(tmp_path: Path) -> None:
    rows = "".join(f"ada-{number}@example.com;Ada\n" for number in range(5000))
    (tmp_path / "a.csv").write_bytes(
        f"email;first_name\n{rows}a@example.com;Zo\xeb\n".encode("cp1252")
    )

    with pytest.raises(OpsError, match="not UTF-8, at line 5002"):
        list(entries(tmp_path / "a.csv"))


def test_a_csv_without_a_row_holds_no_event(tmp_path: Path) -> None:
    assert [read(tmp_path, "a.csv", it) for it in ("", "\n\n", "a;b\n", "sep=;\n")] == [[]] * 4


TWICE = '{"email": "ada@example.com", "email": "grace@example.com"}'


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        pytest.param("a.json", TWICE, 1, id="one"),
        pytest.param("a.json", f'[{{"a": 1}}, {TWICE}]', 2, id="in an array"),
        pytest.param("a.jsonl", f'{{"a": 1}}\n{TWICE}\n', 2, id="in a line"),
    ],
)
def test_what_names_a_key_twice_is_a_fault_of_its_place(
    tmp_path: Path, name: str, text: str, place: int
) -> None:
    *_, last = read(tmp_path, name, text)

    assert last == Entry(place, None, "email: must be given once: it is there twice")


def test_a_line_ends_where_a_files_line_does(tmp_path: Path) -> None:
    found = read(tmp_path, "a.json", '{"a": "x\u2028y\x85z"}\r\n{"a": 1}')

    assert found == [Entry(1, {"a": "x\u2028y\x85z"}), Entry(2, {"a": 1})]


def test_the_standard_input_is_utf_8_and_may_have_a_byte_order_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO('\ufeff{"a": "ë"}'.encode())))
    assert list(entries(Path("-"))) == [Entry(1, {"a": "ë"})]

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": "\xeb"}')))
    with pytest.raises(OpsError, match="- is not UTF-8: "):
        list(entries(Path("-")))


def test_a_line_that_is_no_json_is_a_fault_of_that_line(tmp_path: Path) -> None:
    first, second = read(tmp_path, "a.jsonl", '{"a": 1}\n{"a"')

    assert (first.fault, second.place) == ("", 2)
    assert second.fault.startswith("no JSON")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", b"hello"), ("a.csv", b'a\n"b'), ("a.csv", b"a\n\xff")],
    ids=["no JSON", "no CSV", "no UTF-8"],
)
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(OpsError):
        list(entries(tmp_path / name))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="No such file"):
        list(entries(tmp_path / "none.json"))


# --- The command --------------------------------------------------------------------------------


@dataclass
class DryRun:
    """An API that takes each event with an address, or answers as written here."""

    answer: Answer | None = None
    posted: list[tuple[Door, Any, str]] = field(default_factory=list)

    def post(self, door: Door, content: Any, *, query: str) -> Answer:
        self.posted.append((door, content, query))
        results = [self._result(it) for it in content]
        return self.answer or Answer(200, {}, {"results": results}, 0.1)

    def _result(self, event: Any) -> dict[str, Any]:
        if event.get("email"):
            identity = {"order_id": event["order_id"]} if "order_id" in event else {}
            sent = {"status": 200, "event_id": "evt_1", "identity": identity, "event": event}
            return {**sent, "errors": [], "warnings": [{"field": "emial", "message": "unknown"}]}
        fault = {"field": "email", "message": "must be there"}
        return {"status": 422, "errors": [fault], "warnings": []}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> DryRun:
    made = DryRun()
    monkeypatch.setattr(Api, "at", lambda _: made)
    return made


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "events.csv"
    path.write_text("event_name,email\npurchase,ada@example.com\npurchase,\na,b,c\n", "utf-8")
    return str(path)


@pytest.mark.usefixtures("stack")
def test_each_event_is_explained_with_its_line(run: Run, api: DryRun, file: str) -> None:
    ran = run("explain", file, "--json")

    assert ran.status == 3
    assert [(it["line"], it["status"]) for it in ran.lines] == [(2, 200), (3, 422), (4, 422)]
    assert "1 valid, 2 not" in ran.err
    [(door, content, query)] = api.posted
    assert (door.headers, query) == ({"Authorization": f"Bearer {KEY}"}, "?dry_run=true")
    assert content == [EVENT, {"event_name": "purchase"}]


@pytest.mark.usefixtures("stack", "api")
def test_people_see_what_would_be_sent_and_what_is_wrong(run: Run, file: str) -> None:
    ran = run("explain", file)

    assert '"email": "ada@example.com"' in ran.out
    assert "line 2: evt_1 (an event of its own each time)" in ran.out
    assert "email: must be there" in ran.out
    assert "emial: unknown" in ran.out
    assert "more cells than the header has" in ran.out


@pytest.mark.usefixtures("stack", "api")
def test_valid_events_alone_end_well(run: Run) -> None:
    ran = run("explain", "-", given='{"email": "ada@example.com", "order_id": "1042"}')

    assert ran.status == 0
    assert "(order_id 1042)" in ran.out


@pytest.mark.usefixtures("stack")
def test_many_events_are_asked_about_in_batches(run: Run, api: DryRun, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"email": "a@example.com"}\n' * 250, "utf-8")

    ran = run("explain", str(file), "--json")

    assert [len(content) for _, content, _ in api.posted] == [100, 100, 50]
    assert [it["line"] for it in ran.lines] == list(range(1, 251))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(202, {}, {"results": []}, 0.1),
        Answer(401, {}, {"message": "no key"}, 0.1),
        Answer(200, {}, {"results": []}, 0.1),
    ],
    ids=["queued", "refused", "too few"],
)
@pytest.mark.usefixtures("stack")
def test_an_api_that_knows_no_dry_run_is_said(
    run: Run, api: DryRun, file: str, answer: Answer
) -> None:
    api.answer = answer

    assert isinstance(run("explain", file).exception, OpsError)


@pytest.mark.usefixtures("stack")
def test_a_file_without_a_readable_line_is_not_asked_about(
    run: Run, api: DryRun, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("x\n", "utf-8")

    assert run("explain", str(file)).status == 3
    assert api.posted == []
