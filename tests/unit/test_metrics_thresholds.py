"""Thresholds of many parts are the best of each, by F1 counted one step after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vilbench.metrics import Bootstrap, Calls, Steps, Thresholds, best_threshold, macro_f1


def counted(values: Sequence[float], right: Sequence[bool], threshold: float) -> float:
    """Macro-F1, step by step; NaN is called neither."""
    found = []
    for kind in (True, False):
        wanted = sum(one == kind for one in right)
        called = [v >= threshold if kind else v < threshold for v in values]
        hits = sum(c and one == kind for c, one in zip(called, right, strict=True))
        below = wanted + sum(called)
        found.append(2 * hits / below if below else 0.0)
    return sum(found) / 2


@pytest.mark.parametrize("levels", [5, 0])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_best_of_any_part_and_its_f1(levels: int, missing: float) -> None:
    random = np.random.default_rng(levels)
    owner = np.sort(random.integers(0, 12, size=240))
    right = random.random(240) < 0.6
    values = random.normal(size=240) + right
    if levels:
        values = np.clip(np.round(values + 3), 1, levels)
    values[random.random(240) < missing] = np.nan
    found = Thresholds(Steps(values, right, owner), 12)
    for _ in range(10):
        among = random.random(12) < 0.5
        rows = np.flatnonzero(among[owner])
        part = values[rows].tolist(), right[rows].tolist()
        known = np.unique(values[rows][~np.isnan(values[rows])])
        tried = [known[0], *(known[:-1] + known[1:]) / 2, np.nextafter(known[-1], np.inf)]
        reached = [round(counted(*part, one), 12) for one in tried]
        threshold = found.best(among)
        assert threshold is not None
        assert threshold.value == pytest.approx(tried[reached.index(max(reached))])
        assert threshold.macro_f1 == pytest.approx(max(reached))
        counts = found.counts(threshold.value)[among].sum(axis=0)
        assert float(macro_f1(counts)) == pytest.approx(max(reached))
        given = [None if np.isnan(one) else one for one in part[0]]
        assert best_threshold(given, part[1]) == pytest.approx(threshold)


def test_calls_count_what_is_counted_by_hand() -> None:
    random = np.random.default_rng(4)
    pools = [random.normal(size=size).tolist() for size in (3, 0, 5, 1)]
    marks = [[bool(one > 0.1) for one in random.normal(size=len(pool))] for pool in pools]
    scores = [[None if abs(one) < 0.2 else one for one in pool] for pool in pools]
    called = Calls(scores, marks, 0.3).macro_f1(Bootstrap(4, 20))
    flat = [float("nan") if one is None else one for pool in scores for one in pool]
    assert called is not None
    assert called.value == pytest.approx(counted(flat, [m for some in marks for m in some], 0.3))
    with pytest.raises(ValueError, match="shapes"):
        Calls([[0.1], []], [[], [True]], 0.5)


def test_no_value_gives_no_threshold() -> None:
    nothing = Steps(np.full(3, np.nan), np.ones(3, bool), np.array([0, 0, 1]))
    assert Thresholds(nothing, 2).best(np.array([True, True])) is None
    one = Thresholds(Steps(np.array([0.5]), np.array([True]), np.array([0])), 2)
    assert one.best(np.array([False, True])) is None
    best = one.best(np.array([True, False]))
    assert best is not None
    assert best.value == 0.5
