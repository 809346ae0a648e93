"""Requests to Cometly's reading side: in their turn, asked again where that may help."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from cometly_forwarder import __version__, jsontext
from cometly_forwarder.errors import ListUnread, Unreadable

_MINUTE_SECONDS = 60.0
_TRIES = 8
_LONGEST_BACK_OFF_SECONDS = 60.0
# What Cometly asks for beyond this is not waited for; a later run goes on.
_LONGEST_ASKED_SECONDS = 900.0
TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_REASONS: Mapping[int, str] = {
    401: "the token is missing or wrong",
    403: "the token lacks the permission to read events, or the subscription is inactive",
}


class Pool(Protocol):
    """What sends a request: urllib3's pool, or what stands in for it."""

    def request(self, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse: ...  # noqa: ANN401


@dataclass(slots=True)
class Pace:
    """Lets out so many requests in any 60 seconds, so that fixed and sliding minutes hold."""

    per_minute: int
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    requests: int = field(default=0, init=False)
    _sent: deque[float] = field(default_factory=deque, init=False)

    def wait(self) -> None:
        """Wait for the next request's turn."""
        if len(self._sent) == self.per_minute:
            self.sleep(max(self._sent.popleft() + _MINUTE_SECONDS - self.now(), 0.0))
        self._sent.append(self.now())
        self.requests += 1


@dataclass(frozen=True, slots=True)
class Asker:
    """Sends requests with the Space's token. Raises ListUnread."""

    pool: Pool
    base_url: str
    token: Callable[[], str]

    def ask(self, pace: Pace, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the object that Cometly answers with, once its pace allows it."""
        answer = self._answered(pace, method, path, body)
        try:
            content = jsontext.parse(answer.data)
        except Unreadable as exc:
            raise ListUnread(f"Cometly's answer cannot be read: {exc}") from exc
        if not isinstance(content, dict):
            raise ListUnread("Cometly's answer is no object of JSON")
        return content

    def _answered(
        self, pace: Pace, method: str, path: str, body: object
    ) -> urllib3.BaseHTTPResponse:
        """Ask until there is an answer that asking again would not change."""
        why = ""
        for number in range(_TRIES):
            pace.wait()
            try:
                answer = self._exchange(method, path, body)
            except HTTPError as exc:
                why = f"no answer ({type(exc).__name__})"
                pace.sleep(_back_off(number))
                continue
            if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's own borders
                return answer
            why = f"HTTP {answer.status}: {_message_of(answer)}"
            if answer.status != 429 and answer.status < 500:  # noqa: PLR2004 - the same
                break
            pace.sleep(_asked(answer) or _back_off(number))
        raise ListUnread(f"Cometly's list cannot be read: {why}")

    def _exchange(self, method: str, path: str, body: object) -> urllib3.BaseHTTPResponse:
        headers = {
            "Authorization": f"Bearer {self.token()}",
            "Accept": "application/json",
            "User-Agent": f"cometly-forwarder/{__version__}",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self.pool.request(
            method,
            safe_url(self.base_url) + path,
            body=None if body is None else jsontext.dump(body).encode(),
            headers=headers,
            redirect=False,
            retries=False,
            timeout=TIMEOUT,
        )


def safe_url(url: str) -> str:
    """Return an address that may get the token: HTTPS, or this machine. Raises ListUnread."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname in _LOOPBACK:
        return url.rstrip("/")
    raise ListUnread("Cometly's address is not https, so the token was not sent")


def _message_of(answer: urllib3.BaseHTTPResponse) -> str:
    if reason := _REASONS.get(answer.status):
        return reason
    try:
        content = jsontext.parse(answer.data)
    except Unreadable:
        return "not an answer of Cometly's"
    message = content.get("message") if isinstance(content, dict) else None
    return str(message or "without a reason")[:200]


def _asked(answer: urllib3.BaseHTTPResponse) -> float:
    """Read Retry-After, seconds or a date; raises ListUnread where it is too long to wait."""
    text = answer.headers.get("retry-after", "").strip()
    seconds = float(text) if text.isascii() and text.isdigit() else _seconds_until(text)
    if seconds > _LONGEST_ASKED_SECONDS:
        raise ListUnread(f"Cometly asks to come back in {seconds:.0f} seconds")
    return seconds


def _seconds_until(text: str) -> float:
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


def _back_off(number: int) -> float:
    return min(2.0**number, _LONGEST_BACK_OFF_SECONDS)
