"""`vilbench view`: stored runs in a browser."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.screen import say, told


@told()
def view(
    folder: Annotated[Path, typer.Argument(help="A run, or a folder that holds runs.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes one that is free.")
    ] = 8765,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond loopback with --token only.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="VILBENCH_TOKEN",
            help="What readers must show; 16 characters at least.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Another name of this server; may be given again."),
    ] = None,
) -> None:
    """Look at stored runs in a browser, also while they go on."""
    from vilbench.cli import viewing

    with suppress(KeyboardInterrupt):
        viewing.serve(folder, host, port, token, frozenset(name or ()), say)
