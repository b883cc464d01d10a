"""`vilbench search`: one solution a problem, searched step by step under a reward model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.executing import Address, Executor, PerWorker, Workers, chosen
from vilbench.cli.problems import Draw, Limit, Problems, SampleIds, part
from vilbench.cli.resuming import Extend, Fresh, check_resuming
from vilbench.cli.screen import FAILURES, say, stoppable, told

Schedule = Annotated[
    str | None,
    typer.Option(help="A number, or one for each round with commas: 8,4,2; the last stays."),
]


@told()
def search(
    recipe: Annotated[
        str, typer.Argument(help="A .yaml file, or the name of a shipped recipe that searches.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; --dry-run needs none.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the search and of the puzzles.")
    ] = None,
    limit: Limit = None,
    draw: Draw = None,
    sample_id: SampleIds = None,
    problems: Problems = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="Model that solves: a folder, or embedded:NAME.")
    ] = None,
    groups: Annotated[
        int | None, typer.Option("--groups", min=1, help="Independent searches of a problem.")
    ] = None,
    beams: Schedule = None,
    widths: Schedule = None,
    whole: Annotated[
        bool | None,
        typer.Option("--whole/--steps", help="Best-of-n over whole solutions, or step by step."),
    ] = None,
    executor: Executor = None,
    address: Address = None,
    workers: Workers = None,
    per_worker: PerWorker = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Ask no model: print requests, tokens, cost and time."),
    ] = False,
    fresh: Fresh = False,
    extend: Extend = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines: no bars.")] = False,
) -> None:
    """Search for solutions step by step, guided by a reward model."""
    from rich.console import Console

    from vilbench import config
    from vilbench.cli import forecast, job, trees

    check_resuming(fresh=fresh, extend=extend)
    options = {
        "seed": seed,
        "policy.engine.model": engine,
        "search.groups": groups,
        "search.beams": _numbers(beams, "--beams"),
        "search.widths": _numbers(widths, "--widths"),
        "search.whole": whole,
    }
    some = part(limit, draw, sample_id)
    given = {**some, **{key: value for key, value in options.items() if value is not None}}
    where = chosen(executor, address, workers, per_worker)
    source = {} if problems is None else job.parse_problems(problems)
    changed = config.load_searching(recipe).over(source).changed(given)
    if dry_run:
        forecast.tell(changed.trees())
        return
    if out is None:
        raise forecast.no_folder()
    command = job.command_line(sys.argv[1:])
    console = Console()
    with (
        stoppable(),
        job.begin(
            changed, out, fresh=fresh, extend=extend, command=command, executor=where
        ) as stored,
    ):
        harvest = trees.search(stored, changed, console, plain=plain, executor=where)
        for line in trees.told(stored, harvest):
            say(line)
        # From here on the run is one like any other.
        job.note_command(stored, changed.run(), command)
        job.report(stored, changed.run(), console, plain=plain)
        share = trees.failed_share(stored, harvest)
        if share > changed.max_failures:
            say(f"{share:.1%} of the problems failed, more than {changed.max_failures:.1%}")
            raise typer.Exit(FAILURES)


def _numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter("takes numbers with commas between", param_hint=option) from error
