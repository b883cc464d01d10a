"""One score of a solution from the scores of its steps.

Steps without a verdict (None) are skipped, except by `first` and `last`, which ask for
one certain step. A solution without any verdict to go by, or without steps, has the score
None. Scores keep the scorer's native scale.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

Values = Sequence[float | None]
"""A solution's step scores in order; None is "no verdict"."""

Rule = Callable[[Values], float | None]

_LAST_N = re.compile(r"last-([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Aggregation:
    """A named rule that makes one score of step scores; picklable.

    Attributes:
        name: Canonical name, as in a method's `<scorer>/<aggregation>`.
        rule: What it does with values that have been checked to be finite.
    """

    name: str
    rule: Rule

    def __call__(self, values: Values) -> float | None:
        """The score, None where the rule finds no verdict.

        Raises:
            ValueError: A value is NaN or infinite, or negative for `product` and
                `geometric-mean`, or the result is beyond the range of a float.
        """
        for place, value in enumerate(values):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{self.name}: the score of step {place + 1} is {value}")
        try:
            score = self.rule(values)
        except OverflowError:
            score = math.inf
        if score is not None and not math.isfinite(score):
            raise ValueError(f"{self.name}: the scores are too large for a float")
        return score


def mean(values: Values) -> float | None:
    """Arithmetic mean of the verdicts; None values are skipped."""
    present = _present(values)
    return math.fsum(present) / len(present) if present else None


def lowest(values: Values) -> float | None:
    """Lowest verdict; None values are skipped."""
    return min(_present(values), default=None)


def highest(values: Values) -> float | None:
    """Highest verdict; None values are skipped."""
    return max(_present(values), default=None)


def product(values: Values) -> float | None:
    """Product of the verdicts on the scorer's own scale; None values are skipped.

    Made for probabilities in [0, 1]. On a scale above 1, such as a judge's 1 to 5, it
    grows with the number of steps; `geometric-mean` does not.

    Raises:
        ValueError: A value is negative.
    """
    present = _non_negative(values)
    return math.prod(sorted(present)) if present else None


def geometric_mean(values: Values) -> float | None:
    """Geometric mean of the verdicts, 0 if one of them is; None values are skipped.

    Rounded to 12 significant digits, so that solutions with equal scores and different
    numbers of steps tie instead of being ranked by rounding errors.

    Raises:
        ValueError: A value is negative.
    """
    present = _non_negative(values)
    if not present:
        return None
    if min(present) == 0:
        return 0.0
    logarithm = math.fsum(math.log(value) for value in present) / len(present)
    return float(f"{math.exp(logarithm):.12g}")


def first(values: Values) -> float | None:
    """Score of the first step, None if that step has no verdict."""
    return values[0] if values else None


def last(values: Values) -> float | None:
    """Score of the last step, None if that step has no verdict."""
    return values[-1] if values else None


def last_n(values: Values, *, n: int) -> float | None:
    """Mean of the verdicts among the last `n` steps, or among all if there are fewer.

    A None among them is skipped and not made up for by an earlier step.
    """
    return mean(values[-n:])


def position_weighted(values: Values) -> float | None:
    """Mean with weights that rise linearly: step `k` of `S` weighs `k / (1 + ... + S)`.

    None values are skipped: the steps that remain keep their weights, which are scaled to
    sum up to 1 again.
    """
    present = [(place, value) for place, value in enumerate(values, 1) if value is not None]
    if not present:
        return None
    total = math.fsum(place * value for place, value in present)
    return total / sum(place for place, _ in present)


_RULES: Mapping[str, Rule] = {
    "mean": mean,
    "min": lowest,
    "max": highest,
    "product": product,
    "geometric-mean": geometric_mean,
    "first": first,
    "last": last,
    "position-weighted": position_weighted,
}

AGGREGATIONS = (*_RULES, "last-n")
"""Names that `aggregation` knows; in "last-n", n stands for 1, 2, ... 9999."""


def aggregation(name: str) -> Aggregation:
    """The aggregation of that name, such as "mean" or "last-2".

    Raises:
        ValueError: There is none; the message lists the names.
    """
    if name in _RULES:
        return Aggregation(name, _RULES[name])
    if found := _LAST_N.fullmatch(name):
        return Aggregation(name, partial(last_n, n=int(found[1])))
    raise ValueError(
        f"unknown aggregation {name[:80]!r}; known are {', '.join(AGGREGATIONS)} "
        "(n from 1, as in last-2)"
    )


def _present(values: Values) -> Sequence[float]:
    if None in values:
        return [value for value in values if value is not None]
    return cast("Sequence[float]", values)


def _non_negative(values: Values) -> Sequence[float]:
    present = _present(values)
    if min(present, default=0) < 0:
        raise ValueError(
            f"a product or geometric mean needs scores of at least 0, got {min(present)}"
        )
    return present
