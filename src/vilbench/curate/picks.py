"""How good the best-scored of a pool's solutions is, for many versions of the pool at once.

A version of a pool is a weight for each of its solutions: 1 for all is the pool itself, 0 and
1 are a part of it, counts are a resample. Ties are met exactly, as in `selection.best_of`,
which gives the same for weights of 1. What does not depend on the version is found only once:
a pick from the whole of it needs a few passes over small integers, laid out so that they run
along the problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.intp]
Small = NDArray[np.int16]
Weights = Small
"""How often a version of each pool has a solution, `[N, U]`; every column sums to the same."""

LARGEST = 10_000
"""Most solutions of a pool, so that counts stay small integers."""


@dataclass(frozen=True)
class Levels:
    """Pools by the levels of their scores, for the pick from a whole version.

    Attributes:
        level: Place of each score among the different ones of its pool, the lowest 0, `[N, U]`.
        right: Whether the solution is right, 0 or 1, `[N, U]`.
    """

    level: Small
    right: Small

    @classmethod
    def of(cls, scores: Floats, correct: Bools) -> Self:
        """Levels of scores.

        Args:
            scores: `[U, N]`; NaN is "no verdict", which is below every score.
            correct: `[U, N]`.
        """
        values = np.where(np.isnan(scores), -np.inf, scores)
        order = np.argsort(values, axis=1, kind="stable")
        ordered = np.take_along_axis(values, order, axis=1)
        steps = np.zeros(values.shape, dtype=np.int16)
        steps[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        level = np.empty_like(steps)
        np.put_along_axis(level, order, steps.cumsum(axis=1, dtype=np.int16), axis=1)
        return cls(np.ascontiguousarray(level.T), np.ascontiguousarray(correct.T.astype(np.int16)))

    def quality(self, weights: Weights) -> Floats:
        """Chance that the best of a version is right, `[U]`, ties shared evenly."""
        top = np.where(weights > 0, self.level, np.int16(-1)).max(axis=0)
        tied = weights * (self.level == top)
        hits = (tied * self.right).sum(axis=0, dtype=np.float64)
        found: Floats = hits / tied.sum(axis=0, dtype=np.float64)
        return found


@dataclass(frozen=True)
class Ordered:
    """Pools in the order of their scores, for picks from subsets of every size.

    Every array is `[U, N]`.

    Attributes:
        order: Places of the solutions, the lowest score first.
        low: First rank of the group of equal scores that a rank is in.
        high: Last rank of that group.
        right: Whether the solution of that rank is right, as 0.0 or 1.0.
    """

    order: Places
    low: Places
    high: Places
    right: Floats

    @classmethod
    def of(cls, scores: Floats, correct: Bools) -> Self:
        """The order of scores, as `Levels.of` takes them."""
        values = np.where(np.isnan(scores), -np.inf, scores)
        order = np.argsort(values, axis=1, kind="stable")
        values = np.take_along_axis(values, order, axis=1)
        size = values.shape[1]
        ranks = np.broadcast_to(np.arange(size), values.shape)
        starts = np.ones(values.shape, dtype=np.bool_)
        starts[:, 1:] = values[:, 1:] != values[:, :-1]
        ends = np.ones(values.shape, dtype=np.bool_)
        ends[:, :-1] = starts[:, 1:]
        low = np.maximum.accumulate(np.where(starts, ranks, 0), axis=1)
        last = np.where(ends, ranks, size)[:, ::-1]
        high = np.minimum.accumulate(last, axis=1)[:, ::-1]
        right = np.take_along_axis(correct, order, axis=1).astype(np.float64)
        return cls(order, low, np.ascontiguousarray(high), right)

    def quality(self, weights: Weights) -> Floats:
        """Expected share of right picks, `[U]`, averaged over Best-of-k of every k.

        Args:
            weights: The version, `[N, U]`.
        """
        held = _held(int(weights[:, 0].sum()))
        drawn = np.take_along_axis(weights.T.astype(np.intp), self.order, axis=1)
        upto = np.cumsum(drawn, axis=1)
        below = np.take_along_axis(upto - drawn, self.low, axis=1)
        upto = np.take_along_axis(upto, self.high, axis=1)
        share = (held[upto] - held[below]) / np.maximum(upto - below, 1)
        found: Floats = (drawn * share * self.right).sum(axis=1)
        return found


def _held(size: int) -> Floats:
    """Share of the k-subsets within the `m` lowest, averaged over k from 1 to `size`, `[m]`."""
    taken = np.arange(size)
    left = np.maximum(np.arange(size + 1)[:, None] - taken, 0)
    shares: Floats = np.cumprod(left / (size - taken), axis=1).mean(axis=1)
    return shares
