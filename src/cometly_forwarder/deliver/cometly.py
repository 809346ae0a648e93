"""The HTTP call to Cometly: one event, one POST, no redirect followed.

It is repeated in two cases alone: with a new token, and where a kept connection turned out dead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from cometly_forwarder import __version__, jsontext
from cometly_forwarder.deliver.connections import Stale
from cometly_forwarder.deliver.deadline import bounded_to
from cometly_forwarder.deliver.verdict import CometlyResponse, NoResponse
from cometly_forwarder.secrets import CometlyToken

PATH = "/public-api/v1/events/track"
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
# A post as a whole, whatever it meets: urllib3's time-outs start anew with each address of a host
# and with each byte of an answer.
ANSWER_SECONDS = 14.0
# A renewed token is tried at once only if this much of that is left.
_SECOND_SECONDS = 5.0
# Cometly's answers are a line of JSON; what is longer is not read to its end.
MAX_ANSWER_BYTES = 64 * 1024
_REFUSED = frozenset({401, 403})

# The first that fits names the reason.
_REASONS: tuple[tuple[type[HTTPError], str], ...] = (
    (NameResolutionError, "name not resolved"),
    (NewConnectionError, "connection refused"),
    (ConnectTimeoutError, "connect timeout"),
    (ReadTimeoutError, "no answer in time"),
    (SSLError, "TLS failed"),
    (ProtocolError, "connection lost"),
)


@dataclass(frozen=True, slots=True)
class CometlyClient:
    """Posts events to `base_url`, such as https://app.cometly.com."""

    pool: urllib3.PoolManager
    base_url: str
    token: CometlyToken

    def make_ready(self) -> None:
        """Have the token at hand, so that a post need not wait for it; raises as `post` does."""
        self.token.current()

    def post(self, event: Mapping[str, Any]) -> CometlyResponse | NoResponse:
        """Post one event; raises TokenMissing and Unavailable.

        After a 401 or 403 the token is read again, and tried at once if it is another one.
        """
        end = time.monotonic() + ANSWER_SECONDS
        token = self.token.current()
        answer = self._post(event, token, ANSWER_SECONDS)
        if not (isinstance(answer, CometlyResponse) and answer.status in _REFUSED):
            return answer
        renewed = self.token.renewed(token)
        left = end - time.monotonic()
        return self._post(event, renewed, left) if renewed and left > _SECOND_SECONDS else answer

    def _post(
        self, event: Mapping[str, Any], token: str, seconds: float
    ) -> CometlyResponse | NoResponse:
        with bounded_to(seconds) as deadline:
            try:
                answer = self._exchange(event, token)
            except HTTPError as exc:
                answer = NoResponse(_reason_of(exc))
        return NoResponse("no answer in time") if deadline.is_over else answer

    def _exchange(self, event: Mapping[str, Any], token: str) -> CometlyResponse | NoResponse:
        try:
            response = self._request(event, token)
        except Stale:
            # Cometly drops it by its identity, should the first have arrived after all.
            response = self._request(event, token)
        try:
            body = _body_of(response)
        finally:
            response.release_conn()
        if body is None:
            return NoResponse("the answer does not end")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return CometlyResponse(response.status, headers, body)

    def _request(self, event: Mapping[str, Any], token: str) -> urllib3.BaseHTTPResponse:
        return self.pool.request(
            "POST",
            self.base_url + PATH,
            body=jsontext.dump(event).encode(),
            headers=_headers(token),
            redirect=False,
            preload_content=False,
            pool_timeout=CONNECT_SECONDS,
        )


def _headers(token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": f"cometly-forwarder/{__version__}",
    }


def _body_of(response: urllib3.BaseHTTPResponse) -> bytes | None:
    """Read the body, or give up on one that is longer than any answer of Cometly's."""
    body = bytearray()
    while piece := response.read1(MAX_ANSWER_BYTES):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            response.close()
            return None
    return bytes(body)


def _reason_of(exc: HTTPError) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(exc, kind)), type(exc).__name__)
