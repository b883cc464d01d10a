"""The first wrong step of a solution: its prediction, and the F1 of ProcessBench.

A scorer points at the first step whose value is below a threshold, or at none. ProcessBench
(arXiv 2412.06559, section 3) takes the share of solutions with a wrong step whose first wrong step
is found, and the share of solutions without one where none is found, and reports their harmonic
mean: calling everything right, or everything wrong, is worth 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics.bootstrap import Bootstrap, Floats, percentiles
from vilbench.problems.processbench import NONE_WRONG

_ROUNDED = 12


class Located(NamedTuple):
    """Values of a solution's steps, and where its first wrong step is (-1 for none)."""

    values: Sequence[float | None]
    first_error: int


class FirstErrorF1(NamedTuple):
    """How well first wrong steps are found.

    Attributes:
        value: Harmonic mean of the two accuracies; None where a kind of solution is lacking.
        low: Lower end of the 95 % interval, clustered by problem.
        high: Upper end.
        erroneous: Accuracy on solutions with a wrong step; None without any.
        correct: Accuracy on those without; None without any.
        n_erroneous: Solutions with a wrong step.
        n_correct: Those without.
    """

    value: float | None
    low: float | None
    high: float | None
    erroneous: float | None
    correct: float | None
    n_erroneous: int
    n_correct: int


class MeanF1(NamedTuple):
    """Mean of the F1 of parts, with its 95 % interval, clustered by problem.

    There is no interval where every resample lacks a kind of solution in one of the parts.
    """

    value: float
    low: float | None
    high: float | None


class BestCut(NamedTuple):
    """A threshold, and the F1 that it reaches where it was chosen."""

    value: float
    f1: float


def predicted(values: Sequence[float | None], threshold: float) -> int | None:
    """Index of the first step below the threshold, -1 for none.

    None where a step without a verdict stands before it: nothing is predicted then, which
    counts as a miss whatever is true.
    """
    for place, value in enumerate(values):
        if value is None:
            return None
        if value < threshold:
            return place
    return NONE_WRONG


class FirstErrors:
    """Hits and misses by problem, for F1 over any part of the problems.

    Args:
        pools: The solutions of each problem; those whose first wrong step is not settled are
            not among them.
        threshold: On the scale of the values; from other problems than these.
    """

    def __init__(self, pools: Sequence[Sequence[Located]], threshold: float) -> None:
        # By problem: with a wrong step, of those hit; without, of those hit.
        self._counts = np.zeros((len(pools), 4))
        for row, pool in zip(self._counts, pools, strict=True):
            for one in pool:
                kind = 2 if one.first_error == NONE_WRONG else 0
                row[kind] += 1
                row[kind + 1] += predicted(one.values, threshold) == one.first_error

    def f1(self, bootstrap: Bootstrap, places: NDArray[np.intp] | None = None) -> FirstErrorF1:
        """F1 over the solutions of some problems; all of them by default."""
        counts = self._chosen(places)
        total = counts.sum(axis=0)
        value = _harmonic(total)
        drawn = self.drawn(bootstrap, places)
        usable = drawn[np.isfinite(drawn)]
        low, high = percentiles(usable) if np.isfinite(value) and usable.size else (None, None)
        return FirstErrorF1(
            value=_or_none(value),
            low=None if low is None else float(low),
            high=None if high is None else float(high),
            erroneous=float(total[1] / total[0]) if total[0] else None,
            correct=float(total[3] / total[2]) if total[2] else None,
            n_erroneous=int(total[0]),
            n_correct=int(total[2]),
        )

    def mean(self, bootstrap: Bootstrap, parts: Sequence[NDArray[np.intp]]) -> MeanF1 | None:
        """Mean of the F1 of parts; those that lack a kind are left out, None without any other.

        Args:
            bootstrap: Resamples of all problems.
            parts: Places of each part.
        """
        values = [_harmonic(self._counts[part].sum(axis=0)) for part in parts]
        usable = [part for part, value in zip(parts, values, strict=True) if np.isfinite(value)]
        if not usable:
            return None
        drawn = np.array(
            [_harmonic((bootstrap.counts[:, part] @ self._counts[part]).T) for part in usable]
        )
        means = drawn.mean(axis=0)
        complete = means[np.isfinite(means)]
        if not complete.size:
            return MeanF1(float(np.nanmean(values)), None, None)
        low, high = percentiles(complete)
        return MeanF1(float(np.nanmean(values)), float(low), float(high))

    def drawn(self, bootstrap: Bootstrap, places: NDArray[np.intp] | None = None) -> Floats:
        """F1 of every resample, `[n_resamples]`; NaN where it lacks a kind of solution."""
        return _harmonic((bootstrap.counts @ self._chosen(places)).T)

    def _chosen(self, places: NDArray[np.intp] | None) -> Floats:
        return self._counts if places is None else self._counts[places]


def best_cut(solutions: Sequence[Located]) -> BestCut | None:
    """The threshold of the best F1, halfway between two values; the lowest of equals.

    None where a kind of solution is lacking, or there is no value. Only for problems that are
    not reported.

    A solution with its first wrong step at `e` is hit by the thresholds above the value of `e`
    that are not above any value before it; one without a wrong step by those that are not above
    any value.
    """
    levels = np.unique([v for one in solutions for v in one.values if v is not None])
    wrong = [one for one in solutions if one.first_error != NONE_WRONG]
    if not levels.size or not wrong or len(wrong) == len(solutions):
        return None
    cuts = np.concatenate(
        [[levels[0]], (levels[:-1] + levels[1:]) / 2, [np.nextafter(levels[-1], np.inf)]]
    )
    hits = np.zeros((2, len(cuts) + 1))
    for values, first in solutions:
        kind = int(first == NONE_WRONG)
        until = len(values) if kind else first + 1
        seen = [value for value in values[:until] if value is not None]
        if len(seen) < until:
            continue
        before = min(seen if kind else seen[:-1], default=np.inf)
        start = 0 if kind else int(np.searchsorted(cuts, seen[-1], side="right"))
        stop = int(np.searchsorted(cuts, before, side="right"))
        if start < stop:
            hits[kind, start] += 1
            hits[kind, stop] -= 1
    found = np.cumsum(hits, axis=1)[:, :-1]
    sizes = np.broadcast_to([[len(wrong)], [len(solutions) - len(wrong)]], found.shape)
    f1 = _harmonic(np.stack([sizes[0], found[0], sizes[1], found[1]]))
    best = int(np.argmax(np.round(f1, _ROUNDED)))
    return BestCut(float(cuts[best]), float(f1[best]))


def _harmonic(counts: Floats) -> Floats:
    """Harmonic mean of the two shares, from `[4, ...]`; NaN where a kind is lacking."""
    wrong, wrong_hit, right, right_hit = np.asarray(counts, dtype=np.float64)
    both = (wrong > 0) & (right > 0)
    a = np.divide(wrong_hit, wrong, out=np.zeros_like(wrong), where=both)
    b = np.divide(right_hit, right, out=np.zeros_like(wrong), where=both)
    total = a + b
    mean = np.divide(2 * a * b, total, out=np.zeros_like(total), where=total > 0)
    result: Floats = np.where(both, mean, np.nan)
    return result


def _or_none(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None
