"""Overrating: values above what they stand for, and scales whose top end is all that is used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vilbench.diagnostics.calibration import targets, unit
from vilbench.diagnostics.figures import share
from vilbench.diagnostics.records import Overrating
from vilbench.diagnostics.table import Scored, Table
from vilbench.metrics import Bootstrap

EDGE = 0.025
"""Part of the scale that counts as its top, and as its bottom."""

_BINS = 20


def overrating(table: Table, scored: Scored, bootstrap: Bootstrap) -> Iterator[Overrating]:
    """How far a scorer's values are above the share of what is right.

    On the scale brought to [0, 1] by its bounds: mean of the values minus the share of right
    ones (Lichtenstein, Fischhoff and Phillips 1982 call it over-confidence), the share at the
    ceiling, and of wrong ones the share above the middle, each as a ratio of sums with its
    interval. A scorer without bounds has no ceiling and is left out.

    Args:
        table: The pools.
        scored: The scorer's values.
        bootstrap: Resamples of the problems.
    """
    for target in targets(table, scored):
        if target.bounds is None or not target.scores.size:
            continue
        said, right, owner = unit(target.scores, target.bounds), target.right, target.owner
        every = np.ones_like(right)
        right_bins, wrong_bins = (
            tuple(int(n) for n in np.histogram(said[kind], _BINS, (0.0, 1.0))[0])
            for kind in (right, ~right)
        )
        yield Overrating(
            scorer=scored.name,
            method=target.method,
            unit=target.unit,
            n=len(said),
            mean=float(said.mean()),
            truth=float(right.mean()),
            excess=share(said - right, every, owner, bootstrap),
            ceiling=share(said >= 1 - EDGE, every, owner, bootstrap),
            floor=share(said <= EDGE, every, owner, bootstrap),
            wrong_above=share(said > 0.5, ~right, owner, bootstrap),
            right_below=share(said < 0.5, right, owner, bootstrap),
            right=right_bins,
            wrong=wrong_bins,
        )
