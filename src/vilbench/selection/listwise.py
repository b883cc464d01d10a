"""The loss that scores are learned by: how rarely a softmax over a pool would pick a right one.

For a problem with scores `s` of its `N` solutions the chance that a draw with the probabilities
`softmax(s)` is right is `sum over right exp(s) / sum over all exp(s)`: Best-of-N, made smooth.
The loss is the mean over problems of minus its logarithm. It compares solutions of one problem
alone, so that no score can profit from telling easy problems from hard ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vilbench.selection.curve import Bools, Floats


class Loss(NamedTuple):
    """A loss and its gradient by the scores, `[P, N]`."""

    value: float
    gradient: Floats


def listwise(scores: Floats, right: Bools) -> Loss:
    """The loss of scores `[P, N]`.

    Args:
        scores: A pool per problem, each with a right and a wrong solution.
        right: Which are right, in the same shape.

    Raises:
        ValueError: There is no pool, or one where nothing can be told apart.
    """
    if not len(right) or not contrasting(right).all():
        raise ValueError("pools are needed, each with a right and a wrong solution")
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    # A right one far below the best must not vanish: its logarithm is taken by itself.
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    good = np.exp(np.where(right, scores - best, -np.inf))
    every, held = raised.sum(axis=1, keepdims=True), good.sum(axis=1, keepdims=True)
    gap = np.log(every) + scores.max(axis=1, keepdims=True) - np.log(held) - best
    return Loss(float(gap.mean()), (raised / every - good / held) / len(scores))


def contrasting(right: Bools) -> Bools:
    """Which problems have a right and a wrong solution, `[P]`."""
    return np.asarray(right.any(axis=1) & ~right.all(axis=1))
