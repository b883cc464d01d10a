"""What the commands share: opening a run by its recipe, its stages, its report."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from vilbench import __version__, config
from vilbench.cli.meter import meter
from vilbench.cli.screen import say
from vilbench.config import Recipe
from vilbench.embedded import model_folder
from vilbench.evaluate.analysis import analyse
from vilbench.evaluate.results import Results
from vilbench.evaluate.sampling import sample
from vilbench.evaluate.scoring import score
from vilbench.report.gallery import gallery
from vilbench.report.page import Provenance, render
from vilbench.report.table import print_table
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import InputError

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "pillow", "pydantic")

REJECTED = "input set aside"
"""Kind of the event that lists rows of the input that were not used."""


def open_run(recipe: Recipe, folder: Path, *, fresh: bool, command: str, console: Console) -> Run:
    """The run of a recipe in `folder`, new or gone on with, its problems stored."""
    for model in recipe.models():
        model_folder(model)
    problems = config.load_problems(recipe)
    manifest = Manifest.of(
        recipe.name,
        recipe.identity(),
        seed=recipe.seed,
        problem_set=recipe.problem_set,
        versions=versions(),
    )
    run = Run.open(folder, manifest, fresh=fresh)
    try:
        run.add_problems(problems.problems)
        run.event("command", {"line": command})
        rejected = [str(error) for error in problems.rejected]
        if rejected and rejected != rejected_rows(run):
            run.event(REJECTED, {"rows": list(rejected)})
    except BaseException:
        run.close()
        raise
    for line in (*(str(error) for error in problems.rejected), *problems.notes):
        say(console, line)
    return run


def rejected_rows(run: Run) -> list[str]:
    """Rows of the input that were set aside, as the run noted them last."""
    rows: list[str] = []
    for event in run.events():
        if event.kind == REJECTED:
            listed = event.data["rows"]
            rows = [str(row) for row in listed] if isinstance(listed, list) else []
    return rows


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run was made with."""
    manifest = run.manifest
    return config.parse({**manifest.recipe, "name": manifest.name, "seed": manifest.seed})


def versions() -> Mapping[str, str]:
    """Versions of what made the run."""
    found = {"vilbench": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def work(run: Run, recipe: Recipe, console: Console, *, plain: bool, stages: set[str]) -> None:
    """Runs stages of a run; engines are closed at the end."""
    asyncio.run(_work(run, recipe, console, plain=plain, stages=stages))


async def _work(
    run: Run, recipe: Recipe, console: Console, *, plain: bool, stages: set[str]
) -> None:
    built = config.build(recipe)
    async with AsyncExitStack() as stack:
        for engine in built.engines:
            stack.push_async_callback(engine.aclose)
        progress = meter(console, plain=plain)
        stack.enter_context(progress)
        if "sample" in stages:
            await sample(run, built.sampler, concurrency=recipe.concurrency, progress=progress)
        if "score" in stages:
            for scorer in built.scorers:
                await score(
                    run,
                    scorer,
                    built.sampler.key,
                    concurrency=recipe.concurrency,
                    progress=progress,
                )


def report(run: Run, recipe: Recipe, console: Console, *, plain: bool) -> Results:
    """Writes `results.json` and `report.html`, prints the table."""
    plan = config.plan(recipe)
    results = analyse(run, plan, rejected_rows(run))
    commands = [event for event in run.events() if event.kind == "command"]
    provenance = Provenance(
        command=str(commands[0].data["line"]) if commands else "",
        versions=run.manifest.versions,
        created=run.manifest.created,
    )
    run.write_results(results.model_dump_json(indent=1))
    page = render(results, gallery(run, plan), provenance)
    path = run.write_derived("report.html", page.encode())
    print_table(results, console, plain=plain)
    say(console, f"report: {path}")
    return results


def failed_share(run: Run, recipe: Recipe) -> float:
    """Share of the units (a problem in a stage, or a row of input) that failed for good."""
    rejected = len(rejected_rows(run))
    units = len(run.problems()) * (1 + len(recipe.scorers)) + rejected
    return (len(run.failures()) + rejected) / units if units else 0.0


def command_line(arguments: list[str]) -> str:
    """The command as one would type it."""
    return shlex.join(["vilbench", *arguments])


def parse_problems(text: str) -> dict[str, object]:
    """`SOURCE[:split]` as changes of a recipe.

    Raises:
        InputError: The split is unknown.
    """
    source, colon, split = text.rpartition(":")
    if not colon:
        return {"problems.source": text}
    if split not in ("train", "dev", "test"):
        raise InputError(f"'{split}' is no split; there are train, dev, test")
    return {"problems.source": source, "problems.split": split}
