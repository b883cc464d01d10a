"""Collecting with scripted models as a program that can be killed: RULE FOLDER LOG SECONDS.

Every request takes SECONDS and adds a line to LOG when it begins.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from vilbench.collect.evaluator import Evaluator, Valued
from vilbench.collect.forest import Width, collect
from vilbench.collect.growth import Method, name
from vilbench.collect.policy import Drawn, Grader, Limits, Policy
from vilbench.search import Draw, Judge, Omega, RestMcts, Rollouts
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, make_problem
from vilbench.types import Granularity, Problem, Prompt, Solution, StepScores

PROBLEMS = 8
STEPS = 4
SEARCHES: dict[str, RestMcts | Rollouts | Omega] = {
    "rest-mcts": RestMcts(enough=None, rounds=4, leaves=2, keep_ahead=True),
    "omega": Omega(rollouts=4, searches=3),
}


def reply(prompt: Prompt, index: int) -> str:
    """The rest of a solution of four steps, by a hash of prompt and index."""
    made = crc32(f"{prompt.parts[0]}\0{prompt.prefill}\0{index}".encode())
    done = prompt.prefill.count("Step ")
    lines = [f"Step {n}: I see {made >> n & 1} at {n}." for n in range(done + 1, STEPS + 1)]
    return "\n".join([*lines, f"Answer: {4 + made % 3}"])


class HashScorer:
    """Scores by a hash of the prefix."""

    name = fingerprint = "hash"
    granularity: Granularity = "step"

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """A value in [0, 1) for each step."""
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer=self.name,
                granularity="step",
                values=tuple(crc32(one.text[:end].encode()) % 1000 / 1000 for _, end in one.steps),
            )
            for one in solutions
        ]


@dataclass(frozen=True)
class LoggedPolicy(Policy):
    """Writes down what it is asked."""

    log: Path = Path()
    latency: float = 0.0

    async def draw(self, grader: Grader, request: Draw) -> Drawn:
        """Continuations, a while later."""
        _write(self.log, f"{grader.problem.id} {name(request)}")
        await asyncio.sleep(self.latency)
        return await super().draw(grader, request)


@dataclass(frozen=True)
class LoggedEvaluator(Evaluator):
    """Writes down what it is asked."""

    log: Path = Path()
    latency: float = 0.0

    async def judge(self, problem: Problem, requests: Sequence[Judge]) -> list[Valued]:
        """Values, a while later."""
        for one in requests:
            _write(self.log, f"{problem.id} {name(one)}")
        await asyncio.sleep(self.latency)
        return await super().judge(problem, requests)


def _write(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(line + "\n")


def method(rule: str, log: Path, seconds: float) -> Method:
    """The search of a rule, with everything written down."""
    engine = ScriptedEngine(reply)
    policy = LoggedPolicy(
        engine, FORMATS["steps-brief"], 1.0, 1.0, Limits(), 3, log=log, latency=seconds
    )
    evaluator = LoggedEvaluator(HashScorer(), "last-steps", log=log, latency=seconds)
    return Method(SEARCHES[rule], policy, evaluator)


async def main(rule: str, folder: Path, log: Path, seconds: float) -> None:
    """Collects, or goes on with it."""
    with Run.open(folder, Manifest.of("collected", {}, seed=0, problem_set="sums")) as run:
        run.add_problems([make_problem(id=f"p{n}", question=f"sum {n}?") for n in range(PROBLEMS)])
        await collect(run, method(rule, log, seconds), width=Width(3, 4, 2))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
