"""docs/cloudfront: the script alone is cached, all else goes along whole, no way leads around."""

from __future__ import annotations

from typing import Any

import yaml

from local.stack.checkout import Checkout
from tests.unit.test_template import PARAMETERS, Loader, properties

# The ids of CloudFront's managed policies:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-origin-request-policies.html
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"

RECIPE = Checkout.here().root / "docs" / "cloudfront"


def resources_of(name: str) -> dict[str, Any]:
    template = yaml.load((RECIPE / name).read_text("utf-8"), Loader)  # noqa: S506 - a safe one
    return {key: it["Properties"] for key, it in template["Resources"].items()}


DISTRIBUTION = resources_of("distribution.yaml")
API_DOMAIN = resources_of("api-domain.yaml")
CONFIG = DISTRIBUTION["Distribution"]["DistributionConfig"]


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


def test_the_firewall_counts_pages_alone_by_their_address() -> None:
    firewall = DISTRIBUTION["Firewall"]
    [counted] = [rule for rule in firewall["Rules"] if rule["Name"] == "visitors"]
    statement = counted["Statement"]["RateBasedStatement"]

    assert firewall["Scope"] == "CLOUDFRONT"
    assert CONFIG["WebACLId"] == {"Fn::GetAtt": "Firewall.Arn"}
    assert statement["AggregateKeyType"] == "IP"
    assert statement["EvaluationWindowSec"] == 60
    match = statement["ScopeDownStatement"]["ByteMatchStatement"]
    assert (match["SearchString"], match["PositionalConstraint"]) == ("/collect", "EXACTLY")


def test_the_firewall_samples_nothing_personal() -> None:
    firewall = DISTRIBUTION["Firewall"]

    for watched in (firewall, *firewall["Rules"]):
        assert watched["VisibilityConfig"]["SampledRequestsEnabled"] is False


def test_cloudfront_waits_longer_than_the_api_takes() -> None:
    [origin] = CONFIG["Origins"]

    assert origin["CustomOriginConfig"]["OriginReadTimeout"] > 30
