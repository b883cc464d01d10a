"""How well a score tells right from wrong solutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics.bootstrap import Bootstrap, Floats, percentiles

POOLED_RESAMPLES = 500
"""Resamples of a pooled AUROC over more than two hundred problems."""

_MANY_PROBLEMS = 200

_BLOCK = 400_000
"""Most running counts at a time: they stay in the processor's cache."""

Places = NDArray[np.intp]


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


class Separation:
    """How often right solutions outscore wrong ones, for every pair of problems.

    It is computed once and then tells the AUROC of any part of the problems. The things
    that are scored may as well be steps: whatever has a score and is right or wrong.

    Args:
        scores: A pool per problem, of any sizes; None is left out.
        correct: Which of the solutions are right, in the same shape.

    Raises:
        ValueError: Shapes differ, or a score is NaN or infinite.
    """

    def __init__(
        self, scores: Sequence[Sequence[float | None]], correct: Sequence[Sequence[bool]]
    ) -> None:
        flat = _flat(scores, correct)
        size = len(scores)
        self._rights = np.bincount(flat.owner[flat.good], minlength=size).astype(np.float64)
        self._wrongs = np.bincount(flat.owner[~flat.good], minlength=size).astype(np.float64)
        self._missing = flat.missing
        # Wins of the right solutions of problem `p` over the wrong ones of `q`, `[p, q]`.
        self._wins = np.outer(self._rights, self._wrongs) - _losses(flat, size)

    def within(self, bootstrap: Bootstrap, places: Places | None = None) -> Auroc:
        """Mean over problems of the AUROC among the solutions of one problem.

        Problems without a scored right and a scored wrong solution are skipped. A resample
        averages over the others that it holds.

        Args:
            bootstrap: Resamples of these problems, the skipped ones included.
            places: The problems; all by default.

        Raises:
            ValueError: The bootstrap is not of so many problems.
        """
        places = self._places(bootstrap, places)
        areas = self.areas()[places]
        usable = ~np.isnan(areas)
        missing = int(self._missing[places].sum())
        if not usable.any():
            return Auroc(None, None, None, 0, missing)
        held = bootstrap.counts @ usable.astype(np.float64)
        summed = bootstrap.counts @ np.where(usable, areas, 0.0)
        drawn = summed[held > 0] / held[held > 0]
        return _auroc(float(areas[usable].mean()), drawn, int(usable.sum()), missing)

    def areas(self) -> Floats:
        """The AUROC of each problem, `[P]`; NaN without a scored right and a scored wrong one."""
        pairs = self._rights * self._wrongs
        none = np.full(len(pairs), np.nan)
        found: Floats = np.divide(self._wins.diagonal(), pairs, out=none, where=pairs > 0)
        return found

    def pooled(self, bootstrap: Bootstrap, places: Places | None = None) -> Auroc:
        """AUROC among the solutions of all problems together.

        It also rewards telling easy problems from hard ones, which no selection within a
        problem profits from. A resample is weighed exactly, at the cost of a matrix of
        problem pairs; over two hundred problems only the first `POOLED_RESAMPLES` resamples
        are used.

        Args:
            bootstrap: Resamples of these problems.
            places: The problems; all by default.

        Raises:
            ValueError: The bootstrap is not of so many problems.
        """
        places = self._places(bootstrap, places)
        rights, wrongs = self._rights[places], self._wrongs[places]
        missing = int(self._missing[places].sum())
        if not rights.any() or not wrongs.any():
            return Auroc(None, None, None, 0, missing)
        wins = self._wins[np.ix_(places, places)]
        counts = bootstrap.counts
        if bootstrap.n_problems > _MANY_PROBLEMS:
            counts = counts[:POOLED_RESAMPLES]
        pairs = (counts @ rights) * (counts @ wrongs)
        # Half wins of a few thousand solutions are exact in single precision, at half the time.
        by_problem = counts.astype(np.float32) @ wins.astype(np.float32)
        won = np.einsum("rp,rp->r", by_problem, counts)
        value = float(wins.sum() / (rights.sum() * wrongs.sum()))
        scored = int(((rights + wrongs) > 0).sum())
        return _auroc(value, won[pairs > 0] / pairs[pairs > 0], scored, missing)

    def _places(self, bootstrap: Bootstrap, places: Places | None) -> Places:
        chosen = np.arange(len(self._rights)) if places is None else places
        if bootstrap.n_problems != len(chosen):
            raise ValueError(
                f"a bootstrap of {bootstrap.n_problems} problems does not match {len(chosen)}"
            )
        return chosen


def within_auroc(
    scores: Sequence[Sequence[float | None]],
    correct: Sequence[Sequence[bool]],
    bootstrap: Bootstrap,
) -> Auroc:
    """`Separation.within` of these scores."""
    return Separation(scores, correct).within(bootstrap)


def pooled_auroc(
    scores: Sequence[Sequence[float | None]],
    correct: Sequence[Sequence[bool]],
    bootstrap: Bootstrap,
) -> Auroc:
    """`Separation.pooled` of these scores."""
    return Separation(scores, correct).pooled(bootstrap)


class Stratified:
    """How often right outscores wrong within the strata, for every pair of problems.

    With the number of a step as its stratum, steps are compared with those of the same number
    alone. Early steps are right more often than late ones, and a value that does nothing but
    fall along a solution profits from that in a `Separation`.

    Args:
        scores: A pool per problem; None is left out.
        correct: Which are right, in the same shape.
        strata: Of each, in the same shape.

    Raises:
        ValueError: Shapes differ, or a score is NaN or infinite.
    """

    def __init__(
        self,
        scores: Sequence[Sequence[float | None]],
        correct: Sequence[Sequence[bool]],
        strata: Sequence[Sequence[int]],
    ) -> None:
        if [*map(len, scores)] != [*map(len, strata)]:
            raise ValueError("scores and strata are of different shapes")
        size = len(scores)
        self._wins, self._pairs = np.zeros((size, size)), np.zeros((size, size))
        self._scored = np.zeros(size)
        self._missing = np.zeros(size, dtype=np.intp)
        for stratum in sorted({one for some in strata for one in some}):
            chosen = [[one == stratum for one in some] for some in strata]
            part = Separation(
                [list(compress(*pool)) for pool in zip(scores, chosen, strict=True)],
                [list(compress(*pool)) for pool in zip(correct, chosen, strict=True)],
            )
            self._wins += part._wins
            self._pairs += np.outer(part._rights, part._wrongs)
            self._scored += part._rights + part._wrongs
            self._missing += part._missing

    def pooled(self, bootstrap: Bootstrap, places: Places | None = None) -> Auroc:
        """AUROC over all pairs of one stratum, of all problems together; see `Separation.pooled`.

        Raises:
            ValueError: The bootstrap is not of so many problems.
        """
        chosen = np.arange(len(self._scored)) if places is None else places
        if bootstrap.n_problems != len(chosen):
            raise ValueError(
                f"a bootstrap of {bootstrap.n_problems} problems does not match {len(chosen)}"
            )
        missing = int(self._missing[chosen].sum())
        wins, pairs = (one[np.ix_(chosen, chosen)] for one in (self._wins, self._pairs))
        if not pairs.any():
            return Auroc(None, None, None, 0, missing)
        counts = bootstrap.counts
        if bootstrap.n_problems > _MANY_PROBLEMS:
            counts = counts[:POOLED_RESAMPLES]
        single = counts.astype(np.float32)
        won, held = (
            np.einsum("rp,rp->r", single @ one.astype(np.float32), counts) for one in (wins, pairs)
        )
        value = float(wins.sum() / pairs.sum())
        scored = int((self._scored[chosen] > 0).sum())
        return _auroc(value, won[held > 0] / held[held > 0], scored, missing)


def _auroc(value: float, drawn: Floats, n_problems: int, missing: int) -> Auroc:
    if drawn.size == 0:
        return Auroc(value, None, None, n_problems, missing)
    low, high = percentiles(drawn)
    return Auroc(value, float(low), float(high), n_problems, missing)


class _Flat(NamedTuple):
    """All scored solutions, `[M]`, ordered by problem, and the missing ones by problem."""

    values: Floats
    good: NDArray[np.bool_]
    owner: Places
    missing: Places


def _flat(scores: Sequence[Sequence[float | None]], correct: Sequence[Sequence[bool]]) -> _Flat:
    if len(scores) != len(correct):
        raise ValueError(
            f"{len(scores)} problems with scores and {len(correct)} with verdicts do not match"
        )
    for row, (values, good) in enumerate(zip(scores, correct, strict=True)):
        if len(values) != len(good):
            raise ValueError(f"problem {row}: {len(values)} scores for {len(good)} solutions")
    sizes = [len(values) for values in scores]
    owner = np.repeat(np.arange(len(scores)), sizes)
    given = np.array([v is not None for values in scores for v in values], dtype=np.bool_)
    every = np.array(
        [0.0 if v is None else v for values in scores for v in values], dtype=np.float64
    )
    if not np.isfinite(every).all():
        row = owner[~np.isfinite(every)][0]
        raise ValueError(f"problem {row}: a score is NaN or infinite")
    right = np.array([ok for good in correct for ok in good], dtype=np.bool_)
    missing = np.bincount(owner[~given], minlength=len(scores))
    return _Flat(every[given], right[given], owner[given], missing)


def _losses(flat: _Flat, size: int) -> Floats:
    """Losses of the right solutions of problem `p` to the wrong ones of `q`, `[p, q]`.

    For every wrong score the right ones below it are counted by problem, from running
    counts over the sorted right scores; a block of problems at a time.
    """
    losses = np.zeros((size, size))
    order = np.argsort(flat.values[flat.good], kind="stable")
    right = flat.values[flat.good][order]
    right_owner = flat.owner[flat.good][order]
    wrong, wrong_owner = flat.values[~flat.good], flat.owner[~flat.good]
    if not right.size or not wrong.size:
        return losses
    below = np.searchsorted(right, wrong, side="left")
    not_above = np.searchsorted(right, wrong, side="right")
    owners, starts = np.unique(wrong_owner, return_index=True)
    most = int(np.bincount(right_owner).max())
    kind = np.int16 if 2 * most <= np.iinfo(np.int16).max else np.int64
    width = max(1, _BLOCK // (max(right.size, wrong.size) + 1))
    for start in range(0, size, width):
        stop = min(size, start + width)
        mine = (right_owner >= start) & (right_owner < stop)
        counts = np.zeros((right.size + 1, stop - start), dtype=kind)
        counts[np.flatnonzero(mine) + 1, right_owner[mine] - start] = 1
        np.cumsum(counts, axis=0, out=counts)
        beaten = counts[below] + counts[not_above]
        summed = np.add.reduceat(beaten, starts, axis=0, dtype=np.int64)
        losses[start:stop, owners] = 0.5 * summed.T
    return losses
