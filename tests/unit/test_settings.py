"""What each function needs of its environment."""

from __future__ import annotations

import re

import pytest

from cometly_forwarder.deliver.settings import DeliverSettings
from cometly_forwarder.errors import SettingsError
from cometly_forwarder.ingest.settings import IngestSettings

INGEST = {
    "EVENT_QUEUE_URL": "https://sqs.example.com/1/events",
    "SERVER_KEYS_SECRET_ARN": "arn:keys",
    "DEFAULT_PHONE_REGION": "US",
}
PAGES = {
    "PAGE_QUEUE_URL": "https://sqs.example.com/1/pages",
    "ALLOWED_ORIGINS": "https://shop.example.com",
}
DELIVER = {
    "EVENT_QUEUE_URL": "https://sqs.example.com/1/events",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.example.com/1/dead",
    "TABLE_NAME": "ledger",
    "COMETLY_TOKEN_SECRET_ARN": "arn:token",
    "COMETLY_URL": "https://cometly.example.com",
    "COMETLY_REQUESTS_PER_MINUTE": "960",
    "DELIVERY_HORIZON_HOURS": "72",
}


def test_ingest_reads_its_environment() -> None:
    settings = IngestSettings.read(INGEST)

    assert settings.event_queue_url == "https://sqs.example.com/1/events"
    assert settings.server_keys_secret_arn == "arn:keys"
    assert settings.default_phone_region == "US"


def test_ingest_reads_what_pages_may_send() -> None:
    shares = {"VISITOR_EVENTS_PER_MINUTE": "300", "TRUSTED_PROXY_HOPS": "1"}

    settings = IngestSettings.read(INGEST | PAGES | shares | {"BROWSER_EVENT_NAMES": "contact"})

    assert settings.page_queue_url == "https://sqs.example.com/1/pages"
    assert settings.visitor_events_per_minute == 300
    assert settings.browser.event_names == {"contact"}
    assert settings.browser.proxy_hops == 1


def test_without_an_origin_there_is_no_page_queue() -> None:
    settings = IngestSettings.read(INGEST | {"PAGE_QUEUE_URL": "", "ALLOWED_ORIGINS": ""})

    assert settings.page_queue_url == ""
    assert settings.browser.origins == frozenset()


@pytest.mark.parametrize("url", ["", "  "], ids=["empty", "blank"])
def test_an_origin_needs_a_page_queue(url: str) -> None:
    with pytest.raises(SettingsError, match="PAGE_QUEUE_URL"):
        IngestSettings.read(INGEST | PAGES | {"PAGE_QUEUE_URL": url})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("VISITOR_EVENTS_PER_MINUTE", "60001"),
        ("VISITOR_EVENTS_PER_MINUTE", "-1"),
        ("VISITOR_EVENTS_PER_MINUTE", "many"),
        ("TRUSTED_PROXY_HOPS", "10"),
        ("TRUSTED_PROXY_HOPS", "1.5"),
    ],
)
def test_a_number_beyond_its_bounds_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be a whole number from 0 to"):
        IngestSettings.read(INGEST | {name: text})


def test_deliver_reads_its_environment() -> None:
    settings = DeliverSettings.read(DELIVER | {"DEFAULT_PHONE_REGION": "DE"})

    assert settings.event_queue_url == "https://sqs.example.com/1/events"
    assert settings.dead_letter_queue_url == "https://sqs.example.com/1/dead"
    assert settings.table_name == "ledger"
    assert settings.cometly_token_secret_arn == "arn:token"
    assert settings.cometly_url == "https://cometly.example.com"
    assert settings.cometly_requests_per_minute == 960
    assert settings.delivery_horizon_hours == 72
    assert settings.default_phone_region == "DE"
    assert (settings.page_queue_url, settings.page_queue_arn) == ("", "")


def test_deliver_reads_where_the_page_queue_is() -> None:
    pages = {"PAGE_QUEUE_URL": "https://sqs.example.com/1/pages", "PAGE_QUEUE_ARN": "arn:pages"}

    settings = DeliverSettings.read(DELIVER | pages)

    assert settings.page_queue_url == "https://sqs.example.com/1/pages"
    assert settings.page_queue_arn == "arn:pages"


@pytest.mark.parametrize("region", [{}, {"DEFAULT_PHONE_REGION": ""}], ids=["absent", "empty"])
def test_no_phone_region_is_none(region: dict[str, str]) -> None:
    without = {name: value for name, value in INGEST.items() if name != "DEFAULT_PHONE_REGION"}

    assert IngestSettings.read(without | region).default_phone_region is None
    assert DeliverSettings.read(DELIVER | region).default_phone_region is None


@pytest.mark.parametrize("name", ["EVENT_QUEUE_URL", "SERVER_KEYS_SECRET_ARN"])
@pytest.mark.parametrize("value", [None, "", "  "], ids=["absent", "empty", "blank"])
def test_ingest_names_the_setting_that_it_lacks(name: str, value: str | None) -> None:
    environ = {key: text for key, text in INGEST.items() if key != name}
    environ |= {} if value is None else {name: value}

    with pytest.raises(SettingsError, match=name):
        IngestSettings.read(environ)


@pytest.mark.parametrize("name", list(DELIVER))
@pytest.mark.parametrize("value", [None, "", "  "], ids=["absent", "empty", "blank"])
def test_deliver_names_the_setting_that_it_lacks(name: str, value: str | None) -> None:
    environ = {key: text for key, text in DELIVER.items() if key != name}
    environ |= {} if value is None else {name: value}

    with pytest.raises(SettingsError, match=name):
        DeliverSettings.read(environ)


@pytest.mark.parametrize("name", ["DELIVERY_HORIZON_HOURS", "COMETLY_REQUESTS_PER_MINUTE"])
@pytest.mark.parametrize("text", ["three", "0", "-1", "nan", "1,5", "72h"])
def test_what_is_no_number_above_zero_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        DeliverSettings.read(DELIVER | {name: text})


@pytest.mark.parametrize("text", ["inf", "1e999", "0.5"])
def test_a_rate_is_at_least_one_request_a_minute_and_finite(text: str) -> None:
    with pytest.raises(SettingsError, match="COMETLY_REQUESTS_PER_MINUTE"):
        DeliverSettings.read(DELIVER | {"COMETLY_REQUESTS_PER_MINUTE": text})


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        pytest.param("https://cometly.example.com/", "https://cometly.example.com", id="slash"),
        pytest.param("https://h.example.com:8443", "https://h.example.com:8443", id="port"),
        pytest.param("http://127.0.0.1:8801", "http://127.0.0.1:8801", id="loopback"),
        pytest.param("http://localhost:8801/", "http://localhost:8801", id="localhost"),
        pytest.param("http://[::1]:8801", "http://[::1]:8801", id="loopback, IPv6"),
    ],
)
def test_cometly_is_reached_by_https_or_on_this_machine(url: str, kept: str) -> None:
    assert DeliverSettings.read(DELIVER | {"COMETLY_URL": url}).cometly_url == kept


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://cometly.example.com", id="plain HTTP"),
        pytest.param("http://localhost@example.com", id="this machine's name as a user"),
        pytest.param("http://localhost.example.com", id="this machine's name as a prefix"),
        pytest.param("http://127.0.0.1.example.com", id="this machine's address as a prefix"),
        pytest.param("ftp://127.0.0.1", id="another scheme"),
        pytest.param("cometly.example.com", id="no scheme"),
        pytest.param("//cometly.example.com", id="half a URL"),
        pytest.param("http://[::1", id="a broken address"),
    ],
)
def test_the_token_is_never_sent_in_the_clear(url: str) -> None:
    with pytest.raises(SettingsError, match="COMETLY_URL"):
        DeliverSettings.read(DELIVER | {"COMETLY_URL": url})


@pytest.mark.parametrize(
    "origins",
    [
        "",
        "https://shop.example.com",
        "https://a.example, http://localhost:5173,http://[::1]:8080,https://b.example:80",
    ],
)
def test_origins_are_taken_as_browsers_write_them(origins: str) -> None:
    read = IngestSettings.read(INGEST | PAGES | {"ALLOWED_ORIGINS": origins}).browser.origins

    assert read == {part.strip() for part in origins.split(",") if part}


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param("https://shop.example.com:443", id="the port of https"),
        pytest.param("http://shop.example.com:80", id="the port of http"),
        pytest.param("https://shop.example.com.", id="a dot at the end"),
        pytest.param("https://shop.example.com.:8443", id="a dot before the port"),
        pytest.param("https://shop.example.com/", id="a slash at the end"),
        pytest.param("https://Shop.example.com", id="upper case"),
        pytest.param("shop.example.com", id="no scheme"),
        pytest.param("null", id="null"),
        pytest.param("*", id="all"),
    ],
)
def test_an_origin_that_no_browser_writes_is_refused_by_name(origin: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(repr(origin))):
        IngestSettings.read(INGEST | {"ALLOWED_ORIGINS": f"https://a.example,{origin}"})
