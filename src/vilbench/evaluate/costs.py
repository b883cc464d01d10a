"""What each stage of a stored run cost, per problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from vilbench.engines.openai.money import TokenPrice
from vilbench.evaluate.effort import Effort, efforts
from vilbench.evaluate.extraction import noted_extraction
from vilbench.evaluate.pools import Pools
from vilbench.evaluate.results import Cost, CostKind, Row
from vilbench.evaluate.stages import SAMPLE, noted
from vilbench.store import extractions
from vilbench.store.records import EXTRACT, ScoreRef
from vilbench.store.run import Run
from vilbench.types import StepScores, Usage


def costs(
    run: Run,
    pools: Pools,
    values: Mapping[str, Mapping[ScoreRef, StepScores]],
    prices: Mapping[str, TokenPrice],
    rows: Mapping[str, Row],
) -> Iterator[Cost]:
    """The sampler's costs, those of a model that named answers, then each asked scorer's.

    Args:
        run: Open for reading.
        pools: Its pools.
        values: Scores by scorer.
        prices: By stage; one without a price has no cost in money, which is not 0.
        rows: What stages buy, by stage: accuracy on all problems.
    """
    begun, done = noted(run), efforts(run)
    drawn = [(one.problem_id, one.usage) for pool in pools.solutions for one in pool]
    sampled = {one.problem_id for pool in pools.solutions for one in pool if one.error is None}
    paid = [(problem_id, usage) for problem_id, usage in drawn if problem_id in sampled]
    yield _stage(SAMPLE, "sample", paid, done.get(begun.sample_key, ()), prices, rows)
    note = noted_extraction(run, begun.sample_key)
    if note is not None:
        read = extractions.stored(run, note["key"])
        asked = ((ref.problem_id, one.usage) for ref, one in read.items())
        yield _stage(EXTRACT, "extract", asked, done.get(note["key"], ()), prices, rows)
    for scorer, key in begun.score_keys.items():
        if scorer in values:
            held = ((ref.problem_id, one.usage) for ref, one in values[scorer].items())
            yield _stage(scorer, "score", held, done.get(key, ()), prices, rows)


def _stage(
    stage: str,
    kind: CostKind,
    paid: Iterable[tuple[str, Usage]],
    starts: Sequence[Effort],
    prices: Mapping[str, TokenPrice],
    rows: Mapping[str, Row],
) -> Cost:
    timed = sum(one.problems for one in starts)
    found, row = cost(stage, kind, paid, starts, timed, prices.get(stage)), rows.get(stage)
    if row is None:
        return found
    bought = {"method": row.method, "accuracy": row.accuracy}
    ends = {"ci_low": row.ci_low, "ci_high": row.ci_high}
    return found.model_copy(update=bought | ends)


def cost(
    stage: str,
    kind: CostKind,
    paid: Iterable[tuple[str, Usage]],
    starts: Iterable[Effort],
    timed: int,
    price: TokenPrice | None,
) -> Cost:
    """What a stage cost per problem.

    Args:
        stage: Its name.
        kind: What was paid for.
        paid: Problem id and usage of all that it stored.
        starts: Its starts.
        timed: Problems that these did; 0 where that is not known.
        price: Of its model; None where it is not known.
    """
    given, begun = list(paid), list(starts)
    problems = len({problem_id for problem_id, _ in given})
    total = sum((usage for _, usage in given), Usage())
    share = max(1, problems)
    return Cost(
        stage=stage,
        kind=kind,
        n_problems=problems,
        n_solutions=len(given),
        prompt_tokens=total.prompt_tokens / share,
        completion_tokens=total.completion_tokens / share,
        seconds=sum(one.seconds for one in begun) / timed if timed else None,
        n_timed=timed,
        peak_bytes=_most(one.peak_bytes for one in begun),
        accelerator_bytes=_most(one.accelerator_bytes for one in begun),
        usd=None if price is None else price.of(total) / share,
    )


def _most(values: Iterable[int | None]) -> int | None:
    return max((one for one in values if one is not None), default=None)
