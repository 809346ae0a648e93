"""`python -m local.stack run|up|down`: behind `make run`, `make up` and `make down`."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time

from local.stack import deploy, samples, signals, sources
from local.stack.checkout import Checkout
from local.stack.console import complain, say, step, table
from local.stack.environment import isolate_this_process
from local.stack.errors import StackError, UsageError
from local.stack.lifecycle import (
    Stack,
    bring_up,
    stop_supervisor,
    supervising,
    take_down,
    watch,
)
from local.stack.options import Options, parse

INTERRUPTED = 130


def main() -> int:
    """Do as the command line says; return the exit status."""
    checkout = Checkout.here()
    try:
        command, options = parse()
        isolate_this_process(checkout)
        with signals.interrupting():
            return _COMMANDS[command](checkout, options)
    except StackError as error:
        complain(error)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def run(checkout: Checkout, options: Options) -> int:
    """Start, post the samples, stay until Ctrl-C, stop everything."""
    began = time.monotonic()
    with supervising(checkout):
        try:
            stack = bring_up(checkout, options)
            _post_samples(stack)
            say(f"\nReady after {time.monotonic() - began:.0f} s. Ctrl-C stops everything.\n")
            say(_how_to_call(stack))
            _watch_until_interrupted(stack)
        finally:
            with signals.ignored(), step("stopping"):
                take_down(checkout)
    return 0


def up(checkout: Checkout, options: Options) -> int:
    """Start in the background."""
    with supervising(checkout):
        stack = bring_up(checkout, options)
    say(f"\nReady: an event posted now is taken. `make down` stops it.\n\n{_how_to_call(stack)}")
    return 0


def down(checkout: Checkout, _: Options) -> int:
    """Stop what runs here, in the foreground of another terminal or in the background."""
    stopped = [stop_supervisor(checkout), take_down(checkout)]
    say("Stopped." if any(stopped) else "Nothing is running here.")
    return 0


_COMMANDS = {"run": run, "up": up, "down": down}


def _post_samples(stack: Stack) -> None:
    found = samples.read_all(stack.checkout.samples)
    published = sources.read_all(stack.checkout.samples.parent)
    aws = stack.plan.aws
    publisher = sources.Publisher(deploy.session_for(aws), aws.endpoint_url, stack.names)
    with step(f"posting and publishing {len(found) + len(published)} samples of events/"):
        rows = list(
            samples.rows(
                found,
                api_url=stack.names.api_url,
                server_key=stack.names.server_key,
                sandbox_url=stack.plan.sandbox_url,
            )
        )
        rows += sources.rows(published, publisher, stack.plan.sandbox_url)
    say(f"\n{table([samples.HEADING, *rows])}")


def _how_to_call(stack: Stack) -> str:
    url, key = stack.names.api_url, stack.names.server_key
    header = shlex.quote(f"Authorization: Bearer {key}")
    body = '{"event_name": "lead_generated", "email": "ada@example.com"}'
    sandbox = stack.plan.sandbox_url
    return "\n".join(
        [
            *([f"  Events Log  {sandbox}/", ""] if sandbox else []),
            f"  API   {url}",
            f"  key   {key}",
            f"  to    {stack.plan.cometly_url}" + (" (the sandbox)" if stack.plan.sandbox else ""),
            f"  shop  {stack.plan.shop_url}",
            f"  logs  {stack.checkout.logs}",
            f"  for scripts: {stack.checkout.stack_file}",
            "",
            f"  curl -i {shlex.quote(url + '/v1/events')} -H {header} \\",
            f"    -H 'Content-Type: application/json' -d '{body}'",
        ]
    )


def _watch_until_interrupted(stack: Stack) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        watch(stack)


if __name__ == "__main__":
    sys.exit(main())
