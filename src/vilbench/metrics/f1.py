"""Right or wrong by a threshold: F1 of both kinds, pooled over the steps of all problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics.bootstrap import Bootstrap, Floats, percentiles

Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


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


class Steps(NamedTuple):
    """The steps of all problems, flat: `[T]` each.

    Attributes:
        values: NaN is no verdict.
        right: Which of them are right.
        owner: Problem of each.
    """

    values: Floats
    right: Bools
    owner: Places

    @classmethod
    def of(
        cls, scores: Sequence[Sequence[float | None]], correct: Sequence[Sequence[bool]]
    ) -> Steps:
        """Those of a pool per problem, of any sizes; both in the same shape.

        Raises:
            ValueError: Shapes differ.
        """
        if [*map(len, scores)] != [*map(len, correct)]:
            raise ValueError("scores and verdicts are of different shapes")
        return cls(
            np.array([value for pool in scores for value in pool], dtype=np.float64),
            np.array([one for pool in correct for one in pool], dtype=np.bool_),
            np.repeat(np.arange(len(scores)), [*map(len, scores)]),
        )

    def called(self, threshold: float, n_problems: int) -> Floats:
        """By problem, `[P, 6]`: right ones, called right, rightly; the same of wrong ones.

        Steps are called right that score at least the threshold. One without a verdict is
        called neither: it is missed by the F1 of its kind.
        """
        above, below = self.values >= threshold, self.values < threshold
        kinds = (self.right, above, above & self.right, ~self.right, below, below & ~self.right)
        counts = [np.bincount(self.owner[kind], minlength=n_problems) for kind in kinds]
        return np.stack(counts, axis=1).astype(np.float64)


class Calls:
    """Steps called right, those that score at least a threshold, or wrong.

    Args:
        scores: A pool per problem, of any sizes; None as for `Steps.called`.
        correct: Which of the steps are right, in the same shape.
        threshold: On the scale of the scores; from other problems than these.

    Raises:
        ValueError: Shapes differ.
    """

    def __init__(
        self,
        scores: Sequence[Sequence[float | None]],
        correct: Sequence[Sequence[bool]],
        threshold: float,
    ) -> None:
        self._counts = Steps.of(scores, correct).called(threshold, len(scores))

    def macro_f1(self, bootstrap: Bootstrap, places: Places | None = None) -> MacroF1 | None:
        """Macro-F1 pooled over the steps of all problems, None where there is no step.

        Args:
            bootstrap: Resamples of these problems.
            places: The problems; all by default.
        """
        total = self._chosen(places).sum(axis=0)
        if not _steps(total):
            return None
        low, high = percentiles(self.drawn(bootstrap, places))
        return MacroF1(
            float(macro_f1(total)),
            float(low),
            float(high),
            float(f1(*total[:3])),
            float(f1(*total[3:])),
        )

    def drawn(self, bootstrap: Bootstrap, places: Places | None = None) -> Floats:
        """Pooled macro-F1 of every resample, `[n_resamples]`."""
        return macro_f1(bootstrap.counts @ self._chosen(places))

    def weighted(self, bootstrap: Bootstrap, parts: Sequence[Places]) -> WeightedF1 | None:
        """Mean of the macro-F1 of parts, weighed by their steps; None where there is no step.

        Args:
            bootstrap: Resamples of all problems.
            parts: Places of each part.
        """
        totals = np.array([self._counts[part].sum(axis=0) for part in parts])
        if not totals.size or not _steps(totals).sum():
            return None
        drawn = np.array([bootstrap.counts[:, part] @ self._counts[part] for part in parts])
        low, high = percentiles(_by_steps(drawn))
        return WeightedF1(float(_by_steps(totals)), float(low), float(high))

    def _chosen(self, places: Places | None) -> Floats:
        return self._counts if places is None else self._counts[places]


def f1(wanted: Floats | float, called: Floats, hits: Floats) -> Floats:
    """F1 from the numbers to find, found, and found rightly; 0 where there is neither."""
    total = np.asarray(wanted + called, dtype=np.float64)
    result: Floats = np.divide(2.0 * hits, total, out=np.zeros_like(total), where=total > 0)
    return result


def macro_f1(counts: Floats) -> Floats:
    """Macro-F1 of counts `[..., 6]`, as `Steps.called` gives them."""
    right, wrong = (f1(*np.moveaxis(some, -1, 0)) for some in (counts[..., :3], counts[..., 3:]))
    return (right + wrong) / 2


def _steps(counts: Floats) -> Floats:
    steps: Floats = counts[..., 0] + counts[..., 3]
    return steps


def _by_steps(counts: Floats) -> Floats:
    """Macro-F1 of parts weighed by their steps, from `[n_parts, ..., 6]`."""
    steps = _steps(counts)
    total = steps.sum(axis=0)
    weighed: Floats = np.divide(
        (macro_f1(counts) * steps).sum(axis=0), total, out=np.zeros_like(total), where=total > 0
    )
    return weighed
