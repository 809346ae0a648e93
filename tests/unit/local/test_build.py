import os
from pathlib import Path

import pytest

from local.stack.build import digest_of
from local.stack.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    for name in ("template.yaml", "src/package/module.py", "requirements/dev.txt"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name, "utf-8")
    return Checkout(tmp_path)


@pytest.mark.parametrize("name", ["template.yaml", "src/package/module.py", "src/new.txt"])
def test_what_goes_into_the_build_changes_the_digest(checkout: Checkout, name: str) -> None:
    before = digest_of(checkout, "python3.13")

    (checkout.root / name).write_text("changed", "utf-8")

    assert len({before, digest_of(checkout, "python3.13"), digest_of(checkout, "python3.14")}) == 3


def test_dates_and_bytecode_do_not_count(checkout: Checkout) -> None:
    before = digest_of(checkout)

    os.utime(checkout.template, (0, 0))
    cache = checkout.root / "src" / "package" / "__pycache__"
    cache.mkdir()
    (cache / "module.pyc").write_bytes(b"")

    assert digest_of(checkout) == before
