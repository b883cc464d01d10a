"""Best-of-k for every k from one pool of N solutions, exact about ties.

With the pool sorted by score, the `m` lowest solutions hold `C(m, k)` of the `C(N, k)`
subsets of size `k`. A group of tied solutions above `m` others, `t` in number, so has the
best of a random subset with probability `(C(m + t, k) - C(m, k)) / C(N, k)`, which its
members share evenly. An order within the groups, wrong above right or right above wrong,
gives the lowest and the highest accuracy that tie-breaking can lead to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vilbench.selection.curve import (
    Curve,
    Floats,
    curve,
    pools_of_bools,
    pools_of_floats,
)


def best_of(scores: Sequence[Sequence[float | None]], correct: Sequence[Sequence[bool]]) -> Curve:
    """Accuracy of the best-scored of `k` solutions.

    A solution without a verdict (None) ranks below every score. Where a subset holds no
    score at all the choice is a tie of all its members.

    Args:
        scores: A pool per problem, all of the same size `N`; equal floats are ties.
        correct: Which of the solutions are right, in the same shape.

    Raises:
        ValueError: There is no pool, shapes differ, or a score is NaN or infinite.
    """
    right = pools_of_bools(correct)
    values = pools_of_floats(scores, right, missing=-np.inf)
    problems, size = right.shape
    order = np.argsort(values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    right = np.take_along_axis(right, order, axis=1)

    # Groups of tied solutions, those of all pools in one list: the pool, the half-open
    # range of ranks, and the number of right ones.
    differs = values[:, 1:] != values[:, :-1]
    edge = np.ones((problems, 1), dtype=np.bool_)
    row, start = np.nonzero(np.concatenate([edge, differs], axis=1))
    end = np.nonzero(np.concatenate([differs, edge], axis=1))[1] + 1
    sums = np.concatenate([np.zeros((problems, 1), np.intp), np.cumsum(right, axis=1)], axis=1)
    rights = sums[row, end] - sums[row, start]

    # All four quantities are sums over groups of `weight * (held[high] - held[low])`:
    # collecting the weights of the rows of `held` leaves one product for all `k`.
    weights = np.zeros((4, problems, size + 1))
    for into, low, high, weight in (
        (weights[0], start, end, rights / (end - start)),
        (weights[1], start, start + rights, np.ones(len(row))),
        (weights[2], end - rights, end, np.ones(len(row))),
        # Pascal's rule: one certain solution with `k - 1` lower ones, so not a tie.
        (weights[3], start, start + 1, end - start),
    ):
        np.add.at(into, (row, high), weight)
        np.subtract.at(into, (row, low), weight)
    accuracy, lowest, highest, alone = weights @ _held(size)
    return curve(accuracy, lowest, highest, 1.0 - alone)


def random(correct: Sequence[Sequence[bool]]) -> Curve:
    """Accuracy of a random choice: the share of right solutions, whatever `k`.

    It has no scores and so no ties: lowest and highest are the accuracy itself.

    Raises:
        ValueError: There is no pool, or sizes differ.
    """
    right = pools_of_bools(correct)
    share = np.repeat(right.mean(axis=1, keepdims=True), right.shape[1], axis=1)
    return curve(share, share, share, np.zeros(right.shape))


def oracle(correct: Sequence[Sequence[bool]]) -> Curve:
    """Accuracy of a choice that always finds a right solution: pass@k.

    `1 - C(N - c, k) / C(N, k)` with `c` right ones among `N`; no ties.

    Raises:
        ValueError: There is no pool, or sizes differ.
    """
    right = pools_of_bools(correct)
    found = 1.0 - _held(right.shape[1])[(~right).sum(axis=1)]
    return curve(found, found, found, np.zeros(right.shape))


def pick(scores: Sequence[float | None], tie_seed: int) -> int | None:
    """Index of the best-scored solution of one pool, None where none has a score.

    Args:
        scores: Scores of the solutions; None never wins.
        tie_seed: Seed of the draw among equal best scores.

    Raises:
        ValueError: A score is NaN or infinite.
    """
    present = [score for score in scores if score is not None]
    if not all(math.isfinite(score) for score in present):
        raise ValueError("a score is NaN or infinite")
    if not present:
        return None
    best = max(present)
    tied = [index for index, score in enumerate(scores) if score == best]
    return tied[int(np.random.default_rng(tie_seed).integers(len(tied)))]


def _held(size: int) -> Floats:
    """Share of the `k`-subsets within `m` of `size` items, `[m, k - 1]`: C(m,k) / C(size,k).

    A running product over `k` of `(m - j) / (size - j)`: no factorial, no overflow.
    """
    taken = np.arange(size)
    left = np.maximum(np.arange(size + 1)[:, None] - taken, 0)
    return np.cumprod(left / (size - taken), axis=1)
