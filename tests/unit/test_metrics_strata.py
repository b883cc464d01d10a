"""Comparisons among what is of one stratum."""

from __future__ import annotations

import numpy as np
import pytest

from vilbench.metrics import Bootstrap, Stratified, pooled_auroc, within_auroc


def test_it_compares_what_is_of_one_stratum() -> None:
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 6, 30)
    strata = [rng.integers(0, 3, n).tolist() for n in sizes]
    right = [(rng.random(n) < 0.5).tolist() for n in sizes]
    scores: list[list[float | None]] = [
        [None if rng.random() < 0.1 else float(rng.integers(0, 5) - 10 * s) for s in some]
        for some in strata
    ]
    flat = [
        (stratum, ok, value)
        for pool in zip(strata, right, scores, strict=True)
        for stratum, ok, value in zip(*pool, strict=True)
        if value is not None
    ]
    pairs = [
        (value > other) + 0.5 * (value == other)
        for stratum, ok, value in flat
        for same, bad, other in flat
        if ok and not bad and same == stratum
    ]
    bootstrap = Bootstrap(len(sizes))
    found = Stratified(scores, right, strata).pooled(bootstrap)
    assert found.value == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    assert found.missing == sum(value is None for some in scores for value in some)
    # One stratum is the pooled AUROC.
    alone = Stratified(scores, right, [[0] * n for n in sizes]).pooled(bootstrap)
    pooled = pooled_auroc(scores, right, bootstrap)
    assert alone.value == pytest.approx(pooled.value)
    assert alone.low == pytest.approx(pooled.low)


def test_a_value_that_only_falls_tells_nothing_among_steps_of_one_number() -> None:
    right = [[True, True, False, False], [True, False, False], [True, True, True]]
    numbers = [list(range(len(one))) for one in right]
    scores: list[list[float | None]] = [[-float(n) for n in one] for one in numbers]
    bootstrap = Bootstrap(3)
    assert Stratified(scores, right, numbers).pooled(bootstrap).value == 0.5
    assert within_auroc(scores, right, bootstrap).value == 1.0


def test_strata_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        Stratified([[0.9, 0.1, 0.5]], [[True, False, True]], [[0, 0]])


def test_part_of_the_problems() -> None:
    right = [[True, False], [False, True], [True, False]]
    scores: list[list[float | None]] = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]
    strata = [[0, 0], [0, 0], [0, 0]]
    whole = Stratified(scores, right, strata)
    places = np.array([0, 2])
    alone = Stratified(scores[::2], right[::2], strata[::2])
    assert whole.pooled(Bootstrap(2), places) == alone.pooled(Bootstrap(2))
    assert whole.pooled(Bootstrap(2), places).value == 1.0
    with pytest.raises(ValueError, match="bootstrap"):
        whole.pooled(Bootstrap(3), places)
