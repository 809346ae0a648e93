import json
from pathlib import Path
from typing import Any

import pytest

from local.stack import samples
from local.stack.checkout import Checkout
from local.stack.errors import StepFailed
from local.stack.samples import Response, Sample


def test_every_sample_of_the_project_can_be_read() -> None:
    found = samples.read_all(Checkout.here().samples)

    assert found
    assert all(sample.path.startswith("/") for sample in found)


def test_a_sample_without_a_path_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text(json.dumps({"method": "POST"}), "utf-8")

    with pytest.raises(StepFailed, match=r"broken\.json"):
        Sample.read(file)


@pytest.mark.parametrize(
    ("status", "body", "ids", "unnamed"),
    [
        pytest.param(202, {"event_id": "a"}, {"a"}, 0, id="one"),
        pytest.param(207, {"events": [{"event_id": "a"}, {"errors": []}]}, {"a"}, 0, id="many"),
        pytest.param(202, {"message": "queued"}, set(), 1, id="as Cometly answers"),
        pytest.param(422, {"message": "no"}, set(), 0, id="refused"),
    ],
)
def test_an_answer_says_how_many_events_to_expect(
    status: int, body: object, ids: set[str], unnamed: int
) -> None:
    response = Response(status, body)

    assert response.event_ids == ids
    assert response.unnamed == unnamed


def test_a_row_names_the_events_and_what_is_a_duplicate() -> None:
    events: list[dict[str, Any]] = [
        {"fields": {"event_name": "purchase", "email": "a@example.com"}, "duplicate_of": None},
        {"fields": {"event_name": "purchase"}, "duplicate_of": 1},
    ]

    assert samples.describe(events) == "purchase by email, purchase (a duplicate)"
