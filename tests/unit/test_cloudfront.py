"""docs/cloudfront: what the firewall counts as a service's, and that no way leads around it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.stack.checkout import Checkout
from tests.unit import cloudformation
from tests.unit.test_template import HTTP_API_SECONDS, PARAMETERS, of_type, properties

RECIPE = Checkout.here().root / "docs" / "cloudfront"


def resources_of(name: str) -> dict[str, Any]:
    template = cloudformation.read(RECIPE / name)
    return {key: it["Properties"] for key, it in template["Resources"].items()}


DISTRIBUTION = resources_of("distribution.yaml")
API_DOMAIN = resources_of("api-domain.yaml")
CONFIG = DISTRIBUTION["Distribution"]["DistributionConfig"]


def rate_rule(name: str) -> dict[str, Any]:
    [rule] = [rule for rule in DISTRIBUTION["Firewall"]["Rules"] if rule["Name"] == name]
    statement: dict[str, Any] = rule["Statement"]["RateBasedStatement"]
    return statement


def test_the_api_takes_nobody_but_cloudfront_which_outwaits_it() -> None:
    origin = CONFIG["Origins"][0]["CustomOriginConfig"]

    assert origin["OriginMtlsConfig"] == {"ClientCertificateArn": {"Ref": "ClientCertificateArn"}}
    assert origin["OriginProtocolPolicy"] == "https-only"
    assert origin["OriginReadTimeout"] > HTTP_API_SECONDS
    assert API_DOMAIN["Domain"]["MutualTlsAuthentication"] == {
        "TruststoreUri": {"Ref": "TruststoreUri"},
        "TruststoreVersion": {"Ref": "TruststoreVersion"},
    }
    assert properties("Api")["DisableExecuteApiEndpoint"] == {"Ref": "DisableExecuteApiEndpoint"}
    assert PARAMETERS["DisableExecuteApiEndpoint"]["Default"] == "false"


def test_nothing_goes_in_the_clear_and_the_firewall_keeps_no_sample_of_it() -> None:
    behaviors = [CONFIG["DefaultCacheBehavior"], *CONFIG["CacheBehaviors"]]
    firewall = DISTRIBUTION["Firewall"]

    assert {it["ViewerProtocolPolicy"] for it in behaviors} == {"https-only"}
    for watched in (firewall, *firewall["Rules"]):
        assert watched["VisibilityConfig"]["SampledRequestsEnabled"] is False


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/v1/events", "services"),
        ("/public-api/v1/events/track", "services"),
        ("/v1/events/lookup", "services"),
        ("/v1/events/evt_73b74b2960d0c5745839aa18de8292fd", "services"),
        ("/v1/events/collect", "visitors"),
        ("/collect", "visitors"),
        # The API decodes these, and may find a route.
        ("/%63ollect", "visitors"),
        ("/collect%3Fv1/events", "visitors"),
        ("//collect", "visitors"),
        ("/v1/../collect", "visitors"),
        ("/v1/%65vents", "visitors"),
        ("/v1/events%0A", "visitors"),
        ("/client.js", "visitors"),
    ],
)
def test_however_a_path_is_written_the_firewall_counts_it_once(path: str, rule: str) -> None:
    services = rate_rule("services")["ScopeDownStatement"]
    match = services["RegexMatchStatement"]

    assert rate_rule("visitors")["ScopeDownStatement"] == {"NotStatement": {"Statement": services}}
    assert match["FieldToMatch"] == {"UriPath": {}}
    assert [each["Type"] for each in match["TextTransformations"]] == ["NONE"]
    assert bool(re.search(match["RegexString"], path)) is (rule == "services")


def test_the_firewall_knows_every_path_that_takes_a_key() -> None:
    keys = {it["Properties"]["RouteKey"] for it in of_type("AWS::ApiGatewayV2::Route").values()}
    regex = rate_rule("services")["ScopeDownStatement"]["RegexMatchStatement"]["RegexString"]

    paths = {key: key.partition(" ")[2].format(event_id=f"evt_{0:032}") for key in keys}

    with_a_key = {key for key, path in paths.items() if re.search(regex, path)}

    assert with_a_key == keys - set(properties("ApiStage")["RouteSettings"])
