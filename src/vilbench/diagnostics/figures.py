"""Figures of the diagnostics: ratios and means with their intervals, clustered by problem."""

from __future__ import annotations

import numpy as np

from vilbench.diagnostics.records import Figure
from vilbench.diagnostics.table import Bools, Places
from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats


def ratio(above: Floats, below: Floats, bootstrap: Bootstrap) -> Figure:
    """Sum of the one over sum of the other; None where that sum is 0.

    Args:
        above: By problem, `[P]`.
        below: The same.
        bootstrap: Resamples of the problems.
    """
    if not below.sum():
        return Figure(value=None)
    low, high = bootstrap.ratio_interval(above[:, None], below[:, None])
    return Figure(value=float(above.sum() / below.sum()), low=float(low[0]), high=float(high[0]))


def share(values: Floats | Bools, among: Bools, owner: Places, bootstrap: Bootstrap) -> Figure:
    """Mean of the values of some rows; None without such rows.

    Args:
        values: `[M]`.
        among: Which rows count, `[M]`.
        owner: Problem of each, `[M]`.
        bootstrap: Resamples of the problems.
    """
    rows, problems = owner[among], bootstrap.n_problems
    sums = np.bincount(rows, weights=values[among].astype(np.float64), minlength=problems)
    sizes = np.bincount(rows, minlength=problems)
    return ratio(sums.astype(np.float64), sizes.astype(np.float64), bootstrap)


def mean(values: Floats, bootstrap: Bootstrap) -> Figure:
    """Mean over the problems that have a value.

    Args:
        values: By problem, `[P]`; NaN is no value.
        bootstrap: Resamples of the problems.
    """
    return share(values, ~np.isnan(values), np.arange(len(values)), bootstrap)
