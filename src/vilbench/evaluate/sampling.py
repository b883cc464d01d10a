"""First stage: a pool of N solutions of every problem, stored problem by problem."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import dataclass

from vilbench.answers import read, soon
from vilbench.errors import EngineError, InputError
from vilbench.evaluate.effort import effort
from vilbench.evaluate.stages import SAMPLE, note_sampling
from vilbench.executors import Halt, map_bounded
from vilbench.progress import Progress, Silence
from vilbench.steps import StepFormat
from vilbench.store.records import Failure
from vilbench.store.run import Run
from vilbench.types import Completion, Generator, Problem, Sampling, Solution


@dataclass(frozen=True)
class Sampler:
    """How solutions are drawn.

    Attributes:
        generator: The policy.
        format: How it is asked and how its steps are split.
        n: Size of a problem's pool.
        sampling: Temperature and the like.
        seed: Seed of the run; every problem has a stream of its own.
        max_steps: Merge neighbours evenly down to so many steps; None keeps all.
    """

    generator: Generator
    format: StepFormat
    n: int
    sampling: Sampling
    seed: int
    max_steps: int | None = None

    @property
    def key(self) -> str:
        """Names everything that changes a solution, save the problem and the index.

        `n` is no part of it: it does not change the first solutions of a larger pool.
        """
        parts = (
            self.generator.fingerprint,
            self.format.fingerprint,
            repr(self.sampling),
            str(self.seed),
            str(self.max_steps),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    async def draw(self, problem: Problem, first: int) -> list[Solution]:
        """Solutions number `first` to `n - 1` of a problem; the policy may give fewer.

        Raises:
            EngineError: The policy failed, gave more than it was asked for, or the problem
                cannot be shown to it.
        """
        asked = self.n - first
        seed = problem_seed(self.seed, problem.id)
        try:
            completions = await self.generator.generate(
                self.format.ask(problem), asked, self.sampling, seed, first=first
            )
        except InputError as error:
            raise EngineError(str(error)) from error
        if len(completions) > asked:
            raise EngineError(f"the policy gave {len(completions)} completions, not {asked}")
        return await soon(
            problem,
            lambda: [
                self._solution(problem, index, completion, seed)
                for index, completion in enumerate(completions, first)
            ],
        )

    def _solution(
        self, problem: Problem, index: int, completion: Completion, seed: int
    ) -> Solution:
        reading = read(completion.text, problem)
        return Solution(
            problem_id=problem.id,
            index=index,
            text=completion.text,
            steps=self.format.split(completion.text, self.max_steps),
            answer=reading.answer,
            verdict=reading.verdict,
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            seed=seed,
        )


def problem_seed(seed: int, problem_id: str) -> int:
    """Seed of a problem's stream, in [0, 2**63): the order of the problems plays no part."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


async def sample(
    run: Run,
    sampler: Sampler,
    *,
    concurrency: int = 16,
    progress: Progress | None = None,
    halt: Halt | None = None,
) -> None:
    """Fills every problem's pool up to `sampler.n`; what is stored is not drawn again.

    A problem whose request fails, or is answered in part, is noted as a failure; the next
    time it is asked for what it lacks.

    Args:
        run: Open for writing, with its problems.
        sampler: How to draw.
        concurrency: Problems under way at a time.
        progress: Told of every problem.
        halt: No problem is begun once it is asked for.
    """
    progress = progress or Silence()
    key = sampler.key
    note_sampling(run, key, sampler.n, sampler.generator.name)
    stored = {problem_id: len(pool) for problem_id, pool in run.solutions(key).items()}
    problems = run.problems()
    todo = [problem for problem in problems if stored.get(problem.id, 0) < sampler.n]
    progress.begin(SAMPLE, len(problems), len(problems) - len(todo))

    async def draw(problem: Problem) -> list[Solution]:
        return await sampler.draw(problem, stored.get(problem.id, 0))

    with effort(run, key) as tally:
        async with aclosing(map_bounded(draw, todo, concurrency, halt)) as outcomes:
            async for outcome in outcomes:
                problem, value = outcome.item, outcome.value
                if isinstance(value, EngineError):
                    error = str(value)
                else:
                    run.put_solutions(key, value)
                    held = stored.get(problem.id, 0) + len(value)
                    lacking = held < sampler.n
                    error = f"the policy gave {held} of {sampler.n} completions" if lacking else ""
                if error:
                    run.put_failure(
                        Failure(
                            stage=SAMPLE, key=key, problem_id=problem.id, error=error, attempts=1
                        )
                    )
                tally.problems += 1
                progress.advance(SAMPLE, failed=bool(error))
    progress.end(SAMPLE)
