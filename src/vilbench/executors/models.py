"""Generators and scorers that stand on workers: a call of theirs is a job there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vilbench.errors import EngineError, ImageError
from vilbench.executors.bench import Facts, Job
from vilbench.executors.pool import Pool
from vilbench.types import (
    BytesSource,
    Completion,
    Granularity,
    Image,
    Problem,
    Prompt,
    Sampling,
    Solution,
    StepScores,
)


class _Pooled:
    """A model that the workers of a pool hold.

    Args:
        pool: The workers, open.
        place: The model's place among their configurations.
        facts: What it says of itself.
        at_once: Most jobs that a worker has at a time.
    """

    def __init__(self, pool: Pool, place: int, facts: Facts, at_once: int) -> None:
        self._pool = pool
        self._place = place
        self._facts = facts
        self._at_once = at_once

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        return self._facts.name

    @property
    def fingerprint(self) -> str:
        """The model's own: where it runs changes nothing."""
        return self._facts.fingerprint


class PooledGenerator(_Pooled):
    """A `Generator` that the workers of a pool hold."""

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """As the model does; images travel with their bytes.

        Raises:
            EngineError: The request failed for good, an image cannot be read, or the job was
                set aside after its tries.
        """
        parts = tuple(_held(one) if isinstance(one, Image) else one for one in prompt.parts)
        carried = Prompt(parts, prompt.system, prompt.prefill)
        arguments = (carried, n, sampling, seed)
        job = Job(self._place, "generate", arguments, (("first", first),))
        completions: list[Completion] = await self._pool.call(job, self._at_once)
        return completions


class PooledScorer(_Pooled):
    """A `StepScorer` that the workers of a pool hold."""

    @property
    def granularity(self) -> Granularity:
        """Whether `values` speak of steps or of the solution."""
        return self._facts.granularity or "step"

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """As the scorer does; images travel with their bytes.

        Raises:
            EngineError: The request failed for good, an image cannot be read, or the job was
                set aside after its tries.
        """
        carried = problem.model_copy(update={"images": tuple(map(_held, problem.images))})
        job = Job(self._place, "score", (carried, list(solutions)))
        records: list[StepScores] = await self._pool.call(job, self._at_once)
        return records


def pooled(pool: Pool, place: int, facts: Facts, at_once: int) -> Any:
    """A model of a pool's workers: a scorer where it has a granularity, else a generator."""
    made = PooledGenerator if facts.granularity is None else PooledScorer
    return made(pool, place, facts, at_once)


def _held(image: Image) -> Image:
    """The image with its bytes at hand: a worker elsewhere cannot read this one's files."""
    try:
        return image.bound(BytesSource(image.read()))
    except ImageError as error:
        raise EngineError(str(error)) from error
