"""A client of the sandbox that hides nothing."""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import urllib3
from urllib3.response import BaseHTTPResponse

from local.sandbox.server import RunningSandbox

# Whatever the control API answers.
Json: TypeAlias = Any

HEADERS = {
    "Authorization": "Bearer sandbox-token",
    "Accept": "application/json",
    "Content-Type": "application/json",
}
EVENT = {"event_name": "purchase", "email": "ada@example.com"}


@dataclass
class Client:
    """Posts events as a sender would, and works the control API."""

    server: RunningSandbox
    pool: urllib3.PoolManager

    def send(
        self,
        body: object = None,
        *,
        method: str = "POST",
        headers: dict[str, str] = HEADERS,
        read_timeout_s: float = 30,
        **more_headers: str,
    ) -> BaseHTTPResponse:
        raw = body if isinstance(body, bytes) else json.dumps(EVENT if body is None else body)
        return self.pool.request(
            method,
            self.server.track_url,
            body=raw,
            headers=headers | more_headers,
            timeout=urllib3.Timeout(connect=30, read=read_timeout_s),
            retries=False,
            redirect=False,
        )

    def control(self, method: str, path: str, body: object = None) -> Json:
        answer = self.pool.request(
            method,
            f"{self.server.url}/_sandbox/{path}",
            json=body,
            retries=False,
        )
        return answer.json()

    def faults(self, *rules: dict[str, object]) -> Json:
        return self.control("POST", "faults", list(rules))

    def settings(self, **changes: object) -> Json:
        return self.control("PUT", "settings", changes)

    def events(self) -> Json:
        return self.control("GET", "events")

    def requests(self) -> Json:
        return self.control("GET", "requests")
