"""Texts of solutions scored by a `StepScorer`, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vilbench.answers import read
from vilbench.api.waiting import waited
from vilbench.errors import InputError
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.selection import aggregation
from vilbench.steps import FORMATS
from vilbench.types import Problem, Solution, StepScorer, StepScores

AGGREGATIONS = ("mean", "min", "last-1")


@dataclass(frozen=True)
class Scored:
    """A solution with its scores.

    Attributes:
        solution: Text, steps, final answer, verdict.
        scores: Of a scorer.
    """

    solution: Solution
    scores: StepScores

    @property
    def text(self) -> str:
        """The solution's text."""
        return self.solution.text

    @property
    def steps(self) -> tuple[str, ...]:
        """`[S]` its steps."""
        return self.solution.step_texts()

    @property
    def values(self) -> tuple[float | None, ...]:
        """`[S]` a value after each step, or `[1]` for the whole; None is no verdict."""
        return self.scores.values

    def score(self, rule: str = "mean") -> float | None:
        """One score of all values, None without a verdict.

        Args:
            rule: An aggregation, such as "mean", "min", "last-1".

        Raises:
            ValueError: There is no such aggregation.
        """
        return aggregation(rule)(self.scores.values)


class Scorer:
    """A `StepScorer` with what else is needed to use it on texts and in evaluations.

    Args:
        steps: The scorer: a shipped one or your own.
        value_range: Bounds of its values; None where there are none.
        aggregations: Ways to make one score of a solution's values, for evaluations.
        format: How texts are split into steps; a key of `vilbench.steps.FORMATS`.

    Raises:
        ValueError: The name cannot be told from others in tables, or an aggregation is unknown.
    """

    def __init__(
        self,
        steps: StepScorer,
        *,
        value_range: tuple[float, float] | None = None,
        aggregations: Sequence[str] = AGGREGATIONS,
        format: str = "steps",  # noqa: A002 - the recipe's word
    ) -> None:
        self.steps = steps
        self._format = FORMATS[format]
        scale = None if value_range is None else Scale(*value_range)
        names = tuple(aggregations) if steps.granularity == "step" else ()
        votes = names[0] if names else "mean"
        self.plan = ScorerPlan(steps.name, steps.granularity, scale, names, votes)

    def __repr__(self) -> str:
        """What it is called, what it gives, how texts are split for it, and which one it is."""
        scale = self.plan.scale
        told = {
            "granularity": self.steps.granularity,
            "value_range": None if scale is None else (scale.low, scale.high),
            "aggregations": self.plan.aggregations,
            "format": self._format.name,
            "fingerprint": self.steps.fingerprint,
        }
        rest = ", ".join(f"{name}={value!r}" for name, value in told.items())
        return f"Scorer({self.steps.name!r}, {rest})"

    def score(self, problem: Problem, solutions: Sequence[str | Solution]) -> list[Scored]:
        """Scores of solutions, in their order.

        Args:
            problem: What they solve.
            solutions: Texts, which are split into steps, or solutions that have them.

        Raises:
            InputError: One text or solution is given instead of a list.
            EngineError: None of them can be scored.
        """
        if isinstance(solutions, str | bytes | Solution):
            raise InputError("is a list of texts; did you mean [text]?", field="solutions")
        made = [
            self._solution(problem, place, one) if isinstance(one, str) else one
            for place, one in enumerate(solutions)
        ]
        scores = waited(self.steps.score(problem, made))
        return [Scored(*pair) for pair in zip(made, scores, strict=True)]

    def _solution(self, problem: Problem, index: int, text: str) -> Solution:
        reading = read(text, problem)
        return Solution(
            problem_id=problem.id,
            index=index,
            text=text,
            steps=self._format.split(text),
            answer=reading.answer,
            verdict=reading.verdict,
            finish_reason="stop",
        )
