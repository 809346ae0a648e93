"""The AWS emulator as a service of this checkout's stack alone, with IAM enforced."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import sys
from pathlib import Path

from local import LOOPBACK
from local.stack.checkout import Checkout
from local.stack.environment import REGION, AwsEndpoint
from local.stack.ports import url_at
from local.stack.service import Service

NAME = "emulator"


def aws_at(port: int) -> AwsEndpoint:
    """Return the endpoint, and fresh keys for its root user."""
    return AwsEndpoint(
        endpoint_url=url_at(port),
        access_key_id=f"AKIA{secrets.token_hex(8).upper()}",
        secret_access_key=secrets.token_urlsafe(30),
    )


def service(checkout: Checkout, aws: AwsEndpoint, port: int) -> Service:
    """Return the emulator on `port`, after its folder and its functions' log were emptied."""
    data, functions_log = _fresh_folder(checkout.local / "emulator"), functions_log_of(checkout)
    functions_log.parent.mkdir(parents=True, exist_ok=True)
    functions_log.write_bytes(b"")
    command = [sys.executable, "-m", "local.stack.emulator_process"]
    return Service(
        name=NAME,
        command=[*command, str(_lambda_python(checkout)), str(functions_log)],
        env=_environment(data, port) | aws.variables(),
        checkout=checkout,
        url=aws.endpoint_url,
        ready_path="/_ministack/ready",
        ready_within=60.0,
    )


def functions_log_of(checkout: Checkout) -> Path:
    """Return the file with what the functions logged, as CloudWatch Logs has it too."""
    return checkout.logs / "functions.log"


def _environment(data: Path, port: int) -> dict[str, str]:
    """Return an environment with ports and folders that no other emulator uses.

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
        # No Docker daemon is needed, and the emulator would remove other people's containers.
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
