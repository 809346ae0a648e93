"""The AWS emulator as a process of this checkout alone, with IAM enforced."""

import os
import secrets
import shlex
import shutil
import sys
import time
from pathlib import Path

import urllib3

from local.stack import processes
from local.stack.checkout import Checkout
from local.stack.environment import REGION, Aws
from local.stack.errors import StepFailed
from local.stack.ports import LOOPBACK
from local.stack.processes import Identity

READY_WITHIN = 60.0


def aws_at(port: int) -> Aws:
    """Return the endpoint, and fresh keys for its root user."""
    return Aws(
        endpoint_url=f"http://{LOOPBACK}:{port}",
        access_key_id=f"AKIA{secrets.token_hex(8).upper()}",
        secret_access_key=secrets.token_urlsafe(30),
    )


def start(checkout: Checkout, aws: Aws, port: int) -> Identity:
    """Start the emulator on `port`; it is not ready yet."""
    data = _fresh_folder(checkout.local / "emulator")
    functions_log_of(checkout).parent.mkdir(parents=True, exist_ok=True)
    functions_log_of(checkout).write_bytes(b"")
    return processes.start(
        [sys.executable, "-m", "local.stack.emulator_process"]
        + [str(_lambda_python(checkout)), str(functions_log_of(checkout))],
        env=_environment(data, port) | aws.variables(),
        cwd=checkout.root,
        log=log_of(checkout),
    )


def log_of(checkout: Checkout) -> Path:
    """Return the log of the emulator itself."""
    return checkout.logs / "emulator.log"


def functions_log_of(checkout: Checkout) -> Path:
    """Return the file with what the functions logged, as CloudWatch Logs has it too."""
    return checkout.logs / "functions.log"


def wait_until_ready(checkout: Checkout, aws: Aws, process: Identity) -> None:
    """Return when the emulator answers; raise StepFailed when it died or took too long."""
    deadline = time.monotonic() + READY_WITHIN
    with urllib3.PoolManager(timeout=2.0, retries=False) as http:
        while not _answers(http, f"{aws.endpoint_url}/_ministack/ready"):
            if not process.alive:
                msg = "The emulator ended before it was ready."
                raise StepFailed(msg, log=log_of(checkout))
            if time.monotonic() > deadline:
                msg = f"The emulator was not ready within {READY_WITHIN:.0f} s."
                raise StepFailed(msg, log=log_of(checkout))
            time.sleep(0.1)


def _answers(http: urllib3.PoolManager, url: str) -> bool:
    try:
        return http.request("GET", url).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _environment(data: Path, port: int) -> dict[str, str]:
    """Every port and folder that the emulator would otherwise share with its like.

    Its Lambda workers inherit this environment, so it has nothing of the developer's.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(data),
        "TMPDIR": str(_fresh_folder(data / "tmp")),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_REGION": REGION,
        "AUTH": "true",
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "STATE_DIR": str(data / "state"),
        "S3_DATA_DIR": str(data / "s3"),
        "LAMBDA_EXECUTOR": "local",
        # Further listeners, on ports of their own: not needed here.
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # A Docker daemon is neither needed nor to be swept of other people's containers.
        "DOCKER_HOST": f"unix://{data / 'no-docker.sock'}",
        "NO_PROXY": f"{LOOPBACK},localhost",
    }


def _lambda_python(checkout: Checkout) -> Path:
    """Write the interpreter that functions run on: ours, without the packages of `.venv`.

    A package that is missing from the artefact is missing here too, as it would be on AWS.
    """
    script = checkout.local / "bin" / "lambda-python"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -B -s -S "$@"\n', "utf-8")
    script.chmod(0o755)
    return script


def _fresh_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
