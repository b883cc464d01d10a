"""The app: routes of all pages behind one guard."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from vilbench.errors import VilbenchError
from vilbench.viewer import assets, forest, login, runs
from vilbench.viewer.guard import LOOPBACK, Access, Guard
from vilbench.viewer.library import Library
from vilbench.viewer.shell import Planner, refused, unreadable
from vilbench.viewer.standing import Paces


def application(
    folder: Path,
    planner: Planner,
    *,
    token: str | None = None,
    names: frozenset[str] = LOOPBACK,
) -> Guard:
    """The viewer as an ASGI app, the guard outermost: what fails inside leaves through it too.

    Args:
        folder: A run, or a folder that holds runs at any depth up to `library.DEPTH`.
        planner: Who tells how a run is analysed.
        token: What readers must show; None lets everybody in who reaches the address.
        names: Names that requests may be addressed to.

    Raises:
        InputError: There is no such folder.
    """
    access = Access(names, token)
    app = Starlette(
        routes=[*assets.routes(), *login.routes(), *runs.routes(), *forest.routes()],
        exception_handlers={
            HTTPException: refused,
            VilbenchError: unreadable,
            Exception: refused,
        },
    )
    app.state.library = Library(folder)
    app.state.planner = planner
    app.state.access = access
    app.state.forests = forest.Forests()
    app.state.paces = Paces()
    return Guard(app, access)
