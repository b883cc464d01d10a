"""The app: routes of all pages behind one guard."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from vilbench.errors import VilbenchError
from vilbench.viewer import assets, forest, login, papers, pictures, problem, problems, runs
from vilbench.viewer.guard import Access, Guard
from vilbench.viewer.library import Library
from vilbench.viewer.shelf import Planner, Shelf
from vilbench.viewer.shell import refused, unreadable
from vilbench.viewer.standing import Paces
from vilbench.web.listening import LOOPBACK


def application(
    folder: Path,
    planner: Planner,
    *,
    token: str | None = None,
    names: frozenset[str] = LOOPBACK,
    cache: Path | None = None,
) -> Guard:
    """The viewer as an ASGI app, the guard outermost: what fails inside leaves through it too.

    Args:
        folder: A run, or a folder that holds runs at any depth up to `library.DEPTH`.
        planner: Who tells how a run is analysed.
        token: What readers must show; None lets everybody in who reaches the address.
        names: Names that requests may be addressed to.
        cache: Where indexes of runs are kept; None keeps them as long as the process lives.

    Raises:
        InputError: There is no such folder.
    """
    access = Access(names, token)
    app = Starlette(
        routes=[
            *assets.routes(),
            *login.routes(),
            *runs.routes(),
            *problems.routes(),
            *problem.routes(),
            *pictures.routes(),
            *papers.routes(),
            *forest.routes(),
        ],
        exception_handlers={
            HTTPException: refused,
            VilbenchError: unreadable,
            Exception: refused,
        },
    )
    # A redirect would be an answer to an address that nobody has.
    app.router.redirect_slashes = False
    app.state.library = Library(folder)
    app.state.planner = planner
    app.state.access = access
    app.state.forests = forest.Forests()
    app.state.paces = Paces()
    app.state.shelf = Shelf(planner, cache)
    return Guard(app, access)
