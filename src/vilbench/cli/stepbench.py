"""`vilbench stepbench`: scorers on steps that people or the exact checker have marked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.resuming import Fresh
from vilbench.cli.screen import FAILURES, say, stoppable, told


@told()
def stepbench(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|RUN", help="A .yaml file, a shipped recipe's name, or a run folder."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder of a recipe; no --dry-run.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--path", help="Copy of the recipe's benchmark.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Most solutions of the benchmark.")
    ] = None,
    dev: Annotated[
        Path | None, typer.Option("--dev", help="Choose the thresholds of a run on this other run.")
    ] = None,
    split: Annotated[
        float | None,
        typer.Option("--split", help="Set this share of the problems apart for the thresholds."),
    ] = None,
    subset: Annotated[
        str | None, typer.Option("--subset", help="Set this subset apart for the thresholds.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of --split.")] = 0,
    scorer: Annotated[
        list[str] | None,
        typer.Option("--scorer", help="Only this scorer; may be given again."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask no model: count what would be asked.")
    ] = False,
    fresh: Fresh = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines: no bars.")] = False,
) -> None:
    """Measure scorers on VisualProcessBench, ProcessBench, or a run over puzzles.

    Of a run the stored scores are measured, by the exact checker where it is over puzzles. A
    recipe names marked solutions and scorers, which are asked.
    """
    from vilbench.cli import steps

    given = steps.Apart(dev, split, subset, seed)
    if steps.is_run(target):
        steps.of_run(Path(target), given, scorer)
        return
    recipe = steps.recipe(target, path, limit, given, scorer)
    if dry_run:
        for line in steps.forecast(recipe):
            say(line)
        return
    if out is None:
        raise typer.BadParameter("name a run folder, or --dry-run", param_hint="--out")
    with stoppable():
        share = steps.of_recipe(recipe, out, sys.argv[1:], fresh=fresh, plain=plain)
    if share > recipe.max_failures:
        say(f"{share:.1%} of the units failed, more than {recipe.max_failures:.1%}")
        raise typer.Exit(FAILURES)
