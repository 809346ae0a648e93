"""How long a function takes to load, from the package that `sam build` makes, with bytecode.

Each loading is a fresh process that has the package and the standard library alone. The measure is
boto3 with the clients that the function needs, from a package of its own with every service's
model, as Lambda's own boto3 has them: what no Python function that calls these services can do
without. The subjects take turns, so that what slows the machine slows them all; the ratio is the
median of the ratios of a turn. Secrets Manager is a stub on loopback that answers at once: deliver
reads Cometly's token while it loads.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench import svg
from bench.ingest_worker import ENVIRONMENT
from bench.report import Result, Table
from bench.running import Bench
from bench.stage import BOTO3, OURS, RIVAL_PACKAGES, package
from local.stack.build import build_for_emulator
from local.stack.console import step

TURNS = 7
CLIENTS = {
    "ingest": ("sqs", "secretsmanager"),
    "deliver": ("sqs", "dynamodb", "secretsmanager"),
}
_MORE = {
    "DEAD_LETTER_QUEUE_URL": "https://sqs.example.com/1/parked",
    "COMETLY_TOKEN_SECRET_ARN": "token",
    "COMETLY_TOKEN": "token",
    "COMETLY_REQUESTS_PER_MINUTE": "1000",
    "DELIVERY_HORIZON_HOURS": "72",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}
_LOAD = """\
import sys, time
sys.path.insert(0, ".")
wall, cpu = time.perf_counter(), time.process_time()
{code}
print(time.perf_counter() - wall, time.process_time() - cpu, len(sys.modules))
"""


@dataclass(frozen=True)
class Subject:
    """What is loaded, and where from. `function` is the one whose measure it is held against."""

    system: str
    function: str
    folder: Path
    code: str
    times: list[tuple[float, float, int]] = field(default_factory=list)

    def load(self, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-I", "-S", "-B", "-c", _LOAD.format(code=self.code)]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        wall, cpu, modules = done.stdout.split()[-3:]
        self.times.append((float(wall), float(cpu), int(modules)))

    def milliseconds(self) -> tuple[float, float]:
        wall, cpu, _ = zip(*self.times, strict=True)
        return statistics.median(wall) * 1000, statistics.median(cpu) * 1000

    def ratio_to(self, measure: Subject) -> float:
        """Return the median of the ratios of processor time, turn by turn."""
        pairs = zip(self.times, measure.times, strict=True)
        return statistics.median(own[1] / its[1] for own, its in pairs)


def measure() -> Result:
    """Load each subject in turns, after a first time that warms the file system's cache."""
    subjects = _subjects()
    with _secrets_manager() as url:
        environment = {**ENVIRONMENT, **_MORE, "AWS_ENDPOINT_URL": url, "PATH": os.defpath}
        for turn in range(TURNS + 1):
            for subject in subjects:
                subject.load(environment)
                if not turn:
                    subject.times.clear()
    measures = {it.function: it for it in subjects if it.system == BOTO3}
    rows = [
        (
            it.function,
            it.system,
            *it.milliseconds(),
            it.ratio_to(measures[it.function]),
            it.times[0][2],
        )
        for it in subjects
    ]
    table = Table(
        "Cold start: loading from the built package",
        ("function", "system", "ms", "processor ms", "x boto3's", "modules"),
        tuple(rows),
        f"Medians of {TURNS} turns, and the median ratio of processor time of a turn.",
    )
    systems = (OURS, *RIVAL_PACKAGES, BOTO3)
    ms = {(it.function, it.system): it.milliseconds()[1] for it in subjects}
    plot = svg.Bars(
        "Cold start: processor time to load",
        "ms",
        list(CLIENTS),
        systems,
        [[ms.get((function, system)) for system in systems] for function in CLIENTS],
    )
    return Result((table,), {"cold": plot})


def _subjects() -> list[Subject]:
    bench = Bench.of("rivals")
    with step("packages"):
        build_for_emulator(bench)
        ours = bench.build / "IngestFunction"
        boto3 = package(BOTO3, bench.local / "packages" / BOTO3)
        rivals = {name: package(name, bench.local / "packages" / name) for name in RIVAL_PACKAGES}
    subjects = []
    for function, services in CLIENTS.items():
        clients = "; ".join(f"boto3.client({name!r})" for name in services)
        handler = f"import cometly_forwarder.{function}.handler"
        subjects += [
            Subject(BOTO3, function, boto3, f"import boto3; {clients}"),
            Subject(OURS, function, ours, handler),
        ]
    # Both functions of a rival load the same module; its clients are those of ingest or fewer.
    for name, folder in rivals.items():
        subjects += [Subject(name, function, folder, "import app") for function in CLIENTS]
    return sorted(subjects, key=lambda it: it.function, reverse=True)


@contextmanager
def _secrets_manager() -> Iterator[str]:
    """Answer every request with one secret; yields the address."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            secret = {"ARN": "token", "Name": "token", "SecretString": "token"}
            body = json.dumps(secret).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
