"""How well a score tells right from wrong solutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vilbench.metrics.bootstrap import Bootstrap, Floats, percentiles

POOLED_RESAMPLES = 500
"""Resamples of `pooled_auroc` over more than a thousand problems."""

_MANY_PROBLEMS = 1000


class Auroc(NamedTuple):
    """Area under the ROC curve: chance that a right solution outscores a wrong one.

    Ties count half. The value and its 95 % interval, clustered by problem, are None where
    right or wrong solutions are lacking.

    Attributes:
        value: In [0, 1]; 0.5 is chance.
        low: Lower end of the interval.
        high: Upper end.
        n_problems: Problems that it rests on.
        missing: Solutions left out because they have no score.
    """

    value: float | None
    low: float | None
    high: float | None
    n_problems: int
    missing: int


class _Pool(NamedTuple):
    """Scores of one problem's right and wrong solutions."""

    right: Floats
    wrong: Floats


def within_auroc(
    scores: Sequence[Sequence[float | None]],
    correct: Sequence[Sequence[bool]],
    bootstrap: Bootstrap,
) -> Auroc:
    """Mean over problems of the AUROC among the solutions of one problem.

    Problems without a scored right and a scored wrong solution are skipped. A resample
    averages over the others that it holds.

    Args:
        scores: A pool per problem, of any sizes; None is left out.
        correct: Which of the solutions are right, in the same shape.
        bootstrap: Resamples of these problems, the skipped ones included.

    Raises:
        ValueError: Shapes differ, or a score is NaN or infinite.
    """
    pools, missing = _pools(scores, correct, bootstrap)
    usable = np.array([bool(pool.right.size and pool.wrong.size) for pool in pools])
    if not usable.any():
        return Auroc(None, None, None, 0, missing)
    areas = np.array(
        [
            _wins(pool.right, pool.wrong).mean() if use else 0.0
            for pool, use in zip(pools, usable, strict=True)
        ]
    )
    held = bootstrap.counts @ usable.astype(np.float64)
    drawn = (bootstrap.counts @ areas)[held > 0] / held[held > 0]
    return _auroc(float(areas[usable].mean()), drawn, int(usable.sum()), missing)


def pooled_auroc(
    scores: Sequence[Sequence[float | None]],
    correct: Sequence[Sequence[bool]],
    bootstrap: Bootstrap,
) -> Auroc:
    """AUROC among the solutions of all problems together.

    It also rewards telling easy problems from hard ones, which no selection within a
    problem profits from. A resample is weighed exactly, at the cost of a matrix of problem
    pairs; over a thousand problems only the first `POOLED_RESAMPLES` resamples are used.

    Args:
        scores: A pool per problem, of any sizes; None is left out.
        correct: Which of the solutions are right, in the same shape.
        bootstrap: Resamples of these problems.

    Raises:
        ValueError: Shapes differ, or a score is NaN or infinite.
    """
    pools, missing = _pools(scores, correct, bootstrap)
    rights = np.array([pool.right.size for pool in pools], dtype=np.float64)
    wrongs = np.array([pool.wrong.size for pool in pools], dtype=np.float64)
    if not rights.any() or not wrongs.any():
        return Auroc(None, None, None, 0, missing)
    wins = _wins_by_problem(pools)
    counts = bootstrap.counts
    if bootstrap.n_problems > _MANY_PROBLEMS:
        counts = counts[:POOLED_RESAMPLES]
    pairs = (counts @ rights) * (counts @ wrongs)
    won = ((counts @ wins) * counts).sum(axis=1)
    value = float(wins.sum() / (rights.sum() * wrongs.sum()))
    scored = int(((rights + wrongs) > 0).sum())
    return _auroc(value, won[pairs > 0] / pairs[pairs > 0], scored, missing)


def _auroc(value: float, drawn: Floats, n_problems: int, missing: int) -> Auroc:
    if drawn.size == 0:
        return Auroc(value, None, None, n_problems, missing)
    low, high = percentiles(drawn)
    return Auroc(value, float(low), float(high), n_problems, missing)


def _pools(
    scores: Sequence[Sequence[float | None]],
    correct: Sequence[Sequence[bool]],
    bootstrap: Bootstrap,
) -> tuple[list[_Pool], int]:
    """Right and wrong scores of each problem, and the number of missing ones."""
    if not len(scores) == len(correct) == bootstrap.n_problems:
        raise ValueError(
            f"{len(scores)} pools of scores, {len(correct)} of verdicts and a bootstrap of "
            f"{bootstrap.n_problems} problems do not match"
        )
    pools = []
    missing = 0
    for row, (values, good) in enumerate(zip(scores, correct, strict=True)):
        if len(values) != len(good):
            raise ValueError(f"problem {row}: {len(values)} scores for {len(good)} solutions")
        scored = [(value, ok) for value, ok in zip(values, good, strict=True) if value is not None]
        missing += len(values) - len(scored)
        if not all(math.isfinite(value) for value, _ in scored):
            raise ValueError(f"problem {row}: a score is NaN or infinite")
        pools.append(
            _Pool(
                np.array([value for value, ok in scored if ok], dtype=np.float64),
                np.array([value for value, ok in scored if not ok], dtype=np.float64),
            )
        )
    return pools, missing


def _wins(right: Floats, wrong: Floats) -> Floats:
    """1 where a right score is above a wrong one, 0.5 where equal: `[rights, wrongs]`."""
    one, other = right[:, None], wrong[None, :]
    wins: Floats = (one > other) + 0.5 * (one == other)
    return wins


def _wins_by_problem(pools: Sequence[_Pool]) -> Floats:
    """Wins of the right solutions of problem `p` over the wrong ones of `q`, `[p, q]`."""
    wrong = np.concatenate([pool.wrong for pool in pools])
    owner = np.repeat(np.arange(len(pools)), [pool.wrong.size for pool in pools])
    return np.stack(
        [
            np.bincount(owner, _wins(pool.right, wrong).sum(axis=0), minlength=len(pools))
            for pool in pools
        ]
    )
