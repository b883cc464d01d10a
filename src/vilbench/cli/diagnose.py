"""`vilbench diagnose`: a run's scorers are asked again about changed inputs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vilbench.cli.screen import FAILURES, say, stoppable, told

if TYPE_CHECKING:
    from rich.console import Console

    from vilbench.config.probing import Probing
    from vilbench.store.run import Run

_TOLD = 20
"""Most failures on the terminal."""


@told()
def diagnose(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    scorer: Annotated[
        list[str] | None,
        typer.Option("--scorer", help="Only this scorer of the recipe; may be given again."),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            "--probe",
            help="Only this one of rescoring, order, paraphrase, boundaries, image, attack; "
            "may be given again.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Problems, drawn at random; 0 takes all.")
    ] = 60,
    candidates: Annotated[
        int, typer.Option("--candidates", min=1, help="Solutions of each problem.")
    ] = 8,
    attacked: Annotated[
        int, typer.Option("--attacked", min=1, help="Wrong ones of them that are attacked.")
    ] = 3,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the draw and of every change.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask no model: print what would be scored.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines: no bars.")] = False,
) -> None:
    """Probe the scorers of a run: consistency, use of the image, attacks; then report."""
    from rich.console import Console

    from vilbench.cli import job
    from vilbench.config.probing import probing
    from vilbench.diagnostics.probes import Draw
    from vilbench.store.run import Run

    draw = Draw(seed, limit or None, candidates, attacked)
    if dry_run:
        with Run.read(folder) as stored:
            asked = probing(stored, job.recipe_of(stored), scorer or (), probe or (), draw)
            _forecast(stored, asked)
        return
    with stoppable(), job.go_on(folder) as stored:
        recipe = job.recipe_of(stored)
        asked = probing(stored, recipe, scorer or (), probe or (), draw)
        console = Console()
        job.note_command(stored, recipe, job.command_line(sys.argv[1:]))
        _score(stored, asked, console, plain=plain)
        job.report(stored, recipe, console, plain=plain)
        _tell(stored, asked)
        _finish(stored, asked)


def _forecast(stored: Run, asked: Probing) -> None:
    """What would be scored, by scorer and variant."""
    from vilbench import config
    from vilbench.diagnostics.probes import Deck, draw_cases, forecast
    from vilbench.evaluate.analysis import stored as read

    pools = read(stored, config.plan(asked.recipe)).pools
    cases, deck = draw_cases(pools, asked.draw), Deck(asked.draw, pools.problems)
    say(f"{len(cases)} problems, {sum(len(one.solutions) for one in cases)} solutions")
    say(f"{'scorer':<16}{'change':<26}{'calls':>7}{'solutions':>11}{'steps':>8}{'stored':>8}")
    calls = left = 0
    for one in asked.recipe.scorers:
        kind = one.plan().granularity
        for work in forecast(stored, one.name, kind, asked.probes, cases, deck):
            change = f"{work.probe}/{work.variant}"
            say(
                f"{one.name:<16}{change:<26}{work.calls:>7}{work.solutions:>11}"
                f"{work.steps:>8}{work.stored:>8}"
            )
            calls += work.calls
            left += work.solutions - work.stored
    say(f"{calls} calls; {left} solutions are left to score")


def _score(stored: Run, asked: Probing, console: Console, *, plain: bool) -> None:
    """Asks the scorers; engines are closed at the end."""
    import asyncio

    from vilbench import config
    from vilbench.cli import job
    from vilbench.diagnostics.probes import Deck, draw_cases, probe
    from vilbench.evaluate.analysis import stored as read
    from vilbench.evaluate.stages import SCORE

    config.check_keys(asked.recipe, (SCORE,))
    pools = read(stored, config.plan(asked.recipe)).pools
    cases, deck = draw_cases(pools, asked.draw), Deck(asked.draw, pools.problems)

    async def work() -> None:
        built = config.build(asked.recipe, (SCORE,))
        async with job.serving(stored, built, console, plain=plain) as watch:
            for scorer, width in zip(built.scorers, built.widths, strict=True):
                await probe(
                    stored,
                    scorer,
                    asked.probes,
                    cases,
                    deck,
                    concurrency=width,
                    progress=watch.progress,
                    halt=watch.halt,
                )

    asyncio.run(work())


def _tell(stored: Run, asked: Probing) -> None:
    from vilbench import config
    from vilbench.diagnostics.probes import findings
    from vilbench.diagnostics.probes.telling import lines

    probed = {one.name for one in asked.probes}
    found = findings(stored, config.plan(asked.recipe))
    for line in lines([one for one in found if one.probe in probed]):
        say(line)


def _finish(stored: Run, asked: Probing) -> None:
    """Tells what failed; too much of it is an exit code.

    Raises:
        typer.Exit: More calls failed than the recipe allows.
    """
    from vilbench.diagnostics.probes import failed_calls

    scorers = [one.name for one in asked.recipe.scorers]
    failures = failed_calls(stored, scorers, asked.probes, asked.draw)
    for failure in failures[:_TOLD]:
        say(f"failed: {failure.problem_id}: {failure.error}")
    if failures:
        say(f"{len(failures)} calls failed; the same command tries them again")
    problems = min(asked.draw.limit or len(stored.problems()), len(stored.problems()))
    units = problems * sum(len(one.scored) for one in asked.probes) * len(scorers)
    if len(failures) > asked.recipe.max_failures * units:
        raise typer.Exit(FAILURES)
