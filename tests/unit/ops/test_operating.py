"""`pause`, `resume`, `keys rotate` and `token set`, over a stack in memory."""

from __future__ import annotations

import json

import pytest

from ops.errors import OpsError
from ops.mappings import mappings_of, switch
from tests.unit.ops.conftest import Run
from tests.unit.ops.stack_in_memory import KEY, TOKEN, StackInMemory


def test_pause_and_resume_switch_the_mapping(stack: StackInMemory, run: Run) -> None:
    paused = run("pause")
    states = stack.functions.states()
    resumed = run("resume", "--json")

    assert (paused.status, states) == (0, ["Disabled"])
    assert "72 hours" in paused.out
    assert resumed.document == {
        "paused": False,
        "mappings": [{"queue": "events", "state": "Enabled"}],
    }
    assert stack.functions.states() == ["Enabled"]


@pytest.mark.usefixtures("stack")
def test_resume_says_what_becomes_of_what_waits(run: Run) -> None:
    assert "What waits is delivered" in run("resume").out


def test_a_queue_that_there_is_not_cannot_be_paused(stack: StackInMemory, run: Run) -> None:
    ran = run("pause", "--only", "pages")

    assert isinstance(ran.exception, OpsError)
    assert "AllowedOrigins is empty" in str(ran.exception)
    assert stack.functions.states() == ["Enabled"]


def test_a_queue_without_a_mapping_is_said(stack: StackInMemory) -> None:
    stack.functions.mappings.clear()

    with pytest.raises(OpsError, match="deploy the stack again"):
        mappings_of(stack.target)


def test_a_mapping_that_does_not_settle_is_not_waited_for_without_end(
    stack: StackInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.functions, "update_event_source_mapping", lambda **_: None)
    ticks = iter(range(0, 1000, 50))

    seen = switch(
        stack.target,
        mappings_of(stack.target),
        on=False,
        sleep=lambda _: None,
        clock=lambda: float(next(ticks)),
    )

    assert [it.state for it in seen] == ["Enabled"]


def test_a_rotation_keeps_the_present_key_as_the_previous_one(
    stack: StackInMemory, run: Run
) -> None:
    ran = run("keys", "rotate", "--yes")

    stored = json.loads(stack.secret("keys"))
    assert stored == {"current": ran.out.strip(), "previous": KEY}
    assert len(stored["current"]) == 40
    assert stored["current"].isalnum()


def test_two_rotations_make_two_keys(stack: StackInMemory, run: Run) -> None:
    first, second = (run("keys", "rotate", "--yes", "--json").document["current"] for _ in range(2))

    assert first != second
    assert json.loads(stack.secret("keys")) == {"current": second, "previous": first}


def test_without_yes_and_without_a_terminal_nothing_is_rotated(
    stack: StackInMemory, run: Run
) -> None:
    before = stack.secret("keys")

    ran = run("keys", "rotate")

    assert (ran.status, stack.secret("keys")) == (2, before)
    assert "give --yes" in ran.err


@pytest.mark.parametrize("answer", ["n\n", "y\n"])
def test_a_question_is_answered(
    stack: StackInMemory, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("ops.output.is_terminal", lambda: True)
    before = stack.secret("keys")

    ran = run("keys", "rotate", given=answer)

    assert (ran.status == 0) is (stack.secret("keys") != before) is (answer == "y\n")


@pytest.mark.parametrize("stored", ["no JSON", "[]", "{}"])
def test_a_secret_without_a_key_is_not_rotated(stack: StackInMemory, run: Run, stored: str) -> None:
    stack.secrets.put_secret_value(SecretId="keys", SecretString=stored)

    ran = run("keys", "rotate", "--yes")

    assert isinstance(ran.exception, OpsError)
    assert stack.secret("keys") == stored


def test_a_token_is_read_from_the_standard_input(stack: StackInMemory, run: Run) -> None:
    ran = run("token", "set", given="a-new-token\n")

    assert (ran.status, stack.secret("token")) == (0, "a-new-token")
    assert "a-new-token" not in ran.out + ran.err


@pytest.mark.parametrize("given", ["", "unset", "two words", "cr\x01"])
def test_what_is_no_token_is_not_stored(stack: StackInMemory, run: Run, given: str) -> None:
    ran = run("token", "set", given=given)

    assert isinstance(ran.exception, OpsError)
    assert stack.secret("token") == TOKEN


def test_a_token_is_no_argument(stack: StackInMemory, run: Run) -> None:
    assert run("token", "set", "a-new-token").status == 2
    assert stack.secret("token") == TOKEN


def test_a_token_is_asked_for_unseen(
    stack: StackInMemory, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.commands.token.is_terminal", lambda: True)

    ran = run("token", "set", "--json", given="typed-token\n")

    assert stack.secret("token") == "typed-token"
    assert json.loads(ran.out) == {"stored": True, "characters": 11}
    assert "typed-token" not in ran.out + ran.err
