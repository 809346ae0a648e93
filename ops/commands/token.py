"""`token set`: the Space's token, from a prompt or the standard input."""

from __future__ import annotations

import sys

import typer

from ops.app import App, settings_of
from ops.errors import OpsError
from ops.output import document, is_terminal, say
from ops.stacks import target_of
from ops.tokens import is_token

app = App(help="The token of the Cometly Space.")


@app.callback()
def _token() -> None:
    """The token of the Cometly Space."""


@app.command("set")
def set_token(context: typer.Context) -> None:
    """Store the Space's token. It is asked for, or read from the standard input; never an argument.

    Deliver uses it after its next 401 or 403, or within 5 minutes. `doctor` tries it.
    """
    target = target_of(context)
    token = _given()
    if not is_token(token):
        raise OpsError("That is no token: it is empty, `unset`, or has blanks in it. None stored.")
    target.clients.secrets.put_secret_value(
        SecretId=target.outputs["CometlyTokenSecretArn"], SecretString=token
    )
    if settings_of(context).json:
        document({"stored": True, "characters": len(token)})
    else:
        say(
            f"Stored: {len(token)} characters. Deliver uses it within 5 minutes; "
            "`doctor` tries it with Cometly."
        )


def _given() -> str:
    if is_terminal():
        return str(typer.prompt("Token", hide_input=True, err=True)).strip()
    return "" if sys.stdin is None else sys.stdin.buffer.read().decode(errors="replace").strip()
