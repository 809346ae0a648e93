"""What the documents claim, as far as a machine can tell: links, names, defaults, tests."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cometly_forwarder import __version__
from cometly_forwarder.deliver.ledger import RETENTION_SECONDS
from cometly_forwarder.event.envelope import MAX_BODY_BYTES
from cometly_forwarder.ingest import browser, routes
from cometly_forwarder.journal import METRICS
from cometly_forwarder.observability import ALL_METRICS
from local import release
from ops.deadletters.edits import OLDEST_FOR_PLATFORMS
from ops.deadletters.shelf import MOST_HELD
from tests.unit import cloudformation
from tests.unit.cases import in_one_test
from tests.unit.conftest import read

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
ARCHITECTURE, MAINTENANCE, OPERATIONS, PRIVACY, REFERENCE, SOURCES, TUTORIAL = (
    ROOT / "docs" / f"{name}.md"
    for name in (
        *("architecture", "maintenance", "operations", "privacy"),
        *("reference", "sources", "tutorial"),
    )
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
REAL_AWS = ROOT / "docs" / "real-aws.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
WORKFLOWS = "\n".join(
    path.read_text("utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")
)

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SPAN = re.compile(r"`([^`\n]+)`")


TEMPLATE = cloudformation.read(ROOT / "template.yaml")


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def code_in(path: Path) -> str:
    """Everything in a document that is set as code, in a line or in a block of its own."""
    text = text_of(path)
    return "\n".join(_FENCE.findall(text) + _SPAN.findall(_FENCE.sub("", text)))


def names_in(path: Path) -> set[str]:
    return set(_SPAN.findall(_FENCE.sub("", text_of(path))))


def anchors_of(path: Path) -> set[str]:
    """The anchors that a Markdown page gets from its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    return {anchor_of(heading) for heading in headings}


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links() -> list[Any]:
    return [
        pytest.param(path, target, id=f"{path.relative_to(ROOT)} {target}")
        for path in DOCUMENTS
        for target in _LINK.findall(_FENCE.sub("", text_of(path)))
        if not target.startswith("https://")
    ]


def section_of(path: Path, heading: str) -> str:
    return text_of(path).split(f"\n## {heading}\n")[1].split("\n## ")[0]


@in_one_test
@pytest.mark.parametrize(("path", "target"), links())
def test_a_link_leads_somewhere(path: Path, target: str) -> None:
    place, _, anchor = target.partition("#")
    aim = (path.parent / place).resolve() if place else path

    assert aim.exists()
    assert not anchor or anchor in anchors_of(aim)


def test_the_reference_has_the_templates_parameters_with_their_defaults() -> None:
    table = section_of(REFERENCE, "Parameters")

    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE)

    assert sorted(rows) == sorted(
        (name, f"`{it['Default']}`" if it["Default"] != "" else "(empty)")
        for name, it in TEMPLATE["Parameters"].items()
    )


def test_every_output_is_in_the_reference() -> None:
    table = section_of(REFERENCE, "Outputs")

    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(TEMPLATE["Outputs"])


def test_every_output_that_a_command_reads_exists() -> None:
    read = {
        name for path in DOCUMENTS for name in re.findall(r"\boutput ([A-Z]\w+)", code_in(path))
    }

    assert {"ApiUrl", "EventQueueUrl"} <= read
    assert read <= set(TEMPLATE["Outputs"])


@pytest.mark.parametrize("path", [REFERENCE, OPERATIONS], ids=lambda path: path.name)
def test_every_metric_is_named(path: Path) -> None:
    assert names_in(path) >= ALL_METRICS


def test_every_counted_log_line_is_explained() -> None:
    assert set(METRICS) <= names_in(OPERATIONS)


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    commands = "\n".join([*map(code_in, DOCUMENTS), *re.findall(r"run: (.+)", WORKFLOWS)])

    named = set(re.findall(r"\bmake ([a-z-]+)", commands))

    assert {"run", "test", "unit", "build", "lock"} <= named
    assert named <= targets


def test_every_program_named_exists() -> None:
    named = set(re.findall(r"-m (?!pytest|http)([\w.]+)", code_in(CONTRIBUTING)))

    assert {"bench.soak", "local.openapi", "local.release"} <= named
    assert {name for name in named if importlib.util.find_spec(name) is None} == set()


def test_the_variables_of_a_deployment_are_those_that_the_workflows_read() -> None:
    read = set(re.findall(r"\bvars\.(\w+)", WORKFLOWS))

    assert len(read) == 3
    assert read <= names_in(CONTRIBUTING)


def test_the_tests_that_the_documents_rely_on_exist() -> None:
    named = {
        name for path in DOCUMENTS for name in names_in(path) if re.fullmatch(r"test_\w+", name)
    }
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", text_of(path), re.MULTILINE)
    }

    assert named & names_in(ARCHITECTURE)
    assert named <= written


def test_the_files_that_the_documents_name_exist() -> None:
    named = {
        name
        for path in DOCUMENTS
        for name in names_in(path)
        if re.fullmatch(r"([\w.*-]+/)*[\w*-]+\.(py|yaml|toml)", name)
    }
    places = (ROOT, ROOT / "src" / "cometly_forwarder", ROOT / "tests" / "stack")

    assert named
    assert {name for name in named if not any(any(it.glob(name)) for it in places)} == set()


def members_by_class() -> dict[str, set[str]]:
    """What each class of src has of its own. Classes of one name are taken together."""
    members: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.ClassDef):
                members.setdefault(node.name, set()).update(
                    name for statement in node.body for name in _names_bound_by(statement)
                )
    return members


def _names_bound_by(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case _:
            return []


def test_the_members_of_our_classes_that_the_documents_name_exist() -> None:
    members = members_by_class()
    named = {
        (match[1], match[2])
        for path in (ROOT / "docs").rglob("*.md")
        for name in names_in(path)
        if (match := re.fullmatch(r"([A-Z]\w*)\.(\w+)(\(.*\))?", name)) and match[1] in members
    }

    assert ("Posting", "_missed") in named
    assert {(kind, name) for kind, name in named if name not in members[kind]} == set()


@dataclass
class TwoQueues:
    """SQS with two queues, for one who moves messages from the one to the other."""

    source: list[str]
    target: list[str] = field(default_factory=list)

    def receive_message(self, *, QueueUrl: str, MaxNumberOfMessages: int, **_: int) -> Any:  # noqa: N803
        assert QueueUrl == "pages"
        ten = self.source[:MaxNumberOfMessages]
        return {"Messages": [{"Body": body, "ReceiptHandle": body} for body in ten]} if ten else {}

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        assert QueueUrl == "events"
        self.target.append(MessageBody)

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        assert QueueUrl == "pages"
        assert ReceiptHandle in self.target, "deleted before it was sent"
        self.source.remove(ReceiptHandle)


def test_the_runbook_moves_every_message_of_a_page_queue_that_nobody_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    section = text_of(MAINTENANCE).split("## Going back to the version before")[1]
    [mover] = re.findall(r"<<'END'\n(.*?)^END$", section, re.MULTILINE | re.DOTALL)
    bodies = [f"body {number}" for number in range(25)]
    queues = TwoQueues(source=list(bodies))
    monkeypatch.setattr("sys.argv", ["-", "pages", "events"])
    monkeypatch.setattr("boto3.client", lambda _: queues)

    exec(mover, {})  # noqa: S102 - it is ours

    assert queues.source == []
    assert queues.target == bodies


def test_the_limits_are_those_of_the_code_and_of_the_template() -> None:
    table = section_of(MAINTENANCE, "Limits")
    defaults = {name: it["Default"] for name, it in TEMPLATE["Parameters"].items()}
    queue = TEMPLATE["Resources"]["EventQueue"]["Properties"]

    for said in (
        f"{routes.MAX_EVENTS} events, {routes.MAX_BODY_BYTES // 1024**2} MiB",
        f"{browser.MAX_EVENTS} events, {browser.MAX_BODY_BYTES // 1024} KiB",
        f"| {MAX_BODY_BYTES // 1024} KiB;",
        f"a message on a queue holds {queue['MaximumMessageSize'] // 1024} KiB",
        f"`ServiceRequestsPerSecond` ({defaults['ServiceRequestsPerSecond']},",
        f"`PageRequestsPerSecond` ({defaults['PageRequestsPerSecond']})",
        f"`OtherRequestsPerSecond` ({defaults['OtherRequestsPerSecond']})",
        f"`VisitorEventsPerMinute` ({defaults['VisitorEventsPerMinute']})",
        f"`CometlyRequestsPerMinute` ({defaults['CometlyRequestsPerMinute']})",
        f"`DeliveryHorizonHours` ({defaults['DeliveryHorizonHours']}, at most 96)",
        f"{queue['MessageRetentionPeriod'] // 86400} days, the dead-letter queue too",
        f"{RETENTION_SECONDS // 86400} days after its last change",
        f"| {MOST_HELD:,} |",
        f"{OLDEST_FOR_PLATFORMS.days} days",
    ):
        assert said in table, said


def test_each_symptom_says_what_it_means_what_to_do_and_when_it_is_mended() -> None:
    symptoms = set(re.findall(r"\(#([\w-]+)\)", section_of(OPERATIONS, "What to look at first")))
    others = {"alarms", "metrics-and-log-lines", "without-the-command-line"}
    sections = {
        anchor_of(heading): text
        for heading, text in re.findall(
            r"^## (.+?)\n(.*?)(?=^## |\Z)", text_of(OPERATIONS), re.MULTILINE | re.DOTALL
        )
    }

    for anchor in symptoms - others:
        parts = re.findall(r"\*\*(It means|Look and do|Look|Do|Mended when)\b", sections[anchor])
        joined = " ".join(dict.fromkeys(parts)).replace("Look and do", "Look Do")
        assert joined == "It means Look Do Mended when", anchor


def test_no_sample_has_a_key_that_can_be_guessed() -> None:
    """Decision 11: whoever posts a key first makes the real event a duplicate."""
    texts = [text_of(path) for path in (ROOT / "events").rglob("*.json")]
    keys = re.findall(r'"idempotency[_-]key": "([^"]*)"', "\n".join(texts), re.IGNORECASE)

    assert keys
    assert [key for key in keys if not _UUID.fullmatch(key)] == []
    example = json.loads(text_of(ROOT / "docs" / "openapi.json"))["components"]["parameters"]
    assert _UUID.fullmatch(example["IdempotencyKey"]["example"])


def test_the_reference_names_every_answer_that_the_api_declares() -> None:
    table = section_of(REFERENCE, "Answers")
    first_cells = " ".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE))
    named = set(re.findall(r"\b[2-5]\d\d\b", first_cells))
    paths = json.loads(text_of(ROOT / "docs" / "openapi.json"))["paths"]
    declared = {
        status
        for path, item in paths.items()
        for method, operation in item.items()
        for status in operation["responses"]
        if method == "post"
    }

    assert named == declared


# --- Rules for other systems ------------------------------------------------------------------

TRANSFORMERS = sorted((ROOT / "docs" / "transformers").glob("*.yaml"))


def rule_names(path: Path) -> list[str]:
    """The names of a template's rules, as they are unless its parameter says otherwise."""
    template = cloudformation.read(path)
    default = template["Parameters"]["RuleName"]["Default"]
    names = [it["Properties"]["Name"] for it in template["Resources"].values()]
    return [
        default if name == {"Ref": "RuleName"} else name["Fn::Sub"].replace("${RuleName}", default)
        for name in names
    ]


@pytest.mark.parametrize("path", TRANSFORMERS, ids=lambda path: path.name)
def test_the_rules_of_a_template_have_names_of_their_own(path: Path) -> None:
    names = rule_names(path)

    assert len(set(names)) == len(names) > 0
    assert max(map(len, names)) <= 64
    assert all(re.fullmatch(r"[.A-Za-z0-9_-]+", name) for name in names)


def test_the_recipe_deploys_templates_that_exist_with_parameters_that_they_have() -> None:
    deployments = re.findall(
        r"--template-file docs/transformers/(\S+)\.yaml \\\n +--parameter-overrides (.+)$",
        code_in(SOURCES),
        re.MULTILINE,
    )

    assert [name for name, _ in deployments] == ["shopify-order", "stripe-payment"]
    for name, overrides in deployments:
        template = cloudformation.read(ROOT / "docs" / "transformers" / f"{name}.yaml")
        needed = {it for it, about in template["Parameters"].items() if "Default" not in about}
        assert {it.partition("=")[0] for it in overrides.split()} == needed


def test_no_document_puts_a_secret_on_a_command_line() -> None:
    """An argument is in the shell's history, and in the list of processes while it runs."""
    commands = "\n".join(map(code_in, DOCUMENTS))
    given = re.findall(r"--secret-string ([^\s;)]+)", commands)

    assert "file:///dev/stdin" in given
    assert set(given) == {"file:///dev/stdin"}


@pytest.mark.parametrize("path", [README, TUTORIAL, OPERATIONS], ids=lambda path: path.name)
def test_the_token_stays_in_no_variable_of_the_shell(path: Path) -> None:
    [command] = re.findall(r"^.*\bread -rs TOKEN(?:.*\\\n)*.*$", code_in(path), re.MULTILINE)

    assert command.startswith("(")
    assert command.endswith(")")


def posted_in(path: Path) -> list[Any]:
    """The events that a document posts with curl."""
    return [json.loads(body) for body in re.findall(r"-d '(.+?)'$", code_in(path), re.MULTILINE)]


@pytest.mark.parametrize("path", [README, TUTORIAL], ids=lambda path: path.name)
def test_an_event_that_a_document_posts_is_taken_without_a_warning(path: Path) -> None:
    events = posted_in(path)

    assert events
    assert [read(event)[1] for event in events] == [()] * len(events)


def test_the_first_event_of_a_real_space_reaches_no_ad_platform_and_no_person() -> None:
    [event] = posted_in(TUTORIAL)

    assert event["do_not_capi"] is True
    assert event["email"].endswith("@example.com")


def test_the_decisions_are_numbered_one_by_one() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]

    assert numbers == list(range(1, len(DECISIONS) + 1))


def test_each_row_about_real_aws_says_how_it_is_known() -> None:
    introduction, *sections = text_of(REAL_AWS).split("\n## ")
    marks = set(re.findall(r"^- \*\*([a-z ]+)\*\*:", introduction, re.MULTILINE))
    rows = [
        row
        for section in sections
        for row in re.findall(r"^\| (?!---|what )(.+) \|$", section, re.MULTILINE)
    ]

    assert len(marks) == 6
    assert len(rows) > 30
    for row in rows:
        _, known_by = row.split(" | ")
        assert set(re.findall(r"\*\*([a-z ]+)\*\*", known_by)) & marks, row
        assert "http://" not in row


def test_the_newest_version_of_the_changelog_is_the_products() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[(\d[^]]*)]", changelog, re.MULTILINE)

    assert versions[0] == __version__ == release.version_of(ROOT)


def test_the_walk_through_the_code_names_what_exists() -> None:
    text = ARCHITECTURE.read_text("utf-8")
    walk = text[text.index("## One event, through the code") :]
    walk = walk[: walk.index("## Order of effects")]
    named = re.findall(r"`((?:\w+/)*\w+)\.py` `([\w.]+)`", walk)

    for path, name in named:
        place: Any = importlib.import_module("cometly_forwarder." + path.replace("/", "."))
        for part in name.split("."):
            place = getattr(place, part)
        assert callable(place)
    assert len(named) >= 15
