from pathlib import Path

from local.stack.checkout import Checkout
from local.stack.environment import AwsEndpoint, isolated


def test_nothing_of_the_developers_aws_gets_through(tmp_path: Path) -> None:
    theirs = {
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "x",
        "SAM_TEMPLATE_FILE": "other.yaml",
        "VIRTUAL_ENV": "/elsewhere",
        "PYTHONPATH": "/elsewhere",
        "HTTPS_PROXY": "http://proxy",
    }

    environment = isolated(Checkout(tmp_path), theirs)

    assert not (set(theirs) - {"HTTPS_PROXY"}) & set(environment)
    assert environment["HTTPS_PROXY"] == "http://proxy"
    assert not Path(environment["AWS_SHARED_CREDENTIALS_FILE"]).exists()
    assert environment["PATH"].startswith(str(tmp_path / ".venv" / "bin"))


def test_the_emulators_keys_come_with_its_endpoint() -> None:
    variables = AwsEndpoint("http://127.0.0.1:1", "key", "secret").variables()

    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert variables["AWS_ACCESS_KEY_ID"] == "key"
