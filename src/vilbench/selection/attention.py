"""A mean of step values whose weights are learned: a softmax over what is known of each step.

Step `i` of `S` weighs `exp(sum of parameter x cue)`, over the sum of that. With every parameter
0 it is the mean; a large `last` makes it the last step, a large `end` a mean over some last
steps, a large `low` the minimum. `fall` and `change` weigh a step by how much the value moved at
it, which is what it told.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from vilbench.selection.aggregation import Values
from vilbench.selection.curve import Floats
from vilbench.types import Number, Record

LARGEST = 1e100
"""Largest size of a learned number: products of three of them, and sums of those, are numbers."""


def _moderate(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"{value} is beyond {LARGEST:g}: what is computed of it would overflow")
    return value


Learnable = Annotated[Number, AfterValidator(_moderate)]

CUES = ("end", "last", "first", "centre", "low", "fall", "change")
"""Names of the parameters."""


class Attention(Record):
    """Parameters of the softmax, one for each cue.

    Attributes:
        end: Minus the number of steps after this one.
        last: 1 for the last step, else 0.
        first: 1 for the first step, else 0.
        centre: 1 in the middle of the solution, 0 at its ends, linear between.
        low: Minus the value, in tenths of the scale.
        fall: How far the value fell from the step before, in tenths; 0 for the first step, and
            negative where it rose.
        change: How far it moved, in tenths.
    """

    end: Learnable = 0.0
    last: Learnable = 0.0
    first: Learnable = 0.0
    centre: Learnable = 0.0
    low: Learnable = 0.0
    fall: Learnable = 0.0
    change: Learnable = 0.0

    def weights(self, values: Values) -> list[float]:
        """Weight of every step, 0 where there is no verdict; they sum up to 1.

        Args:
            values: Step values on the unit scale, at least one of them no None.
        """
        parameters = [getattr(self, name) for name in CUES]
        logits = [
            None if cues is None else math.fsum(map(operator.mul, parameters, cues))
            for cues in _cues(values)
        ]
        top = max(logit for logit in logits if logit is not None)
        raw = [0.0 if logit is None else math.exp(logit - top) for logit in logits]
        total = math.fsum(raw)
        return [one / total for one in raw]

    def __call__(self, values: Values) -> float | None:
        """The weighted mean, None without a verdict."""
        if all(value is None for value in values):
            return None
        pairs = zip(self.weights(values), values, strict=True)
        return math.fsum(weight * value for weight, value in pairs if value is not None)


def _cues(values: Values) -> Iterator[tuple[float, ...] | None]:
    """The cues of every step in the order of `CUES`; None where there is no verdict.

    Positions are those in the solution, whatever has a verdict; a change is one from the
    latest step before that has one.
    """
    size, before = len(values), None
    for place, value in enumerate(values):
        if value is None:
            yield None
            continue
        moved = 0.0 if before is None else value - before
        before = value
        middle = 1.0 - abs(2.0 * place / (size - 1) - 1.0) if size > 1 else 0.0
        ends = (float(place == size - 1), float(place == 0))
        tenths = (-10.0 * value, -10.0 * moved, 10.0 * abs(moved))
        yield (float(place - size + 1), *ends, middle, *tenths)


class Attended:
    """Many solutions as arrays, to fit the parameters on.

    Args:
        solutions: Step values on the unit scale, `[M][*]`.
        cues: Names of the parameters to fit; the others stay 0.
    """

    def __init__(self, solutions: Sequence[Values], cues: Sequence[str]) -> None:
        longest = max((len(values) for values in solutions), default=0)
        columns = [CUES.index(name) for name in cues]
        shape = (len(solutions), max(longest, 1))
        self._values: Floats = np.zeros(shape)
        self._known: NDArray[np.bool_] = np.zeros(shape, dtype=np.bool_)
        self._cues: Floats = np.zeros((*shape, len(columns)))
        for row, values in enumerate(solutions):
            for place, found in enumerate(_cues(values)):
                if found is not None:
                    self._values[row, place] = values[place]
                    self._known[row, place] = True
                    self._cues[row, place] = [found[column] for column in columns]

    def means(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Weighted means `[M]` and their gradients `[M, cues]`; 0 without a verdict."""
        logits = np.where(self._known, self._cues @ parameters, -np.inf)
        top = logits.max(axis=1, keepdims=True)
        raw = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
        weights = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-300)
        means = (weights * self._values).sum(axis=1)
        pull = weights * (self._values - means[:, None])
        return means, np.einsum("ms,msc->mc", pull, self._cues)
