"""What the commands share: opening a run by its recipe, its stages, its report."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import shlex
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from pydantic import JsonValue
from rich.console import Console

from vilbench import __version__, config
from vilbench.cli.meter import Bars, Lines, meter
from vilbench.cli.screen import say
from vilbench.cli.stopping import halted_by_interrupts
from vilbench.config import ExecutorConfig, Experiment, Recipe
from vilbench.config.curating import scorer_fingerprints
from vilbench.curate import kinship
from vilbench.diagnostics.diagnosis import diagnose
from vilbench.diagnostics.probes import probe_costs
from vilbench.embedded import model_folder
from vilbench.errors import InputError, RunError, RunMismatchError
from vilbench.evaluate.analysis import analyse, stored
from vilbench.evaluate.extraction import extract, noted_extraction
from vilbench.evaluate.labels import checked, remembered
from vilbench.evaluate.results import Results
from vilbench.evaluate.sampling import sample
from vilbench.evaluate.scoring import score
from vilbench.evaluate.stages import SAMPLE, SCORE, every_noted, noted
from vilbench.executors import Halt
from vilbench.images import extension
from vilbench.problems.own import is_own
from vilbench.problems.sets import ProblemSet
from vilbench.report.diagnosis import Diagnosis
from vilbench.report.gallery import gallery
from vilbench.report.page import Provenance, render
from vilbench.report.table import print_table
from vilbench.store.export import export_jsonl
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import Problem

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "pillow", "pydantic")
_TOLD = 20
"""Most rows, notes or failures of a kind on the terminal."""

_COMMAND = "command"
"""Kind of the event that holds a command and its recipe."""

_READ = "input read"
"""Kind of the event that says which problems there are: where they come from, and their hash."""

_REJECTED = "input set aside"
"""Kind of the event that lists rows of the input that were not used."""


def begin(
    recipe: Experiment,
    folder: Path,
    *,
    fresh: bool,
    command: str,
    stages: Collection[str] = (SAMPLE, SCORE),
    executor: ExecutorConfig | None = None,
    extend: bool | None = None,
) -> Run:
    """The run of a recipe in `folder`, new or gone on with, its problems stored.

    Args:
        recipe: What to run.
        folder: Where.
        fresh: Start over.
        command: For the run's notes.
        stages: What is about to be done.
        executor: Workers that do it; None for here.
        extend: Also go on with a run whose recipe asked for less; None where the command has no
            such option.

    Raises:
        InputError: A model or the problems cannot be used, the key of a server that `stages`
            ask is not at hand, or a library that they need is not installed.
        RunError: The folder cannot, or not with this recipe and these problems.
    """
    config.check_keys(recipe, stages)
    config.check_libraries(recipe, stages, away=executor is not None)
    for model in recipe.models():
        model_folder(model)
    loaded = config.load_problems(recipe)
    manifest = Manifest.of(
        recipe.name,
        recipe.identity(),
        seed=recipe.seed,
        problem_set=recipe.problem_set,
        versions=versions(),
    )
    run = Run.open(folder, manifest, fresh=fresh, extend=extend)
    try:
        check_input(run, loaded)
        # From here on the new command goes on alone, whenever this one ends.
        run.grow(manifest)
        store_input(run, loaded)
        note_command(run, recipe, command)
        kinship.note(run, [Path(one.source) for one in recipe.problem_sets])
    except BaseException:
        run.close()
        raise
    _tell([str(error) for error in loaded.rejected], "rows that were set aside")
    _tell(loaded.notes, "notes")
    return run


def go_on(folder: Path) -> Run:
    """An existing run, open for writing, by its own recipe.

    Raises:
        RunError: There is none, or it cannot be used.
    """
    with Run.read(folder) as run:
        manifest = run.manifest
    return Run.open(folder, manifest.model_copy(update={"versions": versions()}))


def check_input(run: Run, loaded: ProblemSet) -> None:
    """Refuses an input that is no longer that of the run, or more.

    Raises:
        RunMismatchError: Problems of the run are no longer among them, or have changed.
    """
    given = {problem.id for problem in loaded.problems}
    gone = [problem.id for problem in run.problems() if problem.id not in given]
    if gone:
        raise RunMismatchError(
            f"{run.folder}: problems of the run are no longer in the input; "
            "start over with --fresh, or choose another --out",
            gone[:_TOLD],
        )
    run.check_problems(loaded.problems)


def store_input(run: Run, loaded: ProblemSet) -> None:
    """Stores the problems of a run, with what was set aside and where they were read.

    Raises:
        RunMismatchError: As `check_input` does.
    """
    check_input(run, loaded)
    run.add_problems(loaded.problems)
    rejected = [str(error) for error in loaded.rejected]
    if rejected != rejected_rows(run):
        run.event(_REJECTED, {"rows": list(rejected)})
    data: dict[str, JsonValue] = {
        "origins": list(loaded.origins),
        "problems": len(loaded.problems),
        "sha256": loaded.digest(),
    }
    if data not in [event.data for event in run.events() if event.kind == _READ]:
        run.event(_READ, data)


def rejected_rows(run: Run) -> list[str]:
    """Rows of the input that were set aside, as the run noted them last."""
    rows: list[str] = []
    for event in run.events():
        if event.kind == _REJECTED:
            listed = event.data["rows"]
            rows = [str(row) for row in listed] if isinstance(listed, list) else []
    return rows


def note_command(run: Run, recipe: Experiment, command: str) -> None:
    """Note a command that is about to do paid work, and the whole of its recipe."""
    run.event(_COMMAND, {"line": command, "recipe": recipe.model_dump(mode="json")})


def recipe_of(run: Run) -> Recipe:
    """The recipe that the run was gone on with last.

    Raises:
        RunError: No command has noted one.
    """
    recipes = [event.data["recipe"] for event in run.events() if event.kind == _COMMAND]
    if not recipes:
        raise RunError(
            f"{run.folder}: the run holds no recipe, as one that was made from Python; there the "
            "same call of best_of_n writes its results anew, and 'vilbench view' and 'vilbench "
            "export' read it"
        )
    return config.parse(recipes[-1], str(run.folder))


def versions() -> Mapping[str, str]:
    """Versions of what made the run."""
    found = {"vilbench": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def work(
    run: Run,
    recipe: Recipe,
    console: Console,
    *,
    plain: bool,
    stages: Collection[str],
    executor: ExecutorConfig | None = None,
) -> None:
    """Runs stages of a run, here or on workers; engines are closed at the end."""
    asyncio.run(_work(run, recipe, console, plain=plain, stages=stages, executor=executor))


async def _work(
    run: Run,
    recipe: Recipe,
    console: Console,
    *,
    plain: bool,
    stages: Collection[str],
    executor: ExecutorConfig | None,
) -> None:
    async with config.staffed(executor, recipe, stages, say) as staff:
        await _stages(run, config.build(recipe, stages, staff), console, plain=plain)


async def _stages(run: Run, built: config.Built, console: Console, *, plain: bool) -> None:
    async with serving(run, built, console, plain=plain) as watch:
        progress, halt = watch
        width = built.concurrency
        if built.sampler is not None:
            await sample(run, built.sampler, concurrency=width, progress=progress, halt=halt)
        if built.extractor is not None and not halt.asked:
            key = noted(run).sample_key
            await extract(
                run, built.extractor, key, concurrency=width, progress=progress, halt=halt
            )
        for scorer, width in zip(built.scorers, built.widths, strict=True):
            if halt.asked:
                return
            key = noted(run).sample_key
            await score(run, scorer, key, concurrency=width, progress=progress, halt=halt)


class Watch(NamedTuple):
    """How the user follows and stops what is under way.

    Attributes:
        progress: Told of every unit.
        halt: Asked for by Ctrl-C: what is under way is waited for and stored.
    """

    progress: Bars | Lines
    halt: Halt


@asynccontextmanager
async def serving(
    run: Run, built: config.Built, console: Console, *, plain: bool
) -> AsyncIterator[Watch]:
    """Engines at work, closed at the end, with what servers and workers did told and noted."""
    servers = [engine for engine in built.engines if hasattr(engine, "state")]
    async with AsyncExitStack() as stack:
        for engine in built.engines:
            stack.push_async_callback(engine.aclose)
        halt = stack.enter_context(halted_by_interrupts())
        progress = meter(console, plain=plain, watch=lambda: _states(servers))
        stack.enter_context(progress)
        stack.callback(_tell_servers, run, servers)
        yield Watch(progress, halt)


def _states(servers: Collection[Any]) -> str:
    """What is worth a look while servers answer; "" where all goes well."""
    return "; ".join(state for server in servers if (state := server.state()))


def _tell_servers(run: Run, servers: Collection[Any]) -> None:
    """What servers were asked in all, for the user and for the run."""
    for server in servers:
        told = server.counts.told()
        say(f"{server.name}: {told}")
        run.event("server", {"model": server.name, "told": told})


def report(
    run: Run, recipe: Recipe, console: Console, *, plain: bool, dev: Path | None = None
) -> Results:
    """Writes `results.json`, `diagnostics.json` and `report.html`, prints the table.

    Needs no model. Fits of calibration are made on the run `dev`, if it is given.

    Raises:
        RunError: The dev run cannot be used, or holds problems of this one.
    """
    plan = config.plan(recipe)
    held, labels = stored(run, plan), remembered(checked)
    results = analyse(run, plan, rejected_rows(run), labels, held)
    with nullcontext(None) if dev is None else Run.read(dev) as fitted_on:
        diagnosis = Diagnosis(diagnose(run, plan, held, labels, fitted_on))
    judged = [scorer for scorer in plan.scorers if scorer.name in results.scorers]
    notices = kinship.warnings(run, judged, scorer_fingerprints(recipe))
    paid = (*results.costs, *probe_costs(run, plan.prices))
    results = results.model_copy(update={"notices": notices, "costs": paid})
    commands = [str(event.data["line"]) for event in run.events() if event.kind == _COMMAND]
    provenance = Provenance(
        command=" && ".join(dict.fromkeys(commands)),
        versions=run.manifest.versions,
        created=run.manifest.created,
    )
    run.write_results(results.model_dump_json(indent=1))
    run.write_derived("diagnostics.json", diagnosis.record.model_dump_json(indent=1).encode())
    page = render(results, gallery(run, plan), provenance, diagnosis)
    path = run.write_derived("report.html", page.encode())
    print_table(results, console, plain=plain)
    for line in results.extraction.told() if results.extraction else ():
        say(f"extraction: {line}")
    for remark in diagnosis.remarks:
        say(f"diagnosis: {remark}")
    for notice in notices:
        say(f"warning: {notice}")
    say(f"report: {path}")
    return results


def export(run: Run, folder: Path, number: int | None) -> None:
    """Writes a run below `folder`: of several samplings the one that the report shows.

    Args:
        run: The run.
        folder: Where.
        number: Which sampling, from 1 in the order of the last use; None takes the last.

    Raises:
        InputError: There is no such sampling.
        RunError: The folder cannot be written, or is the run's own.
    """
    filled = set(run.solution_keys())
    pools = [one for one in every_noted(run) if one.sample_key in filled]
    told = [f"{place}: {one.policy}, key {one.sample_key}" for place, one in enumerate(pools, 1)]
    if number is not None and number > len(pools):
        had = "; ".join(told) or "nothing has been sampled yet"
        raise InputError(f"there is no sampling {number} in the run ({had})", field="--pool")
    if not pools:
        export_jsonl(run, folder)
        return
    chosen = (number or len(pools)) - 1
    pool = pools[chosen]
    export_jsonl(run, folder, key=pool.sample_key, score_keys=pool.score_keys.values())
    if len(pools) > 1:
        say(f"sampling {told[chosen]}; --pool takes another of {len(pools)}")


def failed_share(run: Run) -> float:
    """Share of the units that failed for good, told one by one.

    A unit is a problem in a stage that has begun, or a row of the input.
    """
    begun = noted(run)
    keys = {begun.sample_key, *begun.score_keys.values()}
    note = noted_extraction(run, begun.sample_key)
    keys |= set() if note is None else {note["key"]}
    failures = [failure for failure in run.failures() if failure.key in keys]
    _tell([f"failed: {one.stage} {one.problem_id}: {one.error}" for one in failures], "failures")
    rejected = len(rejected_rows(run))
    units = len(run.problems()) * len(keys) + rejected
    return (len(failures) + rejected) / units


def _tell(lines: Collection[str], kind: str) -> None:
    for line in list(lines)[:_TOLD]:
        say(line)
    if len(lines) > _TOLD:
        say(f"... and {len(lines) - _TOLD} more {kind}")


def show(problem: Problem, folder: Path | None) -> None:
    """Print a problem, and write its images below `folder`.

    Raises:
        OSError: They cannot be written.
    """
    say(f"{problem.id}  [{problem.source}, {problem.modality}]")
    say(f"  {problem.question}")
    for letter, choice in zip(ascii_uppercase, problem.choices, strict=False):
        say(f"  {letter}. {choice}")
    say(f"  answer: {problem.answer}")
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(problem.images, 1):
        data = image.read()
        path = folder / f"{image.digest}.{extension(data)}"
        path.write_bytes(data)
        say(f"  image {place}: {path}")


def command_line(arguments: list[str]) -> str:
    """The command as one would type it."""
    return shlex.join(["vilbench", *arguments])


def parse_problems(text: str) -> dict[str, object]:
    """`SOURCE[:split]` as changes of a recipe, whose limit is not meant for another source.

    Raises:
        InputError: The split of the puzzles is unknown.
    """
    if is_own(text):
        return {"problems.source": text, "problems.limit": None}
    source, _, split = text.partition(":")
    if source != "puzzles":
        return {"problems.source": source, "problems.split": split or None}
    if not split:
        return {"problems.source": source}
    if split not in ("train", "dev", "test"):
        raise InputError(f"'{split}' is no split; there are train, dev, test", field="--problems")
    return {"problems.source": source, "problems.split": split}
