"""`vilbench train`: a reward model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.screen import say, stoppable, told


@told()
def train(
    recipe: Annotated[
        str, typer.Argument(help="A .yaml file, or the name of a shipped training recipe.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the training.")],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the data's order and the like.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Most rows of each file.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Start over, or go on from the checkpoint.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines; they always are.")] = False,
) -> None:
    """Train a process reward model."""
    from vilbench import config
    from vilbench.errors import InputError

    try:
        from vilbench.training import session
    except ModuleNotFoundError as error:
        lacks = f"'train' needs {error.name}: pip install 'vilbench[local,train]'"
        raise InputError(lacks) from error

    del plain
    found = config.load_training(recipe)
    data = found.model_dump(mode="json")
    if seed is not None:
        data["seed"] = seed
    if limit is not None:
        data["data"]["limit"] = limit
    changed = config.parse_training(data, "the command line")
    with stoppable():
        session.train(changed, out, fresh=fresh, say=say)
        session.part()
