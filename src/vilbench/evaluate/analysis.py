"""Last stage: what the stored run shows. Pure re-analysis, no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.errors import RunError
from vilbench.evaluate.pools import Pools, ScorerPlan
from vilbench.evaluate.results import Discrimination, Histogram, Results, Row, StageCount
from vilbench.evaluate.stages import noted
from vilbench.metrics import (
    Bootstrap,
    compare,
    minimal_detectable_delta,
    pooled_auroc,
    recovered_share,
    within_auroc,
)
from vilbench.selection import (
    Curve,
    best_of,
    exponential_weights,
    majority,
    oracle,
    random,
    weighted_majority,
)
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import SCHEMA_VERSION, StepScores, Usage

ALL = "all"

Scores = list[list[float | None]]


@dataclass(frozen=True)
class Plan:
    """What to analyse.

    Attributes:
        n: Size of the pools.
        scorers: The scorers, in the order of the tables.
        main: The scorer that is compared with all others, by name.
    """

    n: int
    scorers: tuple[ScorerPlan, ...]
    main: str | None = None


class Stored(NamedTuple):
    """What a run holds for a plan: aligned pools, and the values by scorer.

    `scorers` are those of the plan that have begun to score these pools.
    """

    policy: str
    scorers: tuple[ScorerPlan, ...]
    pools: Pools
    values: Mapping[str, Mapping[ScoreRef, StepScores]]


def stored(run: Run, plan: Plan) -> Stored:
    """Reads a run.

    Raises:
        RunError: There are no problems, or nothing has been sampled yet.
    """
    begun = noted(run)
    keys = begun.score_keys
    problems = run.problems()
    if not problems:
        raise RunError(f"{run.folder}: the run has no problems")
    scorers = tuple(scorer for scorer in plan.scorers if scorer.name in keys)
    return Stored(
        policy=begun.policy,
        scorers=scorers,
        pools=Pools.of(problems, run.solutions(begun.sample_key), plan.n),
        values={scorer.name: run.scores(keys[scorer.name]) for scorer in scorers},
    )


def analyse(run: Run, plan: Plan, rejected: Sequence[str] = ()) -> Results:
    """Results of a stored run.

    Scorers that have not begun are left out; what a scorer that has begun did not score
    counts as no verdict.

    Args:
        run: Open for reading or writing.
        plan: What to analyse.
        rejected: Rows of the input that were set aside, to be told.

    Raises:
        RunError: There are no problems, or nothing has been sampled yet.
    """
    policy, scorers, pools, values = stored(run, plan)
    scores = {
        method.name: pools.scores(scorer, method.aggregation, values[scorer.name])
        for scorer in scorers
        for method in scorer.methods()
    }
    curves = _curves(pools, scorers, scores, values)
    slices = list(_slices(pools))
    manifest = run.manifest
    return Results(
        schema_version=SCHEMA_VERSION,
        fingerprint=manifest.fingerprint,
        name=manifest.name,
        problem_set=manifest.problem_set,
        n_problems=len(pools.problems),
        n_solutions=plan.n,
        policy=policy,
        scorers=tuple(scorer.name for scorer in scorers),
        seed=manifest.seed,
        rows=tuple(row for part in slices for row in _rows(part, curves, manifest.problem_set)),
        discrimination=tuple(
            _discrimination(part, method, scores[method], pools.correct())
            for part in slices
            for method in scores
        ),
        histograms=tuple(_histogram(scorer, pools, values[scorer.name]) for scorer in scorers),
        counts=tuple(_counts(scorers, pools, values)),
        rejected=tuple(rejected),
        minimal_detectable_delta=_detectable(curves, tuple(scores)),
    )


@dataclass(frozen=True)
class _Slice:
    """Some of the problems, by their places."""

    source: str
    modality: str
    places: NDArray[np.intp]
    bootstrap: Bootstrap

    @property
    def whole(self) -> bool:
        return self.source == ALL and self.modality == ALL


def _slices(pools: Pools) -> Iterator[_Slice]:
    sources = [problem.source for problem in pools.problems]
    modalities = [problem.modality for problem in pools.problems]
    for source in (ALL, *dict.fromkeys(sources)):
        for modality in (ALL, *dict.fromkeys(modalities)):
            places = [
                place
                for place, (one, other) in enumerate(zip(sources, modalities, strict=True))
                if source in (ALL, one) and modality in (ALL, other)
            ]
            if places:
                yield _Slice(source, modality, np.array(places), Bootstrap(len(places)))


def _curves(
    pools: Pools,
    scorers: Sequence[ScorerPlan],
    scores: Mapping[str, Scores],
    values: Mapping[str, Mapping[ScoreRef, StepScores]],
) -> dict[str, Curve]:
    """Accuracy over k of every method, cot first, oracle last."""
    correct, answers = pools.correct(), pools.answers()
    curves = {"cot": random(correct), "random": random(correct)}
    curves["majority"] = majority(answers, correct)
    for scorer in scorers:
        weights = pools.scores(scorer, scorer.votes, values[scorer.name])
        if scorer.scale is None:
            weights = [list(exponential_weights(pool)) for pool in weights]
        curves[f"weighted-majority:{scorer.name}"] = weighted_majority(answers, correct, weights)
    for method, pool in scores.items():
        curves[method] = best_of(pool, correct)
    curves["oracle"] = oracle(correct)
    return curves


def _rows(part: _Slice, curves: Mapping[str, Curve], problem_set: str) -> Iterator[Row]:
    size = curves["cot"].accuracy.shape[1]
    ks = range(1, size + 1) if part.whole else (size,)
    columns = [k - 1 for k in ks]
    cot = curves["cot"].accuracy[part.places][:, columns]
    top = curves["oracle"].accuracy[part.places][:, columns].mean(axis=0)
    for method, curve in curves.items():
        accuracy = curve.accuracy[part.places][:, columns]
        mean, low, high = part.bootstrap.mean_interval(accuracy)
        delta = None if method == "cot" else compare(accuracy, cot, part.bootstrap)
        lowest = curve.lowest[part.places][:, columns].mean(axis=0)
        highest = curve.highest[part.places][:, columns].mean(axis=0)
        ties = curve.tie_rate[part.places][:, columns].mean(axis=0)
        for place, k in enumerate(ks):
            yield Row(
                problem_set=problem_set,
                source=part.source,
                modality=part.modality,
                method=method,
                k=k,
                n_problems=len(part.places),
                accuracy=float(mean[place]),
                ci_low=float(low[place]),
                ci_high=float(high[place]),
                accuracy_min=float(lowest[place]),
                accuracy_max=float(highest[place]),
                tie_rate=float(ties[place]),
                delta_vs_cot=None if delta is None else float(delta.delta[place]),
                delta_low=None if delta is None else float(delta.low[place]),
                delta_high=None if delta is None else float(delta.high[place]),
                p_value=None if delta is None else float(delta.p_value[place]),
                recovered=recovered_share(
                    float(mean[place]), float(cot[:, place].mean()), float(top[place])
                ),
            )


def _discrimination(
    part: _Slice, method: str, scores: Scores, correct: list[list[bool]]
) -> Discrimination:
    some = [scores[place] for place in part.places]
    right = [correct[place] for place in part.places]
    within = within_auroc(some, right, part.bootstrap)
    pooled = pooled_auroc(some, right, part.bootstrap)
    return Discrimination(
        method=method,
        source=part.source,
        modality=part.modality,
        n_problems=within.n_problems,
        pooled=pooled.value,
        pooled_low=pooled.low,
        pooled_high=pooled.high,
        within=within.value,
        within_low=within.low,
        within_high=within.high,
    )


_BINS = 16


def _histogram(
    scorer: ScorerPlan, pools: Pools, values: Mapping[ScoreRef, StepScores]
) -> Histogram:
    """Raw values in equal bins over the scale, or over what occurs where it has no bounds."""
    right: list[float] = []
    wrong: list[float] = []
    missing = 0
    for pool in pools.solutions:
        for solution in pool:
            record = values.get(ScoreRef(solution.problem_id, solution.index))
            for value in record.values if record else ():
                if value is None:
                    missing += 1
                elif solution.verdict == "correct":
                    right.append(value)
                else:
                    wrong.append(value)
    every = [*right, *wrong]
    bounds = (0.0, 1.0)
    if scorer.scale is not None:
        # A value may be beyond a bound by rounding: numpy would leave it out.
        low, high = bounds = (scorer.scale.low, scorer.scale.high)
        right, wrong = ([min(max(v, low), high) for v in kind] for kind in (right, wrong))
        every = [*right, *wrong]
    elif every:
        bounds = (min(every), max(every))
    edges = np.histogram_bin_edges(every, _BINS, bounds)
    counts, correct, incorrect = (
        tuple(int(count) for count in np.histogram(kind, edges)[0])
        for kind in (every, right, wrong)
    )
    return Histogram(
        scorer=scorer.name,
        granularity=scorer.granularity,
        edges=tuple(float(edge) for edge in edges),
        counts=counts,
        correct=correct,
        wrong=incorrect,
        missing=missing,
    )


def _counts(
    scorers: Sequence[ScorerPlan],
    pools: Pools,
    values: Mapping[str, Mapping[ScoreRef, StepScores]],
) -> Iterator[StageCount]:
    solutions = [one for pool in pools.solutions for one in pool]
    yield _stage(
        "sample",
        [one.usage for one in solutions if one.verdict != "failed"],
        sum(one.verdict == "failed" for one in solutions),
        sum(one.verdict == "unparsed" for one in solutions),
    )
    drawn = [ScoreRef(one.problem_id, one.index) for one in solutions if one.verdict != "failed"]
    for scorer in scorers:
        known = values[scorer.name]
        records = [known[ref] for ref in drawn if ref in known]
        yield _stage(
            scorer.name,
            [record.usage for record in records],
            len(drawn) - len(records),
            sum(value is None for record in records for value in record.values),
        )


def _stage(stage: str, usages: Sequence[Usage], failed: int, unparsed: int) -> StageCount:
    total = sum(usages, Usage())
    return StageCount(
        stage=stage,
        units=len(usages),
        failed=failed,
        unparsed=unparsed,
        prompt_tokens=total.prompt_tokens,
        completion_tokens=total.completion_tokens,
    )


def _detectable(curves: Mapping[str, Curve], methods: Sequence[str]) -> float | None:
    """The largest over the scorers' methods at N: what any of them would need."""
    cot = curves["cot"].accuracy[:, -1]
    found = [
        minimal_detectable_delta([float(d) for d in curves[method].accuracy[:, -1] - cot])
        for method in methods
    ]
    return max((delta for delta in found if delta is not None), default=None)
