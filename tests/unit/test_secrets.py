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
from tests.unit.conftest import SERVER_KEY, Aws
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
    pytest.param(
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue"), id="denied"
    ),
    pytest.param(ConnectTimeoutError(endpoint_url="https://secrets.example.com"), id="time-out"),
]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def a_secret(manager: FakeSecretsManager, clock: Clock) -> Secret:
    return Secret(manager, "arn:secret", clock.now)  # type: ignore[arg-type]


def keys_of(current: object = "", previous: object = "") -> str:
    return json.dumps({"current": current, "previous": previous})


# --- One secret -------------------------------------------------------------------------------


def test_a_secret_is_read_once_and_kept(clock: Clock) -> None:
    manager = FakeSecretsManager("s")
    secret = a_secret(manager, clock)

    values = [secret.value() for _ in range(3)]

    assert values == ["s", "s", "s"]
    assert manager.reads == 1


@pytest.mark.parametrize(
    ("age", "value"), [(MAX_AGE_SECONDS - 1, "old"), (MAX_AGE_SECONDS, "new")], ids=["young", "old"]
)
def test_a_secret_is_read_again_when_it_is_old(age: float, value: str, clock: Clock) -> None:
    manager = FakeSecretsManager("old")
    secret = a_secret(manager, clock)
    secret.value()

    manager.value = "new"
    clock.time += age

    assert secret.value() == value


@pytest.mark.parametrize("error", AWAY)
def test_the_cached_value_goes_on_while_secrets_manager_is_away(
    error: Exception, clock: Clock
) -> None:
    manager = FakeSecretsManager("s")
    secret = a_secret(manager, clock)
    secret.value()

    manager.away = error
    clock.time += MAX_AGE_SECONDS

    assert secret.value() == "s"


@pytest.mark.parametrize("error", AWAY)
def test_without_a_value_there_is_none_to_give(error: Exception, clock: Clock) -> None:
    manager = FakeSecretsManager("s", away=error)
    secret = a_secret(manager, clock)

    with pytest.raises(Unavailable):
        secret.value()
    manager.away = None
    clock.time += 1

    # A first failure is remembered for a moment only.
    assert secret.value() == "s"


def test_a_secret_never_shows_in_its_repr(clock: Clock) -> None:
    secret = a_secret(FakeSecretsManager("hidden"), clock)
    secret.value()

    assert "hidden" not in repr(CometlyToken(secret))


def test_a_secret_is_read_from_secrets_manager(aws_stack: Aws, clock: Clock) -> None:
    keys = ServerKeys(Secret(aws_stack.secrets, aws_stack.keys_secret_arn, clock.now))

    assert keys.admit(SERVER_KEY)


def test_a_secret_that_is_not_text_is_unavailable(aws_stack: Aws, clock: Clock) -> None:
    arn = aws_stack.secrets.create_secret(Name="binary", SecretBinary=b"\x00")["ARN"]

    with pytest.raises(Unavailable):
        Secret(aws_stack.secrets, arn, clock.now).value()


# --- The callers' keys ------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["one", "two"], ids=["current", "previous"])
def test_both_keys_are_admitted(key: str, clock: Clock) -> None:
    manager = FakeSecretsManager(keys_of("one", "two"))

    assert ServerKeys(a_secret(manager, clock)).admit(key)
    assert manager.reads == 1


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(keys_of("one", "two"), id="another key"),
        pytest.param(keys_of("", ""), id="no key at all"),
        pytest.param(keys_of(None, 5), id="keys of other types"),
        pytest.param("{}", id="an empty object"),
        pytest.param('"three"', id="a bare text"),
        pytest.param('["three"]', id="an array"),
        pytest.param('{"next": "three"}', id="another name"),
    ],
)
@pytest.mark.parametrize("key", ["three", "", "on", "onetwo", "ONE", "None", "5", "öné"])
def test_no_other_key_is_admitted(stored: str, key: str, clock: Clock) -> None:
    assert not ServerKeys(a_secret(FakeSecretsManager(stored), clock)).admit(key)


def test_a_key_that_is_no_unicode_is_not_admitted(clock: Clock) -> None:
    keys = ServerKeys(a_secret(FakeSecretsManager(keys_of("one")), clock))

    assert not keys.admit("one\ud800")


def test_keys_that_are_not_json_are_unavailable_and_not_quoted(clock: Clock) -> None:
    keys = ServerKeys(a_secret(FakeSecretsManager("hidden"), clock))

    with pytest.raises(Unavailable) as failure:
        keys.admit("hidden")

    assert "hidden" not in str(failure.value)


def test_a_key_made_just_now_is_admitted_at_once(clock: Clock) -> None:
    manager = FakeSecretsManager(keys_of("old"))
    keys = ServerKeys(a_secret(manager, clock))
    keys.admit("old")

    manager.value = keys_of("new", "old")
    clock.time += MIN_AGE_SECONDS

    assert keys.admit("new")
    assert keys.admit("old")


def test_a_key_taken_away_is_refused_after_a_while(clock: Clock) -> None:
    manager = FakeSecretsManager(keys_of("old"))
    keys = ServerKeys(a_secret(manager, clock))
    keys.admit("old")

    manager.value = keys_of("new")
    clock.time += MAX_AGE_SECONDS

    assert not keys.admit("old")


def test_wrong_keys_do_not_have_the_secret_read_each_time(clock: Clock) -> None:
    manager = FakeSecretsManager(keys_of("one"))
    keys = ServerKeys(a_secret(manager, clock))

    for _ in range(100):
        keys.admit("wrong")
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
    by_wall: float, by_monotonic: float
) -> None:
    wall, monotonic = Clock(), Clock()
    manager = FakeSecretsManager(keys_of("old"))
    stopwatch = Stopwatch(wall.now, monotonic.now)
    keys = ServerKeys(Secret(manager, "arn:secret", stopwatch))  # type: ignore[arg-type]
    keys.admit("old")

    manager.value = keys_of("new")
    wall.time += by_wall
    monotonic.time += by_monotonic

    assert not keys.admit("old")


# --- Cometly's token --------------------------------------------------------------------------


def test_the_token_is_given_without_the_line_break_of_a_file(clock: Clock) -> None:
    assert CometlyToken(a_secret(FakeSecretsManager("token-1\n"), clock)).current() == "token-1"


@pytest.mark.parametrize("stored", ["unset", "", " \n", "unset\n"], ids=repr)
def test_as_long_as_no_token_is_stored_it_is_missing(stored: str, clock: Clock) -> None:
    with pytest.raises(TokenMissing):
        CometlyToken(a_secret(FakeSecretsManager(stored), clock)).current()


def test_a_token_that_was_missing_is_found_soon_after_it_is_stored(clock: Clock) -> None:
    manager = FakeSecretsManager("unset")
    token = CometlyToken(a_secret(manager, clock))
    with pytest.raises(TokenMissing):
        token.current()

    manager.value = "token-1"
    clock.time += MIN_AGE_SECONDS

    assert token.current() == "token-1"


def test_a_rejected_token_is_read_again(clock: Clock) -> None:
    manager = FakeSecretsManager("old")
    token = CometlyToken(a_secret(manager, clock))
    token.current()

    manager.value = "new"
    clock.time += MIN_AGE_SECONDS

    assert token.renewed("old") == "new"
    assert token.current() == "new"


def test_a_rejected_token_that_is_still_the_stored_one_is_not_another(clock: Clock) -> None:
    token = CometlyToken(a_secret(FakeSecretsManager("old"), clock))
    token.current()
    clock.time += MIN_AGE_SECONDS

    assert token.renewed("old") is None


@pytest.mark.parametrize("stored", ["unset", "", " "], ids=repr)
def test_a_token_that_was_taken_away_is_not_another(stored: str, clock: Clock) -> None:
    manager = FakeSecretsManager("old")
    token = CometlyToken(a_secret(manager, clock))
    token.current()

    manager.value = stored
    clock.time += MIN_AGE_SECONDS

    assert token.renewed("old") is None


def test_a_post_that_was_late_with_the_old_token_gets_the_new_one_without_a_reading(
    clock: Clock,
) -> None:
    manager = FakeSecretsManager("new")
    token = CometlyToken(a_secret(manager, clock))
    token.current()

    assert token.renewed("old") == "new"
    assert manager.reads == 1


def test_many_rejections_at_once_do_not_have_the_secret_read_each_time(clock: Clock) -> None:
    # The posts of a batch get their 401s together.
    manager = FakeSecretsManager("old")
    token = CometlyToken(a_secret(manager, clock))
    token.current()
    clock.time += MIN_AGE_SECONDS

    for _ in range(100):
        token.renewed("old")

    assert manager.reads == 2


def test_threads_that_need_a_secret_at_once_share_one_reading(clock: Clock) -> None:
    manager = FakeSecretsManager("s", slow=True)
    secret = a_secret(manager, clock)

    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(lambda _: secret.value(), range(8)))

    assert values == ["s"] * 8
    assert manager.reads == 1


def test_a_failed_reading_is_not_repeated_by_every_thread() -> None:
    reads = 0

    class Hanging:
        def get_secret_value(self, **_: str) -> dict[str, str]:
            nonlocal reads
            reads += 1
            raise ClientError({"Error": {"Code": "InternalServiceError"}}, "GetSecretValue")

    secret = Secret(Hanging(), "arn", lambda: 1000.0)  # type: ignore[arg-type]

    for _ in range(10):
        with pytest.raises(Unavailable):
            secret.value()

    assert reads == 1
