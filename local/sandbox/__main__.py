"""Run the sandbox: `python -m local.sandbox`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local import LOOPBACK
from local.sandbox.errors import ControlError
from local.sandbox.forwarder import Forwarder
from local.sandbox.sandbox import Sandbox
from local.sandbox.server import listen, make_server, url_of
from local.sandbox.settings import DEFAULT_TOKEN, Settings
from local.serving import serve

DEFAULT_PORT = 4580


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
        listener = listen(options.host, options.port)
    except (ControlError, OSError) as exc:
        parser.error(str(exc))
    print(f"Cometly sandbox at {url_of(listener)}", flush=True)
    serve(make_server(Sandbox(settings), _forwarder(options.stack_file)), listener)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.sandbox",
        description="A stand-in for Cometly's API on this machine.",
    )
    default = Settings()
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 picks a free one")
    parser.add_argument(
        "--token",
        action="append",
        help=f"a token that is let in, again for more (default: {DEFAULT_TOKEN})",
    )
    parser.add_argument("--requests-per-minute", type=int, default=default.requests_per_minute)
    parser.add_argument("--window", choices=("fixed", "sliding"), default=default.window)
    parser.add_argument("--latency-ms", type=float, default=default.latency_ms)
    parser.add_argument("--time-zone", default=default.time_zone, help="of the Space")
    parser.add_argument(
        "--stack-file",
        type=Path,
        help="what `make up` wrote: the page then tells what that forwarder knows of an event",
    )
    return parser


def _forwarder(stack_file: Path | None) -> Forwarder | None:
    if stack_file is None:
        return None
    # The AWS SDK takes a moment to load, and a sandbox alone has no use for it.
    from local.story import LocalForwarder  # noqa: PLC0415

    return LocalForwarder(stack_file)


def _settings(options: argparse.Namespace) -> Settings:
    return Settings().changed(
        {
            "tokens": options.token or [DEFAULT_TOKEN],
            "requests_per_minute": options.requests_per_minute,
            "window": options.window,
            "latency_ms": options.latency_ms,
            "time_zone": options.time_zone,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
