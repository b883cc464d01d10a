"""The stored run as aligned pools: every problem with exactly N solutions and their scores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from vilbench.evaluate.choice import Choice
from vilbench.selection import aggregation, exponential_weights
from vilbench.selection.aggregation import Rule, Values
from vilbench.selection.weights import Learned, share_a_set
from vilbench.store.records import ScoreRef
from vilbench.types import Granularity, Problem, Solution, StepScores

Scores = list[list[float | None]]
"""A score per solution, `[P][N]`; None is "no verdict"."""

LEARNED = "learned"
"""The aggregation that was fitted on other problems."""

BLEND = "blend:"
"""Begins the names of scores over several scorers."""

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,79}}|{BLEND}[A-Za-z0-9][A-Za-z0-9._+-]{{0,199}}")
_TAKEN = ("all", "cot", "majority", "oracle", "random", "sample")
"""Names of other methods, slices and stages."""

_ON_UNIT_SCALE = frozenset({"product", "geometric-mean"})


@dataclass(frozen=True)
class Scale:
    """Bounds of a scorer's values, such as 1 and 5 for a judge."""

    low: float
    high: float

    def unit(self, value: float | None) -> float | None:
        """The value on [0, 1]; one beyond a bound, as a linear head may give, counts as it."""
        if value is None:
            return None
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def weight(self, value: float | None) -> float | None:
        """The value as the weight of a vote: a bound for what is beyond it, and never below 0."""
        return None if value is None else min(self.high, max(self.low, value)) - min(0.0, self.low)


class Method(NamedTuple):
    """A way to select by one scorer; `aggregation` is None where it scores whole solutions."""

    name: str
    aggregation: str | None


@dataclass(frozen=True)
class ScorerPlan:
    """How a stored scorer enters the analysis.

    Attributes:
        name: The scorer's name: letters, digits, ".", "_", "-", and no method's name.
        granularity: Steps or the whole solution.
        scale: Bounds of its values; None where there are none (log-probabilities).
        aggregations: Names of the aggregations to report; unused for whole solutions.
        votes: The aggregation whose result weighs votes in weighted majority.
        chosen: What was chosen for it on other problems.
        learned: A score over its steps that was fitted on other problems: one more aggregation.

    Raises:
        ValueError: The name cannot be told from others in the tables, an aggregation is
            unknown or given twice, one that needs a bounded scale is asked for without it,
            the chosen one is not among them, or what was learned is of other scorers.
    """

    name: str
    granularity: Granularity
    scale: Scale | None
    aggregations: tuple[str, ...]
    votes: str
    chosen: Choice | None = None
    learned: Learned | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN:
            raise ValueError(
                f"{self.name[:80]!r} cannot name a scorer: take letters, digits and '._-', "
                f"and none of {', '.join(_TAKEN)}"
            )
        if self.learned and (self.learned.scorers, self.granularity) != ((self.name,), "step"):
            raise ValueError(
                f"what was learned from {', '.join(self.learned.scorers)} is no score "
                f"of the steps of '{self.name}'"
            )
        for name in (*self.aggregations, *([] if self.votes_as_learned else [self.votes])):
            aggregation(name)
            if name in _ON_UNIT_SCALE and self.scale is None:
                raise ValueError(f"'{name}' needs bounded scores, '{self.name}' has none")
        if len(set(self.aggregations)) < len(self.aggregations):
            raise ValueError(f"an aggregation of '{self.name}' is given twice")
        known = self.aggregations if self.granularity == "step" else ()
        if self.chosen and self.chosen.aggregation not in (None, *known):
            raise ValueError(
                f"'{self.chosen.aggregation}' was chosen for '{self.name}', "
                f"which has {', '.join(known) or 'no aggregations'}"
            )

    def methods(self) -> tuple[Method, ...]:
        """Its selection methods, with their names for the tables."""
        if self.granularity == "solution":
            return (Method(self.name, None),)
        names = (*self.aggregations, *([LEARNED] if self.learned else []))
        return tuple(Method(f"{self.name}/{name}", name) for name in names)

    @property
    def votes_as_learned(self) -> bool:
        """Whether votes are weighed by what was learned."""
        return self.learned is not None and self.votes == LEARNED

    def on(self, problem_set: str) -> ScorerPlan:
        """The plan for these problems: without what was learned, if it was on these very ones."""
        if self.learned is None or not self.learned.origin.is_part_of(problem_set):
            return self
        return replace(self, learned=None, votes="mean" if self.votes_as_learned else self.votes)

    def bounds(self, method: Method) -> Scale | None:
        """Bounds of the scores that a method makes; None where they have none."""
        if method.aggregation == LEARNED:
            return None
        if self.scale is not None and method.aggregation in _ON_UNIT_SCALE:
            return Scale(0.0, 1.0)
        return self.scale

    def choice(self, problem_set: str) -> Choice | None:
        """What was chosen for it, unless it was chosen on these very problems."""
        if self.chosen is None or share_a_set(self.chosen.problem_set, problem_set):
            return None
        return self.chosen

    def standing(self, problem_set: str) -> Method | None:
        """The method that stands for it: by the chosen aggregation, or else its first one.

        It is settled before a problem of the set is seen; None without aggregations.
        """
        methods = self.methods()
        choice = self.choice(problem_set)
        for method in methods:
            if choice and choice.aggregation == method.aggregation is not None:
                return method
        return methods[0] if methods else None


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

    def scores(self, plan: ScorerPlan, stored: Mapping[ScoreRef, StepScores]) -> dict[str, Scores]:
        """Scores of the solutions by each of a scorer's methods, by the method's name."""
        given = _Given.of(plan, plan.aggregations, self._values(stored))
        return {one.name: self._scores(plan, one.aggregation, given) for one in plan.methods()}

    def weights(self, plan: ScorerPlan, stored: Mapping[ScoreRef, StepScores]) -> Scores:
        """What votes weigh under the scorer's `votes`, at least 0.

        Scores without bounds, and learned ones, are logarithms: see `exponential_weights`.
        """
        given = _Given.of(plan, (plan.votes,), self._values(stored))
        scores = self._scores(plan, plan.votes, given)
        if plan.scale is None or plan.votes_as_learned:
            return [list(exponential_weights(pool)) for pool in scores]
        return [[plan.scale.weight(score) for score in pool] for pool in scores]

    def _values(self, stored: Mapping[ScoreRef, StepScores]) -> list[Values]:
        """The stored values of all solutions, none for those that were not scored."""
        refs = (ScoreRef(one.problem_id, one.index) for pool in self.solutions for one in pool)
        return [record.values if (record := stored.get(ref)) else () for ref in refs]

    def _scores(self, plan: ScorerPlan, name: str | None, given: _Given) -> Scores:
        """Scores under an aggregation, `[P][N]`; None without a verdict.

        Whole solutions have one value, whatever the aggregation.
        `product` and `geometric-mean` work on the unit interval where the scale is bounded:
        on 1 to 5 a product would reward length.
        """
        rule: Rule = _whole
        if plan.learned is not None and name == LEARNED:
            rule = partial(_learned, learned=plan.learned)
        elif plan.granularity == "step" and name is not None:
            # The rule itself: values were checked when they were stored.
            rule = aggregation(name).rule
        every = given.on_unit_scale if name in _ON_UNIT_SCALE else given.values
        scores = [rule(values) if values else None for values in every]
        size = len(self.solutions[0]) if self.solutions else 0
        return [scores[start : start + size] for start in range(0, len(scores), size)]


class _Given(NamedTuple):
    """A scorer's values of all solutions, as they are and on [0, 1] where they have bounds."""

    values: Sequence[Values]
    on_unit_scale: Sequence[Values]

    @classmethod
    def of(cls, plan: ScorerPlan, names: Sequence[str], values: Sequence[Values]) -> _Given:
        asked = plan.granularity == "step" and not _ON_UNIT_SCALE.isdisjoint(names)
        if plan.scale is None or not asked:
            return cls(values, values)
        unit = plan.scale.unit
        return cls(values, [[unit(value) for value in one] for one in values])


def _learned(values: Values, *, learned: Learned) -> float | None:
    """The fitted score of the steps of the one scorer that it is of."""
    return learned.score({learned.scorers[0]: values})


def _whole(values: Values) -> float | None:
    """The one value of a whole solution."""
    return values[0]


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
