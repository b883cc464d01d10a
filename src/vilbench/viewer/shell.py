"""What all pages share: templates, the run that an address names, errors without a path."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from vilbench.display import numerals
from vilbench.display.markup import label
from vilbench.display.text import name, visible
from vilbench.errors import VilbenchError
from vilbench.evaluate.analysis import Plan
from vilbench.store.run import Run
from vilbench.viewer.guard import Access
from vilbench.viewer.library import Entry, Library
from vilbench.viewer.shelf import Planner, Shelf


def library(request: Request) -> Library:
    """The runs that are served."""
    found = request.app.state.library
    assert isinstance(found, Library)  # noqa: S101 - narrows what Starlette keeps as Any
    return found


def entry(request: Request) -> Entry:
    """The run that the address names.

    Raises:
        HTTPException: There is none of that name.
    """
    found = library(request).find(request.path_params["run"])
    if found is None:
        raise HTTPException(404, "There is no such run.")
    return found


def shelf(request: Request) -> Shelf:
    """The indexes of the runs."""
    found = request.app.state.shelf
    assert isinstance(found, Shelf)  # noqa: S101 - narrows what Starlette keeps as Any
    return found


def plan_of(request: Request, run: Run) -> Plan | None:
    """How the run is analysed; None where it cannot be told."""
    planner: Planner = request.app.state.planner
    with suppress(VilbenchError):
        return planner(run)
    return None


def render(request: Request, template: str, status: int = 200, **context: object) -> HTMLResponse:
    """A page; every text that it shows is escaped by the template."""
    access: Access = request.app.state.access
    text = _environment().get_template(template).render(guarded=access.token is not None, **context)
    return HTMLResponse(text, status)


async def refused(request: Request, error: Exception) -> Response:
    """An error of HTTP as a page."""
    status, told = 500, "Something went wrong here."
    headers: Mapping[str, str] | None = None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
        told = error.detail or HTTPStatus(status).phrase
    page = render(request, "error.html.jinja", status, told=told, code=status)
    page.headers.update(headers or {})
    return page


async def unreadable(request: Request, error: Exception) -> Response:
    """A run that cannot be read; where it lies is not told."""
    return render(
        request, "error.html.jinja", 503, told="This run cannot be read just now.", code=503
    )


def query(values: Mapping[str, object]) -> str:
    """Values as the query of an address, those that say nothing left out."""
    kept = {key: str(value) for key, value in values.items() if value not in (None, "")}
    return "?" + urlencode(kept) if kept else ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vilbench.viewer", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        show=name,
        label=label,
        text=lambda text: visible(text, 4_000, lines=True),
        percent=numerals.percent,
        points=numerals.points,
        percent_range=numerals.percent_range,
        points_range=numerals.points_range,
        count=numerals.count,
        score=numerals.score,
        query=query,
    )
    return environment
