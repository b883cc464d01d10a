"""How alike scorers rank the solutions of a problem, and how often they pick the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from vilbench.diagnostics.figures import mean
from vilbench.diagnostics.records import Agreement
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
    standing = [
        (one, one.method, table.grid(one.standing))
        for one in scorers
        if one.method is not None and one.standing is not None
    ]
    if len(standing) < 2:
        return
    answers = np.where(table.answers < 0, table.shape[1] + table.text, table.answers)
    grid = answers.reshape(table.shape)
    same = (grid[:, :, None] == grid[:, None, :]).astype(np.float64)
    chance = float(same.mean(axis=(1, 2)).mean())
    for (one, method, first), (other, other_method, second) in combinations(standing, 2):
        ranks = within_ranks(first, second)
        alike = np.einsum("pi,pij,pj->p", _picked(first), same, _picked(second), optimize=True)
        yield Agreement(
            scorer=one.name,
            other=other.name,
            method=method.name,
            other_method=other_method.name,
            kendall=mean(ranks.kendall, bootstrap),
            spearman=mean(ranks.spearman, bootstrap),
            n_problems=int((~np.isnan(ranks.kendall)).sum()),
            same_answer=mean(alike, bootstrap),
            chance=chance,
        )


def _picked(scores: Floats) -> Floats:
    """Chance of each solution to be picked, `[P, N]`."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    best = known == known.max(axis=1, keepdims=True)
    chances: Floats = best / best.sum(axis=1, keepdims=True)
    return chances
