"""What `vilbench view` does: checks who could reach it, then serves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vilbench import config
from vilbench.cli.job import recipe_of
from vilbench.config import Recipe
from vilbench.errors import InputError
from vilbench.evaluate.analysis import Plan
from vilbench.store.run import Run
from vilbench.web.listening import address, bound, check_reach, served_names


def planned(run: Run) -> Plan | None:
    """How a run is analysed; None for one that samples no pools.

    Raises:
        InputError: Its recipe is not one that this vilbench knows.
    """
    recipe = recipe_of(run)
    return config.plan(recipe) if isinstance(recipe, Recipe) else None


def serve(
    folder: Path,
    host: str,
    port: int,
    token: str | None,
    names: frozenset[str],
    say: Callable[[str], None],
) -> None:
    """Serves until it is stopped.

    Raises:
        InputError: The web server is not installed, the address cannot be used, or it can
            be reached from elsewhere and no token guards it.
    """
    try:
        import uvicorn

        from vilbench.viewer.app import application
        from vilbench.viewer.library import Library
    except ModuleNotFoundError as error:
        raise InputError(f"'view' needs {error.name}: pip install 'vilbench[serve]'") from error
    check_reach(host, token)
    app = application(
        folder, planned, token=token, names=served_names(host, names), cache=cache_folder()
    )
    with bound(host, port) as listener:
        if not Library(folder).entries():
            say(f"{folder} holds no run yet; runs are shown as soon as they begin there")
        say(f"viewer: http://{address(listener)}/  (Ctrl-C ends it)")
        settings = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=64,
            timeout_keep_alive=10,
        )
        uvicorn.Server(settings).run(sockets=[listener])


def cache_folder() -> Path:
    """Where indexes of runs are kept between starts."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "vilbench" / "view"
