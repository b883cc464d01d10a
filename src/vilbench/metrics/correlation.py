"""Rank correlations within problems: what a score follows, and how alike two scores rank."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics.bootstrap import Bootstrap, Floats, percentiles

Places = NDArray[np.intp]

_FLIPS = 2000
_ZERO = 1e-12
_CELLS = 4_000_000
"""Most pairs of solutions that are compared at a time."""


class PartialRank(NamedTuple):
    """A partial rank correlation with its 95 % interval, clustered by problem.

    Attributes:
        rho: In [-1, 1]; None where one of the two never varies.
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided, of "it is 0".
        n_problems: Problems where both vary.
        n: Rows that are compared: those of strata with two or more.
    """

    rho: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n_problems: int
    n: int


def ranks_within(values: Floats, stratum: Places) -> Floats:
    """Ranks within strata, over the size of the stratum and around 0: in (-0.5, 0.5).

    Equal values share the mean of their ranks.

    Args:
        values: `[M]`.
        stratum: Of each, `[M]`, from 0.
    """
    order = np.lexsort((values, stratum))
    ordered, kind = values[order], stratum[order]
    starts = np.ones(len(values), dtype=np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]) | (kind[1:] != kind[:-1])
    tied = np.cumsum(starts) - 1
    size = np.bincount(tied)
    first = np.flatnonzero(starts)
    middle = first + (size - 1) / 2
    sizes = np.bincount(stratum)
    before = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    ranks = np.empty(len(values))
    ranks[order] = middle[tied]
    inner: Floats = (ranks - before[stratum] + 0.5) / sizes[stratum] - 0.5
    return inner


def partial_rank(
    x: Floats, y: Floats, owner: Places, given: Places, bootstrap: Bootstrap, seed: int = 0
) -> PartialRank:
    """Spearman's correlation of `x` and `y` within problems, given a label.

    Both are ranked among the rows of one problem with the same label, so that neither the
    difficulty of a problem nor the label can make them agree: for a label of few kinds this
    is the partial correlation of ranks with a slope for each problem. Products and squares
    of the ranks are summed over all of these strata.

    The p-value flips the sign of whole problems at random: under "no relation" the sum of
    products of a problem is as likely negative as positive, however much its rows depend on
    each other. With `m` problems it is never below `2 ** (1 - m)`.

    Args:
        x: `[M]`.
        y: `[M]`.
        owner: Problem of each, `[M]`, below the bootstrap's number.
        given: Label of each, `[M]`, from 0.
        bootstrap: Resamples of the problems.
        seed: Seed of the flips.
    """
    if not x.size:
        return PartialRank(None, None, None, None, 0, 0)
    kinds = int(given.max()) + 1
    _, stratum = np.unique(owner * kinds + given, return_inverse=True)
    one, other = ranks_within(x, stratum), ranks_within(y, stratum)
    varying = (np.bincount(owner, weights=ranks**2) > _ZERO for ranks in (one, other))
    telling = int(np.logical_and(*varying).sum())
    products, squares, other_squares = (
        np.bincount(bootstrap.cluster[owner], weights, bootstrap.n_clusters).astype(np.float64)
        for weights in (one * other, one * one, other * other)
    )
    n = int((np.bincount(stratum)[stratum] > 1).sum())
    if squares.sum() < _ZERO or other_squares.sum() < _ZERO:
        return PartialRank(None, None, None, None, telling, n)
    rho = products.sum() / np.sqrt(squares.sum() * other_squares.sum())
    drawn = bootstrap.of_clusters().counts @ np.stack([products, squares, other_squares], axis=1)
    usable = (drawn[:, 1] > _ZERO) & (drawn[:, 2] > _ZERO)
    low, high = percentiles(drawn[usable, 0] / np.sqrt(drawn[usable, 1] * drawn[usable, 2]))
    return PartialRank(
        float(rho), float(low), float(high), flipped_p_value(products, seed), telling, n
    )


def flipped_p_value(sums: Floats, seed: int = 0) -> float:
    """Two-sided p-value of "each problem's sum is as likely negative as positive".

    Args:
        sums: A sum per problem, `[P]`.
        seed: Seed of the flips.
    """
    telling = sums[np.abs(sums) > _ZERO]
    if not telling.size:
        return 1.0
    signs = np.random.default_rng(seed).integers(0, 2, size=(_FLIPS, telling.size)) * 2.0 - 1.0
    reached = int((np.abs(signs @ telling) >= abs(telling.sum()) - _ZERO).sum())
    return float(min(1.0, max((1 + reached) / (1 + _FLIPS), 2.0 ** (1 - telling.size))))


class WithinRanks(NamedTuple):
    """Rank correlations of two scores for each problem, `[P]`; NaN where one never varies.

    Attributes:
        kendall: Kendall's tau-b.
        spearman: Spearman's rho, ties ranked by their mean.
    """

    kendall: Floats
    spearman: Floats


def within_ranks(a: Floats, b: Floats) -> WithinRanks:
    """Kendall's tau-b and Spearman's rho of two scores in each problem.

    Only solutions that have both scores are compared.

    Args:
        a: Scores, `[P, N]`; NaN is no score.
        b: The same of another scorer.

    Raises:
        ValueError: Shapes differ.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"cannot compare scores of shapes {a.shape} and {b.shape}")
    problems, size = a.shape
    kendall, spearman = np.full(problems, np.nan), np.full(problems, np.nan)
    width = max(1, _CELLS // max(1, size * size))
    for start in range(0, problems, width):
        part = slice(start, start + width)
        both = ~(np.isnan(a[part]) | np.isnan(b[part]))
        one, other = (_signs(values[part], both) for values in (a, b))
        kendall[part] = _correlation(one.reshape(len(one), -1), other.reshape(len(other), -1))
        # Half the sum of a solution's signs is its rank, around the middle one.
        spearman[part] = _correlation(one.sum(axis=2), other.sum(axis=2))
    return WithinRanks(kendall, spearman)


def _signs(values: Floats, both: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Whether one solution scores above (1) or below (-1) another, `[P, N, N]`."""
    known = np.where(both, values, 0.0)
    signs = np.sign(known[:, :, None] - known[:, None, :]).astype(np.float32)
    known_pairs = both[:, :, None] & both[:, None, :]
    return np.where(known_pairs, signs, np.float32(0))


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> Floats:
    products, squares, other_squares = (
        np.einsum("pi,pi->p", first, second).astype(np.float64)
        for first, second in ((one, other), (one, one), (other, other))
    )
    below = np.sqrt(squares * other_squares)
    found: Floats = np.divide(products, below, out=np.full_like(below, np.nan), where=below > 0)
    return found
