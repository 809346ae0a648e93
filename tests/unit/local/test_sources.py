import json
from pathlib import Path

import pytest

from local.stack import sources
from local.stack.checkout import Checkout
from local.stack.errors import StepFailed
from local.stack.sources import Publication


def test_every_sample_of_the_project_can_be_read() -> None:
    found = sources.read_all(Checkout.here().samples.parent)

    assert {it.name.partition(":")[0] for it in found} == {"By SNS", "By EventBridge"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="no JSON"),
        pytest.param(json.dumps({"Records": []}), id="no message"),
        pytest.param(json.dumps({"Records": [{"body": "{}"}]}), id="neither of SNS nor of a bus"),
    ],
)
def test_a_sample_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(content, "utf-8")

    with pytest.raises(StepFailed, match=r"broken\.json"):
        Publication.read(file)
