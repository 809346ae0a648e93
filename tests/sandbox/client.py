"""A client of the sandbox that hides nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

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

    def read(
        self,
        path: str = "",
        query: Sequence[tuple[str, str]] = (),
        *,
        body: object = None,
        headers: dict[str, str] = HEADERS,
    ) -> BaseHTTPResponse:
        """Ask the reading side; with a body, by POST."""
        url = f"{self.server.url}/public-api/v1/events{path}"
        return self.pool.request(
            "GET" if body is None else "POST",
            f"{url}?{urlencode(query)}" if query else url,
            body=None if body is None else json.dumps(body),
            headers=headers,
            timeout=urllib3.Timeout(connect=2, read=5),
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
