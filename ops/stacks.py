"""Which stack a command is about: one in an account, or the one on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import typer

from ops.app import Settings, settings_of
from ops.errors import OpsError
from ops.target import Clients, LocalStack, Target

STACK_VARIABLE = "COMETLY_FORWARDER_STACK"
_STACK_FILE = Path(".local") / "stack.json"
_LOOPBACK = "127.0.0.1,localhost"


def target_of(context: typer.Context) -> Target:
    """Find the stack that the command line names; raises OpsError where there is none."""
    return find(settings_of(context))


def find(settings: Settings) -> Target:
    """Find a stack by name, or the local one."""
    if settings.local or settings.stack_file:
        if settings.stack:
            raise typer.BadParameter("give --stack or --local, not both")
        here = LocalStack.read(settings.stack_file or _stack_file())
        _isolate()
        api_url = settings.url or here.api_url
        return Target.find(here.clients(), here.name, api_url=api_url, is_local=True)
    if not (name := settings.stack or os.environ.get(STACK_VARIABLE)):
        raise typer.BadParameter(
            f"name the stack by --stack NAME or {STACK_VARIABLE}, or give --local"
        )
    # AWS's own command line obeys this variable before all others; its SDK for Python does not.
    region = settings.region or os.environ.get("AWS_REGION") or None
    session = boto3.session.Session(profile_name=settings.profile, region_name=region)
    return Target.find(_clients_of(session), name, api_url=settings.url)


def checkout() -> Path | None:
    """Return the checkout around this folder, or the one that this program runs from."""
    here, ours = Path.cwd(), Path(__file__).resolve().parents[1]
    found = (it for it in (here, *here.parents, ours) if _is_checkout(it))
    return next(found, None)


def _clients_of(session: boto3.session.Session) -> Clients:
    """Make the clients; raises OpsError where AWS's variables or files hold no such values."""
    try:
        return Clients.of(session)
    except ValueError as exc:
        raise OpsError(f"AWS's settings of this shell or profile cannot be read: {exc}.") from exc


def _is_checkout(folder: Path) -> bool:
    return (folder / "template.yaml").is_file() and (folder / "ops" / "cli.py").is_file()


def _stack_file() -> Path:
    root = checkout()
    if root is None:
        raise OpsError(
            "There is no checkout of the forwarder here, so no local stack: change to it, or name "
            "its file by --stack-file."
        )
    return root / _STACK_FILE


def _isolate() -> None:
    """Leave the shell's profile, Region and proxy to stacks in an account."""
    for name in [it for it in os.environ if it.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = _LOOPBACK
