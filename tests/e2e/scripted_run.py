"""A run with scripted models as a program that can be killed: FOLDER LOG SECONDS.

Every request takes SECONDS and adds a line to LOG when it begins.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.sampling import Sampler, sample
from vilbench.evaluate.scoring import score
from vilbench.evaluate.stages import noted
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, make_problem
from vilbench.types import (
    Completion,
    Granularity,
    Problem,
    Prompt,
    Sampling,
    Solution,
    StepScores,
)

PROBLEMS = 8
N = 3
SCORERS = ("first", "second")


class LoggedEngine(ScriptedEngine):
    """Answers by question and index."""

    def __init__(self, log: Path, seconds: float) -> None:
        super().__init__(_reply, latency=seconds)
        self._log = log

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """As the script has it."""
        question = str(prompt.parts[0]).split("?")[0]
        _write(self._log, f"sample {question} {first} {n}")
        return await super().generate(prompt, n, sampling, seed, first=first)


class LoggedScorer:
    """Scores by a hash of each step."""

    granularity: Granularity = "step"
    fingerprint = "hash"

    def __init__(self, name: str, log: Path, seconds: float) -> None:
        self.name = name
        self._log = log
        self._seconds = seconds

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """A value from 1 to 5 for each step."""
        _write(self._log, f"{self.name} {problem.id} {len(solutions)}")
        await asyncio.sleep(self._seconds)
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer=self.name,
                granularity="step",
                values=tuple(1 + crc32((self.name + s).encode()) % 5 for s in one.step_texts()),
            )
            for one in solutions
        ]


def _reply(prompt: Prompt, index: int) -> str:
    number = 4 + crc32(f"{prompt.parts[0]}{index}".encode()) % 3
    return f"Step 1: I see {number}.\nStep 2: so it is {number} at {index}.\nAnswer: {number}"


def _write(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(line + "\n")


async def main(folder: Path, log: Path, seconds: float) -> None:
    """Samples, scores and analyses, or goes on with it."""
    with Run.open(folder, Manifest.of("scripted", {}, seed=0, problem_set="sums")) as run:
        names = [f"p{place}" for place in range(PROBLEMS)]
        run.add_problems([make_problem(id=name, question=f"{name}?") for name in names])
        draw = Sampler(LoggedEngine(log, seconds), FORMATS["steps-brief"], N, Sampling(), seed=0)
        await sample(run, draw, concurrency=3)
        for name in SCORERS:
            await score(run, LoggedScorer(name, log, seconds), noted(run).sample_key)
        plans = [ScorerPlan(name, "step", Scale(1, 5), ("mean",), "mean") for name in SCORERS]
        run.write_results(analyse(run, Plan(N, tuple(plans))).model_dump_json(indent=1))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
