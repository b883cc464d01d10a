"""The command `vilbench`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.collect import collect
from vilbench.cli.export import export
from vilbench.cli.screen import (
    FAILURES,
    say,
    spell_what_cannot_be_encoded,
    stoppable,
    told,
)
from vilbench.cli.train import train

app = typer.Typer(
    name="vilbench",
    help="Measure, train and use process reward models for vision-language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
problems_app = typer.Typer(help="Problem sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(problems_app, name="problems")
app.command()(train)
app.command()(collect)
app.command()(export)

Out = Annotated[Path, typer.Option("--out", "-o", help="Run folder.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of sampling and of the puzzles.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Most problems.")]
Count = Annotated[int | None, typer.Option("-n", min=1, help="Solutions per problem.")]
Problems = Annotated[
    str | None, typer.Option("--problems", help="SOURCE[:split]: puzzles:test, or a .jsonl file.")
]
Engine = Annotated[
    str | None, typer.Option("--engine", help="Model that solves: a folder, or embedded:NAME.")
]
Scorers = Annotated[
    list[str] | None,
    typer.Option("--scorer", help="Only this scorer of the recipe; may be given again."),
]
Fresh = Annotated[
    bool, typer.Option("--fresh/--resume", help="Start over, or go on with what is stored.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines: no bars, no boxes.")]
RecipeName = Annotated[str, typer.Argument(help="A .yaml file, or the name of a shipped recipe.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.")]

_DEFAULT_OUT = Path("runs/demo")


@app.command()
@told()
def demo(
    out: Out = _DEFAULT_OUT,
    seed: Seed = None,
    limit: Limit = None,
    n: Count = None,
    scorer: Scorers = None,
    fresh: Fresh = False,
    plain: Plain = False,
) -> None:
    """The main job on the embedded world: sample, judge, select, report."""
    # Models this small are slower on two threads than on one; torch reads it when it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _run("embedded", out, seed, limit, n, None, None, scorer, fresh=fresh, plain=plain)


@app.command()
@told()
def run(
    recipe: RecipeName,
    out: Out,
    seed: Seed = None,
    limit: Limit = None,
    n: Count = None,
    problems: Problems = None,
    engine: Engine = None,
    scorer: Scorers = None,
    fresh: Fresh = False,
    plain: Plain = False,
) -> None:
    """All stages of a recipe."""
    _run(recipe, out, seed, limit, n, problems, engine, scorer, fresh=fresh, plain=plain)


@app.command()
@told()
def sample(
    recipe: RecipeName,
    out: Out,
    seed: Seed = None,
    limit: Limit = None,
    n: Count = None,
    problems: Problems = None,
    engine: Engine = None,
    scorer: Scorers = None,
    fresh: Fresh = False,
    plain: Plain = False,
) -> None:
    """Draw the solutions of a recipe."""
    chosen = (recipe, out, seed, limit, n, problems, engine, scorer)
    _run(*chosen, fresh=fresh, plain=plain, scoring=False)


@app.command()
@told()
def score(folder: RunFolder, plain: Plain = False) -> None:
    """Score the solutions of a run by its recipe's scorers, and report."""
    from vilbench.evaluate.stages import SCORE

    _stored(folder, plain=plain, stages=(SCORE,))


@app.command()
@told()
def report(folder: RunFolder, plain: Plain = False) -> None:
    """Write a run's results and report anew, and print the table."""
    _stored(folder, plain=plain, stages=())


@app.command()
@told()
def choose(folder: RunFolder) -> None:
    """Choose aggregation and threshold of each step scorer, on a run over dev."""
    from vilbench import config
    from vilbench.cli import job
    from vilbench.evaluate.choosing import choose as made
    from vilbench.evaluate.choosing import written

    with job.go_on(folder) as stored:
        text = written(made(stored, config.plan(job.recipe_of(stored))))
        path = stored.write_derived("chosen.yaml", text.encode())
    for line in text.splitlines():
        say(line)
    say(f"for the scorers of a recipe over other problems: {path}")


@problems_app.command("list")
@told()
def list_problems() -> None:
    """The problem sets that need no download."""
    from vilbench.problems.puzzles import KINDS

    for family, twin in KINDS:
        say(f"puzzles  {family:<9} {twin}")
    say("Splits: train, dev, test. Or name a .jsonl file of your own.")


@problems_app.command("show")
@told()
def show_problems(
    source: Annotated[str, typer.Argument(help="SOURCE[:split]")] = "puzzles:test",
    limit: Annotated[int, typer.Option("--limit", min=1)] = 9,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    images: Annotated[Path | None, typer.Option("--images", help="Write images there.")] = None,
) -> None:
    """Print sample problems."""
    from vilbench import config
    from vilbench.cli import job
    from vilbench.errors import InputError

    recipe = config.load("embedded").changed(
        {**job.parse_problems(source), "problems.limit": limit, "seed": seed}
    )
    loaded = config.load_problems(recipe)
    try:
        for problem in loaded.problems:
            job.show(problem, images)
    except OSError as error:
        raise InputError(error.strerror or "cannot be written", file=images) from error
    for line in (*loaded.rejected, *loaded.notes):
        say(str(line))


def _run(
    name: str,
    out: Path,
    seed: int | None,
    limit: int | None,
    n: int | None,
    problems: str | None,
    engine: str | None,
    scorers: list[str] | None,
    *,
    fresh: bool,
    plain: bool,
    scoring: bool = True,
) -> None:
    from rich.console import Console

    from vilbench import config
    from vilbench.cli import job
    from vilbench.evaluate.stages import SAMPLE, SCORE

    options = {"seed": seed, "problems.limit": limit, "sample.n": n, "sample.engine.model": engine}
    given = {key: value for key, value in options.items() if value is not None}
    source = {} if problems is None else job.parse_problems(problems)
    recipe = config.load(name).changed({**source, **given})
    if scorers:
        recipe = recipe.only(scorers)
    console = Console()
    command = job.command_line(sys.argv[1:])
    with stoppable(), job.begin(recipe, out, fresh=fresh, command=command) as stored:
        stages = (SAMPLE, SCORE) if scoring else (SAMPLE,)
        job.work(stored, recipe, console, plain=plain, stages=stages)
        if scoring:
            job.report(stored, recipe, console, plain=plain)
        else:
            say(f"next: vilbench score {out}")
        _finish(job.failed_share(stored), recipe.max_failures)


def _stored(folder: Path, *, plain: bool, stages: tuple[str, ...]) -> None:
    from rich.console import Console

    from vilbench.cli import job

    with stoppable(), job.go_on(folder) as stored:
        recipe = job.recipe_of(stored)
        console = Console()
        if stages:
            job.note_command(stored, recipe, job.command_line(sys.argv[1:]))
            job.work(stored, recipe, console, plain=plain, stages=stages)
        job.report(stored, recipe, console, plain=plain)
        _finish(job.failed_share(stored), recipe.max_failures)


def _finish(share: float, most: float) -> None:
    if share > most:
        say(f"{share:.1%} of the units failed, more than {most:.1%}")
        raise typer.Exit(FAILURES)


def main() -> None:
    """Entry point; exits with 0 done, 1 too many failures, 2 unusable input, 130 stopped."""
    spell_what_cannot_be_encoded()
    app()
