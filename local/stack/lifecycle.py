"""Bring a stack up, look after it, take it down."""

from __future__ import annotations

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
    cometly,
    deploy,
    emulator,
    ports,
    processes,
    shop,
    signals,
    template,
)
from local.stack.build import build_for_emulator, this_architecture, this_runtime
from local.stack.checkout import Checkout, read_json, write_json
from local.stack.console import say, step
from local.stack.environment import REGION, AwsEndpoint
from local.stack.errors import StepFailed, UsageError
from local.stack.options import Options, fresh_token
from local.stack.processes import Identity
from local.stack.samples import Response, Sample, send
from local.stack.service import Service, ended

TAKES_EVENTS_WITHIN = 60.0
SUPERVISOR_ENDS_WITHIN = 40.0
_SERVICES = (emulator.NAME, cometly.NAME, shop.NAME)


@dataclass(frozen=True, slots=True)
class Plan:
    """The services of a stack and what is between them; what a later `up` goes on with."""

    options: dict[str, Any]
    aws: AwsEndpoint
    cometly_url: str
    token: str
    shop_url: str
    processes: Mapping[str, Identity]
    """By the service's name. Without a sandbox, events go to another Cometly."""

    @classmethod
    def read(cls, record: Any) -> Plan | None:
        """Read what `record` wrote; None for anything else."""
        try:
            running = {name: Identity(**it) for name, it in record["processes"].items()}
            return cls(**record | {"aws": AwsEndpoint(**record["aws"]), "processes": running})
        except (KeyError, TypeError):
            return None

    @property
    def sandbox(self) -> Identity | None:
        return self.processes.get(cometly.NAME)

    @property
    def sandbox_url(self) -> str | None:
        return self.cometly_url if self.sandbox else None

    @property
    def ended(self) -> list[str]:
        """The services that have ended."""
        return [name for name, process in self.processes.items() if not process.alive]

    def record(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that takes events."""

    checkout: Checkout
    plan: Plan
    names: deploy.Deployed

    def record(self) -> dict[str, Any]:
        """Return what `.local/stack.json` holds."""
        aws, plan = self.plan.aws, self.plan
        pids = {name: process.pid for name, process in plan.processes.items()}
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
            "pids": {name: pids.get(name) for name in _SERVICES},
        }


@contextlib.contextmanager
def supervising(checkout: Checkout) -> Iterator[None]:
    """Hold the lock of this checkout; `down` in another terminal ends its holder.

    Raises UsageError where another one does.
    """
    checkout.local.mkdir(parents=True, exist_ok=True)
    with (checkout.local / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise UsageError(
                "A `make run` or `make up` of this checkout is at work: stop it with `make down`."
            ) from exc
        me = Identity.of(os.getpid())
        _update_state(checkout, supervisor=me.record() if me else None)
        try:
            yield
        finally:
            _update_state(checkout, supervisor=None)


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
        stopped = [processes.stop_group(it) for it in _recorded(checkout, *_SERVICES)]
        _update_state(checkout, **dict.fromkeys(_SERVICES), plan=None, deployed=None)
        shutil.rmtree(checkout.local / "emulator", ignore_errors=True)
    return any(stopped)


def stop_supervisor(checkout: Checkout) -> bool:
    """End a `run` or an unfinished `up` of this checkout, with what it started."""
    others = [it for it in _recorded(checkout, "supervisor") if it.pid != os.getpid()]
    running = [it for it in others if it.alive]
    for supervisor in running:
        if not processes.stop_alone(supervisor, grace=SUPERVISOR_ENDS_WITHIN):
            raise StepFailed(
                f"Process {supervisor.pid} of this checkout does not end; end it by hand."
            )
    return bool(running)


def watch(stack: Stack) -> None:
    """Return never; raise StepFailed when a service of the stack has ended."""
    while not (names := stack.plan.ended):
        time.sleep(0.5)
    raise ended(stack.checkout, names[0])


def start(checkout: Checkout, service: Service) -> Identity:
    """Start a service, and keep it on file from that moment: a later `down` must find it."""
    with signals.deferred():
        process = service.start()
        _update_state(checkout, **{service.name: process.record()})
    return process


def _running(checkout: Checkout, options: Options) -> Plan | None:
    """Return the stack that runs here with the same options; take down any other one."""
    plan = Plan.read(_state(checkout).get("plan"))
    if plan and not plan.ended and plan.options == options.record():
        say("  running already: only what changed is built and deployed")
        return plan
    if take_down(checkout):
        say("  stopped the stack that ran with other options")
    return None


def _start(checkout: Checkout, options: Options) -> Plan:
    """Start the services side by side, and wait for each."""
    port = ports.choose(checkout, emulator.NAME, wanted=options.port, taken=set())
    aws, token = emulator.aws_at(port), options.token or fresh_token()
    services = [emulator.service(checkout, aws, port)]
    if not (url := options.cometly_url):
        services.append(_sandbox(checkout, options, token, taken={port}))
        url = services[-1].url
    taken = {port, urllib3.util.parse_url(url).port or 0}
    shop_port = ports.choose(checkout, shop.NAME, wanted=options.shop_port, taken=taken)
    services.append(shop.service(checkout, port=shop_port))
    plan = Plan(
        options=options.record(),
        aws=aws,
        cometly_url=url.rstrip("/"),
        token=token,
        shop_url=services[-1].url,
        processes=_started(checkout, services),
    )
    _update_state(checkout, plan=plan.record())
    return plan


def _sandbox(checkout: Checkout, options: Options, token: str, *, taken: set[int]) -> Service:
    port = ports.choose(checkout, cometly.NAME, wanted=options.sandbox_port, taken=taken)
    return cometly.service(checkout, options, port=port, token=token)


def _started(checkout: Checkout, services: list[Service]) -> dict[str, Identity]:
    running = {service.name: start(checkout, service) for service in services}
    for service in services:
        with step(f"{service.name} at {service.url}"):
            service.wait_until_ready(running[service.name])
    return running


def _parameters(plan: Plan, options: Options, known: frozenset[str]) -> dict[str, str]:
    rate = options.requests_per_minute
    return template.only_declared(
        {
            "Runtime": this_runtime(),
            "Architecture": this_architecture(),
            # The phone number of Cometly's own guide is American and has no country code.
            "DefaultPhoneRegion": "US",
            "CometlyUrl": plan.cometly_url,
            # Whoever tries something waits for it. (The emulator gathers nothing anyway.)
            "BatchingWindowSeconds": "0",
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
    if _state(checkout).get("deployed") != wanted:
        with step("sam deploy"):
            deploy.deploy(checkout, plan.aws, parameters)
            deploy.store_token(plan.aws, plan.token)
        _update_state(checkout, deployed=wanted)
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
        response = _try(stack, probe)
        if isinstance(response, Response) and response.status == expected:
            return
        # Only what may yet change is asked again.
        final = isinstance(response, Response) and response.status < 500 and response.status != 404
        if final or time.monotonic() > deadline or stack.plan.ended:
            came = response.text if isinstance(response, Response) else response
            raise StepFailed(
                f"{probe.method} {probe.path} should be answered {expected}; it was: {came}",
                log=emulator.functions_log_of(stack.checkout),
            )
        time.sleep(0.5)


def _try(stack: Stack, probe: Sample) -> Response | str:
    try:
        return send(probe, stack.names.api_url, stack.names.server_key)
    except urllib3.exceptions.HTTPError as exc:
        return str(exc)


def _state(checkout: Checkout) -> dict[str, Any]:
    """Return what is on file of a stack: each process, the plan, and what is deployed."""
    return read_json(checkout.processes_file) or {}


def _update_state(checkout: Checkout, **changes: object) -> None:
    write_json(checkout.processes_file, _state(checkout) | changes)


def _recorded(checkout: Checkout, *names: str) -> list[Identity]:
    state = _state(checkout)
    return [it for name in names if (it := Identity.read(state.get(name)))]
