"""A request that is refused by its key is written down and counted, and its key is not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cometly_forwarder.ingest import handler as ingest
from cometly_forwarder.ingest.routes import Routes
from tests.unit.conftest import FakeLambdaContext, http_request, lines_in, logged_by, metrics_in

WRONG = "a-key-of-somebody-else"


@dataclass(frozen=True)
class NoKeys:
    """Admits nobody."""

    def admit(self, key: str) -> bool:
        assert key in {"", WRONG}
        return False


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged of requests to routes that admit nobody."""
    ingest.routes.cache_clear()
    stream = logged_by(ingest.journal.logger, monkeypatch)
    unused = ("intake", "page_intake", "ledger", "browser", "shares")
    nothing: dict[str, Any] = dict.fromkeys(unused)
    routes = Routes(keys=NoKeys(), journal=ingest.journal, **nothing)
    monkeypatch.setattr(ingest, "routes", lambda: routes)
    yield stream
    ingest.journal.metrics.clear_metrics()


@pytest.mark.parametrize("key", [None, WRONG], ids=["without a key", "with a wrong one"])
@pytest.mark.parametrize("path", ["/v1/events", "/public-api/v1/events/track"])
def test_a_refusal_by_key_is_journalled_and_counted_without_the_key(
    path: str, key: str | None, log: io.StringIO
) -> None:
    request = http_request({"email": "ada@example.com"}, path=path, key=key)

    answer = ingest.handler(request, FakeLambdaContext())  # type: ignore[arg-type]

    assert answer["statusCode"] == 401
    assert [line["message"] for line in lines_in(log)] == ["ingest.refused"]
    assert metrics_in(log.getvalue()) == {"Refused": 1}
    for private in (WRONG, "ada@example.com"):
        assert private not in log.getvalue()
