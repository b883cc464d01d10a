"""A scripted policy and evaluator whose trees are worth searching, for tests of collecting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from vilbench.collect.budget import Budget, Prices
from vilbench.collect.evaluator import Evaluator
from vilbench.collect.growth import Method
from vilbench.collect.policy import Limits, Policy
from vilbench.errors import EngineError
from vilbench.search import Omega, RestMcts, Rollouts
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, make_problem
from vilbench.types import Granularity, Problem, Prompt, Solution, StepScores, Usage

STEPS = 4
SEARCHES: dict[str, RestMcts | Rollouts | Omega] = {
    "rest-mcts": RestMcts(enough=None, rounds=5, leaves=3, keep_ahead=True),
    "rollouts": Rollouts(solutions=3, rollouts=3),
    "omega": Omega(rollouts=4, searches=4, together=2),
}


def reply(prompt: Prompt, index: int) -> str:
    """The rest of a solution of four steps; what it says hangs on prompt and index alone."""
    made = crc32(f"{prompt.parts[0]}\0{prompt.prefill}\0{index}".encode())
    done = prompt.prefill.count("Step ")
    lines = [f"Step {n}: I see {made >> n & 1} at {n}." for n in range(done + 1, STEPS + 1)]
    return "\n".join([*lines, f"Answer: {4 + made % 3}"])


class HashScorer:
    """A `StepScorer` of values by a hash of the prefix; `failing` texts have none."""

    name = "hash"
    granularity: Granularity = "step"
    fingerprint = "hash"

    def __init__(self, *, failing: str | None = None, silent: str | None = None) -> None:
        self._failing = failing
        self._silent = silent
        self.calls = 0
        self.scored: list[str] = []
        self.most_in_flight = 0
        self._in_flight = 0

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Values in [0, 1)."""
        self.calls += 1
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        await asyncio.sleep(0)
        self._in_flight -= 1
        self.scored += [f"{problem.id}: {one.text}" for one in solutions]
        if self._failing is not None and any(self._failing in one.text for one in solutions):
            raise EngineError("the judge is out")
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer=self.name,
                granularity="step",
                values=tuple(self._value(one.text[:end]) for _, end in one.steps),
                usage=Usage(prompt_tokens=10, completion_tokens=2),
            )
            for one in solutions
        ]

    def _value(self, prefix: str) -> float | None:
        if self._silent is not None and self._silent in prefix.rpartition("\n")[2]:
            return None
        return crc32(prefix.encode()) % 1000 / 1000


def make_run(folder: Path, problems: int = 6) -> Run:
    """A new run with problems that the scripted policy solves now and then."""
    run = Run.open(folder, Manifest.of("collected", {}, seed=0, problem_set="sums"))
    run.add_problems([make_problem(id=f"p{n}", question=f"sum {n}?") for n in range(problems)])
    return run


def make_method(
    rule: str = "rest-mcts",
    engine: ScriptedEngine | None = None,
    scorer: HashScorer | None = None,
    *,
    budget: Budget | None = None,
    prices: Prices | None = None,
    limits: Limits | None = None,
) -> Method:
    """A search with a scripted policy, and with a scripted evaluator where it takes one."""
    policy = Policy(
        engine or ScriptedEngine(reply), FORMATS["steps-brief"], 1.0, 1.0, limits or Limits(), 3
    )
    evaluator = Evaluator(scorer, "last-steps", grade_weight=1.0) if scorer else Evaluator()
    if rule == "rest-mcts" and scorer is None:
        evaluator = Evaluator(HashScorer(), "last-steps", grade_weight=1.0)
    return Method(SEARCHES[rule], policy, evaluator, budget or Budget(), prices or Prices())
