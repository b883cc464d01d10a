"""Rank correlations within problems against scipy, brute force and known limits."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata, spearmanr

from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats
from vilbench.metrics.correlation import (
    Places,
    flipped_p_value,
    partial_rank,
    ranks_within,
    within_ranks,
)


def test_ranks_within_are_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 4, size=60).astype(float)
    stratum = random.integers(0, 7, size=60)
    found = ranks_within(values, stratum)
    for one in range(7):
        rows = stratum == one
        expected = (rankdata(values[rows]) - 0.5) / rows.sum() - 0.5
        assert found[rows] == pytest.approx(expected)


def brute_partial(x: Floats, y: Floats, owner: Places, given: Places) -> float:
    products, squares, others = 0.0, 0.0, 0.0
    for key in set(zip(owner.tolist(), given.tolist(), strict=True)):
        rows = (owner == key[0]) & (given == key[1])
        one = (rankdata(x[rows]) - (rows.sum() + 1) / 2) / rows.sum()
        other = (rankdata(y[rows]) - (rows.sum() + 1) / 2) / rows.sum()
        products += one @ other
        squares += one @ one
        others += other @ other
    return float(products / np.sqrt(squares * others))


def test_partial_rank_of_one_stratum_is_spearmans() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(2, 30))
    zeros = np.zeros(30, dtype=np.intp)
    found = partial_rank(x, y, zeros, zeros, Bootstrap(1, 10))
    assert found.rho == pytest.approx(spearmanr(x, y)[0])
    assert (found.n, found.n_problems) == (30, 1)


def test_partial_rank_is_that_of_brute_force() -> None:
    random = np.random.default_rng(2)
    owner, given = random.integers(0, 9, size=90), random.integers(0, 2, size=90)
    x, y = np.round(random.normal(size=(2, 90)), 1)
    found = partial_rank(x, y + x, owner, given, Bootstrap(9, 100))
    assert found.rho == pytest.approx(brute_partial(x, y + x, owner, given))


def test_neither_difficulty_nor_the_label_leaks() -> None:
    random = np.random.default_rng(3)
    owner = np.repeat(np.arange(100), 10)
    given = random.integers(0, 2, size=1000)
    ease = random.normal(size=100)[owner] * 5
    x, y = random.normal(size=(2, 1000)) + ease + 3 * given
    assert spearmanr(x, y)[0] > 0.9
    found = partial_rank(x, y, owner, given, Bootstrap(100, 300))
    assert found.low is not None and found.high is not None and found.p_value is not None
    assert found.low < 0 < found.high
    assert found.p_value > 0.05
    tied = partial_rank(x, y + 0.3 * x, owner, given, Bootstrap(100, 300))
    assert tied.low is not None and tied.low > 0.1
    assert tied.p_value == pytest.approx(1 / 2001)


def test_nothing_that_varies_has_no_correlation() -> None:
    zeros = np.zeros(6, dtype=np.intp)
    flat = partial_rank(np.ones(6), np.arange(6.0), zeros, zeros, Bootstrap(1, 10))
    assert (flat.rho, flat.p_value, flat.n_problems) == (None, None, 0)
    none = partial_rank(np.zeros(0), np.zeros(0), zeros[:0], zeros[:0], Bootstrap(1, 10))
    assert (none.rho, none.n) == (None, 0)
    single = partial_rank(np.arange(3.0), np.arange(3.0), np.arange(3), zeros[:3], Bootstrap(3, 10))
    assert (single.rho, single.n) == (None, 0)


def test_flips_are_those_of_all_sign_vectors() -> None:
    sums = np.array([0.5, -0.2, 0.9, 0.4, 0.7, -0.1, 0.3])
    flips = [abs(np.dot(signs, sums)) for signs in product((1, -1), repeat=len(sums))]
    exact = np.mean([flip >= abs(sums.sum()) - 1e-12 for flip in flips])
    assert flipped_p_value(sums) == pytest.approx(float(exact), abs=0.02)
    assert flipped_p_value(np.zeros(4)) == 1.0
    # Three problems cannot show less than a sign test of three.
    assert flipped_p_value(np.ones(3)) >= 0.25


def test_flips_hold_their_level_whatever_depends_within_problems() -> None:
    random = np.random.default_rng(5)
    low = 0
    for _ in range(200):
        owner = np.repeat(np.arange(40), 10)
        # Every solution is there five times over.
        x, y = (np.repeat(random.normal(size=(40, 2)), 5, axis=1).ravel() for _ in range(2))
        found = partial_rank(x, y, owner, np.zeros(400, dtype=np.intp), Bootstrap(40, 2))
        low += found.p_value is not None and found.p_value < 0.05
    assert low <= 20


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_within_ranks_are_those_of_scipy(missing: float) -> None:
    random = np.random.default_rng(4)
    a = random.integers(0, 5, size=(40, 9)).astype(float)
    b = np.round(a + 2 * random.normal(size=a.shape))
    a[random.random(a.shape) < missing] = np.nan
    b[random.random(a.shape) < missing] = np.nan
    a[7] = 2.0
    found = within_ranks(a, b)
    assert np.isnan(found.kendall[7]) and np.isnan(found.spearman[7])
    compared = 0
    for row in range(40):
        both = ~(np.isnan(a[row]) | np.isnan(b[row]))
        one, other = a[row][both], b[row][both]
        if len(set(one)) < 2 or len(set(other)) < 2:
            assert np.isnan(found.kendall[row])
            continue
        compared += 1
        assert found.kendall[row] == pytest.approx(kendalltau(one, other)[0], abs=1e-6)
        assert found.spearman[row] == pytest.approx(spearmanr(one, other)[0], abs=1e-6)
    assert compared >= 30


def test_within_ranks_of_large_pools_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.random.default_rng(6).normal(size=(2, 30, 8))
    whole = within_ranks(a, b)
    monkeypatch.setattr("vilbench.metrics.correlation._CELLS", 200)
    parts = within_ranks(a, b)
    assert (whole.kendall == parts.kendall).all()
    assert (whole.spearman == parts.spearman).all()
    assert within_ranks(a, 3 * a + 1).kendall == pytest.approx(np.ones(30))
    assert within_ranks(a, -a).spearman == pytest.approx(-np.ones(30))
    with pytest.raises(ValueError, match="shapes"):
        within_ranks(a, b[:, :3])
