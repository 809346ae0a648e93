from pathlib import Path

import pytest

from local.stack import ports
from local.stack.checkout import Checkout, read_json, write_json
from local.stack.errors import StepFailed, UsageError


def test_keys_on_file_are_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "stack.json"

    write_json(file, {"server_key": "k"})
    write_json(file, {"server_key": "l"})

    assert file.stat().st_mode & 0o777 == 0o600
    assert read_json(file) == {"server_key": "l"}
    assert [path.name for path in file.parent.iterdir()] == ["stack.json"]


@pytest.mark.parametrize("content", [None, "", "[1]", "{"], ids=repr)
def test_a_file_that_holds_no_object_reads_as_none(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "file.json"
    if content is not None:
        file.write_text(content, "utf-8")

    assert read_json(file) is None


def test_a_checkout_keeps_its_port_and_leaves_taken_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: set[int] = set()
    monkeypatch.setattr(ports, "is_free", lambda port: port not in taken)
    checkout = Checkout(tmp_path)

    first = ports.choose(checkout, "emulator", wanted=None, taken=set())
    again = ports.choose(checkout, "emulator", wanted=None, taken=set())
    taken.add(first)
    after = ports.choose(checkout, "emulator", wanted=None, taken={again + 1})

    assert first == again
    assert after not in {first, first + 1}


def test_a_port_that_was_asked_for_and_is_taken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)

    with pytest.raises(UsageError, match="4566"):
        ports.choose(Checkout(tmp_path), "emulator", wanted=4566, taken=set())
    with pytest.raises(StepFailed, match="free"):
        ports.choose(Checkout(tmp_path), "emulator", wanted=None, taken=set())
