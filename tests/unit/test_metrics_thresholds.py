"""Thresholds of many parts are those that `best_threshold` and `Calls` have of each."""

from __future__ import annotations

import numpy as np
import pytest

from vilbench.metrics import Bootstrap, Calls, best_threshold
from vilbench.metrics.thresholds import Thresholds, macro_f1


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
    found = Thresholds(values, right, owner, 12)
    given = [None if np.isnan(v) else float(v) for v in values]
    for _ in range(10):
        among = random.random(12) < 0.5
        rows = np.flatnonzero(among[owner])
        expected = best_threshold([given[row] for row in rows], right[rows].tolist())
        assert expected is not None
        threshold = found.best(among)
        assert threshold == pytest.approx(expected.value)
        counts = found.counts(expected.value)[among].sum(axis=0)
        assert float(macro_f1(counts)) == pytest.approx(expected.macro_f1)
    pools = [[given[row] for row in np.flatnonzero(owner == one)] for one in range(12)]
    marks = [right[owner == one].tolist() for one in range(12)]
    called = Calls(pools, marks, 0.7).macro_f1(Bootstrap(12, 20))
    assert called is not None
    assert float(macro_f1(found.counts(0.7).sum(axis=0))) == pytest.approx(called.value)


def test_no_value_gives_no_threshold() -> None:
    found = Thresholds(np.full(3, np.nan), np.ones(3, bool), np.array([0, 0, 1]), 2)
    assert found.best(np.array([True, True])) is None
    one = Thresholds(np.array([0.5]), np.array([True]), np.array([0]), 2)
    assert one.best(np.array([False, True])) is None
    assert one.best(np.array([True, False])) == 0.5
