"""The options by which a command goes on with what a folder holds, or does not."""

from __future__ import annotations

from typing import Annotated

import typer

from vilbench.errors import InputError

Fresh = Annotated[
    bool, typer.Option("--fresh/--resume", help="Start over, or go on with what is stored.")
]
Extend = Annotated[
    bool,
    typer.Option(
        "--extend",
        help="Go on with a stored run though the recipe asks for more than it was begun with: "
        "problems, solutions or scorers.",
    ),
]


def check_resuming(*, fresh: bool, extend: bool) -> None:
    """Refuses both at once.

    Raises:
        InputError: They exclude each other.
    """
    if fresh and extend:
        raise InputError("--fresh starts over and --extend goes on: take one of them")
