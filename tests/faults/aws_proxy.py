"""A proxy before the AWS emulator that spoils the calls it is told to spoil."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Literal

import urllib3

from local import LOOPBACK

# What a refused call is told, in the words of DynamoDB, SQS or Secrets Manager.
_REFUSALS = {
    "throttled": (400, "ThrottlingException"),
    "denied": (400, "AccessDeniedException"),
    "broken": (500, "InternalServerError"),
}
_KEPT = {"content-type", "date", "x-amzn-requestid", "x-amz-crc32", "x-amzn-errortype"}
_NONE: Mapping[str, str] = MappingProxyType({})
Harm = Literal["throttled", "denied", "broken", "cut", "silent", "slow", "answer lost"]
SLOW_SECONDS = 0.4


@dataclass(frozen=True)
class Call:
    """One call to AWS: `action` such as `UpdateItem`, and the JSON that it sends."""

    action: str
    body: str


@dataclass
class Rule:
    """What becomes of the next `times` calls that `matches` picks."""

    matches: Callable[[Call], bool]
    harm: Harm
    times: float = 1
    spoilt: int = 0

    def strikes(self, call: Call) -> bool:
        return self.spoilt < self.times and self.matches(call)


@dataclass
class AwsProxy:
    """Hands every call on, but for those that a rule strikes."""

    url: str
    rules: list[Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spoil(
        self, matches: Callable[[Call], bool], harm: Harm, times: float = float("inf")
    ) -> Rule:
        rule = Rule(matches, harm, times)
        with self._lock:
            self.rules.append(rule)
        return rule

    def heal(self) -> None:
        with self._lock:
            self.rules.clear()

    def harm_to(self, call: Call) -> Harm | None:
        with self._lock:
            for rule in self.rules:
                if rule.strikes(call):
                    rule.spoilt += 1
                    return rule.harm
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # The worker was killed while it was sending.
            self.close_connection = True
            return
        action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        harm = self.server.proxy.harm_to(Call(action, body.decode()))
        if harm in _REFUSALS:
            status, error = _REFUSALS[harm]
            self._answer(status, f'{{"__type":"{error}","message":"as told"}}'.encode())
        elif harm in {"cut", "silent"}:
            self.server.over.wait(30 if harm == "silent" else 0)
            self.close_connection = True
        else:
            self.server.over.wait(SLOW_SECONDS if harm == "slow" else 0)
            self._hand_on(body, is_answered=harm != "answer lost")

    def _hand_on(self, body: bytes, *, is_answered: bool) -> None:
        headers = dict(self.headers.items())
        url = self.server.target + self.path
        answer = self.server.pool.request("POST", url, body=body, headers=headers)
        if is_answered:
            kept = {k: v for k, v in answer.headers.items() if k.lower() in _KEPT}
            self._answer(answer.status, answer.data, kept)
        else:
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = _NONE) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.target = target
        self.over = threading.Event()
        self.pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=30.0)
        self.proxy = AwsProxy(f"http://{LOOPBACK}:{self.server_port}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that was killed leaves broken connections behind; more is a defect."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def through(proxy: AwsProxy) -> dict[str, str]:
    """Return what leads a worker's calls to this proxy."""
    return dict.fromkeys(("sqs", "dynamodb", "secrets_manager"), proxy.url)


@contextlib.contextmanager
def running(target: str) -> Iterator[AwsProxy]:
    """Run a proxy before `target` on loopback."""
    with _Server(target) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.proxy
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
            server.pool.clear()
