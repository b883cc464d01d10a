"""The stored run as aligned pools: every problem with exactly N solutions and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vilbench.selection import aggregation
from vilbench.store.records import ScoreRef
from vilbench.types import Granularity, Problem, Solution, StepScores


@dataclass(frozen=True)
class Scale:
    """Bounds of a scorer's values, such as 1 and 5 for a judge."""

    low: float
    high: float

    def unit(self, value: float | None) -> float | None:
        """The value on [0, 1]."""
        return None if value is None else (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class ScorerPlan:
    """How a stored scorer enters the analysis.

    Attributes:
        name: The scorer's name.
        granularity: Steps or the whole solution.
        scale: Bounds of its values; None where there are none (log-probabilities).
        aggregations: Names of the aggregations to report; unused for whole solutions.
        votes: The aggregation whose result weighs votes in weighted majority.
    """

    name: str
    granularity: Granularity
    scale: Scale | None
    aggregations: tuple[str, ...]
    votes: str

    def methods(self) -> tuple[str, ...]:
        """Names of its selection methods."""
        if self.granularity == "solution":
            return (self.name,)
        return tuple(f"{self.name}/{name}" for name in self.aggregations)


@dataclass(frozen=True)
class Pools:
    """Problems with pools of one size.

    A problem whose sampling failed has a pool of failed solutions: it stays in the
    denominator, with nothing right to find.
    """

    problems: tuple[Problem, ...]
    solutions: tuple[tuple[Solution, ...], ...]

    @classmethod
    def of(
        cls, problems: Sequence[Problem], stored: Mapping[str, Sequence[Solution]], size: int
    ) -> Pools:
        """Pools of `size` from what is stored; what is missing becomes failed solutions."""
        return cls(tuple(problems), tuple(_filled(problem, stored, size) for problem in problems))

    def correct(self) -> list[list[bool]]:
        """Which solutions are right, `[P][N]`."""
        return [[one.verdict == "correct" for one in pool] for pool in self.solutions]

    def answers(self) -> list[list[str | None]]:
        """Normalized answers, `[P][N]`; None casts no vote."""
        return [[one.answer for one in pool] for pool in self.solutions]

    def scores(
        self, plan: ScorerPlan, name: str, stored: Mapping[ScoreRef, StepScores]
    ) -> list[list[float | None]]:
        """Scores of the solutions under an aggregation, `[P][N]`; None without a verdict.

        `product` and `geometric-mean` work on the unit interval where the scale is bounded:
        on 1 to 5 a product would reward length.
        """
        rule = aggregation(name) if plan.granularity == "step" else None
        unit = plan.scale is not None and name in ("product", "geometric-mean")

        def score(solution: Solution) -> float | None:
            record = stored.get(ScoreRef(solution.problem_id, solution.index))
            if record is None or not record.values:
                return None
            if rule is None:
                return record.values[0]
            values = record.values
            if unit and plan.scale is not None:
                values = tuple(plan.scale.unit(value) for value in values)
            return rule(values)

        return [[score(one) for one in pool] for pool in self.solutions]


def _filled(
    problem: Problem, stored: Mapping[str, Sequence[Solution]], size: int
) -> tuple[Solution, ...]:
    known = {one.index: one for one in stored.get(problem.id, ())}
    return tuple(known.get(index) or _failed(problem, index) for index in range(size))


def _failed(problem: Problem, index: int) -> Solution:
    return Solution(
        problem_id=problem.id,
        index=index,
        text="",
        steps=(),
        answer=None,
        verdict="failed",
        finish_reason="error",
        error="no solution is stored",
    )
