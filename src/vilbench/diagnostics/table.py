"""The pools of a run as flat arrays: a row per solution, a row per step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vilbench.evaluate.labels import Labeller
from vilbench.evaluate.pools import Method, Pools, ScorerPlan
from vilbench.evaluate.stepwise import sound_steps
from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats
from vilbench.problems.clusters import clusters
from vilbench.store.records import ScoreRef
from vilbench.types import StepScores

Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Table:
    """The solutions of all pools, `[M]` with M = P * N, and their steps, `[T]`.

    Attributes:
        pools: What it was made of.
        shape: P and N.
        owner: Problem of each solution.
        index: Its place in the pool.
        right: Whether its verdict is "correct".
        text: Number of its text: equal within a problem for equal solutions.
        first: Whether it is the first of its text in the problem.
        characters: Its length.
        tokens: The same in tokens of the policy; 0 where they were not counted.
        steps: The same in steps.
        answers: Number of its answer in the problem; -1 for none.
        step_solution: Solution of each step.
        step_number: Number of the step in it, from 0.
        step_first: Whether no solution before has the same steps up to this one.
        step_sound: Whether it ends a sound prefix: 1, 0, or -1 where nobody knows.
    """

    pools: Pools
    shape: tuple[int, int]
    owner: Places
    index: Places
    right: Bools
    text: Places
    first: Bools
    characters: Places
    tokens: Places
    steps: Places
    answers: Places
    step_solution: Places
    step_number: Places
    step_first: Bools
    step_sound: Places

    @classmethod
    def of(cls, pools: Pools, labeller: Labeller) -> Table:
        """The table of some pools."""
        size = len(pools.solutions[0])
        every = [one for pool in pools.solutions for one in pool]
        texts: list[int] = []
        firsts: list[bool] = []
        answers: list[int] = []
        step_firsts: list[bool] = []
        marks: list[int] = []
        for pool, labels in zip(pools.solutions, sound_steps(pools, labeller), strict=True):
            seen: dict[str, int] = {}
            given: dict[str, int] = {}
            prefixes: set[str] = set()
            for solution, known in zip(pool, labels, strict=True):
                firsts.append(solution.text not in seen)
                texts.append(seen.setdefault(solution.text, len(seen)))
                answer = solution.answer
                answers.append(-1 if answer is None else given.setdefault(answer, len(given)))
                for number, (_, end) in enumerate(solution.steps):
                    prefix = solution.text[:end]
                    step_firsts.append(prefix not in prefixes)
                    prefixes.add(prefix)
                    mark = known[number] if number < len(known) else None
                    marks.append(-1 if mark is None else int(mark))
        steps = np.array([len(one.steps) for one in every], dtype=np.intp)
        starts = np.concatenate([[0], np.cumsum(steps)])[:-1]
        step_solution = np.repeat(np.arange(len(every)), steps)
        return cls(
            pools=pools,
            shape=(len(pools.problems), size),
            owner=np.repeat(np.arange(len(pools.problems)), size),
            index=np.tile(np.arange(size), len(pools.problems)),
            right=np.array([one.verdict == "correct" for one in every], dtype=np.bool_),
            text=np.array(texts, dtype=np.intp),
            first=np.array(firsts, dtype=np.bool_),
            characters=np.array([len(one.text) for one in every], dtype=np.intp),
            tokens=np.array([one.usage.completion_tokens for one in every], dtype=np.intp),
            steps=steps,
            answers=np.array(answers, dtype=np.intp),
            step_solution=step_solution,
            step_number=np.arange(steps.sum()) - starts[step_solution],
            step_first=np.array(step_firsts, dtype=np.bool_),
            step_sound=np.array(marks, dtype=np.intp),
        )

    def grid(self, scores: Floats) -> Floats:
        """Scores of the solutions, `[P, N]`."""
        grid: Floats = scores.reshape(self.shape)
        return grid

    def pools_of(self, scores: Floats) -> list[list[float | None]]:
        """The same as pools; None is no score."""
        return [
            [None if np.isnan(score) else float(score) for score in pool]
            for pool in self.grid(scores)
        ]

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Resamples of the problems, versions of one another together."""
        return Bootstrap(self.shape[0], clusters=clusters(self.pools.problems))

    @property
    def correct(self) -> list[list[bool]]:
        """Which solutions of each pool are right."""
        correct: list[list[bool]] = self.right.reshape(self.shape).tolist()
        return correct

    @property
    def step_owner(self) -> Places:
        """Problem of each step, `[T]`."""
        owners: Places = self.owner[self.step_solution]
        return owners


@dataclass(frozen=True)
class Scored:
    """What a scorer says of the rows of a table; NaN is no verdict.

    Attributes:
        plan: The scorer.
        method: The method that stands for it; None where it has none.
        scores: Of the solutions by each of its methods, `[M]`, by the method's name.
        values: Of the steps, `[T]`; None for a scorer of whole solutions.
    """

    plan: ScorerPlan
    method: Method | None
    scores: Mapping[str, Floats]
    values: Floats | None

    @classmethod
    def of(
        cls,
        table: Table,
        plan: ScorerPlan,
        problem_set: str,
        stored: Mapping[ScoreRef, StepScores],
    ) -> Scored:
        """The stored values of one scorer."""
        scores = {
            name: np.array(given, dtype=np.float64).ravel()
            for name, given in table.pools.scores(plan, stored).items()
        }
        values = _values(table, stored) if plan.granularity == "step" else None
        return cls(plan, plan.standing(problem_set), scores, values)

    @property
    def name(self) -> str:
        """The scorer's name."""
        return self.plan.name

    @property
    def standing(self) -> Floats | None:
        """Scores of the solutions by the standing method, `[M]`."""
        return None if self.method is None else self.scores[self.method.name]


def _values(table: Table, stored: Mapping[ScoreRef, StepScores]) -> Floats:
    given: list[float | None] = []
    for pool in table.pools.solutions:
        for solution in pool:
            record = stored.get(ScoreRef(solution.problem_id, solution.index))
            size = len(solution.steps)
            found = record.values if record is not None else ()
            given += found if len(found) == size else (None,) * size
    return np.array(given, dtype=np.float64)
