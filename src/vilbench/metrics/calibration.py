"""Whether scores are chances of being right, and what makes chances of scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics.bootstrap import Bootstrap, Floats, percentiles

BINS = 15
"""Most bins of a reliability curve."""

Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


class ReliabilityCurve(NamedTuple):
    """Bins of about equal mass, from low to high, each of shape `[bins]`.

    Attributes:
        said: Mean of the values.
        right: Share of them that is right.
        low: Lower end of that share's 95 % interval, clustered by problem.
        high: Upper end.
        n: Values.
    """

    said: Floats
    right: Floats
    low: Floats
    high: Floats
    n: Places


class Calibration(NamedTuple):
    """How far values are from being chances of being right.

    Attributes:
        ece: Expected calibration error: mean over bins, by mass, of how far the share of
            right ones is from the mean of the values (Naeini et al. 2015; bins of equal mass
            after Nguyen and O'Connor 2015). Chance alone makes it positive.
        floor: Its mean where every bin is calibrated and the problems vary as these do.
        p_value: How often it is as large there; too small where a bin holds only a handful of
            problems.
        rms: The root of the mean of the squared errors less their variance (Kumar et al.
            2019, with a variance that is clustered by problem); 0 where nothing is left.
        rms_low: Lower end of its 95 % interval; 0 where the interval holds no error.
        rms_high: Upper end.
        brier: Mean squared difference between values and 1 or 0 (Brier 1950).
        brier_low: Lower end of its interval.
        brier_high: Upper end.
        curve: The reliability curve.
    """

    ece: float
    floor: float
    p_value: float
    rms: float
    rms_low: float
    rms_high: float
    brier: float
    brier_low: float
    brier_high: float
    curve: ReliabilityCurve


def calibration(
    said: Floats, right: Bools, owner: Places, bootstrap: Bootstrap, bins: int = BINS
) -> Calibration:
    """Calibration of values in [0, 1].

    The bins are settled once and kept over all resamples. Equal values stay together, so
    that a scorer of few levels has a bin for each that is not rare.

    Args:
        said: Values, `[M]`, M at least 1.
        right: Whether what they speak of is right, `[M]`.
        owner: Problem of each, `[M]`, below the bootstrap's number.
        bootstrap: Resamples of the problems.
        bins: Most bins.

    Raises:
        ValueError: There is no value, or one is out of [0, 1].
    """
    if not said.size or not ((said >= 0) & (said <= 1)).all():
        raise ValueError("there are no values, or some are out of [0, 1]")
    place = equal_mass(said, bins)
    owner, bootstrap = bootstrap.cluster[owner], bootstrap.of_clusters()
    shape = (bootstrap.n_problems, int(place.max()) + 1)
    size, sums, hits = (
        _table(owner, place, weights, shape)
        for weights in (np.ones(len(said)), said, right.astype(np.float64))
    )
    n = size.sum(axis=0)
    gap = (sums - hits).sum(axis=0) / n
    share = n / n.sum()
    ece = float(share @ np.abs(gap))

    off = sums - hits - size * gap
    drawn, held = bootstrap.counts @ off, bootstrap.counts @ size
    # A resample of problems without a value says nothing.
    total = held.sum(axis=1)
    usable = total > 0
    drawn, held, total = drawn[usable], held[usable], total[usable]
    # A bin of few problems, seen from its own mean, varies less than it would from the true one.
    few = n**2 / (size**2).sum(axis=0)
    spread = np.sqrt(few / np.maximum(few - 1, 1.0))
    null = np.abs(drawn * spread).sum(axis=1) / total
    reached = int((null >= ece - 1e-12).sum())

    problems = bootstrap.n_problems
    variance = (off**2).sum(axis=0) / n**2 * (problems / max(1, problems - 1))
    square = float(share @ (gap**2 - variance))
    moved = np.divide(drawn, held, out=np.zeros_like(drawn), where=held > 0) + gap
    # A resample adds the variance once more to what the sample has of it.
    squares = ((moved**2 - 2 * variance) * held).sum(axis=1) / total
    ends = percentiles(squares)

    error = np.bincount(owner, weights=(said - right) ** 2, minlength=problems)
    count = size.sum(axis=1)
    brier = bootstrap.ratio_interval(error[:, None], count[:, None])
    curve = bootstrap.ratio_interval(hits, size)
    return Calibration(
        ece=ece,
        floor=float(null.mean()),
        p_value=(1 + reached) / (1 + len(null)),
        rms=_root(square),
        rms_low=_root(float(ends.low)),
        rms_high=_root(float(ends.high)),
        brier=float(error.sum() / count.sum()),
        brier_low=float(brier.low[0]),
        brier_high=float(brier.high[0]),
        curve=ReliabilityCurve(
            said=sums.sum(axis=0) / n,
            right=hits.sum(axis=0) / n,
            low=curve.low,
            high=curve.high,
            n=n.astype(np.intp),
        ),
    )


def equal_mass(values: Floats, bins: int) -> Places:
    """The bin of each value, `[M]`, from 0 without gaps: about equal mass, equals together."""
    ordered = np.sort(values)
    starts = np.unique(ordered[np.arange(1, bins) * len(ordered) // bins])
    place = np.searchsorted(starts, values, side="right")
    _, dense = np.unique(place, return_inverse=True)
    return dense.astype(np.intp)


def _table(owner: Places, place: Places, weights: Floats, shape: tuple[int, int]) -> Floats:
    flat = np.bincount(owner * shape[1] + place, weights=weights, minlength=shape[0] * shape[1])
    table: Floats = flat.astype(np.float64).reshape(shape)
    return table


def _root(square: float) -> float:
    return float(np.sqrt(max(0.0, square)))


class Calibrator(Protocol):
    """Makes chances of scores."""

    def __call__(self, scores: Floats) -> Floats:
        """Chances of being right in [0, 1], `[M]`, of scores on any scale."""
        ...


@dataclass(frozen=True)
class Platt:
    """`1 / (1 + exp(-(slope * score + intercept)))`."""

    slope: float
    intercept: float

    def __call__(self, scores: Floats) -> Floats:
        """The chances."""
        return _logistic(self.slope * scores + self.intercept)


@dataclass(frozen=True)
class Isotonic:
    """A curve that never falls: linear between the knots, level beyond them."""

    scores: Floats
    chances: Floats

    def __call__(self, scores: Floats) -> Floats:
        """The chances."""
        chances: Floats = np.interp(scores, self.scores, self.chances)
        return chances


def fit_platt(scores: Floats, right: Bools, rounds: int = 100) -> Platt:
    """Logistic regression on the score, with Platt's smoothed targets.

    Source: Platt 1999; Newton's steps with halving after Lin, Lin and Weng 2007.

    Args:
        scores: `[M]`, M at least 1.
        right: `[M]`.
        rounds: Most steps.

    Raises:
        ValueError: There is no score.
    """
    if not scores.size:
        raise ValueError("there are no scores to fit to")
    hits = int(right.sum())
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    scaled = (scores - centre) / spread if spread > 0 else np.zeros_like(scores)
    rows = np.stack([scaled, np.ones_like(scaled)], axis=1)
    weights = np.array([0.0, np.log((hits + 1) / (len(right) - hits + 1))])
    loss = _cross_entropy(rows @ weights, target)
    for _ in range(rounds):
        chances = _logistic(rows @ weights)
        slope = rows.T @ (chances - target)
        if np.abs(slope).max() < 1e-9 * len(scores):
            break
        curve = rows.T @ (rows * (chances * (1 - chances))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-9:
            tried = weights - size * step
            found = _cross_entropy(rows @ tried, target)
            if found <= loss:
                break
            size /= 2
        if size <= 1e-9:
            break
        weights, loss = tried, found
    per_score = float(weights[0]) / spread if spread > 0 else 0.0
    return Platt(per_score, float(weights[1]) - per_score * centre)


def fit_isotonic(scores: Floats, right: Bools) -> Isotonic:
    """The curve of least squares that never falls, by pooling neighbours that violate it.

    Source: Zadrozny and Elkan 2002; the pooling is `scipy.optimize.isotonic_regression`.

    Args:
        scores: `[M]`, M at least 1.
        right: `[M]`.

    Raises:
        ValueError: There is no score.
    """
    if not scores.size:
        raise ValueError("there are no scores to fit to")
    # Importing scipy.optimize takes a while, and only a fit needs it.
    from scipy.optimize import isotonic_regression

    levels, level = np.unique(scores, return_inverse=True)
    mass = np.bincount(level).astype(np.float64)
    share = np.bincount(level, weights=right.astype(np.float64)) / mass
    chances = np.clip(isotonic_regression(share, weights=mass).x, 0.0, 1.0)
    # Only the ends of level stretches are knots.
    inner = (chances[1:-1] == chances[:-2]) & (chances[1:-1] == chances[2:])
    kept = np.concatenate([[True], ~inner, [True]]) if len(levels) > 1 else np.array([True])
    return Isotonic(levels[kept], chances[kept])


def _logistic(logits: Floats) -> Floats:
    from scipy.special import expit

    chances: Floats = expit(logits)
    return chances


def _cross_entropy(logits: Floats, target: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - target * logits).sum())
