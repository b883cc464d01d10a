"""The problems of a run, filtered and sorted, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vilbench.errors import InputError
from vilbench.evaluate.analysis import Plan
from vilbench.store import trees
from vilbench.viewer import live
from vilbench.viewer.index import Mark, Row
from vilbench.viewer.measure import MAJORITY
from vilbench.viewer.papers import has_report
from vilbench.viewer.query import POOLS, SORTS, Query
from vilbench.viewer.shelf import Shown
from vilbench.viewer.shell import entry, render, shelf

PAGE = 30
"""Problems on a page."""


@dataclass(frozen=True)
class Line:
    """A problem of the list with how methods fared on it, a mark per column."""

    row: Row
    marks: tuple[Mark | None, ...]


def query_of(request: Request, shown: Shown) -> Query:
    """The state that the address spells.

    Raises:
        HTTPException: It names what the run does not have.
    """
    try:
        return Query.read(request.query_params, shown.index.known())
    except InputError as error:
        raise HTTPException(
            400, f"The filter '{error.field}' asks for what this run does not have."
        ) from None


def standing_methods(plan: Plan | None, problem_set: str) -> tuple[str, ...]:
    """Majority, and the method that stands for each scorer, settled before the problems."""
    scorers = plan.scorers if plan else ()
    found = [one.standing(problem_set) for one in scorers]
    return (MAJORITY, *(one.name for one in found if one is not None))


def _list(request: Request) -> Response:
    found = entry(request)
    with found.open() as run:
        shown = shelf(request).show(found, run)
        growing = live.running(found.folder) or not shown.progress.ready
        state = live.mark(run, shown.index.state())
        if (nothing_new := live.seen(request, state)) is not None:
            return nothing_new
        manifest = run.manifest
        grown = bool(trees.tree_keys(run))
    known = shown.index.known()
    query = query_of(request, shown)
    places = shown.index.find(query)
    pages = max(1, -(-len(places) // PAGE))
    number = min(query.page, pages)
    part = places[(number - 1) * PAGE : number * PAGE]
    standing = standing_methods(shown.plan, manifest.problem_set)
    asked = (query.right, query.wrong, query.tied, query.by)
    columns = [one for one in dict.fromkeys((*standing, *asked)) if one in known.methods]
    marks = shown.index.outcomes(part, columns)
    answer = render(
        request,
        "problems.html.jinja",
        entry=found,
        manifest=manifest,
        query=query,
        known=known,
        columns=columns,
        lines=[
            Line(row, tuple(marks.get((row.position, one)) for one in columns))
            for row in shown.index.rows(part)
        ],
        found=len(places),
        total=shown.index.totals().problems,
        number=number,
        pages=pages,
        progress=shown.progress,
        pools=POOLS,
        sorts=SORTS,
        trees=grown,
        report=has_report(found),
        live=growing,
    )
    return live.marked(answer, state)


def routes() -> list[Route]:
    """The list of problems."""
    return [Route("/runs/{run}/problems", _list)]
