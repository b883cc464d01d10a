"""`vilbench collect`: step values by tree search from a recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.executing import Address, Executor, PerWorker, Workers, chosen
from vilbench.cli.problems import Draw, Limit, Problems, SampleIds, part
from vilbench.cli.resuming import Extend, Fresh, check_resuming
from vilbench.cli.screen import FAILURES, say, stoppable, told


@told()
def collect(
    recipe: Annotated[
        str, typer.Argument(help="A .yaml file, or the name of a shipped recipe that collects.")
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
    """Search the steps of solutions for their values."""
    from rich.console import Console

    from vilbench import config
    from vilbench.cli import forecast, job, trees

    check_resuming(fresh=fresh, extend=extend)
    options = {"seed": seed, "policy.engine.model": engine}
    some = part(limit, draw, sample_id)
    given = {**some, **{key: value for key, value in options.items() if value is not None}}
    where = chosen(executor, address, workers, per_worker)
    source = {} if problems is None else job.parse_problems(problems)
    changed = config.load_collecting(recipe).over(source).changed(given)
    if dry_run:
        forecast.tell(changed)
        return
    if out is None:
        raise forecast.no_folder()
    command = job.command_line(sys.argv[1:])
    with (
        stoppable(),
        job.begin(
            changed, out, fresh=fresh, extend=extend, command=command, executor=where
        ) as stored,
    ):
        harvest = trees.grow(stored, changed, Console(), plain=plain, executor=where)
        for line in trees.told(stored, harvest):
            say(line)
        share = trees.failed_share(stored, harvest)
        if share > changed.max_failures:
            say(f"{share:.1%} of the problems failed, more than {changed.max_failures:.1%}")
            raise typer.Exit(FAILURES)
