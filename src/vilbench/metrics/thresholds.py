"""Thresholds of the best macro-F1, for all steps or for many parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vilbench.metrics.bootstrap import Floats
from vilbench.metrics.f1 import Bools, Steps, f1


class Threshold(NamedTuple):
    """A threshold, and the macro-F1 that it reaches where it was chosen."""

    value: float
    macro_f1: float


class Thresholds:
    """Values of steps, sorted once.

    Args:
        steps: Those of all problems; NaN is no verdict, which counts as missed.
        n_problems: Number of the problems.
    """

    def __init__(self, steps: Steps, n_problems: int) -> None:
        self._n, self._steps = n_problems, steps
        values, right, owner = steps
        known = ~np.isnan(values)
        self._wanted = np.bincount(owner[right], minlength=n_problems).astype(np.float64)
        self._unwanted = np.bincount(owner[~right], minlength=n_problems).astype(np.float64)
        order = np.argsort(values[known], kind="stable")
        self._values = values[known][order]
        self._right = right[known][order]
        self._owner = owner[known][order]
        self._ends = np.flatnonzero(np.diff(self._values, append=np.inf) > 0)

    def best(self, among: Bools) -> Threshold | None:
        """The threshold of the best macro-F1 over the steps of some problems.

        It is halfway between two of these problems' values, the lowest of equals. None where
        they have no value. Only for problems that are not reported.

        Args:
            among: Which problems, `[P]`.
        """
        rows = among[self._owner]
        if not rows.any():
            return None
        # Called wrong: the `i` lowest levels, for every `i`; at last all of them.
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
        ends = np.concatenate(
            [[levels[0]], (levels[:-1] + levels[1:]) / 2, [np.nextafter(levels[-1], np.inf)]]
        )
        return Threshold(float(ends[best]), float(scores[best] / 2))

    def counts(self, threshold: float) -> Floats:
        """What a threshold calls right and wrong, `[P, 6]`; see `Steps.called`."""
        return self._steps.called(threshold, self._n)


def best_threshold(scores: Sequence[float | None], correct: Sequence[bool]) -> Threshold | None:
    """The threshold of the best macro-F1; see `Thresholds.best`. None without a score.

    Args:
        scores: Scores of steps; None is no verdict.
        correct: Which of the steps are right.
    """
    return Thresholds(Steps.of([scores], [correct]), 1).best(np.array([True]))
