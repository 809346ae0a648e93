"""The Space's token: whether a text can be one, and whether Cometly takes it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import urllib3

from cometly_forwarder.deliver.verdict import CometlyResponse, Kind, NoResponse, Verdict, judge
from cometly_forwarder.secrets import NO_TOKEN
from ops.smoke.doors import pool_for
from ops.target import Target, stays_secret

_PATH = "/public-api/v1/events/track"
_TOKEN = re.compile("[\x21-\x7e]+")
_SECONDS = 14.0
# No event: Cometly looks at the token first, and refuses this for what it lacks.
_NO_EVENT: dict[str, Any] = {}


def is_token(text: str) -> bool:
    """Say whether a text can be a token: what a header can carry, and not the template's word."""
    return text != NO_TOKEN and _TOKEN.fullmatch(text) is not None


def stored_token(target: Target) -> str | None:
    """Return the stored token; None where there is none, or what is stored cannot be one."""
    arn = target.outputs["CometlyTokenSecretArn"]
    text = str(
        target.clients.secrets.get_secret_value(SecretId=arn).get("SecretString", "")
    ).strip()
    return text if is_token(text) else None


@dataclass(frozen=True, slots=True)
class Trial:
    """What Cometly said to a token that came with an event it must refuse."""

    verdict: Verdict

    @property
    def is_accepted(self) -> bool:
        """The token passed, and the event, which is none, did not."""
        return self.verdict.kind is Kind.PERMANENT

    @property
    def is_refused(self) -> bool:
        return self.verdict.kind is Kind.BLOCKED


def try_token(target: Target, token: str, now: float) -> Trial:
    """Post no event to Cometly with a token, from this machine: one request of the Space's limit.

    Nothing can be booked: Cometly answers 401 to a wrong token, and 422 to an event without fields.
    """
    url = target.parameters.get("CometlyUrl", "").rstrip("/")
    return Trial(judge(_posted(url, token), now))


def _posted(url: str, token: str) -> CometlyResponse | NoResponse:
    if not stays_secret(url):
        return NoResponse("CometlyUrl is not https, so the token was not sent")
    try:
        answer = pool_for(url).request(
            "POST",
            url + _PATH,
            body=json.dumps(_NO_EVENT).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
            timeout=_SECONDS,
            retries=False,
            redirect=False,
        )
    except urllib3.exceptions.HTTPError as exc:
        return NoResponse(f"no answer ({type(exc).__name__})")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return CometlyResponse(answer.status, headers, answer.data)
