"""An event posted over HTTPS reaches Cometly, as its caller meant it."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from local.stack.checkout import Checkout
from tests.stack.deployed import Answer, Deployed, Fields, eventually

COMETLY = "https://app.cometly.com"

# Cometly's two examples as its reference prints them. The first has values for its `<string>`s; the
# second is as it stands, with an address that the page hides from robots.
EVERY_FIELD: Fields = json.loads((Checkout.here().samples / "every-field.json").read_text("utf-8"))[
    "body"
]
FULL_EXAMPLE = (
    f"curl --request POST \\\n"
    f"  --url {COMETLY}/public-api/v1/events/track \\\n"
    f"  --header 'Authorization: Bearer <token>' \\\n"
    f"  --header 'Content-Type: application/json' \\\n"
    f"  --data '\n{json.dumps(EVERY_FIELD, indent=2)}\n'\n"
)
PURCHASE: Fields = {
    "event_name": "purchase",
    "email": "[email\N{NO-BREAK SPACE}protected]",
    "amount": 99.99,
    "order_id": "ORD-12345",
    "url": "https://example.com/checkout/success",
    "event_time": "2024-01-15T10:30:00Z",
}
SHORT_EXAMPLE = (
    f"curl -X POST {COMETLY}/public-api/v1/events/track \\\n"
    f'  -H "Authorization: Bearer YOUR_API_KEY" \\\n'
    f'  -H "Accept: application/json" \\\n'
    f'  -H "Content-Type: application/json" \\\n'
    f"  -d '{json.dumps(PURCHASE, indent=4, ensure_ascii=False)}'\n"
)


@pytest.mark.parametrize(
    ("example", "token", "fields"),
    [
        pytest.param(FULL_EXAMPLE, "<token>", EVERY_FIELD, id="all 28 fields"),
        pytest.param(SHORT_EXAMPLE, "YOUR_API_KEY", PURCHASE, id="a purchase"),
    ],
)
def test_cometlys_own_example_works_with_another_host_and_token(
    deployed: Deployed, tmp_path: Path, example: str, token: str, fields: Fields
) -> None:
    command = example.replace(COMETLY, deployed.api.url).replace(token, str(deployed.api.key))

    answer = run_curl(command, tmp_path)

    assert answer.status == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == {"status": 202, "message": "Event accepted and queued for processing."}
    [event] = eventually(deployed.sandbox.events, bool)
    assert event["fields"] == fields


def run_curl(command: str, folder: Path) -> Answer:
    """Run a curl command line as it stands; its .curlrc makes it show the answer's head too."""
    (folder / ".curlrc").write_text("silent\nshow-error\ninclude\n", "utf-8")
    done = subprocess.run(
        ["sh", "-c", command],
        env=os.environ | {"CURL_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    head, _, body = done.stdout.partition("\n\n")
    status_line, *lines = head.splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(status_line.split()[1]), headers, json.loads(body))


def test_the_examples_have_the_fields_of_the_reference() -> None:
    assert (len(EVERY_FIELD), len(PURCHASE)) == (28, 6)


def test_300_events_in_one_array_arrive_once_each(deployed: Deployed) -> None:
    emails = [f"visitor-{number}@example.com" for number in range(300)]

    answer = deployed.api.post(
        [{"event_name": "lead_generated", "email": email} for email in emails]
    )

    assert answer.status == 202
    assert len({result["event_id"] for result in answer.body["results"]}) == 300
    deployed.queues.until_all_is_settled()
    assert Counter(it["email"] for it in deployed.sandbox.requests()) == Counter(emails)
    arrived = {it["fields"]["email"]: it for it in deployed.sandbox.events()}
    assert [arrived[email]["fields"]["idempotency_key"] for email in emails] == [
        result["event_id"] for result in answer.body["results"]
    ]


def test_50_events_that_were_accepted_while_cometly_was_away_arrive_once_each(
    deployed: Deployed,
) -> None:
    emails = [f"patient-{number}@example.com" for number in range(50)]
    deployed.sandbox.stop()

    answer = deployed.api.post([{"event_name": "sign_up", "email": email} for email in emails])
    # Away for long enough that so many posts have failed that the rest wait for a probe.
    eventually(deployed.table.pause, bool)
    deployed.sandbox.start()

    assert answer.status == 202
    deployed.queues.until_all_is_settled()
    assert Counter(it["email"] for it in deployed.sandbox.requests()) == Counter(emails)
