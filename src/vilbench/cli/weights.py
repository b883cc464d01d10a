"""The command `vilbench weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.screen import say, told

Blend = Annotated[
    list[str] | None,
    typer.Option(
        "--blend", help="Scorers to blend, as in prm+judge-orm; may be given again. Default: all."
    ),
]


@told()
def weights(
    folder: Annotated[Path, typer.Argument(help="Run folder, over dev.")], blend: Blend = None
) -> None:
    """Learn how to weigh steps, and how to blend scorers, on a run over dev."""
    from vilbench import config
    from vilbench.cli import job
    from vilbench.evaluate.learning import lessons, written

    together = None if blend is None else [one.split("+") for one in blend]
    with job.go_on(folder) as stored:
        found = lessons(stored, config.plan(job.recipe_of(stored)), together)
        path = stored.write_derived("weights.yaml", written(found).encode())
    for name, one in [
        *found.scorers.items(),
        *((each.name, each.learned) for each in found.blends),
    ]:
        say(f"{name}: {one.form}")
        for trial in one.trials:
            reached = f"{trial.best_of_n:6.1%} at {one.origin.n}, {trial.accuracy:6.1%} over all k"
            say(f"  {trial.form:20} {reached}")
    say(f"for a recipe over other problems (learned: FILE, blends: FILE): {path}")
