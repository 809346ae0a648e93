"""The tag of client/gtm-tag.html, in a page that does with it what Tag Manager does.

Tag Manager replaces each variable with an expression, parses the tag, and puts its scripts into the
page one after the other, each as a new element.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from local.stack.checkout import Checkout
from tests.browser.visit import FINGERPRINT, TOKEN, WITH_PIXEL, Visit, new_order

TAG = (Checkout.here().root / "client" / "gtm-tag.html").read_text("utf-8")
CONTAINER = """
<script>
  window.dataLayer = [%(layer)s];
  const value = (path) => path.split('.').reduce((it, name) => it && it[name], dataLayer[0]);
  const inject = ([node, ...rest], place) => {
    if (!node) return;
    if (node.tagName !== 'SCRIPT') { place.append(node); return inject(rest, place); }
    const script = document.createElement('script');
    script.async = false;
    script.text = node.text;
    place.append(script);
    inject(rest, place);
  };
  const fire = (html) => {
    const box = document.createElement('div');
    box.innerHTML = html;
    const hidden = document.createElement('div');
    hidden.style.display = 'none';
    document.body.append(hidden);
    inject([...box.children], hidden);
  };
  addEventListener('DOMContentLoaded', () => %(fire)s);
</script>
"""


def tag_for(visit: Visit) -> str:
    """Return the tag as it is installed: with the stack's address and the container's variables."""
    [line] = re.findall(r"var api = .*;", TAG)
    tag = TAG.replace(line, f"var api = '{visit.api_url}';")
    return re.sub(r"\{\{DLV - ([\w.]+)\}\}", r"value('\1')", tag)


def container(visit: Visit, order: str, *, times: int) -> str:
    layer = {
        "event": "purchase",
        "ecommerce": {"transaction_id": order, "value": 178.5, "currency": "USD"},
        "user_data": {"email": "grace@example.com"},
    }
    tag = json.dumps(tag_for(visit)).replace("</", "<\\/").replace("<!--", "<\\!--")
    fire = "{ " + f"fire({tag}); " * times + "}"
    return CONTAINER % {"layer": json.dumps(layer), "fire": fire}


@pytest.mark.parametrize("times", [1, 2], ids=["fired once", "fired twice"])
def test_the_tag_sends_the_purchase_of_the_data_layer_once(
    visit: Visit, visitor: BrowserContext, times: int
) -> None:
    page, order = visitor.new_page(), new_order()

    page.goto(visit.write_plain(WITH_PIXEL + container(visit, order, times=times) + "<body>"))

    event = visit.received_one()

    expected: dict[str, Any] = {
        "event_name": "purchase",
        "order_id": order,
        "amount": 178.5,
        "email": "grace@example.com",
        "comet_token": TOKEN,
        "fingerprint": FINGERPRINT,
        "ip": "127.0.0.1",
    }
    assert {name: event.get(name) for name in expected} == expected
    assert "idempotency_key" not in event
