"""The callers' keys are rotated without a deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from local.stack import deploy
from tests.stack.deployed import Deployed, eventually


@dataclass(frozen=True)
class Keys:
    """The secret of the callers' keys."""

    deployed: Deployed
    arn: str

    def store(self, *, current: str, previous: str) -> None:
        value = json.dumps({"current": current, "previous": previous})
        self.deployed.secrets.put_secret_value(SecretId=self.arn, SecretString=value)

    def is_valid(self, key: str) -> bool:
        """Post an event that is no event: a valid key is told so, any other one nothing."""
        return self.deployed.api.with_key(key).post({}).status == 422


@pytest.fixture
def keys(deployed: Deployed) -> Iterator[Keys]:
    """The secret, put back at the end."""
    arn = deployed.functions.variable("ingest", "SERVER_KEYS_SECRET_ARN")
    before = deployed.secrets.get_secret_value(SecretId=arn)["SecretString"]
    yield Keys(deployed, arn)
    deployed.secrets.put_secret_value(SecretId=arn, SecretString=before)
    deployed.functions.restart("ingest")


def test_after_a_rotation_the_new_key_and_the_old_one_are_valid(
    deployed: Deployed, keys: Keys
) -> None:
    old = str(deployed.api.key)

    keys.store(current="the-new-key", previous=old)
    deployed.functions.restart("ingest")

    assert keys.is_valid("the-new-key")
    assert keys.is_valid(old)
    assert not keys.is_valid("another-key")


def test_a_key_that_was_removed_is_refused_once_workers_read_the_keys_again(
    deployed: Deployed, keys: Keys
) -> None:
    old = str(deployed.api.key)
    assert keys.is_valid(old)

    keys.store(current="the-new-key", previous="")

    # The new key, unknown as yet, has them read again.
    eventually(lambda: keys.is_valid("the-new-key"), bool)
    assert not keys.is_valid(old)


def test_a_deployment_leaves_the_stored_token_and_the_keys_alone(
    deployed: Deployed, keys: Keys
) -> None:
    """The emulator, as CloudFormation, writes a secret that has changed in the template."""
    token = deployed.functions.variable("deliver", "COMETLY_TOKEN_SECRET_ARN")
    stored = deployed.secrets.get_secret_value(SecretId=token)["SecretString"]
    keys.store(current="rotated", previous="")
    deployed.secrets.put_secret_value(SecretId=token, SecretString="a-new-token")

    with deployed.with_parameter("OtherRequestsPerSecond", "6"):
        after = [
            deployed.secrets.get_secret_value(SecretId=arn)["SecretString"]
            for arn in (token, keys.arn)
        ]
    deploy.store_token(deployed.stack.plan.aws, "the-first-token")
    in_the_end = deployed.secrets.get_secret_value(SecretId=token)["SecretString"]
    deployed.secrets.put_secret_value(SecretId=token, SecretString=stored)

    assert after == ["a-new-token", '{"current": "rotated", "previous": ""}']
    assert in_the_end == "a-new-token"
