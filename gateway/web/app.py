"""The web application: what is shown, and the headers that keep browsers strict."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.core.record import CopyState
from gateway.locale import LANGUAGES, translations, translator

_HERE = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the status page shows. ``copies`` are those of the last 24 hours, by state.

    ``problem`` is empty, or says in plain words what is wrong with the index and how to mend it.
    """

    version: str
    smtp: str
    node: str
    model: str
    generation: int
    domains: int
    messages: int | None
    copies: dict[CopyState, int]
    waiting: int
    problem: str = ""


class StatusSource(Protocol):
    """Where the figures come from; blocks for disk and database."""

    def read(self) -> Status:
        """The present state; trouble is part of it, nothing is raised."""


def build(source: StatusSource, *, language: str) -> Starlette:
    """The application; ``language`` is for visitors whose browser names none of ours."""
    pages = {code: _templates(code) for code in LANGUAGES}

    async def status_page(request: Request) -> Response:
        chosen = _language(request, language)
        status = await run_in_threadpool(source.read)
        page = pages[chosen].get_template("status.html")
        return HTMLResponse(page.render(_view(status, chosen)))

    async def health(request: Request) -> Response:
        del request
        status = await run_in_threadpool(source.read)
        state = "degraded" if status.problem else "ok"
        return JSONResponse({"status": state, "version": status.version})

    application = Starlette(
        routes=[
            Route("/", status_page),
            Route("/health", health),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_with_headers)],
    )
    # A redirect would name whatever host the request named.
    application.router.redirect_slashes = False
    return application


async def _with_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _templates(language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translations(language))  # type: ignore[attr-defined]
    return environment


def _language(request: Request, default: str) -> str:
    asked = request.query_params.get("language", "")
    if asked in LANGUAGES:
        return asked
    for wanted in request.headers.get("accept-language", "")[:200].split(","):
        code = wanted.strip()[:2].lower()
        if code in LANGUAGES:
            return code
    return default


def _view(status: Status, language: str) -> dict[str, object]:
    _ = translator(language)
    other = "en" if language == "de" else "de"
    counts = [
        (_("received"), status.messages),
        (_("delivered"), status.copies.get(CopyState.DELIVERED, 0)),
        (_("held as spam"), status.copies.get(CopyState.HELD, 0)),
        (_("refused"), status.copies.get(CopyState.REFUSED, 0)),
        (_("waiting for their server"), status.waiting),
    ]
    return {
        "language": language,
        "other": other,
        "other_name": {"de": "Deutsch", "en": "English"}[other],
        "problem": status.problem,
        "counts": counts if status.messages is not None else [],
        "facts": [
            (_("Mail comes in at"), status.smtp),
            (_("Machine"), status.node),
            (_("Domains served"), status.domains),
            (_("Configuration"), status.generation),
            (_("Model"), status.model or _("none")),
            (_("Version"), status.version),
        ],
    }
