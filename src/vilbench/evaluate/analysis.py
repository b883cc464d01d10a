"""Last stage: what the stored run shows. Pure re-analysis, no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vilbench.engines.openai.money import TokenPrice
from vilbench.errors import RunError
from vilbench.evaluate.blends import Blend
from vilbench.evaluate.contrasts import contrasts
from vilbench.evaluate.costs import costs
from vilbench.evaluate.extraction import amended, evidence, extracted
from vilbench.evaluate.labels import Labeller, checked
from vilbench.evaluate.origins import known_as
from vilbench.evaluate.pools import Pools, ScorerPlan, Scores
from vilbench.evaluate.results import (
    Chosen,
    Discrimination,
    Histogram,
    Results,
    Row,
    StageCount,
    StepEvidence,
)
from vilbench.evaluate.slices import Slice, slices
from vilbench.evaluate.stages import SAMPLE, noted
from vilbench.evaluate.stepwise import LabelledSteps, sound_steps, step_evidence
from vilbench.metrics import (
    Bootstrap,
    Separation,
    compare,
    minimal_detectable_delta,
    recovered_share,
)
from vilbench.selection import (
    Curve,
    best_of,
    majority,
    oracle,
    random,
    weighted_majority,
)
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import SCHEMA_VERSION, StepScores, Usage


@dataclass(frozen=True)
class Plan:
    """What to analyse.

    Attributes:
        n: Size of the pools.
        scorers: The scorers, in the order of the tables.
        main: The scorer that is compared with all others, by name.
        blends: Scores over several of the scorers, which enter as scorers of their own.
        prices: Of the models of the stages, by stage, as far as they are known.
        use_extraction: Take answers that a model named where the rules read none.
    """

    n: int
    scorers: tuple[ScorerPlan, ...]
    main: str | None = None
    blends: tuple[Blend, ...] = ()
    prices: Mapping[str, TokenPrice] = field(default_factory=dict)
    use_extraction: bool = False


class Stored(NamedTuple):
    """What a run holds for a plan: aligned pools, and the values by scorer.

    `scorers` are those of the plan that have begun to score these pools, then the blends of
    them, each without what was learned on these very problems.
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
    problem_set = known_as(run)
    scorers = [scorer.on(problem_set) for scorer in plan.scorers if scorer.name in keys]
    values = {scorer.name: run.scores(keys[scorer.name]) for scorer in scorers}
    for blend in plan.blends:
        if blend.can_judge(problem_set, values):
            scorers.append(blend.plan())
            values[blend.plan().name] = blend.values(values)
    solutions = run.solutions(begun.sample_key)
    if plan.use_extraction:
        solutions = amended(solutions, extracted(run, begun.sample_key))
    return Stored(
        policy=begun.policy,
        scorers=tuple(scorers),
        pools=Pools.of(problems, solutions, plan.n),
        values=values,
    )


def analyse(
    run: Run,
    plan: Plan,
    rejected: Sequence[str] = (),
    labeller: Labeller = checked,
    held: Stored | None = None,
) -> Results:
    """Results of a stored run.

    Scorers that have not begun are left out; what a scorer that has begun did not score
    counts as no verdict.

    Args:
        run: Open for reading or writing.
        plan: What to analyse.
        rejected: Rows of the input that were set aside, to be told.
        labeller: Who knows whether steps are right.
        held: What `stored(run, plan)` gave, where it has been read already.

    Raises:
        RunError: There are no problems, or nothing has been sampled yet.
    """
    policy, scorers, pools, values = held or stored(run, plan)
    correct = pools.correct()
    scores = {
        method: given
        for scorer in scorers
        for method, given in pools.scores(scorer, values[scorer.name]).items()
    }
    curves = _curves(pools, scorers, scores, values)
    parts = list(slices(pools.problems))
    manifest = run.manifest
    main = plan.main if plan.main in {scorer.name for scorer in scorers} else None
    rows = [row for part in parts for row in _rows(part, curves, manifest.problem_set)]
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
        rows=tuple(rows),
        discrimination=tuple(
            one
            for method, given in scores.items()
            for one in _discrimination(method, Separation(given, correct), parts)
        ),
        histograms=tuple(_histogram(scorer, pools, values[scorer.name]) for scorer in scorers),
        counts=tuple(_counts(scorers, pools, values)),
        main=main,
        chosen=tuple(_chosen(scorers, manifest.problem_set)),
        steps=tuple(_steps(scorers, pools, values, parts, labeller, manifest.problem_set)),
        contrasts=tuple(contrasts(parts, curves, scorers, manifest.problem_set, main)),
        costs=tuple(
            costs(run, pools, values, plan.prices, _bought(rows, scorers, manifest.problem_set))
        ),
        extraction=evidence(
            run, noted(run).sample_key, pools.problems, plan.n, used=plan.use_extraction
        ),
        rejected=tuple(rejected),
        minimal_detectable_delta=_detectable(curves, tuple(scores), parts[0].bootstrap),
    )


def _bought(
    rows: Sequence[Row], scorers: Sequence[ScorerPlan], problem_set: str
) -> Mapping[str, Row]:
    """What the stages buy at N: the sampler cot, a scorer its standing method."""
    whole = {row.method: row for row in rows if row.source == row.modality == "all"}
    standing = {scorer.name: scorer.standing(problem_set) for scorer in scorers}
    return {SAMPLE: whole["cot"]} | {
        scorer: whole[method.name] for scorer, method in standing.items() if method is not None
    }


def _chosen(scorers: Sequence[ScorerPlan], problem_set: str) -> Iterator[Chosen]:
    for scorer in scorers:
        choice = scorer.choice(problem_set)
        if choice is not None:
            method = scorer.standing(problem_set)
            yield Chosen(
                scorer=scorer.name,
                method=method.name if method and choice.aggregation else None,
                threshold=choice.threshold,
                problem_set=choice.problem_set,
                n_problems=choice.n_problems,
                n=choice.n,
                seed=choice.seed,
            )


def _steps(
    scorers: Sequence[ScorerPlan],
    pools: Pools,
    values: Mapping[str, Mapping[ScoreRef, StepScores]],
    parts: Sequence[Slice],
    labeller: Labeller,
    problem_set: str,
) -> Iterator[StepEvidence]:
    by_step = [scorer for scorer in scorers if scorer.granularity == "step"]
    sound = sound_steps(pools, labeller) if by_step else []
    for scorer in by_step:
        choice = scorer.choice(problem_set)
        steps = LabelledSteps.of(pools, sound, values[scorer.name])
        threshold = choice.threshold if choice else None
        yield from step_evidence(scorer.name, steps, parts, threshold)


_VOTE_DRAWS = 108_000
"""Random subsets of all pools together, for each k of a weighted vote."""


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
    draws = max(200, min(1000, _VOTE_DRAWS // len(correct)))
    for scorer in scorers:
        weights = pools.weights(scorer, values[scorer.name])
        curves[f"weighted-majority:{scorer.name}"] = weighted_majority(
            answers, correct, weights, draws=draws
        )
    for method, pool in scores.items():
        curves[method] = best_of(pool, correct)
    curves["oracle"] = oracle(correct)
    return curves


def _rows(part: Slice, curves: Mapping[str, Curve], problem_set: str) -> Iterator[Row]:
    size = curves["cot"].accuracy.shape[1]
    ks = range(1, size + 1) if part.whole else (size,)
    columns = [k - 1 for k in ks]
    cot = curves["cot"].accuracy[part.places][:, columns]
    found = curves["oracle"].accuracy[part.places][:, columns]
    top = found.mean(axis=0)
    for method, curve in curves.items():
        accuracy = curve.accuracy[part.places][:, columns]
        mean, low, high = part.bootstrap.mean_interval(accuracy)
        delta = None if method == "cot" else compare(accuracy, cot, part.bootstrap)
        share = part.bootstrap.ratio_interval(accuracy - cot, found - cot)
        lowest = curve.lowest[part.places][:, columns].mean(axis=0)
        highest = curve.highest[part.places][:, columns].mean(axis=0)
        ties = curve.tie_rate[part.places][:, columns].mean(axis=0)
        for place, k in enumerate(ks):
            recovered = recovered_share(
                float(mean[place]), float(cot[:, place].mean()), float(top[place])
            )
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
                recovered=recovered,
                recovered_low=None if recovered is None else float(share.low[place]),
                recovered_high=None if recovered is None else float(share.high[place]),
            )


def _discrimination(
    method: str, separation: Separation, parts: Sequence[Slice]
) -> Iterator[Discrimination]:
    for part in parts:
        within = separation.within(part.bootstrap, part.places)
        pooled = separation.pooled(part.bootstrap, part.places)
        yield Discrimination(
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
        SAMPLE,
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


def _detectable(
    curves: Mapping[str, Curve], methods: Sequence[str], whole: Bootstrap
) -> float | None:
    """The largest over the scorers' methods at N: what any of them would need."""
    cot = curves["cot"].accuracy[:, -1]
    found = [
        minimal_detectable_delta(
            [float(d) for d in curves[method].accuracy[:, -1] - cot], clusters=whole.cluster
        )
        for method in methods
    ]
    return max((delta for delta in found if delta is not None), default=None)
