"""`keys rotate`: a new key for callers, while the present one goes on."""

from __future__ import annotations

import json
import secrets
import string
from typing import Annotated

import typer

from ops.app import App, settings_of
from ops.output import ask, document, note, say
from ops.stacks import target_of
from ops.target import Target

# As long as the one that the template makes, of the same characters.
_LENGTH, _ALPHABET = 40, string.ascii_letters + string.digits

app = App(help="The keys of callers.")


@app.callback()
def _keys() -> None:
    """The keys of callers."""


@app.command("rotate")
def rotate(
    context: typer.Context,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make a new key, and print it once. The present key goes on as the previous one.

    The previous one up to now ends within 5 minutes.
    """
    target = target_of(context)
    stored = _stored(target)
    ask(_question(stored), yes=yes)
    key = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    target.clients.secrets.put_secret_value(
        SecretId=target.outputs["ServerKeySecretArn"],
        SecretString=json.dumps({**stored, "current": key, "previous": stored["current"]}),
    )
    if settings_of(context).json:
        document({"current": key})
        return
    note(
        "The new key, which is shown this once. The one before it goes on until the next rotation:"
    )
    say(key)


def _question(stored: dict[str, str]) -> str:
    if stored.get("previous"):
        return "Rotate? The previous key ends: callers that still use it are answered 401."
    return "Rotate? The present key goes on as the previous one."


def _stored(target: Target) -> dict[str, str]:
    """Return the keys; raises OpsError where the secret holds none."""
    target.server_key()
    arn = target.outputs["ServerKeySecretArn"]
    stored: dict[str, str] = json.loads(
        target.clients.secrets.get_secret_value(SecretId=arn)["SecretString"]
    )
    return stored
