"""What each function needs of its environment."""

from __future__ import annotations

import re

import pytest

from cometly_forwarder.deliver.settings import DeliverSettings
from cometly_forwarder.errors import SettingsError
from cometly_forwarder.event.reading import EventRules
from cometly_forwarder.ingest.browser import PAGE_NAMES, AllowedOrigins, BrowserRules
from cometly_forwarder.ingest.settings import IngestSettings
from tests.unit.cases import in_one_test

INGEST = {
    "EVENT_QUEUE_URL": "https://sqs.example.com/1/events",
    "SERVER_KEYS_SECRET_ARN": "arn:keys",
    "TABLE_NAME": "ledger",
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
    more = {
        "VISITOR_EVENTS_PER_MINUTE": "300",
        "TRUSTED_PROXY_HOPS": " 1 ",
        "BROWSER_EVENT_NAMES": "contact",
        "PASSED_ON_FIELDS": "currency, profile_field_*",
    }
    settings = IngestSettings.read(INGEST | PAGES | more)
    origins = frozenset({"https://shop.example.com"})
    passed_on = frozenset({"currency", "profile_field_*"})

    assert {name.upper(): value for name, value in settings} == INGEST | PAGES | {
        "ALLOWED_ORIGINS": origins,
        "BROWSER_EVENT_NAMES": {"contact"},
        "PASSED_ON_FIELDS": passed_on,
        "TRUSTED_PROXY_HOPS": 1,
        "VISITOR_EVENTS_PER_MINUTE": 300,
    }
    assert settings.browser == BrowserRules(AllowedOrigins(origins), 1)
    assert settings.event_rules == EventRules("US", passed_on)


def test_deliver_reads_its_environment() -> None:
    more = {"DEFAULT_PHONE_REGION": "DE", "PAGE_QUEUE_URL": "pages", "PAGE_QUEUE_ARN": "arn:pages"}
    more["PASSED_ON_FIELDS"] = "currency"

    settings = DeliverSettings.read(DELIVER | more)

    assert {name.upper(): value for name, value in settings} == DELIVER | more | {
        "COMETLY_REQUESTS_PER_MINUTE": 960,
        "DELIVERY_HORIZON_HOURS": 72,
        "PASSED_ON_FIELDS": {"currency"},
    }
    assert settings.event_rules == EventRules("DE", frozenset({"currency"}))


def test_what_is_blank_is_as_if_it_were_not_set() -> None:
    blank = {"DEFAULT_PHONE_REGION": "", "PAGE_QUEUE_ARN": " ", "TRUSTED_PROXY_HOPS": ""}
    blank |= dict.fromkeys([*PAGES, "BROWSER_EVENT_NAMES", "PASSED_ON_FIELDS"], " ")
    ingest = IngestSettings.read(INGEST | blank)
    deliver = DeliverSettings.read(DELIVER | blank)

    assert ingest.browser == BrowserRules(AllowedOrigins(), 0)
    assert ingest.browser_event_names == PAGE_NAMES
    assert ingest.event_rules == deliver.event_rules == EventRules()
    assert ingest.visitor_events_per_minute == 0
    assert ingest.default_phone_region is deliver.default_phone_region is None
    assert ingest.page_queue_url == deliver.page_queue_url == deliver.page_queue_arn == ""


REQUIRED = [
    *((IngestSettings, INGEST | PAGES, name) for name in INGEST if name != "DEFAULT_PHONE_REGION"),
    (IngestSettings, INGEST | PAGES, "PAGE_QUEUE_URL"),
    *((DeliverSettings, DELIVER, name) for name in DELIVER),
]


@in_one_test
@pytest.mark.parametrize(("model", "environ", "name"), REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  "], ids=["absent", "empty", "blank"])
def test_a_setting_that_lacks_is_named(
    model: type[IngestSettings | DeliverSettings],
    environ: dict[str, str],
    name: str,
    value: str | None,
) -> None:
    given = {key: text for key, text in environ.items() if key != name}
    given |= {} if value is None else {name: value}

    with pytest.raises(SettingsError, match=f"^the environment variable {name} is not set$"):
        model.read(given)


@in_one_test
@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        *(("VISITOR_EVENTS_PER_MINUTE", text, "from 0 to 60000") for text in ("60001", "-1", "x")),
        *(("TRUSTED_PROXY_HOPS", text, "from 0 to 9") for text in ("10", "1.5")),
        *(
            (name, text, "from 1 on")
            for name in ("DELIVERY_HORIZON_HOURS", "COMETLY_REQUESTS_PER_MINUTE")
            for text in ("three", "0", "-1", "nan", "inf", "1e999", "0.5", "1,5", "72h", "9" * 10)
        ),
    ],
)
def test_a_number_beyond_its_bounds_is_refused_by_name_and_not_quoted(
    name: str, text: str, right: str
) -> None:
    model = DeliverSettings if name in DELIVER else IngestSettings

    with pytest.raises(SettingsError) as caught:
        model.read(INGEST | DELIVER | {name: text})

    message = f"the environment variable {name} must be a whole number {right}"
    assert str(caught.value) == message
    assert caught.value.__suppress_context__  # pydantic's own error holds the value


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
    ("text", "exact", "wild"),
    [
        ("https://shop.example.com", {"https://shop.example.com"}, ()),
        (
            "https://a.example, http://localhost:5173,http://[::1]:8080,https://b.example:80",
            {
                "https://a.example",
                "http://localhost:5173",
                "http://[::1]:8080",
                "https://b.example:80",
            },
            (),
        ),
        (
            "null,https://*.shop.example.com:8443 , http://*.a.example",
            {"null"},
            (("http://", ".a.example"), ("https://", ".shop.example.com:8443")),
        ),
    ],
    ids=["one", "several", "those of frames and subdomains"],
)
def test_origins_are_taken_as_browsers_write_them(
    text: str, exact: set[str], wild: tuple[tuple[str, str], ...]
) -> None:
    read = IngestSettings.read(INGEST | PAGES | {"ALLOWED_ORIGINS": text}).browser.origins

    assert read == AllowedOrigins(frozenset(exact), wild)


@in_one_test
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
        pytest.param("NULL", id="null in upper case"),
        pytest.param("https://*.Shop.example.com", id="subdomains in upper case"),
        pytest.param("https://*shop.example.com", id="a star within a name"),
        pytest.param("https://shop.*.com", id="a star behind a name"),
        pytest.param("https://*.*.example.com", id="two stars"),
        pytest.param("https://a.*.example.com", id="a star in the middle"),
        pytest.param("https://*", id="a star alone"),
        pytest.param("*://shop.example.com", id="a star for the scheme"),
        pytest.param("https://shop.example.com:*", id="a star for the port"),
        pytest.param("https://*.shop.example.com:443", id="subdomains at the port of https"),
        pytest.param("https://*.com", id="a top-level domain"),
        pytest.param("https://*.com:8443", id="a top-level domain with a port"),
        pytest.param("http://*.localhost", id="a name without a dot"),
        pytest.param("https://*.[::1]", id="subdomains of an address"),
        pytest.param("*", id="all"),
    ],
)
def test_an_origin_that_no_browser_writes_is_refused_by_name(origin: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(repr(origin))):
        IngestSettings.read(INGEST | {"ALLOWED_ORIGINS": f"https://a.example,{origin}"})


@pytest.mark.parametrize("name", ["email", "*", "_ *", "profile-field", "a**", "*a", "1a", "a.b"])
@pytest.mark.parametrize(
    ("model", "environ"), [(IngestSettings, INGEST), (DeliverSettings, DELIVER)]
)
def test_a_name_that_cannot_be_passed_on_is_refused_by_name(
    model: type[IngestSettings | DeliverSettings], environ: dict[str, str], name: str
) -> None:
    with pytest.raises(SettingsError, match=f"PASSED_ON_FIELDS.*{re.escape(repr(name))}"):
        model.read(environ | {"PASSED_ON_FIELDS": f"currency,{name}"})


@pytest.mark.parametrize("kind", [IngestSettings, DeliverSettings])
def test_both_functions_read_which_fields_are_passed_on(
    kind: type[IngestSettings | DeliverSettings],
) -> None:
    given = {"PASSED_ON_FIELDS": " currency,profile_field_* ", "DEFAULT_PHONE_REGION": "DE"}

    rules = kind.read(INGEST | DELIVER | given).event_rules

    assert rules == EventRules("DE", frozenset({"currency", "profile_field_*"}))
    names = ["currency", "profile_field_1", "profile_field_", "currency_2", "profile", "email"]
    assert [rules.passes_on(name) for name in names] == [True, True, True, False, False, False]
    assert not kind.read(INGEST | DELIVER).event_rules.passes_on("currency")


@pytest.mark.parametrize("name", ["email", "order_id", "*", "a b", "a*b", "2nd", "é"])
def test_what_cannot_be_passed_on_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match="PASSED_ON_FIELDS must name"):
        IngestSettings.read(INGEST | {"PASSED_ON_FIELDS": f"currency,{name}"})
