"""Paired comparisons of methods, and how much a sample of problems can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vilbench.metrics.bootstrap import Bootstrap, Floats

TIE_BREAKS = 101
"""Tie-breakings of `mcnemar`."""


class Comparison(NamedTuple):
    """Paired comparison of columns, each of shape `[n_columns]`.

    Attributes:
        delta: Mean of the differences.
        low: Lower end of the 95 % interval of the delta.
        high: Upper end.
        p_value: Two-sided p-value of "no difference", above 0.
    """

    delta: Floats
    low: Floats
    high: Floats
    p_value: Floats


def compare(a: ArrayLike, b: ArrayLike, bootstrap: Bootstrap) -> Comparison:
    """Compares columns of per-problem accuracies, problem by problem.

    The p-value is that of the exact McNemar test where both columns hold only 0 and 1
    (one certain pick per problem) and every problem stands for itself, else that of the paired
    bootstrap.

    Args:
        a: Accuracies, `[n_problems, n_columns]`.
        b: What they are compared with, in the same shape or as a single column.
        bootstrap: Resamples of these problems.

    Raises:
        ValueError: A shape is another, or a value is NaN or infinite.
    """
    delta, low, high = bootstrap.paired_interval(a, b)
    p_value = bootstrap.paired_p_value(a, b)
    if bootstrap.n_clusters < bootstrap.n_problems:
        return Comparison(delta, low, high, p_value)
    one = np.asarray(a, dtype=np.float64)
    other = np.broadcast_to(np.asarray(b, dtype=np.float64), one.shape)
    binary = (np.isin(one, (0.0, 1.0)) & np.isin(other, (0.0, 1.0))).all(axis=0)
    for column in np.flatnonzero(binary):
        gained = int((one[:, column] > other[:, column]).sum())
        lost = int((one[:, column] < other[:, column]).sum())
        p_value[column] = exact_mcnemar(gained, lost)
    return Comparison(delta, low, high, p_value)


def exact_mcnemar(b: int, c: int) -> float:
    """Two-sided p-value of the exact McNemar test.

    Args:
        b: Problems that only the first method got right.
        c: Problems that only the second one got right.

    Raises:
        ValueError: A count is negative.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts cannot be negative: {b} and {c}")
    # The binomial tail itself: `scipy.stats.binomtest` is the same number, but importing
    # `scipy.stats` takes a second.
    from scipy.special import bdtr

    return min(1.0, 2.0 * float(bdtr(min(b, c), b + c, 0.5)))


def mcnemar(a: ArrayLike, b: ArrayLike, seed: int = 0) -> float:
    """Two-sided p-value of the exact McNemar test of two methods that pick one solution.

    A fraction in a column is a tie between right and wrong picks. Ties are broken at random
    `TIE_BREAKS` times, for each method by itself, and the p-value is the median over them;
    without ties it is that of the one test.

    Args:
        a: Chances that a method's pick is right, `[n_problems]`.
        b: Those of another method on the same problems.
        seed: Seed of the tie-breaking.

    Raises:
        ValueError: Shapes differ.
    """
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"cannot pair columns of shapes {one.shape} and {other.shape}")
    drawn = np.random.default_rng(seed).random((2, TIE_BREAKS, len(one)))
    first, second = drawn[0] < one, drawn[1] < other
    gained = (first & ~second).sum(axis=1)
    lost = (second & ~first).sum(axis=1)
    tested = {
        pair: exact_mcnemar(*pair) for pair in zip(gained.tolist(), lost.tolist(), strict=True)
    }
    return float(
        np.median([tested[pair] for pair in zip(gained.tolist(), lost.tolist(), strict=True)])
    )


def minimal_detectable_delta(
    differences: Sequence[float],
    *,
    n: int | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    clusters: Sequence[int] | NDArray[np.intp] | None = None,
) -> float | None:
    """Smallest mean of paired differences that a two-sided test finds with this power.

    `(z(1 - alpha / 2) + z(power)) * s / sqrt(n)` with the standard deviation `s` of the
    differences: the normal approximation. Where problems form clusters, the error of the mean
    is that of sums over clusters. None where they show no spread (fewer than two, or all equal).

    Args:
        differences: Per-problem differences, which tell the spread.
        n: Problems of the test that is planned; those at hand by default.
        power: Probability that a difference of this size is found.
        alpha: Level of the test.
        clusters: Cluster of each problem, as for `Bootstrap`.

    Raises:
        ValueError: `n`, `power` or `alpha` is out of range, or a difference is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a difference is NaN or infinite")
    problems = len(values) if n is None else n
    if not (0 < power < 1 and 0 < alpha < 1) or (n is not None and n < 1):
        raise ValueError(f"unusable plan: n={n}, power={power}, alpha={alpha}")
    given = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    _, cluster = np.unique(given, return_inverse=True)
    units = int(cluster.max(initial=-1)) + 1
    if units < 2 or values.min() == values.max():
        return None
    from scipy.special import ndtri

    quantiles = float(ndtri(1 - alpha / 2)) + float(ndtri(power))
    summed = np.bincount(cluster, weights=values - values.mean())
    spread = math.sqrt(float((summed**2).sum()) / len(values) * units / (units - 1))
    return quantiles * spread / math.sqrt(problems)


def recovered_share(best_of_n: float, cot: float, oracle: float) -> float | None:
    """How much of the way from `cot` to `oracle` a selection goes; 0 none, 1 all of it.

    Negative for a selection worse than `cot`. None where there is no way to go.
    """
    if math.isclose(oracle, cot, rel_tol=0, abs_tol=1e-12):
        return None
    return (best_of_n - cot) / (oracle - cot)
