"""The command `vilbench`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vilbench.cli.screen import say
from vilbench.types import InputError, RunError, VilbenchError

app = typer.Typer(
    name="vilbench",
    help="Measure, train and use process reward models for vision-language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
problems_app = typer.Typer(help="Problem sets.", no_args_is_help=True)
app.add_typer(problems_app, name="problems")

DONE, FAILURES, UNUSABLE, STOPPED = 0, 1, 2, 130

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
Fresh = Annotated[
    bool, typer.Option("--fresh/--resume", help="Start over, or go on with what is stored.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines: no bars, no boxes.")]
RecipeName = Annotated[str, typer.Argument(help="A .yaml file, or the name of a shipped recipe.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.")]

_DEFAULT_OUT = Path("runs/demo")


@app.command()
def demo(
    out: Out = _DEFAULT_OUT,
    seed: Seed = None,
    limit: Limit = None,
    n: Count = None,
    fresh: Fresh = False,
    plain: Plain = False,
) -> None:
    """The main job on the embedded world: sample, judge, select, report."""
    _run("embedded", out, seed, limit, n, None, None, fresh=fresh, plain=plain)


@app.command()
def run(
    recipe: RecipeName,
    out: Out,
    seed: Seed = None,
    limit: Limit = None,
    n: Count = None,
    problems: Problems = None,
    engine: Engine = None,
    fresh: Fresh = False,
    plain: Plain = False,
) -> None:
    """All stages of a recipe."""
    _run(recipe, out, seed, limit, n, problems, engine, fresh=fresh, plain=plain)


@app.command()
def sample(
    recipe: RecipeName,
    out: Out,
    seed: Seed = None,
    limit: Limit = None,
    n: Count = None,
    problems: Problems = None,
    engine: Engine = None,
    fresh: Fresh = False,
    plain: Plain = False,
) -> None:
    """Draw the solutions of a recipe."""
    _run(recipe, out, seed, limit, n, problems, engine, fresh=fresh, plain=plain, stages={"sample"})


@app.command()
def score(folder: RunFolder, plain: Plain = False) -> None:
    """Score the solutions of a run by its recipe's scorers."""
    _stored(folder, plain=plain, stages={"score"})


@app.command()
def report(folder: RunFolder, plain: Plain = False) -> None:
    """Write a run's results and report anew, and print the table."""
    _stored(folder, plain=plain, stages=set())


@app.command()
def export(
    folder: RunFolder,
    to: Annotated[Path, typer.Option("--to", help="Folder to write to.")],
    format: Annotated[str, typer.Option("--format", help="jsonl.")] = "jsonl",  # noqa: A002
) -> None:
    """Write a run as files that other tools read."""
    from vilbench.store.export import export_jsonl
    from vilbench.store.run import Run

    if format != "jsonl":
        raise InputError(f"'{format}' is no format; there is jsonl")
    with Run.read(folder) as stored:
        export_jsonl(stored, to)
    _say(f"problems.jsonl, solutions.jsonl, scores.jsonl, images/: {to}")


@problems_app.command("list")
def list_problems() -> None:
    """The problem sets that need no download."""
    from vilbench.problems.puzzles import KINDS

    for family, twin in KINDS:
        _say(f"puzzles  {family:<9} {twin}")
    _say("Splits: train, dev, test. Or name a .jsonl file of your own.")


@problems_app.command("show")
def show_problems(
    source: Annotated[str, typer.Argument(help="SOURCE[:split]")] = "puzzles:test",
    limit: Annotated[int, typer.Option("--limit", min=1)] = 9,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    images: Annotated[Path | None, typer.Option("--images", help="Write images there.")] = None,
) -> None:
    """Print sample problems."""
    from vilbench import config
    from vilbench.cli import job

    recipe = config.load("embedded").changed(
        {**job.parse_problems(source), "problems.limit": limit, "seed": seed}
    )
    loaded = config.load_problems(recipe)
    for problem in loaded.problems:
        _say(f"{problem.id}  [{problem.source}, {problem.modality}]")
        _say(f"  {problem.question}")
        for place, choice in enumerate(problem.choices):
            _say(f"  {chr(ord('A') + place)}. {choice}")
        _say(f"  answer: {problem.answer}")
        for place, image in enumerate(problem.images):
            if images is not None:
                images.mkdir(parents=True, exist_ok=True)
                path = images / f"{image.digest}.png"
                path.write_bytes(image.read())
                _say(f"  image {place + 1}: {path}")
    for error in loaded.rejected:
        _say(str(error))


def _run(
    name: str,
    out: Path,
    seed: int | None,
    limit: int | None,
    n: int | None,
    problems: str | None,
    engine: str | None,
    *,
    fresh: bool,
    plain: bool,
    stages: set[str] | None = None,
) -> None:
    from vilbench import config
    from vilbench.cli import job

    wanted = {"seed": seed, "problems.limit": limit, "sample.n": n, "sample.engine.model": engine}
    changes: dict[str, object] = {k: value for k, value in wanted.items() if value is not None}
    if problems is not None:
        changes |= job.parse_problems(problems)
    recipe = config.load(name).changed(changes)
    console = Console()
    command = job.command_line(sys.argv[1:])
    with (
        _stoppable(),
        job.open_run(recipe, out, fresh=fresh, command=command, console=console) as stored,
    ):
        job.work(stored, recipe, console, plain=plain, stages=stages or {"sample", "score"})
        if stages is None:
            job.report(stored, recipe, console, plain=plain)
        _finish(job.failed_share(stored, recipe), recipe.max_failures, stored)


def _stored(folder: Path, *, plain: bool, stages: set[str]) -> None:
    from vilbench.cli import job
    from vilbench.store.run import Run

    with Run.read(folder) as stored:
        manifest = stored.manifest
    with _stoppable(), Run.open(folder, manifest) as stored:
        recipe = job.recipe_of(stored)
        console = Console()
        if stages:
            job.work(stored, recipe, console, plain=plain, stages=stages)
        job.report(stored, recipe, console, plain=plain)
        _finish(job.failed_share(stored, recipe), recipe.max_failures, stored)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ends the command on Ctrl-C with a word on how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _say("stopped; what was done is stored, the same command goes on from there")
        raise typer.Exit(STOPPED) from None


def _finish(share: float, most: float, stored: object) -> None:
    from vilbench.store.run import Run

    assert isinstance(stored, Run)  # noqa: S101
    for failure in stored.failures()[:5]:
        _say(f"failed: {failure.stage} {failure.problem_id}: {failure.error}")
    if share > most:
        _say(f"{share:.1%} of the units failed, more than {most:.1%}")
        raise typer.Exit(FAILURES)


def _say(line: str) -> None:
    say(Console(), line)


def main() -> None:
    """Entry point; exits with 0 done, 1 too many failures, 2 unusable input."""
    try:
        app()
    except (InputError, RunError) as error:
        _complain(error)
        sys.exit(UNUSABLE)
    except VilbenchError as error:
        _complain(error)
        sys.exit(FAILURES)


def _complain(error: VilbenchError) -> None:
    say(Console(stderr=True), f"vilbench: {error}")
