"""docs/cloudfront: the script alone is cached, all else goes along whole, no way leads around."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.stack.checkout import Checkout
from tests.unit import cloudformation
from tests.unit.test_template import PARAMETERS, of_type, properties

# The ids of CloudFront's managed policies:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-origin-request-policies.html
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"

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


def test_nothing_is_cached_and_every_header_but_the_host_goes_along() -> None:
    default = CONFIG["DefaultCacheBehavior"]

    assert default["CachePolicyId"] == CACHING_DISABLED
    assert default["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
    assert {"POST", "OPTIONS"} <= set(default["AllowedMethods"])


def test_the_script_alone_is_cached_and_nothing_of_a_visitor_goes_along() -> None:
    [script] = CONFIG["CacheBehaviors"]

    assert script["PathPattern"] == "/client.js"
    assert script["CachePolicyId"] == CACHING_OPTIMIZED
    assert "OriginRequestPolicyId" not in script


def test_nothing_goes_in_the_clear() -> None:
    [origin] = CONFIG["Origins"]
    behaviors = [CONFIG["DefaultCacheBehavior"], *CONFIG["CacheBehaviors"]]

    assert {it["ViewerProtocolPolicy"] for it in behaviors} == {"https-only"}
    assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"


def test_the_api_takes_nobody_but_cloudfront() -> None:
    [origin] = CONFIG["Origins"]

    assert origin["CustomOriginConfig"]["OriginMtlsConfig"] == {
        "ClientCertificateArn": {"Ref": "ClientCertificateArn"}
    }
    assert API_DOMAIN["Domain"]["MutualTlsAuthentication"] == {
        "TruststoreUri": {"Ref": "TruststoreUri"},
        "TruststoreVersion": {"Ref": "TruststoreVersion"},
    }
    assert properties("Api")["DisableExecuteApiEndpoint"] == {"Ref": "DisableExecuteApiEndpoint"}
    assert PARAMETERS["DisableExecuteApiEndpoint"]["Default"] == "false"


@pytest.mark.parametrize(
    ("rule", "limit"),
    [("visitors", "VisitorRequestsPerMinute"), ("services", "ServiceRequestsPerMinute")],
)
def test_the_firewall_counts_requests_a_minute_by_their_address(rule: str, limit: str) -> None:
    statement = rate_rule(rule)

    assert DISTRIBUTION["Firewall"]["Scope"] == "CLOUDFRONT"
    assert CONFIG["WebACLId"] == {"Fn::GetAtt": "Firewall.Arn"}
    assert statement["Limit"] == {"Ref": limit}
    assert statement["AggregateKeyType"] == "IP"
    assert statement["EvaluationWindowSec"] == 60


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/v1/events", "services"),
        ("/public-api/v1/events/track", "services"),
        ("/collect", "visitors"),
        # The API decodes these, and may find a route.
        ("/%63ollect", "visitors"),
        ("/%2563ollect", "visitors"),
        ("/collect%3Fv1/events", "visitors"),
        ("//collect", "visitors"),
        ("/collect/", "visitors"),
        ("/v1/../collect", "visitors"),
        ("/v1/%65vents", "visitors"),
        ("/v1/events%0A", "visitors"),
        ("/client.js", "visitors"),
        ("/health", "visitors"),
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

    with_a_key = {key for key in keys if re.search(regex, key.partition(" ")[2])}

    assert with_a_key == keys - set(properties("ApiStage")["RouteSettings"])


def test_the_firewall_samples_nothing_personal() -> None:
    firewall = DISTRIBUTION["Firewall"]

    for watched in (firewall, *firewall["Rules"]):
        assert watched["VisibilityConfig"]["SampledRequestsEnabled"] is False


def test_cloudfront_waits_longer_than_the_api_takes() -> None:
    [origin] = CONFIG["Origins"]

    assert origin["CustomOriginConfig"]["OriginReadTimeout"] > 30
