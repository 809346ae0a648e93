"""What `template.yaml` promises: its time budget, what it keeps, and what it lets nobody do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cometly_forwarder import aws, secrets
from cometly_forwarder.deliver import batch, claims, cometly, ledger, posting
from cometly_forwarder.deliver.settings import DeliverSettings
from cometly_forwarder.event import envelope
from cometly_forwarder.event.model import EVENT_NAMES
from cometly_forwarder.ingest.settings import IngestSettings
from cometly_forwarder.reconcile.settings import ReconcileSettings
from local.stack import deploy
from local.stack.checkout import Checkout
from tests.unit import cloudformation
from tests.unit.cases import in_one_test
from tests.unit.cloudformation import Node

DATA_HOLDERS = ("AWS::SQS::Queue", "AWS::DynamoDB::Table", "AWS::SecretsManager::Secret")
# API Gateway waits no longer for a function:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
HTTP_API_SECONDS = 30
HOUR = 3600
# What services ask for shares the throttle of the stage.
SERVICE_ROUTES = {
    "POST /v1/events",
    "POST /public-api/v1/events/track",
    "POST /v1/events/lookup",
    "GET /v1/events/{event_id}",
}

TEMPLATE = cloudformation.read(Checkout.here().template)
TEMPLATES = [Checkout.here().template, *(Checkout.here().root / "docs").glob("*/*.yaml")]
RESOURCES: dict[str, dict[str, Node]] = TEMPLATE["Resources"]
PARAMETERS: dict[str, dict[str, Node]] = TEMPLATE["Parameters"]


def of_type(*types: str) -> dict[str, dict[str, Node]]:
    return {name: it for name, it in RESOURCES.items() if it["Type"] in types}


def properties(name: str) -> dict[str, Node]:
    found: dict[str, Node] = RESOURCES[name].get("Properties", {})
    return found


FUNCTIONS = of_type("AWS::Serverless::Function")
INGEST, DELIVER = properties("IngestFunction"), properties("DeliverFunction")
EVENT_QUEUE, DEAD_LETTER_QUEUE = properties("EventQueue"), properties("DeadLetterQueue")
PAGE_QUEUE = properties("PageQueue")
MAPPING: dict[str, Node] = DELIVER["Events"]["Queue"]["Properties"]
PAGE_MAPPING = properties("PageMapping")


LAMBDA_MAY_GATHER_SECONDS = 20
GATHERED = 40


def test_the_page_queue_is_like_the_event_queue_but_for_its_delay() -> None:
    assert PAGE_QUEUE == {**EVENT_QUEUE, "DelaySeconds": {"Ref": "PageDelaySeconds"}}


def test_the_page_queue_is_read_like_the_event_queue_by_the_same_function() -> None:
    alike = ("MaximumBatchingWindowInSeconds", "FunctionResponseTypes")

    assert {name: PAGE_MAPPING[name] for name in alike} == {name: MAPPING[name] for name in alike}
    assert PAGE_MAPPING["FunctionName"] == {"Ref": "DeliverFunction"}
    assert PAGE_MAPPING["EventSourceArn"] == {"Fn::GetAtt": "PageQueue.Arn"}
    assert PAGE_MAPPING["ScalingConfig"] == {"MaximumConcurrency": 2}
    # Pages reserve no farther ahead than so many slots at 1000 a minute.
    assert PAGE_MAPPING["BatchSize"] == batch.THREADS
    rest = {"FunctionName", "EventSourceArn", "BatchSize", "ScalingConfig"}
    assert PAGE_MAPPING.keys() == {*rest, *alike}


def test_a_stack_without_pages_has_nothing_of_a_page_queue() -> None:
    """What names the queue stands under the condition, or in a choice that falls away with it."""
    conditions = {"HasPages", "IsWatchedWithPages"}
    conditional = {name for name, it in RESOURCES.items() if it.get("Condition") in conditions}
    shut = {"Fn::Not": [{"Fn::Equals": [{"Ref": "AllowedOrigins"}, ""]}]}

    left = [
        name
        for name, it in (RESOURCES | TEMPLATE["Outputs"]).items()
        if it.get("Condition") not in conditions and "PageQueue" in str(without_pages(it))
    ]

    assert TEMPLATE["Conditions"]["HasPages"] == shut
    assert conditional == {
        *("PageQueue", "PageQueuePolicy", "PageMapping"),
        *("PagesWaitAlarm", "PagesGrowOldAlarm"),
    }
    assert left == []


def without_pages(node: Node) -> Node:
    """Choose as CloudFormation does where no origin is allowed."""
    if isinstance(node, list):
        return [without_pages(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("Fn::If", [None])[0] == "HasPages":
        return without_pages(node["Fn::If"][2])
    return {name: without_pages(part) for name, part in node.items()}


def test_a_message_stays_hidden_for_six_times_the_functions_time_out_and_its_window() -> None:
    """A message that Lambda gathers is hidden meanwhile, which may take 20 s whatever is set.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """
    longest = max(PARAMETERS["BatchingWindowSeconds"]["MaxValue"], LAMBDA_MAY_GATHER_SECONDS)

    assert EVENT_QUEUE["VisibilityTimeout"] >= 6 * DELIVER["Timeout"] + longest
    # Waiting never trips the queue's own dead-lettering.
    assert EVENT_QUEUE["RedrivePolicy"]["maxReceiveCount"] == 1000


LEASE_SECONDS = DELIVER["Timeout"] + claims.LEASE_MARGIN_SECONDS
QUEUED_SECONDS = EVENT_QUEUE["MessageRetentionPeriod"]
PARKED_SECONDS = DEAD_LETTER_QUEUE["MessageRetentionPeriod"]


@pytest.mark.parametrize(
    ("less", "more"),
    [
        pytest.param(
            cometly.ANSWER_SECONDS + 3 * aws.CALL_SECONDS,
            posting.POST_SECONDS,
            id="a post, then the gate told, the outcome recorded, the message released",
        ),
        pytest.param(
            cometly.CONNECT_SECONDS + cometly.READ_SECONDS,
            cometly.ANSWER_SECONDS,
            id="a connection and the wait for an answer, before a post is cut off",
        ),
        pytest.param(
            2 * aws.CALL_SECONDS + posting.POST_SECONDS,
            DELIVER["Timeout"],
            id="a gate, a claim, and then the post that nothing may cut short",
        ),
        pytest.param(DELIVER["Timeout"], LEASE_SECONDS, id="an invocation, within its lease"),
        pytest.param(
            LEASE_SECONDS,
            EVENT_QUEUE["VisibilityTimeout"],
            id="a lease, before the message comes back",
        ),
        pytest.param(
            2 * aws.CALL_SECONDS,
            INGEST["Timeout"],
            id="ingest's worst case for one event: keys are read, then the queue is slow",
        ),
        pytest.param(INGEST["Timeout"], HTTP_API_SECONDS, id="ingest, before the API gives up"),
        pytest.param(
            2 * PARAMETERS["DeliveryHorizonHours"]["MaxValue"] * HOUR,
            QUEUED_SECONDS,
            id="the delivery horizon, within what a queue keeps",
        ),
        pytest.param(
            QUEUED_SECONDS + PARKED_SECONDS,
            ledger.RETENTION_SECONDS,
            id="an event on both queues, within what the ledger remembers",
        ),
        pytest.param(
            2 * GATHERED * 60 / 1000,
            DELIVER["Timeout"] - posting.POST_SECONDS,
            id="the slots of two batches at 1000 a minute, before it is too late for a post",
        ),
        pytest.param(QUEUED_SECONDS, PARKED_SECONDS + 1, id="queued no longer than parked"),
    ],
)
def test_the_one_fits_into_the_other(less: float, more: float) -> None:
    assert less < more


def test_the_largest_event_fits_into_a_message() -> None:
    for queue in (EVENT_QUEUE, DEAD_LETTER_QUEUE):
        assert queue["MaximumMessageSize"] > envelope.MAX_BODY_BYTES
    # What is parked has room for its reasons: at most ten attributes of 2,000 characters.
    room = DEAD_LETTER_QUEUE["MaximumMessageSize"] - EVENT_QUEUE["MaximumMessageSize"]
    assert room > 10 * 4 * 2_000


def test_deliver_reports_single_failures_and_is_not_polled_beyond_its_concurrency() -> None:
    """Polling beyond a reservation burns receives: MaximumConcurrency is what holds it."""
    assert MAPPING["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert MAPPING["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "DeliverConcurrency"}}
    assert PARAMETERS["DeliverConcurrency"]["Default"] == 2
    assert MAPPING["MaximumBatchingWindowInSeconds"] == {"Ref": "BatchingWindowSeconds"}
    # Without a window Lambda takes no more than ten.
    assert MAPPING["BatchSize"] == {"Fn::If": ["Gathers", GATHERED, 10]}
    no_window = {"Fn::Equals": [{"Ref": "BatchingWindowSeconds"}, 0]}
    assert TEMPLATE["Conditions"]["Gathers"] == {"Fn::Not": [no_window]}
    assert "ReservedConcurrentExecutions" not in INGEST | DELIVER


@pytest.mark.parametrize("name", of_type(*DATA_HOLDERS))
def test_what_holds_data_outlives_its_stack_and_a_failed_first_deployment_leaves_nothing(
    name: str,
) -> None:
    """An update may make the page queue, and fail after ingest has sent there: it is kept."""
    resource = RESOURCES[name]
    deletion = "Retain" if name == "PageQueue" else "RetainExceptOnCreate"

    assert resource["UpdateReplacePolicy"] == "Retain"
    assert resource["DeletionPolicy"] == deletion


def test_nothing_with_a_fixed_name_outlives_its_stack() -> None:
    """A name that is taken fails the next deployment. Of an API, a name is no identity."""
    naming = {"Name", "QueueName", "TableName", "TopicName", "LogGroupName", "RoleName"}
    named = {name for name in RESOURCES if naming & properties(name).keys()} - {"Api"}

    assert named == {"EventBus", "ApiLog", "IngestLog", "DeliverLog", "ReconcileLog"}
    assert [name for name in named if "DeletionPolicy" in RESOURCES[name]] == []


# What an update must not replace, with each property that would make CloudFormation do so
# (`Update requires: Replacement`), as revision 3862026 has it. None: the property is not there.
KEPT: dict[str, tuple[str, dict[str, Node]]] = {
    **dict.fromkeys(
        ("EventQueue", "PageQueue", "DeadLetterQueue"),
        ("AWS::SQS::Queue", {"QueueName": None, "FifoQueue": None}),
    ),
    **dict.fromkeys(
        ("ServerKeys", "CometlyTokenSecret"), ("AWS::SecretsManager::Secret", {"Name": None})
    ),
    "Table": (
        "AWS::DynamoDB::Table",
        {
            "TableName": None,
            "KeySchema": [{"AttributeName": "event_id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "event_id", "AttributeType": "S"}],
            "LocalSecondaryIndexes": None,
            "ImportSourceSpecification": None,
        },
    ),
    "Api": ("AWS::ApiGatewayV2::Api", {"ProtocolType": "HTTP"}),
    "Topic": ("AWS::SNS::Topic", {"TopicName": None, "FifoTopic": None}),
    "EventBus": ("AWS::Events::EventBus", {"Name": {"Ref": "AWS::StackName"}}),
    "EventRule": (
        "AWS::Events::Rule",
        {
            "Name": None,
            "EventBusName": {"Fn::If": ["OwnBus", {"Ref": "EventBus"}, {"Ref": "EventBusName"}]},
        },
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_update_replaces_no_queue_no_table_no_secret_and_no_address(name: str) -> None:
    kind, replacing = KEPT[name]

    assert RESOURCES[name]["Type"] == kind
    assert {it: properties(name).get(it) for it in replacing} == replacing


def test_the_ledger_costs_no_key_and_no_backup_and_its_entries_end_by_themselves() -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_SSESpecification.html"""
    table, backup = properties("Table"), PARAMETERS["PointInTimeRecovery"]

    assert table["SSESpecification"] == {"SSEEnabled": False}
    assert table["PointInTimeRecoverySpecification"] == {
        "PointInTimeRecoveryEnabled": {"Ref": "PointInTimeRecovery"}
    }
    assert (backup["Default"], backup["AllowedValues"]) == ("false", ["true", "false"])
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert "expires_at = :" in ledger._CLAIM


@pytest.mark.parametrize("name", of_type("AWS::IAM::Role"))
def test_a_role_allows_no_wildcard_and_no_managed_policy(name: str) -> None:
    role = properties(name)

    assert "ManagedPolicyArns" not in role
    for statement in statements(role):
        assert statement["Effect"] == "Allow"
        assert "*" not in str(statement["Action"])
        assert "*" not in str(statement["Resource"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_own_role_alone_and_a_log_of_the_template(name: str) -> None:
    """A log that Lambda made by itself would be kept for ever."""
    function = properties(name)

    assert function["Role"] == {"Fn::GetAtt": name.replace("Function", "Role.Arn")}
    assert "Policies" not in function
    assert function["LoggingConfig"]["LogGroup"]["Ref"] in of_type("AWS::Logs::LogGroup")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lambda_writes_of_itself_only_what_went_wrong(name: str) -> None:
    logging = properties(name)["LoggingConfig"]

    assert (logging["LogFormat"], logging["SystemLogLevel"]) == ("JSON", "WARN")
    # The functions' own lines are INFO, and Lambda's default lets that through.
    assert logging.get("ApplicationLogLevel", "INFO") == "INFO"


def statements(role: Mapping[str, Node]) -> Iterator[dict[str, Node]]:
    for policy in role["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def test_those_that_call_cometly_may_read_its_token_and_ingest_alone_the_callers_keys() -> None:
    readers = {
        (role, str(statement["Resource"]))
        for role in of_type("AWS::IAM::Role")
        for statement in statements(properties(role))
        if "secretsmanager:GetSecretValue" in statement["Action"]
    }

    assert readers == {
        ("DeliverRole", "{'Ref': 'CometlyTokenSecret'}"),
        ("IngestRole", "{'Ref': 'ServerKeys'}"),
        ("ReconcileRole", "{'Ref': 'CometlyTokenSecret'}"),
    }


AN_ADDRESS = "https://app.cometly.com"


def test_a_functions_variables_are_those_that_it_reads() -> None:
    read: dict[str, type[IngestSettings | DeliverSettings | ReconcileSettings]] = {
        "IngestFunction": IngestSettings,
        "DeliverFunction": DeliverSettings,
        "ReconcileFunction": ReconcileSettings,
    }

    particular = {
        "COMETLY_URL": AN_ADDRESS,
        "ALLOWED_ORIGINS": AN_ADDRESS,
        "PASSED_ON_FIELDS": PARAMETERS["PassedOnFields"]["Default"],
    }

    for name, kind in read.items():
        given = (
            TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
            | (properties(name)["Environment"]["Variables"])
        )
        looked_up = Recording({variable: particular.get(variable, "1") for variable in given})
        kind.read(looked_up)
        assert looked_up.names == {it for it in given if not it.startswith("POWERTOOLS_")}


# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
ENVIRONMENT_BYTES = 4096
# As long as each may become: a queue's name and a secret's are the stack's first letters and more.
LONGEST = {
    "EVENT_QUEUE_URL": "https://sqs.ap-southeast-2.amazonaws.com/123456789012/" + "q" * 80,
    "PAGE_QUEUE_URL": "https://sqs.ap-southeast-2.amazonaws.com/123456789012/" + "q" * 80,
    "SERVER_KEYS_SECRET_ARN": "arn:aws-us-gov:secretsmanager:us-gov-east-1:123456789012:secret:"
    + "s" * 40,
    "TABLE_NAME": "t" * 255,
    "BROWSER_EVENT_NAMES": ",".join(EVENT_NAMES),
    "VISITOR_EVENTS_PER_MINUTE": "60000",
    "TRUSTED_PROXY_HOPS": "9",
    "DEFAULT_PHONE_REGION": "US",
    "PASSED_ON_FIELDS": PARAMETERS["PassedOnFields"]["Default"],
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "POWERTOOLS_SERVICE_NAME": "n" * 128,
}


@pytest.mark.parametrize(
    ("names", "origins"),
    [
        pytest.param("", 80, id="without BrowserEventNames"),
        pytest.param(LONGEST["BROWSER_EVENT_NAMES"], 50, id="with every name in it"),
    ],
)
def test_as_many_origins_as_documented_fit_into_the_environment(names: str, origins: int) -> None:
    shared = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    variables = shared | INGEST["Environment"]["Variables"]
    allowed = ",".join(f"https://shop-{number:03}.of.example.com" for number in range(origins))

    values = {**LONGEST, "BROWSER_EVENT_NAMES": names, "ALLOWED_ORIGINS": allowed}

    assert values.keys() == variables.keys()
    assert len(allowed) == 32 * origins - 1
    assert sum(len(name) + len(value) for name, value in values.items()) < ENVIRONMENT_BYTES


# What Ref returns of each; of a parameter it returns the value itself.
REFERENCES = {
    "AWS::SQS::Queue": "Url",
    "AWS::DynamoDB::Table": "Name",
    "AWS::SecretsManager::Secret": "Arn",
}


def name_of(value: Node) -> str:
    """Return what a variable with this value has to be called."""
    if "Fn::If" in value:
        return name_of(value["Fn::If"][1])
    target = value.get("Ref") or value["Fn::GetAtt"].replace(".", "")
    named = target + (REFERENCES[RESOURCES[target]["Type"]] if target in RESOURCES else "")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", named).upper()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_variable_is_what_its_name_says(name: str) -> None:
    shared = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    variables = shared | properties(name)["Environment"]["Variables"]

    named = {it: name_of(value) for it, value in variables.items() if "POWERTOOLS_" not in it}

    assert named == {it: it.replace("KEYS_SECRET", "KEYS") for it in named}


@pytest.mark.parametrize("name", ["IngestFunction", "DeliverFunction"])
def test_without_pages_no_page_queue_is_named(name: str) -> None:
    variables = without_pages(properties(name)["Environment"]["Variables"])
    of_pages = [value for it, value in variables.items() if it.startswith("PAGE_")]

    assert of_pages
    assert all(value == "" for value in of_pages)


class Recording(dict[str, str]):
    """An environment that knows what was read of it."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def test_no_secret_passes_cloudformation_and_no_deployment_changes_one() -> None:
    """CloudFormation writes a secret anew when the property in the template has changed.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secret.html
    So both are pinned for good: another `GenerateSecretString` would replace every caller's key.
    """
    assert [name for name, it in PARAMETERS.items() if "NoEcho" in it] == []
    assert properties("CometlyTokenSecret")["SecretString"] == secrets.NO_TOKEN == deploy.NO_TOKEN
    assert properties("ServerKeys")["GenerateSecretString"] == {
        "SecretStringTemplate": '{"previous": ""}',
        "GenerateStringKey": "current",
        "PasswordLength": 40,
        "ExcludePunctuation": True,
    }


LOG_LINE: str = properties("ApiStage")["AccessLogSettings"]["Format"]
_VARIABLE = re.compile(r"\$context\.[A-Za-z.]+")


@pytest.mark.parametrize(
    "written",
    [
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html
        pytest.param(dict.fromkeys(_VARIABLE.findall(LOG_LINE), "-"), id="what is empty is a -"),
        pytest.param(
            {
                "$context.requestId": "JKJaXmPLvHcESHA=",
                "$context.routeKey": "POST /v1/events",
                "$context.status": "429",
                "$context.responseLatency": "1",
                "$context.error.message": "Too Many Requests",
                "$context.integrationErrorMessage": "-",
            },
            id="throttled",
        ),
    ],
)
def test_an_access_log_line_is_json(written: dict[str, str]) -> None:
    line = json.loads(_VARIABLE.sub(lambda it: written[it[0]], LOG_LINE))

    assert line == {
        "id": written["$context.requestId"],
        "route": written["$context.routeKey"],
        "status": written["$context.status"],
        "ms": written["$context.responseLatency"],
        "error": " ".join(
            written[f"$context.{name}"] for name in ("error.message", "integrationErrorMessage")
        ),
    }


def test_an_access_log_line_names_nobody() -> None:
    for personal in ("identity.", "sourceIp", "userAgent", "path", "queryString"):
        assert personal not in LOG_LINE


# --- Where events may come from ---------------------------------------------------------------

OWN_RULES = {"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*"}


def statement_of(policy: str, sid: str) -> dict[str, Node]:
    listed = properties(policy)["PolicyDocument"]["Statement"]
    [found] = [statement for statement in listed if statement["Sid"] == sid]
    return dict(found)


@pytest.mark.parametrize("policy", ["SourcesMaySend", "TopicPolicy"])
def test_every_rule_of_the_own_account_and_no_other_service_or_account_is_admitted(
    policy: str,
) -> None:
    statement = statement_of(policy, "Rules")

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"ArnLike": {"aws:SourceArn": OWN_RULES}}


def test_the_queue_admits_its_sources_before_they_speak() -> None:
    """EventBridge and SNS do not try again what they may not hand over."""
    policy = str(RESOURCES["SourcesMaySend"])

    assert RESOURCES["EventRule"]["DependsOn"] == "SourcesMaySend"
    assert RESOURCES["TopicSubscription"]["DependsOn"] == "SourcesMaySend"
    assert "EventRule" not in policy
    assert "TopicSubscription" not in policy


def test_only_the_topic_that_the_stack_listens_to_may_send() -> None:
    statement = statement_of("SourcesMaySend", "Topic")
    topic = {"Fn::If": ["OwnTopic", {"Ref": "Topic"}, {"Ref": "SnsTopicArn"}]}

    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    assert properties("TopicSubscription")["TopicArn"] == topic


@pytest.mark.parametrize("name", of_type("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"))
def test_what_comes_without_tls_is_refused(name: str) -> None:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-security-best-practices.html"""
    statement = statement_of(name, "NotWithoutTls")

    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_every_queue_has_one_policy_and_each_topic_one() -> None:
    """A second policy of a queue would replace the first."""
    policies = of_type("AWS::SQS::QueuePolicy").values()
    queues = [it["Ref"] for policy in policies for it in policy["Properties"]["Queues"]]

    assert sorted(queues) == sorted(of_type("AWS::SQS::Queue"))
    for topic in of_type("AWS::SNS::Topic"):
        assert properties(f"{topic}Policy")["Topics"] == [{"Ref": topic}]


def test_what_cannot_be_handed_to_the_queue_is_kept_with_the_dead_letters() -> None:
    dead_letters = {"Fn::GetAtt": "DeadLetterQueue.Arn"}
    [target] = properties("EventRule")["Targets"]

    assert target["DeadLetterConfig"] == {"Arn": dead_letters}
    assert properties("TopicSubscription")["RedrivePolicy"] == {"deadLetterTargetArn": dead_letters}


@in_one_test
@pytest.mark.parametrize(
    ("name", "value", "is_allowed"),
    [
        ("AllowedOrigins", "", True),
        ("AllowedOrigins", "https://a.example, http://localhost:5173", True),
        ("AllowedOrigins", "http://[::1]:8080", True),
        ("AllowedOrigins", "https://shop.example.com/", False),
        ("AllowedOrigins", "https://Shop.example.com", False),
        ("AllowedOrigins", "shop.example.com", False),
        ("AllowedOrigins", "*", False),
        ("AllowedOrigins", "https://shop.example.com:8443,http://shop.example.com:8080", True),
        ("AllowedOrigins", "https://shop.example.com:80, http://shop.example.com:443", True),
        ("AllowedOrigins", "https://shop.example.com:443", False),
        ("AllowedOrigins", "https://shop.example.com:443 , https://a.example", False),
        ("AllowedOrigins", "http://shop.example.com:80", False),
        ("AllowedOrigins", "https://[::1]:443", False),
        ("AllowedOrigins", "https://shop.example.com.", False),
        ("AllowedOrigins", "https://shop.example.com:", False),
        ("AllowedOrigins", "https://shop.example.com:08443", False),
        ("AllowedOrigins", "https://a.example,", False),
        ("AllowedOrigins", "https://a.example https://b.example", False),
        ("AllowedOrigins", "null", True),
        ("AllowedOrigins", "https://a.example, null", True),
        ("AllowedOrigins", "nullx", False),
        ("AllowedOrigins", "https://*.shop.example.com", True),
        ("AllowedOrigins", "https://*.shop.example.com:8443,null", True),
        ("AllowedOrigins", "https://*.com", False),
        ("AllowedOrigins", "https://a.example,https://*.com", False),
        ("AllowedOrigins", "https://*", False),
        ("AllowedOrigins", "https://a.*.example.com", False),
        ("AllowedOrigins", "https://*shop.example.com", False),
        ("AllowedOrigins", "https://*.shop.example.com:443", False),
        ("PassedOnFields", "", True),
        ("PassedOnFields", "currency,profile_field_*", True),
        ("PassedOnFields", "currency , plan_2,_x", True),
        ("PassedOnFields", "currency,", False),
        ("PassedOnFields", "*", False),
        ("PassedOnFields", "a*b", False),
        ("PassedOnFields", "2nd", False),
        ("PassedOnFields", "a b", False),
        ("BrowserEventNames", "", True),
        ("BrowserEventNames", "*", True),
        ("BrowserEventNames", "view_content, add_to_cart ,custom_event_50", True),
        ("BrowserEventNames", "custom_event_51", False),
        ("BrowserEventNames", "*,purchase", False),
        ("BrowserEventNames", "Purchase", False),
        ("BrowserEventNames", "purchase,", False),
        ("BrowserEventNames", "purchase subscribe", False),
        ("SnsTopicArn", "", True),
        ("SnsTopicArn", "arn:aws:sns:eu-central-1:123456789012:shop", True),
        ("SnsTopicArn", "arn:aws-cn:sns:cn-north-1:123456789012:shop.fifo", True),
        ("SnsTopicArn", "arn:aws:sns:*:123456789012:shop", False),
        ("SnsTopicArn", "arn:aws:sns:eu-central-1:*:shop", False),
        ("SnsTopicArn", "arn:aws:sns:eu-central-1:123456789012:*", False),
        ("SnsTopicArn", "arn:aws:sqs:eu-central-1:123456789012:shop", False),
        ("AlarmEmail", "", True),
        ("AlarmEmail", "ops+cometly@example.com", True),
        ("AlarmEmail", "ops@example.com,dev@example.com", False),
        ("AlarmEmail", "ops", False),
        ("EventBusName", "", True),
        ("EventBusName", "aws.partner/shopify.com/1234/orders", True),
        ("EventBusName", "a bus", False),
        ("EventDetailType", "Order Paid", True),
        ("EventDetailType", "", False),
    ],
)
def test_a_parameter_is_checked_before_anything_is_deployed(
    name: str, value: str, *, is_allowed: bool
) -> None:
    pattern = PARAMETERS[name]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, value)) is is_allowed


@in_one_test
@pytest.mark.parametrize("name", sorted(EVENT_NAMES))
def test_every_name_that_cometly_takes_can_be_admitted_from_pages(name: str) -> None:
    assert re.fullmatch(PARAMETERS["BrowserEventNames"]["AllowedPattern"], name)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_yaml_alias(path: Path) -> None:
    """CloudFormation refuses one, in the console and StackSets too; `sam` alone writes it out."""
    text = path.read_text("utf-8")

    aliases = [it for it in yaml.scan(text) if isinstance(it, (yaml.AnchorToken, yaml.AliasToken))]

    assert aliases == []


def test_what_anyone_may_ask_for_has_a_throttle_below_that_of_the_services() -> None:
    """AWS refuses the settings of a route that does not exist yet: the stage waits for it."""
    keys = {
        name: it["Properties"]["RouteKey"]
        for name, it in of_type("AWS::ApiGatewayV2::Route").items()
    }
    throttles = properties("ApiStage")["RouteSettings"]
    services = PARAMETERS["ServiceRequestsPerSecond"]

    assert throttles.keys() == {*keys.values()} - SERVICE_ROUTES
    assert {keys[name] for name in RESOURCES["ApiStage"]["DependsOn"]} == throttles.keys()
    for route, throttle in throttles.items():
        of_pages = {"/collect", "/client.js"} & {route.partition(" ")[2]}
        parameter = "PageRequestsPerSecond" if of_pages else "OtherRequestsPerSecond"
        limits = ("ThrottlingRateLimit", "ThrottlingBurstLimit")
        assert throttle == {limit: {"Ref": parameter} for limit in limits}
        assert 0 < PARAMETERS[parameter]["Default"] < min(services["AllowedValues"])


def test_services_get_the_rate_of_the_parameter_and_twice_as_many_at_once() -> None:
    bursts = TEMPLATE["Mappings"]["ServiceBurst"]
    rate = {"Ref": "ServiceRequestsPerSecond"}
    parameter = PARAMETERS["ServiceRequestsPerSecond"]

    assert properties("ApiStage")["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": rate,
        "ThrottlingBurstLimit": {"Fn::FindInMap": ["ServiceBurst", rate, "Requests"]},
    }
    assert parameter["Default"] == 200
    assert bursts == {str(each): {"Requests": 2 * each} for each in parameter["AllowedValues"]}
