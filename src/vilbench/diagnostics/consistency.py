"""Consistency: whether equal solutions score alike, and how many different ones do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vilbench.diagnostics.figures import ratio, share
from vilbench.diagnostics.records import Consistency, Figure
from vilbench.diagnostics.table import Places, Scored, Table
from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats, percentiles

SLACK = 1e-4
"""Scores that differ by less than this part of the scale are equal: rounding in batches."""


def consistency(table: Table, scored: Scored, bootstrap: Bootstrap) -> Iterator[Consistency]:
    """What a scorer says of a solution that was sampled more than once, each scored by itself.

    `noise` is the mean square of scores around the mean of their equal texts over the mean
    square around the mean of the problem: one minus an intraclass correlation within problems
    (Shrout and Fleiss 1979), 0 for a scorer that repeats itself. A scorer without bounds is
    measured on its own scale, with the spread of its scores for the scale's width. Ties are
    exact; they are between different texts.

    A scorer may be told of equal solutions once and repeat its answer: then this shows 0 by
    construction, and a probe that asks anew shows more.

    Args:
        table: The pools.
        scored: The scorer's values.
        bootstrap: Resamples of the problems.
    """
    if scored.method is None or scored.standing is None:
        return
    known = ~np.isnan(scored.standing)
    if not known.any():
        return
    scores, owner = scored.standing[known], table.owner[known]
    bounds = scored.plan.bounds(scored.method)
    width = (bounds.high - bounds.low) if bounds else float(scores.max() - scores.min())
    width = width or 1.0
    scores = scores / width
    group = owner * table.shape[1] + table.text[known]
    _, group = np.unique(group, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    highest = np.maximum.reduceat(scores[order], starts)
    lowest = np.minimum.reduceat(scores[order], starts)
    size = np.bincount(group)
    several = size > 1
    spread = highest - lowest
    group_owner = owner[order][starts]
    once = table.first[known]
    tied, pairs = _ties(scores[once], owner[once], bootstrap.n_problems)
    held = pairs > 0
    top = np.zeros(bootstrap.n_problems)
    np.maximum.at(top, owner, scores - scores.min())
    at_top = scores - scores.min() == top[owner]
    leaders = np.bincount(owner[at_top & once], minlength=bootstrap.n_problems)
    problems = np.arange(bootstrap.n_problems)
    yield Consistency(
        scorer=scored.name,
        method=scored.method.name,
        n_groups=int(several.sum()),
        n_repeated=int(size[several].sum()),
        unequal=share(spread > SLACK, several, group_owner, bootstrap),
        spread=float(spread[several].mean()) if several.any() else None,
        widest=float(spread[several].max()) if several.any() else None,
        noise=_noise(scores, owner, group, bootstrap),
        ties=ratio(tied, pairs, bootstrap),
        top_ties=share(leaders > 1, held, problems, bootstrap),
    )


def _ties(scores: Floats, owner: Places, problems: int) -> tuple[Floats, Floats]:
    """Pairs that tie and pairs in all, by problem, `[P]`."""
    _, level = np.unique(scores, return_inverse=True)
    cell, inverse = np.unique(owner * (int(level.max()) + 1) + level, return_inverse=True)
    alike = np.bincount(inverse)
    cell_owner = cell // (int(level.max()) + 1)
    tied = np.bincount(cell_owner, weights=alike * (alike - 1) / 2, minlength=problems)
    n = np.bincount(owner, minlength=problems)
    return tied.astype(np.float64), (n * (n - 1) / 2).astype(np.float64)


def _noise(scores: Floats, owner: Places, group: Places, bootstrap: Bootstrap) -> Figure:
    """Mean square within groups of equal texts over mean square within problems."""
    sums = np.stack(
        [
            np.bincount(owner, weights=weights, minlength=bootstrap.n_problems)
            for weights in (*_squares(scores, group), *_squares(scores, owner))
        ],
        axis=1,
    )
    total = sums.sum(axis=0)
    if not total[1] or total[2] < 1e-15:
        return Figure(value=None)
    drawn = bootstrap.counts @ sums
    usable = (drawn[:, 1] > 0) & (drawn[:, 2] > 1e-15)
    inner, freedom, outer, outer_freedom = drawn[usable].T
    low, high = percentiles(inner / freedom * outer_freedom / outer)
    value = total[0] / total[1] * total[3] / total[2]
    return Figure(value=float(value), low=float(low), high=float(high))


def _squares(scores: Floats, kind: Places) -> tuple[Floats, Floats]:
    """Squared distances from the mean of the kind, and degrees of freedom, by row."""
    size = np.bincount(kind)
    # Seen from the lowest of its kind, equal scores are free of rounding errors.
    lowest = np.full(len(size), np.inf)
    np.minimum.at(lowest, kind, scores)
    scores = scores - lowest[kind]
    mean = np.bincount(kind, weights=scores) / np.maximum(1, size)
    return (scores - mean[kind]) ** 2, ((size - 1) / np.maximum(1, size))[kind]
