"""Right or wrong by a threshold: F1 of both kinds, and the threshold that suits them best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vilbench.metrics.bootstrap import Bootstrap, Floats, percentiles


class MacroF1(NamedTuple):
    """Mean of the F1 of "right" and the F1 of "wrong", as VisualProcessBench has it.

    The interval is a 95 % one, clustered by problem. An F1 without anything to find and
    anything found is 0.

    Attributes:
        value: In [0, 1].
        low: Lower end of the interval.
        high: Upper end.
        right: F1 of "right".
        wrong: F1 of "wrong".
    """

    value: float
    low: float
    high: float
    right: float
    wrong: float


class WeightedF1(NamedTuple):
    """Mean of the macro-F1 of parts, weighed by their steps, with its 95 % interval."""

    value: float
    low: float
    high: float


class Threshold(NamedTuple):
    """A threshold, and the macro-F1 that it reaches where it was chosen."""

    value: float
    macro_f1: float


class Calls:
    """Steps called right, those that score at least a threshold, or wrong.

    A step without a score is called neither: it is missed by the F1 of its kind.

    Args:
        scores: A pool per problem, of any sizes.
        correct: Which of the steps are right, in the same shape.
        threshold: On the scale of the scores; from other problems than these.
    """

    def __init__(
        self,
        scores: Sequence[Sequence[float | None]],
        correct: Sequence[Sequence[bool]],
        threshold: float,
    ) -> None:
        # By problem: right ones, called right, rightly; wrong ones, called wrong, rightly.
        self._counts = np.zeros((len(scores), 6))
        for row, values, good in zip(self._counts, scores, correct, strict=True):
            for value, ok in zip(values, good, strict=True):
                row[0 if ok else 3] += 1
                if value is not None:
                    called = value >= threshold
                    row[1 if called else 4] += 1
                    if called == ok:
                        row[2 if called else 5] += 1

    def macro_f1(
        self, bootstrap: Bootstrap, places: NDArray[np.intp] | None = None
    ) -> MacroF1 | None:
        """Macro-F1 pooled over the steps of all problems, None where there is no step.

        Args:
            bootstrap: Resamples of these problems.
            places: The problems; all by default.
        """
        total = self._chosen(places).sum(axis=0)
        if not total[0] + total[3]:
            return None
        right, wrong = _f1(total[:3]), _f1(total[3:])
        low, high = percentiles(self.drawn(bootstrap, places))
        return MacroF1(
            float((right + wrong) / 2), float(low), float(high), float(right), float(wrong)
        )

    def drawn(self, bootstrap: Bootstrap, places: NDArray[np.intp] | None = None) -> Floats:
        """Pooled macro-F1 of every resample, `[n_resamples]`."""
        return _macro((bootstrap.counts @ self._chosen(places)).T)

    def weighted(
        self, bootstrap: Bootstrap, parts: Sequence[NDArray[np.intp]]
    ) -> WeightedF1 | None:
        """Mean of the macro-F1 of parts, weighed by their steps; None where there is no step.

        Args:
            bootstrap: Resamples of all problems.
            parts: Places of each part.
        """
        totals = np.array([self._counts[part].sum(axis=0) for part in parts]).T
        if not totals.size or not totals[[0, 3]].sum():
            return None
        drawn = np.array([(bootstrap.counts[:, part] @ self._counts[part]).T for part in parts])
        low, high = percentiles(_by_steps(np.moveaxis(drawn, 0, 1)))
        return WeightedF1(float(_by_steps(totals[..., None])[0]), float(low), float(high))

    def _chosen(self, places: NDArray[np.intp] | None) -> Floats:
        return self._counts if places is None else self._counts[places]


def best_threshold(scores: Sequence[float | None], correct: Sequence[bool]) -> Threshold | None:
    """The threshold of the best macro-F1, halfway between two scores; the lowest of equals.

    None without a score. Only for problems that are not reported.

    Args:
        scores: Scores of steps; None as for `Calls`.
        correct: Which of the steps are right.
    """
    good = np.array(correct, dtype=np.bool_)
    given = np.array([value is not None for value in scores], dtype=np.bool_)
    values = np.array([value for value in scores if value is not None], dtype=np.float64)
    if not values.size:
        return None
    levels, level = np.unique(values, return_inverse=True)
    right = np.bincount(level[good[given]], minlength=len(levels))
    wrong = np.bincount(level[~good[given]], minlength=len(levels))
    # Called wrong: the `i` lowest levels, for every `i`; at last all of them.
    right_below = np.concatenate([[0], np.cumsum(right)])
    wrong_below = np.concatenate([[0], np.cumsum(wrong)])
    called_wrong = right_below + wrong_below
    called_right = values.size - called_wrong
    f1 = _f1([np.full(len(levels) + 1, good.sum()), called_right, right.sum() - right_below])
    f1 = f1 + _f1([np.full(len(levels) + 1, (~good).sum()), called_wrong, wrong_below])
    best = int(np.argmax(np.round(f1, 12)))
    ends = np.concatenate(
        [[levels[0]], (levels[:-1] + levels[1:]) / 2, [np.nextafter(levels[-1], np.inf)]]
    )
    return Threshold(float(ends[best]), float(f1[best] / 2))


def _macro(counts: Floats) -> Floats:
    """Macro-F1 from the six counts, `[6, ...]`."""
    macro: Floats = (_f1(counts[:3]) + _f1(counts[3:])) / 2
    return macro


def _by_steps(counts: Floats) -> Floats:
    """Macro-F1 of parts weighed by their steps, from `[6, n_parts, n]`."""
    steps = counts[0] + counts[3]
    total = steps.sum(axis=0)
    weighed: Floats = np.divide(
        (_macro(counts) * steps).sum(axis=0), total, out=np.zeros_like(total), where=total > 0
    )
    return weighed


def _f1(counts: ArrayLike) -> Floats:
    """F1 from the numbers to find, found, and found rightly; 0 where there is neither."""
    wanted, found, hits = np.asarray(counts, dtype=np.float64)
    total = wanted + found
    result: Floats = np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
    return result
