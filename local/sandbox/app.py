"""The sandbox as one ASGI application: the endpoint, the control API, the page."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from local.sandbox.control import Control, refuse
from local.sandbox.errors import ControlError
from local.sandbox.sandbox import Sandbox
from local.sandbox.track import TRACK_PATH, AsciiJSON, Track

_PAGE = Path(__file__).with_name("page.html")


def build_app(sandbox: Sandbox) -> Starlette:
    """Return the application that serves this sandbox."""
    app = Starlette(
        routes=[
            Route(TRACK_PATH, Track(sandbox)),
            Route("/", show_page),
            *Control(sandbox).routes(),
        ],
        exception_handlers={ControlError: refuse, HTTPException: explain},
    )
    app.router.redirect_slashes = False
    return app


async def show_page(_: Request) -> Response:
    """Answer with the page that watches events come in."""
    return HTMLResponse(_PAGE.read_text(encoding="utf-8"))


async def explain(_: Request, exc: Exception) -> Response:
    """Answer an unknown path or method as the API words its errors."""
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    detail = exc.detail if isinstance(exc, HTTPException) else "Something broke."
    return AsciiJSON({"message": detail}, status)
