from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.stack import ports, processes
from local.stack.checkout import Checkout
from local.stack.errors import StepFailed
from local.stack.processes import Identity
from local.stack.service import Service

_ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/ready' else 404)
        self.end_headers()
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""


def a_service(folder: Path, program: str, *, within: float = 10.0) -> Service:
    port = ports.choose(Checkout(folder), "test", wanted=None, taken=set())
    return Service(
        name="post office",
        command=[sys.executable, "-S", "-c", program, str(port)],
        env=dict(os.environ),
        checkout=Checkout(folder),
        url=ports.url_at(port),
        ready_path="/ready",
        ready_within=within,
    )


@contextmanager
def started(service: Service) -> Iterator[Identity]:
    process = service.start()
    try:
        yield process
    finally:
        processes.stop_group(process)


@pytest.mark.usefixtures("socket_enabled")
def test_a_service_is_ready_when_it_answers(tmp_path: Path) -> None:
    service = a_service(tmp_path, _ANSWERS)

    with started(service) as process:
        service.wait_until_ready(process)

        assert process.alive


@pytest.mark.usefixtures("socket_enabled")
def test_a_service_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    service = a_service(tmp_path, "raise SystemExit('no stamps')")

    with (
        started(service) as process,
        pytest.raises(StepFailed, match="The post office has ended") as failed,
    ):
        service.wait_until_ready(process)

    assert failed.value.log
    assert failed.value.log.read_text("utf-8") == "no stamps\n"


@pytest.mark.usefixtures("socket_enabled")
def test_a_service_that_answers_otherwise_is_not_waited_for_long(tmp_path: Path) -> None:
    service = a_service(tmp_path, _ANSWERS.replace("200", "503"), within=0.5)

    with (
        started(service) as process,
        pytest.raises(StepFailed, match="The post office was not ready"),
    ):
        service.wait_until_ready(process)
