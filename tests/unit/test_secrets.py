"""The callers' keys and Cometly's token: cached, rotated, and away."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from cometly_forwarder.errors import TokenMissing, Unavailable
from cometly_forwarder.secrets import (
    MAX_AGE_SECONDS,
    MIN_AGE_SECONDS,
    CometlyToken,
    Secret,
    ServerKeys,
)
from cometly_forwarder.stopwatch import Stopwatch
from tests.unit.conftest import Aws
from tests.unit.fakes import Clock


@dataclass
class FakeSecretsManager:
    """Holds one secret; counts how often it is read, and can be away."""

    value: str = field(repr=False)
    away: Exception | None = None
    slow: bool = False
    reads: int = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - AWS's name
        assert SecretId == "arn:secret"
        self.reads += 1
        if self.slow:
            time.sleep(0.05)
        if self.away:
            raise self.away
        return {"SecretString": self.value}


AWAY = [
    pytest.param(
        ClientError({"Error": {"Code": "ThrottlingException"}}, "GetSecretValue"), id="throttled"
    ),
    pytest.param(ConnectTimeoutError(endpoint_url="https://secrets.example.com"), id="time-out"),
]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager() -> FakeSecretsManager:
    return FakeSecretsManager("s")


@pytest.fixture
def secret(manager: FakeSecretsManager, clock: Clock) -> Secret:
    return Secret(manager, "arn:secret", clock.now)  # type: ignore[arg-type]


def keys_of(current: object = "", previous: object = "") -> str:
    return json.dumps({"current": current, "previous": previous})


# --- One secret -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "value"), [(MAX_AGE_SECONDS - 1, "s"), (MAX_AGE_SECONDS, "new")], ids=["young", "old"]
)
def test_a_secret_is_kept_until_it_is_old(
    age: float, value: str, manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    secret.value()

    manager.value = "new"
    clock.time += age

    assert secret.value() == value


@pytest.mark.parametrize("error", AWAY)
def test_the_cached_value_goes_on_while_secrets_manager_is_away(
    error: Exception, manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    secret.value()

    manager.away = error
    clock.time += MAX_AGE_SECONDS

    assert secret.value() == "s"


@pytest.mark.parametrize("error", AWAY)
def test_a_first_failure_is_remembered_for_a_moment_only(
    error: Exception, manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    manager.away = error
    for _ in range(10):
        with pytest.raises(Unavailable):
            secret.value()
    reads = manager.reads

    manager.away = None
    clock.time += 1

    assert reads == 1
    assert secret.value() == "s"


def test_a_secret_never_shows_in_its_repr(manager: FakeSecretsManager, secret: Secret) -> None:
    manager.value = "hidden"
    secret.value()

    assert "hidden" not in repr(CometlyToken(secret))


def test_a_secret_that_is_not_text_is_unavailable(aws_stack: Aws, clock: Clock) -> None:
    arn = aws_stack.secrets.create_secret(Name="binary", SecretBinary=b"\x00")["ARN"]

    with pytest.raises(Unavailable):
        Secret(aws_stack.secrets, arn, clock.now).value()


def test_threads_that_need_a_secret_at_once_share_one_reading(
    manager: FakeSecretsManager, secret: Secret
) -> None:
    manager.slow = True

    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(lambda _: secret.value(), range(8)))

    assert values == ["s"] * 8
    assert manager.reads == 1


# --- The callers' keys ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(keys_of("one", "two"), id="another key"),
        pytest.param(keys_of("", ""), id="no key at all"),
        pytest.param(keys_of(None, 5), id="keys of other types"),
        pytest.param("{}", id="an empty object"),
        pytest.param('["three"]', id="an array"),
        pytest.param('{"next": "three"}', id="another name"),
    ],
)
@pytest.mark.parametrize("key", ["three", "", "on", "onetwo", "ONE", "None", "5", "one\ud800"])
def test_no_other_key_is_admitted(
    stored: str, key: str, manager: FakeSecretsManager, secret: Secret
) -> None:
    manager.value = stored

    assert not ServerKeys(secret).admit(key)


def test_keys_that_are_not_json_are_unavailable_and_not_quoted(
    manager: FakeSecretsManager, secret: Secret
) -> None:
    manager.value = "hidden"

    with pytest.raises(Unavailable) as failure:
        ServerKeys(secret).admit("hidden")

    assert "hidden" not in str(failure.value)


def test_a_key_made_just_now_is_admitted_at_once_and_the_one_before_too(
    manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    manager.value = keys_of("old")
    keys = ServerKeys(secret)
    keys.admit("old")

    manager.value = keys_of("new", "old")
    clock.time += MIN_AGE_SECONDS

    assert keys.admit("new")
    assert keys.admit("old")
    assert manager.reads == 2


def test_wrong_keys_do_not_have_the_secret_read_each_time(
    manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    manager.value = keys_of("one")

    for _ in range(100):
        ServerKeys(secret).admit("wrong")
        clock.time += MIN_AGE_SECONDS / 10

    assert manager.reads <= 11


@pytest.mark.parametrize(
    ("by_wall", "by_monotonic"),
    [
        pytest.param(MAX_AGE_SECONDS, 0.0, id="frozen"),
        pytest.param(MAX_AGE_SECONDS - 3600, MAX_AGE_SECONDS, id="put back by an hour"),
    ],
)
def test_a_key_taken_away_is_refused_in_time_whichever_clock_is_wrong(
    by_wall: float, by_monotonic: float, manager: FakeSecretsManager, secret: Secret
) -> None:
    wall, monotonic = Clock(), Clock()
    secret.now = Stopwatch(wall.now, monotonic.now)
    manager.value = keys_of("old")
    keys = ServerKeys(secret)
    keys.admit("old")

    manager.value = keys_of("new")
    wall.time += by_wall
    monotonic.time += by_monotonic

    assert not keys.admit("old")


# --- Cometly's token --------------------------------------------------------------------------


@pytest.mark.parametrize("stored", ["unset", "", "unset\n", "two words"], ids=repr)
def test_a_token_that_is_missing_is_found_soon_after_it_is_stored(
    stored: str, manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    manager.value = stored
    with pytest.raises(TokenMissing):
        CometlyToken(secret).current()

    manager.value = "token-1\n"
    clock.time += MIN_AGE_SECONDS

    assert CometlyToken(secret).current() == "token-1"


@pytest.mark.parametrize(
    ("stored", "renewed"),
    [
        pytest.param("new", "new", id="another"),
        pytest.param("s", None, id="the same"),
        pytest.param("unset", None, id="taken away"),
        pytest.param(" ", None, id="blank"),
    ],
)
def test_a_rejected_token_is_replaced_by_another_one_alone(
    stored: str, renewed: str | None, manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    secret.value()

    manager.value = stored
    clock.time += MIN_AGE_SECONDS

    assert CometlyToken(secret).renewed("s") == renewed


def test_a_post_that_was_late_with_the_old_token_gets_the_new_one_without_a_reading(
    manager: FakeSecretsManager, secret: Secret
) -> None:
    secret.value()

    assert CometlyToken(secret).renewed("old") == "s"
    assert manager.reads == 1


def test_many_rejections_at_once_do_not_have_the_secret_read_each_time(
    manager: FakeSecretsManager, secret: Secret, clock: Clock
) -> None:
    """The posts of a batch get their 401s together."""
    secret.value()
    clock.time += MIN_AGE_SECONDS

    for _ in range(100):
        CometlyToken(secret).renewed("s")

    assert manager.reads == 2
