"""Thresholds of the best macro-F1 for many parts of the same steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics.bootstrap import Floats

Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


class Thresholds:
    """Values of steps, sorted once.

    Args:
        values: `[T]`; NaN is no verdict, which counts as missed.
        right: Which of the steps are right, `[T]`.
        owner: Problem of each, `[T]`.
        n_problems: Number of the problems.
    """

    def __init__(self, values: Floats, right: Bools, owner: Places, n_problems: int) -> None:
        self._n = n_problems
        known = ~np.isnan(values)
        self._wanted = np.bincount(owner[right], minlength=n_problems).astype(np.float64)
        self._unwanted = np.bincount(owner[~right], minlength=n_problems).astype(np.float64)
        order = np.argsort(values[known], kind="stable")
        self._values = values[known][order]
        self._right = right[known][order]
        self._owner = owner[known][order]
        self._ends = np.flatnonzero(np.diff(self._values, append=np.inf) > 0)

    def best(self, among: Bools) -> float | None:
        """The threshold of the best macro-F1 over the steps of some problems.

        It is as `best_threshold` has it: halfway between two of these problems' values, the
        lowest of equals. None where they have no value.

        Args:
            among: Which problems, `[P]`.
        """
        rows = among[self._owner]
        if not rows.any():
            return None
        right = np.cumsum(rows & self._right)[self._ends]
        wrong = np.cumsum(rows & ~self._right)[self._ends]
        total = np.concatenate([[0], right + wrong])
        kept = np.flatnonzero(np.diff(total))
        levels = self._values[self._ends[kept]]
        right_below = np.concatenate([[0], right[kept]])
        wrong_below = np.concatenate([[0], wrong[kept]])
        called_wrong = right_below + wrong_below
        all_right, all_wrong = right_below[-1], wrong_below[-1]
        scores = f1(
            self._wanted[among].sum(),
            all_right + all_wrong - called_wrong,
            all_right - right_below,
        ) + f1(self._unwanted[among].sum(), called_wrong, wrong_below)
        best = int(np.argmax(np.round(scores, 12)))
        if best == 0:
            return float(levels[0])
        if best == len(levels):
            return float(np.nextafter(levels[-1], np.inf))
        return float((levels[best - 1] + levels[best]) / 2)

    def counts(self, threshold: float) -> Floats:
        """Wanted, called and rightly called, of right and of wrong steps, `[P, 6]`."""
        called = self._values >= threshold
        tables = [
            np.bincount(self._owner[rows], minlength=self._n).astype(np.float64)
            for rows in (called, called & self._right, ~called, ~called & ~self._right)
        ]
        return np.stack(
            [self._wanted, tables[0], tables[1], self._unwanted, tables[2], tables[3]], axis=1
        )


def f1(wanted: Floats | float, called: Floats, hits: Floats) -> Floats:
    """F1, 0 where there is nothing to find and nothing found."""
    total = np.asarray(wanted + called, dtype=np.float64)
    result: Floats = np.divide(2.0 * hits, total, out=np.zeros_like(total), where=total > 0)
    return result


def macro_f1(counts: Floats) -> Floats:
    """Macro-F1 of counts `[..., 6]`, as `Thresholds.counts` gives them."""
    return (f1(*np.moveaxis(counts[..., :3], -1, 0)) + f1(*np.moveaxis(counts[..., 3:], -1, 0))) / 2
