"""The shop's pages, and what its panel asks: what has arrived at the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import urllib3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

_PAGES = Path(__file__).with_name("pages")
_SCREENS = {
    "/": "product.html",
    "/cart": "cart.html",
    "/checkout": "checkout.html",
    "/thank-you": "thank-you.html",
}
_ASSETS = ("pixel.js", "shop.js", "shop.css")
_SHOWN = 50
_NEVER_CACHED = {"Cache-Control": "no-store"}


def build_app(stack_file: Path) -> Starlette:
    """Return the shop of the stack that `stack_file` describes, which may come later."""
    shop = _Shop(stack_file)
    return Starlette(
        routes=[
            *(Route(path, shop.screen, name=page) for path, page in _SCREENS.items()),
            *(Route(f"/{name}", _asset) for name in _ASSETS),
            Route("/arrived", shop.arrived),
        ]
    )


class _Shop:
    def __init__(self, stack_file: Path) -> None:
        self._stack_file = stack_file

    def screen(self, request: Request) -> Response:
        """Answer with a page around which the layout is put; its script tag names the stack."""
        stack = self._stack()
        if stack is None:
            return HTMLResponse("The stack is not ready yet; try again.", 503, _NEVER_CACHED)
        page = (_PAGES / _SCREENS[request.url.path]).read_text("utf-8")
        layout = (_PAGES / "layout.html").read_text("utf-8")
        html = layout.replace("{{page}}", page).replace("{{api_url}}", stack["api_url"])
        return HTMLResponse(html, headers=_NEVER_CACHED)

    def arrived(self, _: Request) -> Response:
        """Answer with the newest events at the sandbox, oldest first."""
        stack = self._stack() or {}
        sandbox = stack.get("sandbox_url")
        if not sandbox:
            return JSONResponse({"events": [], "cometly_url": stack.get("cometly_url")})
        answer = urllib3.request(
            "GET", f"{sandbox}/_sandbox/events?limit={_SHOWN}", timeout=5.0, retries=False
        )
        return JSONResponse({"events": answer.json(), "sandbox_url": sandbox})

    def _stack(self) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(self._stack_file.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return content


def _asset(request: Request) -> Response:
    return FileResponse(_PAGES / request.url.path.removeprefix("/"), headers=_NEVER_CACHED)
