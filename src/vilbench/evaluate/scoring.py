"""Second stage: a scorer's values for every stored solution, kept raw."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from vilbench.errors import EngineError, InputError
from vilbench.evaluate.effort import Tally, effort
from vilbench.evaluate.stages import SCORE, note_scoring
from vilbench.executors import Halt, Outcome, map_bounded
from vilbench.progress import Progress, Silence
from vilbench.store.records import Failure, ScoreRef
from vilbench.store.run import Run
from vilbench.types import Problem, Solution, StepScorer, StepScores


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
    concurrency: int = 1,
    progress: Progress | None = None,
    halt: Halt | None = None,
) -> None:
    """Scores every stored solution that this scorer has not scored yet, or not to the end.

    A problem whose request fails is noted as a failure and tried again the next time. Of
    one where some requests fail the answers are stored, and the solutions that lack one are
    tried again.

    Args:
        run: Open for writing.
        scorer: The scorer.
        sample_key: `Sampler.key` of the solutions.
        concurrency: Problems under way at a time. One of them fills the batches of a local
            model and keeps its values the same to the last bit: by rounding they depend on
            what else is in the batch, which with more of them is a matter of where a run
            was stopped and gone on with.
        progress: Told of every problem that has solutions.
        halt: No problem is begun once it is asked for.
    """
    key = score_key(scorer, sample_key)
    note_scoring(run, scorer.name, key, sample_key)
    solutions = run.solutions(sample_key)
    pools = [Pool(one, solutions[one.id]) for one in run.problems() if one.id in solutions]
    await score_pools(
        run, scorer, key, pools, concurrency=concurrency, progress=progress, halt=halt
    )


async def score_pools(
    run: Run,
    scorer: StepScorer,
    key: str,
    pools: Sequence[Pool],
    *,
    stage: str | None = None,
    concurrency: int = 1,
    progress: Progress | None = None,
    halt: Halt | None = None,
) -> None:
    """Scores what is not stored under a key yet, as `score` does; the pools may be of any kind.

    Args:
        run: Open for writing.
        scorer: The scorer.
        key: Names everything that changes the values.
        pools: Each is one call of the scorer. Their problems have ids of the run.
        stage: What the progress is told; the scorer's name by default.
        concurrency: Calls under way at a time.
        progress: Told of every pool.
        halt: No pool is begun once it is asked for.
    """
    progress = progress or Silence()
    stage = stage or scorer.name
    known = {ref for ref, record in run.scores(key).items() if record.error is None}
    todo = []
    for problem, pool in pools:
        missing = [one for one in pool if ScoreRef(problem.id, one.index) not in known]
        if missing:
            todo.append(Pool(problem, missing))
    progress.begin(stage, len(pools), len(pools) - len(todo))

    async def work(pool: Pool) -> list[StepScores]:
        try:
            records = await scorer.score(pool.problem, pool.solutions)
        except InputError as error:
            raise EngineError(str(error)) from error
        _check(records, pool.solutions)
        return records

    with effort(run, key) as tally:
        await _store(run, key, stage, map_bounded(work, todo, concurrency, halt), progress, tally)
    progress.end(stage)


async def _store(
    run: Run,
    key: str,
    stage: str,
    work: AsyncGenerator[Outcome[Pool, list[StepScores]], None],
    progress: Progress,
    tally: Tally,
) -> None:
    async with aclosing(work) as outcomes:
        async for outcome in outcomes:
            problem_id = outcome.item.problem.id
            if isinstance(outcome.value, EngineError):
                error = str(outcome.value)
            else:
                run.put_scores(key, outcome.value)
                errors = [record.error for record in outcome.value if record.error is not None]
                of = len(outcome.value)
                error = f"{len(errors)} of {of} solutions: {errors[0]}" if errors else ""
            if error:
                run.put_failure(
                    Failure(stage=SCORE, key=key, problem_id=problem_id, error=error, attempts=1)
                )
            tally.problems += 1
            progress.advance(stage, failed=bool(error))


def _check(records: Sequence[StepScores], solutions: Sequence[Solution]) -> None:
    """Refuses records that are not of these solutions, or hold what is no score.

    Raises:
        EngineError: They are not, or do.
    """
    asked = [ScoreRef(one.problem_id, one.index) for one in solutions]
    given = [ScoreRef(one.problem_id, one.solution_index) for one in records]
    if given != asked:
        raise EngineError(f"asked about {len(asked)} solutions, the scorer answered about others")
    for record, solution in zip(records, solutions, strict=True):
        places = len(solution.steps) if record.granularity == "step" else 1
        told = f"solution {solution.index}"
        if len(record.values) != places:
            raise EngineError(f"{told} takes {places} values, the scorer gave {len(record.values)}")
        for place, value in enumerate(record.values, 1):
            if value is not None and not math.isfinite(value):
                raise EngineError(f"{told}: value {place} is {value}")
