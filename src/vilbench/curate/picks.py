"""How good the best-scored of a pool's solutions is, for many versions of the pool at once.

A version of a pool is a weight for each of its solutions: 1 for all is the pool itself, 0 and
1 are a part of it, counts are a resample. Ties are met exactly, as in `selection.best_of`,
which gives the same for weights of 1; here the order of the scores is found only once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.intp]
Weights = NDArray[np.intp]
"""How often a version of each pool has a solution, `[U, N]`; every row sums to the same."""


@dataclass(frozen=True)
class Ranked:
    """Pools in the order of their scores; every array is `[U, N]`.

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
        """Ranks of solutions.

        Args:
            scores: `[U, N]`; NaN is "no verdict", which ranks below every score.
            correct: `[U, N]`.
        """
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

    def quality(self, weights: Weights, held: Floats) -> Floats:
        """Expected share of right picks, `[U]`, ties shared evenly.

        Args:
            weights: The version, `[U, N]`.
            held: `[M + 1]` with `M` the sum of a row: entry `m` is the share of subsets that
                lie within the `m` lowest (`subsets`).
        """
        drawn = np.take_along_axis(weights, self.order, axis=1)
        upto = np.cumsum(drawn, axis=1)
        below = np.take_along_axis(upto - drawn, self.low, axis=1)
        upto = np.take_along_axis(upto, self.high, axis=1)
        share = (held[upto] - held[below]) / np.maximum(upto - below, 1)
        found: Floats = np.einsum("un,un,un->u", drawn, share, self.right, optimize=False)
        return found


def subsets(size: int, *, every_k: bool) -> Floats:
    """Share of the subsets of `size` items that lie within the `m` lowest, `[size + 1]`.

    Args:
        size: Items of the pool.
        every_k: Subsets of 1, 2, ... `size` items, each size weighing the same; else of all
            items alone, so that the best of the whole pool is taken.
    """
    within = np.arange(size + 1)
    if not every_k:
        return (within == size).astype(np.float64)
    taken = np.arange(size)
    left = np.maximum(within[:, None] - taken, 0)
    shares: Floats = np.cumprod(left / (size - taken), axis=1).mean(axis=1)
    return shares
