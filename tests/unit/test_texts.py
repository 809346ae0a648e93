"""Texts in the forms in which programs, templates and people write them."""

from __future__ import annotations

import base64
import math
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given as of
from hypothesis import strategies as some

from cometly_forwarder.errors import BadValue
from cometly_forwarder.event.texts import (
    clean_text,
    is_placeholder,
    read_boolean,
    read_email,
    read_key,
    read_order_id,
    read_text,
)
from tests.unit.cases import in_one_test

GUID = "38627e30-e7b2-4c14-9f3e-2f8a1b0c9d11"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


def quiet(message: str) -> None:
    pytest.fail(f"nothing was changed, and yet: {message}")


# --- What shows nothing -------------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    "hidden",
    [
        *"\x00\x01\x0e\x1b\x7f\x80\x9f\xad\u034f\u061c\u115f\u180b\u180e\u200b\u200c\u200d",
        *"\u200e\u200f\u202a\u202e\u2060\u2064\u2066\u2069\u206f\u3164\ufe0f\ufeff\uffa0\ufff9",
        *"\U000e0041\U000e0100\U0001d173",
    ],
    ids=ascii,
)
@pytest.mark.parametrize(
    "template", ["{}ada@example.com", "ada@{}example.com", "ada@example.com{}"]
)
def test_what_shows_nothing_goes_from_what_identifies(template: str, hidden: str) -> None:
    warnings: list[str] = []

    assert clean_text(template.format(hidden), warnings.append) == "ada@example.com"
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("می\u200cخواهم", id="Persian, with a non-joiner"),
        pytest.param("ක්\u200dෂ", id="Sinhala, with a joiner"),
        pytest.param(FAMILY, id="a family of emoji"),
        pytest.param("\u2764\ufe0f", id="a red heart"),
        pytest.param("葛\U000e0100城", id="a variant of a Japanese name"),
        pytest.param(
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
            id="the flag of Scotland",
        ),
        pytest.param("Zoë", id="Latin"),
        pytest.param("Two  Words\tand\nlines", id="blanks within"),
    ],
)
def test_joiners_stay_in_what_people_read(name: str) -> None:
    assert clean_text(name, quiet, keep_joiners=True) == name


def test_joiners_with_nothing_to_join_go_from_names_as_well() -> None:
    warnings: list[str] = []

    assert clean_text("\u200d \u200cAda\u200d ", warnings.append, keep_joiners=True) == "Ada"
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Ada\ud83d", "Ada\ufffd"),
        ("\udc00Ada", "\ufffdAda"),
        ("A\ud83d\ud83d", "A\ufffd\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
    ],
    ids=ascii,
)
def test_half_a_surrogate_pair_becomes_the_replacement_character(given: str, sent: str) -> None:
    warnings: list[str] = []

    assert clean_text(given, warnings.append) == sent
    assert len(warnings) == 1


def test_one_word_in_two_encodings_is_one() -> None:
    warnings: list[str] = []

    assert clean_text("Zoe\u0308", warnings.append) == clean_text("Zo\u00eb", quiet) == "Zo\u00eb"
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "blank", [" ", "\t\r\n", "\u00a0\u2003", "\u200b", "\ufeff \u200d"], ids=ascii
)
def test_nothing_but_blanks_is_the_empty_text(blank: str) -> None:
    assert clean_text(blank, lambda _: None) == ""


def test_a_long_text_is_cleaned_in_one_pass() -> None:
    # A search that starts anew at each blank would not come back in minutes.
    text = "\u00e9" + " \u200b" * 200_000 + "x"

    assert clean_text(text, lambda _: None) == "\u00e9" + " " * 200_000 + "x"


@pytest.mark.parametrize(
    "marks",
    ["\u0301\u0316" * 60_000, "\u0f73\u0f75" * 50, "\u0301" * 31],
    ids=["long", "Tibetan", "31"],
)
@pytest.mark.parametrize("read", [read_text, read_email, read_key, read_order_id])
def test_no_run_of_marks_is_sorted(
    read: Callable[[object, Callable[[str], None]], str],
    marks: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Composing them takes quadratic time.
    def refuse(_form: str, text: str) -> str:
        pytest.fail(f"{len(text)} characters were composed")

    warnings: list[str] = []

    with monkeypatch.context() as patch:  # pytest composes names of tests
        patch.setattr(unicodedata, "normalize", refuse)
        text = read("a" + marks, warnings.append)

    assert text == "a" + marks
    assert "holds more than 30 combining marks in a row; it is sent as it is" in warnings


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("e" + "\u0301" * 30, "\u00e9" + "\u0301" * 29),
        ("e\u0301" * 1000, "\u00e9" * 1000),
        ("e\u0301" + "\U0001f600" * 40, "\u00e9" + "\U0001f600" * 40),
    ],
    ids=["thirty", "many letters", "emoji"],
)
def test_what_has_no_long_run_of_marks_is_composed(given: str, sent: str) -> None:
    assert clean_text(given, lambda _: None) == sent


# --- Text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  1001 ", "1001"),
        (1001, "1001"),
        (0, "0"),
        (-5, "-5"),
        (7311111111111111111, "7311111111111111111"),
        (10**100, "1" + "0" * 100),
        (1001.0, "1001"),
        (1.6505551212e10, "16505551212"),
        (-0.0, "0"),
        (2.0**53 - 1, "9007199254740991"),
        (10.5, "10.5"),
        (1e-7, "1e-07"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_text_is_read_from(value: object, text: str) -> None:
    assert read_text(value, quiet) == text


@pytest.mark.parametrize(
    "value",
    [None, True, False, [], ["x"], {"a": 1}, math.nan, math.inf, 2.0**53, 7.3e18, 1e300, 10**5000],
    ids=lambda value: "huge" if value == 10**5000 else repr(value)[:24],
)
def test_text_is_not_read_from(value: object) -> None:
    with pytest.raises(BadValue, match="must be text"):
        read_text(value, quiet)


# --- Missing values that do not look missing ----------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    "text",
    [
        *(
            "undefined",
            "null",
            "NULL",
            " Null ",
            "NaN",
            "None",
            "nil",
            "N/A",
            "#N/A",
            "#REF!",
            "NaT",
        ),
        *("(not set)", "(none)", "(null)", "(not provided)", "<nil>", "<NA>", "\\N", "<no value>"),
        *("[object Object]", "[object HTMLInputElement]", "unknown", "not set", "Invalid Date"),
        *(
            "undefined undefined",
            "null null",
            "undefined-undefined",
            "undefined,undefined",
            "nullnull",
            "Optional(nil)",
            "'null'",
            '"undefined"',
            "&quot;null&quot;",
            "\uff4e\uff55\uff4c\uff4c",
            "NA",
            "n.a.",
            "(blank)",
            "(data not available)",
            "#NULL!",
            "#NUM!",
            "#DIV/0!",
            "#ERROR!",
            "Loading...",
            "Loading\u2026",
            '""',
            "''",
            '"',
            "-",
            "--",
            "...",
            "?",
            "#",
            "{}",
            "[]",
        ),
    ],
)
def test_a_word_for_nothing_is_a_placeholder(text: str) -> None:
    assert is_placeholder(text)


@in_one_test
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{{ checkout.email }}", id="Liquid"),
        pytest.param("{{{email}}}", id="Mustache"),
        pytest.param("{{ person.email|default:'' }}", id="Klaviyo"),
        pytest.param("{{DLV - transaction id}}", id="tag manager"),
        pytest.param("{{prénom}}", id="with an accent"),
        pytest.param("{{ad.id}}", id="Meta's macro"),
        pytest.param("{{campaign.id}}-{{ad.id}}", id="two of them"),
        pytest.param("{{first_name}} {{last_name}}", id="two with a blank"),
        pytest.param("%7B%7Bad.id%7D%7D", id="in a link"),
        pytest.param("%7b%7bad.id%7d%7d", id="in a link, small letters"),
        pytest.param("{% raw %}", id="Liquid's tag"),
        pytest.param("%%emailaddr%%", id="Marketing Cloud"),
        pytest.param("%%=v(@email)=%%", id="AMPscript"),
        pytest.param("%EMAIL%", id="ActiveCampaign"),
        pytest.param("%eaid!", id="Campaign Manager"),
        pytest.param("${order.id}", id="script"),
        pytest.param("#{order.id}", id="Ruby"),
        pytest.param("<%= order.id %>", id="ERB"),
        pytest.param("*|EMAIL|*", id="Mailchimp"),
        pytest.param("[[email]]", id="GetResponse"),
        pytest.param("##EMAIL##", id="hashes"),
        pytest.param("__CLICKID__", id="TikTok"),
        pytest.param("__CAMPAIGN_ID__", id="TikTok, two words"),
        pytest.param("{gclid}", id="ValueTrack"),
        pytest.param("{_campaign}", id="ValueTrack, custom"),
        pytest.param("{param1}", id="ValueTrack, numbered"),
        pytest.param("{CampaignId}", id="Microsoft"),
        pytest.param("{!Contact.Email}", id="Salesforce"),
        pytest.param("~Contact.Email~", id="Keap"),
        pytest.param("$ad_id$", id="Outbrain"),
        pytest.param("[CACHEBUSTING]", id="VAST"),
        pytest.param("<your-email>", id="documentation"),
        pytest.param("{{${email_address}}}", id="Braze"),
        pytest.param("#EMAIL#", id="ClickFunnels"),
        pytest.param("#ORDER_ID#", id="ClickFunnels, two words"),
        pytest.param("{$email}", id="Smarty"),
        pytest.param("{$order.id}", id="Smarty, a part"),
        pytest.param("{Email:3}", id="Gravity Forms"),
        pytest.param("{Name (First):1.3}", id="Gravity Forms, a part"),
        pytest.param("={{ $json.email }}", id="n8n"),
        pytest.param('={{$json["email"]}}', id="n8n, an index"),
        pytest.param("{{1.email}}", id="Make"),
        pytest.param("{{123__email}}", id="Zapier"),
        pytest.param("{{ items[0].id }}", id="Liquid, an index"),
        pytest.param("{{ticket.ticket_field_12345}}", id="Zendesk"),
        pytest.param("{{#if a}}{{email}}{{/if}}", id="Handlebars"),
        pytest.param("{{1}}", id="WhatsApp"),
        pytest.param("@{variables('x')}", id="Power Automate"),
        pytest.param("@{triggerBody()?['email']}", id="Power Automate, a body"),
        pytest.param("<?= $order_id ?>", id="PHP, short"),
        pytest.param("<?php echo $order->id; ?>", id="PHP"),
        pytest.param("%(order_id)s", id="Python"),
        pytest.param("%s", id="C"),
        pytest.param("$(order_id)", id="shell"),
        pytest.param("<<email>>", id="mail merge"),
        pytest.param("{!!email!!}", id="Laravel"),
        pytest.param("%{email}", id="gettext"),
        pytest.param("{0}", id=".NET"),
        pytest.param("@@order_id@@", id="build tools"),
        pytest.param("[%order_id%]", id="Template Toolkit"),
        pytest.param('[field id="email"]', id="Elementor"),
        pytest.param('{field_id="3"}', id="WPForms"),
        pytest.param("{sub_id_1}", id="tracker, numbered"),
        pytest.param("{sub1}", id="tracker, three letters"),
        pytest.param("&lt;email&gt;", id="in a page"),
        pytest.param("%24%7Bemail%7D", id="in a link, script"),
        pytest.param("\uff5b\uff5bemail\uff5d\uff5d", id="wide"),
        pytest.param('"{{email}}"', id="in quotes"),
    ],
)
def test_a_template_left_unfilled_is_a_placeholder(text: str) -> None:
    assert is_placeholder(text)


@in_one_test
@pytest.mark.parametrize(
    "text",
    [
        *(
            GUID,
            "{" + GUID + "}",
            "{deadbeef}",
            "{12345}",
            "{ORD-1}",
            "[1001]",
            "[ABC-1001]",
            "#1001",
        ),
        *(
            "order-{{id}}",  # to the readers of keys and orders it is none
            "{{a}} real {{b}}",
            "100%",
            "50% off 20%",
            "%41",
            "$49.90$",
            "__init",
            "a__b__",
        ),
        *(
            "0",
            "1001",
            "Null Island",
            "nully",
            "none@example.com",
            "Nan Goldin",
            "N/A Corp",
            "mr. null",
        ),
        *("{PO1}", "{A1}", "##5001##", "__5001__", "[[5001]]", "{{5001}}", "@@5001@@", "<<5001>>"),
        *(
            "{{" + GUID + "}}",
            "{{ORD-1001}}",
            "[[A1]]",
            "#5001#",
            "%5001%",
            "'5001'",
            "%24%7B5001%7D",
        ),
        *("Na", "na", "nanny", "undefined-5001", "Null-Meier", "\uff15\uff10\uff10\uff11"),
        *('{"a": 1}', "<ada@example.com>", "~1001~", "\U0001f600", "日本", "{{" + "x" * 300 + "}}"),
        "__A__B__C__" * 20 + "!",
    ],
)
def test_a_value_is_no_placeholder(text: str) -> None:
    assert not is_placeholder(text)


# --- E-mail -------------------------------------------------------------------------------------


@in_one_test
@pytest.mark.parametrize(
    "given",
    [
        "Ada <ada@example.com>",
        '"Lovelace, Ada" <ADA@example.com>',
        "<ada@example.com>",
        "mailto:ada@example.com",
        "MAILTO:Ada@Example.com?subject=Hello%20you",
        "'ada@example.com'",
        '"ada@example.com"',
        "\"'ada@example.com'\"",
        "\u201cada@example.com\u201d",
        "(ada@example.com)",
        "[ada@example.com]",
        "ada@example.com.",
        "ada@example.com,",
        ";ada@example.com;",
        "ada%40example.com",
        "ada&#64;example.com",
        "ada @example.com",
        "ada@ example.com",
        "ada@example .com",
        "ada@example.com (work)",
        "ada@example.com\u200b",
        "\ufeffada@example.com",
        "ad\u00ada@exam\u200dple.com",
        "\uff41\uff44\uff41\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.com",
        "ada@example.com, grace@example.com",
        "ada@example.com;grace@example.com",
        "ada@example.com grace@example.com",
        "ada@example.com / grace@example.com",
        "ada@example.com/grace@example.com",
        "ada@example.com | ada@example.com",
        "Ada <ada@example.com>, Grace <grace@example.com>",
        "Ada Lovelace, ada@example.com",
        "%61da%40example.com",
        "ada&commat;example.com",
        "email:ada@example.com",
        "E-mail: ada@example.com",
        "SMTP:ada@example.com",
        "ada@example.com?subject=Hello",
        "ada@example.com!",
        "ada@example.com\u3002",
        "ada@example\u3002com",
        "[ada@example.com](mailto:ada@example.com)",
        "[Write to me](mailto:ada@example.com)",
        '{"email":"ada@example.com"}',
        '{ "email_address" : "ADA@example.com" }',
        '["ada@example.com"]',
        "ada@example.com, Ada",
    ],
    ids=ascii,
)
def test_an_address_is_read_out_of_what_surrounds_it(given: str) -> None:
    warnings: list[str] = []

    assert read_email(given, warnings.append) == "ada@example.com"
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "given",
    [
        "ada@example.com",
        " Ada@Example.COM ",
        "o'neil@example.com",
        "ada+shop@example.com",
        "a/b@example.com",
        "{ada}@example.com",
        "ada%40home@example.com",
        "ada@example",
        "ada@[192.0.2.1]",
        "zoë@example.com",
        "ada@straße.example",
        "ada@" + "ü" * 64 + ".example",
        "ada@" + "ü" * 300,
        "bob|smith@example.com",
        "ada%2btag@example.com",
    ],
)
def test_an_address_stays_as_it_is(given: str) -> None:
    assert read_email(given, quiet) == given.strip().lower()


def test_an_address_with_a_quoted_name_stays() -> None:
    # RFC 5321 has blanks in it so; few take it, so there is a warning.
    assert read_email('"ada lovelace"@example.com', lambda _: None) == '"ada lovelace"@example.com'


@pytest.mark.parametrize(
    "given",
    [
        "grace",
        "ada lovelace@example.com",
        "ada ada@example.com",
        "a@b@c",
        "@",
        "a" * 63,
        "@" * 5000,
        "ada@example,com",
        "bob,smith@example.com",
        "bob;smith@example.com",
    ],
    ids=lambda text: text[:30],
)
def test_what_can_be_no_address_is_sent_with_a_warning(given: str) -> None:
    warnings: list[str] = []

    assert read_email(given, warnings.append) == given
    assert warnings == ["does not look like an e-mail address; it is sent as it is"]


def test_of_several_addresses_the_warning_says_so() -> None:
    warnings: list[str] = []

    read_email("ada@example.com, grace@example.com", warnings.append)

    assert warnings == ["holds several; the first is sent"]


@pytest.mark.parametrize("value", [7, 1.5, True, ["ada@example.com"], {"x": 1}], ids=repr)
def test_an_address_must_be_text(value: object) -> None:
    with pytest.raises(BadValue, match="must be text, such as ada@"):
        read_email(value, quiet)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("ada@m\u00fcnchen.example", "ada@xn--mnchen-3ya.example"),
        ("ADA@M\u00dcNCHEN.example", "ada@xn--mnchen-3ya.example"),
        ("\u7528\u6237@\u4f8b\u5b50.\u5e7f\u544a", "\u7528\u6237@xn--fsqu00a.xn--4rr70v"),
    ],
    ids=ascii,
)
def test_a_domain_has_one_form(given: str, sent: str) -> None:
    warnings: list[str] = []

    assert read_email(given, warnings.append) == sent
    assert warnings == ["has a domain that was rewritten in ASCII (IDNA)"]
    assert read_email(sent, quiet) == sent


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("\u0130DA@example.com", "ida@example.com"),
        ("ADA+\u0130@\u0130stanbul.example", "ada+i@istanbul.example"),
        ("\u0130\u0307da@example.com", "ida@example.com"),
        ("J\u030cada@example.com", "\u01f0ada@example.com"),
    ],
    ids=ascii,
)
def test_small_letters_are_composed(given: str, sent: str) -> None:
    assert read_email(given, lambda _: None) == sent


@pytest.mark.parametrize("digits", [32, 40, 64])
def test_a_hash_is_no_address(digits: int) -> None:
    with pytest.raises(BadValue, match="is a hash, which Cometly cannot match"):
        read_email("A9" * (digits // 2), quiet)


def test_an_address_with_a_template_in_it_is_none() -> None:
    with pytest.raises(BadValue, match="missing value"):
        read_email("{{first_name}}@example.com", quiet)


# --- Keys and order ids -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (f'"{GUID}"', GUID),
        (f' "{GUID}" ', GUID),
        (r'"a\"b\\c"', r'a"b\c'),
        (r'"\"twice\""', "twice"),
        ('""', ""),
    ],
)
def test_a_key_is_read_out_of_its_quotes(given: str, key: str) -> None:
    warnings: list[str] = []

    assert read_key(given, warnings.append) == key
    assert len(warnings) == 1
    assert read_key(key, quiet) == key


@pytest.mark.parametrize("given", [GUID, 'a"b', '"open', 'shut"', '"a" and "b"', r'"a\b"', "'a'"])
def test_a_key_without_quotes_around_it_stays(given: str) -> None:
    assert read_key(given, quiet) == given


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "given",
    [
        "gid://shopify/Order/5001",
        "gid://shopify/OrderIdentity/5001",
        "gid://shopify/OrderIdentity/5001?key=abc",
        "GID://Shopify/Order/5001",
        encoded("gid://shopify/Order/5001"),
        encoded("gid://shopify/Order/5001").rstrip("="),
        encoded("gid://shopify/OrderIdentity/5001?key=?>"),
        base64.urlsafe_b64encode(b"gid://shopify/OrderIdentity/5001?key=?>").decode(),
        '"5001"',
        '"gid://shopify/Order/5001"',
        "gid%3A%2F%2Fshopify%2FOrder%2F5001",
        "GID%3a%2f%2fShopify%2fOrder%2f5001",
        r"gid:\/\/shopify\/Order\/5001",
        "'5001'",
        "'5001",
        "\"'5001'\"",
        "\uff15\uff10\uff10\uff11",
        "\uff025001\uff02",
        "5001\u200b",
    ],
)
def test_an_order_has_one_id_at_the_pixel_and_at_the_webhook(given: str) -> None:
    warnings: list[str] = []

    assert read_order_id(given, warnings.append) == "5001"
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "given",
    [
        *(
            "5001",
            "#1001",
            "wc_order_a1b2",
            "pi_3abc",
            "1001.0",
            "0005001",
            "gid://shopify/Checkout/5001",
        ),
        *("gid://shopify/Order/", "gid://shopify/Order/abc", "gid://shopify/DraftOrder/5001"),
        *("gid://shopify/Order/5001/x", "Z2lkOi8vc2hvcGlmeS9PcmRlc!", "Z2lkOi8vc2hvcGlmeS9PcmRlc"),
        "Z2lkOi8vc2hvcGlmeS9PcmRlc////",
    ],
)
def test_any_other_order_id_stays(given: str) -> None:
    assert read_order_id(given, quiet) == given


@pytest.mark.parametrize(
    "given", ["PO\u20105001", "PO\u20115001", "\uff30\uff2f\uff0d5001"], ids=ascii
)
def test_an_order_id_has_one_width_and_one_hyphen(given: str) -> None:
    warnings: list[str] = []

    assert read_order_id(given, warnings.append) == "PO-5001"
    assert len(warnings) == 1


@in_one_test
@pytest.mark.parametrize("read", [read_key, read_order_id])
@pytest.mark.parametrize(
    "text",
    [
        *("ORD-{{id}}", "order_{{order.id}}", "ORD-${id}", "Order {{id}}", "ORD-%7B%7Bid%7D%7D"),
        *("ORD-undefined", "order_undefined", "undefined-5001", "order-null", "ORD-none"),
        *("gid://shopify/Order/{{id}}", "[object Object]-1", "ORD-<%= id %>", "ORD-&lt;&lt;id>>"),
        "\uff2f\uff32\uff24-\uff5b\uff5bid\uff5d\uff5d",
    ],
    ids=ascii,
)
def test_a_key_or_an_order_of_a_missing_value_would_be_that_of_many_events(
    read: Callable[[object, Callable[[str], None]], str], text: str
) -> None:
    with pytest.raises(BadValue, match="would be that of many events"):
        read(text, lambda _: None)


@pytest.mark.parametrize("read", [read_key, read_order_id])
@pytest.mark.parametrize(
    "text", ["1.23457E+15", "7.3111111111111E+18", "1E+15", "1,23457e+15", "1.2E9"]
)
def test_a_key_or_an_order_that_lost_its_digits_would_be_that_of_many_events(
    read: Callable[[object, Callable[[str], None]], str], text: str
) -> None:
    with pytest.raises(BadValue, match="has lost digits in a spreadsheet"):
        read(text, quiet)


@in_one_test
@pytest.mark.parametrize("read", [read_key, read_order_id])
@pytest.mark.parametrize(
    "text",
    [
        *("ORD-{{5001}}", "key__purchase__5001", "a##b##c", "x@@y@@z", "none-5001", "nan-5001"),
        *("nulla-5001", "1e5", "5e12", "1.6505551212E10", "10% off", "a{b}c", "ORD[5]", "1001.0"),
        *("null", "{{id}}", "x" * 10_000, "{{id}}" * 100),
    ],
    ids=lambda text: text[:24],
)
def test_any_other_key_or_order_stays(
    read: Callable[[object, Callable[[str], None]], str], text: str
) -> None:
    # What is a placeholder as a whole counts as absent, in `reading`.
    assert read(text, quiet) == text


@pytest.mark.parametrize("value", [["5001"], {"id": 5001}, True], ids=repr)
def test_a_key_or_an_order_id_is_no_object_and_no_list(value: object) -> None:
    with pytest.raises(BadValue):
        read_key(value, quiet)
    with pytest.raises(BadValue):
        read_order_id(value, quiet)


# --- Booleans -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [True, 1, 1.0, "1", "1.0", "true", " TRUE ", "yes", "Y", "t", "On"], ids=repr
)
def test_true_is_read_from(value: object) -> None:
    assert read_boolean(value, quiet) is True


@pytest.mark.parametrize(
    "value", [False, 0, 0.0, "0", "0.0", "False", "NO", "n", "F", "off"], ids=repr
)
def test_false_is_read_from(value: object) -> None:
    assert read_boolean(value, quiet) is False


@pytest.mark.parametrize(
    "value",
    [None, 2, -1, 0.5, math.nan, "", "maybe", "2", "ja", [], [True], {}, 10**5000],
    ids=lambda value: "huge" if value == 10**5000 else repr(value),
)
def test_a_boolean_is_not_read_from(value: object) -> None:
    with pytest.raises(BadValue, match="must be true or false"):
        read_boolean(value, quiet)


# --- Reading again ------------------------------------------------------------------------------

PIECES = (
    "a",
    "b",
    "@",
    ".",
    ",",
    " ",
    ";",
    "/",
    "|",
    "<",
    ">",
    '"',
    "'",
    "(",
    "mailto:",
    "?",
    "%40",
    "!",
    ":",
    "](",
    "[",
    '{"email":"',
    "gid%3a",
    "5",
    "-",
)
ODD_ONES = (
    "\u200b",
    "\u200d",
    "\\",
    "\uff20",
    "e\u0301",
    "\u0130",
    "\ufb01",
    "\ud800",
    "\u00a0",
    "&",
    "\u3002",
    "\u00fc",
    "\uff15",
    "\u2010",
    "\u0307",
    "%c3%bc",
    "\u0301" * 20,
)


@pytest.mark.parametrize("read", [read_text, read_email, read_key, read_order_id])
@of(pieces=some.lists(some.sampled_from(PIECES + ODD_ONES), max_size=10))
def test_what_was_read_is_read_as_it_is(
    read: Callable[[object, Callable[[str], None]], str], pieces: list[str]
) -> None:
    # The queue's reader reads an event once more, and its identity must not change by it.
    try:
        once = read("".join(pieces), lambda _: None)
    except BadValue:
        return

    assert read(once, lambda _: None) == once


@pytest.mark.parametrize("text", ["[email protected]", "[email\N{NO-BREAK SPACE}protected]"])
def test_an_address_that_a_proxy_hid_is_sent_as_cometlys_own_example_has_it(text: str) -> None:
    assert not is_placeholder(text)
