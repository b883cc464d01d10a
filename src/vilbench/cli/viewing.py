"""What `vilbench view` does: checks who could reach it, then serves."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path

from vilbench import config
from vilbench.cli.job import recipe_of
from vilbench.config import Recipe
from vilbench.errors import InputError
from vilbench.evaluate.analysis import Plan
from vilbench.store.run import Run
from vilbench.viewer.guard import LOOPBACK

LEAST = 16
"""Fewest characters of a token."""


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
    except ModuleNotFoundError as error:
        raise InputError(f"'view' needs {error.name}: pip install 'vilbench[serve]'") from error
    if token is not None and len(token) < LEAST:
        raise InputError(f"a token has {LEAST} characters or more", field="--token")
    if token is None and not is_loopback(host):
        raise InputError(
            f"{host} can be reached from elsewhere: give --token, or stay on 127.0.0.1",
            field="--host",
        )
    app = application(
        folder, planned, token=token, names=served_names(host, names), cache=cache_folder()
    )
    with _bound(host, port) as listener:
        at = listener.getsockname()
        shown = f"[{at[0]}]" if ":" in at[0] else at[0]
        say(f"viewer: http://{shown}:{at[1]}/  (Ctrl-C ends it)")
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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def served_names(host: str, names: frozenset[str]) -> frozenset[str]:
    """Names that a browser may ask the server by."""
    given = {host.lower(), *(one.lower() for one in names)}
    if host in ("0.0.0.0", "::"):  # noqa: S104 - told apart, not bound
        given |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return LOOPBACK | given


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(f"cannot listen there: {error.strerror}", field="--host") from error
    return listener
