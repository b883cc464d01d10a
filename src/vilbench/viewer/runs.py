"""The first page: which runs there are."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vilbench.viewer.shell import entry, library, render


def _runs(request: Request) -> Response:
    entries = library(request).entries()
    return render(request, "runs.html.jinja", entries=entries)


def _run(request: Request) -> Response:
    found = entry(request)
    with found.open() as run:
        return render(request, "run.html.jinja", entry=found, manifest=run.manifest)


def routes() -> list[Route]:
    """The list of runs, and one of them."""
    return [Route("/", _runs), Route("/runs/{run}", _run)]
