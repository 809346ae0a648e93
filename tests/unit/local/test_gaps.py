from typing import Any

from local.stack.gaps import adapted


def _resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


def _adapt(parameters: dict[str, str] | None = None, **resources: Any) -> dict[str, Any]:
    template = {
        "Parameters": {"Most": {"Type": "Number", "Default": 2}},
        "Resources": {"Secret": _resource("AWS::SecretsManager::Secret"), **resources},
        "Outputs": {"Arn": {"Value": {"Ref": "Secret"}}},
    }
    return adapted(template, parameters or {})


def test_a_secret_is_referred_to_by_its_arn() -> None:
    variables = {"SECRET": {"Ref": "Secret"}}

    changed = _adapt(F=_resource("AWS::Lambda::Function", Variables=variables, Other={"Ref": "F"}))

    properties = changed["Resources"]["F"]["Properties"]
    assert properties["Variables"] == {"SECRET": {"Fn::GetAtt": ["Secret", "Id"]}}
    assert properties["Other"] == {"Ref": "F"}
    assert changed["Outputs"]["Arn"]["Value"] == {"Fn::GetAtt": ["Secret", "Id"]}


def test_concurrency_is_a_number_as_given_or_by_default() -> None:
    events = {"Queue": {"Properties": {"ScalingConfig": {"MaximumConcurrency": {"Ref": "Most"}}}}}
    function = _resource("AWS::Serverless::Function", Events=events)

    for parameters, expected in (({}, 2), ({"Most": "7"}, 7)):
        changed = _adapt(parameters, F=function)["Resources"]["F"]["Properties"]["Events"]
        scaling = changed["Queue"]["Properties"]["ScalingConfig"]
        assert scaling == {"MaximumConcurrency": expected}


def test_leave_to_send_is_leave_to_send_in_batches() -> None:
    statements = [{"Action": "sqs:SendMessage"}, {"Action": ["sqs:ReceiveMessage"]}]

    changed = _adapt(Role=_resource("AWS::IAM::Role", Statement=statements))

    assert changed["Resources"]["Role"]["Properties"]["Statement"] == [
        {"Action": ["sqs:SendMessage", "sqs:SendMessageBatch"]},
        {"Action": ["sqs:ReceiveMessage"]},
    ]


def test_what_denies_requests_without_tls_is_left_out() -> None:
    allowed = {"Effect": "Allow", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}
    denied = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}

    changed = _adapt(Policy=_resource("AWS::SQS::QueuePolicy", Statement=[allowed, denied]))

    assert changed["Resources"]["Policy"]["Properties"]["Statement"] == [allowed]


def test_a_generated_secret_has_no_punctuation_where_it_is_to_have_none() -> None:
    generate = {"ExcludePunctuation": True, "PasswordLength": 40}

    changed = _adapt(Key=_resource("AWS::SecretsManager::Secret", GenerateSecretString=generate))

    excluded = changed["Resources"]["Key"]["Properties"]["GenerateSecretString"]
    assert set("\"'$;#") <= set(excluded["ExcludeCharacters"])
