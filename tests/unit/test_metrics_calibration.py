"""Calibration against cases by hand, known limits and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats
from vilbench.metrics.calibration import (
    calibration,
    equal_mass,
    fit_isotonic,
    fit_platt,
)

Simulated = tuple[Floats, np.ndarray, np.ndarray]


def simulated(seed: int, problems: int = 150, n: int = 12) -> Simulated:
    """Chances, what came of them, and their problems; every second solution is a copy."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(problems, 1)) + random.normal(size=(problems, n))
    chances = 1 / (1 + np.exp(-logits))
    chances[:, 1::2] = chances[:, ::2]
    right = random.random((problems, n)) < chances
    right[:, 1::2] = right[:, ::2]
    return chances.ravel(), right.ravel(), np.repeat(np.arange(problems), n)


def test_two_bins_by_hand() -> None:
    said = np.array([0.2, 0.2, 0.8, 0.8])
    right = np.array([False, True, True, True])
    found = calibration(said, right, np.arange(4), Bootstrap(4, 50), bins=2)
    # Bins say 0.2 and 0.8, of which 0.5 and 1.0 are right.
    assert found.ece == pytest.approx((0.3 + 0.2) / 2)
    assert found.brier == pytest.approx((0.04 + 0.64 + 0.04 + 0.04) / 4)
    assert found.curve.said.tolist() == pytest.approx([0.2, 0.8])
    assert found.curve.right.tolist() == [0.5, 1.0]
    assert found.curve.n.tolist() == [2, 2]


@pytest.mark.filterwarnings("error")
def test_problems_without_values_leave_resamples_without_any() -> None:
    found = calibration(
        np.array([0.1, 0.9]), np.array([False, True]), np.zeros(2, int), Bootstrap(4, 200)
    )
    assert np.isfinite([found.ece, found.floor, found.rms_low, found.rms_high]).all()
    assert 0 < found.p_value <= 1


def test_equal_values_share_a_bin() -> None:
    values = np.array([1.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    places = equal_mass(values, 4)
    assert len(set(places[2:].tolist())) == 1
    assert places[0] >= places[2] > places[1]


def test_bins_of_distinct_values_are_of_equal_mass() -> None:
    values = np.random.default_rng(0).permutation(np.arange(150) / 150)
    assert np.bincount(equal_mass(values, 15)).tolist() == [10] * 15
    assert equal_mass(np.array([0.3, 0.3]), 15).tolist() == [0, 0]


def test_values_out_of_range_are_refused() -> None:
    for said in (np.array([]), np.array([1.2]), np.array([np.nan])):
        with pytest.raises(ValueError, match=r"out of \[0, 1\]"):
            calibration(said, np.ones(len(said), bool), np.zeros(len(said), int), Bootstrap(1))


def test_calibrated_values_read_as_such_and_copies_do_not_fool() -> None:
    found = [calibration(*simulated(seed), Bootstrap(150, 300)) for seed in range(40)]
    alarms = sum(one.p_value < 0.05 for one in found)
    assert alarms <= 6
    assert sum(one.rms_low == 0 for one in found) >= 38
    # Without regard to copies and problems chance would explain less than there is.
    assert np.mean([one.ece for one in found]) == pytest.approx(
        np.mean([one.floor for one in found]), rel=0.15
    )


def test_problems_that_fill_a_bin_by_the_handful_raise_few_alarms() -> None:
    found = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        chances = random.beta(2, 2, size=60)
        right = random.random(60) < chances
        owner = np.repeat(np.arange(60), 8)
        found.append(calibration(chances[owner], right[owner], owner, Bootstrap(60, 200)))
    # Four problems a bin: their spread around their own mean is a quarter too small.
    assert np.mean([one.ece for one in found]) < 1.2 * np.mean([one.floor for one in found])
    assert sum(one.p_value < 0.05 for one in found) <= 8


def test_a_planted_error_is_recovered() -> None:
    inside = seen = 0
    off = []
    for seed in range(20):
        chances, right, owner = simulated(seed)
        said = 0.8 * chances + 0.18
        found = calibration(said, right, owner, Bootstrap(150, 300))
        truth = float(np.sqrt(np.mean((said - chances) ** 2)))
        inside += found.rms_low <= truth <= found.rms_high
        seen += found.p_value < 0.05
        off.append([found.rms - truth, found.ece - float(np.abs(said - chances).mean())])
    assert inside >= 18
    assert seen >= 17
    assert np.abs(np.mean(off, axis=0)).max() < 0.015


def test_platt_finds_the_likeliest_curve() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(3.0, 2.0, size=400)
    right = random.random(400) < 1 / (1 + np.exp(-(1.7 * scores - 4.0)))
    found = fit_platt(scores, right)
    hits = right.sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (400 - hits + 2))

    def loss(weights: Floats) -> float:
        logits = weights[0] * scores + weights[1]
        return float((np.logaddexp(0, logits) - target * logits).sum())

    best = minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert [found.slope, found.intercept] == pytest.approx(best.x.tolist(), rel=1e-4)
    assert found.slope == pytest.approx(1.7, abs=0.4)


@pytest.mark.parametrize("right", [[True] * 6, [False] * 6])
def test_platt_of_one_kind_stays_finite(right: list[bool]) -> None:
    fitted = fit_platt(np.arange(6.0), np.array(right))(np.array([0.0, 5.0]))
    assert np.isfinite(fitted).all()
    assert ((fitted > 0) & (fitted < 1)).all()


def test_platt_of_separable_and_of_equal_scores() -> None:
    apart = fit_platt(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True]))
    assert apart(np.array([1.0]))[0] == pytest.approx(0.75)
    alike = fit_platt(np.full(4, 2.0), np.array([True, False, False, False]))
    assert alike(np.array([2.0, 9.0])).tolist() == pytest.approx([0.3, 0.3], abs=0.04)


def test_isotonic_by_hand() -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    fitted = fit_isotonic(scores, np.array([False, True, False, True]))
    assert fitted(scores).tolist() == pytest.approx([0.0, 0.5, 0.5, 1.0])
    assert fitted(np.array([-9.0, 1.5, 9.0])).tolist() == pytest.approx([0.0, 0.25, 1.0])


def test_isotonic_never_falls_and_keeps_the_mean() -> None:
    chances, right, _ = simulated(3)
    fitted = fit_isotonic(-chances, right)(np.sort(-chances))
    assert (np.diff(fitted) >= 0).all()
    assert fitted.mean() == pytest.approx(right.mean())
    one = fit_isotonic(np.array([2.0]), np.array([True]))
    assert one(np.array([0.0, 3.0])).tolist() == [1.0, 1.0]
