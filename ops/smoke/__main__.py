"""`python -m ops.smoke STACK`: behind `make smoke STACK=...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from local.stack.checkout import Checkout
from ops.app import Settings
from ops.errors import OpsError, reason_of
from ops.output import allow_any_text
from ops.smoke.checks import Checks
from ops.smoke.doors import Api
from ops.smoke.report import Report
from ops.smoke.sending import Sending
from ops.stacks import find
from ops.target import Target

INTERRUPTED = 130
EVENT_NAME = "custom_event_50"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    stack: str | None
    local: Path | None
    region: str | None
    profile: str | None
    url: str | None
    send: bool
    event_name: str
    timeout: float
    metrics_within: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps; return the exit status: 1 where one fails."""
    options = _parse(arguments)
    allow_any_text()
    try:
        return _run(options)
    except OpsError as exc:
        print(f"✗ {exc}", file=sys.stderr)
    except (BotoCoreError, ClientError) as exc:
        print(f"✗ {reason_of(exc)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted. What was sent is delivered all the same.", file=sys.stderr)
        return INTERRUPTED
    return 1


def _run(options: Options) -> int:
    settings = Settings(
        stack=options.stack,
        stack_file=options.local,
        region=options.region,
        profile=options.profile,
        url=options.url,
    )
    target = find(settings)
    api, report = Api.at(target.api_url), Report(_say)
    _say(f"The stack {target.name} at {api.url}. {_intention(options)}\n")
    Checks(target, api, options.event_name).take(report)
    if not options.send:
        _say(f"\n{report.summary()}. Nothing was sent and nothing booked; --send does.")
    elif report.has_failed:
        _say(f"\n{report.summary()}. Nothing was sent: an event would wait for what failed.")
    else:
        _send(options, target, api, report)
    return int(report.has_failed)


def _send(options: Options, target: Target, api: Api, report: Report) -> None:
    sending = Sending(
        target,
        api,
        options.event_name,
        within=options.timeout,
        metrics_within=options.metrics_within,
    )
    try:
        sending.take(report)
    finally:
        _say(f"\n{report.summary()}. {sending.remains()}")


def _intention(options: Options) -> str:
    if not options.send:
        return "Nothing is booked: each request is one that is refused, or a dry run."
    return (
        f"One event {options.event_name} goes to Cometly by each door: with do_not_capi, which "
        "keeps it from ad platforms, and an example.com address. That costs under a cent."
    )


def _say(text: str) -> None:
    print(text, flush=True)


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m ops.smoke",
        description="Tries a deployed stack, step by step. Without --send nothing is booked.",
    )
    parser.add_argument("stack", nargs="?", help="the name of the stack")
    parser.add_argument(
        "--local",
        nargs="?",
        type=Path,
        const=Checkout.here().stack_file,
        metavar="FILE",
        help="the stack that `make up` started here, instead of one in an account",
    )
    parser.add_argument("--region", help="the stack's Region")
    parser.add_argument("--profile", help="a profile of the AWS configuration")
    parser.add_argument("--url", help="where the API is, behind a domain of yours")
    parser.add_argument(
        "--send", action="store_true", help="send one event by each door to Cometly, and follow it"
    )
    parser.add_argument(
        "--event-name", default=EVENT_NAME, metavar="NAME", help="of these events (%(default)s)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait for Cometly's answers (%(default).0f)",
    )
    parser.add_argument(
        "--metrics-within",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="how long to wait for the metrics (%(default).0f)",
    )
    options = Options(**vars(parser.parse_args(arguments)))
    if (options.stack is None) == (options.local is None):
        parser.error("name a stack (make smoke STACK=...), or give --local")
    return options


if __name__ == "__main__":
    sys.exit(main())
