"""The command line `cometly-forwarder`: its commands, and what becomes of expected failures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder import __version__
from ops.app import App
from ops.commands import (
    doctor,
    event,
    explain,
    keys,
    parked,
    pause,
    reconcile,
    send,
    status,
    tail,
    token,
)
from ops.errors import OpsError, reason_of
from ops.output import FAILED, allow_any_text, flush, note

PROGRAM = "cometly-forwarder"

app = App(name=PROGRAM, help="Look after a deployed Cometly Forwarder.")
app.command("status")(status.status)
app.command("tail")(tail.tail)
app.command("event")(event.event)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("explain")(explain.explain)
app.command("send")(send.send)
app.command("reconcile")(reconcile.reconcile)
app.command("doctor")(doctor.doctor)
app.add_typer(parked.app, name="parked")
app.add_typer(keys.app, name="keys")
app.add_typer(token.app, name="token")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; ends the process with its status (docs/command-line.md)."""
    allow_any_text()
    try:
        try:
            app(args=arguments, prog_name=PROGRAM)
        finally:
            flush()
    except OpsError as exc:
        _fail(str(exc))
    except (BotoCoreError, ClientError) as exc:
        _fail(reason_of(exc))
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        _fail(f"{where}{exc.strerror or exc}.")


def _version(asked: bool) -> None:  # noqa: FBT001 - as Typer calls it
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _program(
    *,
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Look after a deployed Cometly Forwarder."""


def _fail(reason: str) -> None:
    note(f"{PROGRAM}: {reason}")
    sys.exit(FAILED)


if __name__ == "__main__":
    main()
