"""The smoke test, as an operator runs it, against a stack that works and one that does not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.stack.checkout import Checkout
from local.stack.deploy import STACK_NAME
from local.stack.environment import REGION
from tests.stack.deployed import Deployed

DOORS = ["HTTPS", "drop-in", "page", "topic", "bus"]
# The program, with less patience: the emulator's queue answers at once with all that it has.
PROGRAM = """
import sys
from ops.smoke import sending
sending._WAIT_SECONDS = 0
from ops.smoke.__main__ import main
sys.exit(main())
"""


def smoke(deployed: Deployed, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program against the local stack."""
    return run("--local", str(deployed.stack.checkout.stack_file), *arguments)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=Checkout.here().root,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def failed(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if line.startswith("✗")]


@contextlib.contextmanager
def paused(deployed: Deployed) -> Iterator[None]:
    """Let deliver take nothing from the event queue for a while."""
    client, queue = deployed.functions.client, deployed.queues.arn(deployed.queues.events_url)
    [mapping] = client.list_event_source_mappings(EventSourceArn=queue)["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


@contextlib.contextmanager
def with_token(deployed: Deployed, token: str) -> Iterator[None]:
    """Store another token for a while; no worker knows the one before."""
    arn = deployed.functions.variable("deliver", "COMETLY_TOKEN_SECRET_ARN")
    before = deployed.secrets.get_secret_value(SecretId=arn)["SecretString"]
    deployed.secrets.put_secret_value(SecretId=arn, SecretString=token)
    deployed.functions.restart("deliver")
    try:
        yield
    finally:
        deployed.secrets.put_secret_value(SecretId=arn, SecretString=before)
        deployed.functions.restart("deliver")


def test_a_stack_that_works_passes_and_nothing_is_booked(deployed: Deployed) -> None:
    done = smoke(deployed)

    assert (done.returncode, failed(done.stdout), done.stderr) == (0, [], "")
    assert "Nothing was sent and nothing booked" in done.stdout
    assert deployed.queues.waiting() == 0
    assert deployed.sandbox.requests() == []
    assert deployed.stack.plan.token not in done.stdout
    assert str(deployed.api.key) not in done.stdout


def test_when_sending_one_event_by_each_door_reaches_cometly_and_no_ad_platform(
    deployed: Deployed,
) -> None:
    done = smoke(deployed, "--send")

    assert (done.returncode, failed(done.stdout), done.stderr) == (0, [], "")
    events = [event["fields"] for event in deployed.sandbox.events()]
    assert {event["email"] for event in events} == {
        f"smoke-{door.lower()}@example.com" for door in DOORS
    }
    assert [event["do_not_capi"] for event in events] == [True] * len(DOORS)
    assert {event["event_name"] for event in events} == {"custom_event_50"}
    for door in DOORS:
        assert f"✓ {door}: Cometly takes the event: delivered" in done.stdout
    assert "What stays of 5 events" in done.stdout


def test_what_its_events_leave_on_the_dead_letter_queue_is_deleted_and_nothing_else(
    deployed: Deployed,
) -> None:
    deployed.queues.send('{"of": "somebody else"}', to=deployed.queues.dead_letters_url)
    deployed.sandbox.fail(
        kind="status", status=422, times="always", match={"email": "smoke-bus@example.com"}
    )

    done = smoke(deployed, "--send")

    assert done.returncode == 1
    [parked, deleted] = failed(done.stdout)
    assert parked.startswith("✗ bus: Cometly takes the event: parked: HTTP 422")
    assert deleted.startswith("✗ none of these events is parked: 1 were")
    assert "docs/operations.md#parked-events" in done.stdout
    [left] = deployed.queues.take_dead_letters()
    assert left.body == '{"of": "somebody else"}'


@pytest.mark.parametrize("arguments", [(), ("--send",)], ids=["looking", "sending"])
def test_a_mapping_that_is_off_is_found_and_nothing_is_sent(
    deployed: Deployed, arguments: tuple[str, ...]
) -> None:
    with paused(deployed):
        done = smoke(deployed, *arguments)
        waiting = deployed.queues.waiting()

    assert done.returncode == 1
    [line] = failed(done.stdout)
    assert line.startswith("✗ deliver takes from its queues")
    assert "cometly-forwarder resume" in line
    assert "Nothing was sent" in done.stdout
    assert waiting == 0


def test_a_token_that_was_never_stored_is_found_and_nothing_is_sent(deployed: Deployed) -> None:
    with with_token(deployed, "unset"):
        done = smoke(deployed, "--send")

    assert done.returncode == 1
    [line] = failed(done.stdout)
    assert line == "✗ Cometly's token is stored: none is stored yet"
    assert "docs/operations.md#the-token" in done.stdout
    assert deployed.sandbox.requests() == []


def test_a_token_that_cometly_refuses_shows_when_sending(deployed: Deployed) -> None:
    with with_token(deployed, "a-token-of-nobody"):
        done = smoke(deployed, "--send", "--timeout", "10")
        again = smoke(deployed)

    assert done.returncode == 1
    assert len([line for line in failed(done.stdout) if "Cometly takes the event" in line]) == 5
    assert "HTTP 401" in done.stdout
    assert "✗ delivery is not paused: blocked" in again.stdout
    # They would come back in a minute.
    deployed.queues.purge()


@pytest.mark.parametrize("name", ["no-such-stack", STACK_NAME], ids=["no stack", "not reachable"])
def test_what_can_be_expected_to_fail_is_said_in_a_sentence(deployed: Deployed, name: str) -> None:
    there = name == STACK_NAME
    variables = deployed.stack.plan.aws.variables()
    if there:
        variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"

    done = run(name, "--region", REGION, **variables)

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert ("cannot be reached" if there else f"There is no stack {name}") in done.stderr
