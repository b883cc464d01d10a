"""Does it matter how solutions are cut into the steps that are scored?

Takes solutions of a stored run, cuts them anew in every way of `vilbench.steps.SEGMENTATIONS`,
scores the segments by a reward model and by a judge of steps, each under keys of its own in the
folder `--out`, and compares selection, AUROC within problems and AUROC of the segments by the
exact checker, on all problems and by modality. Whatever is stored there is not scored again.

    python benchmarks/segments.py --run runs/test --out build/segments --problems 270 --judged 120
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from vilbench.config import parse
from vilbench.config.building import Built, build_scorers
from vilbench.config.recipe import Recipe
from vilbench.config.scorers import JudgeConfig, PrmScorerConfig
from vilbench.evaluate.analysis import Plan, stored
from vilbench.evaluate.labels import checked
from vilbench.evaluate.pools import Pools, Scale, ScorerPlan
from vilbench.evaluate.scoring import Pool, score_key, score_pools
from vilbench.evaluate.slices import Slice, slices
from vilbench.evaluate.stepwise import LabelledSteps, sound_steps
from vilbench.metrics import Separation, Stratified, compare
from vilbench.selection import best_of
from vilbench.steps import SEGMENTATIONS, Segmentation
from vilbench.store.manifest import Manifest
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import Solution, StepScorer, StepScores, Usage

AGGREGATIONS = ("mean", "min", "last-1")
BASE = "marker"


class Cut(NamedTuple):
    """Pools whose solutions are cut in one way, and the scores of the segments."""

    pools: Pools
    values: Mapping[ScoreRef, StepScores]


def segmented(
    pools: Pools, way: Segmentation, first: Mapping[ScoreRef, StepScores], scale: Scale
) -> Pools:
    """The pools cut anew; `first` are the values of a first scoring of the steps of `marker`."""

    def cut(solution: Solution) -> Solution:
        record = first.get(ScoreRef(solution.problem_id, solution.index))
        values = [scale.unit(value) for value in record.values] if record else None
        return solution.model_copy(update={"steps": way.spans(solution.text, values)})

    return Pools(pools.problems, tuple(tuple(map(cut, pool)) for pool in pools.solutions))


async def scored(
    run: Run, scorer: StepScorer, base: Cut | None, pools: Pools, way: Segmentation, key: str
) -> Cut:
    """Values of all segments; of a problem that is cut as `base` is they are the same."""
    todo, same = [], dict[ScoreRef, StepScores]()
    for place, (problem, pool) in enumerate(zip(pools.problems, pools.solutions, strict=True)):
        if base is not None and pool == base.pools.solutions[place]:
            refs = [ScoreRef(problem.id, one.index) for one in pool]
            same.update({ref: base.values[ref] for ref in refs if ref in base.values})
        else:
            todo.append(Pool(problem, pool))
    own = score_key(scorer, f"{key}/{way.fingerprint}")
    await score_pools(run, scorer, own, todo)
    mine = {pool.problem.id for pool in todo}
    fresh = {ref: one for ref, one in run.scores(own).items() if ref.problem_id in mine}
    return Cut(pools, {**same, **fresh})


class Column(NamedTuple):
    """What one segmentation shows under one scorer."""

    way: str
    cut: Cut
    plan: ScorerPlan

    def accuracies(self) -> Mapping[str, np.typing.NDArray[np.float64]]:
        """Best-of-N accuracy by aggregation, `[P]`."""
        correct = self.cut.pools.correct()
        scores = self.cut.pools.scores(self.plan, self.cut.values)
        return {
            one.aggregation or "": best_of(scores[one.name], correct).accuracy[:, -1]
            for one in self.plan.methods()
        }

    def within(self) -> Mapping[str, Separation]:
        """How well the scores tell right from wrong solutions, by aggregation."""
        correct = self.cut.pools.correct()
        scores = self.cut.pools.scores(self.plan, self.cut.values)
        return {
            one.aggregation or "": Separation(scores[one.name], correct)
            for one in self.plan.methods()
        }

    def usage(self) -> Usage:
        """Tokens of all requests, those included that a cut alike has paid."""
        return sum((one.usage for one in self.cut.values.values()), Usage())

    def per_solution(self) -> float:
        """Mean number of segments of a solution."""
        return float(np.mean([len(one.steps) for pool in self.cut.pools.solutions for one in pool]))


def by_modality(pools: Pools) -> list[Slice]:
    """All problems, and those of each modality."""
    return [part for part in slices(pools.problems) if part.source == "all"]


def selection(columns: Sequence[Column], name: str) -> Iterator[Table]:
    """Accuracy of every segmentation, and its difference from `marker`."""
    parts = by_modality(columns[0].cut.pools)
    base = next(one for one in columns if one.way == BASE).accuracies()
    for aggregation in AGGREGATIONS:
        table = Table(title=f"{name}/{aggregation}: Best-of-N, and over {BASE}")
        for head in ("segments", *(f"{part.modality} ({len(part.places)})" for part in parts)):
            table.add_column(head)
        for one in columns:
            found = one.accuracies()[aggregation]
            cells = []
            for part in parts:
                mine, other = (each[part.places][:, None] for each in (found, base[aggregation]))
                cell = f"{mine.mean():.1%}"
                if one.way != BASE:
                    gap = compare(mine, other, part.bootstrap)
                    cell += f" {_signed(gap.delta[0], gap.low[0], gap.high[0])}"
                cells.append(cell)
            table.add_row(one.way, *cells)
        yield table


def interaction(columns: Sequence[Column], name: str) -> Table:
    """Whether what a segmentation adds differs between visual and text-dominant problems."""
    pools = columns[0].cut.pools
    kinds = [problem.modality for problem in pools.problems]
    parts = {part.modality: part for part in by_modality(pools)}
    visual, text = (
        np.array([kind == one for kind in kinds]) for one in ("visual-dominant", "text-dominant")
    )
    base = next(one for one in columns if one.way == BASE).accuracies()
    table = Table(title=f"{name}: gain on visual-dominant minus gain on text-dominant, points")
    for head in ("segments", *AGGREGATIONS):
        table.add_column(head)
    counts = parts["all"].bootstrap.counts
    for one in columns:
        if one.way == BASE:
            continue
        cells = []
        for aggregation in AGGREGATIONS:
            gap = one.accuracies()[aggregation] - base[aggregation]
            held = [np.maximum(counts @ kind, 1.0) for kind in (visual, text)]
            drawn = (counts @ (gap * visual)) / held[0] - (counts @ (gap * text)) / held[1]
            low, high = np.quantile(drawn, (0.025, 0.975))
            cells.append(_signed(gap[visual].mean() - gap[text].mean(), low, high))
        table.add_row(one.way, *cells)
    return table


def discrimination(columns: Sequence[Column], name: str) -> Table:
    """AUROC within problems by modality, AUROC of segments, tokens."""
    parts = by_modality(columns[0].cut.pools)
    table = Table(title=f"{name}: AUROC within problems (mean), of segments, and what it costs")
    heads = ("segments", "per solution", *(f"within, {part.modality}" for part in parts))
    for head in (*heads, "of segments, within", "same number", "prompt tokens", "written"):
        table.add_column(head)
    problems = len(columns[0].cut.pools.problems)
    for one in columns:
        separation = one.within()["mean"]
        cells = [_area(separation.within(part.bootstrap, part.places)) for part in parts]
        sound = sound_steps(one.cut.pools, checked)
        steps = LabelledSteps.of(one.cut.pools, sound, one.cut.values)
        whole = parts[0].bootstrap
        cells.append(_area(Separation(steps.scores, steps.right).within(whole)))
        cells.append(_area(Stratified(steps.scores, steps.right, steps.numbers).pooled(whole)))
        usage = one.usage()
        cells += [f"{usage.prompt_tokens / problems:.0f}"]
        cells += [f"{usage.completion_tokens / problems:.0f}"]
        table.add_row(one.way, f"{one.per_solution():.2f}", *cells)
    return table


def _area(one: object) -> str:
    value, low, high = (getattr(one, name) for name in ("value", "low", "high"))
    return "-" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _signed(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


class Source(NamedTuple):
    """What a stored run lends: its recipe and its pools."""

    recipe: Recipe
    pools: Pools
    key: str


def read(folder: Path) -> Source:
    """The run."""
    with Run.read(folder) as run:
        recipes = [event.data["recipe"] for event in run.events() if event.kind == "command"]
        recipe = parse(recipes[-1], str(folder))
        held = stored(run, Plan(recipe.sample.n, ()))
        return Source(recipe, held.pools, run.manifest.fingerprint)


def some(pools: Pools, count: int) -> Pools:
    """The first problems."""
    return Pools(pools.problems[:count], pools.solutions[:count])


async def columns_of(
    run: Run,
    source: Source,
    config: JudgeConfig | PrmScorerConfig,
    count: int,
    first: Column | None,
) -> list[Column]:
    """Every segmentation scored; where there is no `first` scoring, its own of `marker` is it."""
    built: Built = build_scorers([config], source.recipe.sample.n)
    (scorer,) = built.scorers
    pools = some(source.pools, count)
    plan = ScorerPlan(config.name, "step", config.plan().scale, AGGREGATIONS, "mean")
    columns: list[Column] = []
    base: Cut | None = None
    try:
        for way in SEGMENTATIONS.values():
            if way.name == "blank-line":
                continue
            told = first or (columns[0] if columns else None)
            values = told.cut.values if told else {}
            scale = (told.plan.scale if told else None) or Scale(0, 1)
            cut = segmented(pools, way, values, scale)
            by = told.plan.name if told and way.by_values else ""
            key = hashlib.sha256(f"{source.key}/{by}".encode()).hexdigest()
            found = await scored(run, scorer, base, cut, way, key)
            base = base or found
            columns.append(Column(way.name, found, plan))
            Console(stderr=True).print(f"{config.name}: {way.name}")
    finally:
        for engine in built.engines:
            await engine.aclose()
    return columns


def main() -> None:
    """Scores what is not scored yet, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=270, help="for the reward model")
    parser.add_argument("--judged", type=int, default=120, help="for the judge")
    parser.add_argument(
        "--scorer",
        action="append",
        help="of the recipe, prm and judge-prm by default; the values of the first one merge steps",
    )
    given = parser.parse_args()
    source = read(given.run)
    console = Console(width=200)
    manifest = Manifest.of("segments", {}, seed=0, problem_set="segments")
    with Run.open(given.out, manifest) as run:
        run.add_problems(some(source.pools, max(given.problems, given.judged)).problems)
        first: Column | None = None
        for name in given.scorer or ("prm", "judge-prm"):
            config = next(one for one in source.recipe.scorers if one.name == name)
            if not isinstance(config, JudgeConfig | PrmScorerConfig):
                raise SystemExit(f"'{name}' is no judge and no reward model")
            judged = isinstance(config, JudgeConfig)
            count = given.judged if judged else given.problems
            columns = asyncio.run(columns_of(run, source, config, count, first))
            first = first or columns[0]
            for table in selection(columns, name):
                console.print(table)
            console.print(interaction(columns, name))
            console.print(discrimination(columns, name))


if __name__ == "__main__":
    main()
