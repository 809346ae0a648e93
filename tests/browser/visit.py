"""The pages of a shop as a test writes them, and what becomes of their events."""

from __future__ import annotations

import html
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Page, Request, Route

from tests.stack.deployed import Functions, Queues, Sandbox, eventually

Fields = dict[str, Any]

TOKEN, FINGERPRINT = "token-1", "fingerprint-1"
PIXEL = f"""
window.cometToken = () => '{TOKEN}';
window.cometFingerprint = () => Promise.resolve('{FINGERPRINT}');
"""
WITH_PIXEL = "<script src='/pixel.js'></script>"
WATCHED = """<script>
  window.posts = [];
  const real = fetch;
  window.fetch = (...request) => real(...request).then((answer) => {
    posts.push([answer.status, +answer.headers.get('Retry-After'), performance.now()]);
    return answer;
  }, (error) => { posts.push([error.name]); throw error; });
</script>"""
KEPT = "Object.keys(localStorage).filter((key) => key.startsWith('cometlyForwarder'))"


@dataclass
class Site:
    """Serves pages on loopback. Under another name for it they are of another origin."""

    url: str
    pages: dict[str, str] = field(default_factory=dict)

    def named(self, name: str) -> str:
        """Return its origin under another name: browsers take *.localhost to loopback."""
        return self.url.replace("127.0.0.1", name)

    @classmethod
    @contextmanager
    def serving(cls) -> Iterator[Site]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = site.pages.get(self.path.partition("?")[0])
                self.send_response(200 if text is not None else 404)
                kind = "text/javascript" if self.path.endswith(".js") else "text/html"
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            site = cls(f"http://127.0.0.1:{server.server_port}")
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield site
            server.shutdown()


@dataclass(frozen=True)
class Visit:
    """The site and the stack that its pages send to."""

    site: Site
    api_url: str
    shop_url: str
    sandbox: Sandbox
    queues: Queues
    functions: Functions

    def write(self, body: str = "", *, path: str = "/", head: str = WITH_PIXEL) -> str:
        """Put a page with the script on the site; return its address."""
        return self.write_plain(f"{head}{self.tag()}<body>{body}", path=path)

    def write_plain(self, text: str, *, path: str = "/") -> str:
        self.site.pages["/pixel.js"] = PIXEL
        self.site.pages[path] = f"<!doctype html><meta charset=utf-8><title>A shop</title>{text}"
        return self.site.url + path

    def write_with_a_frame(self, script: str) -> str:
        """Put a page on the site whose sandboxed frame has the script, and runs this.

        `heard` is what the page hears of its frame, which sends nothing more after a failed post:
        without a storage it would when it goes, perhaps in the next test.
        """
        telling = f"""<script>
          let storage;
          try {{ storage = typeof localStorage; }} catch (error) {{ storage = error.name; }}
          {script};
          setInterval(() => {{
            if (posts.some(([status]) => status === 'TypeError')) {{
              navigator.sendBeacon = () => true;
              window.fetch = () => new Promise(() => {{}});
            }}
            parent.postMessage({{ origin, storage, posts }}, '*');
          }}, 100);
        </script>"""
        frame = html.escape(WATCHED + WITH_PIXEL + self.tag() + telling)
        hearing = "<script>onmessage = (it) => { window.heard = it.data; }</script>"
        return self.write_plain(
            f'{hearing}<iframe sandbox="allow-scripts" srcdoc="{frame}"></iframe>'
        )

    def leave(self, page: Page) -> None:
        """Go on to a page of the site that has no script."""
        page.goto(self.write_plain("<h1>Thanks</h1>", path="/thanks"))

    def tag(self, attributes: str = "") -> str:
        return f"<script {attributes} src='{self.api_url}/client.js'></script>"

    def script(self) -> str:
        """Return the text of client.js."""
        answer = self.sandbox.pool.request("GET", f"{self.api_url}/client.js")
        return answer.data.decode()

    def send_nothing_valid(self, *, times: int) -> None:
        """Send events that count and go no further, from the address that the pages have."""
        url, headers = f"{self.api_url}/collect", {"Origin": self.site.url}
        answer = self.sandbox.pool.request("POST", url, json=[{}] * times, headers=headers)
        assert answer.status == 422

    def received(self, count: int = 1) -> list[Fields]:
        """Wait for so many events at Cometly; return all, duplicates too, in order of arrival."""
        eventually(self.sandbox.events, lambda events: len(events) >= count)
        self.queues.until_all_is_settled()
        return [event["fields"] for event in self.sandbox.events()]

    def received_one(self) -> Fields:
        [event] = self.received()
        return event


class Line:
    """What a page posts to the stack; it can be told how to answer in the stack's place."""

    def __init__(self, page: Page) -> None:
        self.sent: list[Request] = []
        self._answers: list[tuple[int, dict[str, str]]] = []
        page.route("**/collect", self._on)

    def events(self) -> list[Fields]:
        """Return the event that each post held, in order."""
        return [json.loads(request.post_data or "null") for request in self.sent]

    def answer(self, status: int, **headers: str) -> None:
        """Give this answer to the next post that has none yet; the stack answers the others."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.append((status, named))

    def _on(self, route: Route) -> None:
        self.sent.append(route.request)
        if not self._answers:
            return route.continue_()
        status, headers = self._answers.pop(0)
        return route.fulfill(status=status, headers={**READABLE, **headers}, body="{}")


READABLE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After",
    "Content-Type": "application/json",
}


def warnings_of(page: Page) -> list[str]:
    """Gather what the page's console warns of, from now on."""
    texts: list[str] = []
    page.on("console", lambda it: texts.append(it.text) if it.type == "warning" else None)
    return texts


def new_order() -> str:
    """Return an order id that no other test has used: the ledger remembers each."""
    return f"O-{uuid.uuid4()}"


def until_nothing_is_kept(page: Page) -> None:
    """Wait until the script has an answer for every event that it holds in storage."""
    page.wait_for_function(f"!{KEPT}.length")


def kept(page: Page) -> list[Fields]:
    """Return the events that wait in storage."""
    events: list[Fields] = page.evaluate(f"{KEPT}.map((key) => JSON.parse(localStorage[key]).e)")
    return events


def start_tracking(page: Page, name: str, **fields: Any) -> None:
    """Call the script, and do not wait for what it says."""
    page.evaluate("([name, fields]) => { cometlyForwarder.track(name, fields); }", [name, fields])


def track(page: Page, name: str, **fields: Any) -> bool:
    """Call the script; return what it says."""
    taken: bool = page.evaluate(
        "([name, fields]) => cometlyForwarder.track(name, fields)", [name, fields]
    )
    return taken
