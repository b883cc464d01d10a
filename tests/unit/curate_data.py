"""Runs in memory with planted scorers, for curating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vilbench.curate.material import Take
from vilbench.curate.records import RunCard
from vilbench.evaluate.analysis import Stored
from vilbench.evaluate.pools import Pools, Scale, ScorerPlan
from vilbench.store.records import ScoreRef
from vilbench.testing import make_problem, make_solution
from vilbench.types import Problem, Solution, StepScores

Values = NDArray[np.float64]
"""Scores by one form, `[P, N]`; NaN is no verdict."""


def problems(count: int, sources: Sequence[str] = ("one",)) -> list[Problem]:
    return [
        make_problem(id=f"p{at}").model_copy(update={"source": sources[at % len(sources)]})
        for at in range(count)
    ]


def plan(name: str, granularity: str = "step") -> ScorerPlan:
    if granularity == "solution":
        return ScorerPlan(name, "solution", Scale(0, 1), (), "mean")
    return ScorerPlan(name, "step", Scale(0, 1), ("mean", "last-1"), "mean")


def take(
    posed: Sequence[Problem],
    correct: NDArray[np.bool_],
    scores: Mapping[str, Values],
    *,
    name: str = "run",
    problem_set: str = "set",
    fingerprints: Mapping[str, str] | None = None,
) -> Take:
    """A run whose scorers gave these values; names that end in "orm" score whole solutions."""
    size = correct.shape[1]
    solutions: dict[str, list[Solution]] = {
        problem.id: [
            make_solution(problem, index, "Step 1: so.", answer="1").model_copy(
                update={"verdict": "correct" if correct[at, index] else "wrong"}
            )
            for index in range(size)
        ]
        for at, problem in enumerate(posed)
    }
    plans = [plan(one, "solution" if one.endswith("orm") else "step") for one in scores]
    values = {
        one.name: {
            ScoreRef(problem.id, index): StepScores(
                problem_id=problem.id,
                solution_index=index,
                scorer=one.name,
                granularity=one.granularity,
                values=(None if np.isnan(value) else float(value),),
            )
            for at, problem in enumerate(posed)
            for index, value in enumerate(scores[one.name][at])
        }
        for one in plans
    }
    card = RunCard(
        fingerprint=f"of {name}",
        name=name,
        problem_set=problem_set,
        policy="policy",
        seed=0,
        n=size,
        created="2026-01-01T00:00:00+00:00",
    )
    stored = Stored("policy", tuple(plans), Pools.of(posed, solutions, size), values)
    return Take(card, stored, fingerprints or {})


def noise(count: int, size: int, pairs: int, seed: int = 0, rate: float = 0.5) -> Take:
    """Scores that know nothing, of `pairs` pairs `aN-prm`, `aN-orm`."""
    rng = np.random.default_rng(seed)
    correct = rng.random((count, size)) < rate
    scores = {}
    for pair in range(pairs):
        scores[f"a{pair}-prm"] = rng.random((count, size))
        scores[f"a{pair}-orm"] = rng.random((count, size))
    return take(problems(count), correct, scores)
