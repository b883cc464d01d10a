"""Second stage: a scorer's values for every stored solution, kept raw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from vilbench.evaluate.progress import Progress, Silence
from vilbench.evaluate.stages import note_scoring
from vilbench.executors import map_bounded
from vilbench.store.records import Failure, ScoreRef
from vilbench.store.run import Run
from vilbench.types import (
    EngineError,
    InputError,
    Problem,
    Solution,
    StepScorer,
    StepScores,
)


class Pool(NamedTuple):
    """A problem with solutions of it."""

    problem: Problem
    solutions: Sequence[Solution]


def score_key(scorer: StepScorer, sample_key: str) -> str:
    """Names everything that changes a scorer's values of a pool of solutions."""
    parts = (scorer.name, scorer.fingerprint, sample_key)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


async def score(
    run: Run,
    scorer: StepScorer,
    sample_key: str,
    *,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> None:
    """Scores every stored solution that this scorer has not scored yet.

    Args:
        run: Open for writing.
        scorer: The scorer.
        sample_key: `Sampler.key` of the solutions.
        concurrency: Problems under way at a time.
        progress: Told of every problem.
    """
    progress = progress or Silence()
    key = score_key(scorer, sample_key)
    note_scoring(run, scorer.name, key, sample_key)
    known = set(run.scores(key))
    solutions = run.solutions(sample_key)
    pools = [Pool(problem, solutions.get(problem.id, ())) for problem in run.problems()]
    todo = []
    for problem, pool in pools:
        missing = [one for one in pool if ScoreRef(problem.id, one.index) not in known]
        if missing:
            todo.append(Pool(problem, missing))
    progress.begin(scorer.name, len(pools), len(pools) - len(todo))

    async def work(pool: Pool) -> list[StepScores]:
        try:
            return await scorer.score(pool.problem, pool.solutions)
        except InputError as error:
            raise EngineError(str(error)) from error

    async with aclosing(map_bounded(work, todo, concurrency)) as outcomes:
        async for outcome in outcomes:
            failed = isinstance(outcome.value, EngineError)
            if isinstance(outcome.value, EngineError):
                run.put_failure(
                    Failure(
                        stage="score",
                        key=key,
                        problem_id=outcome.item.problem.id,
                        error=str(outcome.value),
                        attempts=1,
                    )
                )
            else:
                run.put_scores(key, outcome.value)
            progress.advance(scorer.name, failed=failed)
    progress.end(scorer.name)
