"""How alike scorers rank the solutions of a problem, and how often they pick the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from vilbench.diagnostics.records import Agreement, Figure
from vilbench.diagnostics.table import Scored, Table
from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats
from vilbench.metrics.correlation import within_ranks


def agreement(table: Table, scorers: Sequence[Scored], bootstrap: Bootstrap) -> Iterator[Agreement]:
    """Rank correlation and agreement of picks for every two scorers' standing methods.

    Kendall's tau-b (Kendall 1945) and Spearman's rho among the solutions of one problem,
    averaged over the problems where both scorers tell solutions apart: scorers that only
    agree on which problems are hard have 0. Picks break ties evenly at random; a scorer
    without any score picks at random. Solutions without an answer are the same pick only if
    they are the same text.

    Args:
        table: The pools.
        scorers: The scorers' values.
        bootstrap: Resamples of the problems.
    """
    standing = [one for one in scorers if one.standing is not None]
    if len(standing) < 2:
        return
    answers = np.where(table.answers < 0, table.shape[1] + table.text, table.answers)
    grid = answers.reshape(table.shape)
    same = (grid[:, :, None] == grid[:, None, :]).astype(np.float64)
    picks = [_picked(_grid(table, one)) for one in standing]
    chance = float(same.mean(axis=(1, 2)).mean())
    for (one, first), (other, second) in combinations(zip(standing, picks, strict=True), 2):
        ranks = within_ranks(_grid(table, one), _grid(table, other))
        alike = np.einsum("pi,pij,pj->p", first, same, second, optimize=True)
        mean, low, high = bootstrap.mean_interval(alike[:, None])
        if one.method is None or other.method is None:
            continue
        yield Agreement(
            scorer=one.name,
            other=other.name,
            method=one.method.name,
            other_method=other.method.name,
            kendall=_mean(ranks.kendall, bootstrap),
            spearman=_mean(ranks.spearman, bootstrap),
            n_problems=int((~np.isnan(ranks.kendall)).sum()),
            same_answer=Figure(value=float(mean[0]), low=float(low[0]), high=float(high[0])),
            chance=chance,
        )


def _grid(table: Table, scored: Scored) -> Floats:
    if scored.standing is None:
        raise ValueError(f"no method stands for '{scored.name}'")
    grid: Floats = scored.standing.reshape(table.shape)
    return grid


def _picked(scores: Floats) -> Floats:
    """Chance of each solution to be picked, `[P, N]`."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    best = known == known.max(axis=1, keepdims=True)
    chances: Floats = best / best.sum(axis=1, keepdims=True)
    return chances


def _mean(values: Floats, bootstrap: Bootstrap) -> Figure:
    known = ~np.isnan(values)
    if not known.any():
        return Figure(value=None)
    ends = bootstrap.ratio_interval(
        np.where(known, values, 0.0)[:, None], known.astype(np.float64)[:, None]
    )
    return Figure(
        value=float(values[known].mean()), low=float(ends.low[0]), high=float(ends.high[0])
    )
