"""docs/domain: a domain that leads to the whole API, with or without a zone of Route 53."""

from __future__ import annotations

import re
from typing import Any

from local.stack.checkout import Checkout
from tests.unit import cloudformation
from tests.unit.test_template import PARAMETERS

ROOT = Checkout.here().root
TEMPLATE = cloudformation.read(ROOT / "docs" / "domain" / "api-domain.yaml")
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
PAGE = (ROOT / "docs" / "domain.md").read_text("utf-8")


def test_the_domain_leads_to_the_stage_of_every_path() -> None:
    mapping = RESOURCES["Mapping"]["Properties"]

    assert mapping == {
        "ApiId": {"Ref": "ApiId"},
        "DomainName": {"Ref": "Domain"},
        "Stage": "$default",
    }


def test_the_domain_shows_the_certificate_that_was_made_for_it() -> None:
    [configuration] = RESOURCES["Domain"]["Properties"]["DomainNameConfigurations"]

    assert configuration == {
        "CertificateArn": {"Ref": "Certificate"},
        "EndpointType": "REGIONAL",
        "SecurityPolicy": "TLS_1_2",
    }
    for name in ("Certificate", "Domain"):
        assert RESOURCES[name]["Properties"]["DomainName"] == {"Ref": "DomainName"}


def test_without_a_zone_no_record_is_made_and_acm_is_told_of_none() -> None:
    options = RESOURCES["Certificate"]["Properties"]["DomainValidationOptions"]["Fn::If"]

    assert TEMPLATE["Parameters"]["HostedZoneId"]["Default"] == ""
    assert TEMPLATE["Conditions"] == {
        "HasZone": {"Fn::Not": [{"Fn::Equals": [{"Ref": "HostedZoneId"}, ""]}]}
    }
    assert (options[0], options[2]) == ("HasZone", {"Ref": "AWS::NoValue"})
    assert {name for name, it in RESOURCES.items() if it.get("Condition")} == {"Record"}


def test_the_page_deploys_it_with_parameters_that_it_has() -> None:
    [overrides] = re.findall(
        r"docs/domain/api-domain\.yaml \\\n +--parameter-overrides (.+)$", PAGE, re.MULTILINE
    )

    given = {it.partition("=")[0] for it in overrides.split()}

    assert given == TEMPLATE["Parameters"].keys()


def test_the_page_names_parameters_of_the_forwarder_that_exist() -> None:
    assert PARAMETERS["DisableExecuteApiEndpoint"]["AllowedValues"] == ["true", "false"]
    assert PARAMETERS["TrustedProxyHops"]["Default"] == 0
    assert {"DisableExecuteApiEndpoint", "TrustedProxyHops"} <= set(re.findall(r"\w+", PAGE))
