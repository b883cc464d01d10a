"""What `vilbench stepbench` does: scores marked solutions, and measures stored scores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from vilbench import config
from vilbench.cli import job
from vilbench.cli.screen import say
from vilbench.config.recipe import effective
from vilbench.config.scorers import JudgeConfig, ScorerConfig
from vilbench.config.stepbench import FileConfig, SplitConfig, StepbenchRecipe, SubsetConfig
from vilbench.embedded import model_folder
from vilbench.errors import InputError, RecipeError
from vilbench.evaluate.pools import ScorerPlan
from vilbench.evaluate.scoring import score
from vilbench.problems.sets import ProblemSet
from vilbench.stepbench import bench, storing
from vilbench.stepbench.analysis import ScoresOf, analyse, scores_of
from vilbench.stepbench.marks import MarkedSet, apart
from vilbench.stepbench.records import Stepbench
from vilbench.stepbench.storing import Role
from vilbench.stepbench.table import lines
from vilbench.store.folder import MANIFEST
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run

RESULTS = "stepbench.json"


class Apart(NamedTuple):
    """Where the command line takes thresholds from; at most one is given."""

    dev: Path | None
    split: float | None
    subset: str | None
    seed: int

    def check(self) -> None:
        """Refuses more than one of them, and shares that are none.

        Raises:
            InputError: It is not usable.
        """
        given = [one for one in (self.dev, self.split, self.subset) if one is not None]
        if len(given) > 1:
            raise InputError("thresholds come from one place: --dev, --split or --subset")
        if self.split is not None and not 0 < self.split < 1:
            raise InputError(f"{self.split} is no share between 0 and 1", field="--split")


def is_run(target: str) -> bool:
    """Whether a run lies there."""
    return (Path(target) / MANIFEST).is_file()


def recipe(
    target: str, path: Path | None, limit: int | None, given: Apart, scorers: Sequence[str] | None
) -> StepbenchRecipe:
    """The recipe, changed as the command line has it.

    Raises:
        RecipeError: There is none, or the result is none.
    """
    given.check()
    if given.dev is not None:
        raise RecipeError("is for a run; a recipe has threshold: {kind: file}", field="--dev")
    try:
        loaded = config.load_stepbench(target)
    except RecipeError:
        if Path(target).is_dir():
            raise RecipeError(f"{target}: there is no run here (no {MANIFEST})") from None
        raise
    data = loaded.model_dump(mode="json")
    changes = {"path": None if path is None else str(path), "limit": limit}
    data["benchmark"] |= {key: value for key, value in changes.items() if value is not None}
    if given.split is not None:
        data["threshold"] = {"kind": "split", "share": given.split, "seed": given.seed}
    if given.subset is not None:
        data["threshold"] = {"kind": "subset", "subset": given.subset}
    changed = config.parse_stepbench(data, "the command line")
    return changed.only(scorers) if scorers else changed


def of_run(folder: Path, given: Apart, scorers: Sequence[str] | None) -> Stepbench:
    """Measures the stored scores of a run over puzzles or marked solutions.

    Raises:
        InputError: Nothing to choose thresholds on is left, or the runs do not fit.
        RunError: The run cannot be used.
    """
    given.check()
    with Run.read(folder) as run:
        of_benchmark = any(storing.stored(one) for one in run.problems())
    if of_benchmark:
        raise InputError(
            f"{folder} was made by a recipe of 'vilbench stepbench'; give that recipe and --out"
        )
    with job.go_on(folder) as run:
        made = job.recipe_of(run)
        made = made.only(scorers) if scorers else made
        found = bench.of_run(run)
        dev_scores = None
        if given.dev is not None:
            with Run.read(given.dev) as other:
                their = job.recipe_of(other)
                _check_alike(made.scorers, their.scorers)
                plans = config.plan(their).scorers
                pools = bench.of_run(other).pools
                dev_scores = scores_of(other, plans)
                origin = f"{other.manifest.problem_set}, {len(pools)} problems"
            found = bench.with_dev(found, pools, origin)
        elif given.split is not None:
            found = bench.split(found, given.split, given.seed)
        elif given.subset is not None:
            found = bench.set_apart(found, given.subset)
        plan = config.plan(made)
        return _told(run, found, plan.scorers, dev_scores, plan.main)


def _check_alike(ours: Sequence[ScorerConfig], theirs: Sequence[ScorerConfig]) -> None:
    """Refuses a threshold of another model under the same name.

    Raises:
        InputError: A scorer of both recipes is another one there.
    """
    known = {one.name: one for one in theirs}
    for one in ours:
        other = known.get(one.name)
        kept = {"aggregations": (), "votes": "mean"}
        if other is not None and effective(
            one.model_copy(update=kept).model_dump(mode="json")
        ) != effective(other.model_copy(update=kept).model_dump(mode="json")):
            raise InputError(f"the scorer '{one.name}' of --dev is another one")


def of_recipe(
    made: StepbenchRecipe, out: Path, arguments: list[str], *, fresh: bool, plain: bool
) -> float:
    """Scores what a recipe names and is not scored yet, and measures it.

    Returns:
        Share of units that failed.

    Raises:
        InputError: A model or the marked solutions cannot be used.
        RunError: The folder cannot, or not with this recipe.
    """
    config.check_scorer_keys(made.scorers)
    for model in made.models():
        model_folder(model)
    sets = _sets(made)
    problems = [one for found, role in sets for one in storing.keyed(found, role)]
    manifest = Manifest.of(
        made.name,
        made.identity(),
        seed=0,
        problem_set=made.problem_set,
        versions=job.versions(),
    )
    with Run.open(out, manifest, fresh=fresh) as run:
        rejected = tuple(error for found, _ in sets for error in found.rejected)
        notes = tuple(note for found, _ in sets for note in found.notes)
        loaded = ProblemSet(made.problem_set, tuple(problems), rejected, notes)
        job.store_input(run, loaded)
        run.event(
            "command",
            {"line": job.command_line(arguments), "recipe": made.model_dump(mode="json")},
        )
        for line in (*map(str, rejected), *notes):
            say(line)
        key = storing.store_all(run, sets, made.joint)
        most = max(len(group.solutions) for found, _ in sets for group in found.groups)
        asyncio.run(_score(run, made, key, most, plain=plain))
        found = _bench(made, bench.of_run(run))
        _told(run, found, [one.plan() for one in made.scorers], None, made.main, loaded.rejected)
        return job.failed_share(run)


def _sets(made: StepbenchRecipe) -> list[tuple[MarkedSet, Role]]:
    """What is reported, then what thresholds are chosen on, without problems of the first.

    Raises:
        InputError: A set cannot be used, or nothing is left to choose on.
    """
    found = made.benchmark.load()
    sets: list[tuple[MarkedSet, Role]] = [(found, "test")]
    if isinstance(made.threshold, FileConfig):
        other = made.threshold.dev.load()
        groups = apart(other.groups, found.groups)
        if not groups:
            raise InputError(
                f"{made.threshold.dev.path}: every problem is among those that are reported",
                field="threshold.dev",
            )
        notes = other.notes
        if len(groups) < len(other.groups):
            notes = (
                *notes,
                f"{made.threshold.dev.path}: {len(other.groups) - len(groups)} of "
                f"{len(other.groups)} problems are among those that are reported, and are not "
                "used to choose",
            )
        sets.append((MarkedSet(other.title, groups, other.rejected, notes), "dev"))
    return sets


def _bench(made: StepbenchRecipe, found: bench.Bench) -> bench.Bench:
    if isinstance(made.threshold, SplitConfig):
        return bench.split(found, made.threshold.share, made.threshold.seed)
    if isinstance(made.threshold, SubsetConfig):
        return bench.set_apart(found, made.threshold.subset)
    return found


async def _score(run: Run, made: StepbenchRecipe, key: str, most: int, *, plain: bool) -> None:
    built = config.build_scorers(made.scorers, most)
    async with job.serving(run, built, Console(), plain=plain) as (progress, halt):
        for scorer, width in zip(built.scorers, built.widths, strict=True):
            if halt.asked:
                return
            await score(run, scorer, key, concurrency=width, progress=progress, halt=halt)


def _told(
    run: Run,
    found: bench.Bench,
    scorers: Sequence[ScorerPlan],
    dev_scores: ScoresOf | None,
    main: str | None,
    rejected: Sequence[InputError] = (),
) -> Stepbench:
    results = analyse(run, found, scorers, dev_scores, main, [str(one) for one in rejected])
    path = run.write_derived(RESULTS, results.model_dump_json(indent=1).encode())
    for line in lines(results):
        say(line)
    say(f"figures: {path}")
    return results


def forecast(made: StepbenchRecipe) -> Iterator[str]:
    """What a recipe would ask of its scorers, counted on the marked solutions themselves.

    Raises:
        InputError: They cannot be used.
    """
    yield f"dry run of {made.name}: no model is asked"
    groups = [group for found, _ in _sets(made) for group in found.groups]
    solutions = [one for group in groups for one in group.solutions]
    steps = sum(len(one.steps) for one in solutions)
    yield f"{len(groups):,} problems, {len(solutions):,} solutions, {steps:,} steps"
    for one in made.scorers:
        if not isinstance(one, JudgeConfig):
            yield f"{one.name}: one pass over the solutions of each of {len(groups):,} problems"
        elif one.granularity == "solution":
            yield f"{one.name}: scores whole solutions, which this benchmark does not ask for"
        else:
            asked = sum(
                len({row.steps[:end] for row in group.solutions for end in _ends(row.steps)})
                for group in groups
            )
            yield f"{one.name}: {asked:,} requests to {one.engine.model}"


def _ends(steps: Sequence[str]) -> range:
    return range(1, len(steps) + 1)
