"""What each stage of a stored run cost, per problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from vilbench.engines.openai.money import TokenPrice
from vilbench.evaluate.effort import Effort, efforts
from vilbench.evaluate.pools import Pools
from vilbench.evaluate.results import Cost
from vilbench.evaluate.stages import SAMPLE, noted
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import StepScores, Usage


def costs(
    run: Run,
    pools: Pools,
    values: Mapping[str, Mapping[ScoreRef, StepScores]],
    prices: Mapping[str, TokenPrice],
) -> Iterator[Cost]:
    """The sampler's costs, then those of each scorer that asks a model of its own.

    Args:
        run: Open for reading.
        pools: Its pools.
        values: Scores by scorer.
        prices: By stage; one without a price has no cost in money, which is not 0.
    """
    begun, done = noted(run), efforts(run)
    drawn = [(one.problem_id, one.usage) for pool in pools.solutions for one in pool]
    sampled = {one.problem_id for pool in pools.solutions for one in pool if one.error is None}
    paid = [(problem_id, usage) for problem_id, usage in drawn if problem_id in sampled]
    yield _cost(SAMPLE, paid, done.get(begun.sample_key, ()), prices.get(SAMPLE))
    for scorer, key in begun.score_keys.items():
        if scorer in values:
            held = ((ref.problem_id, one.usage) for ref, one in values[scorer].items())
            yield _cost(scorer, held, done.get(key, ()), prices.get(scorer))


def _cost(
    stage: str,
    paid: Iterable[tuple[str, Usage]],
    starts: Sequence[Effort],
    price: TokenPrice | None,
) -> Cost:
    given = list(paid)
    problems = len({problem_id for problem_id, _ in given})
    total = sum((usage for _, usage in given), Usage())
    timed = sum(one.problems for one in starts)
    share = max(1, problems)
    return Cost(
        stage=stage,
        n_problems=problems,
        n_solutions=len(given),
        prompt_tokens=total.prompt_tokens / share,
        completion_tokens=total.completion_tokens / share,
        seconds=sum(one.seconds for one in starts) / timed if timed else None,
        n_timed=timed,
        peak_bytes=_most(one.peak_bytes for one in starts),
        accelerator_bytes=_most(one.accelerator_bytes for one in starts),
        usd=None if price is None else price.of(total) / share,
    )


def _most(values: Iterable[int | None]) -> int | None:
    return max((one for one in values if one is not None), default=None)
