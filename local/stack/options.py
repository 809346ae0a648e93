"""The command line, read into one value."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from local.stack.errors import UsageError

HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. Where `cometly_url` is None the stack has a sandbox."""

    cometly_url: str | None = None
    token: str | None = None
    requests_per_minute: int | None = None
    window: str | None = None
    port: int | None = None
    sandbox_port: int | None = None
    shop_port: int | None = None
    param: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return what a restart depends on: template parameters can change without one."""
        return {name: value for name, value in asdict(self).items() if name != "param"}


def parse(arguments: Sequence[str] | None = None) -> tuple[str, Options]:
    """Return the command (`run`, `up` or `down`) and its options."""
    given = vars(_parser().parse_args(arguments))
    command = given.pop("command")
    given["param"] = tuple(given.pop("param", ()))
    return command, _checked(Options(**given))


def fresh_token() -> str:
    """Return a token for Cometly, when none was asked for."""
    return secrets.token_hex(16)


def _checked(options: Options) -> Options:
    if options.cometly_url is None:
        return options
    parts = urlsplit(options.cometly_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"--cometly-url {options.cometly_url}: write it with http:// or https://.")
    if options.window or options.sandbox_port:
        raise UsageError(
            "--window and --sandbox-port are for the sandbox, which --cometly-url replaces."
        )
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.stack", description="The whole service on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start, post the samples, keep running until Ctrl-C")
    up = commands.add_parser(
        "up",
        help="start in the background",
        description=(
            "Starts the stack in the background. Where it runs already with the same options, "
            "what changed in the code or the template is built and deployed, and events on their "
            "way stay; with other options it starts afresh."
        ),
    )
    commands.add_parser("down", help="stop")
    for command in (run, up):
        _add_options(command)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cometly-url", metavar="URL", help="deliver here instead of to a sandbox")
    parser.add_argument(
        "--token", help="the Cometly token; the sandbox takes it, the stack sends it"
    )
    parser.add_argument(
        "--requests-per-minute",
        type=_positive,
        metavar="N",
        help="the sandbox's limit, and the rate the stack keeps to",
    )
    parser.add_argument("--window", choices=("fixed", "sliding"), help="how the sandbox counts")
    parser.add_argument("--port", type=_port, metavar="N", help="the emulator's port")
    parser.add_argument("--sandbox-port", type=_port, metavar="N", help="the sandbox's port")
    parser.add_argument("--shop-port", type=_port, metavar="N", help="the demo shop's port")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of template.yaml; may be given several times",
    )


def _positive(text: str) -> int:
    return _whole_number(text, 1, None)


def _port(text: str) -> int:
    return _whole_number(text, 1, HIGHEST_PORT)


def _whole_number(text: str, lowest: int, highest: int | None) -> int:
    number = int(text) if text.isdecimal() else lowest - 1
    if number < lowest or (highest is not None and number > highest):
        span = f"from {lowest} to {highest}" if highest else f"from {lowest}"
        msg = f"{text!r} is not a whole number {span}"
        raise argparse.ArgumentTypeError(msg)
    return number
