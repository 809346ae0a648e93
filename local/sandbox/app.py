"""The sandbox as one ASGI application: Cometly's endpoints, the control API, the Events Log."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from local.sandbox.control import Control, refuse
from local.sandbox.errors import ControlError, ForwarderAway
from local.sandbox.forwarder import Forwarder, ForwarderApi, away
from local.sandbox.readback import ReadBack
from local.sandbox.sandbox import Sandbox
from local.sandbox.track import TRACK_PATH, AsciiJSON, Track

_PAGES = Path(__file__).with_name("pages")
# A browser asks again at each load: the files of a checkout change.
_HEADERS = {
    "Cache-Control": "no-cache",
    # Whatever an event holds, the page loads and runs nothing but the sandbox's own.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def build_app(sandbox: Sandbox, forwarder: Forwarder | None = None) -> Starlette:
    """Return the application that serves this sandbox, and what it knows of a forwarder."""
    app = Starlette(
        routes=[
            Route(TRACK_PATH, Track(sandbox)),
            *ReadBack(sandbox).routes(),
            *_pages(),
            *Control(sandbox).routes(),
            *ForwarderApi(sandbox, forwarder).routes(),
        ],
        exception_handlers={ControlError: refuse, ForwarderAway: away, HTTPException: explain},
    )
    app.router.redirect_slashes = False
    return app


def _pages() -> list[Route]:
    """Return a route for each file of the page, and no path that a request could make up."""
    return [
        Route("/" if file.name == "page.html" else f"/{file.name}", _Page(file).show)
        for file in sorted(_PAGES.iterdir())
        if file.suffix in {".html", ".css", ".js"}
    ]


class _Page:
    """A file of the page that watches events come in."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def show(self, _: Request) -> Response:
        """Answer with the file as it is now."""
        return FileResponse(self._file, headers=_HEADERS)


async def explain(_: Request, exc: Exception) -> Response:
    """Answer an unknown path or method as the API words its errors."""
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    detail = exc.detail if isinstance(exc, HTTPException) else "Something broke."
    return AsciiJSON({"message": detail}, status)
