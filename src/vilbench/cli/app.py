"""The command `vilbench`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vilbench.cli.abilities import abilities
from vilbench.cli.collect import collect
from vilbench.cli.curate import curate
from vilbench.cli.diagnose import diagnose
from vilbench.cli.executing import Address, Executor, PerWorker, Workers, chosen
from vilbench.cli.export import export
from vilbench.cli.loop import loop
from vilbench.cli.problems import Draw, Limit, Problems, SampleIds, part
from vilbench.cli.problems import app as problems_app
from vilbench.cli.resuming import Extend, Fresh, check_resuming
from vilbench.cli.screen import (
    FAILURES,
    say,
    spell_what_cannot_be_encoded,
    stoppable,
    told,
)
from vilbench.cli.search import search
from vilbench.cli.serve import serve
from vilbench.cli.stepbench import stepbench
from vilbench.cli.train import train
from vilbench.cli.view import view
from vilbench.cli.weights import weights
from vilbench.recipes import listed

if TYPE_CHECKING:
    from vilbench.config import ExecutorConfig
    from vilbench.evaluate.results import Results

_RUN_RECIPES = listed("run")

app = typer.Typer(
    name="vilbench",
    help="Measure, train and use process reward models for vision-language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=listed("run", "search", "collect", "train", "loop", "curate", "stepbench"),
)
Out = Annotated[Path, typer.Option("--out", "-o", help="Run folder.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Ask no model: print requests, tokens, cost and time.")
]
OutUnlessDry = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run folder; with --dry-run one to take lengths from."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of sampling and of the puzzles.")]
Count = Annotated[int | None, typer.Option("-n", min=1, help="Solutions per problem.")]
Engine = Annotated[
    str | None, typer.Option("--engine", help="Model that solves: a folder, or embedded:NAME.")
]
Scorers = Annotated[
    list[str] | None,
    typer.Option("--scorer", help="Only this scorer of the recipe; may be given again."),
]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines: no bars, no boxes.")]
RecipeName = Annotated[str, typer.Argument(help="A .yaml file, or the name of a shipped recipe.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.")]
Dev = Annotated[
    Path | None,
    typer.Option("--dev", help="Run over other problems, to fit the scorers' calibration on."),
]
RunFolders = Annotated[list[Path], typer.Argument(help="Run folder; several are compared.")]
PageOut = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="HTML file; of a comparison beside the first run if not given."
    ),
]
FiguresOut = Annotated[
    Path | None, typer.Option("--figures", help="Folder for the figures as SVG and CSV.")
]
LatexOut = Annotated[
    Path | None, typer.Option("--latex", help="File for the main table in LaTeX (booktabs).")
]

_DEFAULT_OUT = Path("runs/demo")


def _tell_version(asked: bool) -> None:
    if asked:
        from vilbench import __version__

        say(f"vilbench {__version__}")
        raise typer.Exit


@app.callback()
def _general(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Say which version this is.", callback=_tell_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@app.command()
@told()
def demo(
    out: Out = _DEFAULT_OUT,
    seed: Seed = None,
    limit: Limit = None,
    draw: Draw = None,
    sample_id: SampleIds = None,
    n: Count = None,
    scorer: Scorers = None,
    fresh: Fresh = False,
    plain: Plain = False,
) -> None:
    """The main job on the embedded world: sample, judge, select, report."""
    # Models this small are slower on two threads than on one; torch reads it when it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    some = part(limit, draw, sample_id)
    _run("embedded", out, seed, some, n, None, None, scorer, fresh=fresh, plain=plain)


@app.command(epilog=_RUN_RECIPES)
@told()
def run(
    recipe: RecipeName,
    out: OutUnlessDry = None,
    seed: Seed = None,
    limit: Limit = None,
    draw: Draw = None,
    sample_id: SampleIds = None,
    n: Count = None,
    problems: Problems = None,
    engine: Engine = None,
    scorer: Scorers = None,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    per_worker: PerWorker = None,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    extend: Extend = False,
    plain: Plain = False,
) -> None:
    """All stages of a recipe."""
    some = part(limit, draw, sample_id)
    where = chosen(executor, address, workers, per_worker)
    given = (recipe, out, seed, some, n, problems, engine, scorer)
    _run(*given, fresh=fresh, extend=extend, plain=plain, dry_run=dry_run, executor=where)


@app.command(epilog=_RUN_RECIPES)
@told()
def sample(
    recipe: RecipeName,
    out: OutUnlessDry = None,
    seed: Seed = None,
    limit: Limit = None,
    draw: Draw = None,
    sample_id: SampleIds = None,
    n: Count = None,
    problems: Problems = None,
    engine: Engine = None,
    scorer: Scorers = None,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    per_worker: PerWorker = None,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    extend: Extend = False,
    plain: Plain = False,
) -> None:
    """Draw the solutions of a recipe."""
    some = part(limit, draw, sample_id)
    where = chosen(executor, address, workers, per_worker)
    given = (recipe, out, seed, some, n, problems, engine, scorer)
    _run(
        *given,
        fresh=fresh,
        extend=extend,
        plain=plain,
        scoring=False,
        dry_run=dry_run,
        executor=where,
    )


@app.command()
@told()
def score(
    folder: RunFolder,
    scorer: Scorers = None,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    per_worker: PerWorker = None,
    plain: Plain = False,
) -> None:
    """Score the solutions of a run by its recipe's scorers, or some of them, and report."""
    from vilbench.evaluate.stages import SCORE

    where = chosen(executor, address, workers, per_worker)
    _stored(folder, plain=plain, stages=(SCORE,), scorers=scorer, executor=where)


@app.command()
@told()
def report(
    folders: RunFolders,
    out: PageOut = None,
    figures: FiguresOut = None,
    latex: LatexOut = None,
    dev: Dev = None,
    plain: Plain = False,
) -> None:
    """Write a run's results and report anew, and print the table; compare several runs."""
    from vilbench.cli import job, reporting

    if len(folders) > 1:
        line = job.command_line(sys.argv[1:])
        reporting.compare(folders, out, figures, latex, line)
        return
    (folder,) = folders

    def beside(results: Results) -> None:
        reporting.beside(folder, results, out, figures, latex)

    _stored(folder, plain=plain, stages=(), beside=beside, dev=dev)


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


# In the order of `--help`, after those above.
app.command()(weights)
app.command(epilog=listed("search"))(search)
app.command(epilog=listed("collect"))(collect)
app.command(epilog=listed("train"))(train)
app.command(epilog=listed("loop"))(loop)
app.command(epilog=listed("curate"))(curate)
app.command(epilog=listed("stepbench"))(stepbench)
app.command()(diagnose)
app.command()(abilities)
app.command()(view)
app.command()(serve)
app.command()(export)
app.add_typer(problems_app, name="problems")


def _run(
    name: str,
    out: Path | None,
    seed: int | None,
    some: Mapping[str, object],
    n: int | None,
    problems: str | None,
    engine: str | None,
    scorers: list[str] | None,
    *,
    fresh: bool,
    plain: bool,
    extend: bool = False,
    scoring: bool = True,
    dry_run: bool = False,
    executor: ExecutorConfig | None = None,
) -> None:
    from rich.console import Console

    from vilbench import config
    from vilbench.cli import forecast, job
    from vilbench.evaluate.stages import SAMPLE, SCORE

    check_resuming(fresh=fresh, extend=extend)
    options = {"seed": seed, "sample.n": n, "sample.engine.model": engine}
    given = {**some, **{key: value for key, value in options.items() if value is not None}}
    source = {} if problems is None else job.parse_problems(problems)
    recipe = config.load(name).over(source).changed(given)
    if scorers:
        recipe = recipe.only(scorers)
    if dry_run:
        forecast.tell(recipe if scoring else recipe.only([]), out)
        return
    if out is None:
        raise forecast.no_folder()
    console = Console()
    command = job.command_line(sys.argv[1:])
    stages = (SAMPLE, SCORE) if scoring else (SAMPLE,)
    with (
        stoppable(),
        job.begin(
            recipe,
            out,
            fresh=fresh,
            extend=extend,
            command=command,
            stages=stages,
            executor=executor,
        ) as stored,
    ):
        job.work(stored, recipe, console, plain=plain, stages=stages, executor=executor)
        if scoring:
            job.report(stored, recipe, console, plain=plain)
        else:
            say(f"next: vilbench score {out}")
        _finish(job.failed_share(stored), recipe.max_failures)


def _stored(
    folder: Path,
    *,
    plain: bool,
    stages: tuple[str, ...],
    scorers: list[str] | None = None,
    beside: Callable[[Results], None] | None = None,
    dev: Path | None = None,
    executor: ExecutorConfig | None = None,
) -> None:
    from rich.console import Console

    from vilbench.cli import job

    with stoppable(), job.go_on(folder) as stored:
        recipe = job.recipe_of(stored)
        console = Console()
        if stages:
            some = recipe.only(scorers) if scorers else recipe
            job.note_command(stored, recipe, job.command_line(sys.argv[1:]))
            job.work(stored, some, console, plain=plain, stages=stages, executor=executor)
        results = job.report(stored, recipe, console, plain=plain, dev=dev)
        if beside is not None:
            beside(results)
        _finish(job.failed_share(stored), recipe.max_failures)


def _finish(share: float, most: float) -> None:
    if share > most:
        say(f"{share:.1%} of the units failed, more than {most:.1%}")
        raise typer.Exit(FAILURES)


def main() -> None:
    """Entry point; exits with 0 done, 1 too many failures, 2 unusable input, 130 stopped."""
    spell_what_cannot_be_encoded()
    app()
