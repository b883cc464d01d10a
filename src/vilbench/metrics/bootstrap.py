"""Intervals and p-values by resampling problems."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval."""

_ZERO = 1e-12
"""Means that are nearer to 0 are 0 but for rounding."""


class Estimate(NamedTuple):
    """Means over problems with their 95 % intervals, each of shape `[n_columns]`."""

    mean: Floats
    low: Floats
    high: Floats


class Interval(NamedTuple):
    """Lower and upper ends of 95 % intervals."""

    low: Floats
    high: Floats


class Bootstrap:
    """Resamples of `n_problems` problems, drawn once and used for every column.

    Intervals are percentile intervals. One problem, or problems of equal values, give an
    interval of width 0: the resamples cannot tell a spread that the sample does not show.

    Problems that are no independent draws, such as versions of one another, form a cluster:
    clusters are drawn with all of their problems, so that a resample may be of another size.

    Args:
        n_problems: Problems, at least 1.
        n_resamples: Resamples, at least 1.
        seed: Seed of the draw.
        clusters: Number of the cluster of each problem, `[n_problems]`; each is one of its own
            by default.

    Attributes:
        counts: How often a resample has each problem, `[n_resamples, n_problems]`.
        cluster: Cluster of each problem, from 0 without gaps, `[n_problems]`.

    Raises:
        ValueError: A number is below 1, or the clusters are not of so many problems.
    """

    def __init__(
        self,
        n_problems: int,
        n_resamples: int = 2000,
        seed: int = 0,
        clusters: Sequence[int] | NDArray[np.intp] | None = None,
    ) -> None:
        if n_problems < 1 or n_resamples < 1:
            raise ValueError(f"cannot draw {n_resamples} resamples of {n_problems} problems")
        given = np.arange(n_problems) if clusters is None else np.asarray(clusters)
        if given.shape != (n_problems,):
            raise ValueError(f"clusters of {given.size} problems do not match {n_problems}")
        _, cluster = np.unique(given, return_inverse=True)
        self.cluster: NDArray[np.intp] = cluster.astype(np.intp)
        units = int(cluster.max()) + 1
        drawn = np.random.default_rng(seed).integers(units, size=(n_resamples, units))
        drawn += np.arange(n_resamples)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=n_resamples * units)
        self._draws: Floats = counts.reshape(n_resamples, units).astype(np.float64)
        self.counts: Floats = self._draws[:, self.cluster]

    @property
    def n_problems(self) -> int:
        """Problems of a resample."""
        return int(self.counts.shape[1])

    @property
    def n_clusters(self) -> int:
        """Clusters of a resample; as many as problems where none belong together."""
        return int(self._draws.shape[1])

    def of_clusters(self) -> Bootstrap:
        """The same resamples, of clusters in the place of problems."""
        made = copy(self)
        made.counts, made.cluster = self._draws, np.arange(self.n_clusters)
        return made

    @property
    def n_resamples(self) -> int:
        """Resamples."""
        return int(self.counts.shape[0])

    def mean_interval(self, values: ArrayLike) -> Estimate:
        """Means of columns with their intervals.

        Args:
            values: A row per problem, `[n_problems, n_columns]`.

        Raises:
            ValueError: The shape is another, or a value is NaN or infinite.
        """
        columns = self._columns(values)
        # Seen from the first row, a column of equal values is 0 and free of rounding errors.
        origin = columns[0]
        low, high = percentiles(self._deviations(columns, origin) + origin)
        return Estimate((columns - origin).mean(axis=0) + origin, low, high)

    def means(self, values: ArrayLike) -> Floats:
        """Means of columns in every resample, `[n_resamples, n_columns]`.

        Raises:
            ValueError: The shape is another, or a value is NaN or infinite.
        """
        columns = self._columns(values)
        return self._deviations(columns, np.zeros(columns.shape[1]))

    def ratio_interval(self, a: ArrayLike, b: ArrayLike) -> Interval:
        """Intervals of the ratios of means, `mean(a) / mean(b)`, resampled together.

        Resamples whose denominator is 0 are left out; NaN where all of them are.

        Args:
            a: A row per problem, `[n_problems, n_columns]`.
            b: The same.

        Raises:
            ValueError: A shape is another, or a value is NaN or infinite.
        """
        above, below = (self.counts @ self._columns(one) for one in (a, b))
        usable = np.abs(below) > _ZERO * self.n_problems
        drawn = np.divide(above, below, out=np.full_like(above, np.nan), where=usable)
        if usable.all():
            return percentiles(drawn)
        ends = np.full((2, drawn.shape[1]), np.nan)
        for column in np.flatnonzero(usable.any(axis=0)):
            ends[:, column] = percentiles(drawn[usable[:, column], column])
        return Interval(*ends)

    def paired_interval(self, a: ArrayLike, b: ArrayLike) -> Estimate:
        """Means of the differences `a - b`, problem by problem, with their intervals.

        Args:
            a: A row per problem, `[n_problems, n_columns]`.
            b: The same, or a single column `[n_problems, 1]` for all of `a`'s.

        Raises:
            ValueError: A shape is another, or a value is NaN or infinite.
        """
        return self.mean_interval(self._differences(a, b))

    def paired_p_value(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """Two-sided p-values of "the mean of `a - b` is 0", `[n_columns]`.

        Share of the resamples of the centred differences whose mean is at least as far
        from 0 as the observed one, `(1 + count) / (1 + n_resamples)`. With `m` clusters
        that differ it is never below `2 ** (1 - m)`, the smallest value that a sign test
        can reach: resampling a handful of problems would else claim more than they show.

        Raises:
            ValueError: A shape is another, or a value is NaN or infinite.
        """
        differences = self._differences(a, b)
        observed = differences.mean(axis=0)
        resampled = self._deviations(differences, observed)
        # Resamples that equal the observation but for rounding count as equal.
        slack = 1e-9 * np.abs(differences).max(axis=0)
        extreme = (np.abs(resampled) >= np.abs(observed) - slack).sum(axis=0)
        summed = np.zeros((self.n_clusters, differences.shape[1]))
        np.add.at(summed, self.cluster, differences)
        differing = (np.abs(summed) > slack).sum(axis=0)
        attainable = np.exp2(1.0 - differing.astype(np.float64))
        p_value = np.maximum((1.0 + extreme) / (1.0 + self.n_resamples), attainable)
        bounded: Floats = np.minimum(p_value, 1.0)
        return bounded

    def _deviations(self, columns: Floats, centre: Floats) -> Floats:
        """Means of the resamples minus `centre`, `[n_resamples, n_columns]`."""
        sizes = self.counts.sum(axis=1, keepdims=True)
        deviations: Floats = self.counts @ (columns - centre) / sizes
        return deviations

    def _columns(self, values: ArrayLike) -> Floats:
        columns = np.asarray(values, dtype=np.float64)
        if columns.ndim != 2 or columns.shape[0] != self.n_problems:
            raise ValueError(
                f"values must be of shape [{self.n_problems}, columns], got {columns.shape}"
            )
        if not np.isfinite(columns).all():
            row, column = np.argwhere(~np.isfinite(columns))[0]
            raise ValueError(f"problem {row}, column {column}: {columns[row, column]}")
        return columns

    def _differences(self, a: ArrayLike, b: ArrayLike) -> Floats:
        one, other = self._columns(a), self._columns(b)
        if other.shape[1] not in (1, one.shape[1]):
            raise ValueError(f"cannot pair {one.shape[1]} columns with {other.shape[1]}")
        return one - other


def percentiles(resampled: Floats) -> Interval:
    """Intervals of resampled values; the resamples are along the first axis.

    Linear between order statistics, as `numpy.quantile` has it, at a third of its time.
    """
    tail = (1 - LEVEL) / 2
    places = np.array([tail, 1 - tail]) * (len(resampled) - 1)
    below = np.floor(places).astype(np.intp)
    above = np.minimum(below + 1, len(resampled) - 1)
    ordered = np.sort(resampled.T, axis=-1)
    share = places - below
    low, high = (
        ordered[..., one] + (ordered[..., other] - ordered[..., one]) * part
        for one, other, part in zip(below, above, share, strict=True)
    )
    return Interval(low, high)
