"""Bring a stack up, look after it, take it down."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import urllib3

from local.stack import (
    bytecode,
    cometly,
    deploy,
    emulator,
    ports,
    processes,
    shop,
    signals,
    template,
)
from local.stack.build import build_for_emulator, this_architecture
from local.stack.checkout import Checkout, read_json, write_json
from local.stack.console import say, step
from local.stack.environment import REGION, Aws
from local.stack.errors import StepFailed, UsageError
from local.stack.options import Options, fresh_token
from local.stack.ports import LOOPBACK
from local.stack.processes import Identity
from local.stack.samples import Answer, Sample, send

TAKES_EVENTS_WITHIN = 60.0
SUPERVISOR_ENDS_WITHIN = 40.0
_ROLES = ("emulator", "sandbox", "shop")


@dataclass(frozen=True)
class Plan:
    """The processes of a stack and what is between them; what a later `up` goes on with."""

    options: dict[str, Any]
    aws: Aws
    cometly_url: str
    token: str
    emulator: Identity
    sandbox: Identity | None
    shop_url: str
    shop: Identity

    @property
    def sandbox_url(self) -> str | None:
        return self.cometly_url if self.sandbox else None

    @property
    def alive(self) -> bool:
        started = (self.emulator, self.sandbox, self.shop)
        return all(process is None or process.alive for process in started)

    def record(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Stack:
    """A stack that takes events."""

    checkout: Checkout
    plan: Plan
    names: deploy.Deployed

    def record(self) -> dict[str, Any]:
        """Return what `.local/stack.json` holds."""
        aws, plan = self.plan.aws, self.plan
        return {
            **asdict(self.names),
            "collect_url": f"{self.names.api_url}/collect",
            "cometly_url": plan.cometly_url,
            "cometly_token": plan.token,
            "sandbox_url": plan.sandbox_url,
            "shop_url": plan.shop_url,
            "aws_endpoint_url": aws.endpoint_url,
            "aws_access_key_id": aws.access_key_id,
            "aws_secret_access_key": aws.secret_access_key,
            "region": REGION,
            "stack_name": deploy.STACK_NAME,
            "log": str(emulator.functions_log_of(self.checkout)),
            "pids": {
                "emulator": plan.emulator.pid,
                "sandbox": plan.sandbox.pid if plan.sandbox else None,
                "shop": plan.shop.pid,
            },
        }


@contextlib.contextmanager
def supervising(checkout: Checkout) -> Iterator[None]:
    """Hold this checkout alone; `down` elsewhere ends whoever holds it.

    Raises UsageError where another one does.
    """
    checkout.local.mkdir(parents=True, exist_ok=True)
    with (checkout.local / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            msg = "A `make run` or `make up` of this checkout is at work: stop it with `make down`."
            raise UsageError(msg) from exc
        me = Identity.of(os.getpid())
        _note(checkout, supervisor=me.record() if me else None)
        try:
            yield
        finally:
            _note(checkout, supervisor=None)


def bring_up(checkout: Checkout, options: Options) -> Stack:
    """Return a stack as asked for. Whatever goes wrong, nothing is left running."""
    known = template.parameters_of(checkout.template)
    overrides = template.parse_overrides(options.param, known)
    try:
        plan = _running(checkout, options) or _start(checkout, options)
        parameters = _parameters(plan, options, known) | overrides
        stack = _deploy(checkout, plan, parameters)
        with step("waiting until events are taken"):
            _wait_until_events_are_taken(stack)
        write_json(checkout.stack_file, stack.record())
    except BaseException:
        take_down(checkout)
        raise
    return stack


def take_down(checkout: Checkout) -> bool:
    """End the processes of this checkout's stack; return whether there were any."""
    with signals.deferred():
        checkout.stack_file.unlink(missing_ok=True)
        noted = _noted(checkout)
        stopped = [processes.stop_group(it) for it in _identities(noted, *_ROLES)]
        _note(checkout, **dict.fromkeys(_ROLES), plan=None, deployed=None)
        shutil.rmtree(checkout.local / "emulator", ignore_errors=True)
    return any(stopped)


def stop_supervisor(checkout: Checkout) -> bool:
    """End a `run` or an unfinished `up` of this checkout, with what it started."""
    others = [it for it in _identities(_noted(checkout), "supervisor") if it.pid != os.getpid()]
    running = [it for it in others if it.alive]
    for supervisor in running:
        if not processes.stop_alone(supervisor, grace=SUPERVISOR_ENDS_WITHIN):
            msg = f"Process {supervisor.pid} of this checkout does not end; end it by hand."
            raise StepFailed(msg)
    return bool(running)


def watch(stack: Stack) -> None:
    """Return never; raise StepFailed when a process of the stack has ended."""
    while True:
        if not stack.plan.emulator.alive:
            msg = "The emulator has ended."
            raise StepFailed(msg, log=emulator.log_of(stack.checkout))
        if stack.plan.sandbox and not stack.plan.sandbox.alive:
            msg = "The Cometly sandbox has ended."
            raise StepFailed(msg, log=cometly.log_of(stack.checkout))
        if not stack.plan.shop.alive:
            msg = "The demo shop has ended."
            raise StepFailed(msg, log=shop.log_of(stack.checkout))
        time.sleep(0.5)


def _running(checkout: Checkout, options: Options) -> Plan | None:
    """Return the stack that runs here with the same options; take down any other one."""
    plan = _noted_plan(_noted(checkout))
    if plan and plan.alive and plan.options == options.record():
        say("  running already: only what changed is built and deployed")
        return plan
    if take_down(checkout):
        say("  stopped the stack that ran with other options")
    return None


def _start(checkout: Checkout, options: Options) -> Plan:
    port = ports.choose(checkout, "emulator", wanted=options.port, taken=set())
    aws, token = emulator.aws_at(port), options.token or fresh_token()
    with step(f"emulator on port {port}"):
        with signals.deferred():
            emulator_process = emulator.start(checkout, aws, port)
            _note(checkout, emulator=emulator_process.record())
        url, sandbox = options.cometly_url, None
        if url is None:
            url, sandbox = _start_sandbox(checkout, options, token, taken={port})
        shop_url, shop_process = _start_shop(checkout, options, taken={port, _port_of(url)})
        emulator.wait_until_ready(checkout, aws, emulator_process)
    if sandbox:
        with step(f"Cometly sandbox at {url}"):
            cometly.wait_until_ready(checkout, url, sandbox)
    with step(f"demo shop at {shop_url}"):
        shop.wait_until_ready(checkout, shop_url, shop_process)
    plan = Plan(
        options=options.record(),
        aws=aws,
        cometly_url=url.rstrip("/"),
        token=token,
        emulator=emulator_process,
        sandbox=sandbox,
        shop_url=shop_url,
        shop=shop_process,
    )
    _note(checkout, plan=plan.record())
    return plan


def _start_sandbox(
    checkout: Checkout, options: Options, token: str, *, taken: set[int]
) -> tuple[str, Identity]:
    port = ports.choose(checkout, "sandbox", wanted=options.sandbox_port, taken=taken)
    with signals.deferred():
        sandbox = cometly.start(checkout, options, port=port, token=token)
        _note(checkout, sandbox=sandbox.record())
    return f"http://{LOOPBACK}:{port}", sandbox


def _start_shop(checkout: Checkout, options: Options, *, taken: set[int]) -> tuple[str, Identity]:
    port = ports.choose(checkout, "shop", wanted=options.shop_port, taken=taken)
    with signals.deferred():
        process = shop.start(checkout, port=port)
        _note(checkout, shop=process.record())
    return shop.url_at(port), process


def _port_of(url: str) -> int:
    return urllib3.util.parse_url(url).port or 0


def _parameters(plan: Plan, options: Options, known: frozenset[str]) -> dict[str, str]:
    rate = options.requests_per_minute
    return template.only_declared(
        {
            "Runtime": bytecode.this_runtime(),
            "Architecture": this_architecture(),
            # The phone number of Cometly's own guide is American and has no country code.
            "DefaultPhoneRegion": "US",
            "CometlyUrl": plan.cometly_url,
            "CometlyToken": plan.token,
            "AllowedOrigins": shop.origins_of(plan.shop_url),
            # The shop has no back end: its page sends the purchase.
            "BrowserEventNames": "*",
            "CometlyRequestsPerMinute": None if rate is None else str(rate),
        },
        known,
    )


def _deploy(checkout: Checkout, plan: Plan, parameters: Mapping[str, str]) -> Stack:
    """Build and deploy, each only where something changed."""
    with step("sam build"):
        digest = build_for_emulator(checkout)
    wanted = {"digest": digest, "parameters": dict(parameters)}
    if _noted(checkout).get("deployed") != wanted:
        with step("sam deploy"):
            deploy.deploy(checkout, plan.aws, parameters)
        _note(checkout, deployed=wanted)
    return Stack(checkout, plan, deploy.look_up(plan.aws))


def _wait_until_events_are_taken(stack: Stack) -> None:
    """Return when the API answers, and knows its key: an invalid event is refused as invalid."""
    probes = (
        (Sample("health", "GET", "/health", None), 200),
        (Sample("an empty event", "POST", "/v1/events", {}), 422),
    )
    for probe, expected in probes:
        _wait_for_status(stack, probe, expected)


def _wait_for_status(stack: Stack, probe: Sample, expected: int) -> None:
    deadline = time.monotonic() + TAKES_EVENTS_WITHIN
    while True:
        answer = _try(stack, probe)
        if isinstance(answer, Answer) and answer.status == expected:
            return
        # Only what may yet change is asked again.
        final = isinstance(answer, Answer) and answer.status < 500 and answer.status != 404
        if final or time.monotonic() > deadline or not stack.plan.alive:
            came = answer.text if isinstance(answer, Answer) else answer
            msg = f"{probe.method} {probe.path} should be answered {expected}; it was: {came}"
            raise StepFailed(msg, log=emulator.functions_log_of(stack.checkout))
        time.sleep(0.5)


def _try(stack: Stack, probe: Sample) -> Answer | str:
    try:
        return send(probe, stack.names.api_url, stack.names.server_key)
    except urllib3.exceptions.HTTPError as exc:
        return str(exc)


def _noted(checkout: Checkout) -> dict[str, Any]:
    return read_json(checkout.processes_file) or {}


def _note(checkout: Checkout, **changes: object) -> None:
    """Keep on file what runs, from the moment it runs: a later `down` must find it."""
    write_json(checkout.processes_file, _noted(checkout) | changes)


def _identities(noted: Mapping[str, Any], *roles: str) -> list[Identity]:
    found = [Identity.read(noted.get(role)) for role in roles]
    return [identity for identity in found if identity]


def _noted_plan(noted: Mapping[str, Any]) -> Plan | None:
    plan = noted.get("plan")
    if not isinstance(plan, dict):
        return None
    process, shop_process = Identity.read(plan["emulator"]), Identity.read(plan.get("shop"))
    if process is None or shop_process is None:
        return None
    return Plan(
        options=plan["options"],
        aws=Aws(**plan["aws"]),
        cometly_url=plan["cometly_url"],
        token=plan["token"],
        emulator=process,
        sandbox=Identity.read(plan["sandbox"]),
        shop_url=plan["shop_url"],
        shop=shop_process,
    )
