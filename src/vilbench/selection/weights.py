"""A learned score of a solution: weighted features of what one or several scorers said of it.

It is a function of the solution alone, so that any subset of a pool can be chosen from. `fitting`
makes it, on problems that are not reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from vilbench.selection.aggregation import Values
from vilbench.selection.attention import LARGEST, Attention, Learnable
from vilbench.selection.features import feature
from vilbench.types import Number, Record, Whole

ATTENTION = "attention"
"""Name of the feature whose parameters a term holds itself."""

FARTHEST = 1e12
"""Most that a value on the unit scale may be: whatever a scorer says, a score is a number."""


class Reading(Record):
    """How a scorer's values are put on the unit scale: `low` becomes 0 and `high` 1.

    What lies beyond stays beyond, so that no two values become one, up to `FARTHEST` times
    the scale.
    """

    scorer: str = Field(min_length=1)
    low: Learnable
    high: Learnable

    @model_validator(mode="after")
    def _is_a_range(self) -> Reading:
        if not self.high - self.low >= 1 / LARGEST:
            raise ValueError(f"{self.low} to {self.high} is no range")
        return self

    def unit(self, values: Values) -> list[float | None]:
        """The values on the unit scale; None stays None."""
        span = self.high - self.low
        return [
            None if value is None else min(FARTHEST, max(-FARTHEST, (value - self.low) / span))
            for value in values
        ]


class Term(Record):
    """One feature of one scorer's values, and what it adds: `weight (x - centre) / spread`.

    A feature without a verdict adds nothing: it counts as the mean of what was fitted on.
    """

    scorer: str = Field(min_length=1)
    feature: str
    weight: Learnable
    centre: Learnable = 0.0
    spread: Learnable = Field(default=1.0, ge=1 / LARGEST)
    attention: Attention | None = None

    @model_validator(mode="after")
    def _is_known(self) -> Term:
        if (self.attention is not None) != (self.feature == ATTENTION):
            raise ValueError(f"'{self.feature}' and parameters of attention do not go together")
        if self.attention is None:
            feature(self.feature)
        return self

    def found(self, values: Values) -> float | None:
        """The feature of values on the unit scale; None without a verdict."""
        rule = feature(self.feature) if self.attention is None else self.attention
        return rule(values) if values else None


class Origin(Record):
    """What a score was fitted on, and so must not be judged on.

    Attributes:
        problem_set: Such as "puzzles:dev".
        n_problems: Problems of the run.
        n: Solutions of each.
        seed: Seed of the run.
        fingerprint: Fingerprint of the run.
    """

    problem_set: str = Field(min_length=1)
    n_problems: Whole = Field(ge=1)
    n: Whole = Field(ge=1)
    seed: Whole = Field(ge=0)
    fingerprint: str = ""

    def is_part_of(self, problem_set: str) -> bool:
        """Whether a set of problems, or one of several joined by "+", is what was fitted on."""
        return share_a_set(self.problem_set, problem_set)


def share_a_set(one: str, other: str) -> bool:
    """Whether two names of problem sets, or of several joined by "+", have one in common."""
    return not {one, *one.split("+")}.isdisjoint((other, *other.split("+")))


class Trial(Record):
    """What a form reached by cross-validation inside the problems that were fitted on.

    Attributes:
        form: Name of the form; "fixed" is the best aggregation of the other folds.
        accuracy: Best-of-k, averaged over k from 1 to N.
        best_of_n: Best-of-N.
    """

    form: str
    accuracy: Number = Field(ge=0, le=1)
    best_of_n: Number = Field(ge=0, le=1)


class Formula(Record):
    """How a score is made of values.

    Attributes:
        readings: How each scorer's values are read; every scorer of a term has one.
        terms: What is summed up.
    """

    readings: tuple[Reading, ...] = Field(min_length=1)
    terms: tuple[Term, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        names = [one.scorer for one in self.readings]
        if len(set(names)) < len(names) or {one.scorer for one in self.terms} != set(names):
            raise ValueError(f"every scorer of a term takes one reading, there are {names}")
        return self

    @property
    def scorers(self) -> tuple[str, ...]:
        """Names of the scorers that it needs."""
        return tuple(one.scorer for one in self.readings)

    def score(self, values: Mapping[str, Values]) -> float | None:
        """Score of a solution: a difference of two is the logarithm of how much likelier one is.

        Args:
            values: Each scorer's values of it, on the scorer's own scale; none where it did
                not score it.

        Returns:
            None where no term finds a verdict.
        """
        unit = {one.scorer: one.unit(values.get(one.scorer, ())) for one in self.readings}
        given = [(term, term.found(unit[term.scorer])) for term in self.terms]
        added = [
            term.weight * (found - term.centre) / term.spread
            for term, found in given
            if found is not None
        ]
        return math.fsum(added) if added else None

    def pools(self, values: Mapping[str, Sequence[Sequence[Values]]]) -> list[list[float | None]]:
        """Scores of pools of solutions, `[P][N]`, from each scorer's values `[P][N]`."""
        names = self.scorers
        return [
            [self.score(dict(zip(names, one, strict=True))) for one in zip(*pool, strict=True)]
            for pool in zip(*(values[name] for name in names), strict=True)
        ]


class Learned(Formula):
    """A fitted score, with what it was fitted on.

    Attributes:
        form: Name of the form that was chosen; see `fitting`.
        origin: What it was fitted on.
        trials: The forms that were compared there.
    """

    version: Literal[1] = 1
    form: str
    origin: Origin
    trials: tuple[Trial, ...] = ()
