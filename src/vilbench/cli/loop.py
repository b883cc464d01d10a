"""`vilbench loop`: from problems to step values, a reward model, and its Best-of-N."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.resuming import Fresh
from vilbench.cli.screen import FAILURES, say, stoppable, told


@told()
def loop(
    recipe: Annotated[
        str, typer.Argument(help="A .yaml file, or the name of a shipped recipe of a loop.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all its parts.")],
    fresh: Fresh = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines: no bars.")] = False,
) -> None:
    """Collect step values, train on them, choose on dev, and measure on test."""
    from rich.console import Console

    from vilbench import config
    from vilbench.cli import job, trees
    from vilbench.collect.export import export
    from vilbench.errors import InputError
    from vilbench.evaluate.choosing import choose
    from vilbench.evaluate.stages import SAMPLE, SCORE

    try:
        from vilbench.training import session
    except ModuleNotFoundError as error:
        lacks = f"'loop' needs {error.name}: pip install 'vilbench[local,train]'"
        raise InputError(lacks) from error

    found = config.load_loop(recipe)
    console, command = Console(), job.command_line(sys.argv[1:])
    both = (SAMPLE, SCORE)
    # Paths are part of what a training and a run are told apart by.
    out = out.resolve()
    found.check(out)
    with stoppable():
        collecting = found.collecting()
        with job.begin(collecting, out / "collect", fresh=fresh, command=command) as stored:
            if fresh:
                _clear(out)
            harvest = trees.grow(stored, collecting, console, plain=plain)
            for line in trees.told(stored, harvest):
                say(line)
            if harvest.stopped:
                say("a loop goes on when all trees are grown: raise the limit, and start it again")
                raise typer.Exit(FAILURES)
            _finish(trees.failed_share(stored, harvest), collecting.max_failures)
            summary = export(stored, out / "rows", "rows", found.data)
        say(f"rows: {summary.rows} of {summary.problems} problems: {out / 'rows'}")
        training = found.training(out / "rows" / "rows.jsonl")
        model = session.train(training, out / "train", say=say).folder
        session.part()
        choosing = found.choosing(model)
        with job.begin(choosing, out / "dev", fresh=False, command=command) as stored:
            job.work(stored, choosing, console, plain=plain, stages=both)
            _finish(job.failed_share(stored), choosing.max_failures)
            (finding,) = choose(stored, config.plan(choosing))
        say(f"chosen on {finding.choice.problem_set}: {found.scorer}/{finding.choice.aggregation}")
        testing = found.testing(model, finding.choice)
        with job.begin(testing, out / "test", fresh=False, command=command) as stored:
            job.work(stored, testing, console, plain=plain, stages=both)
            job.report(stored, testing, console, plain=plain)
            _finish(job.failed_share(stored), testing.max_failures)


def _clear(out: Path) -> None:
    """Takes away what later parts of a loop left, all at once: a kill leaves nothing half old."""
    for part in ("rows", "train", "dev", "test"):
        shutil.rmtree(out / part, ignore_errors=True)


def _finish(share: float, most: float) -> None:
    if share > most:
        say(f"{share:.1%} of the units failed, more than {most:.1%}")
        raise typer.Exit(FAILURES)
